"""A class as the payload of one type of signal."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest

from prunella.conversion import json_schema
from prunella.errors import DefinitionError
from prunella.signals import InvalidSignal, Signal, SignalType, decode, encode, type_of

if TYPE_CHECKING:
    from decimal import Decimal

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


@attrs.frozen
class Customer:
    name: str
    visits: tuple[datetime, ...] = ()


class TicketOpened(SignalType, type="ticket.opened", source="/desk"):
    """A ticket was opened.

    Attributes:
        ticket: its number.
    """

    kinds: ClassVar[tuple[str, ...]] = ("bug", "wish")

    ticket: str
    priority: int = 0
    tags: frozenset[str] = frozenset()
    customer: Customer | None = None
    seen: Mapping[str, datetime] = attrs.field(factory=dict)
    follows: TicketOpened | None = None


def test_a_typed_signal_is_a_frozen_value() -> None:
    opened = TicketOpened(ticket="T-1", tags=["a", "b"], customer={"name": "x", "visits": ["2026-01-31T12:00:00Z"]})  # type: ignore[arg-type]

    assert opened.tags == {"a", "b"}
    assert opened.customer == Customer("x", (NOON,))
    assert opened == TicketOpened(ticket="T-1", tags=frozenset("ab"), customer=Customer("x", (NOON,)))
    assert hash(opened) == hash(pickle.loads(pickle.dumps(opened)))
    assert "T-1" in repr(opened)
    with pytest.raises(AttributeError):
        opened.ticket = "T-2"  # type: ignore[misc]


def test_a_typed_signal_becomes_a_signal_with_plain_data_and_comes_back() -> None:
    opened = TicketOpened(ticket="T-1", seen={"x": NOON}, follows=TicketOpened(ticket="T-0"))
    signal = opened.signal(subject="T-1", extensions={"x": 1}, time=NOON, id="1")

    assert (signal.type, signal.source, signal.subject, signal.id, signal.time) == (
        "ticket.opened",
        "/desk",
        "T-1",
        "1",
        NOON,
    )
    assert signal.data["seen"] == {"x": "2026-01-31T12:00:00+00:00"}
    assert TicketOpened.from_signal(decode(encode(signal))) == opened


def test_every_attribute_can_be_given_but_type_and_data() -> None:
    opened = TicketOpened(ticket="T-1")

    assert opened.signal(source="/other").source == "/other"
    assert opened.signal(time=None, datacontenttype=None, dataschema="d").dataschema == "d"
    for name in ("type", "data"):
        with pytest.raises(TypeError):
            opened.signal(**{name: "x"})


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"ticket": 1}, "data.ticket"),
        ({}, "data.ticket"),
        ({"ticket": "T", "priority": "high"}, "data.priority"),
        ({"ticket": "T", "priority": 1.0}, "data.priority"),
        ({"ticket": "T", "unknown": 1}, "data.unknown"),
        ({"ticket": "T", "customer": {"name": "x", "age": 5}}, "data.customer.age"),
        ({"ticket": "T", "customer": {"name": "x", "visits": ["noon"]}}, "data.customer.visits[0]"),
        ({"ticket": "T", "follows": {"ticket": 5}}, "data.follows.ticket"),
        ([], "data"),
        ("T-1", "data"),
        (None, "data"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_place(data: Any, field: str) -> None:
    with pytest.raises(InvalidSignal) as caught:
        TicketOpened.from_signal(Signal("ticket.opened", data))

    assert caught.value.field == field


def test_another_type_is_refused() -> None:
    with pytest.raises(InvalidSignal) as caught:
        TicketOpened.from_signal(Signal("ticket.closed", {"ticket": "T-1"}))
    assert caught.value.field == "type"
    with pytest.raises(InvalidSignal):
        TicketOpened.from_signal({"ticket": "T-1"})  # type: ignore[arg-type]


def test_the_constructor_checks_and_never_shows_the_value() -> None:
    with pytest.raises(InvalidSignal) as caught:
        TicketOpened(ticket="T", customer={"name": ["hunter2"]})  # type: ignore[arg-type]
    assert caught.value.field == "customer.name"
    assert "hunter2" not in str(caught.value)
    for arguments in ({}, {"ticket": "T", "unknown": 1}):
        with pytest.raises(TypeError):
            TicketOpened(**arguments)


def test_a_factory_makes_a_new_default_that_is_converted_too() -> None:
    assert hash(TicketOpened(ticket="T").seen) == hash(TicketOpened(ticket="U").seen)


def test_fields_are_inherited_and_type_and_source_are_not() -> None:
    class Tenanted(SignalType):
        tenant: str
        region: str = "eu"

    class Paid(Tenanted, type="paid"):
        amount: int

    assert Paid(tenant="t", amount=5).signal().data == {"tenant": "t", "region": "eu", "amount": 5}
    assert Paid(tenant="t", amount=5).signal().source == "/"
    assert type_of(Paid) == "paid"
    for use in (
        lambda: Tenanted(tenant="t").signal(),
        lambda: Tenanted.from_signal(Signal("x")),
        lambda: type_of(Tenanted),
        lambda: type_of(int),  # type: ignore[arg-type]
    ):
        with pytest.raises(DefinitionError):
            use()


def test_a_class_of_the_making_function_is_found() -> None:
    @attrs.frozen
    class Item:
        number: int

    class Ordered(SignalType, type="ordered"):
        items: tuple[Item, ...]

    assert Ordered.from_signal(Signal("ordered", {"items": [{"number": 1}]})).items == (Item(1),)


def test_a_field_may_be_called_like_an_attribute_of_signals() -> None:
    class Odd(SignalType, type="odd"):
        type: str
        data: int
        source: str

    signal = Odd(type="t", data=1, source="s").signal(source="/x")

    assert (signal.type, signal.source) == ("odd", "/x")
    assert Odd.from_signal(signal) == Odd(type="t", data=1, source="s")


def test_what_is_only_imported_for_type_checkers_is_refused_with_the_remedy() -> None:
    with pytest.raises(DefinitionError, match="TYPE_CHECKING") as caught:

        class Priced(SignalType, type="priced"):
            price: Decimal

    assert "price" in str(caught.value)
    assert "Decimal" in str(caught.value)


def define(annotation: Any = str, *, name: str = "field", **namespace: Any) -> type[SignalType]:
    keywords = namespace.pop("keywords", {"type": "a"})
    body = {"__annotations__": {name: annotation}, "__module__": __name__, **namespace}
    return type("Defined", (SignalType,), body, **keywords)


@pytest.mark.parametrize(
    "arguments",
    [
        {"annotation": list[int]},
        {"annotation": dict},
        {"annotation": "set[str] | None"},
        {"annotation": tuple[bytearray, ...]},
        {"annotation": "Unknown"},
        {"annotation": "1 +"},
        {"annotation": int, "field": "five"},
        {"annotation": float, "field": float("nan")},
        {"name": "signal"},
        {"name": "from_signal"},
        {"name": "_hidden"},
        {"keywords": {"type": ""}},
        {"keywords": {"type": 5}},
        {"keywords": {"type": "a", "source": ""}},
        {"bare": attrs.field()},
    ],
)
def test_a_class_that_is_wrong_is_refused_when_it_is_made(arguments: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError):
        define(**arguments)


def test_an_unknown_keyword_of_the_class_statement_is_pythons_own_error() -> None:
    with pytest.raises(TypeError):
        define(keywords={"type": "a", "colour": "red"})


def test_the_schema_is_closed_and_tells_what_the_docstring_tells() -> None:
    schema = json_schema(TicketOpened)

    assert schema["additionalProperties"] is False
    assert schema["required"] == ["ticket"]
    assert schema["description"] == "A ticket was opened."
    assert schema["properties"]["ticket"] == {"type": "string", "description": "its number."}
    assert schema["properties"]["priority"] == {"type": "integer", "default": 0}
