"""Directives as data, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from ..conversion import Map, convert, resolve_annotations, to_data
from ..errors import InvalidArgument, PrunellaError
from ._address import Address
from ._directive import Directive
from ._equality import same
from ._errors import NotSerialisable
from ._family import AdoptChild, SpawnAgent, Stop, StopChild
from ._order import is_order, order_from_data, order_to_data
from ._plain import Unwritable, name_of, named, plain, target, unplain
from ._sending import Ask, Emit, Fail, Reply
from ._timing import Cancel, Cron, Schedule
from ._work import Run, SpawnTask

__all__ = ["directive_from_data", "directive_to_data"]

_OURS: Final[Mapping[str, type[Directive]]] = {
    cls.__name__: cls
    for cls in (
        *(Emit, Reply, Fail, Ask, Run, Schedule, Cron, Cancel, SpawnAgent, AdoptChild, StopChild, SpawnTask, Stop),
    )
}
_CLASSES: Final[frozenset[Any]] = frozenset(_OURS.values())
_KIND: Final = "directive"

# Fields that hold functions or classes, which are written as `module:qualname`, and those that hold targets.
_NAMED: Final = {(Run, "action"), (SpawnTask, "function"), (SpawnAgent, "agent")}
_TARGETS: Final = {(Emit, "to"), (Ask, "to"), (AdoptChild, "child")}


def directive_to_data(directive: Directive) -> dict[str, Any]:
    """A directive as plain JSON data; `directive_from_data` makes an equal one of it.

    Functions and classes are written as `module:qualname`, refs as their addresses; of dispatch targets those that
    are plain data are written, a webhook's secret only by its name. Data may hold JSON values, and
    tuples, frozen sets, mappings, bytes, dates and times, `Decimal`, `UUID`, addresses, signals and agents.

    Raises:
        NotSerialisable: a field holds something else, or a function that cannot be found by its name.
        InvalidArgument: it is no directive.
    """
    cls = type(directive)
    if not isinstance(directive, Directive):
        raise InvalidArgument("directive_to_data", "directive", "a Directive", directive)
    data: dict[str, Any] = {_KIND: cls.__name__ if cls in _CLASSES else _class_name(cls)}
    for name in _field_names(cls):
        value = getattr(directive, name)
        try:
            written = _written(cls, name, value)
        except Unwritable as error:
            raise NotSerialisable(cls.__name__, name, str(error)) from None
        if written is not None:
            data[name] = written
    return data


def directive_from_data(data: Mapping[str, Any]) -> Directive:
    """The directive of such data.

    Raises:
        InvalidArgument: it is no such data, or a function or class that it names is not there any more.
    """
    kind = data.get(_KIND) if isinstance(data, Mapping) else None
    if not isinstance(kind, str):
        raise InvalidArgument("directive_from_data", "data", "what directive_to_data gave", data)
    try:
        cls: Any = _OURS.get(kind) or named(kind)
        if not (isinstance(cls, type) and issubclass(cls, Directive)):
            raise TypeError(f"{kind} is no directive")
        unknown = [name for name in data if name != _KIND and name not in _field_names(cls)]
        if unknown:
            raise TypeError(f"{kind} has no field {unknown[0]!r}")
        fields = {name: _read(cls, name, value) for name, value in data.items() if name != _KIND}
        return _made(cls, fields)
    except PrunellaError:
        raise
    except Exception as error:
        expected = f"what directive_to_data gave ({type(error).__name__}: {error})"
        raise InvalidArgument("directive_from_data", kind, expected, sorted(map(str, data))) from error


def _class_name(cls: type) -> str:
    try:
        return name_of(cls)
    except Unwritable as error:
        raise NotSerialisable(cls.__name__, "its class", str(error)) from None


def _field_names(cls: Any) -> tuple[str, ...]:
    if attrs.has(cls):
        return tuple(field.name for field in attrs.fields(cls) if cls in _CLASSES or field.init)
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls) if field.init)
    raise NotSerialisable(cls.__name__, "its class", " is neither an attrs class nor a dataclass")


def _written(cls: Any, name: str, value: Any) -> Any:
    if (cls, name) in _NAMED:
        return order_to_data(value) if is_order(value) else name_of(value)
    if (cls, name) in _TARGETS:
        address = value if value is None or isinstance(value, (str, Address)) else getattr(value, "address", None)
        return target(value) if address is None and value is not None else plain(address)
    if cls in _CLASSES:  # a mapping of theirs is one again when they are made
        return plain(dict(value)) if isinstance(value, Map) else plain(value)
    try:
        return plain(value)
    except Unwritable:
        return {"$typed": _typed(cls, name, value)}


def _typed(cls: Any, name: str, value: Any) -> Any:
    """A value that only the annotation of its field can bring back."""
    try:
        data = to_data(value)
        if same(convert(data, resolve_annotations(cls)[name]), value):
            return data
    except PrunellaError:
        pass
    raise Unwritable(f" is of type {type(value).__name__}, which has no form as data")


def _read(cls: Any, name: str, data: Any) -> Any:
    if (cls, name) in _NAMED:
        return order_from_data(data) if isinstance(data, dict) else named(data)
    if isinstance(data, dict) and data.keys() == {"$typed"}:
        return convert(data["$typed"], resolve_annotations(cls)[name])
    return unplain(data)


_POSITIONAL: Final[Mapping[type[Directive], Callable[[dict[str, Any]], tuple[Any, ...]]]] = {
    Emit: lambda fields: _event(fields),
    Reply: lambda fields: (fields.pop("value", None),),
    Fail: lambda fields: (fields.pop("reason"),),
    Ask: lambda fields: (fields.pop("to"), *_event(fields)),
    Run: lambda fields: (fields.pop("action"), fields.pop("params")),
    Schedule: lambda fields: (fields.pop("delay"), *_event(fields)),
    Cron: lambda fields: (fields.pop("expression"), *_event(fields)),
    SpawnAgent: lambda fields: (fields.pop("agent"),),
    AdoptChild: lambda fields: (fields.pop("child"),),
    StopChild: lambda fields: (fields.pop("tag"),),
    SpawnTask: lambda fields: (fields.pop("function"), fields.pop("params")),
}


def _event(fields: dict[str, Any]) -> tuple[Any, ...]:
    type, data, signal = fields.pop("type"), fields.pop("data", None), fields.pop("signal", None)
    return (type, data) if signal is None else (signal,)


def _made(cls: Any, fields: dict[str, Any]) -> Directive:
    directive: Directive
    if cls not in _OURS.values():
        aliases = {field.name: field.alias for field in attrs.fields(cls)} if attrs.has(cls) else {}
        # What is written as nothing was None, also where the default is another.
        missing = {name: None for name in _field_names(cls) if name not in fields}
        directive = cls(**{aliases.get(name, name): value for name, value in (fields | missing).items()})
        return directive
    positional = _POSITIONAL[cls](fields) if cls in _POSITIONAL else ()
    if cls is Fail:
        directive = Fail(*positional, **fields.get("details", {}))
        return directive
    directive = cls(*positional, **fields)
    return directive
