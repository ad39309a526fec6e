"""A log that a crash loop cannot flood, and that is written outside of what happened."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any, Final, final

__all__ = ["LimitedLog"]

_MOST_LINES: Final = 10
_SECONDS: Final = 10.0
_MOST_SUBJECTS: Final = 1_000
_MOST_WAITING: Final = 10_000


@final
class LimitedLog:
    """Takes lines, and writes them in the next step of the event loop.

    At most 10 lines about one subject within 10 seconds: a crash loop is no logging loop. What is left out is counted,
    and said.

    Args:
        logger: where they are written.
        kind: what the subjects are, in one word.
        soon: calls a function in the next step of the event loop; None as long as there is nobody who could.
    """

    __slots__ = ("_counts", "_kind", "_left_out", "_logger", "_soon", "_waiting", "_window_began")

    def __init__(
        self, logger: logging.Logger, kind: str, soon: Callable[[Callable[[], None]], object] | None = None
    ) -> None:
        self._logger = logger
        self._kind = kind
        self._soon = soon
        self._waiting: deque[tuple[int, str, tuple[object, ...], dict[str, Any]]] = deque()
        self._window_began = 0.0
        self._counts: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def opens(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """From now on there is somebody who writes.

        Args:
            soon: calls a function in the next step of the event loop.
        """
        self._soon = soon

    def wants(self, subject: str, level: int, now: float) -> bool:
        """Whether a line about a subject would be written; counts it."""
        if not self._logger.isEnabledFor(level):
            return False
        if now - self._window_began >= _SECONDS:
            self._say_what_was_left_out()
            self._window_began = now
            self._counts.clear()
        if subject not in self._counts and len(self._counts) >= _MOST_SUBJECTS:
            subject = "(others)"
        number = self._counts[subject] = self._counts.get(subject, 0) + 1
        if number > _MOST_LINES or len(self._waiting) >= _MOST_WAITING:
            self._left_out[subject] = self._left_out.get(subject, 0) + 1
            return False
        return True

    def take(self, level: int, text: str, *args: object, **options: Any) -> None:
        """Takes a line that it wants.

        Args:
            level: its level.
            text: what it says; with `args` it becomes a line when it is written, not before.
            *args: what `text` speaks of.
            **options: whatever else `logging.Logger.log` takes.
        """
        if not self._waiting and self._soon is not None:
            self._soon(self.write)
        self._waiting.append((level, text, args, options))

    def write(self) -> None:
        """Writes what waits."""
        while self._waiting:
            level, text, args, options = self._waiting.popleft()
            self._write(level, text, args, options)

    def close(self) -> None:
        """Writes what waits, and how much was left out."""
        self.write()
        self._say_what_was_left_out()

    def _say_what_was_left_out(self) -> None:
        left_out, self._left_out = self._left_out, {}
        for subject, number in left_out.items():
            self._write(logging.ERROR, f"{self._kind} %s: left out %d more lines about it", (subject, number), {})

    def _write(self, level: int, text: str, args: tuple[object, ...], options: dict[str, Any]) -> None:
        # A handler that fails must not fail what is being logged: that is told on standard error, as logging does.
        try:
            self._logger.log(level, text, *args, **options)
        except Exception:
            if logging.raiseExceptions and sys.stderr is not None:
                traceback.print_exc()
