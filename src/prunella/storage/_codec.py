"""Values as bytes, for backends. What is written once can be read for ever: a new form gets a new number.

A commit is one line of JSON, a line feed, and its signal as a CloudEvent; JSON holds no bare line feed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from ..agents import Address, RestoreFailed
from ..signals import Signal, SignalError, decode, encode
from ..signals._json import compact_encoder
from ._commit import Code, Commit, ScheduleRecord, Snapshot
from ._errors import StorageError

__all__ = [
    "commit_from_data",
    "commit_to_data",
    "decode_commit",
    "decode_data",
    "decode_signal",
    "decode_snapshot",
    "encode_commit",
    "encode_data",
    "encode_signal",
    "encode_snapshot",
    "microseconds",
    "moment",
    "read_spec",
]

_FORM: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_LIMIT: Final = (
    1 << 30
)  # SQLite's own default bound for one value; a runtime has a lower one for what comes from outside


def _mapping(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds a value of type {type(value).__name__}")


_compact = compact_encoder(default=_mapping, allow_nan=True)
_escaped = json.JSONEncoder(check_circular=False, separators=(",", ":"), default=_mapping).encode
_loads = json.JSONDecoder().decode


def microseconds(time: datetime) -> int:
    """An aware datetime as microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def moment(count: int) -> datetime:
    """The datetime of such a count, in UTC."""
    return _EPOCH + timedelta(microseconds=count)


def encode_data(data: Any) -> bytes:
    """Plain data as JSON.

    Raises:
        StorageError: it is no plain data.
    """
    try:
        text = _compact(data)
    except (TypeError, ValueError, RecursionError) as error:
        raise StorageError(f"what shall be stored is no plain data: {error}") from error
    try:
        return text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can hold
        return _escaped(data).encode()


def decode_data(body: bytes, what: str) -> Any:
    """The data of such JSON.

    Args:
        body: the bytes.
        what: what they are, for the message.

    Raises:
        RestoreFailed: they cannot be read.
    """
    try:
        return _loads(str(body, "utf-8"))
    except (ValueError, TypeError, RecursionError) as error:
        raise _unreadable(what, error) from error


def read_spec(body: bytes | None) -> tuple[Any, bool]:
    """How an agent is to be started, and whether that could be read: one that cannot must not hide the others."""
    try:
        return None if body is None else decode_data(body, "the spec"), True
    except RestoreFailed:
        return None, False


def encode_signal(signal: Signal) -> bytes:
    """A signal as a CloudEvent.

    Raises:
        StorageError: its data cannot be written.
    """
    try:
        return encode(signal, limit=_LIMIT)
    except SignalError as error:
        raise StorageError(f"a signal cannot be stored: {error}") from error


def decode_signal(body: bytes, what: str) -> Signal:
    """The signal of such a document.

    Raises:
        RestoreFailed: it cannot be read.
    """
    try:
        return decode(body, limit=_LIMIT)
    except SignalError as error:
        raise _unreadable(what, error) from error


def encode_commit(commit: Commit) -> bytes:
    """A commit as bytes; `decode_commit` gives an equal one.

    Raises:
        StorageError: something in it is no plain data.
    """
    # What every commit has is written by hand: that takes half the time of an encoder.
    try:
        first = (
            f'{{"form":{_FORM},"sequence":{commit.sequence:d},"claim":{commit.claim:d},'
            f'"now":{microseconds(commit.now)},"seed":{commit.seed:d},"outcome":{_outcome(commit.outcome)},'
            f'"code":{_code(commit.code)}'
        ).encode()
    except (TypeError, ValueError) as error:
        raise StorageError(f"turn {commit.sequence!r} cannot be stored: {error}") from error
    more = _more(commit)
    rest = b"," + encode_data(more)[1:] if more else b"}"
    return b"%b%b\n%b" % (first, rest, encode_signal(commit.signal))


def decode_commit(body: bytes, what: str = "a commit") -> Commit:
    """The commit of such bytes.

    Args:
        body: the bytes.
        what: which commit, for the message.

    Raises:
        RestoreFailed: they cannot be read.
    """
    head, _, signal = bytes(body).partition(b"\n")
    return _commit(decode_data(head, what), decode_signal(signal, what), what)


def commit_to_data(commit: Commit) -> dict[str, Any]:
    """A commit as one JSON value, as for a file of JSON lines."""
    head, _, signal = encode_commit(commit).partition(b"\n")
    return {**json.loads(head), "signal": json.loads(signal)}


def commit_from_data(data: Mapping[str, Any]) -> Commit:
    """The commit of such a value.

    Raises:
        RestoreFailed: it is none.
    """
    signal = encode_data(data.get("signal"))
    return _commit(data, decode_signal(signal, "a commit"), "a commit")


def encode_snapshot(snapshot: Snapshot) -> bytes:
    """The state of a snapshot as bytes.

    Raises:
        StorageError: it is no plain data.
    """
    return encode_data([_FORM, snapshot.version, snapshot.state])


def decode_snapshot(body: bytes, sequence: int, now: datetime) -> Snapshot:
    """The snapshot of such bytes.

    Raises:
        RestoreFailed: they cannot be read.
    """
    what = f"the snapshot of turn {sequence}"
    data = decode_data(body, what)
    try:
        form, version, state = data
        if form != _FORM or not isinstance(version, int) or not isinstance(state, dict):
            raise ValueError("it has another form")
    except (TypeError, ValueError) as error:
        raise _unreadable(what, error) from error
    return Snapshot(sequence, now, version, state)


# What is absent in most turns is left out.


@lru_cache(maxsize=16)
def _outcome(outcome: str) -> str:
    return _escaped(str(outcome))


@lru_cache(maxsize=256)
def _code(code: Code) -> str:
    return _escaped([code.name, code.version, code.digest, code.reference])


def _more(commit: Commit) -> dict[str, Any]:
    more: dict[str, Any] = {}
    if commit.parent is not None:
        more["parent"] = [commit.parent.id, commit.parent.partition]
    if commit.children:
        more["children"] = {tag: [child.id, child.partition] for tag, child in commit.children.items()}
    if commit.changes:
        more["changes"] = dict(commit.changes)
    if commit.directives:
        more["directives"] = list(commit.directives)
    if commit.done:
        more["done"] = commit.done
    if commit.schedules:
        more["schedules"] = {
            key: None if schedule is None else [microseconds(schedule.due), schedule.directive, schedule.id]
            for key, schedule in commit.schedules.items()
        }
    if commit.answers:
        more["answers"] = dict(commit.answers)
    return more


def _commit(head: Any, signal: Signal, what: str) -> Commit:
    try:
        if head["form"] != _FORM:
            raise ValueError(f"it has the form {head['form']!r}, this release knows {_FORM}")
        parent = head.get("parent")
        return Commit(
            head["sequence"],
            head["claim"],
            signal,
            moment(head["now"]),
            head["seed"],
            Code(*head["code"]),
            None if parent is None else Address(*parent),
            {tag: Address(*child) for tag, child in head["children"].items()} if "children" in head else {},
            head["outcome"],
            head.get("changes", {}),
            tuple(head.get("directives", ())),
            tuple(head.get("done", ())),
            {
                key: None if schedule is None else ScheduleRecord(key, moment(schedule[0]), schedule[1], schedule[2])
                for key, schedule in head.get("schedules", {}).items()
            },
            head.get("answers", {}),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise _unreadable(what, error) from error


def _unreadable(what: str, error: Exception) -> RestoreFailed:
    return RestoreFailed(f"{what} is stored in bytes that cannot be read ({type(error).__name__}: {error})", path=what)
