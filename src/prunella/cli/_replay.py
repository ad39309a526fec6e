"""Turns of an agent, run again, and what comes out differently."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing
from datetime import datetime
from typing import Any

from ..agents import Agent, Directive
from ..storage import AgentRecord, Difference, ReplayEntry, SQLiteStorage, replay
from ._history import asked, changed, fitted, gone, moment, titled

__all__ = ["show_replay"]

_MOST_NAMED = 20


async def show_replay(
    storage: SQLiteStorage,
    agent_class: type[Agent],
    record: AgentRecord,
    until: int | datetime | None,
    write: Callable[[str], None],
    width: int | None,
    *,
    diff: bool,
) -> bool:
    """Writes what came out differently, and with `diff` what changed at each turn; then the state that was recorded.

    Returns:
        Whether all came out the same.

    Raises:
        RestoreFailed, HistoryGone: see `replay`.
    """
    key = record.key

    def tell(line: str) -> None:
        write("".join(f"{part}\n" for part in fitted(line, width)))

    tell(titled(agent_class, record))
    last: ReplayEntry[Any] | None = None
    diverged: list[int] = []
    count = 0
    turns = replay(storage, agent_class, key.id, partition=key.partition, runtime=key.runtime, until=until)
    async with aclosing(turns) as entries:
        async for entry in entries:
            if last is None:
                write(gone(entry.turn, None))
            last = entry
            count += 1
            if diff:
                for line in _changes(entry):
                    tell(line)
            if entry.diverged is None:
                continue
            if not diverged or diff:
                tell(_diverged(entry, is_first=not diverged, is_shown=diff))
                for difference in entry.differences:
                    tell(f"{_INDENT * (1 + diff)}{_difference(difference)}")
            diverged.append(entry.turn.sequence)
    for line in _result(count, diverged, last):
        tell(line)
    return not diverged


_INDENT = "    "


def _changes(entry: ReplayEntry[Any]) -> Iterator[str]:
    turn = entry.turn
    outcome = "" if turn.outcome == "committed" else f"  {turn.outcome}"
    yield f"turn {turn.sequence}  {moment(turn.now)}  {turn.signal.type}{outcome}"
    for name in changed(turn, entry.after):
        yield f"{_INDENT}{name}: {getattr(entry.before, name, None)!r} → {getattr(entry.after, name, None)!r}"
    for directive in turn.directives:
        yield f"{_INDENT}asks for {asked(directive)}"


def _diverged(entry: ReplayEntry[Any], *, is_first: bool, is_shown: bool) -> str:
    turn = entry.turn
    which = "Diverged" if is_first else "differs too"
    if is_shown:
        return f"{_INDENT}{which}: {entry.diverged}"
    return f"{which}: {entry.diverged}  ({turn.signal.type} at {moment(turn.now)})"


def _difference(difference: Difference) -> str:
    recorded, now = difference.recorded, difference.now
    if difference.field == "outcome":
        told = f"{type(now).__name__}: {now}" if isinstance(now, Exception) else now
        return f"outcome: recorded {recorded}, now {told}"
    if difference.field == "directives":
        return f"directives: recorded {_all_asked(recorded)}, now {_all_asked(now)}"
    return f"{difference.field}: recorded {recorded!r}, now {now!r}"


def _all_asked(directives: tuple[Directive, ...]) -> str:
    return ", ".join(map(asked, directives)) or "none"


def _result(count: int, diverged: list[int], last: ReplayEntry[Any] | None) -> Iterator[str]:
    if last is None:
        yield "no turns"
        return
    turns = "1 turn was" if count == 1 else f"{count} turns were"
    if not diverged:
        yield f"{turns} run again, and came out the same"
    else:
        named = ", ".join(map(str, diverged[:_MOST_NAMED])) + (" …" if len(diverged) > _MOST_NAMED else "")
        yield f"{turns} run again, {len(diverged)} came out differently: {named}"
    yield f"recorded state after turn {last.turn.sequence}:"
    fields = vars(last.after)
    for name, value in fields.items():
        yield f"{_INDENT}{name} = {value!r}"
    if not fields:
        yield f"{_INDENT}(no fields)"
