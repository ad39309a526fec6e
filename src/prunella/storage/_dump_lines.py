"""What is kept of an agent as plain data, one thing at a time: the lines of an export."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import attrs

from ..signals import Signal
from ._codec import (
    commit_from_data,
    commit_to_data,
    decode_signal,
    encode_data,
    encode_signal,
    microseconds,
    moment,
)
from ._commit import Code, Commit, DeadLetter, ScheduleRecord, Snapshot
from ._key import AgentKey, directive_id
from ._records import Handled, StoredDirective, StoredSignal

__all__ = ["KINDS", "Kind", "code_from_data", "integer"]


@attrs.frozen
class Kind:
    """Where it belongs in a dump, how it is written, and how it is read."""

    attribute: str
    write: Callable[[Any], dict[str, Any]]
    read: Callable[[AgentKey, Any], Any]


def _write_snapshot(one: Snapshot) -> dict[str, Any]:
    return {"sequence": one.sequence, "now": microseconds(one.now), "version": one.version, "state": one.state}


def _read_snapshot(_: AgentKey, data: Any) -> Snapshot:
    return Snapshot(integer(data["sequence"]), moment(data["now"]), integer(data["version"]), _mapping(data["state"]))


def _read_commit(_: AgentKey, data: Any) -> Commit:
    return commit_from_data(data)


def _write_handled(one: Handled) -> dict[str, Any]:
    assert one.now is not None
    data = {"signal": one.signal_id, "sequence": one.sequence, "now": microseconds(one.now)}
    return {**data, "answer": one.answer} if one.is_answered else data


def _read_handled(_: AgentKey, data: Any) -> Handled:
    answer, is_answered = data.get("answer"), "answer" in data
    return Handled(_text(data["signal"]), integer(data["sequence"]), answer, is_answered, moment(data["now"]))


def _write_waiting(one: StoredSignal) -> dict[str, Any]:
    return {"signal": _document(one.signal), "deliveries": one.deliveries, "now": microseconds(one.now)}


def _read_waiting(_: AgentKey, data: Any) -> StoredSignal:
    return StoredSignal(0, _signal(data["signal"]), integer(data["deliveries"]), moment(data["now"]))


def _write_directive(one: StoredDirective) -> dict[str, Any]:
    return {
        "sequence": one.sequence, "index": one.index, "now": microseconds(one.now), "directive": one.directive,
    }  # fmt: skip


def _read_directive(key: AgentKey, data: Any) -> StoredDirective:
    sequence, index = integer(data["sequence"]), integer(data["index"])
    id = directive_id(key, sequence, index)
    return StoredDirective(id, sequence, index, _mapping(data["directive"]), moment(data["now"]))


def _write_schedule(one: ScheduleRecord) -> dict[str, Any]:
    return {"key": one.key, "due": microseconds(one.due), "directive": one.directive, "id": one.id}


def _read_schedule(_: AgentKey, data: Any) -> ScheduleRecord:
    return ScheduleRecord(_text(data["key"]), moment(data["due"]), _mapping(data["directive"]), _text(data["id"]))


def _write_dead_letter(one: DeadLetter) -> dict[str, Any]:
    return {
        "signal": _document(one.signal), "reason": one.reason, "deliveries": one.deliveries,
        "now": microseconds(one.now),
    }  # fmt: skip


def _read_dead_letter(_: AgentKey, data: Any) -> DeadLetter:
    return DeadLetter(_signal(data["signal"]), _text(data["reason"]), integer(data["deliveries"]), moment(data["now"]))


KINDS: Final = {
    "snapshot": Kind("snapshots", _write_snapshot, _read_snapshot),
    "commit": Kind("commits", commit_to_data, _read_commit),
    "handled": Kind("handled", _write_handled, _read_handled),
    "waiting": Kind("waiting", _write_waiting, _read_waiting),
    "directive": Kind("directives", _write_directive, _read_directive),
    "schedule": Kind("schedules", _write_schedule, _read_schedule),
    "dead": Kind("dead_letters", _write_dead_letter, _read_dead_letter),
}


def code_from_data(parts: Any) -> Code:
    """Which code, of its parts."""
    name, version, digest, reference = parts
    return Code(_text(name), integer(version), _text(digest), _text(reference))


def _document(signal: Signal) -> Any:
    return json.loads(encode_signal(signal))


def _signal(document: Any) -> Signal:
    return decode_signal(encode_data(document), "a signal")


def integer(value: Any) -> int:
    """The value, if it is an integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected an integer, got {type(value).__name__}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {type(value).__name__}")
    return value


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, got {type(value).__name__}")
    return value
