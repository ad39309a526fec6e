"""Whether strict mode is on: by what is said for one turn, else by the environment variable `PRUNELLA_STRICT`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, Final

__all__ = ["ENVIRONMENT", "STRICT", "in_turn", "is_strict", "strict_by_environment"]

_NAME: Final = "PRUNELLA_STRICT"
_OFF: Final = frozenset({"", "0", "false", "no", "off"})

# Every turn asks, and a look into `os.environ` takes longer than the rest of the question: it encodes the name, and
# what is missing is an exception (1.6 µs). The dictionary below it, which every change goes through, takes 0.03.
_raw: Any = getattr(os.environ, "_data", None)
ENVIRONMENT: Final[Mapping[Any, Any]] = os.environ if _raw is None else _raw
STRICT: Final[Any] = _NAME if _raw is None else os.environ.encodekey(_NAME)

in_turn: Final[ContextVar[bool | None]] = ContextVar("prunella.strict", default=None)
"""What was said for the turn that runs here; `None` outside of turns, and in turns for which nothing was said."""


def strict_by_environment() -> bool:
    """What the environment variable says."""
    return os.environ.get(_NAME, "").strip().lower() not in _OFF


def is_strict() -> bool:
    """Whether strict mode is on here."""
    said = in_turn.get()
    return strict_by_environment() if said is None else said
