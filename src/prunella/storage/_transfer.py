"""Agents as JSON Lines: what goes from one storage into another, or into a drawer.

The first line says what it is, the last how many agents there are. Of each agent there is a line `agent`, one for each
thing that is kept of it, and a line `end`, which counts them. So a file that was cut off is noticed, wherever it was.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Any, Final

import attrs

from ..agents import AgentNotFound
from ..errors import PrunellaError
from ._codec import encode_data
from ._dump import AgentDump, check_dump
from ._dump_lines import KINDS, code_from_data, integer
from ._errors import AlreadyStored, InvalidDump
from ._key import AgentKey, about
from ._records import AgentRecord
from ._storage import Storage

__all__ = ["export_agents", "import_agents", "read_dumps"]

_FORM: Final = 1


async def export_agents(storage: Storage, keys: Iterable[AgentKey]) -> AsyncGenerator[str, None]:
    """Some agents as lines, each of them as it is at one instant. Nothing is claimed.

    One agent is in memory at a time. Each line ends with a line feed.

    Args:
        storage: an open one.
        keys: which agents.

    Raises:
        AgentNotFound: one is not stored.
        RestoreFailed: something of one cannot be read.
    """
    yield _line("prunella", {"form": _FORM, "what": "agents"})
    count = 0
    for key in keys:
        dump = await storage.dump(key)
        if dump is None:
            raise about(AgentNotFound(key.id), key)
        count += 1
        for line in _lines(dump):
            yield line
    yield _line("end", {"agents": count})


async def import_agents(storage: Storage, lines: Iterable[str | bytes]) -> AsyncGenerator[AgentKey, None]:
    """Stores agents that were exported. Each is written when it has been read to its end, whole or not at all.

    Args:
        storage: an open one.
        lines: as `export_agents` gives them.

    Yields:
        The key of each, when it is stored.

    Raises:
        AlreadyStored: one is here already.
        InvalidDump: these are no such lines, or the rest of them is missing.
    """
    for dump in read_dumps(lines):
        await storage.insert(dump)
        yield dump.record.key


def read_dumps(lines: Iterable[str | bytes]) -> Iterator[AgentDump]:
    """The agents that such lines hold. Each is given when it has been read to its end.

    Raises:
        InvalidDump: these are no such lines, or the rest of them is missing.
    """
    number, keys = 0, set[AgentKey]()
    reading: _Reading | None = None
    is_begun = is_ended = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        kind, data = _read(number, line)
        if is_ended:
            raise InvalidDump(number, "there is more after the end")
        try:
            if not is_begun:
                _check_head(kind, data)
                is_begun = True
            elif reading is not None and kind == "end":
                yield reading.ended(data)
                keys.add(reading.key)
                reading = None
            elif reading is not None:
                reading.add(kind, data)
            elif kind == "agent":
                reading = _Reading(data)
                if reading.key in keys:
                    raise AlreadyStored(str(reading.key))
            elif kind == "end":
                if data["agents"] != len(keys):
                    raise ValueError(f"{data['agents']} agents were written, {len(keys)} are there")
                is_ended = True
            else:
                raise ValueError(f"{kind!r} belongs to no agent")
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, PrunellaError) as error:
            if isinstance(error, InvalidDump):
                raise
            raise InvalidDump(number, _told(error)) from error
    if not is_ended:
        raise InvalidDump(number + 1, "the rest is missing" if is_begun else "there is nothing")


def _read(number: int, line: str | bytes) -> tuple[str, Any]:
    try:
        [(kind, data)] = json.loads(line).items()
    except (ValueError, AttributeError, RecursionError) as error:
        raise InvalidDump(number, "this is no line of an export") from error
    return kind, data


def _check_head(kind: str, data: Any) -> None:
    if kind != "prunella" or data["what"] != "agents":
        raise ValueError("this is no line of an export")
    if data["form"] != _FORM:
        raise ValueError(f"it was made by another release: its form is {data['form']!r}, this one knows {_FORM}")


def _told(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]!r} is missing"
    return str(error) or type(error).__name__


def _line(kind: str, data: Any) -> str:
    return str(encode_data({kind: data}), "utf-8") + "\n"


# One agent.


def _lines(dump: AgentDump) -> Iterator[str]:
    record, count = dump.record, 0
    code = record.code
    yield _line(
        "agent",
        {
            **_key(record.key),
            "code": [code.name, code.version, code.digest, code.reference],
            "claim": record.claim,
            "sequence": record.sequence,
            "trimmed": dump.trimmed,
            "spec": record.spec,
        },
    )
    for name, kind in KINDS.items():
        for value in getattr(dump, kind.attribute):
            yield _line(name, kind.write(value))
            count += 1
    yield _line("end", {**_key(record.key), "lines": count})


def _key(key: AgentKey) -> dict[str, Any]:
    return {"runtime": key.runtime, "partition": key.partition, "id": key.id}


class _Reading:
    """An agent of which some lines have been read."""

    def __init__(self, data: Any) -> None:
        self.key = AgentKey(data["runtime"], data["partition"], data["id"])
        code, claim, sequence = code_from_data(data["code"]), integer(data["claim"]), integer(data["sequence"])
        self._record = AgentRecord(self.key, code, claim, None, None, sequence, data["spec"], False)
        self._trimmed = integer(data["trimmed"])
        self._count = 0
        self._found: dict[str, list[Any]] = {kind.attribute: [] for kind in KINDS.values()}

    def add(self, kind: str, data: Any) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} stands in the midst of agent {self.key}")
        found = KINDS[kind]
        self._found[found.attribute].append(found.read(self.key, data))
        self._count += 1

    def ended(self, data: Any) -> AgentDump:
        if AgentKey(data["runtime"], data["partition"], data["id"]) != self.key or data["lines"] != self._count:
            raise ValueError(f"lines of agent {self.key} are missing")
        found = {attribute: tuple(values) for attribute, values in self._found.items()}
        record = attrs.evolve(self._record, has_work=bool(found["waiting"] or found["directives"]))
        dump = AgentDump(record, self._trimmed, **found)
        check_dump(dump)
        return dump
