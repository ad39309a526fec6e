"""What a supervision tree reports: typed events through one hook, and a log that a crash loop cannot flood."""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..telemetry import ErrorInfo, Event, Listeners
from ._reasons import Crashed, ExitReason, summary

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ChildExited",
    "ChildRestarted",
    "ChildStartFailed",
    "ChildStarted",
    "GaveUp",
    "Log",
    "Reporter",
    "ShutdownError",
    "StillStopping",
    "SupervisionEvent",
    "Unresponsive",
]

logger = logging.getLogger("prunella.supervision")


@attrs.frozen(kw_only=True)
class SupervisionEvent(Event):
    """Something that happened to a child. All kinds of supervision derive from it.

    Attributes:
        child: the path of the child from the root of its tree ("workers/w1").
        life: which of its lives it is about.
        reason: how that life ended, where one has.
    """

    child: str
    life: int
    reason: ExitReason | None = None


@attrs.frozen(kw_only=True)
class ChildStarted(SupervisionEvent):
    """A child has started for the first time, or by hand."""

    name: ClassVar[str] = "supervision.child.started"


@attrs.frozen(kw_only=True)
class ChildExited(SupervisionEvent):
    """A life that had started has ended, for whatever reason.

    Attributes:
        expected: whether that needs no attention: it was asked to, or ended cleanly and is not permanent.
    """

    name: ClassVar[str] = "supervision.child.exited"

    expected: bool


@attrs.frozen(kw_only=True)
class ChildRestarted(SupervisionEvent):
    """A child has been started again by its supervisor; `reason` is how the life before ended.

    Attributes:
        restarts: how often that has happened now.
    """

    name: ClassVar[str] = "supervision.child.restarted"

    restarts: int


@attrs.frozen(kw_only=True)
class ChildStartFailed(SupervisionEvent):
    """A child ended before it had started, at boot, by hand or in a restart (OTP's ``start_error``)."""

    name: ClassVar[str] = "supervision.child.start_failed"


@attrs.frozen(kw_only=True)
class GaveUp(SupervisionEvent):
    """Restarts came too often: the supervisor ends, or, with a budget per child, it removes the child.

    Attributes:
        supervisor: the path of the supervisor; empty for the root.
    """

    name: ClassVar[str] = "supervision.gave_up"

    supervisor: str


@attrs.frozen(kw_only=True)
class ShutdownError(SupervisionEvent):
    """A child that was asked to stop ended in a way that it should not have."""

    name: ClassVar[str] = "supervision.shutdown_error"


@attrs.frozen(kw_only=True)
class Unresponsive(SupervisionEvent):
    """A task was cancelled, was given its grace second, and still runs. It no longer counts.

    Attributes:
        stack: where it was, as text.
    """

    name: ClassVar[str] = "supervision.unresponsive"

    stack: str


@attrs.frozen(kw_only=True)
class StillStopping(Event):
    """A block is being left and still waits, for tasks that take their time or do not end.

    Attributes:
        waiting_for: the paths of the children, the first ten.
        seconds: how long it has been waiting.
    """

    name: ClassVar[str] = "supervision.still_stopping"

    waiting_for: tuple[str, ...]
    seconds: float


class Reporter:
    """Builds the events of a tree, if anybody wants them, and hands them out."""

    __slots__ = ("_listeners", "_log")

    def __init__(self, listeners: Listeners, log: Log) -> None:
        self._listeners = listeners
        self._log = log

    def wants(self, level: int) -> bool:
        """Whether a report of that level would be heard by anybody."""
        return bool(self._listeners) or logger.isEnabledFor(level)

    def report(self, event: Event, level: int | None) -> None:
        """Hands an event to the listeners at once, and to the log, if it has a level, for later."""
        self._listeners.emit(event)
        if level is not None and logger.isEnabledFor(level):
            self._log.take(event, level)


def error_of(reason: ExitReason | None) -> ErrorInfo | None:
    """The error of an event with that reason."""
    if isinstance(reason, Crashed):
        return ErrorInfo(reason.type.__qualname__, reason.message)
    return None


class Log:
    """The listener that is always there. It formats nothing in a restart, and writes only so much about each child.

    Events are kept until `write` is called, outside of whatever happened; at most `lines` about one child within
    `seconds`. What is left out is counted, and said.
    """

    lines = 10
    seconds = 10.0
    most_children = 1_000
    most_waiting = 10_000

    __slots__ = ("_counts", "_left_out", "_soon", "_waiting", "_window_began")

    def __init__(self, soon: Callable[[Callable[[], None]], None]) -> None:
        self._soon = soon
        self._waiting: deque[tuple[int, Event]] = deque()
        self._window_began = 0.0
        self._counts: dict[str, int] = {}
        self._left_out: dict[str, int] = {}

    def take(self, event: Event, level: int) -> None:
        if event.time - self._window_began >= self.seconds:
            self._say_what_was_left_out()
            self._window_began = event.time
            self._counts.clear()
        child = getattr(event, "child", "")
        if child not in self._counts and len(self._counts) >= self.most_children:
            child = "(other children)"
        number = self._counts[child] = self._counts.get(child, 0) + 1
        if number > self.lines or len(self._waiting) >= self.most_waiting:
            self._left_out[child] = self._left_out.get(child, 0) + 1
            return
        if not self._waiting:
            self._soon(self.write)
        self._waiting.append((level, event))

    def write(self) -> None:
        """Writes what waits."""
        while self._waiting:
            level, event = self._waiting.popleft()
            text, args = _line(event)
            _log(level, text, *args, extra={"prunella_event": event})

    def close(self) -> None:
        """Writes what waits, and how much was left out."""
        self.write()
        self._say_what_was_left_out()

    def _say_what_was_left_out(self) -> None:
        left_out, self._left_out = self._left_out, {}
        for child, number in left_out.items():
            _log(logging.ERROR, "child %s: left out %d more lines about it", child, number)


def _log(level: int, text: str, *args: object, **options: Any) -> None:
    """Writes a line. A handler that fails must not fail the tree: that is told on standard error, as logging does."""
    try:
        logger.log(level, text, *args, **options)
    except Exception:
        if logging.raiseExceptions and sys.stderr is not None:
            traceback.print_exc()


def _line(event: Event) -> tuple[str, tuple[object, ...]]:
    """The text of a log line; its arguments are formatted only if a handler writes it."""
    match event:
        case ChildStarted():
            return "child %s started", (event.child,)
        case ChildRestarted():
            return "child %s restarted, for the %d. time", (event.child, event.restarts)
        case ChildExited(reason=Crashed()):
            return "child %s crashed: %s", (event.child, event.reason)
        case ChildExited():
            return "child %s ended: %s", (event.child, event.reason)
        case ChildStartFailed():
            return "child %s failed to start: %s", (event.child, event.reason)
        case GaveUp():
            who = event.supervisor or "the root supervisor"
            return "%s gave up over child %s: %s", (who, event.child, summary(event.reason))
        case ShutdownError():
            return "child %s did not stop as it should: %s", (event.child, event.reason)
        case Unresponsive():
            return "child %s does not end though it was cancelled; it no longer counts\n%s", (
                event.child,
                event.stack,
            )
        case StillStopping():
            children = ", ".join(event.waiting_for)
            return "still waiting, after %.0f s, for %s", (event.seconds, children)
    return "%s", (event,)
