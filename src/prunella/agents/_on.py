from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import attrs

from ..errors import DefinitionError
from ..signals import Signal, SignalType

__all__ = ["MARK", "Subscription", "on"]

F = TypeVar("F", bound=Callable[..., Any])

MARK: Final = "_prunella_on"


@attrs.frozen
class Subscription:
    """What one `on` said of a function."""

    patterns: tuple[str | type[SignalType], ...]
    priority: int
    when: Callable[[Signal], object] | None


def on(
    *patterns: str | type[SignalType], priority: int = 0, when: Callable[[Signal], object] | None = None
) -> Callable[[F], F]:
    """Makes a method of an agent a handler of signals.

    All handlers that match a signal run, each on the state that the one before left: those of higher priority
    first, then the more specific pattern, then in the order in which they were defined. A handler that matches
    twice runs once.

    Args:
        patterns: types of signals: segments between dots, `*` for exactly one, `**` for any number; or
            classes of typed signals. Stars at the beginning do not match types that begin with `prunella.`,
            which are the runtime's own: `prunella.**` does.
        priority: -100 to 100.
        when: a pure function of the signal; the handler runs only where it is true. What it raises is a
            crash.

    Raises:
        DefinitionError: there is no pattern. What else can be wrong is found when the class is made.
    """
    if not patterns:
        raise DefinitionError('on() needs a signal type: @on("ticket.opened")')
    for pattern in patterns:
        _check_pattern(pattern)
    subscription = Subscription(patterns, priority, when)

    def mark(function: F) -> F:
        before: tuple[Subscription, ...] = getattr(function, MARK, ())
        try:
            # Decorators apply from the inside outwards; what stands above was written first.
            setattr(function, MARK, (subscription, *before))
        except AttributeError:
            raise DefinitionError(f"on() decorates methods, got {_named(function)}") from None
        return function

    return mark


def _check_pattern(pattern: object) -> None:
    if not isinstance(pattern, str) and not (isinstance(pattern, type) and issubclass(pattern, SignalType)):
        hint = '; write @on("ticket.opened"), with a signal type' if callable(pattern) else ""
        raise DefinitionError(f"on() takes patterns and SignalType classes, got {_named(pattern)}{hint}")


def _named(value: object) -> str:
    return getattr(value, "__qualname__", None) or f"a value of type {type(value).__name__}"
