from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ._compile import compiled
from ._errors import Mismatch
from ._shape import Definitions, Schema

__all__ = ["convert", "converter", "exact_type", "json_schema"]


def converter(
    annotation: Any, *, closed: bool = False, known_keys: bool = False, namespace: Mapping[str, Any] | None = None
) -> Callable[[Any], Any]:
    """The function that converts values to a type; it is compiled once for each type.

    A conversion that loses or invents information is refused. Values of the type are taken as they are, with
    what they hold converted. Beyond that a list becomes a tuple or frozenset, a mapping an attrs class,
    dataclass, TypedDict or Map, text an enumeration by value, ISO 8601 a datetime, date, time or timedelta, text a
    UUID, Path or Decimal, an int a float, base64 bytes. Nothing becomes text or a bool, no text a number or a
    sequence, no float an int, and `None` only `None`. Unions are tried by exact type, then in written order.
    `Any` and `object` take everything as it is.

    Args:
        annotation: the type, resolved (see `resolve_annotations`).
        closed: refuses keys that a class does not have, NaN and infinity; open, further keys are ignored.
        known_keys: refuses only keys that a class does not have.
        namespace: names for annotations of the classes inside that are still text.

    Returns:
        A function of one value, which gives the converted one or raises `ConversionError`.

    Raises:
        DefinitionError: nothing can be converted to this type.
    """
    hook = compiled(annotation, closed=closed, known_keys=known_keys, namespace=namespace).convert

    def convert(value: Any) -> Any:
        try:
            return hook(value)
        except Mismatch as mismatch:
            raise mismatch.error() from None
        except RecursionError:
            raise Mismatch("nesting that ends", "more").error() from None

    return convert


def convert(value: Any, annotation: Any, *, closed: bool = False) -> Any:
    """A value converted to a type, by the rule of `converter`.

    Raises:
        ConversionError: it does not fit; `path` says where.
        DefinitionError: nothing can be converted to this type.
    """
    return converter(annotation, closed=closed)(value)


def exact_type(annotation: Any, *, closed: bool = False, known_keys: bool = False) -> type | None:
    """The class whose very instances the converter returns as they are, if there is one.

    For code that tests this first and calls the converter only where it fails.
    """
    return compiled(annotation, closed=closed, known_keys=known_keys).exact


def json_schema(
    annotation: Any, *, closed: bool = True, known_keys: bool = False, namespace: Mapping[str, Any] | None = None
) -> Schema:
    """The JSON Schema (draft 2020-12) of what the converter accepts of JSON.

    Whatever it accepts the schema accepts. The schema accepts a little more: `1.0` as an integer, NaN, text
    of a `format` that nobody checks, and as a number an int too large for a float.

    Classes stand under `$defs`, with what their docstrings say and the defaults of their fields.

    Args:
        annotation: the type.
        closed, known_keys: as of `converter`.
        namespace: as of `converter`.
    """
    shape = compiled(annotation, closed=closed, known_keys=known_keys, namespace=namespace)
    return document(shape.schema)


def document(make: Callable[[Definitions], Schema]) -> Schema:
    """A schema as a document of its own, with what it refers to."""
    definitions = Definitions()
    schema = make(definitions)
    schemas = definitions.schemas
    reference = schema.get("$ref")
    if reference is not None and len(schema) == 1:  # the class itself is wanted, not a reference to it
        name = reference.rpartition("/")[2]
        schema = schemas[name]
        if not _refers(list(schemas.values()), reference):
            del schemas[name]
    written: Schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    if schemas:
        written["$defs"] = schemas
    return written


def _refers(part: Any, reference: str) -> bool:
    if isinstance(part, dict):
        return part.get("$ref") == reference or any(_refers(item, reference) for item in part.values())
    return isinstance(part, list) and any(_refers(item, reference) for item in part)
