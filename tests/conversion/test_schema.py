"""The JSON Schema of types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import attrs
import jsonschema
import pytest

from prunella.conversion import Field, Fields, descriptions, json_schema, summary


class Color(StrEnum):
    RED = "red"


@attrs.frozen
class Leaf:
    """An end of a tree."""

    size: float = 1


@attrs.frozen
class Tree:
    """A tree, which branches.

    More about trees.

    Attributes:
        name: what it is
            called.
        color: how it looks.
    """

    name: str
    color: Color = Color.RED
    children: tuple[Tree | Leaf, ...] = ()
    made: datetime = attrs.field(factory=datetime.now)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (None, {"type": "null"}),
        (Any, {}),
        (datetime, {"type": "string", "format": "date-time"}),
        (bytes, {"type": "string", "format": "base64", "contentEncoding": "base64"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Color, {"enum": ["red"]}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (frozenset[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
        (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (
            Mapping[Color, int],
            {"type": "object", "additionalProperties": {"type": "integer"}, "propertyNames": {"enum": ["red"]}},
        ),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (object.__class__, {"not": {}}),
    ],
)
def test_a_type_has_its_schema(annotation: Any, schema: dict[str, Any]) -> None:
    assert json_schema(annotation) == {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def test_a_class_is_an_object_with_descriptions_and_defaults() -> None:
    schema = json_schema(Tree)

    assert schema["type"] == "object"
    assert schema["title"] == "Tree"
    assert schema["description"] == "A tree, which branches."
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["name"] == {"type": "string", "description": "what it is called."}
    assert schema["properties"]["color"] == {"enum": ["red"], "description": "how it looks.", "default": "red"}
    assert "default" not in schema["properties"]["made"]
    assert set(schema["$defs"]) == {"Tree", "Leaf"}
    assert "additionalProperties" not in json_schema(Tree, closed=False)
    jsonschema.Draft202012Validator(schema).validate({"name": "x", "children": [{"name": "y"}, {"size": 2}]})


def test_a_class_without_recursion_needs_no_definitions_for_itself() -> None:
    assert "$defs" not in json_schema(Leaf)


def test_two_classes_of_one_name_are_kept_apart() -> None:
    def make(annotation: Any) -> Any:
        return attrs.make_class("Same", {"value": attrs.field(type=annotation)})

    schema = json_schema(tuple[make(int), make(str)])

    assert set(schema["$defs"]) == {"Same", "Same_2"}
    assert schema["prefixItems"] == [{"$ref": "#/$defs/Same"}, {"$ref": "#/$defs/Same_2"}]


class TestFields:
    fields = Fields(
        "action 'add'",
        {
            "number": Field(int, description="the number"),
            "unit": Field(str, "kg"),
            "leaf": Field(Leaf | None, None),
        },
        closed=True,
    )

    def test_the_schema_is_that_of_an_object(self) -> None:
        schema = self.fields.schema()

        assert schema["properties"]["number"] == {"type": "integer", "description": "the number"}
        assert schema["properties"]["unit"] == {"type": "string", "default": "kg"}
        assert schema["required"] == ["number"]
        assert schema["additionalProperties"] is False
        assert set(schema["$defs"]) == {"Leaf"}

    def test_rest_is_described_too(self) -> None:
        fields = Fields("action 'add'", {"a": Field(int)}, closed=True, rest=str)

        assert fields.schema()["additionalProperties"] == {"type": "string"}


def test_what_a_docstring_says_of_parameters() -> None:
    docstring = """Adds a number.

    And says so,
    twice.

    Args:
        number (int): the number
            to add: any.
        *more: further
            numbers.
        Note that this is no entry
        unit: kg or g.

    Returns:
        total: nothing of parameters.
    """

    assert summary(docstring) == "Adds a number."
    assert descriptions(docstring) == {
        "number": "the number to add: any.",
        "more": "further numbers.",
        "unit": "kg or g.",
    }
    assert summary(None) == ""
    assert descriptions(None) == {}
    assert descriptions("Nothing.") == {}
