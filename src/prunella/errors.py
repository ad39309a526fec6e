"""The root of every error that prunella raises.

``except PrunellaError`` catches whatever the library itself has to say. Errors about a wrong argument are
also a `ValueError` or a `TypeError`, so that code which knows nothing of prunella treats them as it treats
its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["DefinitionError", "InvalidArgument", "PrunellaError"]

T = TypeVar("T")


class PrunellaError(Exception):
    """The root: every exception class of the library derives from it."""


class DefinitionError(PrunellaError, TypeError):
    """A class, a field or a function is defined wrongly; raised when it is made, never at first use."""


class InvalidArgument(PrunellaError, ValueError):
    """A value is wrong.

    Args:
        owner: what was being made or called, as the user wrote it ("Child 'poller'").
        field: the name of the argument.
        expected: what would have been right, in words.
        got: the value that came.
    """

    def __init__(self, owner: str, field: str, expected: str, got: object) -> None:
        super().__init__(owner, field, expected, got)
        self.owner = owner
        self.field = field
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        return f"{self.owner}: {self.field} must be {self.expected}, got {_shown(self.got)}"


def check_iterable(owner: str, field: str, value: Iterable[T], what: str) -> tuple[T, ...]:
    """What an argument yields that takes many of a kind. What it raises while it yields them is not hidden.

    Args:
        owner, field: as of `InvalidArgument`.
        value: the argument.
        what: the kind, in the plural ("targets").

    Raises:
        InvalidArgument: it is no iterable.
    """
    try:
        iterator = iter(value)
    except TypeError:
        raise InvalidArgument(owner, field, f"an iterable of {what}", value) from None
    return tuple(iterator)


def _shown(value: object, limit: int = 100) -> str:
    """A value for an error message: bounded, and never an error of its own."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__} whose repr fails>"
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
