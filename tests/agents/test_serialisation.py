"""Directives as plain JSON data, and back."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.agents.test_cmd import Counter
from tests.signals.strategies import json_values, signals

from prunella.agents import (
    Address,
    AdoptChild,
    Agent,
    Ask,
    Cancel,
    Cron,
    Directive,
    Emit,
    Fail,
    Map,
    NotSerialisable,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    Stop,
    StopChild,
    directive_from_data,
    directive_to_data,
)
from prunella.errors import InvalidArgument
from prunella.signals import Signal

Data = dict[str, Any]


async def act(**params: Any) -> None: ...


class Holder:
    async def method(self) -> None: ...


class Ref:
    address = Address("ref", "north")


class Bell(Enum):
    FRONT = object()
    BACK = "back"


@attrs.frozen
class Ring(Directive):
    bell: Bell = Bell.BACK
    _times: int = 1
    who: str | None = "ann"


@dataclass(frozen=True)
class Knock(Directive):
    times: int
    door: tuple[str, ...] = ()


@attrs.frozen
class Loose(Directive):
    thing: Any


class Bare(Directive):
    pass


def through(directive: Directive) -> Directive:
    return directive_from_data(json.loads(json.dumps(directive_to_data(directive), allow_nan=False)))


names = st.sampled_from(["a", "a.b", "ticket.opened"])
optional_names = st.none() | names
texts = st.text(min_size=1, max_size=5)
scalars = (
    json_values
    | st.binary(max_size=5)
    | st.datetimes(timezones=st.just(UTC))
    | st.datetimes()
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.floats(allow_nan=False)
    | st.builds(Address, texts, st.none() | texts)
    | st.builds(Counter, count=st.integers())
    | signals()
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(st.integers() | st.text(max_size=3), max_size=3)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$tuple", "$", "a"]), inner, max_size=2)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(Map)
    ),
    max_leaves=6,
)
mappings = st.dictionaries(texts, values, max_size=3)
targets = st.none() | texts | st.builds(Address, texts, st.none() | texts)
agents = texts | st.builds(Address, texts)
seconds = st.floats(0.001, 1e9)
events = st.one_of(
    st.tuples(names, values),
    st.tuples(signals().filter(lambda signal: not signal.type.startswith("prunella."))),
)
directives: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda event, **more: Emit(*event, **more), events, to=targets, key=st.none() | texts),
    st.builds(Emit, names, subject=st.none() | st.just("s")),
    st.builds(Reply, values),
    st.builds(lambda reason, details: Fail(reason, **details), texts, st.dictionaries(names, json_values, max_size=2)),
    st.builds(
        lambda to, event, **more: Ask(to, *event, **more),
        agents,
        events,
        then=names,
        catch=optional_names,
        carry=mappings,
        timeout=st.none() | seconds,
    ),
    st.builds(
        lambda params, **more: Run(act, params, **more),
        mappings,
        then=optional_names,
        catch=optional_names,
        each=optional_names,
        carry=mappings,
        key=st.none() | texts,
        timeout=st.none() | seconds,
        retries=st.none() | st.integers(0, 9),
    ),
    st.builds(lambda delay, event, key: Schedule(delay, *event, key=key), seconds, events, st.none() | texts),
    st.builds(
        lambda event, **more: Cron("*/5 * * * *", *event, **more),
        events,
        timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
        misfire=st.sampled_from(["once", "skip", "all"]),
    ),
    st.builds(Cancel, texts),
    st.builds(
        lambda **more: SpawnAgent(Counter, **more),
        tag=texts,
        id=st.none() | texts,
        state=st.none() | st.just({"count": 3}) | st.builds(Counter, count=st.integers()),
        meta=mappings,
        restart=st.sampled_from(["permanent", "transient", "temporary"]),
        partition=st.none() | texts,
    ),
    st.builds(AdoptChild, agents, tag=texts, meta=mappings),
    st.builds(StopChild, texts, reason=values),
    st.builds(lambda params, catch: SpawnTask(act, params, catch=catch), mappings, optional_names),
    st.builds(Stop, values),
    st.builds(Ring, bell=st.just(Bell.BACK), times=st.integers(), who=st.none() | texts),
    st.builds(Knock, st.integers(), st.lists(texts, max_size=2).map(tuple)),
)


@given(directives)
def test_data_of_a_directive_gives_an_equal_one_back(directive: Directive) -> None:
    back = through(directive)
    assert type(back) is type(directive)
    assert back == directive
    assert directive_to_data(back) == directive_to_data(directive)


def test_values_keep_their_types() -> None:
    data = {
        "tuple": (1, [2, (3,)]),
        "set": frozenset({1, 2}),
        "bytes": b"x",
        "moment": datetime(2026, 1, 1, tzinfo=UTC),
        "day": date(2026, 1, 1),
        "clock": time(1, 2, 3),
        "while": timedelta(microseconds=1),
        "decimal": Decimal("1.10"),
        "id": UUID(int=1),
        "infinite": float("inf"),
        "$dollar": {1: 2},
        "map": Map({"a": (1,)}),
    }
    back: Any = through(Reply(data))
    assert back.value == data
    assert {key: type(value) for key, value in back.value.items()} == {key: type(value) for key, value in data.items()}


def test_functions_and_agents_are_written_by_name() -> None:
    data = directive_to_data(Run(act, {"x": 1}))
    assert data["action"] == f"{__name__}:act"
    assert data["params"] == {"x": 1}
    assert directive_to_data(SpawnTask(Holder.method))["function"] == f"{__name__}:Holder.method"
    assert directive_to_data(SpawnAgent(Counter, tag="c"))["agent"] == "tests.agents.test_cmd:Counter"


def test_a_ref_is_written_as_its_address() -> None:
    back: Any = through(Emit("a", to=Ref()))
    assert back.to == Address("ref", "north")


def local() -> Any:
    def inner() -> None: ...

    return inner


class Local:
    __qualname__ = "somewhere.<locals>.Local"


@pytest.mark.parametrize(
    ("directive", "name", "field", "text"),
    [
        (Run(lambda: None), "Run", "action", "cannot be found"),
        (Run(local()), "Run", "action", "cannot be found"),
        (Run(Holder().method), "Run", "action", "cannot be found"),
        (Run(act, {"x": object()}), "Run", "params", "params.x is of type object"),
        (Emit("a", {"x": [1, {"y": object()}]}), "Emit", "data", "data.x[1].y is of type object"),
        (Emit("a", to=object()), "Emit", "to", "only ids, addresses and refs"),
        (Reply(ValueError("x")), "Reply", "value", "ValueError"),
        (Stop({1, 2}), "Stop", "reason", "set"),
        (Ring(bell=Bell.FRONT), "Ring", "bell", "Bell"),
        (Bare(), "Bare", "its class", "neither an attrs class nor a dataclass"),
    ],
)
def test_what_cannot_be_written_names_directive_and_field(
    directive: Directive, name: str, field: str, text: str
) -> None:
    with pytest.raises(NotSerialisable) as caught:
        directive_to_data(directive)
    assert (caught.value.directive, caught.value.field) == (name, field)
    assert text in str(caught.value)


def test_a_directive_of_a_local_class_cannot_be_written() -> None:
    @attrs.frozen
    class Hidden(Directive):
        x: int = 0

    with pytest.raises(NotSerialisable, match="its class"):
        directive_to_data(Hidden())


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"directive": 3},
        {"directive": "Nothing"},
        {"directive": "no.such.module:Thing"},
        {"directive": "os:getcwd"},
        {"directive": "tests.agents.test_cmd:Counter"},
        {"directive": "Emit"},
        {"directive": "Emit", "type": "a", "colour": "red"},
        {"directive": "Emit", "type": "a", "data": {"$nothing": 1}},
        {"directive": "Run", "action": "tests.agents.test_cmd:gone", "params": {}},
        {"directive": "Cancel", "key": 3},
    ],
)
def test_what_is_no_data_of_a_directive_is_refused(data: Any) -> None:
    with pytest.raises(InvalidArgument):
        directive_from_data(data)


def test_only_directives_are_written() -> None:
    with pytest.raises(InvalidArgument):
        directive_to_data(3)  # type: ignore[arg-type]


def test_functions_of_the_standard_library_are_found() -> None:
    assert through(SpawnTask(os.path.join)) == SpawnTask(os.path.join)


@pytest.mark.parametrize("value", [{"$tuple": [1]}, {"$": 1}, {"$dict": []}, [{"$float": "1"}], Map({"$a": 1})])
def test_keys_that_look_like_ours_stay_keys(value: Any) -> None:
    assert through(Reply(value)) == Reply(value)


def test_fields_of_ones_own_directive_keep_their_values() -> None:
    assert through(Ring(who=None, times=2)) == Ring(who=None, times=2)
    assert directive_to_data(Ring())["bell"] == {"$typed": "back"}
    with pytest.raises(NotSerialisable, match="Bell"):
        directive_to_data(Loose(Bell.BACK))


def test_a_signal_keeps_its_id_and_time() -> None:
    signal = Signal("a", {"x": (1,)}, subject="s")
    back: Any = through(Emit(signal))
    assert back.signal == signal
    assert back.data is back.signal.data


def test_an_agent_as_data_keeps_its_class() -> None:
    assert isinstance(Counter(), Agent)
    assert through(Reply(Counter(count=3))) == Reply(Counter(count=3))
