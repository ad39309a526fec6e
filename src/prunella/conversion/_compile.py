"""From an annotation to its shape. Each is compiled once for every way to convert."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
from collections.abc import Mapping
from enum import Enum
from threading import RLock
from typing import Any, Literal, Never, NoReturn, TypeVar, get_args, get_origin, is_typeddict

import attrs

from ..errors import DefinitionError
from ._annotations import is_union, resolve_annotations, unwrapped
from ._containers import fixed_tuple, mapping_of, sequence_of, set_of
from ._errors import Mismatch
from ._map import Map
from ._records import Member, Record, class_members, named_tuple, record_class, typed_dict
from ._scalars import ANYTHING, enumeration, instance, literal, scalar
from ._shape import Shape

__all__ = ["compiled"]

_SEQUENCES: dict[Any, type] = {
    tuple: tuple,
    abc.Sequence: tuple,
    abc.Collection: tuple,
    abc.Iterable: tuple,
    list: list,
    abc.MutableSequence: list,
}
_SETS: dict[Any, type] = {frozenset: frozenset, abc.Set: frozenset, set: set, abc.MutableSet: set}
_MAPPINGS: dict[Any, type] = {abc.Mapping: Map, Map: Map, dict: dict, abc.MutableMapping: dict}

_cache: dict[tuple[Any, bool, bool], Shape] = {}
_lock = RLock()  # a recursive class must not be seen half compiled by another thread


def compiled(
    annotation: Any, *, closed: bool, known_keys: bool = False, namespace: Mapping[str, Any] | None = None
) -> Shape:
    """The shape of an annotation.

    Args:
        annotation: the annotation.
        closed: refuses keys that a class does not have, NaN and infinity.
        known_keys: refuses keys that a class does not have.
        namespace: names for annotations of classes inside that are still text.

    Raises:
        DefinitionError: nothing can be converted to it.
    """
    known_keys = known_keys or closed
    key = (_key(annotation), closed, known_keys)
    try:
        shape = _cache.get(key)
    except TypeError:  # it cannot be hashed
        raise DefinitionError(f"nothing can be converted to the annotation {annotation!r}") from None
    if shape is None:
        with _lock:
            compiler = _Compiler(closed, known_keys, namespace)
            shape = compiler.shape(annotation)
            _cache.update(compiler.made)  # only now, when all of it is complete
    return shape


def _key(annotation: Any) -> Any:
    """What tells annotations apart. `int | str` and `str | int` are equal to Python, and different to us."""
    if is_union(annotation):
        return "|", tuple([_key(member) for member in get_args(annotation)])
    origin = get_origin(annotation)
    if origin is None:
        return annotation
    if origin is Literal:
        return origin, tuple([(type(value), value) for value in get_args(annotation)])
    return origin, tuple([_argument_key(argument) for argument in get_args(annotation)])


def _argument_key(argument: Any) -> Any:
    if isinstance(argument, list):  # the parameters of a Callable
        return tuple([_key(part) for part in argument])
    try:
        hash(argument)
    except TypeError:  # what Annotated carries can be anything
        return id(argument)
    return _key(argument)


class _Compiler:
    """One compilation with all that it leads to."""

    def __init__(self, closed: bool, known_keys: bool, namespace: Mapping[str, Any] | None) -> None:
        self.closed = closed
        self.known_keys = known_keys
        self.namespace = namespace
        self.made: dict[tuple[Any, bool, bool], Shape] = {}

    def shape(self, annotation: Any) -> Shape:
        key = (_key(annotation), self.closed, self.known_keys)
        known = _cache.get(key) or self.made.get(key)
        if known is not None:
            return known
        # Whoever meets the annotation again inside itself gets a shape that finds the finished one later.
        finished: list[Shape] = []
        self.made[key] = Shape(
            getattr(annotation, "__name__", str(annotation)),
            lambda value: finished[0].convert(value),
            lambda definitions: finished[0].schema(definitions),
        )
        shape = self._made(annotation)
        finished.append(shape)
        self.made[key] = shape
        return shape

    def _made(self, annotation: Any) -> Shape:
        annotation = unwrapped(annotation)
        if annotation is Any or annotation is object:
            return ANYTHING
        if annotation is None:
            annotation = type(None)
        if is_union(annotation):
            return self._union(get_args(annotation))
        origin = get_origin(annotation)
        if origin is Literal:
            return literal(get_args(annotation))
        if isinstance(annotation, TypeVar):
            return self._variable(annotation)
        if annotation in (Never, NoReturn):
            return Shape("nothing", _refuse, lambda _: {"not": {}})
        cls = annotation if origin is None else origin
        if cls is abc.Callable:
            return Shape("a function", _callable, lambda _: {"not": {}})
        if not isinstance(cls, type):
            raise DefinitionError(f"nothing can be converted to the annotation {annotation!r}")
        container = self._container(cls, get_args(annotation), bare=annotation is cls)
        return container or self._class(annotation, cls)

    def _union(self, members: tuple[Any, ...]) -> Shape:
        shapes = [self.shape(member) for member in members]
        by_type: dict[type, list[Shape]] = {}
        for shape in shapes:
            for cls in shape.types:
                by_type.setdefault(cls, []).append(shape)
        expected = " or ".join(shape.expected for shape in shapes)
        # With one member beside None it is that one whose error tells most.
        others = [shape for shape in shapes if shape.types != (type(None),)]
        only = others[0] if len(others) == 1 else None

        def convert(value: Any) -> Any:
            for shape in by_type.get(type(value), ()):
                try:
                    return shape.convert(value)
                except Mismatch:
                    continue
            for shape in shapes:
                try:
                    return shape.convert(value)
                except Mismatch as mismatch:
                    if shape is only and mismatch.path:
                        raise
            raise Mismatch.of(expected, value)

        return Shape(
            expected,
            convert,
            lambda definitions: {"anyOf": [shape.schema(definitions) for shape in shapes]},
            tuple(by_type),
            is_text=all(shape.is_text for shape in shapes),
        )

    def _variable(self, variable: TypeVar) -> Shape:
        if variable.__constraints__:
            return self._union(variable.__constraints__)
        return ANYTHING if variable.__bound__ is None else self.shape(variable.__bound__)

    def _container(self, cls: type, arguments: tuple[Any, ...], *, bare: bool) -> Shape | None:
        if cls is tuple and not bare and not (len(arguments) == 2 and arguments[1] is Ellipsis):
            return fixed_tuple(tuple([self.shape(argument) for argument in arguments]))
        if cls in _SEQUENCES:
            return sequence_of(_SEQUENCES[cls], self.shape(arguments[0] if arguments else Any))
        if cls in _SETS:
            return set_of(_SETS[cls], self.shape(arguments[0] if arguments else Any))
        if cls in _MAPPINGS:
            key, item = arguments or (Any, Any)
            return mapping_of(_MAPPINGS[cls], self.shape(key), self.shape(item))
        return None

    def _class(self, annotation: Any, cls: type) -> Shape:
        known = scalar(cls, closed=self.closed)
        if known is not None:
            return known
        if issubclass(cls, Enum):
            return enumeration(cls)
        if attrs.has(cls) or dataclasses.is_dataclass(cls):
            members = class_members(cls, self._hints(annotation, cls), self.shape)
            return record_class(annotation, cls.__name__, Record(members, closed=self.known_keys))
        if is_typeddict(cls):
            return self._typed_dict(annotation, cls)
        if issubclass(cls, tuple) and hasattr(cls, "_fields"):
            hints = self._hints(annotation, cls)
            return named_tuple(cls, tuple([self.shape(hints.get(name, Any)) for name in cls._fields]))
        if cls is type:
            return instance(type, "a class")
        if getattr(cls, "_is_protocol", False) and not getattr(cls, "_is_runtime_protocol", False):
            return ANYTHING  # nothing at run time tells who follows it
        return instance(cls, cls.__name__)

    def _hints(self, annotation: Any, cls: type) -> dict[str, Any]:
        """The annotations of a class, with the arguments of `Box[int]` in the place of its variables."""
        hints = resolve_annotations(cls, namespace=self.namespace)
        variables = getattr(cls, "__parameters__", ())
        arguments = dict(zip(variables, get_args(annotation), strict=False))
        return {name: _substituted(hint, arguments) for name, hint in hints.items()}

    def _typed_dict(self, annotation: Any, cls: Any) -> Shape:
        hints = self._hints(annotation, cls)
        members = []
        for name, hint in hints.items():
            # By what the annotation says: the sets that the class keeps are wrong where annotations are text.
            said = {getattr(part, "__name__", "") for part in _qualifiers(hint)}
            required = name in cls.__required_keys__
            if "Required" in said or "NotRequired" in said:
                required = "Required" in said
            members.append(Member(name, self.shape(hint), required))
        return typed_dict(cls, Record(tuple(members), closed=self.known_keys))


def _qualifiers(hint: Any) -> list[Any]:
    found = []
    while get_origin(hint) is not None and not isinstance(get_origin(hint), type):
        found.append(get_origin(hint))
        arguments = get_args(hint)
        if not arguments or is_union(hint) or get_origin(hint) is Literal:
            break
        hint = arguments[0]
    return found


def _substituted(hint: Any, arguments: dict[Any, Any]) -> Any:
    if not arguments:
        return hint
    if isinstance(hint, TypeVar):
        return arguments.get(hint, hint)
    variables = getattr(hint, "__parameters__", ())
    if not variables or isinstance(hint, type):
        return hint
    return hint[tuple([arguments.get(variable, variable) for variable in variables])]


def _callable(value: Any) -> Any:
    if callable(value):
        return value
    raise Mismatch.of("a function", value)


def _refuse(value: Any) -> Any:
    raise Mismatch.of("nothing", value)
