"""The turns of an agent, told to people."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from ..agents import Agent, Directive, Turn, describe, directive_to_data
from ..errors import PrunellaError
from ..observer import one_line
from ..storage import AgentKey, AgentRecord, HistoryEntry, SQLiteStorage, history

__all__ = ["asked", "changed", "fitted", "gone", "moment", "printable", "show_history", "titled"]

_INDENT = "    "


async def show_history(
    storage: SQLiteStorage,
    agent_class: type[Agent],
    record: AgentRecord,
    since: int | None,
    until: int | datetime | None,
    write: Callable[[str], None],
    width: int | None,
) -> None:
    """Writes one line for each turn.

    Raises:
        RestoreFailed, HistoryGone: see `history`.
    """
    key = record.key
    write(f"{titled(agent_class, record)}\n")
    digits, is_first = len(str(record.sequence)), True
    turns = history(
        storage, agent_class, key.id, partition=key.partition, runtime=key.runtime, since=since, until=until
    )
    async with aclosing(turns) as entries:
        async for entry in entries:
            if is_first:
                write(gone(entry.turn, since))
                is_first = False
            line = one_line(_line(entry, digits))
            write(f"{line if width is None or len(line) <= width else line[: width - 1] + '…'}\n")
    if is_first:
        write("no turns\n")


def titled(agent_class: type[Agent], record: AgentRecord) -> str:
    """Which agent it is."""
    key: AgentKey = record.key
    turns = "no turn yet" if not record.sequence else "1 turn" if record.sequence == 1 else f"{record.sequence} turns"
    version = describe(agent_class).version
    return printable(
        f"{key.address}  ({agent_class.__module__}.{agent_class.__qualname__}, version {version}, {turns})"
    )


def gone(first: Turn, since: int | None) -> str:
    """A line about the turns that are missing before the first, if there are."""
    if since is not None or first.sequence == 1:
        return ""
    return f"turns before {first.sequence} are kept no longer\n"


def moment(time: datetime) -> str:
    """A time, in UTC."""
    return time.isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _line(entry: HistoryEntry[Any], digits: int) -> str:
    turn = entry.turn
    words = [f"{turn.sequence:>{digits}}  {moment(turn.now)}  {turn.signal.type}"]
    if turn.outcome != "committed":
        words.append(str(turn.outcome))
    if turn.changes:
        words.append(", ".join(f"{name}={turn.changes[name]!r}" for name in changed(entry.turn, entry.after)))
    words += [f"→ {asked(directive)}" for directive in turn.directives]
    return "  ".join(words)


def changed(turn: Turn, after: Agent) -> list[str]:
    """The fields that a turn changed, in the order of the class."""
    return [name for name in vars(after) if name in turn.changes]


def asked(directive: Directive) -> str:
    """A directive, as it is stored."""
    try:
        data = dict(directive_to_data(directive))
    except PrunellaError:  # one that handlers of today ask for, and that could not be stored
        return repr(directive)
    name = data.pop("directive")
    return f"{name}({', '.join(f'{field}={value!r}' for field, value in data.items())})"


def printable(text: str) -> str:
    """Text of somebody else's: nothing in it moves the cursor."""
    return "".join(character if character.isprintable() else " " for character in text)


def fitted(line: str, width: int | None) -> Iterator[str]:
    """A line in as many as it takes, with its indentation."""
    line = printable(line)
    if width is None or len(line) <= width:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())]
    yield from textwrap.wrap(line, max(width, 20), subsequent_indent=indent + _INDENT, drop_whitespace=False)
