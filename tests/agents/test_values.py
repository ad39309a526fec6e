"""An agent is an immutable value."""

from __future__ import annotations

import copy
import math
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, ClassVar, Generic, NotRequired, TypedDict, TypeVar

import attrs
import pytest

from prunella.agents import Agent, Context, Map, on, schema
from prunella.conversion import ConversionError
from prunella.errors import DefinitionError, InvalidArgument
from prunella.runtime import AgentSpec

T = TypeVar("T")


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@attrs.frozen
class Customer:
    name: str
    visits: tuple[int, ...] = ()


class Desk(Agent, name="desk"):
    open: tuple[str, ...] = ()
    last: str = ""


class Shop(Agent, name="shop"):
    prices: Mapping[str, float] = Map()
    customer: Customer | None = None
    colour: Colour = Colour.RED
    opened: date | None = None


class Account(Agent, name="account"):
    owner: str
    balance: int = 0


def test_fields_have_their_defaults() -> None:
    assert (Desk().open, Desk().last) == ((), "")


def test_fields_are_given_by_keyword() -> None:
    assert Desk(open=("a",)).open == ("a",)
    with pytest.raises(TypeError):
        Desk(("a",))  # type: ignore[misc]


def test_an_agent_does_not_change() -> None:
    desk = Desk()
    with pytest.raises(AttributeError, match=r"Desk does not change: self\.set\(last=\.\.\.\)"):
        desk.last = "x"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="does not change"):
        del desk.last
    with pytest.raises(AttributeError):
        desk.other = 1  # type: ignore[attr-defined]


def test_set_gives_a_changed_one_and_leaves_the_original() -> None:
    desk = Desk(open=("a",))
    changed = desk.set(last="x")
    assert (changed.open, changed.last) == (("a",), "x")
    assert desk.last == ""


def test_set_checks_names() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Desk().set(opne=())
    assert caught.value.field == "opne"
    assert "open, last" in str(caught.value)


def test_set_converts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNELLA_STRICT", raising=False)  # there it checks types
    assert Desk().set(open=["a"]).open == ["a"]


def test_set_puts_a_dict_that_a_mapping_field_is_given_into_a_map() -> None:
    shop = Shop().set(prices={"tea": 2.0})
    assert isinstance(shop.prices, Map)
    assert shop.prices == {"tea": 2.0}


def test_the_constructor_converts_and_checks() -> None:
    shop = Shop(prices={"tea": 2}, customer={"name": "Ann", "visits": [1]}, colour="blue")  # type: ignore[arg-type]
    assert shop == Shop(prices=Map({"tea": 2.0}), customer=Customer("Ann", (1,)), colour=Colour.BLUE)
    with pytest.raises(InvalidArgument) as caught:
        Shop(customer={"name": "Ann", "visits": ["1"]})  # type: ignore[arg-type]
    assert (caught.value.field, caught.value.expected) == ("customer.visits[0]", "int")
    assert "got str" in str(caught.value)


class Tariff(TypedDict):
    name: str
    rate: NotRequired[float]


@dataclass(frozen=True)
class Place:
    street: str = ""
    customer: Customer | None = None


class Nested(Agent, name="nested"):
    customer: Customer | None = None
    tariff: Tariff | None = None
    places: tuple[Place, ...] = ()


@pytest.mark.parametrize(
    ("data", "where"),
    [
        ({"customer": {"name": "Ann", "zzz": 3}}, "customer.zzz"),
        ({"tariff": {"name": "low", "zzz": 3}}, "tariff.zzz"),
        ({"places": [{"street": "a"}, {"zzz": 3}]}, "places[1].zzz"),
        ({"places": [{"customer": {"name": "Ann", "zzz": 3}}]}, "places[0].customer.zzz"),
    ],
)
def test_a_state_loses_no_key_that_a_class_inside_does_not_have(data: Any, where: str) -> None:
    with pytest.raises(InvalidArgument) as made:
        Nested(**data)
    assert made.value.field == where
    with pytest.raises(InvalidArgument) as started:
        AgentSpec(Nested, state=data)
    assert started.value.field == f"state.{where}"
    with pytest.raises(ConversionError) as read:
        Nested.from_data(data)
    assert read.value.path == where
    assert isinstance(read.value, InvalidArgument)
    assert (read.value.field, read.value.got) == (where, "an unknown one")


