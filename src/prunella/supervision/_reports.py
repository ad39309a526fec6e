"""What a supervision tree reports: typed events through one hook, and a log that a crash loop cannot flood."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..telemetry import ErrorInfo, Event, Listeners
from ..telemetry._log import LimitedLog
from ..telemetry._redaction import redacted_text
from ._reasons import Crashed, ExitReason, summary

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ChildExited",
    "ChildRestarted",
    "ChildStartFailed",
    "ChildStarted",
    "GaveUp",
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
        reason: how that life ended, where one has. Of an agent that a signal has crashed, without the values that
            the signal brought, as far as they stand in messages.
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
    """Hands the events of a tree out: to the listeners at once, and to a log that is always there."""

    __slots__ = ("listeners", "log")

    def __init__(self, listeners: Listeners, soon: Callable[[Callable[[], None]], object]) -> None:
        self.listeners = listeners
        self.log = LimitedLog(logger, "child", soon)

    def hears(self, level: int | None) -> bool:
        """Whether anybody would hear of something that is logged at that level, if at any."""
        return bool(self.listeners) or (level is not None and logger.isEnabledFor(level))

    def report(self, event: Event, level: int | None) -> None:
        """Hands an event out.

        Args:
            event: what happened.
            level: at which it is logged; None if it is not.
        """
        self.listeners.emit(event)
        if level is not None:
            text, args = _line(event)
            self.log.take(level, text, *args, extra={"prunella_event": event})


def error_of(reason: ExitReason | None) -> ErrorInfo | None:
    """The error of an event with that reason."""
    if isinstance(reason, Crashed):
        return ErrorInfo(reason.type.__qualname__, reason.message or next(iter(reason.error.notes), ""))
    return None


def without(reason: ExitReason | None, payload: Any) -> ExitReason | None:
    """The reason as reports show it: what the child was handling when it crashed is cut out of the messages."""
    if payload is None or not isinstance(reason, Crashed):
        return reason
    return Crashed(reason.error.reworded(lambda message: redacted_text(message, payload)))


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
