from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from ..telemetry import Event
from ._errors import Compensated

__all__ = [
    "ActionEvent",
    "ActionFailedEvent",
    "ActionStarted",
    "ActionStopped",
    "ActionUnresponsive",
    "AttemptFailed",
    "AttemptStarted",
    "AttemptStopped",
    "StepSkipped",
]


@attrs.frozen(kw_only=True)
class ActionEvent(Event):
    """Something about one run of an action. `parent_span_id` is the run that it is a part of, if there is one.

    Attributes:
        action: the name of the action.
        step: the name of the step of a plan or chain that the run is, if it is one.
    """

    action: str
    step: str | None = None


@attrs.frozen(kw_only=True)
class ActionStarted(ActionEvent):
    """A run began: its parameters are valid. One whose parameters are refused does not begin, and is no event.

    Attributes:
        params: its parameters, of a runner that was opened with ``payloads=True``; else None.
    """

    name: ClassVar[str] = "action.start"

    params: Mapping[str, Any] | None = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ActionStopped(ActionEvent):
    """A run succeeded.

    Attributes:
        duration: seconds since the start.
        attempts: how many attempts it took.
        directives: how many directives came with the value.
        value: the result, of a runner that was opened with ``payloads=True``; else None.
    """

    name: ClassVar[str] = "action.stop"

    duration: float
    attempts: int
    directives: int = 0
    value: Any = attrs.field(default=None, repr=False)


@attrs.frozen(kw_only=True)
class ActionFailedEvent(ActionEvent):
    """A run failed, or was cancelled; `error` says why, without what the function was given.

    Attributes:
        duration: seconds since the start.
        attempts: how many attempts were made.
        retryable: whether another run may succeed.
        compensation: how undoing ended, if it was tried.
    """

    name: ClassVar[str] = "action.exception"

    duration: float
    attempts: int
    retryable: bool = False
    compensation: Compensated | None = None


@attrs.frozen(kw_only=True)
class AttemptStarted(ActionEvent):
    """An attempt began; its span is a child of that of the run.

    Attributes:
        attempt: its number, from 1.
        max_attempts: how many there may be.
    """

    name: ClassVar[str] = "action.attempt.start"

    attempt: int
    max_attempts: int


@attrs.frozen(kw_only=True)
class AttemptStopped(ActionEvent):
    """An attempt succeeded.

    Attributes:
        attempt: its number, from 1.
        duration: seconds since its start.
    """

    name: ClassVar[str] = "action.attempt.stop"

    attempt: int
    duration: float


@attrs.frozen(kw_only=True)
class AttemptFailed(ActionEvent):
    """An attempt failed, or was cancelled; `error` says why.

    Attributes:
        attempt: its number, from 1.
        duration: seconds since its start.
        delay: seconds until the next one; None if there is none.
    """

    name: ClassVar[str] = "action.attempt.exception"

    attempt: int
    duration: float
    delay: float | None = None


@attrs.frozen(kw_only=True)
class ActionUnresponsive(ActionEvent):
    """A run was cancelled, and the thread of its function goes on: it does not look for cancellation.

    The thread counts against the limit of its runner until it ends; what it returns is dropped.
    """

    name: ClassVar[str] = "action.unresponsive"


@attrs.frozen(kw_only=True)
class StepSkipped(ActionEvent):
    """A step of a plan is left out, because its condition does not hold or it depends on one that is left out."""

    name: ClassVar[str] = "action.step.skipped"
