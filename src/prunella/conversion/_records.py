"""Shapes of what has named fields: attrs classes, dataclasses, named and typed, parameters."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from functools import cached_property
from itertools import islice
from math import isfinite
from typing import Any, Final

import attrs

from ._containers import fixed_tuple
from ._docstrings import descriptions, summary
from ._errors import ConversionError, Mismatch, step
from ._map import Map
from ._shape import Definitions, Hook, Schema, Shape
from ._to_data import to_data

__all__ = [
    "FACTORY",
    "MISSING",
    "Member",
    "Record",
    "class_members",
    "named_tuple",
    "record_class",
    "typed_dict",
]


class _Missing(Enum):
    MISSING = "no default"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final[Any] = _Missing.MISSING

# Defaults that are made anew for every object are shown in a schema only where making one does nothing else.
FACTORY: Any = attrs.Factory  # a class, which attrs declares as a function to type checkers
_HARMLESS_FACTORIES = (tuple, frozenset, Map, list, dict, set)

# Errors name keys, and keys come from outside too.
_MOST_NAMED: Final = 20
_LONGEST_NAME: Final = 40


@attrs.frozen
class Member:
    """One field: its key in the data, its shape, and its default if it may be left out."""

    name: str
    shape: Shape
    required: bool = True
    default: Any = MISSING
    description: str = ""


class Record:
    """Fields by name, and what happens to keys that no field has.

    Args:
        members: the fields.
        closed: whether further keys are refused; else they are ignored.
        rest: the shape of the values of further keys, which are kept then.
    """

    def __init__(self, members: tuple[Member, ...], *, closed: bool, rest: Shape | None = None) -> None:
        self.members = members
        self.closed = closed and rest is None
        self.rest = rest
        self._hooks: tuple[tuple[str, Hook, bool], ...] = tuple(
            [(member.name, member.shape.convert, member.required) for member in members]
        )
        self._names = frozenset(member.name for member in members)

    def convert(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the fields that are there; whoever makes the object fills in defaults."""
        values: dict[str, Any] = {}
        for name, hook, required in self._hooks:
            if name in data:
                try:
                    values[name] = hook(data[name])
                except Mismatch as mismatch:
                    raise mismatch.under(step(name)) from None
            elif required:
                raise Mismatch(self._expected_for(data), "nothing", step(name))
        if len(data) != len(values):
            if self.closed:
                raise Mismatch(f"known keys only ({self._known})", "an unknown one", step(next(self._unknown(data))))
            if self.rest is not None:
                self._keep_rest(self.rest, data, values)
        return values

    def _expected_for(self, data: Mapping[str, Any]) -> str:
        """What is expected where a required key is missing: whoever has misspelt it hears of the one that is there."""
        unknown = _named(self._unknown(data)) if self.closed else ""
        return f"a value (unknown: {unknown}; known: {self._known})" if unknown else "a value"

    def _unknown(self, data: Mapping[str, Any]) -> Iterator[Any]:
        return (key for key in data if key not in self._names)

    @cached_property
    def _known(self) -> str:
        return _named(member.name for member in self.members) or "there are none"

    def _keep_rest(self, rest: Shape, data: Mapping[str, Any], values: dict[str, Any]) -> None:
        for key, value in data.items():
            if key not in self._names:
                try:
                    if not isinstance(key, str):
                        raise Mismatch.of("keys of type str", key)
                    values[key] = rest.convert(value)
                except Mismatch as mismatch:
                    raise mismatch.under(step(key)) from None

    def schema(self, definitions: Definitions) -> Schema:
        """An object with these properties."""
        properties: Schema = {}
        for member in self.members:
            written = dict(member.shape.schema(definitions))
            if member.description:
                written["description"] = member.description
            default = _default(member.default)
            if default is not MISSING:
                written["default"] = default
            properties[member.name] = written
        schema: Schema = {"type": "object", "properties": properties}
        required = [member.name for member in self.members if member.required]
        if required:
            schema["required"] = required
        if self.closed:
            schema["additionalProperties"] = False
        elif self.rest is not None:
            schema["additionalProperties"] = self.rest.schema(definitions)
        return schema


