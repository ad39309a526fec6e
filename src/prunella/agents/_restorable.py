"""Whether a state comes back from a storage as it was. Checked where turns are stored, before the first is."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, Final, Literal, get_args, get_origin, is_typeddict
from uuid import UUID

import attrs

from ..conversion import ConversionError, Map, converter, json_schema, resolve_annotations, to_data
from ..conversion._annotations import is_union, unwrapped
from ..errors import DefinitionError
from ._equality import same

__all__ = ["unrestorable"]

_CONTAINERS: Final = (tuple, frozenset, Mapping, Map, Sequence, Collection, Iterable, Set)
_REMEDY: Final = "give it an annotation that has one (a record, Decimal, datetime, text) or leave it out of the state"

# Values whose text could be taken for another's: which of them a union confuses is tried out.
_TEXTS: Final[tuple[Any, ...]] = (
    datetime(2026, 1, 31, 12, tzinfo=UTC),
    date(2026, 1, 31),
    time(12, 30),
    timedelta(1),
    UUID(int=1),
    Decimal("1234"),
    Decimal("1" * 32),
    bytes.fromhex("d76df8"),
    bytes.fromhex("d75d75d75d75d75d75d75d75d75d75d75d75d75d75d75d75"),
)


def unrestorable(fields: Mapping[str, Any]) -> str | None:
    """What is wrong with the first field whose values a storage could not give back, and the remedy.

    Args:
        fields: annotations by name, of a state that has been compiled.
    """
    walk = _Walk()
    for name, annotation in fields.items():
        problem = walk.problem(annotation)
        if problem is not None:
            return f"{name!r}: {problem}"
    return None


class _Walk:
    """Through annotations, and the classes that they lead to; each once."""

    def __init__(self) -> None:
        self._seen: list[Any] = []

    def problem(self, annotation: Any) -> str | None:
        annotation = unwrapped(annotation)
        if annotation in self._seen or annotation in (Any, object, None, Ellipsis) or get_origin(annotation) is Literal:
            return None
        self._seen.append(annotation)
        if is_union(annotation):
            confused = self._confused(annotation)
            if confused is not None:
                return confused
            parts: Iterable[Any] = get_args(annotation)
        else:
            cls = get_origin(annotation) or annotation
            parts = _fields(cls)
            if not parts and cls not in _CONTAINERS and not _has_form(annotation):
                name = getattr(annotation, "__qualname__", str(annotation))
                return f"values of {name} have no form as data, in which turns are stored; {_REMEDY}"
            if isinstance(cls, type) and issubclass(cls, Enum):
                return self._confused(annotation)
            parts = [*parts, *get_args(annotation)]
        return next((found for part in parts if (found := self.problem(part)) is not None), None)

    def _confused(self, union: Any) -> str | None:
        convert = converter(union, known_keys=True)
        members = [unwrapped(member) for member in get_args(union) or (union,)]
        for member in members:
            for sample in _samples(get_origin(member) or member):
                try:
                    back = convert(to_data(sample))
                except ConversionError as error:
                    if isinstance(sample, Enum):
                        return f"a stored {sample} would not come back: {error}; give it text or a number for its value"
                    continue
                if not same(back, sample) and back != sample:
                    mine, other = type(sample).__name__, type(back).__name__
                    return (
                        f"a stored {mine} would come back as {other}, for nothing in its data tells them apart; "
                        f"put a record with one field for each in the place of {union}"
                    )
        return None


def _has_form(annotation: Any) -> bool:
    schema = json_schema(annotation, closed=False, known_keys=True)
    return schema != {"$schema": schema["$schema"], "not": {}}


def _fields(cls: Any) -> list[Any]:
    """The annotations of the fields of a class that is written as data by its fields."""
    if not isinstance(cls, type):
        return []
    if attrs.has(cls):
        names = [field.name for field in attrs.fields(cls) if field.init]
    elif dataclasses.is_dataclass(cls):
        names = [field.name for field in dataclasses.fields(cls) if field.init]
    elif is_typeddict(cls) or (issubclass(cls, tuple) and hasattr(cls, "_fields")):
        names = list(cls.__annotations__)
    else:
        return []
    try:
        hints = resolve_annotations(cls)
    except DefinitionError:  # a name that only the place knows where the class is made
        return []
    return [hints[name] for name in names if name in hints]


def _samples(cls: Any) -> Iterator[Any]:
    if not isinstance(cls, type):
        return
    if issubclass(cls, Enum):
        yield from cls
    elif issubclass(cls, PurePath):
        yield from [cls(to_data(text)) for text in _TEXTS]
    elif issubclass(cls, (tuple, frozenset)) and not hasattr(cls, "_fields"):
        yield cls()
    elif cls in (Mapping, Map):
        yield Map()
    else:
        yield from [text for text in _TEXTS if type(text) is cls]
