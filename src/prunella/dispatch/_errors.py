from __future__ import annotations

from enum import StrEnum
from typing import Any

from ..errors import InvalidArgument, PrunellaError
from ._shown import shown

__all__ = ["DispatchError", "DispatchTimeout", "InvalidSignature", "MissingExtra", "Reason", "dispatch_error"]


class Reason(StrEnum):
    """Why a signal was not delivered."""

    CLOSED = "closed"
    """The channel, or the dispatcher itself, is closed; the agent has stopped."""
    RAISED = "raised"
    """The function, or the custom target, raised; or the signal could not be written for the wire."""
    UNREACHABLE = "unreachable"
    """Nobody is there: a connection is refused or breaks, a name is held by nobody, an
    agent of that id never was."""
    TIMEOUT = "timeout"
    """An attempt got no answer in its time."""
    STATUS = "status"
    """The answer was an HTTP status other than 2xx."""
    CIRCUIT_OPEN = "circuit_open"
    """Its origin failed too often of late; no attempt was made."""
    NOT_ALLOWED = "not_allowed"
    """Its host is not among those that the dispatcher may talk to."""
    OVERLOADED = "overloaded"
    """Too many signals wait for this target already."""


_WORTH_ANOTHER_TRY = frozenset({Reason.UNREACHABLE, Reason.TIMEOUT, Reason.CIRCUIT_OPEN, Reason.OVERLOADED})


class DispatchError(PrunellaError):
    """A signal was not delivered. What caused it is its `__cause__`, if there is more to say.

    A custom target may raise it about itself, to say more than that it raised.

    Args:
        target: where the signal should have gone, as the caller named it.
        reason: why it did not get there.
        status: the last HTTP status, if there was one.
        attempts: how many attempts were made.
        retryable: whether the same dispatch may succeed later; left out, as the reason suggests.
        retry_after: seconds after which another try makes sense, if the other side or the breaker said so.
        problem: what is wrong, in words that may stand in a log: no payload, no secret. Of a cause without such words
            the message shows the type only.

    Raises:
        InvalidArgument: there is no such reason.
    """

    def __init__(
        self,
        target: object,
        reason: Reason | str,
        *,
        status: int | None = None,
        attempts: int = 1,
        retryable: bool | None = None,
        retry_after: float | None = None,
        problem: str = "",
    ) -> None:
        super().__init__(target, reason)
        self.target = target
        self.reason = _reason(reason)
        self.status = status
        self.attempts = attempts
        self.retryable = self.reason in _WORTH_ANOTHER_TRY if retryable is None else retryable
        self.retry_after = retry_after
        self.problem = problem

    def __str__(self) -> str:
        # Neither the signal nor the message of any cause: either may hold what must not get into a log.
        what = f"status {self.status}" if self.reason is Reason.STATUS else str(self.reason)
        cause = "" if self.__cause__ is None else type(self.__cause__).__name__
        if cause or self.problem:
            what += f" ({': '.join(filter(None, (cause, self.problem)))})"
        made = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"not delivered to {shown(self.target)}: {what}, after {made}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"


def _reason(reason: Reason | str) -> Reason:
    try:
        return Reason(reason)
    except ValueError:
        raise InvalidArgument("DispatchError", "reason", f"one of {', '.join(Reason)}", reason) from None


class DispatchTimeout(DispatchError, TimeoutError):
    """The last attempt got no answer in its time; the `DispatchError` whose reason is `timeout`."""


class MissingExtra(DispatchError, ImportError):
    """HTTP needs httpx, which is not installed; the remedy is in the message."""

    def __str__(self) -> str:
        return f"not delivered to {shown(self.target)}: HTTP needs httpx; install prunella[http]"


class InvalidSignature(PrunellaError, ValueError):
    """A webhook is not from who it should be from, or not from now.

    Args:
        problem: what is wrong with it; never the secret, nor the signature that would have been right.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def dispatch_error(target: object, reason: Reason, **details: Any) -> DispatchError:
    """A `DispatchError` of the class that fits its reason."""
    kind = DispatchTimeout if reason is Reason.TIMEOUT else DispatchError
    return kind(target, reason, **details)
