"""Messages as telemetry shows them: without what the payload brought."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["redacted_text"]

_LONGEST = 200
_MOST_VALUES = 1_000
_SHORTEST = 4
"""Shorter values are left: they tell little, and to cut out each `a` or `17` would leave no message readable."""


def redacted_text(message: str, *payloads: Any) -> str:
    """A message, cut to 200 characters, without the values of the payloads.

    People write what they were given into messages. Texts and numbers of at least four characters are found, wherever
    they stand in a payload; what a message says of them in other words is not.
    """
    if message:
        texts = _texts(payloads)
        if texts is None:
            return "…"
        for text in texts:
            message = message.replace(text, "…")
    return message[:_LONGEST]


def _texts(payload: Any) -> list[str] | None:
    """The texts of what a payload consists of, the longest first; None if that is more than can be looked through.

    Keys tell of its form, not of its content.
    """
    found: list[str] = []
    waiting = [payload]
    for _ in range(_MOST_VALUES):
        if not waiting:
            return sorted((text for text in found if len(text) >= _SHORTEST), key=len, reverse=True)
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, bytes | bytearray):
            found.append(repr(bytes(value))[2:-1])
        elif isinstance(value, Mapping):
            waiting += value.values()
        elif isinstance(value, tuple | list | set | frozenset):
            waiting += value
        elif attrs.has(type(value)):
            waiting += [getattr(value, field.name) for field in attrs.fields(type(value))]
        elif value is not None and not isinstance(value, bool | type) and not callable(value):
            found.append(_text_of(value))
    return None


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # a class of the user's, whose text is no concern of a report
        return ""