def _named(keys: Iterable[Any]) -> str:
    """Keys, for an error message: bounded."""
    keys = iter(keys)
    named = [repr(key[:_LONGEST_NAME]) if isinstance(key, str) else step(key) for key in islice(keys, _MOST_NAMED)]
    return ", ".join([*named, "…"] if next(keys, None) is not None else named)


def _default(value: Any) -> Any:
    if isinstance(value, FACTORY) and value.factory in _HARMLESS_FACTORIES:
        value = value.factory()
    if value is MISSING or isinstance(value, FACTORY):
        return MISSING
    try:
        data = to_data(value)
    except ConversionError:
        return MISSING
    return MISSING if isinstance(data, float) and not isfinite(data) else data


_Compile = Callable[[Any], Shape]


def class_members(cls: type, hints: Mapping[str, Any], compile: _Compile) -> tuple[Member, ...]:
    """The fields of an attrs class or dataclass that its constructor takes, by the names that it takes."""
    said = descriptions(cls.__dict__.get("__doc__"))
    members: list[Member] = []
    default: Any
    if attrs.has(cls):
        for field in attrs.fields(cls):
            if field.init:
                shape = compile(hints.get(field.name, Any))
                required = field.default is attrs.NOTHING
                about = said.get(field.name, said.get(field.alias, ""))
                default = MISSING if required else field.default
                members.append(Member(field.alias, shape, required, default, about))
        return tuple(members)
    for field in dataclasses.fields(cls):
        if field.init:
            default = MISSING
            if field.default is not dataclasses.MISSING:
                default = field.default
            elif field.default_factory is not dataclasses.MISSING:
                default = attrs.Factory(field.default_factory)
            shape = compile(hints.get(field.name, Any))
            members.append(Member(field.name, shape, default is MISSING, default, said.get(field.name, "")))
    return tuple(members)


def record_class(cls: Any, name: str, record: Record) -> Shape:
    """A class with fields: an instance of it as it is, a mapping by its constructor."""
    origin = cls if isinstance(cls, type) else cls.__origin__
    expected = f"{name}, or a mapping of its fields"

    def convert(value: Any) -> Any:
        if isinstance(value, origin):
            return value
        if not isinstance(value, Mapping):
            raise Mismatch.of(expected, value)
        values = record.convert(value)
        try:
            return origin(**values)
        except Mismatch:
            raise
        except Exception as error:
            # Its text may hold the value, so only its type is told.
            raise Mismatch(f"what {name} accepts", f"{type(error).__name__} from its constructor") from None

    return Shape(expected, convert, _by_reference(cls, origin, record), (origin,), origin)


def typed_dict(cls: type, record: Record) -> Shape:
    """A `TypedDict`, which is a dict at run time."""
    expected = f"a mapping for {cls.__name__}"

    def convert(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise Mismatch.of(expected, value)
        values = record.convert(value)
        if type(value) is dict and len(value) == len(values) and all(value[key] is values[key] for key in values):
            return value
        return values

    return Shape(expected, convert, _by_reference(cls, cls, record), (dict,))


def named_tuple(cls: Any, items: tuple[Shape, ...]) -> Shape:
    """A named tuple: an instance as it is, a list by its constructor."""
    return fixed_tuple(items, cls._make, cls)


def _by_reference(key: Any, cls: type, record: Record) -> Callable[[Definitions], Schema]:
    def make(definitions: Definitions) -> Schema:
        schema: Schema = {"title": cls.__name__}
        about = _own_summary(cls)
        if about:
            schema["description"] = about
        return schema | record.schema(definitions)

    return lambda definitions: definitions.reference(key, cls.__name__, make)


def _own_summary(cls: type) -> str:
    text = summary(cls.__dict__.get("__doc__"))
    # dataclasses write a signature where there is no docstring
    return "" if text.startswith(f"{cls.__name__}(") else text
