"""How well an action fits a text: word by word, never letter by letter."""

from __future__ import annotations

import re
from typing import Any, Final

from ._action import Action

__all__ = ["score", "words"]

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

# The whole text is the field, and each word of the text that is in it. A name says more than a description.
_NAME: Final = (100.0, 15.0)
_TAG: Final = (20.0, 8.0)
_CATEGORY: Final = (12.0, 4.0)
_DESCRIPTION: Final = (15.0, 5.0)
_PARAMETER: Final = (8.0, 2.0)


def words(text: str) -> tuple[str, ...]:
    """The words of a text, in small letters."""
    return tuple(word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text)))


def score(text: str, action: Action[..., Any]) -> float:
    """How well an action fits a text; 0 if it does not, 1 if the text says nothing."""
    wanted = words(text)
    if not wanted:
        return 1.0
    fields = [
        (action.name, _NAME),
        (action.description, _DESCRIPTION),
        (action.category or "", _CATEGORY),
        *((tag, _TAG) for tag in action.tags),
        *((name, _PARAMETER) for name in action.signature.parameters),
    ]
    return sum(_fit(wanted, words(field), *weights) for field, weights in fields)


def _fit(wanted: tuple[str, ...], field: tuple[str, ...], whole: float, each: float) -> float:
    if wanted == field:
        return whole
    found = {_singular(word) for word in field}
    return each * len({word for word in map(_singular, wanted) if word in found})


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