def test_what_is_known_inside_may_still_be_infinite_in_a_state_and_further_keys_in_a_signal_are_ignored() -> None:
    class Wide(Agent):
        place: Mapping[str, float] = Map()
        customer: Customer | None = None

        @on("take")
        def take(self, customer: Customer) -> Any:
            return self.set(customer=customer)

    assert Wide(place={"x": math.inf}).place["x"] == math.inf  # type: ignore[arg-type]
    after, _ = Wide().cmd("take", customer={"name": "Ann", "zzz": 3})
    assert after.customer == Customer("Ann")


def test_the_schema_of_a_state_says_that_its_classes_take_no_further_keys() -> None:
    assert schema(Nested)["$defs"]["Customer"]["additionalProperties"] is False


def test_the_constructor_names_a_field_that_is_missing_or_unknown() -> None:
    with pytest.raises(InvalidArgument, match="owner must be given"):
        Account()  # type: ignore[call-arg]
    with pytest.raises(InvalidArgument, match="one of owner, balance"):
        Account(owner="a", money=1)  # type: ignore[call-arg]


def test_agents_are_equal_if_class_and_fields_are() -> None:
    class Other(Agent, name="desk"):
        open: tuple[str, ...] = ()
        last: str = ""

    assert Desk(last="x") == Desk(last="x")
    assert Desk(last="x") != Desk()
    assert Desk() != Other()
    assert Desk() != object()


def test_agents_are_hashable_with_their_mappings() -> None:
    assert len({Shop(prices={"a": 1.0}), Shop(prices={"a": 1.0}), Shop()}) == 2


def test_the_hash_depends_on_class_and_fields() -> None:
    class Other(Agent, name="other"):
        open: tuple[str, ...] = ()
        last: str = ""

    assert len({hash(agent) for agent in (Desk(), Desk(last="x"), Desk(open=("x",)), Other())}) == 4


def test_a_default_is_converted_like_any_value() -> None:
    class Scale(Agent, name="scale"):
        weight: float = 1

    assert type(Scale().weight) is float


def test_agents_can_be_pickled_and_copied() -> None:
    shop = Shop(prices={"a": 1.0}, customer=Customer("Ann"))
    assert pickle.loads(pickle.dumps(shop)) == shop
    assert copy.copy(shop) is shop
    assert copy.deepcopy(shop) == shop


def test_replace_of_copy_works() -> None:
    if sys.version_info >= (3, 13):
        assert copy.replace(Desk(), last="x") == Desk(last="x")
    assert Desk().__replace__(last="x") == Desk(last="x")


def test_repr_shows_class_and_fields() -> None:
    assert repr(Desk(last="x")) == "Desk(open=(), last='x')"


def test_only_four_names_are_taken() -> None:
    class Free(Agent, name="free"):
        name: str = "n"
        id: int = 1
        state: str = "s"
        tags: tuple[str, ...] = ("t",)
        version: int = 7
        self: int = 0
        cls: int = 0
        data: str = ""
        context: str = ""
        changes: int = 0

        @on("schema")
        def schema(self, signal: str, context: str) -> Any:
            return self.set(data=signal, context=context)

        @on("handlers")
        def handlers(self) -> Any:
            return self.set(self=1, cls=2, changes=3)

    free, _ = Free(tags=("x",)).cmd("handlers")
    assert (free.name, free.id, free.state, free.tags, free.version) == ("n", 1, "s", ("x",), 7)
    assert (free.self, free.cls, free.changes) == (1, 2, 3)
    public = {name for name in dir(Agent) if not name.startswith("_")}
    assert public == {"cmd", "set", "to_data", "from_data"}


