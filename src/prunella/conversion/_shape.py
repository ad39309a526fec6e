from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

__all__ = ["Definitions", "Hook", "Schema", "Shape"]

Hook: TypeAlias = Callable[[Any], Any]
Schema: TypeAlias = dict[str, Any]


class Definitions:
    """The schemas of the classes that a schema refers to; each stands there once, so recursion ends."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[Any, str] = {}

    def reference(self, key: Any, name: str, make: Callable[[Definitions], Schema]) -> Schema:
        """A reference to the schema of one class, which is made when it is asked for first."""
        if key not in self._names:
            given, number = name, 2
            while given in self.schemas:
                given, number = f"{name}_{number}", number + 1
            self._names[key] = given
            self.schemas[given] = {}
            self.schemas[given] = make(self)
        return {"$ref": f"#/$defs/{self._names[key]}"}


@attrs.frozen
class Shape:
    """What an annotation asks for: the conversion and the schema, made together so that they agree.

    Attributes:
        expected: the annotation in words, for errors.
        convert: gives the converted value, or raises `Mismatch`.
        schema: makes the JSON Schema of what `convert` accepts.
        types: a value of exactly one of these types is one of the annotated type already.
        exact: if not None, a value of exactly this type is returned by `convert` as it is.
        is_text: every value of it is written as text, so it can be the key of a JSON object.
    """

    expected: str
    convert: Hook
    schema: Callable[[Definitions], Schema]
    types: tuple[type, ...] = ()
    exact: type | None = None
    is_text: bool = False
