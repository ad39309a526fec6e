"""Shapes of single values: numbers, text and what travels as text, enumerations, literals, instances."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from enum import Enum, Flag
from math import isfinite
from typing import Any

from ._errors import ConversionError, Mismatch
from ._shape import Hook, Schema, Shape
from ._texts import TEXT_FORMS, value_of_text
from ._to_data import to_data

__all__ = ["ANYTHING", "enumeration", "instance", "literal", "scalar"]


def _unchecked(value: Any) -> Any:
    return value


ANYTHING = Shape("anything", _unchecked, lambda _: {})


def scalar(cls: type, *, closed: bool) -> Shape | None:
    """The shape of a class whose values are single pieces of data; `None` for another class."""
    if cls is str:
        return _plain(str, "string")
    if cls is bool:
        return _plain(bool, "boolean")
    if cls is type(None):
        return Shape("None", _none, lambda _: {"type": "null"}, (cls,), cls)
    if cls is int:
        return Shape("int", _int, lambda _: {"type": "integer"}, (cls,), cls)
    if cls is float:
        hook = _finite_float if closed else _float
        return Shape("float", hook, lambda _: {"type": "number"}, (cls,), None if closed else cls)
    for base, name in TEXT_FORMS.items():
        if issubclass(cls, base):
            return _of_text(cls, name, closed=closed)
    return None


def _plain(cls: type, json_name: str) -> Shape:
    def convert(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise Mismatch.of(cls.__name__, value)

    return Shape(cls.__name__, convert, lambda _: {"type": json_name}, (cls,), cls, is_text=cls is str)


def _none(value: Any) -> None:
    if value is not None:
        raise Mismatch.of("None", value)


def _int(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise Mismatch.of("int", value)


def _float(value: Any) -> Any:
    if isinstance(value, float):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            converted = float(value)
        except OverflowError:
            converted = float("inf")
        if converted == value:
            return converted
        raise Mismatch("float", "an int that a float cannot hold")
    raise Mismatch.of("float", value)


def _finite_float(value: Any) -> Any:
    converted = _float(value)
    if isfinite(converted):
        return converted
    raise Mismatch("a finite float", "NaN or infinity")


def _of_text(cls: type, form: str, *, closed: bool) -> Shape:
    read = value_of_text(cls)
    refuses_dates = not issubclass(cls, datetime) and issubclass(cls, date)
    finite = closed and issubclass(cls, Decimal)
    name = cls.__name__

    def convert(value: Any) -> Any:
        # A datetime is a date to Python; as a date it would lose its time on the way through text.
        if isinstance(value, cls) and not (refuses_dates and isinstance(value, datetime)):
            converted: Any = value
        elif isinstance(value, str):
            try:
                converted = read(value)
            except (ValueError, OverflowError):
                raise Mismatch(f"{name}, or its text", "other text") from None
        else:
            raise Mismatch.of(f"{name}, or its text", value)
        if finite and not converted.is_finite():
            raise Mismatch("a finite Decimal", "NaN or infinity")
        return converted

    schema: Schema = {"type": "string", "format": form}
    if form == "base64":
        schema["contentEncoding"] = "base64"
    exact = None if finite else cls
    return Shape(name, convert, lambda _: dict(schema), (cls,), exact, is_text=True)


def enumeration(cls: type[Enum]) -> Shape:
    """An enumeration: its members, and their values as data."""
    if issubclass(cls, Flag):
        return _flags(cls)
    members = list(cls)
    known = _by_data([(member, member.value) for member in members])
    convert = _one_of(known, f"one of {cls.__name__}", cls)
    texts = all(isinstance(key[1], str) for key in known)
    return Shape(cls.__name__, convert, lambda _: _enum_schema(known), (cls,), cls, is_text=texts)


def _flags(cls: type[Flag]) -> Shape:
    def convert(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            try:
                return cls(value)
            except ValueError:
                raise Mismatch(f"flags of {cls.__name__}", "another int") from None
        raise Mismatch.of(f"flags of {cls.__name__}", value)

    return Shape(cls.__name__, convert, lambda _: {"type": "integer"}, (cls,), cls)


def literal(values: tuple[Any, ...]) -> Shape:
    """`Literal[...]`: equal to one of the values, and of its type."""
    known = {(type(value), value): value for value in values}
    for key, value in _by_data([(value, value) for value in values]).items():
        known.setdefault(key, value)
    expected = " or ".join(repr(value) for value in values)
    data = {key: value for key, value in known.items() if key[0] in _JSON_TYPES}
    texts = all(key[0] is str for key in data)
    types = tuple({type(value) for value in values})
    return Shape(expected, _one_of(known, expected, None), lambda _: _enum_schema(data), types, is_text=texts)


_JSON_TYPES = (str, int, float, bool, type(None))


def _by_data(values: list[tuple[Any, Any]]) -> dict[tuple[type, Any], Any]:
    """Values by their form as data and its type, for `1`, `1.0` and `True` are equal to Python."""
    known: dict[tuple[type, Any], Any] = {}
    for value, form in values:
        try:
            data = to_data(form)
        except ConversionError:
            continue
        if type(data) in _JSON_TYPES:
            known.setdefault((type(data), data), value)
    return known


def _one_of(known: dict[tuple[type, Any], Any], expected: str, cls: type | None) -> Hook:
    def convert(value: Any) -> Any:
        if cls is not None and isinstance(value, cls):
            return value
        try:
            return known[type(value), value]
        except (KeyError, TypeError):
            pass
        if type(value) in _JSON_TYPES:
            raise Mismatch(expected, f"another {type(value).__name__}" if value is not None else "None")
        raise Mismatch.of(expected, value)

    return convert


def _enum_schema(known: dict[tuple[type, Any], Any]) -> Schema:
    return {"enum": [data for _, data in known]}


def instance(cls: Any, name: str) -> Shape:
    """An instance of a class that has no form as data."""

    def convert(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise Mismatch.of(name, value)

    types = (cls,) if isinstance(cls, type) else ()
    return Shape(name, convert, lambda _: {"not": {}}, types, types[0] if types else None)
