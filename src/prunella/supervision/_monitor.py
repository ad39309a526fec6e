"""Waiting for the end of somebody else's child."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from ._errors import InvalidSpec, SupervisorStopped
from ._handle import SupervisorHandle
from ._info import ChildInfo
from ._life import HostedLife
from ._live import LiveSupervisor
from ._reasons import ExitReason, Shutdown

__all__ = ["monitor"]


@asynccontextmanager
async def monitor(target: Any) -> AsyncIterator[Callable[[], Awaitable[ExitReason]]]:
    """Watches one life of a child, without touching it (Erlang's monitor)::

        async with monitor(supervisor.get_child("poller")) as down:
            reason = await down()

    `down()` returns the exit reason of that life, exactly as its supervisor saw it: from any task, and again at
    once when it is asked again. A restart of the child is another life.

    Args:
        target: a `ChildInfo`, or the handle of a supervisor, of which the present life is meant.

    Raises:
        InvalidSpec: it is neither.
    """
    life = _life_of(target)

    async def down() -> ExitReason:
        if life is None:
            await trio.lowlevel.checkpoint()
            return Shutdown("noproc")
        if isinstance(life, HostedLife):
            return await life.wait_ended()
        await life.wait_over()
        assert life.ending is not None
        return life.ending.reason

    await trio.lowlevel.checkpoint()
    yield down


def _life_of(target: Any) -> HostedLife | LiveSupervisor | None:
    if isinstance(target, ChildInfo):
        life = target._life
        assert life is None or isinstance(life, HostedLife)
        return life
    if isinstance(target, SupervisorHandle):
        try:
            live = target._live
        except SupervisorStopped:
            return None
        return live if live.life is None else live.life
    watched = getattr(target, "_watched_life", None)
    if watched is None:
        raise InvalidSpec("monitor()", "target", "a ChildInfo or the handle of a supervisor", target)
    found: HostedLife | None = watched()
    return found
