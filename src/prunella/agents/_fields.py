"""The state of a class of agents: its fields, and the functions that make and change values, compiled once."""

from __future__ import annotations

import dataclasses
import inspect
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, MutableSet
from functools import cached_property
from types import FunctionType
from typing import Any, ClassVar, Final, get_origin

import attrs

from ..conversion import (
    ConversionError,
    Field,
    Fields,
    Map,
    check_immutable,
    converter,
    descriptions,
    exact_type,
    resolve_annotations,
)
from ..errors import DefinitionError, InvalidArgument
from ..signals._errors import Words, kind
from ._equality import same
from ._strictness import ENVIRONMENT, STRICT, in_turn, is_strict

__all__ = ["NO_DEFAULT", "RESERVED", "State", "StateField", "compile_state", "own_fields"]

RESERVED: Final = frozenset({"cmd", "set", "to_data", "from_data"})
NO_DEFAULT: Final = Field().default

_MUTABLE: Final = (MutableMapping, MutableSequence, MutableSet, bytearray, deque)
_INSTEAD: Final = "write () for [], Map() for {}, frozenset() for set(), b'' for bytearray()"
_FACTORIES: Final[tuple[Any, ...]] = (attrs.Factory, dataclasses.Field, type(attrs.field()))
_METHODS: Final = (FunctionType, property, cached_property, staticmethod, classmethod)


@attrs.frozen(eq=False)
class StateField:
    """One field of a state.

    Attributes:
        default: what it is in a new agent; `NO_DEFAULT` if it must be given.
        convert: gives the converted value, or raises `ConversionError`.
        exact: values of exactly this class need no conversion.
    """

    name: str
    annotation: Any
    default: Any
    description: str
    convert: Callable[[Any], Any]
    exact: type | None


class State:
    """The fields of one class.

    Attributes:
        fields: by name, in order; those of bases first.
        make: makes a value of keywords, converted and checked: the class's `__new__`.
        evolve: makes a changed value of a value and keywords: the class's `set`.
    """

    def __init__(self, cls: type, owner: str, fields: tuple[StateField, ...], record: Fields) -> None:
        self.owner = owner
        self.fields: Mapping[str, StateField] = {field.name: field for field in fields}
        self.names = tuple(self.fields)
        self.record = record
        self.required = tuple(field.name for field in fields if field.default is NO_DEFAULT)
        # An agent is filled in as a draft, for a class without `__setattr__` of its own takes attributes several
        # times faster, and becomes an agent by its `__class__`.
        self._draft: Any = type(f"{cls.__name__}Draft", (), {})
        self._cls = cls
        self.make, self.evolve = _compiled(self, cls, self._draft)

    @cached_property
    def fresh(self) -> Any:
        """The value in which every field has its default: values are immutable, so one does for all."""
        return self.convert({})

    def build(self, values: Mapping[str, Any]) -> Any:
        """A value of a complete set of fields, taken as they are."""
        draft = object.__new__(self._draft)
        for name in self.names:
            setattr(draft, name, values[name])
        draft.__class__ = self._cls
        return draft

    def convert(self, data: Mapping[str, Any]) -> Any:
        """A value of data from outside; what is left out has its default.

        Raises:
            ConversionError: a field does not fit, is missing, or is not known.
        """
        values = self.record.convert(data)
        if len(values) != len(data):
            unknown = next(key for key in data if key not in self.fields)
            named = unknown if isinstance(unknown, str) and unknown.isidentifier() else f"[{str(unknown)[:40]!r}]"
            raise ConversionError(named, f"a field of {self.owner}: {self._listed()}", "an unknown one")
        for name, field in self.fields.items():
            if name not in values:
                values[name] = field.default
        return self.build(values)

    def refuse_unknown(self, call: str, unknown: Mapping[str, Any]) -> None:
        """Says that there are no such fields."""
        name, value = next(iter(unknown.items()))
        raise InvalidArgument(call, name, f"a field of {self.owner}: {self._listed()}", kind(value))

    def refuse_missing(self, name: str) -> None:
        """Says that a field has no default."""
        raise InvalidArgument(self.owner, name, "given, for it has no default", Words("nothing"))

    def converted(self, call: str, name: str, value: Any) -> Any:
        """The value of a field, converted.

        Raises:
            InvalidArgument: it does not fit.
        """
        try:
            return self.fields[name].convert(value)
        except ConversionError as error:
            raise InvalidArgument(call, path(name, error.path), error.expected, Words(error.got)) from None

    def check_types(self, before: Any, after: Any) -> None:
        """In strict mode, sees that changed fields have values of their types.

        Raises:
            InvalidArgument: one has not.
        """
        if not is_strict():
            return
        call = f"{self.owner}.set()"
        for name in self.names:
            value = getattr(after, name)
            if value is not getattr(before, name) and not same(self.converted(call, name, value), value):
                wanted = self.fields[name].annotation
                expected = f"of its annotated type ({getattr(wanted, '__name__', wanted)}), for set() converts nothing"
                raise InvalidArgument(call, name, expected, Words(type(value).__name__))

    def _listed(self) -> str:
        return f"one of {', '.join(self.names)}" if self.names else "there is none"


def path(first: str, rest: str) -> str:
    """Two steps of a path as one."""
    return f"{first}{'' if rest[:1] in ('', '[') else '.'}{rest}"


