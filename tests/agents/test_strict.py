"""Strict mode runs every handler twice, and names what differs."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from prunella.agents import Agent, Context, Emit, ImpureHandler, InvalidResult, Map, Rejected, on
from prunella.agents._equality import same
from prunella.errors import InvalidArgument
from prunella.signals import Signal

counter = itertools.count()


class Box:
    """Equal only to itself."""


class Impure(Agent, name="impure"):
    when: float = 0.0
    items: Any = None
    count: int = 0

    @on("time")
    def time(self) -> Any:
        return self.set(when=time.perf_counter())

    @on("chance")
    def chance(self) -> Any:
        return Emit("rolled", {"value": random.random()})

    @on("count")
    def counted(self) -> Any:
        return (Emit("x"),) * (1 + next(counter) % 2)

    @on("kind")
    def kind(self) -> Any:
        return self.set(items=1 if next(counter) % 2 else True)

    @on("raise")
    def raises(self) -> Any:
        raise ValueError(next(counter))

    @on("raise.sometimes")
    def raises_sometimes(self) -> Any:
        if next(counter) % 2:
            raise ValueError("odd")

    @on("data")
    def data(self, tags: list[str]) -> Any:
        tags.append("x")

    @on("state")
    def state(self) -> Any:
        self.items.append(1)

    @on("box")
    def box(self) -> Any:
        return Emit("x", {"box": Box()})

    @on("pure")
    def pure(self, context: Context) -> Any:
        return self.set(when=context.random.random(), items=float("nan")), Emit(
            "x", {"id": context.new_id(), "value": float("nan")}
        )

    @on("after", priority=1)
    def before(self, context: Context) -> Any:
        return self.set(items=(context.random.random(),))

    @on("after")
    def after(self, context: Context) -> Any:
        return self.set(items=(*self.items, context.random.random()))

    @on("refuse")
    def refuse(self) -> Any:
        raise Rejected("no")

    @on("type")
    def type(self) -> Any:
        return self.set(count="many")


@pytest.fixture(autouse=True)
def _not_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNELLA_STRICT", raising=False)


def impurity(type: str, **data: Any) -> ImpureHandler:
    with pytest.raises(ImpureHandler) as caught:
        Impure(items=data.pop("items", None)).cmd(type, strict=True, **data)
    return caught.value


def test_the_differing_field_is_named_with_types() -> None:
    error = impurity("time")
    assert (error.handler, error.subject, error.first, error.second) == (
        "Impure.time",
        "field 'when'",
        "float",
        "float",
    )


def test_the_differing_directive_is_named_with_its_field() -> None:
    assert impurity("chance").subject == "directive 1 (Emit, field 'data')"
    more = impurity("count")
    assert more.subject == "directive 2 (Emit), which came of one run only: the number"
    assert {more.first, more.second} == {"1 directives", "2 directives"}
    assert impurity("box").subject == "directive 1 (Emit, field 'data')"


def test_values_are_compared_with_their_types() -> None:
    error = impurity("kind")
    assert {error.first, error.second} == {"int", "bool"}


def test_exceptions_are_compared_by_type_and_text() -> None:
    error = impurity("raise")
    assert (error.subject, error.first, error.second) == ("what it raises", "ValueError", "ValueError")
    assert isinstance(error.__cause__, ValueError)
    assert {impurity("raise.sometimes").first, "nothing"} <= {"nothing", "ValueError"}


def test_changed_arguments_are_found() -> None:
    error = impurity("data", tags=["a"])
    assert "signal's data" in error.subject
    assert "'items'" in impurity("state", items=[0]).subject


def test_a_pure_handler_passes_with_chance_ids_and_nan() -> None:
    context = Context(seed=3)
    strict = Impure().cmd("pure", context=context, strict=True)
    relaxed = Impure().cmd("pure", context=context, strict=False)
    assert same(strict[1], relaxed[1])
    assert strict[0].when == relaxed[0].when


def test_chance_goes_on_from_handler_to_handler_as_without() -> None:
    context = Context(seed=3)
    assert Impure().cmd("after", context=context, strict=True) == Impure().cmd("after", context=context, strict=False)


def test_what_is_raised_twice_is_raised() -> None:
    with pytest.raises(Rejected):
        Impure().cmd("refuse", strict=True)


def test_without_it_nothing_is_compared() -> None:
    Impure().cmd("time", strict=False)
    Impure().cmd("box")


@pytest.mark.parametrize(("value", "is_on"), [("1", True), ("true", True), ("0", False), ("", False), ("off", False)])
def test_the_environment_says_whether_unless_the_call_does(
    monkeypatch: pytest.MonkeyPatch, value: str, is_on: bool
) -> None:
    monkeypatch.setenv("PRUNELLA_STRICT", value)
    if is_on:
        impurity("time")
        with pytest.raises(ImpureHandler):
            Impure().cmd("time")
    else:
        Impure().cmd("time")
    Impure().cmd("time", strict=False)


def test_set_checks_types_in_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Impure().set(count="many").count == "many"
    assert Impure().cmd("type")[0].count == "many"
    with pytest.raises(InvalidArgument) as caught:
        Impure().cmd("type", strict=True)
    assert (caught.value.field, caught.value.owner) == ("count", "Impure.set()")
    monkeypatch.setenv("PRUNELLA_STRICT", "1")
    with pytest.raises(InvalidArgument):
        Impure().set(count="many")
    assert Impure().set(count=3).count == 3
    assert Impure().cmd("type", strict=False)[0].count == "many"


def test_set_takes_no_value_that_would_have_to_be_converted_in_strict_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNELLA_STRICT", "1")

    class Typed(Agent, name="typed"):
        tags: tuple[str, ...] = ()
        weight: float = 0.0

    for wrong in ({"tags": ["a"]}, {"weight": 1}):
        with pytest.raises(InvalidArgument, match="converts nothing"):
            Typed().set(**wrong)


def test_set_checks_only_what_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = Impure().set(count="many")
    monkeypatch.setenv("PRUNELLA_STRICT", "1")
    assert odd.set(items=1).count == "many"


def test_an_invalid_result_stays_one_in_strict_mode() -> None:
    class Wrong(Agent, name="wrong"):
        @on("x")
        def wrong(self) -> Any:
            return 3

    with pytest.raises(InvalidResult):
        Wrong().cmd("x", strict=True)


@attrs.frozen
class Pair:
    left: Any
    right: Any


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (1, 1, True),
        (1, True, False),
        (1, 1.0, False),
        (float("nan"), float("nan"), True),
        ((1, [float("nan")]), (1, [float("nan")]), True),
        ((1,), (True,), False),
        ((1,), [1], False),
        ((1,), (1, 2), False),
        ({"a": float("nan")}, {"a": float("nan")}, True),
        ({"a": 1}, {"b": 1}, False),
        (Map({"a": (1,)}), Map({"a": (True,)}), False),
        (Pair(1, float("nan")), Pair(1, float("nan")), True),
        (Pair(1, float("nan")), Pair(2, float("nan")), False),
        (Box(), Box(), False),
    ],
)
def test_what_is_the_same(first: Any, second: Any, expected: bool) -> None:
    assert same(first, second) is expected


def test_data_that_cannot_be_copied_or_compared_is_left_alone() -> None:
    class Takes(Agent, name="takes"):
        box: Any = None

        @on("x")
        def take(self, box: Any) -> Any:
            return self.set(box=box)

    box = Box()
    assert Takes().cmd(Signal("x", Map({"box": box})), strict=True)[0].box is box
    lock: Iterator[int] = iter(())
    assert Takes().cmd("x", box=lock, strict=True)[0].box is lock
