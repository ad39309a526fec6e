from __future__ import annotations

import random
from typing import Any, final

import trio

from ..signals import Signal, Trace
from ..telemetry import ErrorInfo, Listeners
from ._errors import DispatchError
from ._events import DispatchEvent, DispatchFailed, DispatchStarted, DispatchStopped
from ._http_targets import HTTPTarget
from ._lanes import Ticket
from ._shown import kind_of, shown
from ._targets import Target

__all__ = ["Delivery", "Span"]


@final
class Delivery:
    """One signal on its way to one target.

    Attributes:
        given: the target as the caller named it; that is what errors and results show.
        target: what it stands for.
        ticket: its place in the lane of that target.
        span: what tells the listeners; None if there were none when it began.
        attempts: how many were made.
    """

    __slots__ = ("attempts", "given", "span", "target", "ticket")

    def __init__(self, given: object, target: Target | HTTPTarget, ticket: Ticket, span: Span | None) -> None:
        self.given = given
        self.target = target
        self.ticket = ticket
        self.span = span
        self.attempts = 0


@final
class Span:
    """The events of one delivery: its start now, and exactly one end later."""

    __slots__ = ("_begun", "_common", "_telemetry")

    def __init__(self, telemetry: Listeners, signal: Signal, target: Target | HTTPTarget) -> None:
        trace = Trace.of(signal)
        self._telemetry = telemetry
        self._begun = trio.current_time()
        self._common: dict[str, Any] = {
            "span_id": f"{random.getrandbits(64):016x}",
            "parent_span_id": None if trace is None else trace.span_id,
            "signal_id": signal.id,
            "signal_type": signal.type,
            "kind": kind_of(target),
            "target": shown(target),
        }
        self.report(DispatchStarted)

    def report(self, kind: type[DispatchEvent], **attributes: Any) -> None:
        """Tells the listeners about something within it."""
        self._telemetry.emit(kind(time=trio.current_time(), **self._common, **attributes))

    def stop(self, attempts: int) -> None:
        """It is delivered."""
        self.report(DispatchStopped, duration=trio.current_time() - self._begun, attempts=attempts)

    def fail(self, error: BaseException, attempts: int) -> None:
        """It is not."""
        details: dict[str, Any] = {"reason": None, "attempts": attempts}
        message = "the caller was cancelled" if isinstance(error, trio.Cancelled) else ""
        if isinstance(error, DispatchError):
            message = str(error)
            details = {
                "reason": error.reason,
                "attempts": error.attempts,
                "status": error.status,
                "retryable": error.retryable,
            }
        self.report(
            DispatchFailed,
            error=ErrorInfo(type(error).__qualname__, message),
            duration=trio.current_time() - self._begun,
            **details,
        )
