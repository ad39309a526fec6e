"""The log of a runtime: a few lines about each agent, written outside of what happened."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, final

__all__ = ["AgentLog"]

logger = logging.getLogger("prunella.runtime")


@final
class AgentLog:
    """Takes lines, and writes them in the next step of the event loop.

    At most `lines` about one agent within `seconds`: a crash loop is no logging loop. What is left out is counted,
    and said.
    """

    lines = 10
    seconds = 10.0
    most_agents = 1_000

    __slots__ = ("_counts", "_left_out", "_soon", "_waiting", "_window_began")

    def __init__(self) -> None:
        self._soon: Callable[[Callable[[], None]], object] | None = None
        self._waiting: deque[tuple[int, str, tuple[object, ...], BaseException | None]] = deque()
        self._window_began = 0.0
        self._counts: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def opens(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """From now on there is somebody who writes.

        Args:
            soon: calls a function in the next step of the event loop.
        """
        self._soon = soon

    def wants(self, agent: str, level: int, now: float) -> bool:
        """Whether a line about an agent would be written; counts it."""
        if not logger.isEnabledFor(level):
            return False
        if now - self._window_began >= self.seconds:
            self._say_what_was_left_out()
            self._window_began = now
            self._counts.clear()
        if agent not in self._counts and len(self._counts) >= self.most_agents:
            agent = "(other agents)"
        number = self._counts[agent] = self._counts.get(agent, 0) + 1
        if number > self.lines:
            self._left_out[agent] = self._left_out.get(agent, 0) + 1
            return False
        return True

    def take(self, level: int, text: str, *args: object, error: BaseException | None = None) -> None:
        """Takes a line that it wants."""
        if not self._waiting and self._soon is not None:
            self._soon(self.write)
        self._waiting.append((level, text, args, error))

    def write(self) -> None:
        """Writes what waits."""
        while self._waiting:
            level, text, args, error = self._waiting.popleft()
            _log(level, text, *args, exc_info=error)

    def close(self) -> None:
        """Writes what waits, and how much was left out."""
        self.write()
        self._say_what_was_left_out()

    def _say_what_was_left_out(self) -> None:
        left_out, self._left_out = self._left_out, {}
        for agent, number in left_out.items():
            _log(logging.ERROR, "agent %s: left out %d more lines about it", agent, number)


def _log(level: int, text: str, *args: object, **options: Any) -> None:
    """Writes a line. A handler that fails must not fail a turn: that is told on standard error, as logging does."""
    try:
        logger.log(level, text, *args, **options)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()
