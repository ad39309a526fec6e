from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Set
from enum import Enum
from typing import Any

import attrs

from ._errors import Mismatch, step
from ._texts import has_text_form, text_of

__all__ = ["to_data"]


def to_data(value: Any) -> Any:
    """A value as plain data: `None`, bool, int, float, str, lists, and dicts with keys of type str.

    Converting the result to the annotation of the value gives an equal value again. Two things cannot come
    back, for nothing in the data tells them: which member of a union it was, where two have the same form
    (`datetime | str`), and what an `Any` held that was not plain data.

    Tuples, lists and sets become lists (a set in the order of its items where they have one); attrs classes,
    dataclasses and mappings become dicts, but a mapping with keys that are not text becomes a list of pairs;
    datetimes, dates and times become ISO 8601, `bytes` base64, an enumeration's member its value.

    Raises:
        ConversionError: something in it has no such form, or it contains itself.
    """
    try:
        return _data(value)
    except Mismatch as mismatch:
        raise mismatch.error() from None
    except RecursionError:
        raise Mismatch("nesting that ends", "more").error() from None


_AS_THEY_ARE = frozenset({type(None), bool, int, float, str})


def _data(value: Any) -> Any:
    cls = type(value)
    if cls in _AS_THEY_ARE:
        return value
    if isinstance(value, Enum):
        return _data(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (tuple, list)):
        return [_member(item, f"[{index}]") for index, item in enumerate(value)]
    if has_text_form(cls):
        return text_of(value)
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, Set):
        items = [_member(item, f"[{index}]") for index, item in enumerate(value)]
        return sorted(items, key=_order)
    if attrs.has(cls):
        return {
            field.alias: _member(getattr(value, field.name), step(field.alias))
            for field in attrs.fields(cls)
            if field.init
        }
    if dataclasses.is_dataclass(cls):
        return {
            field.name: _member(getattr(value, field.name), step(field.name))
            for field in dataclasses.fields(cls)
            if field.init
        }
    raise Mismatch.of("a value that has a form as data", value)


def _member(value: Any, where: str) -> Any:
    try:
        return _data(value)
    except Mismatch as mismatch:
        raise mismatch.under(where) from None


def _mapping(value: Mapping[Any, Any]) -> Any:
    pairs = [(_member(key, ".keys()"), _member(item, step(key))) for key, item in value.items()]
    if all(type(key) is str for key, _ in pairs):
        data = dict(pairs)
        if len(data) == len(pairs):
            return data
    return [list(pair) for pair in sorted(pairs, key=lambda pair: _order(pair[0]))]


def _order(data: Any) -> tuple[str, Any]:
    """Sorts data of mixed types; a set's own order differs from process to process."""
    if isinstance(data, (bool, int, float)):
        return "", data
    return type(data).__name__, data if isinstance(data, str) else repr(data)
