"""Directives are frozen values, checked when they are made."""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import attrs
import pytest

from prunella.agents import (
    Address,
    AdoptChild,
    Agent,
    Ask,
    Cancel,
    Cron,
    Directive,
    Durable,
    Emit,
    Fail,
    Map,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    Stop,
    StopChild,
    Turn,
    on,
)
from prunella.errors import InvalidArgument
from prunella.signals import Signal, SignalType


class Opened(SignalType, type="ticket.opened"):
    ticket: str


class Worker(Agent, name="worker"):
    size: int
    label: str = ""


class Ref:
    address = Address("ref")


class Restart(StrEnum):
    PERMANENT = "permanent"


async def act(**params: Any) -> None: ...


EXAMPLES: list[Any] = [
    lambda: Emit("a.b", {"x": 1}, to="desk", subject="s", key="k"),
    lambda: Reply({"x": 1}),
    lambda: Fail("no", code=1),
    lambda: Ask("desk", "a.b", {"x": 1}, then="c.d", catch="e.f", carry={"n": 1}, timeout=2),
    lambda: Run(act, {"x": 1}, then="c.d", catch="e.f", each="g.h", carry={"n": 1}, key="k", timeout=2, retries=1),
    lambda: Schedule(1, "a.b", {"x": 1}, key="k"),
    lambda: Cron("0 9 * * MON-FRI", "a.b", {"x": 1}, key="k", timezone="Europe/Berlin", misfire="all"),
    lambda: Cancel("k"),
    lambda: SpawnAgent(
        Worker, tag="w", id="me", state={"size": 1}, meta={"n": 1}, restart="permanent", on_parent_death="emit"
    ),
    lambda: AdoptChild("desk", tag="w", meta={"n": 1}, catch="e.f"),
    lambda: StopChild("w", reason="done"),
    lambda: SpawnTask(act, {"x": 1}, restart="transient", catch="e.f"),
    lambda: Stop("done"),
]


@pytest.mark.parametrize("make", EXAMPLES, ids=lambda make: type(make()).__name__)
def test_directives_are_frozen_and_compare_by_value(make: Any) -> None:
    one, other = make(), make()
    assert one == other
    assert one is not other
    assert isinstance(one, Directive)
    field = attrs.fields(type(one))[0].name
    with pytest.raises(AttributeError):
        setattr(one, field, None)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one != Emit("another")


def test_directives_are_hashable_where_their_data_is() -> None:
    assert len({Emit("a", to="x"), Emit("a", to="x"), Emit("b")}) == 2
    assert len({Run(act, {"x": 1}), Run(act, {"x": 1})}) == 1
    assert len({Fail("no", a=1), Fail("no", a=1)}) == 1
    with pytest.raises(TypeError):
        hash(Emit("a", {"x": 1}))


def test_params_carry_and_meta_are_immutable() -> None:
    run = Run(act, {"x": 1}, carry={"n": 1})
    assert isinstance(run.params, Map)
    assert (run.params, run.carry) == ({"x": 1}, {"n": 1})


def test_a_signal_is_sent_by_type_class_value_or_whole() -> None:
    signal = Signal("ticket.opened", {"ticket": "a"})
    by_type = Emit("ticket.opened", {"ticket": "a"})
    assert (by_type.type, by_type.data, by_type.signal) == ("ticket.opened", {"ticket": "a"}, None)
    assert Emit(Opened, {"ticket": "a"}) == by_type
    assert Emit(Opened(ticket="a")) == by_type
    whole = Emit(signal)
    assert (whole.type, whole.data, whole.signal) == ("ticket.opened", {"ticket": "a"}, signal)
    assert Run(act, then=Opened).then == "ticket.opened"


@pytest.mark.parametrize("to", [None, "desk", Address("desk"), Ref(), print, object()])
def test_targets_of_an_emit(to: Any) -> None:
    assert Emit("a", to=to).to is to


