from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, final

import attrs

from ..errors import DefinitionError
from ._compile import compiled
from ._convert import document
from ._errors import Mismatch
from ._records import FACTORY, MISSING, Member, Record
from ._shape import Schema

__all__ = ["Field", "Fields"]


@final
@attrs.frozen
class Field:
    """A field of a state, or a parameter.

    Args:
        annotation: its resolved annotation; `Any` if it has none.
        default: what it is when it is left out; without one it must be there. An `attrs.Factory` makes a new
            one each time.
        description: what it means, for the schema.
    """

    annotation: Any = Any
    default: Any = MISSING
    description: str = ""


@final
class Fields:
    """Named fields together: converts a mapping from outside to keyword arguments, and describes it.

    Made once, for a class of agents, a handler, an action or a typed signal.

    Args:
        owner: whose fields they are, for error messages.
        fields: the fields by name.
        closed: whether further keys are refused (and NaN, and infinity); else they are ignored.
        known_keys: whether keys are refused that a class inside does not have; else they are ignored.
        rest: the annotation of `**rest`, which takes further keys; `None` if there is none.
        namespace: names for annotations of classes inside that are still text.

    Raises:
        DefinitionError: an annotation is none that values can be converted to, or a default does not fit its
            own.
    """

    __slots__ = ("_record", "defaults")

    def __init__(
        self,
        owner: str,
        fields: Mapping[str, Field],
        *,
        closed: bool = False,
        known_keys: bool = False,
        rest: Any = None,
        namespace: Mapping[str, Any] | None = None,
    ) -> None:
        members = []
        defaults: dict[str, Any] = {}
        for name, field in fields.items():
            try:
                shape = compiled(field.annotation, closed=closed, known_keys=known_keys, namespace=namespace)
            except DefinitionError as error:
                raise DefinitionError(f"{owner}: {name!r}: {error}") from error
            default = field.default
            if default is not MISSING and not isinstance(default, FACTORY):
                try:
                    default = defaults[name] = shape.convert(default)
                except Mismatch as mismatch:
                    raise DefinitionError(
                        f"{owner}: the default of {name!r} does not fit its annotation: {mismatch.error()}"
                    ) from None
            members.append(Member(name, shape, default is MISSING, default, field.description))
        shape_of_rest = None if rest is None else compiled(rest, closed=closed, namespace=namespace)
        self._record = Record(tuple(members), closed=closed, rest=shape_of_rest)
        self.defaults: Mapping[str, Any] = MappingProxyType(defaults)

    def convert(self, data: object) -> dict[str, Any]:
        """The fields that data has, converted; what may be left out and is not there is not in the result.

        Raises:
            ConversionError: data is no mapping, lacks a field, has one that does not fit, or an unknown one.
        """
        try:
            if not isinstance(data, Mapping):
                raise Mismatch.of("a mapping", data)
            return self._record.convert(data)
        except Mismatch as mismatch:
            raise mismatch.error() from None
        except RecursionError:
            raise Mismatch("nesting that ends", "more").error() from None

    def schema(self) -> Schema:
        """The JSON Schema (draft 2020-12) of the mappings that `convert` accepts."""
        return document(self._record.schema)
