"""The mapping that never changes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import immutables
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella.conversion import Map
from prunella.errors import InvalidArgument

items = st.dictionaries(st.text(max_size=3) | st.integers(), st.integers() | st.none(), max_size=8)


@given(items)
def test_it_is_a_mapping_with_the_same_items(data: dict[Any, Any]) -> None:
    made: Map[Any, Any] = Map(data)

    assert isinstance(made, Mapping)
    assert dict(made) == data
    assert len(made) == len(data)
    assert all(key in made and made[key] == made.get(key) == data[key] for key in data)
    assert set(made.values()) == set(data.values())
    assert made.get("absent", 7) == 7
    with pytest.raises(KeyError):
        made["absent"]


@given(items, items)
def test_it_is_equal_to_every_mapping_with_the_same_items(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    for kind in (dict, Map, MappingProxyType, immutables.Map):
        assert (Map(one) == kind(other)) is (one == other)
        assert (kind(other) == Map(one)) is (one == other)
    assert Map(one) != list(one.items())


@given(items, st.randoms())
def test_equal_maps_have_equal_hashes_whatever_the_order(data: dict[Any, Any], random: Any) -> None:
    pairs = list(data.items())
    random.shuffle(pairs)

    assert hash(Map(pairs)) == hash(Map(data)) == hash(immutables.Map(data))


def test_it_is_hashable_only_when_its_values_are() -> None:
    with pytest.raises(TypeError):
        hash(Map({"a": []}))


@given(items, items)
def test_a_changed_copy_leaves_the_original_alone(one: dict[Any, Any], other: dict[Any, Any]) -> None:
    made: Map[Any, Any] = Map(one)

    assert made.update(other) == one | other
    assert made | other == one | other
    assert made | Map(other) == one | other
    assert made.set("x", 1) == one | {"x": 1}
    assert made.set("x", 1).delete("x") == {key: one[key] for key in one if key != "x"}
    assert made == one
    with pytest.raises(KeyError):
        made.delete("absent")
    with pytest.raises(TypeError):
        made | 5  # type: ignore[operator]


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.__setitem__("a", 2),
        lambda made: made.__delitem__("a"),
        lambda made: setattr(made, "_items", {}),
        lambda made: delattr(made, "_items"),
        lambda made: made.pop("a"),
        lambda made: setattr(made, "other", 1),
    ],
)
def test_it_cannot_be_changed_in_place(change: Any) -> None:
    made = Map({"a": 1})

    with pytest.raises((TypeError, AttributeError)):
        change(made)
    assert made == {"a": 1}


@given(items)
def test_it_comes_back_from_pickle_and_copies(data: dict[Any, Any]) -> None:
    made: Map[Any, Any] = Map(data)

    assert type(pickle.loads(pickle.dumps(made))) is Map
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.copy(made) is made
    assert copy.deepcopy(made) == made


def test_it_shows_its_items_and_takes_pairs_and_other_maps() -> None:
    assert repr(Map({"a": 1})) == "Map({'a': 1})"
    assert Map([("a", 1)]) == Map(Map({"a": 1})) == Map(immutables.Map({"a": 1}))
    assert Map() == {}
    assert not Map()
    with pytest.raises(TypeError):
        Map([([], 1)])


@pytest.mark.parametrize("wrong", [5, None, object()])
def test_neither_a_mapping_nor_pairs_is_a_wrong_argument(wrong):
    with pytest.raises(InvalidArgument, match="Map: items must be a mapping, or pairs of key and value, got "):
        Map(wrong)
    with pytest.raises(InvalidArgument):
        Map().update(wrong)
