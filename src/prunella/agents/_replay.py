from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

from ..errors import InvalidArgument
from ._agent import Agent
from ._context import Context
from ._equality import same
from ._errors import Diverged, InvalidSignalData, Rejected, UnhandledSignal
from ._hidden import visible
from ._turn import Outcome, Turn
from ._turns import changed_fields, take_turn

__all__ = ["replay"]

A = TypeVar("A", bound=Agent)

# Turns that no handler has decided: what policies, hooks and migrations did to the state.
_GIVEN: Final = frozenset({"prunella.policy", "prunella.restored", "prunella.migrated"})


def replay(
    agent_class: type[A],
    turns: Iterable[Turn],
    *,
    start: A | None = None,
    agent_id: str = "",
    partition: str | None = None,
) -> Iterator[A]:
    """Runs recorded turns again, handlers included, and gives the agent after each.

    It takes from the record all that handlers can know, so a pure handler that has not been changed comes out the
    same. Turns that no handler decided are taken as they were recorded.

    Args:
        agent_class: the class.
        turns: the turns, in order.
        start: the agent before the first of them; a new one by default.
        agent_id, partition: for handlers that read them from their Context.

    Raises:
        Diverged: at the first turn whose changes, directives or outcome differ. What a handler raised is its cause.
        InvalidArgument: `start` is of another class, or one of the others is of another kind.
    """
    if not isinstance(agent_class, type) or not issubclass(agent_class, Agent) or agent_class is Agent:
        raise InvalidArgument("replay", "agent_class", "a class derived from Agent", agent_class)
    if not isinstance(turns, Iterable):
        raise InvalidArgument("replay", "turns", "an iterable of turns", turns)
    if start is not None and type(start) is not agent_class:
        raise InvalidArgument("replay", "start", f"a value of {agent_class.__qualname__}", start)
    return _replayed(agent_class() if start is None else start, turns, agent_id, partition)


def _replayed(agent: A, turns: Iterable[Turn], agent_id: str, partition: str | None) -> Iterator[A]:
    for turn in turns:
        if not isinstance(turn, Turn):
            raise InvalidArgument("replay", "turns", "turns", turn)
        if turn.signal.type in _GIVEN:
            agent = agent.set(**turn.changes)
        elif turn.outcome is not Outcome.DEAD:
            agent = _again(agent, turn, agent_id, partition)
        yield agent


def _again(agent: A, turn: Turn, agent_id: str, partition: str | None) -> A:
    def make_context() -> Context:
        return Context(agent_id, partition, turn.now, turn.seed, turn.parent, turn.children, visible(turn.signal))

    try:
        after, directives = take_turn(agent, turn.signal, make_context, strict=False)
    except Exception as error:
        if _outcome_of(error) is not turn.outcome:
            raise Diverged(turn.sequence, ("outcome",)) from error
        return agent
    differing = [] if turn.outcome is Outcome.COMMITTED else ["outcome"]
    differing += _differing(changed_fields(agent, after), turn.changes)
    if not same(tuple(directives), turn.directives):
        differing.append("directives")
    if differing:
        raise Diverged(turn.sequence, tuple(differing))
    return after


def _outcome_of(error: Exception) -> Outcome | None:
    if isinstance(error, (Rejected, InvalidSignalData)):
        return Outcome.REJECTED
    return Outcome.UNHANDLED if isinstance(error, UnhandledSignal) else None


def _differing(changes: Any, recorded: Any) -> list[str]:
    names = [*changes, *(name for name in recorded if name not in changes)]
    return [
        name for name in names if name not in changes or name not in recorded or not same(changes[name], recorded[name])
    ]
