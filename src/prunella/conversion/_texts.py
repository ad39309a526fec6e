"""Values that travel as text: how each is written, and what text is taken for one.

The pairs of functions are hooks of one cattrs converter, so that subclasses find those of their class.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path, PurePath
from typing import Any
from uuid import UUID

import cattrs

__all__ = ["TEXT_FORMS", "has_text_form", "text_of", "value_of_text"]

_converter = cattrs.Converter(detailed_validation=False)

# What JSON Schema calls the text of each; those that it does not know have names of our own.
TEXT_FORMS: dict[type, str] = {
    datetime: "date-time",
    date: "date",
    time: "time",
    timedelta: "duration",
    UUID: "uuid",
    PurePath: "path",
    Decimal: "decimal",
    bytes: "base64",
}

_MOMENT = re.compile(r"[0-9W-]+[Tt ][0-9:.,]+(?:[Zz]|[+-][0-9:.]+)?")
_DURATION = re.compile(
    r"(-?)P(?=[0-9T])(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:[.,]([0-9]{1,6}))?S)?)?"
)
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}|[0-9A-Fa-f]{32}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?Infinity|[+-]?s?NaN[0-9]*")
_BEYOND_MICROSECONDS = re.compile(r"[.,][0-9]{6}[0-9]*[1-9]")


def has_text_form(cls: type) -> bool:
    """Whether values of a class travel as text."""
    return issubclass(cls, tuple(TEXT_FORMS))


def text_of(value: Any) -> str:
    """The text of such a value; `value_of_text` makes an equal one of it."""
    text: str = _converter.unstructure(value)
    return text


def value_of_text(cls: type) -> Callable[[str], Any]:
    """The function that makes a value of a class out of its text.

    It raises `ValueError` for text that is none, and for text of which something would be lost.
    """
    hook = _converter.get_structure_hook(cls)
    return lambda text: hook(text, cls)


def _datetime(text: str, cls: type[datetime]) -> datetime:
    # A date alone is refused: midnight would be invented.
    if _MOMENT.fullmatch(text) is None or _BEYOND_MICROSECONDS.search(text):
        raise ValueError
    return cls.fromisoformat(text.upper())


def _date(text: str, cls: type[date]) -> date:
    return cls.fromisoformat(text)


def _time(text: str, cls: type[time]) -> time:
    if _BEYOND_MICROSECONDS.search(text):
        raise ValueError
    return cls.fromisoformat(text.upper())


def _timedelta(text: str, cls: type[timedelta]) -> timedelta:
    found = _DURATION.fullmatch(text)  # years and months are no certain time
    if found is None:
        raise ValueError
    sign, *numbers, fraction = found.groups(default="0")
    weeks, days, hours, minutes, seconds = map(int, numbers)
    made = cls(days, seconds, int(fraction.ljust(6, "0")), 0, minutes, hours, weeks)
    return -made if sign == "-" else made


def _uuid(text: str, cls: type[UUID]) -> UUID:
    if _UUID.fullmatch(text) is None:  # the class itself takes hyphens and braces anywhere
        raise ValueError
    return cls(text)


def _path(text: str, cls: type[PurePath]) -> PurePath:
    if not text:  # would become "."
        raise ValueError
    return cls(text)


def _decimal(text: str, cls: type[Decimal]) -> Decimal:
    if _DECIMAL.fullmatch(text) is None:  # the class itself takes white space and underscores
        raise ValueError
    try:
        return cls(text)
    except InvalidOperation:
        raise ValueError from None


def _bytes(text: str, cls: type[bytes]) -> bytes:
    value = binascii.a2b_base64(text, strict_mode=True)
    if b64encode(value).decode("ascii") != text:  # bits after the end that no encoder writes
        raise ValueError
    return cls(value)


def _isoformat(value: date | time) -> str:
    return value.isoformat()


def _duration(value: timedelta) -> str:
    whole = abs(timedelta(value.days, value.seconds, value.microseconds))
    fraction = f".{whole.microseconds:06}" if whole.microseconds else ""
    return f"{'-' if value.days < 0 else ''}P{whole.days}DT{whole.seconds}{fraction}S"


def _base64(value: bytes) -> str:
    return b64encode(value).decode("ascii")


_FORMS: tuple[tuple[type, Callable[[str, Any], Any], Callable[[Any], str]], ...] = (
    (datetime, _datetime, _isoformat),
    (date, _date, _isoformat),
    (time, _time, _isoformat),
    (timedelta, _timedelta, _duration),
    (UUID, _uuid, str),
    (PurePath, _path, str),
    (Path, _path, str),  # cattrs has a hook of its own for it, which would be nearer than that of PurePath
    (Decimal, _decimal, str),
    (bytes, _bytes, _base64),
)
for _cls, _read, _write in _FORMS:
    _converter.register_structure_hook(_cls, _read)
    _converter.register_unstructure_hook(_cls, _write)
