"""Strict conversion: data from outside becomes typed, immutable values, or is refused.

One rule holds: a conversion that loses or invents information is refused. Nothing is bent until it fits:

.. code-block:: python

    from datetime import date
    from prunella.conversion import ConversionError, convert, json_schema, to_data

    assert convert(["a", "b"], tuple[str, ...]) == ("a", "b")
    assert convert("2026-01-31", date) == date(2026, 1, 31)

    try:
        convert({"visits": ["1"]}, dict[str, tuple[int, ...]])
    except ConversionError as error:
        assert (error.path, error.expected, error.got) == ("visits[0]", "int", "str")

`converter` compiles a type once, for values that come again and again; `to_data` is the way back, and
`json_schema` describes what is accepted. `Map` is the mapping that never changes. `Fields` does the same for
parameters and fields that are no class; `resolve_annotations` and `check_immutable` are for whoever defines
classes by annotations.
"""

from ._annotations import check_immutable, defining_namespace, resolve_annotations
from ._convert import convert, converter, exact_type, json_schema
from ._docstrings import descriptions, summary
from ._errors import ConversionError
from ._fields import Field, Fields
from ._map import Map
from ._to_data import to_data

__all__ = [
    "ConversionError",
    "Field",
    "Fields",
    "Map",
    "check_immutable",
    "convert",
    "converter",
    "defining_namespace",
    "descriptions",
    "exact_type",
    "json_schema",
    "resolve_annotations",
    "summary",
    "to_data",
]
