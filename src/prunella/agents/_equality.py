from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import attrs

__all__ = ["same"]


def same(first: Any, second: Any) -> bool:
    """Whether two values are the same to whoever writes them down: of one type, and equal all the way down.

    Stricter than `==`, to which `1` and `True` are equal; and a NaN is the same as another.
    """
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    try:
        if isinstance(first, float):
            return bool(first == second or (first != first and second != second))
        if isinstance(first, (tuple, list)):
            return len(first) == len(second) and all(map(same, first, second))
        if isinstance(first, Mapping):
            return len(first) == len(second) and all(
                key in second and same(value, second[key]) for key, value in first.items()
            )
        return bool(first == second) or _same_fields(first, second)
    except Exception:  # a comparison of the user's that fails tells nothing
        return False


def _same_fields(first: Any, second: Any) -> bool:
    """Whether two records are the same though they are not equal, for there is a NaN somewhere in them."""
    cls = type(first)
    if attrs.has(cls):
        names = [field.name for field in attrs.fields(cls) if field.eq]
    elif dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls) if field.compare]
    else:
        return False
    return bool(names) and all(same(getattr(first, name), getattr(second, name)) for name in names)
