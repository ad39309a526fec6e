from __future__ import annotations

import math
import weakref
from time import perf_counter
from typing import Final, final

import trio

__all__ = ["Pace"]

_LONGEST_RUN: Final = 64
_LONGEST_SECONDS: Final = 0.001


@final
class Pace:
    """Says when a task that never has to wait must let others run all the same.

    A checkpoint costs more than most of what is done between two. So a task may go on for 63 such steps, or for a
    millisecond, and then yields; but whether it has been cancelled, or its deadline has passed, is looked at each time.
    """

    __slots__ = ("_begun", "_count", "_task")

    def __init__(self) -> None:
        self._task: weakref.ref[trio.lowlevel.Task] | None = None
        self._count = 0
        self._begun = 0.0

    def is_due(self, task: trio.lowlevel.Task) -> bool:
        """Whether the running task must make a checkpoint now."""
        deadline = trio.current_effective_deadline()
        if deadline != math.inf and deadline <= trio.current_time():
            # Also when the deadline has passed and Trio has not noticed yet: a checkpoint makes it look.
            return True
        if self._task is None or self._task() is not task:
            # Another one than before: there has been a switch in between.
            self._task = weakref.ref(task)
        elif self._count < _LONGEST_RUN - 1 and perf_counter() - self._begun < _LONGEST_SECONDS:
            self._count += 1
            return False
        else:
            self._count = 0
            self._begun = perf_counter()
            return True
        self._count = 1
        self._begun = perf_counter()
        return False
