"""The one helper task of a tree: it keeps the tree's deadlines, and does what has to wait for the next step."""

from __future__ import annotations

import heapq
import logging
import math
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._core import Request

__all__ = ["Service", "Timer"]


logger = logging.getLogger("prunella.supervision")


class Timer:
    """Something to be called at a time, unless it is cancelled before."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback


class Service:
    """Timers, chores, and the task that serves them.

    One task serves all deadlines of a tree: a cancel scope for each would cost more than a restart. A *chore* is
    called once, in the next step of the event loop.

    Args:
        on_end: called when the task is about to end.
    """

    __slots__ = ("_chores", "_closed", "_heap", "_numbers", "_parked", "_scope", "_task", "has_ended", "on_end")

    def __init__(self, on_end: Callable[[], None]) -> None:
        self.on_end = on_end
        self.has_ended = False
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers: Iterator[int] = count()
        self._chores: list[Callable[[], None]] = []
        self._task: trio.lowlevel.Task | None = None
        self._scope: trio.CancelScope | None = None
        self._parked = False
        self._closed = False

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Calls `callback` at `when`, on Trio's clock; never, if that is infinite."""
        timer = Timer(when, callback)
        if when < math.inf:
            heapq.heappush(self._heap, (when, next(self._numbers), timer))
            self._set_deadline()
        return timer

    def cancel(self, timer: Timer) -> None:
        """Calls a timer off. Harmless if it has been called."""
        timer.callback = None
        heap = self._heap
        if heap and heap[0][2] is timer:
            self._set_deadline()
        elif len(heap) > 64 and sum(entry[2].callback is None for entry in heap[:32]) == 32:
            # Timers are nearly always called off; those in the middle must not pile up.
            self._heap = [entry for entry in heap if entry[2].callback is not None]
            heapq.heapify(self._heap)

    def soon(self, chore: Callable[[], None], minder: Request | None = None) -> None:
        """Calls `chore` in the next step of the event loop.

        Args:
            chore: what is to be done.
            minder: a request whose caller calls `do_chores` when it is woken; then this task need not be.
        """
        self._chores.append(chore)
        if minder is None or not minder.wake():
            self._wake()

    def close(self) -> None:
        """Ends the task, after the chores that are left."""
        self._closed = True
        self._wake()

    def do_chores(self) -> None:
        """Does what is to be done now, before anybody's turn comes."""
        while self._chores:
            chores, self._chores = self._chores, []
            for chore in chores:
                try:
                    chore()
                except Exception:
                    _log_fault(chore)

    @enable_ki_protection
    async def run(self) -> None:
        """The task."""
        self._task = trio.lowlevel.current_task()
        while not self._closed:
            with trio.CancelScope(shield=True) as scope:
                self._scope = scope
                self._set_deadline()
                while not self._closed:
                    self._do_due()
                    self.do_chores()
                    if not self._closed:
                        self._parked = True
                        await trio.lowlevel.wait_task_rescheduled(self._unpark)
            self._scope = None
        self.do_chores()
        self.has_ended = True
        self.on_end()

    def _unpark(self, _: Any) -> trio.lowlevel.Abort:
        self._parked = False
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        if self._parked:
            assert self._task is not None
            self._parked = False
            trio.lowlevel.reschedule(self._task)

    def _set_deadline(self) -> None:
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
        if self._scope is not None:
            deadline = heap[0][0] if heap else math.inf
            if self._scope.deadline != deadline:
                self._scope.deadline = deadline

    def _do_due(self) -> None:
        heap = self._heap
        while heap and heap[0][0] <= trio.current_time():
            callback = heapq.heappop(heap)[2].callback
            if callback is not None:
                try:
                    callback()
                except Exception:
                    _log_fault(callback)
        self._set_deadline()


def _log_fault(callback: Callable[[], None]) -> None:
    """Logs the error at hand. A fault of whoever asked for a call must not end the keeper of everybody's deadlines."""
    logger.exception("a callback of the supervision tree failed: %r", callback)
