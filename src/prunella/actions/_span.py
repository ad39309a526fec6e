"""The telemetry of one run: a span for it, and one for each attempt."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, final

import trio

from ..telemetry import ErrorInfo, Listeners
from ._errors import ActionError
from ._events import (
    ActionEvent,
    ActionFailedEvent,
    ActionStarted,
    ActionStopped,
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
)

__all__ = ["Span", "info_of"]


def info_of(error: BaseException) -> ErrorInfo:
    """What telemetry shows of an error: of what a function raised the type alone, its message may hold anything."""
    if isinstance(error, trio.Cancelled):
        return ErrorInfo("Cancelled", "")
    if isinstance(error, ActionError) and error.__cause__ is not None:
        return ErrorInfo(type(error).__qualname__, type(error.__cause__).__qualname__)
    return ErrorInfo(type(error).__qualname__, "")


@final
class Span:
    """One run, for those who listen; the start is told when it is made, and exactly one end later."""

    __slots__ = ("_attempt_id", "_begun", "_common", "_tried", "id", "listeners", "parent")

    def __init__(
        self,
        listeners: tuple[Listeners, ...],
        action: str,
        step: str | None,
        parent: str | None,
        agent: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:
        self.listeners = listeners
        self.id = _new_id()
        self.parent = parent
        self._common: dict[str, Any] = {"action": action, "step": step, "agent": agent}
        self._begun = trio.current_time()
        self._tried = self._begun
        self._attempt_id = ""
        self.report(ActionStarted, params=params)

    def report(self, kind: type[ActionEvent], **attributes: Any) -> None:
        """Tells something about the run."""
        self._emit(kind, self.id, self.parent, attributes)

    def attempt(self, number: int, most: int) -> None:
        """An attempt begins."""
        self._attempt_id = _new_id()
        self._tried = trio.current_time()
        self._emit(AttemptStarted, self._attempt_id, self.id, {"attempt": number, "max_attempts": most})

    def attempt_succeeded(self, number: int) -> None:
        """It succeeded."""
        duration = trio.current_time() - self._tried
        self._emit(AttemptStopped, self._attempt_id, self.id, {"attempt": number, "duration": duration})

    def attempt_failed(self, number: int, error: BaseException, delay: float | None) -> None:
        """It did not."""
        about = {
            "attempt": number,
            "duration": trio.current_time() - self._tried,
            "delay": delay,
            "error": info_of(error),
        }
        self._emit(AttemptFailed, self._attempt_id, self.id, about)

    def stop(self, attempts: int, directives: int, value: Any = None) -> None:
        """The run succeeded; `value` is for those who have asked to see it."""
        duration = trio.current_time() - self._begun
        self.report(ActionStopped, duration=duration, attempts=attempts, directives=directives, value=value)

    def fail(self, error: BaseException, attempts: int) -> None:
        """The run failed, or was cancelled."""
        known = error if isinstance(error, ActionError) else None
        self.report(
            ActionFailedEvent,
            error=info_of(error),
            duration=trio.current_time() - self._begun,
            attempts=attempts,
            retryable=known is not None and known.retryable,
            compensation=None if known is None else known.compensation,
        )

    def _emit(self, kind: type[ActionEvent], span: str, parent: str | None, attributes: dict[str, Any]) -> None:
        event = kind(time=trio.current_time(), span_id=span, parent_span_id=parent, **{**self._common, **attributes})
        for listeners in self.listeners:
            listeners.emit(event)


def _new_id() -> str:
    return f"{random.getrandbits(64):016x}"
