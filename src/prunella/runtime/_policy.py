"""What happens when a signal is refused, or a directive fails that nobody catches."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any, TypeAlias, final

import attrs

from ..supervision import InvalidSpec

__all__ = ["EmitErrors", "ErrorPolicy", "MaxErrors", "checked_policy", "emit", "max_errors"]


@final
@attrs.frozen
class MaxErrors:
    """Stops the agent at the n-th error of a life; see `max_errors`."""

    number: int


@final
@attrs.frozen
class EmitErrors:
    """Publishes a signal about each error; see `emit`."""

    signal_type: str


ErrorPolicy: TypeAlias = str | MaxErrors | EmitErrors | Callable[[Any, Exception], Any]


def max_errors(number: int) -> MaxErrors:
    """An error policy: at the n-th error of its life the agent stops. Successes do not set the count back.

    Args:
        number: at which error, at least 1.

    Raises:
        InvalidSpec: it is no such number.
    """
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise InvalidSpec("max_errors()", "number", "a whole number of at least 1", number)
    return MaxErrors(number)


def emit(signal_type: str) -> EmitErrors:
    """An error policy: each error is published as a signal in the runtime.

    Its data is ``{"agent": id, "error": {"type": ..., "message": ...}, "signal_type": ...}``.

    Args:
        signal_type: the type of that signal.

    Raises:
        InvalidSpec: it is no type of a signal, or one that only the runtime sends.
    """
    if not isinstance(signal_type, str) or not signal_type or signal_type.startswith("prunella."):
        raise InvalidSpec("emit()", "signal_type", "a type of your own", signal_type)
    return EmitErrors(signal_type)


def checked_policy(owner: str, policy: Any) -> ErrorPolicy:
    """The policy, if it is one.

    Raises:
        InvalidSpec: it is none.
    """
    if isinstance(policy, MaxErrors | EmitErrors) or policy in ("log", "stop"):
        checked: ErrorPolicy = policy
        return checked
    if callable(policy) and not iscoroutinefunction(policy):
        function: ErrorPolicy = policy
        return function
    expected = "'log', 'stop', emit(type), max_errors(n), or a function (no async one) of the agent and the error"
    raise InvalidSpec(owner, "error_policy", expected, policy)
