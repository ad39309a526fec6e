"""Recorded turns, run again, come out the same, or say which one did not."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella.agents import (
    Address,
    Agent,
    Context,
    Diverged,
    Emit,
    InvalidSignalData,
    Map,
    Rejected,
    Reply,
    Stop,
    Turn,
    UnhandledSignal,
    on,
    replay,
)
from prunella.agents._turns import changed_fields, take_turn
from prunella.errors import InvalidArgument
from prunella.signals import Signal

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Desk(Agent, name="desk"):
    open: tuple[str, ...] = ()
    rolled: float = 0.0
    seen: Mapping[str, Any] = Map()

    @on("ticket.opened")
    def opened(self, ticket: str) -> Any:
        if ticket in self.open:
            raise Rejected("twice")
        return self.set(open=(*self.open, ticket)), Emit("ticket.accepted", {"ticket": ticket})

    @on("ticket.closed")
    def closed(self, ticket: str) -> Any:
        rest = tuple(one for one in self.open if one != ticket)
        return self.set(open=rest), None if rest else Stop()

    @on("roll")
    def roll(self, context: Context) -> Any:
        return self.set(rolled=context.random.random()), Reply(context.new_id())

    @on("look")
    def look(self, context: Context) -> Any:
        return self.set(seen={"now": context.now, "children": tuple(context.children), "parent": context.parent})


def record(agent: Any, signals: list[Signal], **family: Any) -> tuple[list[Turn], list[Any]]:
    """What a runtime would record, and the states in between."""
    turns, states = [], []
    for number, signal in enumerate(signals, 1):
        context = Context("me", None, NOW + timedelta(seconds=number), number, signal=signal, **family)
        outcome, after, directives = "committed", agent, ()
        try:
            after, directives = take_turn(agent, signal, lambda context=context: context, strict=True)  # type: ignore[misc]
        except (Rejected, InvalidSignalData):
            outcome = "rejected"
        except UnhandledSignal:
            outcome = "unhandled"
        changes = changed_fields(agent, after)
        turns.append(
            Turn(
                number,
                signal,
                context.now,
                context.seed,
                context.parent,
                context.children,
                outcome,
                changes,
                directives,
            )
        )
        agent = after
        states.append(agent)
    return turns, states


tickets = st.sampled_from(["a", "b", "c"])
signals = st.one_of(
    st.builds(
        lambda type, ticket: Signal(type, {"ticket": ticket}),
        st.sampled_from(["ticket.opened", "ticket.closed"]),
        tickets,
    ),
    st.sampled_from(["roll", "look", "nobody", "ticket.opened"]).map(Signal),
)


@given(st.lists(signals, max_size=12))
def test_a_replay_gives_the_states_that_were(heard: list[Signal]) -> None:
    turns, states = record(Desk(), heard, parent=Address("p"), children={"c": Address("x")})
    assert list(replay(Desk, turns)) == states


@given(st.lists(signals, min_size=1, max_size=8), st.data())
def test_a_replay_can_begin_in_the_middle(heard: list[Signal], data: st.DataObject) -> None:
    turns, states = record(Desk(), heard)
    at = data.draw(st.integers(0, len(heard) - 1))
    assert list(replay(Desk, turns[at + 1 :], start=states[at])) == states[at + 1 :]


@given(signals, st.integers(0, 2**32))
def test_cmd_is_pure(signal: Signal, seed: int) -> None:
    desk = Desk(open=("a",))
    context = Context("me", now=NOW, seed=seed)

    def outcome() -> Any:
        try:
            return desk.cmd(signal, context=context)
        except (Rejected, InvalidSignalData, UnhandledSignal) as error:
            return type(error), str(error)

    before = desk.to_data()
    assert outcome() == outcome()
    assert desk.to_data() == before


@given(st.lists(tickets).map(tuple), st.floats(allow_nan=False), st.dictionaries(st.text(), st.integers()))
def test_from_data_is_the_inverse_of_to_data(opened: tuple[str, ...], rolled: float, seen: dict[str, int]) -> None:
    desk = Desk(open=opened, rolled=rolled, seen=seen)
    assert Desk.from_data(desk.to_data()) == desk


def changed(turn: Turn, **changes: Any) -> Turn:
    fields = ("sequence", "signal", "now", "seed", "parent", "children", "outcome", "changes", "directives")
    return Turn(**({name: getattr(turn, name) for name in fields} | changes))


def diverged(turns: list[Turn]) -> Diverged:
    with pytest.raises(Diverged) as caught:
        list(replay(Desk, turns))
    return caught.value


def test_the_first_turn_that_differs_is_named_with_what_differs() -> None:
    turns, states = record(Desk(), [Signal("ticket.opened", {"ticket": t}) for t in "ab"] + [Signal("roll")])
    other_state = diverged([turns[0], changed(turns[1], changes={"open": ("a", "x")}), turns[2]])
    assert (other_state.sequence, other_state.fields) == (2, ("open",))
    other_field = diverged([turns[0], changed(turns[1], changes={"rolled": 1.0})])
    assert set(other_field.fields) == {"open", "rolled"}
    assert diverged([*turns[:2], changed(turns[2], seed=99)]).fields == ("rolled", "directives")
    assert diverged([changed(turns[0], directives=())]).fields == ("directives",)
    assert diverged([changed(turns[0], directives=[Emit("ticket.accepted", {"ticket": True})])]).sequence == 1

    replayed = replay(Desk, [turns[0], changed(turns[1], changes={})])
    assert next(replayed) == states[0]
    with pytest.raises(Diverged):
        next(replayed)


def test_another_outcome_is_a_difference() -> None:
    turns, _ = record(Desk(), [Signal("ticket.opened", {"ticket": "a"}), Signal("ticket.opened", {"ticket": "a"})])
    assert turns[1].outcome == "rejected"
    error = diverged([turns[0], changed(turns[1], outcome="committed")])
    assert error.fields == ("outcome",)
    assert isinstance(error.__cause__, Rejected)
    assert diverged([turns[0], changed(turns[1], outcome="unhandled")]).fields == ("outcome",)
    assert diverged([changed(turns[0], outcome="rejected", changes={}, directives=())]).fields == (
        "outcome",
        "open",
        "directives",
    )


def test_a_handler_that_crashes_now_is_a_difference() -> None:
    class Changed(Agent, name="desk"):
        open: tuple[str, ...] = ()

        @on("ticket.opened")
        def opened(self, ticket: str) -> Any:
            raise ZeroDivisionError

    turns, _ = record(Desk(), [Signal("ticket.opened", {"ticket": "a"})])
    with pytest.raises(Diverged) as caught:
        list(replay(Changed, turns))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_turns_that_no_handler_decided_are_taken_as_recorded() -> None:
    turns = [
        Turn(1, Signal("prunella.policy"), NOW, 1, changes={"open": ("p",)}),
        Turn(2, Signal("crashes.always"), NOW, 1, outcome="dead"),
        Turn(3, Signal("prunella.started"), NOW, 1),
    ]
    assert [state.open for state in replay(Desk, turns)] == [("p",), ("p",), ("p",)]


def test_the_start_must_be_of_the_class() -> None:
    class Other(Agent, name="other"):
        pass

    with pytest.raises(InvalidArgument):
        replay(Desk, [], start=Other())  # type: ignore[arg-type]


def test_what_is_no_class_or_no_turn_is_refused() -> None:
    for agent_class in (int, Agent, Desk(), 3):
        with pytest.raises(InvalidArgument) as caught:
            replay(agent_class, [])  # type: ignore[type-var]
        assert caught.value.field == "agent_class"
    with pytest.raises(InvalidArgument, match="replay: turns must be an iterable of turns"):
        replay(Desk, 3)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="replay: turns must be turns"):
        list(replay(Desk, [3]))  # type: ignore[list-item]
    for directives in (3, [3]):
        with pytest.raises(InvalidArgument) as caught:
            Turn(1, Signal("x"), NOW, 1, directives=directives)  # type: ignore[arg-type]
        assert caught.value.field == "directives"


def test_handlers_see_the_recorded_id_if_it_is_given() -> None:
    class Named(Agent, name="named"):
        me: str = ""

        @on("who")
        def who(self, context: Context) -> Any:
            return self.set(me=f"{context.partition}/{context.agent_id}")

    turn = Turn(1, Signal("who"), NOW, 1, changes={"me": "north/me"})
    assert list(replay(Named, [turn], agent_id="me", partition="north")) == [Named(me="north/me")]
