"""The last turns of agents, for people who look at a test that has failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ..agents._turn import Outcome

if TYPE_CHECKING:
    from ..agents import Turn
    from ..runtime import Runtime

__all__ = ["last_turns"]

_MOST_AGENTS: Final = 10
_MOST_TURNS: Final = 10
_LONGEST: Final = 200


def last_turns(runtime: Runtime) -> str:
    """What agents did last, the one whose last turn came last at the end; empty if nothing was recorded of any.

    Args:
        runtime: where they were; it may be closed.
    """
    turns = {agent: runtime.recorder.turns_of(agent) for agent in runtime.recorder.agents()}
    by_time = sorted(turns, key=lambda agent: turns[agent][-1].now)
    shown = by_time[-_MOST_AGENTS:]
    lines = [line for agent in shown for line in _of_agent(runtime, agent, turns[agent])]
    if len(by_time) > len(shown):
        lines.insert(0, f"({len(by_time) - len(shown)} more agents)")
    return "\n".join(lines)


def _of_agent(runtime: Runtime, agent: str, turns: tuple[Turn, ...]) -> Iterator[str]:
    yield f"{agent}:"
    if len(turns) > _MOST_TURNS:
        yield f"  (turns before {turns[-_MOST_TURNS].sequence})"
    for turn in turns[-_MOST_TURNS:]:
        outcome = "" if turn.outcome is Outcome.COMMITTED else f"  {turn.outcome}"
        yield _fitted(f"  {turn.sequence}  {turn.signal.type}{outcome}")
        for field, value in sorted(turn.changes.items()):
            yield _fitted(f"       {field} = {value!r}")
    for signal_type, error in _crashes(runtime, agent):
        yield _fitted(f"  crashed on {signal_type}: {error}")


def _crashes(runtime: Runtime, agent: str) -> list[tuple[str, str]]:
    """The signals that it crashed on, and how; these are no turns."""
    from ..runtime import TurnEvent

    return [
        (event.signal_type, "" if event.error is None else f"{event.error.type}: {event.error.message}")
        for event in runtime.recorder.events_of(agent)
        if isinstance(event, TurnEvent) and event.outcome == "crashed"
    ][-_MOST_TURNS:]


def _fitted(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
