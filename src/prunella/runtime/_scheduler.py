"""The one task that handles what waits in mailboxes: many signals per wake-up, and nobody for long."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import enable_ki_protection

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["Pace", "Scheduler"]

_TURNS_PER_VISIT = 32
_TURNS_BETWEEN_CHECKPOINTS = 64
_SECONDS_BETWEEN_CHECKPOINTS = 0.001


class Pace:
    """Says when it is time to let other tasks run: at the 64th turn, or after a millisecond."""

    __slots__ = ("_began", "_count")

    def __init__(self) -> None:
        self._count = 0
        self._began = 0.0

    def due(self, turns: int = 1) -> bool:
        """Counts turns; whether a checkpoint is due."""
        now = time.perf_counter()
        if self._count == 0:
            self._began = now
        self._count += turns
        if self._count >= _TURNS_BETWEEN_CHECKPOINTS or now - self._began >= _SECONDS_BETWEEN_CHECKPOINTS:
            self._count = 0
            return True
        return False


class Scheduler:
    """The agents whose signals wait, and the loop that serves them in turn.

    The queue is no part of the task: if that should crash, its supervisor starts it again, and nothing is lost.
    """

    __slots__ = ("_parked", "_ready")

    def __init__(self) -> None:
        self._ready: deque[AgentServer] = deque()
        self._parked: trio.lowlevel.Task | None = None

    def add(self, server: AgentServer) -> None:
        """Puts an agent into the queue."""
        self._ready.append(server)
        if self._parked is not None:
            trio.lowlevel.reschedule(self._parked)
            self._parked = None

    @enable_ki_protection
    async def run(self) -> None:
        """The loop; a child of the runtime's own supervisor."""
        pace = Pace()
        while True:
            while self._ready:
                handled = self._ready.popleft().drain(_TURNS_PER_VISIT, _SECONDS_BETWEEN_CHECKPOINTS)
                if pace.due(max(1, handled)):
                    await trio.lowlevel.checkpoint()
            self._parked = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._parked = None
        return trio.lowlevel.Abort.SUCCEEDED
