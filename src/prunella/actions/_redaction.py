"""Details of errors as plain data: bounded, without what looks like a secret."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

__all__ = ["REDACTED", "is_secret", "redacted", "redacted_text"]

REDACTED: Final = "[redacted]"

_DEEPEST: Final = 4
_MOST_ITEMS: Final = 25
_LONGEST_TEXT: Final = 256

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORDS: Final = frozenset(
    {"authorization", "cookie", "cookies", "credential", "credentials", "passphrase", "passwd", "password", "passwords"}
    | {"pwd", "secret", "secrets", "session", "token", "apikey"}
)
_SECRET_PAIRS: Final = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("password", "hash"), ("session", "id")}
)
_CREDENTIALS = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}")


def is_secret(key: str) -> bool:
    """Whether a key names a secret: by its last words, whole, so that `author` and `token_count` do not."""
    words = [word.lower() for word in _WORD.findall(key)]
    return bool(words) and (words[-1] in _SECRET_WORDS or tuple(words[-2:]) in _SECRET_PAIRS)


def redacted_text(text: str, limit: int = _LONGEST_TEXT) -> str:
    """A text, cut to a limit, without credentials of HTTP headers."""
    text = _CREDENTIALS.sub(rf"\1 {REDACTED}", text[: limit * 4])
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def redacted(value: Any, depth: int = 0) -> Any:
    """A value as plain data for people to see: at most four levels, 25 items each, 256 characters a text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return redacted_text(str(value))
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        if depth >= _DEEPEST:
            return "…"
        if isinstance(value, Mapping):
            return _of_mapping(value, depth)
        items = [redacted(item, depth + 1) for item in islice(value, _MOST_ITEMS)]
        return items if len(value) <= _MOST_ITEMS else [*items, "…"]
    return f"<{type(value).__qualname__}>"


def _of_mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, item in islice(value.items(), _MOST_ITEMS):
        name = redacted_text(key if isinstance(key, str) else f"<{type(key).__qualname__}>")
        shown[name] = REDACTED if is_secret(name) else redacted(item, depth + 1)
    if len(value) > _MOST_ITEMS:
        shown["…"] = f"{len(value) - _MOST_ITEMS} more"
    return shown
