"""Shapes of what holds other values: tuples and lists, sets, mappings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, cast

from ._errors import Mismatch, step
from ._map import Map
from ._shape import Definitions, Hook, Schema, Shape

__all__ = ["fixed_tuple", "mapping_of", "sequence_of", "set_of"]


def sequence_of(cls: type, item: Shape) -> Shape:
    """A `tuple` of any length, or a `list`; a list becomes a tuple, never the other way round."""
    convert_item, exact = item.convert, item.exact
    expected = f"{cls.__name__} of {item.expected}"

    def convert(value: Any) -> Any:
        if isinstance(value, cls):
            made = False
        elif isinstance(value, list):
            made = True
        else:
            raise Mismatch.of(expected, value)
        if exact is not None:
            for member in value:
                if type(member) is not exact:
                    break
            else:
                return cls(value) if made else value
        items = _converted(value, convert_item)
        if not made and all(map(_is, value, items)):
            return value
        return cls(items)

    def schema(definitions: Definitions) -> Schema:
        return {"type": "array", "items": item.schema(definitions)}

    return Shape(expected, convert, schema, (cls,))


def _is(one: object, other: object) -> bool:
    return one is other


def _converted(values: Iterable[Any], convert_item: Hook) -> list[Any]:
    items: list[Any] = []
    try:
        for value in values:
            items.append(convert_item(value))
    except Mismatch as mismatch:
        raise mismatch.under(f"[{len(items)}]") from None
    return items


def fixed_tuple(items: tuple[Shape, ...], make: Callable[..., Any] = tuple, cls: type = tuple) -> Shape:
    """A tuple of as many items as are annotated, each with its own type; a named tuple by `make`."""
    expected = f"{cls.__name__} of {len(items)}"

    def convert(value: Any) -> Any:
        if cls is not tuple and isinstance(value, cls):
            return value
        if not isinstance(value, (tuple, list)):
            raise Mismatch.of(expected, value)
        if len(value) != len(items):
            raise Mismatch(expected, f"{type(value).__name__} of {len(value)}")
        made = []
        for index, (shape, member) in enumerate(zip(items, value, strict=True)):
            try:
                made.append(shape.convert(member))
            except Mismatch as mismatch:
                raise mismatch.under(f"[{index}]") from None
        if isinstance(value, cls) and all(map(_is, value, made)):
            return value
        return make(made)

    def schema(definitions: Definitions) -> Schema:
        written: Schema = {"type": "array", "minItems": len(items), "maxItems": len(items)}
        if items:  # JSON Schema wants at least one
            written["prefixItems"] = [shape.schema(definitions) for shape in items]
        return written

    return Shape(expected, convert, schema, (cls,))


def set_of(cls: type, item: Shape) -> Shape:
    """A `frozenset`, or a `set`; out of a list too if no item stands there twice, for it would be lost."""
    expected = f"{cls.__name__} of {item.expected}"

    def convert(value: Any) -> Any:
        if not isinstance(value, (cls, list)):
            raise Mismatch.of(expected, value)
        items = _converted(cast("Iterable[Any]", value), item.convert)
        if isinstance(value, Set) and all(map(_is, value, items)):
            return value
        try:
            made = cls(items)
        except TypeError:
            raise Mismatch(f"{expected}, all hashable", "an item that is not") from None
        if len(made) != len(items):
            raise Mismatch(f"{expected}, each once", "one twice")
        return made

    def schema(definitions: Definitions) -> Schema:
        return {"type": "array", "items": item.schema(definitions), "uniqueItems": True}

    return Shape(expected, convert, schema, (cls,))


def mapping_of(cls: type, key: Shape, item: Shape) -> Shape:
    """A `Map`, or a `dict`, out of any mapping.

    JSON objects have keys of text. A mapping whose keys are something else is written as a list of pairs, and
    taken in that form.
    """
    expected = f"a mapping of {key.expected} to {item.expected}"

    def convert(value: Any) -> Any:
        if isinstance(value, Mapping):
            pairs: Iterable[tuple[Any, Any]] = value.items()
        elif isinstance(value, list) and not key.is_text:
            pairs = _pairs(value, expected)
        else:
            raise Mismatch.of(expected, value)
        same = type(value) is cls
        made: dict[Any, Any] = {}
        for name, member in pairs:
            try:
                made_name = key.convert(name)
                made_member = item.convert(member)
            except Mismatch as mismatch:
                raise mismatch.under(step(name)) from None
            same = same and made_name is name and made_member is member
            try:
                known = made_name in made
            except TypeError:
                raise Mismatch(f"{expected}, all keys hashable", "a key that is not") from None
            if known:
                raise Mismatch(f"{expected}, each key once", "one twice")
            made[made_name] = made_member
        if same:
            return value
        return made if cls is dict else cls(made)

    def schema(definitions: Definitions) -> Schema:
        keys, items = key.schema(definitions), item.schema(definitions)
        if not key.is_text:
            pair: Schema = {"type": "array", "prefixItems": [keys, items], "minItems": 2, "maxItems": 2}
            objects: Schema = {"type": "object", "propertyNames": keys, "additionalProperties": items}
            return {"anyOf": [{"type": "array", "items": pair}, objects]}
        written: Schema = {"type": "object", "additionalProperties": items}
        if keys != {"type": "string"}:
            written["propertyNames"] = keys
        return written

    return Shape(expected, convert, schema, (cls,) if cls is dict else (Map, cls))


def _pairs(value: list[Any], expected: str) -> Iterable[tuple[Any, Any]]:
    for index, pair in enumerate(value):
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise Mismatch.of(f"{expected}, as pairs", pair).under(f"[{index}]")
        yield pair[0], pair[1]
