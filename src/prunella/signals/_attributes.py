"""What CloudEvents 1.0 says of the single attribute: texts, times, extensions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeAlias

from ..conversion import Map
from ._errors import InvalidSignal

__all__ = [
    "CORE_NAMES",
    "NO_EXTENSIONS",
    "ExtensionValue",
    "checked_extensions",
    "checked_text",
    "checked_time",
    "parse_time",
    "time_text",
]

ExtensionValue: TypeAlias = bool | int | str

CORE_NAMES = frozenset(
    {
        "specversion",
        "id",
        "source",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
        "data",
        "data_base64",
    }
)
NO_EXTENSIONS: Map[str, ExtensionValue] = Map()

# Code points of the category Cc, and surrogates that no pair holds together: CloudEvents 1.0.2, "Type
# System".
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_EXTENSION_NAME = re.compile("[a-z0-9]+")
_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(?:[Zz]|([+-][0-9]{2}:[0-9]{2}))"
)
_TEXT = "a non-empty string without control characters and lone surrogates"


def checked_text(owner: str, field: str, value: object) -> str:
    """The text of an attribute as a plain `str`.

    Raises:
        InvalidSignal: it is no string, is empty, or has control characters or lone surrogates.
    """
    if not isinstance(value, str) or not value or (not value.isprintable() and _FORBIDDEN.search(value)):
        raise InvalidSignal(owner, field, _TEXT, value)
    return value if type(value) is str else str.__str__(value)


def checked_time(owner: str, value: object) -> datetime:
    """A point in time in UTC.

    Raises:
        InvalidSignal: it is no aware datetime, or its UTC lies outside the years 1 to 9999.
    """
    if isinstance(value, datetime):
        try:
            if value.utcoffset() is not None:
                return value.astimezone(UTC)
        except (OverflowError, ValueError):
            pass
    raise InvalidSignal(owner, "time", "an aware datetime, or None", value)


def checked_extensions(owner: str, extensions: object) -> Map[str, ExtensionValue]:
    """Extension attributes as an immutable mapping.

    Raises:
        InvalidSignal: a name is not `[a-z0-9]+` or belongs to the core, or a value is no bool, 32-bit int or
            text.
    """
    if not isinstance(extensions, Mapping):
        raise InvalidSignal(owner, "extensions", "a mapping of names to bool, int or str", extensions)
    if not extensions:
        return NO_EXTENSIONS
    return Map({_checked_name(owner, name): _checked_value(owner, name, v) for name, v in extensions.items()})


def _checked_name(owner: str, name: object) -> str:
    if not isinstance(name, str) or _EXTENSION_NAME.fullmatch(name) is None or name in CORE_NAMES:
        raise InvalidSignal(
            owner,
            "extensions",
            "named by lower-case ASCII letters and digits, none like a core attribute",
            name,
        )
    return str.__str__(name)


def _checked_value(owner: str, name: str, value: Any) -> ExtensionValue:
    if isinstance(value, str):
        return checked_text(owner, f"extensions.{name}", value)
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and -(2**31) <= value < 2**31:
        return int(value)
    raise InvalidSignal(owner, f"extensions.{name}", f"bool, a 32-bit int or {_TEXT}", value)


def time_text(moment: datetime) -> str:
    """A UTC datetime as RFC 3339 writes it, with `Z`."""
    return moment.replace(tzinfo=None).isoformat() + "Z"


def parse_time(text: str) -> datetime:
    """A timestamp of RFC 3339 as a UTC datetime; digits beyond microseconds are cut.

    Raises:
        ValueError: it is none, or names a moment that a datetime cannot hold (a leap second, the year 0).
    """
    match = _TIME.fullmatch(text)
    if match is None:
        _refuse_time()
    day, clock, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}+00:00")
        if offset is None:
            return moment
        hours, minutes = int(offset[1:3]), int(offset[4:6])
        if hours > 23 or minutes > 59:
            _refuse_time()
        ahead = timedelta(hours=hours, minutes=minutes)
        return moment - ahead if offset[0] == "+" else moment + ahead
    except (ValueError, OverflowError):
        _refuse_time()


def _refuse_time() -> NoReturn:
    raise ValueError("a timestamp of RFC 3339, such as 2026-01-31T12:00:00Z") from None
