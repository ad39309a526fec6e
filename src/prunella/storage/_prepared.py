"""Writes made ready: everything is encoded and checked before anything is changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

import attrs

from ..signals import Signal
from ._codec import encode_commit, encode_data, encode_signal, encode_snapshot, microseconds
from ._commit import Commit, DeadLetter, Write
from ._errors import CommitFailed
from ._key import AgentKey, place_of

__all__ = ["Letter", "Prepared", "Turn", "check_sequences", "prepare", "prepare_letter", "prepare_signals"]


@final
@attrs.define
class Turn:
    """A commit as it is stored. Times are microseconds since 1970."""

    sequence: int
    signal_id: str
    is_dead: bool
    at: int
    body: bytes
    directives: list[tuple[int, bytes]]  # place and body of those that are open
    schedules: list[tuple[str, tuple[int, bytes, str] | None]]  # name; when, directive, its id
    answers: list[tuple[str, bytes]]


@final
@attrs.define
class Letter:
    """A dead letter as it is stored."""

    signal_id: str
    reason: str
    deliveries: int
    at: int
    body: bytes


@final
@attrs.define
class Prepared:
    """A write as it is stored."""

    key: AgentKey
    claim: int
    at: int
    turns: list[Turn]
    snapshot: tuple[int, int, bytes] | None  # sequence, time, body
    done: list[tuple[int, int]]
    enqueued: list[tuple[str, bytes]]
    finished: tuple[str, ...]
    postponed: tuple[str, ...]
    dead: list[Letter]


def prepare(write: Write) -> Prepared:
    """A write, encoded.

    Raises:
        StorageError: something in it is no plain data.
        InvalidArgument: an id of a directive is none.
    """
    done = [place_of(id) for id in write.done] if write.done else []
    turns = [_turn(commit, done) for commit in write.commits]
    snapshot = write.snapshot
    return Prepared(
        write.key,
        write.claim,
        microseconds(write.now),
        turns,
        None if snapshot is None else (snapshot.sequence, microseconds(snapshot.now), encode_snapshot(snapshot)),
        done,
        prepare_signals(write.enqueued) if write.enqueued else [],
        write.finished,
        write.postponed,
        [prepare_letter(letter) for letter in write.dead] if write.dead else [],
    )


def prepare_signals(signals: Iterable[Signal]) -> list[tuple[str, bytes]]:
    """Ids and documents of signals.

    Raises:
        StorageError: data of one cannot be written.
    """
    return [(signal.id, encode_signal(signal)) for signal in signals]


def check_sequences(last: int, turns: Iterable[Turn]) -> int:
    """That turns follow the last one that is stored.

    Returns:
        The last one then.

    Raises:
        CommitFailed: they do not.
    """
    for turn in turns:
        if turn.sequence != last + 1:
            raise CommitFailed(f"turn {turn.sequence} does not follow turn {last}, the last that is stored", found=last)
        last += 1
    return last


def _turn(commit: Commit, done: list[tuple[int, int]]) -> Turn:
    own: set[int] = set()
    for sequence, index in map(place_of, commit.done) if commit.done else ():
        if sequence == commit.sequence:
            own.add(index)
        else:
            done.append((sequence, index))
    return Turn(
        commit.sequence,
        commit.signal.id,
        commit.outcome == "dead",
        microseconds(commit.now),
        encode_commit(commit),
        [(index, encode_data(directive)) for index, directive in enumerate(commit.directives) if index not in own]
        if commit.directives
        else [],
        [
            (name, None if found is None else (microseconds(found.due), encode_data(found.directive), found.id))
            for name, found in commit.schedules.items()
        ]
        if commit.schedules
        else [],
        [(id, encode_data(answer)) for id, answer in commit.answers.items()] if commit.answers else [],
    )


def prepare_letter(letter: DeadLetter) -> Letter:
    """A dead letter, encoded.

    Raises:
        StorageError: data of its signal cannot be written.
    """
    return Letter(
        letter.signal.id, letter.reason, letter.deliveries, microseconds(letter.now), encode_signal(letter.signal)
    )
