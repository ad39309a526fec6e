"""Values as JSON data from which exactly the same values come back.

JSON values stand for themselves. The others that a directive may hold are objects with one key that begins with a
dollar sign: `{"$tuple": [...]}`. So nothing needs to be known of the type that a value had.
"""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib import import_module
from math import isfinite
from typing import Any, Final
from uuid import UUID

from ..conversion import Map
from ..signals import Signal
from ._address import Address

__all__ = ["Unwritable", "name_of", "named", "plain", "target", "unplain"]


class Unwritable(Exception):
    """A value has no such form; the text says where and why."""


def _signal(signal: Signal) -> dict[str, Any]:
    return {
        "type": signal.type,
        "data": plain(signal.data),
        "source": signal.source,
        "id": signal.id,
        "subject": signal.subject,
        "time": None if signal.time is None else signal.time.isoformat(),
        "datacontenttype": signal.datacontenttype,
        "dataschema": signal.dataschema,
        "extensions": dict(signal.extensions),
    }


def _unsignal(data: dict[str, Any]) -> Signal:
    time = data["time"]
    values = data | {"data": unplain(data["data"]), "time": None if time is None else datetime.fromisoformat(time)}
    return Signal(values.pop("type"), values.pop("data"), **values)


def _agent(agent: Any) -> dict[str, Any]:
    return {"class": name_of(type(agent)), "state": [[name, plain(value)] for name, value in vars(agent).items()]}


def _unagent(data: dict[str, Any]) -> Any:
    cls = named(data["class"])
    return cls(**{name: unplain(value) for name, value in data["state"]})


def target(value: Any) -> dict[str, Any]:
    """The data of a target of signals whose class says in `_written_fields` what makes one like it.

    Raises:
        Unwritable: it, or something in it, has none.
    """
    fields = getattr(type(value), "_written_fields", None)
    if fields is None:
        raise Unwritable(
            f" is a {type(value).__name__}; only ids, addresses and refs, and targets of plain data, can be written"
        )
    data: dict[str, Any] = {"class": name_of(type(value))}
    for name in fields:
        item = getattr(value, name)
        if name == "secret" and isinstance(item, bytes):
            raise Unwritable(".secret is a key itself, which does not belong into a storage; give the name of one")
        data[name] = {"$named": name_of(item)} if callable(item) else _at(f".{name}", item)
    return {"$target": data}


def _untarget(data: dict[str, Any]) -> Any:
    cls = named(data["class"])
    return cls(**{name: unplain(value) for name, value in data.items() if name != "class"})


def _items(items: Any) -> list[Any]:
    return [_at(f"[{index}]", item) for index, item in enumerate(items)]


def _pairs(items: Mapping[Any, Any]) -> list[Any]:
    return [[plain(key), _at(f"[{key!r:.40}]", value)] for key, value in items.items()]


# By exact class: what is written, and what is read.
_FORMS: Final[dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    tuple: ("tuple", _items, lambda data: tuple([unplain(item) for item in data])),
    frozenset: (
        "frozenset",
        lambda value: sorted(_items(value), key=repr),
        lambda data: frozenset([unplain(item) for item in data]),
    ),
    dict: ("dict", _pairs, lambda data: {unplain(key): unplain(value) for key, value in data}),
    Map: ("map", _pairs, lambda data: Map({unplain(key): unplain(value) for key, value in data})),
    float: ("float", repr, float),
    bytes: ("bytes", lambda value: b64encode(value).decode(), b64decode),
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: (
        "timedelta",
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda data: timedelta(*data),
    ),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
    Address: ("address", lambda value: [value.id, value.partition], lambda data: Address(*data)),
    Signal: ("signal", _signal, _unsignal),
}
_READERS: Final = {name: read for name, _, read in _FORMS.values()} | {
    "agent": _unagent,
    "target": lambda data: _untarget(data),
    "named": lambda data: named(data),
}


def plain(value: Any) -> Any:
    """The data of a value.

    Raises:
        Unwritable: it, or something in it, has none.
    """
    cls = type(value)
    if value is None or cls in (bool, int, str) or (cls is float and isfinite(value)):
        return value
    if cls is list:
        return _items(value)
    if cls is dict and all(type(key) is str and not key.startswith("$") for key in value):
        return {key: _at(f".{key}", item) for key, item in value.items()}
    if cls in _FORMS:
        name, write, _ = _FORMS[cls]
        return {f"${name}": write(value)}
    if hasattr(cls, "_prunella_definition"):
        return {"$agent": _agent(value)}
    if isinstance(value, str):  # a member of a StrEnum is equal to its text
        return str.__str__(value)
    raise Unwritable(f" is of type {cls.__name__}, which has no form as data")


def _at(step: str, value: Any) -> Any:
    try:
        return plain(value)
    except Unwritable as error:
        raise Unwritable(f"{step}{error}") from None


def unplain(data: Any) -> Any:
    """The value of such data.

    Raises:
        ValueError, TypeError, KeyError: it is no such data.
    """
    if type(data) is list:
        return [unplain(item) for item in data]
    if type(data) is dict:
        if len(data) == 1:
            [(key, inner)] = data.items()
            if key.startswith("$"):
                return _READERS[key[1:]](inner)
        return {key: unplain(item) for key, item in data.items()}
    return data


def name_of(thing: Any) -> str:
    """The `module:qualname` under which a function or class can be found again.

    Raises:
        Unwritable: there is none.
    """
    # In this order: a plan finds out about both when it is asked for its name.
    qualname, module = getattr(thing, "__qualname__", None), getattr(thing, "__module__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise Unwritable(f" is a {type(thing).__name__} without a name of its own")
    if not _is_found(thing, module, qualname):
        raise Unwritable(f" ({module}:{qualname}) cannot be found by its name; define it at the top of a module")
    # What a package exports keeps its name when the module is renamed in which it is defined.
    package, _, last = module.rpartition(".")
    while last.startswith("_") and package and _is_found(thing, package, qualname):
        module = package
        package, _, last = module.rpartition(".")
    return f"{module}:{qualname}"


def _is_found(thing: Any, module: str, qualname: str) -> bool:
    found: Any = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found is thing


def named(name: str) -> Any:
    """The function or class of such a name.

    Raises:
        ImportError, AttributeError: there is none any more.
    """
    module, _, qualname = name.partition(":")
    found: Any = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    return found
