"""The past of an agent, run again, to see whether its code of today would have decided the same."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Generic, TypeVar, final

import attrs

from ..agents import Agent, Context, Diverged, Turn
from ..agents import replay as run_again
from ..agents._turns import take_turn, visible
from ._history import history
from ._storage import Storage

__all__ = ["Difference", "ReplayEntry", "replay"]

A = TypeVar("A", bound=Agent)


@final
@attrs.frozen
class Difference:
    """One thing that came out differently.

    Attributes:
        field: a field of the state, `directives`, or `outcome`.
        recorded: what it was then.
        now: what it is today. Of `outcome` the exception that a handler raised, if one did.
    """

    field: str
    recorded: Any
    now: Any


@final
@attrs.frozen
class ReplayEntry(Generic[A]):
    """One turn of the past, run again.

    Attributes:
        turn: what was heard and decided.
        before, after: the agent as it was recorded, in the form that its class has today.
        diverged: that it came out differently; `None` if it did not.
        differences: what did, in detail.
    """

    turn: Turn
    before: A
    after: A
    diverged: Diverged | None
    differences: tuple[Difference, ...]


async def replay(
    storage: Storage,
    agent_class: type[A],
    id: str,
    *,
    partition: str | None = None,
    runtime: str = "default",
    since: int | None = None,
    until: int | datetime | None = None,
) -> AsyncGenerator[ReplayEntry[A], None]:
    """Runs the handlers of recorded turns again, each on the state that was recorded before it. Nothing is changed.

    A turn that comes out differently stops nothing, and spoils no later one. Turns that no handler decided are taken
    as they were recorded. Whoever leaves the loop early closes it, with `contextlib.aclosing`.

    Args:
        storage: opened for this if it is not open.
        agent_class: its class, as it is today; older state is migrated.
        id, partition, runtime: which agent.
        since, until: the first turn and the last, as for `history`.

    Raises:
        AgentNotFound: no such agent is stored.
        HistoryGone: `since` is kept no longer.
        RestoreFailed: what is stored cannot be read, or is of another type.
        StorageError: the storage cannot be opened. One that is not there is not made.
        InvalidArgument: `since` or `until` is neither, or `storage` is no storage.
    """
    past = history(storage, agent_class, id, partition=partition, runtime=runtime, since=since, until=until)
    async with aclosing(past) as entries:
        async for entry in entries:
            turn, before, after = entry.turn, entry.before, entry.after
            try:
                for _ in run_again(agent_class, [turn], start=before, agent_id=id, partition=partition):
                    pass
            except Diverged as diverged:
                differences = _differences(diverged, turn, before, after, id, partition)
                yield ReplayEntry(turn, before, after, diverged, differences)
            else:
                yield ReplayEntry(turn, before, after, None, ())


def _differences(
    diverged: Diverged, turn: Turn, before: Agent, after: Agent, id: str, partition: str | None
) -> tuple[Difference, ...]:
    if diverged.__cause__ is not None:
        return (Difference("outcome", str(turn.outcome), diverged.__cause__),)
    signal = visible(turn.signal)

    def make_context() -> Context:
        return Context(id, partition, turn.now, turn.seed, turn.parent, turn.children, signal)

    now, directives = take_turn(before, turn.signal, make_context, strict=False)
    found = {"outcome": (str(turn.outcome), "committed"), "directives": (turn.directives, tuple(directives))}
    return tuple(
        [
            Difference(field, *found[field])
            if field in found
            else Difference(field, getattr(after, field, None), getattr(now, field, None))
            for field in diverged.fields
        ]
    )
