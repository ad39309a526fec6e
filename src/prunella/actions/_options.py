from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypedDict, final

import attrs

from ..errors import InvalidArgument
from ..supervision import Backoff
from ._errors import InvalidAction

__all__ = [
    "DEFAULT_BACKOFF",
    "OVERRIDES",
    "Options",
    "Overrides",
    "check_option",
    "checked_overrides",
    "unknown_option",
]

DEFAULT_BACKOFF: Final = Backoff(0.25, 30.0, 2.0, jitter=0.5)


class Overrides(TypedDict, total=False):
    """What a single run, instruction or step may say otherwise than the definition."""

    timeout: float | None
    total_timeout: float | None
    retries: int
    backoff: Backoff
    idempotent: bool
    compensate: Callable[..., Any] | None
    compensate_timeout: float
    idempotency_key: str


@final
@attrs.frozen(kw_only=True)
class Options:
    """How an action is run, checked.

    Attributes:
        timeout: seconds for one attempt.
        total_timeout: seconds for all attempts, and the waits between them, together.
        retries: further attempts after a failure.
        backoff: the waits between attempts.
        idempotent: whether a second attempt does no harm after one of which nobody knows what it did.
        compensate: undoes what was done.
        compensate_timeout: seconds for that.
        idempotency_key: the key of the run; None makes a new one each time.
    """

    timeout: float | None = None
    total_timeout: float | None = None
    retries: int = 0
    backoff: Backoff = DEFAULT_BACKOFF
    idempotent: bool = False
    compensate: Callable[..., Any] | None = None
    compensate_timeout: float = 5.0
    idempotency_key: str | None = None

    def replaced(self, overrides: Mapping[str, Any]) -> Options:
        """The options with some of them replaced, which were checked."""
        return attrs.evolve(self, **overrides) if overrides else self


OVERRIDES: Final = frozenset(Overrides.__annotations__)


def checked_overrides(owner: str, overrides: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same options, if each has a name and a value that can be.

    Raises:
        TypeError: there is no option of that name.
        InvalidAction: a value is of another kind.
    """
    for name, value in overrides.items():
        if name not in OVERRIDES:
            raise TypeError(f"{owner}: {unknown_option(name)}")
        expected, fits = _CHECKS[name]
        if not fits(value):
            raise InvalidAction(f"{owner}: {name} must be {expected}, got a {type(value).__name__}: {value!r:.80}")
    return overrides


def unknown_option(name: str) -> str:
    """What to say of an option that there is not."""
    return f"there is no option {name!r}; there are {', '.join(sorted(OVERRIDES))}"


def check_option(owner: str, name: str, value: Any) -> None:
    """Refuses an option of one run that has a value of another kind.

    Raises:
        InvalidArgument: it has.
    """
    expected, fits = _CHECKS[name]
    if not fits(value):
        raise InvalidArgument(owner, name, expected, value)


def _seconds(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


_CHECKS: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "timeout": ("seconds above 0, or None for no limit", lambda value: value is None or _seconds(value)),
    "total_timeout": ("seconds above 0, or None for no limit", lambda value: value is None or _seconds(value)),
    "retries": ("a whole number of at least 0", _count),
    "backoff": ("a Backoff", lambda value: isinstance(value, Backoff)),
    "idempotent": ("True or False", lambda value: isinstance(value, bool)),
    "compensate": ("a function, or None", lambda value: value is None or callable(value)),
    "compensate_timeout": ("seconds above 0", _seconds),
    "idempotency_key": ("a text that is not empty", lambda value: isinstance(value, str) and value != ""),
}
