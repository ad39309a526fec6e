"""`cmd` decides signals and does nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from random import Random
from typing import Any
from uuid import UUID

import pytest

from prunella.agents import (
    Address,
    Agent,
    AgentCrashed,
    AgentError,
    AgentStopped,
    Context,
    Emit,
    InvalidSignalData,
    Map,
    Rejected,
    UnhandledSignal,
    on,
)
from prunella.agents._turns import ASK, changed_fields, normalised, take_turn, visible
from prunella.errors import InvalidArgument, PrunellaError
from prunella.signals import Signal

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Counter(Agent, name="counter"):
    count: int = 0

    @on("add")
    def add(self, by: int = 1) -> Any:
        if by < 0:
            raise Rejected("only up")
        return self.set(count=self.count + by), Emit("added", {"by": by})

    @on("crash")
    def crash(self) -> Any:
        raise ZeroDivisionError("crashed")


class Curious(Agent, name="curious"):
    seen: tuple[Any, ...] = ()

    @on("look", priority=1)
    def look(self, context: Context) -> Any:
        return self.set(seen=(*self.seen, context, context.random.random(), context.new_id()))

    @on("look")
    def look_again(self, context: Context) -> Any:
        return self.set(seen=(*self.seen, context, context.random.random(), context.new_id()))

    @on("blind")
    def blind(self) -> Any: ...


def test_keywords_are_the_data_of_a_type() -> None:
    assert Counter().cmd("add", by=2) == (Counter(count=2), (Emit("added", {"by": 2}),))
    assert Counter().cmd("add")[0].count == 1


def test_a_whole_signal_brings_its_data() -> None:
    assert Counter().cmd(Signal("add", {"by": 3}))[0].count == 3


def test_keywords_named_like_parameters_are_data() -> None:
    class Names(Agent, name="names"):
        got: Any = None

        @on("x")
        def heard(self, /, **rest: Any) -> Any:
            return self.set(got=rest)

    data = {"self": 1, "signal": 2, "more": 3, "data": 4, "cls": 5}
    assert Names().cmd("x", **data)[0].got == data  # type: ignore[arg-type]
    both = {"context": 1, "strict": 2}
    assert Names().cmd(Signal("x", both))[0].got == both


def test_several_signals_are_turns_of_their_own_and_their_directives_are_joined() -> None:
    counter, directives = Counter().cmd(Signal("add", {"by": 1}), Signal("add", {"by": 2}))
    assert counter.count == 3
    assert directives == (Emit("added", {"by": 1}), Emit("added", {"by": 2}))


def test_the_first_of_several_that_is_refused_or_crashes_raises() -> None:
    counter = Counter()
    with pytest.raises(Rejected):
        counter.cmd(Signal("add", {}), Signal("add", {"by": -1}), Signal("crash"))
    with pytest.raises(ZeroDivisionError):
        counter.cmd(Signal("add", {}), Signal("crash"), Signal("add", {"by": -1}))
    assert counter.count == 0


@pytest.mark.parametrize("signal", ["", 3, None, b"add", ["add"], Counter, "a\nb"])
def test_what_is_no_signal_is_an_invalid_argument(signal: Any) -> None:
    with pytest.raises(InvalidArgument):
        Counter().cmd(signal)


def test_a_signal_takes_no_keywords_and_nothing_but_signals_follow_it() -> None:
    with pytest.raises(InvalidArgument, match="by must be left out"):
        Counter().cmd(Signal("add", {}), by=1)
    with pytest.raises(InvalidArgument, match="more must be Signals"):
        Counter().cmd(Signal("add", {}), "add")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="more follow"):
        Counter().cmd("add", Signal("add", {}))


def test_context_and_strict_are_never_data() -> None:
    with pytest.raises(InvalidArgument, match="goes into a Signal"):
        Counter().cmd("add", context={"a": 1})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="goes into a Signal"):
        Counter().cmd("add", strict="very")  # type: ignore[arg-type]


def test_refusals_have_no_address_outside_a_runtime() -> None:
    for type, data in (("add", {"by": -1}), ("nobody", {}), ("add", {"by": "1"})):
        with pytest.raises(AgentError) as caught:
            Counter().cmd(Signal(type, data))
        assert caught.value.address is None
        assert isinstance(caught.value, (Rejected, UnhandledSignal, InvalidSignalData))
        assert isinstance(caught.value, PrunellaError)


def test_an_address_can_be_put_on_an_error() -> None:
    error = AgentCrashed("boom")
    error.address = Address("desk", "north")
    assert str(error) == "agent 'north/desk' crashed: boom"
    assert AgentStopped("done").reason == "done"
    assert str(AgentStopped()) == "the agent has stopped"


def test_rejected_takes_plain_data_and_can_be_subclassed() -> None:
    class TooMany(Rejected):
        pass

    error = TooMany("too many", limit=3, address="Main Street 1")
    assert (error.reason, error.details, error.address) == ("too many", {"limit": 3, "address": "Main Street 1"}, None)
    with pytest.raises(InvalidArgument) as caught:
        Rejected("x", thing={"a": object()})
    assert caught.value.field == "details.thing.a"
    assert Rejected(reason="why", self=1).details == {"self": 1}
    with pytest.raises(InvalidArgument):
        Rejected(3)  # type: ignore[arg-type]


# The context


def test_without_a_context_the_wall_clock_and_fresh_chance_are_taken() -> None:
    before = datetime.now(UTC)
    first, second = Curious().cmd("look")[0].seen, Curious().cmd("look")[0].seen
    assert before <= first[0].now <= datetime.now(UTC)
    assert first[1] != second[1]
    assert first[0].seed != second[0].seed


def test_handlers_of_a_turn_share_one_context_and_its_chance() -> None:
    context = Context(now=NOW, seed=7)
    one, number, id, other, number2, id2 = Curious().cmd("look", context=context)[0].seen
    assert one is other
    assert one is not context
    assert number != number2
    assert id != id2
    assert number == Random(7).random()


def test_chance_begins_anew_in_every_turn() -> None:
    context = Context(now=NOW, seed=7)
    assert context.random.random() == Random(7).random()
    seen = Curious().cmd(Signal("look"), Signal("look"), context=context)[0].seen
    assert seen[1] == seen[7] == Random(7).random()


def test_the_same_context_gives_the_same_turn() -> None:
    signal = Signal("look")
    context = Context(now=NOW, seed=7)
    assert Curious().cmd(signal, context=context) == Curious().cmd(signal, context=context)


def test_ids_are_version_7_of_the_contexts_time() -> None:
    id = UUID(Context(now=NOW, seed=1).new_id())
    assert (id.version, id.variant) == (7, "specified in RFC 4122")
    assert id.int >> 80 == int(NOW.timestamp() * 1000)
    context = Context(now=NOW, seed=1)
    assert len({context.new_id() for _ in range(1000)}) == 1000


def test_the_time_is_kept_in_utc() -> None:
    there = timezone(timedelta(hours=2))
    assert Context(now=NOW.astimezone(there)).now == NOW
    assert Context(now=NOW.astimezone(there)).now.tzinfo is UTC


def test_a_context_is_a_value() -> None:
    context = Context("me", "north", NOW, 1, Address("parent"), {"a": Address("child")})
    assert context == Context("me", "north", NOW, 1, Address("parent"), {"a": Address("child")})
    assert isinstance(context.children, Map)
    assert len({context, context.__replace__(seed=1)}) == 1
    assert context.__replace__(seed=2) != context
    with pytest.raises(AttributeError):
        context.seed = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"now": datetime(2026, 1, 1)},
        {"now": "2026-01-01"},
        {"seed": "x"},
        {"seed": True},
        {"parent": "id"},
        {"children": {"a": "id"}},
        {"children": ()},
        {"agent_id": 3},
        {"partition": 3},
        {"signal": "x"},
    ],
)
def test_a_context_is_checked(wrong: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Context(**wrong)
    assert caught.value.field == next(iter(wrong))


@pytest.mark.parametrize("wrong", [{"id": ""}, {"id": 3}, {"id": "a", "partition": ""}, {"id": "a", "partition": 3}])
def test_an_address_is_checked(wrong: Any) -> None:
    with pytest.raises(InvalidArgument):
        Address(**wrong)


# What a runtime stands on


def never() -> Context:
    raise AssertionError("nobody asked for the Context")


def test_a_context_is_made_only_if_a_handler_asks_and_only_once() -> None:
    made: list[Context] = []

    def make() -> Context:
        made.append(Context())
        return made[-1]

    take_turn(Curious(), Signal("blind"), never, strict=False)
    take_turn(Counter(), Signal("add", {}), never, strict=True)
    for strict in (False, True):
        made.clear()
        take_turn(Curious(), Signal("look"), make, strict=strict)
        assert len(made) == 1


def test_changed_fields_are_those_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRUNELLA_STRICT", raising=False)  # there a bool is refused
    before = Counter(count=1)
    assert changed_fields(before, before) == {}
    assert changed_fields(before, before.set(count=1)) == {}
    assert changed_fields(before, before.set(count=2)) == {"count": 2}
    assert changed_fields(before, before.set(count=True)) == {"count": True}


def test_a_policy_has_the_results_of_a_handler() -> None:
    counter = Counter()
    assert normalised(counter, None, title="policy") == (counter, ())
    after = counter.set(count=1)
    assert normalised(counter, (after, Emit("x")), title="policy") == (after, (Emit("x"),))
    with pytest.raises(PrunellaError, match="policy returned"):
        normalised(counter, 3, title="policy")


def test_handlers_do_not_see_what_the_runtime_writes_on_signals() -> None:
    class Looking(Agent, name="looking"):
        seen: Any = None

        @on("look", when=lambda signal: ASK not in signal.extensions)
        def look(self, signal: Signal, context: Context) -> Any:
            return self.set(seen=(signal, context.signal))

    signal = Signal("look", {"a": 1}, extensions={ASK: "3", "other": "x"})
    first, second = Looking().cmd(signal)[0].seen
    assert first == second == visible(signal)
    assert first.extensions == {"other": "x"}
    assert (first.id, first.time, first.data) == (signal.id, signal.time, signal.data)
    plain = Signal("look")
    assert visible(plain) is plain