def test_class_variables_and_plain_methods_are_no_fields() -> None:
    class Limited(Agent, name="limited"):
        limit: ClassVar[int] = 3
        count: int = 0

        def _room(self) -> int:
            return self.limit - self.count

        @property
        def room(self) -> int:
            return self._room()

    assert schema(Limited)["properties"].keys() == {"count"}
    assert Limited(count=1).room == 2


def test_a_subclass_inherits_fields_and_can_change_defaults() -> None:
    class Base(Agent):
        count: int = 0
        owner: str = ""

    class Derived(Base, name="derived"):
        more: int = 1
        count: int = 5

    assert list(schema(Derived)["properties"]) == ["count", "owner", "more"]
    assert Derived() == Derived(count=5, owner="", more=1)
    assert Base().count == 0


def test_a_default_can_be_changed_without_an_annotation() -> None:
    class Five(Desk, name="five"):
        last = "five"

    assert Five().last == "five"
    assert Five().set(last="x").last == "x"


def test_agents_can_have_several_bases_with_fields() -> None:
    class Counting(Agent):
        count: int = 0

        @on("count")
        def counted(self) -> Any:
            return self.set(count=self.count + 1)

    class Naming(Agent):
        label: str = ""

    class Both(Counting, Naming, name="both"):
        pass

    assert Both(label="x").cmd("count")[0] == Both(count=1, label="x")


def test_agents_can_be_generic() -> None:
    class Box(Agent, Generic[T], name="box"):
        content: T | None = None

    assert Box(content=3).set(content=4).content == 4


def test_the_base_itself_makes_no_values() -> None:
    with pytest.raises(DefinitionError, match="derive"):
        Agent()
    with pytest.raises(DefinitionError, match="derive"):
        Agent.from_data({})


def test_to_data_is_plain_data() -> None:
    shop = Shop(prices={"a": 1.0}, customer=Customer("Ann", (1, 2)), opened=date(2026, 1, 31))
    assert shop.to_data() == {
        "prices": {"a": 1.0},
        "customer": {"name": "Ann", "visits": [1, 2]},
        "colour": "red",
        "opened": "2026-01-31",
    }
    assert Shop.from_data(shop.to_data()) == shop


def test_from_data_fills_in_defaults() -> None:
    assert Desk.from_data({"last": "x"}) == Desk(last="x")


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({}, "owner"),
        ({"owner": 1}, "owner"),
        ({"owner": "a", "balance": 1.0}, "balance"),
        ({"owner": "a", "balance": True}, "balance"),
        ({"owner": "a", "money": 1}, "money"),
        ([], ""),
    ],
)
def test_from_data_refuses_what_does_not_fit(data: Any, path: str) -> None:
    with pytest.raises(ConversionError) as caught:
        Account.from_data(data)
    assert caught.value.path == path


def test_to_data_names_what_has_no_form() -> None:
    class Holder(Agent, name="holder"):
        thing: Any = None

    with pytest.raises(ConversionError) as caught:
        Holder(thing=(1, object())).to_data()
    assert caught.value.path == "thing[1]"


def test_infinity_is_a_float() -> None:
    class Best(Agent, name="best"):
        value: float = math.inf

    assert Best.from_data(Best().to_data()) == Best()


def test_a_field_can_be_of_the_class_itself() -> None:
    class Node(Agent, name="node"):
        before: Node | None = None

    assert Node(before=Node()).before == Node()


def test_a_value_that_a_field_cannot_take_back_is_told_by_type_only() -> None:
    with pytest.raises(InvalidArgument) as caught:
        Account(owner="a", balance="secret")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_the_time_of_a_context_is_not_the_state() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)

    class Watch(Agent, name="watch"):
        seen: datetime | None = None

        @on("look")
        def look(self, context: Context) -> Any:
            return self.set(seen=context.now)

    watch, _ = Watch().cmd("look", context=Context(now=now))
    assert Watch.from_data(watch.to_data()) == Watch(seen=now)
