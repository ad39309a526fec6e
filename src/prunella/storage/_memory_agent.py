"""One agent in memory: what is kept of it, and how it changes. Nothing here waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice, takewhile
from typing import Self, final

import attrs

from ._codec import (
    decode_commit,
    decode_data,
    decode_signal,
    decode_snapshot,
    encode_commit,
    encode_data,
    encode_signal,
    encode_snapshot,
    microseconds,
    moment,
)
from ._commit import Code, Commit, DeadLetter, ScheduleRecord, Snapshot
from ._dump import AgentDump
from ._errors import Duplicate
from ._key import AgentKey, directive_id
from ._prepared import Letter, Prepared, Turn, check_sequences, prepare_letter
from ._records import Handled, StoredDirective, StoredSignal

__all__ = ["MemoryAgent", "handled_signal"]


@attrs.define
class _Waiting:
    body: bytes
    deliveries: int
    now: datetime


@final
@attrs.define
class MemoryAgent:
    """Everything of one agent, in the bytes that a file would hold.

    Args:
        code: of whoever claimed it last.
        claim: the number of that claim.
        places: gives the next position in a mailbox; all agents of a storage have the same.
    """

    code: Code
    claim: int
    places: Iterator[int]
    owner: str | None = None
    previous: str | None = None
    spec: bytes | None = None
    trimmed: int = 0
    last: int = 0
    commits: dict[int, tuple[datetime, bytes]] = attrs.Factory(dict)
    snapshots: dict[int, tuple[datetime, bytes]] = attrs.Factory(dict)
    handled: dict[str, tuple[int, datetime, bytes | None]] = attrs.Factory(dict)
    directives: dict[tuple[int, int], tuple[datetime, bytes]] = attrs.Factory(dict)
    schedules: dict[str, tuple[int, bytes, str]] = attrs.Factory(dict)
    waiting: dict[int, _Waiting] = attrs.Factory(dict)  # by position, which grows
    positions: dict[str, int] = attrs.Factory(dict)
    dead: dict[str, Letter] = attrs.Factory(dict)

    @classmethod
    def of(cls, dump: AgentDump, claim: int, places: Iterator[int]) -> Self:
        """An agent with everything of a dump."""
        agent = cls(dump.record.code, claim, places, trimmed=dump.trimmed, last=dump.record.sequence)
        agent.spec = None if dump.record.spec is None else encode_data(dump.record.spec)
        agent.commits = {commit.sequence: (commit.now, encode_commit(commit)) for commit in dump.commits}
        agent.snapshots = {one.sequence: (one.now, encode_snapshot(one)) for one in dump.snapshots}
        for one in dump.handled:
            assert one.now is not None
            answer = encode_data(one.answer) if one.is_answered else None
            agent.handled[one.signal_id] = (one.sequence, one.now, answer)
        agent.directives = {(one.sequence, one.index): (one.now, encode_data(one.directive)) for one in dump.directives}
        agent.schedules = {
            one.key: (microseconds(one.due), encode_data(one.directive), one.id) for one in dump.schedules
        }
        agent.dead = {letter.signal.id: prepare_letter(letter) for letter in dump.dead_letters}
        for waiting in dump.waiting:
            agent._put(waiting.signal.id, encode_signal(waiting.signal), waiting.now, waiting.deliveries)
        return agent

    # Changes.

    def check(self, turns: Iterable[Turn]) -> None:
        """That turns follow what is stored, and are about signals that were not handled.

        Raises:
            CommitFailed, Duplicate: it is not so.
        """
        check_sequences(self.last, turns)
        fresh: dict[str, int] = {}
        for turn in turns:
            id = turn.signal_id
            if id in self.handled or id in fresh:
                raise Duplicate(id, self.handled[id][0] if id in self.handled else fresh[id])
            if not turn.is_dead:
                fresh[id] = turn.sequence

    def apply(self, ready: Prepared, now: datetime) -> None:
        """Changes what a write changes; it was checked."""
        for turn in ready.turns:
            self._apply(turn)
        if ready.snapshot is not None:
            sequence, at, body = ready.snapshot
            self.snapshots[sequence] = (moment(at), body)
        for place in ready.done:
            self.directives.pop(place, None)
        for id, body in ready.enqueued:
            self.enqueue(id, body, now)
        for id in ready.postponed:
            waiting = self._removed(id)
            if waiting is not None:
                self.enqueue(id, waiting.body, waiting.now, waiting.deliveries + 1)
        for id in ready.finished:
            self._removed(id)
        for letter in ready.dead:
            self._removed(letter.signal_id)
            self.dead.pop(letter.signal_id, None)
            self.dead[letter.signal_id] = letter

    def _apply(self, turn: Turn) -> None:
        now = moment(turn.at)
        self.commits[turn.sequence] = (now, turn.body)
        self.last = turn.sequence
        if not turn.is_dead:
            self.handled[turn.signal_id] = (turn.sequence, now, None)
        for id, answer in turn.answers:
            if id in self.handled:
                self.handled[id] = (*self.handled[id][:2], answer)
        for index, body in turn.directives:
            self.directives[turn.sequence, index] = (now, body)
        for name, found in turn.schedules:
            self.schedules.pop(name, None)
            if found is not None:
                self.schedules[name] = found

    def enqueue(self, id: str, body: bytes, now: datetime, deliveries: int = 0) -> bool:
        """Puts a signal behind those that wait, if it is new."""
        if id in self.positions or id in self.handled:
            return False
        self._put(id, body, now, deliveries)
        return True

    def _put(self, id: str, body: bytes, now: datetime, deliveries: int) -> None:
        position = self.positions[id] = next(self.places)
        self.waiting[position] = _Waiting(body, deliveries, now)

    def _removed(self, id: str) -> _Waiting | None:
        position = self.positions.pop(id, None)
        return None if position is None else self.waiting.pop(position)

    def take(self, after: int, limit: int) -> tuple[StoredSignal, ...]:
        """Signals that wait, each with one more delivery counted; none is if one cannot be read."""
        taken = [attrs.evolve(one, deliveries=one.deliveries + 1) for one in self.signals(after, limit)]
        for one in taken:
            self.waiting[one.position].deliveries = one.deliveries
        return tuple(taken)

    def taken_dead(self, signal_id: str | None) -> list[Letter]:
        """Takes away one dead letter, or all."""
        return [self.dead.pop(id) for id in list(self.dead) if signal_id in (None, id)]

    def redrive(self, signal_id: str | None, now: datetime) -> int:
        """Puts one dead letter, or all, back into the mailbox."""
        letters = self.taken_dead(signal_id)
        for letter in letters:
            self.enqueue(letter.signal_id, letter.body, now)
        return len(letters)

    def trim(self, before: datetime | None, keep: int | None, handled_before: datetime | None) -> int:
        """Deletes what is old. See `Storage.trim`."""
        if handled_before is not None:
            for id in list(takewhile(lambda id: self.handled[id][1] < handled_before, self.handled)):
                del self.handled[id]
        cut = 0 if keep is None else self.last - keep
        if before is not None:
            young = (sequence for sequence, (now, _) in self.commits.items() if now >= before)
            cut = max(cut, next(young, self.last + 1) - 1)
        base = max((sequence for sequence in self.snapshots if sequence <= cut), default=None)
        if base is None:
            return 0
        self.trimmed = max(self.trimmed, base)
        self.snapshots = {sequence: entry for sequence, entry in self.snapshots.items() if sequence >= base}
        count = len(self.commits)
        self.commits = {sequence: entry for sequence, entry in self.commits.items() if sequence > base}
        return count - len(self.commits)

    # Reading. What cannot be read is RestoreFailed.

    def turns(self, after: int, limit: int) -> tuple[Commit, ...]:
        """Turns in order, from the one that follows `after`."""
        return tuple(
            [
                decode_commit(self.commits[sequence][1], f"turn {sequence}")
                for sequence in range(after + 1, min(self.last, after + limit) + 1)
            ]
        )

    def newest(self, until: int | datetime | None) -> Snapshot | None:
        """The newest snapshot that is not later than a turn or a time."""
        for sequence in sorted(self.snapshots, reverse=True):
            now, body = self.snapshots[sequence]
            if until is None or (now <= until if isinstance(until, datetime) else sequence <= until):
                return decode_snapshot(body, sequence, now)
        return None

    def all_snapshots(self) -> tuple[Snapshot, ...]:
        """All snapshots, in order."""
        return tuple([decode_snapshot(body, turn, now) for turn, (now, body) in sorted(self.snapshots.items())])

    def signals(self, after: int, limit: int) -> tuple[StoredSignal, ...]:
        """Signals that wait behind a position, in order."""
        places = islice((place for place in self.waiting if place > after), limit)
        return tuple([_stored(place, self.waiting[place]) for place in places])

    def open_directives(self, key: AgentKey) -> tuple[StoredDirective, ...]:
        """What is open, in order."""
        return tuple(
            [
                StoredDirective(
                    directive_id(key, sequence, index),
                    sequence,
                    index,
                    decode_data(body, f"directive {index} of turn {sequence}"),
                    now,
                )
                for (sequence, index), (now, body) in sorted(self.directives.items())
            ]
        )

    def all_schedules(self) -> tuple[ScheduleRecord, ...]:
        """What is set, by their keys' order."""
        return tuple(
            [
                ScheduleRecord(name, moment(due), decode_data(body, f"the schedule {name!r}"), id)
                for name, (due, body, id) in sorted(self.schedules.items())
            ]
        )

    def letters(self, limit: int) -> tuple[DeadLetter, ...]:
        """The newest dead letters, in the order in which they were put aside."""
        return tuple([_dead_letter(letter) for letter in list(self.dead.values())[-limit:]]) if limit else ()


def _stored(position: int, waiting: _Waiting) -> StoredSignal:
    signal = decode_signal(waiting.body, f"waiting signal {position}")
    return StoredSignal(position, signal, waiting.deliveries, waiting.now)


def handled_signal(signal_id: str, entry: tuple[int, datetime, bytes | None]) -> Handled:
    """A signal that was handled, of what is kept of it."""
    sequence, now, answer = entry
    if answer is None:
        return Handled(signal_id, sequence, now=now)
    return Handled(signal_id, sequence, decode_data(answer, f"the answer to {signal_id}"), True, now)


def _dead_letter(letter: Letter) -> DeadLetter:
    signal = decode_signal(letter.body, f"the dead letter {letter.signal_id}")
    return DeadLetter(signal, letter.reason, letter.deliveries, moment(letter.at))
