from __future__ import annotations

import math
import weakref
from time import perf_counter
from typing import Final

import trio

__all__ = ["pace"]

_LONGEST_RUN: Final = 64
_LONGEST_SECONDS: Final = 0.001


class _Pace:
    __slots__ = ("begun", "count", "task")

    def __init__(self) -> None:
        self.task: weakref.ref[trio.lowlevel.Task] | None = None
        self.count = 0
        self.begun = 0.0


_of_loop: trio.lowlevel.RunVar[_Pace] = trio.lowlevel.RunVar("prunella.actions.pace")


async def pace() -> None:
    """Checks for cancellation each time; lets other tasks run at least every 64th time, or after a millisecond.

    A full checkpoint costs more than most actions that do not wait.
    """
    try:
        kept = _of_loop.get()
    except LookupError:
        kept = _Pace()
        _of_loop.set(kept)
    task = trio.lowlevel.current_task()
    deadline = trio.current_effective_deadline()
    if deadline == math.inf or deadline > trio.current_time():
        if kept.task is None or kept.task() is not task:
            # Another task than before: there has been a switch in between.
            kept.task = weakref.ref(task)
            kept.count = 1
            kept.begun = perf_counter()
            return
        if kept.count < _LONGEST_RUN and perf_counter() - kept.begun < _LONGEST_SECONDS:
            kept.count += 1
            return
    await trio.lowlevel.checkpoint()
    kept.count = 0
    kept.begun = perf_counter()
