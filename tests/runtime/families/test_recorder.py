"""The recorder: recent events of a runtime and of an agent, and turns that can be run again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Counter, Heard, Log, settle

from prunella.agents import (
    Agent,
    AgentNotFound,
    Context,
    Diverged,
    Emit,
    Rejected,
    Schedule,
    SpawnAgent,
    on,
    replay,
)
from prunella.runtime import AgentEvent, AgentSpec, TurnEvent, _recorder, open_runtime
from prunella.signals import Signal
from prunella.supervision import ChildStarted, Supervisor


async def test_a_runtime_keeps_its_last_events() -> None:
    heard = Heard()
    async with open_runtime(AgentSpec(Counter, "c"), recorder=5, telemetry=[heard]) as runtime:
        for _ in range(10):
            await runtime.ref("c").call("add")
        assert runtime.recent_events() == tuple(heard[-5:])
        assert all(event.duration > 0 for event in runtime.recent_events() if isinstance(event, TurnEvent))


async def test_supervision_is_recorded_too() -> None:
    async with open_runtime(AgentSpec(Counter, "c"), recorder=100) as runtime:
        children = [event.child for event in runtime.recent_events() if isinstance(event, ChildStarted)]
        assert children == ["prunella/scheduler", "prunella", "c", "prunella.agents"]


async def test_without_a_recorder_nothing_is_kept() -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        ref = runtime.ref("c")
        await ref.call("add")
        assert runtime.recent_events() == ()
        assert ref.recent_events() == ()
        assert ref.recent_turns() == ()


async def test_an_agent_that_is_debugged_keeps_its_own() -> None:
    tree = Supervisor([AgentSpec(Counter, "c", debug=True), AgentSpec(Counter, "d")])
    async with open_runtime(tree) as runtime:
        c, d = runtime.ref("c"), runtime.ref("d")
        await c.call("add")
        await d.call("add")
        assert [event.name for event in c.recent_events()] == ["agent.started", "agent.turn"]
        [turn] = [event for event in c.recent_events() if isinstance(event, TurnEvent)]
        assert turn.duration > 0
        assert d.recent_events() == ()
        assert runtime.recent_events() == ()


@pytest.mark.parametrize("options", [{"recorder": 10_000}, {"debug": True}])
async def test_of_an_agent_the_last_five_hundred_are_kept_oldest_first(options: dict[str, Any]) -> None:
    debug = bool(options.pop("debug", False))
    heard = Heard()
    async with open_runtime(AgentSpec(Counter, "c", debug=debug), telemetry=[heard], **options) as runtime:
        ref = runtime.ref("c")
        for _ in range(600):
            await ref.call("add")
        events = ref.recent_events()
        assert len(events) == 500
        assert list(events) == [event for event in heard if isinstance(event, AgentEvent)][-500:], "each once"
        assert all(event.agent == "c" for event in events)


async def test_events_outlive_restarts_and_the_end_of_their_agent() -> None:
    async with open_runtime(recorder=100) as runtime:
        ref = await runtime.start_agent(Counter, "c")
        await ref.cast("boom")
        await settle()
        await ref.stop()
        names = [event.name for event in ref.recent_events()]
        assert names == ["agent.started", "agent.turn", "agent.signal.poisoned", "agent.restarted", "agent.ended"]
        assert runtime.ref("nobody").recent_events() == ()
        with pytest.raises(AgentNotFound):
            runtime.ref("nobody").state()


async def test_two_partitions_are_two_agents() -> None:
    async with open_runtime(recorder=100) as runtime:
        one = await runtime.start_agent(Counter, "c", partition="a")
        other = await runtime.start_agent(Counter, "c", partition="b")
        await one.call("add")
        assert (len(one.recent_events()), len(other.recent_events())) == (2, 1)


async def test_only_so_many_agents_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_recorder, "_MOST_AGENTS", 3)
    async with open_runtime(recorder=1000) as runtime:
        refs = [await runtime.start_agent(Counter, f"c{number}") for number in range(5)]
        assert [len(ref.recent_events()) for ref in refs] == [0, 0, 1, 1, 1]


# Turns.


class Dicer(Agent, name="dicer"):
    """Reads everything that a handler can."""

    thrown: tuple[int, ...] = ()
    at: tuple[str, ...] = ()
    family: tuple[str, ...] = ()

    @on("throw")
    def throw(self, sides: int, context: Context) -> Any:
        if sides < 1:
            raise Rejected("no such die")
        dice = self.set(
            thrown=(*self.thrown, context.random.randint(1, sides)),
            at=(*self.at, context.now.isoformat()),
            family=(*self.family, *sorted(context.children)),
        )
        return dice, Emit("thrown", {"id": context.new_id()}), Schedule(5, "later")

    @on("spawn")
    def spawn(self) -> Any:
        return SpawnAgent(Log, tag="log")

    @on("later")
    def later(self, signal: Signal) -> Any:
        return self.set(at=(*self.at, signal.id))

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")


async def played(*, restore: str = "fresh", boom: bool = False) -> tuple[Dicer, tuple[Any, ...]]:
    spec = AgentSpec(Dicer, "d", debug=True, restore=restore, state={"thrown": (9,)})
    async with open_runtime(spec, epoch=datetime(2030, 1, 1, tzinfo=UTC)) as runtime:
        ref = runtime.ref("d", Dicer)
        for number in range(6):
            await ref.cast("throw", sides=6 * number)
            await ref.cast("unknown")
            await ref.cast("throw", sides="many")
            await ref.cast("spawn" if number == 2 else "later")
            await trio.sleep(3)
        if boom:
            await ref.cast("boom")
            await ref.cast("throw", sides=20)
            await settle()
        return ref.state(), ref.recent_turns()


async def test_recorded_turns_can_be_run_again() -> None:
    state, turns = await played()
    assert len(state.thrown) == 6
    assert "log" in state.family
    assert {str(turn.outcome) for turn in turns} == {"committed", "rejected", "unhandled"}
    assert [turn.sequence for turn in turns] == list(range(1, len(turns) + 1))
    states = list(replay(Dicer, turns, start=Dicer(thrown=(9,)), agent_id="d"))
    assert states[-1] == state


async def test_a_fresh_life_begins_a_new_record_and_the_last_state_goes_on_with_the_old() -> None:
    state, turns = await played(boom=True)
    assert len(turns) == 1
    assert list(replay(Dicer, turns, start=Dicer(thrown=(9,)), agent_id="d")) == [state]
    state, turns = await played(boom=True, restore="last")
    assert len(turns) > 20
    assert list(replay(Dicer, turns, start=Dicer(thrown=(9,)), agent_id="d"))[-1] == state


async def test_handlers_that_were_changed_meanwhile_are_found() -> None:
    _, turns = await played()

    class Loaded(Dicer, name="loaded"):
        @on("throw")
        def throw(self, sides: int, context: Context) -> Any:
            return self.set(thrown=(*self.thrown, sides))

    with pytest.raises(Diverged) as raised:
        list(replay(Loaded, turns, start=Loaded(thrown=(9,)), agent_id="d"))
    assert raised.value.sequence == 1


async def test_what_an_error_policy_does_to_the_state_is_recorded() -> None:
    def policy(agent: Counter, error: Exception) -> Any:
        return agent.set(count=agent.count + 100)

    async with open_runtime(AgentSpec(Counter, "c", debug=True, error_policy=policy)) as runtime:
        ref = runtime.ref("c", Counter)
        for type in ("add", "unknown", "add"):
            await ref.cast(type)
        await settle()
        assert ref.state().count == 102
        assert list(replay(Counter, ref.recent_turns()))[-1] == ref.state()


async def test_of_turns_the_last_five_hundred_are_kept() -> None:
    async with open_runtime(AgentSpec(Counter, "c", debug=True)) as runtime:
        ref = runtime.ref("c", Counter)
        for _ in range(600):
            await ref.call("add")
        turns = ref.recent_turns()
        assert (len(turns), turns[0].sequence, turns[-1].sequence) == (500, 101, 600)
        assert list(replay(Counter, turns, start=Counter(count=100)))[-1] == ref.state()


async def test_turns_are_not_kept_for_a_recorder_alone_since_they_have_payloads() -> None:
    async with open_runtime(AgentSpec(Counter, "c"), recorder=100) as runtime:
        await runtime.ref("c").call("add")
        assert runtime.ref("c").recent_turns() == ()
