"""An annotation that cannot be hashed is one that nothing can be converted to, as any other that is no type."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from prunella.conversion import convert, converter, exact_type, json_schema
from prunella.errors import DefinitionError


@pytest.mark.parametrize("annotation", [[], [int], {}, {"a": int}])
def test_it_is_refused_by_name(annotation: Any) -> None:
    for use in (converter, json_schema, exact_type, lambda annotation: convert(1, annotation)):
        with pytest.raises(DefinitionError, match="nothing can be converted to the annotation "):
            use(annotation)


def test_what_an_annotation_carries_beside_the_type_need_not_be_hashable() -> None:
    assert convert(1, Annotated[int, ["a note"]]) == 1
