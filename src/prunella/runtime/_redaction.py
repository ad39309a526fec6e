"""Error messages as telemetry shows them: without what the signal brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ..telemetry import ErrorInfo

__all__ = ["redacted", "redacted_text"]

_LONGEST = 200
_MOST_VALUES = 1_000
_SHORTEST = 4
"""Shorter values are left: they tell little, and to cut out each `a` or `17` would leave no message readable."""


def redacted(error: BaseException, *payloads: Any) -> ErrorInfo:
    """Type and message of an error. Values of the payloads that stand in the message are cut out.

    People write what they were given into messages. Texts and numbers of at least four characters are found, wherever
    they stand in a payload; what a message says of them in other words is not.
    """
    return ErrorInfo(type(error).__name__, redacted_text(str(error), *payloads))


def redacted_text(message: str, *payloads: Any) -> str:
    """A message, cut to 200 characters, without the values of the payloads."""
    if message:
        for number, value in enumerate(_values(payloads)):
            if number >= _MOST_VALUES:
                return "…"  # more than anybody can look through: then nothing is shown
            if len(value) >= _SHORTEST and value in message:
                message = message.replace(value, "…")
    return message[:_LONGEST]


def _values(payload: Any) -> Iterator[str]:
    """The texts of what a payload consists of; keys tell of its form, not of its content."""
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, bytes | bytearray):
            yield repr(bytes(value))[2:-1]
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, tuple | list | set | frozenset):
            waiting += value
        elif attrs.has(type(value)):
            waiting += [getattr(value, field.name) for field in attrs.fields(type(value))]
        elif value is not None and not isinstance(value, bool):
            yield str(value)