@pytest.mark.parametrize("to", ["", 3, True, b"desk", ["desk"], ("desk",), {}, Signal("a"), Reply(1), Worker(size=1)])
def test_what_is_no_target_of_an_emit(to: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Emit("a", to=to)
    assert caught.value.field == "to"


@pytest.mark.parametrize("target", ["desk", Address("desk"), Ref()])
def test_agents_are_named_by_id_address_or_ref(target: Any) -> None:
    assert Ask(target, "a", then="b").to is target
    assert AdoptChild(target, tag="t").child is target


WRONG: list[tuple[str, Any]] = [
    ("type", lambda: Emit("")),
    ("type", lambda: Emit("a\n")),
    ("type", lambda: Emit("prunella.started")),
    ("type", lambda: Emit(Signal("prunella.started"))),
    ("signal_or_type", lambda: Emit(3)),  # type: ignore[arg-type]
    ("signal_or_type", lambda: Emit(None)),  # type: ignore[arg-type]
    ("data", lambda: Emit(Signal("a"), {"x": 1})),
    ("data", lambda: Emit(Opened(ticket="a"), {"x": 1})),
    ("subject", lambda: Emit(Signal("a"), subject="x")),
    ("subject", lambda: Emit("a", subject="")),
    ("key", lambda: Emit("a", key="")),
    ("reason", lambda: Fail(3)),  # type: ignore[arg-type]
    ("details.a", lambda: Fail("no", a=object())),
    ("to", lambda: Ask(3, "a", then="b")),
    ("to", lambda: Ask("", "a", then="b")),
    ("to", lambda: Ask(None, "a", then="b")),
    ("then", lambda: Ask("desk", "a", then=None)),  # type: ignore[arg-type]
    ("then", lambda: Ask("desk", "a", then="prunella.x")),
    ("catch", lambda: Ask("desk", "a", then="b", catch="")),
    ("carry", lambda: Ask("desk", "a", then="b", carry=[])),  # type: ignore[arg-type]
    ("timeout", lambda: Ask("desk", "a", then="b", timeout=0)),
    ("action", lambda: Run("act")),  # type: ignore[arg-type]
    ("params", lambda: Run(act, [1])),  # type: ignore[arg-type]
    ("params", lambda: Run(act, {1: 1})),  # type: ignore[dict-item]
    ("then", lambda: Run(act, then=3)),  # type: ignore[arg-type]
    ("each", lambda: Run(act, each="")),
    ("catch", lambda: Run(act, catch="prunella.x")),
    ("key", lambda: Run(act, key="")),
    ("timeout", lambda: Run(act, timeout=-1)),
    ("timeout", lambda: Run(act, timeout=math.nan)),
    ("timeout", lambda: Run(act, timeout="1")),  # type: ignore[arg-type]
    ("retries", lambda: Run(act, retries=-1)),
    ("retries", lambda: Run(act, retries=True)),
    ("delay", lambda: Schedule(-1, "a")),
    ("delay", lambda: Schedule(math.inf, "a")),
    ("delay", lambda: Schedule("1", "a")),  # type: ignore[arg-type]
    ("type", lambda: Schedule(1, "prunella.x")),
    ("key", lambda: Cancel("")),
    ("key", lambda: Cancel(3)),  # type: ignore[arg-type]
    ("agent", lambda: SpawnAgent("worker", tag="w")),  # type: ignore[arg-type]
    ("agent", lambda: SpawnAgent(Agent, tag="w")),
    ("agent", lambda: SpawnAgent(Worker(size=1), tag="w")),  # type: ignore[arg-type]
    ("state.size", lambda: SpawnAgent(Worker, tag="w")),
    ("state.size", lambda: SpawnAgent(Worker, tag="w", state={"size": "big"})),
    ("state.colour", lambda: SpawnAgent(Worker, tag="w", state={"size": 1, "colour": "red"})),
    ("state", lambda: SpawnAgent(Worker, tag="w", state=3)),  # type: ignore[arg-type]
    ("tag", lambda: SpawnAgent(Worker, tag="", state={"size": 1})),
    ("id", lambda: SpawnAgent(Worker, tag="w", state={"size": 1}, id="")),
    ("restart", lambda: SpawnAgent(Worker, tag="w", state={"size": 1}, restart="always")),  # type: ignore[arg-type]
    ("on_parent_death", lambda: SpawnAgent(Worker, tag="w", state={"size": 1}, on_parent_death="die")),  # type: ignore[arg-type]
    ("child", lambda: AdoptChild(3, tag="w")),
    ("tag", lambda: AdoptChild("a", tag="")),
    ("tag", lambda: StopChild("")),
    ("function", lambda: SpawnTask(3)),  # type: ignore[arg-type]
    ("restart", lambda: SpawnTask(act, restart="x")),  # type: ignore[arg-type]
    ("expression", lambda: Cron("every day", "a")),
    ("expression", lambda: Cron("* * * * * *", "a")),
    ("expression", lambda: Cron("61 * * * *", "a")),
    ("expression", lambda: Cron("0 0 30 2 *", "a")),
    ("expression", lambda: Cron(3, "a")),  # type: ignore[arg-type]
    ("timezone", lambda: Cron("* * * * *", "a", timezone="Mars/Olympus")),
    ("timezone", lambda: Cron("* * * * *", "a", timezone="../etc/passwd")),
    ("timezone", lambda: Cron("* * * * *", "a", timezone=3)),  # type: ignore[arg-type]
    ("misfire", lambda: Cron("* * * * *", "a", misfire="never")),  # type: ignore[arg-type]
    ("snapshot_every", lambda: Durable(snapshot_every=0)),
    ("max_deliveries", lambda: Durable(max_deliveries=True)),
    ("keep", lambda: Durable(keep=-1)),
    ("dedupe_for", lambda: Durable(dedupe_for="1")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("field", "make"), WRONG)
def test_what_is_wrong_is_said_when_it_is_made(field: str, make: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert caught.value.field == field


def test_members_of_a_str_enum_are_accepted_as_words() -> None:
    spawn = SpawnAgent(Worker, tag="w", state={"size": 1}, restart=Restart.PERMANENT)  # type: ignore[arg-type]
    assert type(spawn.restart) is str


def test_a_base_cannot_be_spawned() -> None:
    class Base(Agent):
        pass

    class Derived(Base):
        pass

    with pytest.raises(InvalidArgument, match="is a base"):
        SpawnAgent(Base, tag="b")
    assert SpawnAgent(Derived, tag="d").agent is Derived


def test_a_value_of_the_class_is_a_state_too() -> None:
    assert SpawnAgent(Worker, tag="w", state=Worker(size=3)).state == Worker(size=3)


def test_directives_of_ones_own_are_attrs_classes_or_dataclasses() -> None:
    @attrs.frozen
    class Ring(Directive):
        bell: str

    @dataclass(frozen=True)
    class Knock(Directive):
        times: int

    class Door(Agent, name="door"):
        @on("visitor")
        def visitor(self) -> Any:
            return Ring("front"), Knock(3)

    assert Door().cmd("visitor", strict=True)[1] == (Ring("front"), Knock(3))


def test_a_turn_is_a_checked_value() -> None:
    from datetime import UTC, datetime

    signal = Signal("a")
    now = datetime(2026, 1, 1, tzinfo=UTC)
    turn = Turn(1, signal, now, 7, outcome="rejected")
    assert turn == Turn(1, signal, now, 7, None, {}, "rejected", {}, ())
    assert turn.outcome == "rejected"
    with pytest.raises(AttributeError):
        turn.seed = 3  # type: ignore[misc]
    for field, wrong in {
        "sequence": 0,
        "signal": "a",
        "now": datetime(2026, 1, 1),
        "seed": "x",
        "parent": "a",
        "children": 3,
        "outcome": "fine",
        "changes": [],
        "directives": [3],
    }.items():
        arguments: Any = {"sequence": 1, "signal": signal, "now": now, "seed": 1} | {field: wrong}
        with pytest.raises(InvalidArgument) as caught:
            Turn(**arguments)
        assert caught.value.field == field
