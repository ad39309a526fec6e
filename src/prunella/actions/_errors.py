from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal

from ..errors import DefinitionError, InvalidArgument, PrunellaError
from ._redaction import redacted, redacted_text

__all__ = [
    "ActionError",
    "ActionFailed",
    "ActionNotAllowed",
    "ActionTimeout",
    "ChainFailed",
    "Compensated",
    "InvalidAction",
    "InvalidInput",
    "InvalidOutput",
    "InvalidPlan",
    "PlanFailed",
    "is_retryable",
]

Compensated = Literal["completed", "failed", "timed_out"]

_LONGEST_MESSAGE: Final = 1_000
_DEEPEST_CAUSE: Final = 20


class ActionError(PrunellaError):
    """A run of an action failed. What the function itself raised is the `__cause__`.

    A function may raise one itself, to say more than another exception could; it passes unchanged.

    Args:
        message: what went wrong, in words.
        retryable: whether another attempt may succeed; left out, the type and the cause decide.
        details: more about it, as a mapping with keys of type str.

    Attributes:
        action: the name of the action that failed; None until a run has seen it.
        attempts: how many attempts were made.
        compensation: None if nothing was undone, else how that ended: `completed`, `failed` or `timed_out`.

    Raises:
        InvalidArgument: the message is no text, retryable no bool, or details no such mapping.
    """

    def __init__(
        self, message: str, *, retryable: bool | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        owner = type(self).__name__
        if not isinstance(message, str):
            raise InvalidArgument(owner, "message", "a text", message)
        if retryable is not None and not isinstance(retryable, bool):
            raise InvalidArgument(owner, "retryable", "True, False or None", retryable)
        if details is not None and not (isinstance(details, Mapping) and all(isinstance(key, str) for key in details)):
            raise InvalidArgument(owner, "details", "a mapping with keys of type str", details)
        self.hint = retryable
        self._details = dict(details or {})
        self.action: str | None = None
        self.attempts = 0
        self.compensation: Compensated | None = None

    @property
    def details(self) -> Mapping[str, Any]:
        """More about it, in the order in which it was given; it cannot be changed."""
        return MappingProxyType(self._details)

    @property
    def retryable(self) -> bool:
        """Whether another attempt may succeed."""
        return is_retryable(self)

    def to_dict(self) -> dict[str, Any]:
        """The error as plain data. Details are bounded, and values of keys that name secrets are left out."""
        data: dict[str, Any] = {
            "type": type(self).__name__,
            "message": redacted_text(str(self), _LONGEST_MESSAGE),
            "retryable": self.retryable,
            "action": self.action,
            "attempts": self.attempts,
            "compensation": self.compensation,
            "details": redacted(self.details),
        }
        path = getattr(self, "path", None)
        if path is not None:
            data["path"] = path
        return data


class InvalidAction(ActionError, DefinitionError):
    """An action is defined wrongly, or is used as what it is not; the message says what to do."""


class InvalidPlan(ActionError, DefinitionError):
    """The steps of a plan do not fit together.

    Args:
        message: why not.
        cycle: the names of steps that wait for each other, the first one again at the end.
    """

    def __init__(self, message: str, cycle: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.cycle = cycle


class _DoesNotFit(ActionError, ValueError):
    def __init__(self, path: str, expected: str, got: str) -> None:
        super().__init__(f"{path or self._whole}: expected {expected}, got {got}")
        self.args = (path, expected, got)
        self.path = path
        self.expected = expected
        self.got = got

    _whole = "the value"

    def __str__(self) -> str:
        owner = "" if self.action is None else f"{self.action}: "
        return f"{owner}{self.path or self._whole}: expected {self.expected}, got {self.got}"


class InvalidInput(_DoesNotFit):
    """What an action was given does not fit its parameters. The value itself is never in it.

    Args:
        path: where: `customer.visits[2]`, empty for the parameters as a whole.
        expected: what would have fitted, in words.
        got: the name of the type that came; "nothing" if it is missing.
    """

    _whole = "the parameters"


class InvalidOutput(_DoesNotFit):
    """What an action returned does not fit its return annotation; its arguments are those of `InvalidInput`."""

    _whole = "the result"


class ActionTimeout(ActionError, TimeoutError):
    """An attempt took longer than its `timeout`, or all of them together longer than `total_timeout`."""


class ActionFailed(ActionError):
    """The function raised; what it raised is the `__cause__`."""


class ActionNotAllowed(ActionError):
    """The action, or what it was to touch, is not among what is allowed. Nothing was done."""


class _StepFailed(ActionError):
    def because_of(self, error: ActionError) -> None:
        """Takes over what is known of the error of the step."""
        self.__cause__ = error
        self.compensation = error.compensation


def _by_step(owner: str, field: str, results: Mapping[str, Any] | None, what: str = "results") -> dict[str, Any]:
    if results is not None and not isinstance(results, Mapping):
        raise InvalidArgument(owner, field, f"a mapping of {what} by the names of steps", results)
    return dict(results or {})


class ChainFailed(_StepFailed):
    """A step of a chain failed, its error is the `__cause__`.

    Args:
        message: which, and why.
        completed: the results of the steps before it, by name, in their order.
        failed: the name of the step that failed.
    """

    def __init__(self, message: str, completed: Mapping[str, Any] | None = None, failed: str = "") -> None:
        super().__init__(message)
        self.completed = _by_step(type(self).__name__, "completed", completed)
        self.failed = failed


class PlanFailed(_StepFailed):
    """A step of a plan failed, its error is the `__cause__`.

    Args:
        message: which, and why.
        results: the results of the steps that are done, by name.
        failed: the name of the step that failed first.
        errors: the errors of all steps that failed, by name, the first one first. The others are notes, too.
    """

    def __init__(
        self,
        message: str,
        results: Mapping[str, Any] | None = None,
        failed: str = "",
        errors: Mapping[str, ActionError] | None = None,
    ) -> None:
        super().__init__(message)
        self.results = _by_step(type(self).__name__, "results", results)
        self.failed = failed
        self.errors: dict[str, ActionError] = _by_step(type(self).__name__, "errors", errors, "errors")
        for name, error in self.errors.items():
            if name != failed:
                self.add_note(f"step {name!r} failed too: {redacted_text(str(error))}")


_NEVER = (InvalidAction, InvalidPlan, InvalidInput, InvalidOutput, ActionNotAllowed)
_BY_CAUSE = (ActionFailed, ChainFailed, PlanFailed)

# By name: what decides imports neither Trio nor httpx.
_TRANSIENT: Final = frozenset({("trio", "TooSlowError"), ("trio", "BrokenResourceError"), ("httpx", "TransportError")})


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt may succeed after this error: the one place where that is decided.

    What the error says itself wins: `retryable=` of an `ActionError`, or an attribute `retryable` that is a bool.
    Else connections that fail, timeouts that the function raised, `trio.TooSlowError`, `trio.BrokenResourceError`
    and transport errors of httpx are worth another try. Nothing else is.
    """
    for _ in range(_DEEPEST_CAUSE):
        if isinstance(error, _NEVER):
            return False
        if not isinstance(error, ActionError):
            break
        if error.hint is not None:
            return error.hint
        if not isinstance(error, _BY_CAUSE) or error.__cause__ is None:
            return False
        error = error.__cause__
    else:
        return False
    hint = getattr(error, "retryable", None)
    if isinstance(hint, bool):
        return hint
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return any((cls.__module__, cls.__qualname__) in _TRANSIENT for cls in type(error).__mro__)