def _compiled(state: State, cls: type, draft: type) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The two functions, with a parameter for each field.

    So it is Python's own handling of keywords that finds what is given and what is unknown, in C. Names of fields
    never begin with an underscore, so that the functions' own names are safe from them.
    """
    names: dict[str, Any] = {
        "_state": state,
        "_cls": cls,
        "_Draft": draft,
        "_new": object.__new__,
        "_Map": Map,
        "_KEEP": object(),
        "_MISSING": NO_DEFAULT,
        "_ENVIRONMENT": ENVIRONMENT,
        "_STRICT": STRICT,
        "_said": in_turn.get,
    }
    make, evolve = [], []
    made, kept = [], []
    for number, (name, field) in enumerate(state.fields.items()):
        names[f"_default{number}"] = field.default
        names[f"_exact{number}"] = field.exact
        made.append(f"{name}=_default{number}")
        kept.append(f"{name}=_KEEP")
        test = "" if field.exact is None else f" and {name}.__class__ is not _exact{number}"
        if field.default is NO_DEFAULT:
            make.append(f"if {name} is _MISSING: _state.refuse_missing({name!r})")
        make.append(
            f"if {name} is not _default{number}{test}: {name} = _state.converted(_state.owner, {name!r}, {name})"
        )
        if _is_mapping(field.annotation):
            evolve.append(f"if {name}.__class__ is dict: {name} = _Map({name})")
        evolve.append(f"_draft.{name} = _self.{name} if {name} is _KEEP else {name}")
    fill = [f"_draft.{name} = {name}" for name in state.fields]
    source = _function("_make", "_cls", made, ["_state.refuse_unknown(_state.owner, _unknown)"], [*make, _DRAFT, *fill])
    source += "    _draft.__class__ = _cls\n    return _draft\n"
    refusal = ["_state.refuse_unknown(_state.owner + '.set()', _unknown)"]
    source += _function("_evolve", "_self", kept, refusal, [_DRAFT, *evolve])
    source += "    _draft.__class__ = _cls\n"
    source += "    if _STRICT in _ENVIRONMENT or _said(): _state.check_types(_self, _draft)\n    return _draft\n"
    # All of it is names of fields, which are identifiers.
    exec(compile(source, f"<what makes {cls.__qualname__}>", "exec"), names)
    for function, name in ((names["_make"], "__new__"), (names["_evolve"], "set")):
        function.__name__ = name
        function.__qualname__ = f"{cls.__qualname__}.{name}"
        function.__module__ = cls.__module__
    return names["_make"], names["_evolve"]


_DRAFT: Final = "_draft = _new(_Draft)"


def _function(name: str, first: str, parameters: list[str], refusal: list[str], body: list[str]) -> str:
    star = "*, " if parameters else ""
    lines = [f"def {name}({first}, /, {star}{', '.join([*parameters, '**_unknown'])}):"]
    lines.append(f"    if _unknown: {refusal[0]}")
    lines += [f"    {line}" for line in body]
    return "\n".join(lines) + "\n"


def _is_mapping(annotation: Any) -> bool:
    origin = get_origin(annotation) or annotation
    return origin in (Mapping, Map)


def own_fields(cls: type) -> list[str]:
    """The names that a class itself annotates as fields, in order.

    Raises:
        DefinitionError: one of them is reserved.
    """
    names = []
    for name, annotation in inspect.get_annotations(cls).items():
        if _is_class_variable(annotation):
            continue
        if name in RESERVED or name.startswith("_"):
            raise DefinitionError(
                f"{cls.__qualname__}: {name!r} cannot be a field; reserved are {', '.join(sorted(RESERVED))} "
                "and what begins with an underscore"
            )
        names.append(name)
    return names


def _is_class_variable(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.partition("[")[0].strip().rpartition(".")[2] == "ClassVar"
    return annotation is ClassVar or get_origin(annotation) is ClassVar


def compile_state(cls: type, namespace: Mapping[str, Any]) -> State:
    """The state of a class, its bases' included.

    Raises:
        DefinitionError: a field is defined wrongly.
    """
    owner = cls.__qualname__
    hints = resolve_annotations(cls, namespace=namespace)
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        if "__annotations__" in base.__dict__ and not base.__dict__.get("_prunella_root"):
            names |= dict.fromkeys(own_fields(base))
    said: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        said |= descriptions(base.__dict__.get("__doc__"))
    fields: dict[str, Field] = {}
    for name in names:
        check_immutable(owner, name, hints[name])
        fields[name] = Field(hints[name], _default(cls, owner, name), said.get(name, ""))
    record = Fields(owner, fields, known_keys=True, namespace=namespace)
    made = []
    for name, field in fields.items():
        default = record.defaults.get(name, NO_DEFAULT)
        convert = converter(field.annotation, known_keys=True, namespace=namespace)
        exact = exact_type(field.annotation, known_keys=True)
        made.append(StateField(name, field.annotation, default, field.description, convert, exact))
    return State(cls, owner, tuple(made), record)


def _default(cls: type, owner: str, name: str) -> Any:
    found = [(base, base.__dict__[name]) for base in cls.__mro__ if name in base.__dict__]
    for base, value in found:
        if isinstance(value, _METHODS):
            raise DefinitionError(
                f"{owner}: {name!r} is both a field and a method (in {base.__qualname__}); rename one of them"
            )
    if not found:
        return NO_DEFAULT
    default = found[0][1]
    if isinstance(default, _MUTABLE):
        raise DefinitionError(
            f"{owner}: the default of {name!r} is a {type(default).__name__}, which can be changed in place; {_INSTEAD}"
        )
    if isinstance(default, _FACTORIES):
        raise DefinitionError(
            f"{owner}: the default of {name!r} must be a value, for new agents of a class are all equal"
        )
    return default
