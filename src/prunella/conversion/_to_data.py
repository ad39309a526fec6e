from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Set
from enum import Enum
from typing import Any, TypeAlias

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
    datetimes, dates, times and timedeltas become ISO 8601, `bytes` base64, an enumeration's member its value.

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
_Write: TypeAlias = Callable[[Any], Any]
_writers: dict[type, _Write] = {}


def _data(value: Any) -> Any:
    cls = type(value)
    if cls in _AS_THEY_ARE:
        return value
    write = _writers.get(cls)
    if write is None:
        write = _writers[cls] = _writer(cls)
    return write(value)


def _writer(cls: type) -> _Write:
    """How the values of a class are written; looked up once for each class."""
    if issubclass(cls, Enum):
        return lambda member: _data(member.value)
    if issubclass(cls, str):
        return str.__str__
    for number in (int, float):
        if issubclass(cls, number):
            return number
    if issubclass(cls, (tuple, list)):
        return _items
    if has_text_form(cls):
        return text_of
    if issubclass(cls, Mapping):
        return _mapping
    if issubclass(cls, Set):
        return lambda value: sorted(_items(value), key=_order)
    if attrs.has(cls):
        return _fields([(field.alias, field.name) for field in attrs.fields(cls) if field.init])
    if dataclasses.is_dataclass(cls):
        return _fields([(field.name, field.name) for field in dataclasses.fields(cls) if field.init])
    return _refuse


def _items(value: Iterable[Any]) -> list[Any]:
    items: list[Any] = []
    try:
        for item in value:
            items.append(_data(item))
    except Mismatch as mismatch:
        raise mismatch.under(f"[{len(items)}]") from None
    return items


def _fields(names: list[tuple[str, str]]) -> _Write:
    def write(value: Any) -> dict[str, Any]:
        data: dict[str, Any] = {}
        key = ""
        try:
            for key, name in names:
                data[key] = _data(getattr(value, name))
        except Mismatch as mismatch:
            raise mismatch.under(step(key)) from None
        return data

    return write


def _mapping(value: Mapping[Any, Any]) -> Any:
    pairs: list[list[Any]] = []
    for key, item in value.items():
        try:
            pairs.append([_data(key), _data(item)])
        except Mismatch as mismatch:
            raise mismatch.under(step(key)) from None
    if all(type(key) is str for key, _ in pairs):
        data = {key: item for key, item in pairs}  # noqa: C416 - the pairs are lists
        if len(data) == len(pairs):
            return data
    return sorted(pairs, key=lambda pair: _order(pair[0]))


def _refuse(value: Any) -> Any:
    raise Mismatch.of("a value that has a form as data", value)


def _order(data: Any) -> tuple[str, Any]:
    """Sorts data of mixed types; a set's own order differs from process to process."""
    if isinstance(data, (bool, int, float)):
        return "", data
    return type(data).__name__, data if isinstance(data, str) else repr(data)
