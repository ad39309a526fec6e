from __future__ import annotations

from typing import ClassVar

import attrs

from ..telemetry import Event
from ._breaker import CircuitState
from ._errors import Reason

__all__ = [
    "AttemptFailed",
    "CircuitChanged",
    "DispatchEvent",
    "DispatchFailed",
    "DispatchStarted",
    "DispatchStopped",
]


@attrs.frozen(kw_only=True)
class DispatchEvent(Event):
    """Something about one signal on its way to one target; `parent_span_id` is the span that the signal carries.

    Attributes:
        signal_id: the id of the signal.
        signal_type: its type.
        kind: the kind of target: `function`, `agent`, `webhook`, `custom`, …
        target: which one: a name, or a URL without its query.
    """

    signal_id: str
    signal_type: str
    kind: str
    target: str


@attrs.frozen(kw_only=True)
class DispatchStarted(DispatchEvent):
    """A dispatch was asked for; it may have to wait for its turn."""

    name: ClassVar[str] = "dispatch.start"


@attrs.frozen(kw_only=True)
class DispatchStopped(DispatchEvent):
    """The signal was delivered.

    Attributes:
        duration: seconds since the start.
        attempts: how many attempts it took.
    """

    name: ClassVar[str] = "dispatch.stop"

    duration: float
    attempts: int


@attrs.frozen(kw_only=True)
class DispatchFailed(DispatchEvent):
    """The signal was not delivered; `error` says why.

    Attributes:
        duration: seconds since the start.
        attempts: how many attempts were made.
        reason: that of the `DispatchError`; None if the caller was cancelled, or something raised that is no error.
        status: the last HTTP status, if there was one.
        retryable: whether the same dispatch may succeed later.
    """

    name: ClassVar[str] = "dispatch.exception"

    duration: float
    attempts: int
    reason: Reason | None
    status: int | None = None
    retryable: bool = False


@attrs.frozen(kw_only=True)
class AttemptFailed(DispatchEvent):
    """An attempt failed, and there will be another.

    Attributes:
        attempt: its number, from 1.
        reason: why it failed.
        status: its HTTP status, if there was one.
        delay: seconds until the next.
    """

    name: ClassVar[str] = "dispatch.retry"

    attempt: int
    reason: Reason
    status: int | None
    delay: float


@attrs.frozen(kw_only=True)
class CircuitChanged(Event):
    """The circuit of an origin opened, was half opened for a probe, or closed.

    Attributes:
        origin: scheme, host and port.
        state: what it is now.
    """

    name: ClassVar[str] = "dispatch.circuit"

    origin: str
    state: CircuitState
