from __future__ import annotations

import trio

from .._time import Pace

__all__ = ["pace"]

_of_loop: trio.lowlevel.RunVar[Pace] = trio.lowlevel.RunVar("prunella.actions.pace")


async def pace() -> None:
    """Checks for cancellation each time; lets other tasks run at least every 64th time, or after a millisecond.

    A full checkpoint costs more than most actions that do not wait.
    """
    try:
        kept = _of_loop.get()
    except LookupError:
        kept = Pace()
        _of_loop.set(kept)
    if kept.is_due(trio.lowlevel.current_task()):
        await trio.lowlevel.checkpoint()
