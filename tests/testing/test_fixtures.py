"""The fixtures, as tests use them: these tests are run by the plugin that they are about."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from prunella import Agent, Context, Emit, Schedule, Signal, on
from prunella.agents import ImpureHandler
from prunella.runtime import AgentSpec, Runtime
from prunella.testing import PublishedSignals, settle


class Bell(Agent, name="bell"):
    rung: int = 0

    @on("ring")
    def ring(self, times: int = 1) -> Any:
        return self.set(rung=self.rung + times), *[Emit("rung", {"number": self.rung + n}) for n in range(times)]

    @on("ring.later")
    def later(self, after: float) -> Any:
        return Schedule(after, "ring")


class Hasty(Agent, name="hasty"):
    """Publishes as soon as it lives."""

    began: datetime | None = None

    @on("prunella.started")
    def started(self, context: Context) -> Any:
        return self.set(began=context.now), Emit("hasty.began")


async def test_a_runtime_is_open_and_empty(runtime: Runtime) -> None:
    assert runtime.agents() == ()
    bell = await runtime.start_agent(Bell, "b")
    assert (await bell.call("ring")).rung == 1


async def test_the_runtime_alone_brings_the_clock_that_jumps(runtime: Runtime) -> None:
    assert isinstance(trio.lowlevel.current_clock(), MockClock)
    with trio.fail_after(10):
        await trio.sleep(5)
    assert trio.current_time() == 5


async def test_the_clock_of_the_runtime_is_the_fixture(runtime: Runtime, clock: MockClock) -> None:
    assert trio.lowlevel.current_clock() is clock


async def test_another_clock_that_the_test_asks_for_comes_first(runtime: Runtime, mock_clock: MockClock) -> None:
    assert trio.lowlevel.current_clock() is mock_clock


async def test_without_the_runtime_nobody_changes_the_clock() -> None:
    assert not isinstance(trio.lowlevel.current_clock(), MockClock)


async def test_schedules_are_due_at_once_on_the_clock_that_jumps(runtime: Runtime, signals: PublishedSignals) -> None:
    bell = await runtime.start_agent(Bell, "b")
    await bell.cast("ring.later", after=3600)
    await signals.wait_for("rung")
    assert trio.current_time() == 3600


async def test_the_runtime_is_strict(runtime: Runtime) -> None:
    calls = []

    class Counting(Agent, name="counting"):
        seen: int = 0

        @on("count")
        def count(self) -> Any:
            calls.append(1)
            return self.set(seen=len(calls))

    counting = await runtime.start_agent(Counting, "c")
    with pytest.raises(Exception, match="ImpureHandler"):
        await counting.call("count")


def test_decisions_are_strict() -> None:
    moments = iter(range(100))

    class Impure(Agent, name="impure"):
        moment: int = 0

        @on("look")
        def look(self) -> Any:
            return self.set(moment=next(moments))

    with pytest.raises(ImpureHandler):
        Impure().cmd("look")


async def test_the_runtime_records_events(runtime: Runtime) -> None:
    bell = await runtime.start_agent(Bell, "b")
    await bell.call("ring")
    assert "agent.turn" in [event.name for event in runtime.recent_events()]


async def test_the_wall_clock_begins_with_2030(runtime: Runtime) -> None:
    hasty = await runtime.start_agent(Hasty, "h")
    await settle(runtime)
    assert hasty.state().began == datetime(2030, 1, 1, tzinfo=UTC)


class TestOptions:
    @pytest.fixture
    def runtime_options(self) -> Mapping[str, Any]:
        return {"tree": AgentSpec(Hasty, "h"), "epoch": datetime(1999, 12, 31, tzinfo=UTC)}

    async def test_a_test_can_give_a_tree_and_an_epoch(self, runtime: Runtime) -> None:
        state = await runtime.ref("h", Hasty).wait_for(lambda hasty: hasty.began)
        assert state.began == datetime(1999, 12, 31, tzinfo=UTC)

    async def test_what_the_tree_publishes_when_it_starts_is_there(self, signals: PublishedSignals) -> None:
        await signals.wait_for("hasty.began")
        assert signals.types == ["hasty.began"]


class TestSignals:
    @pytest.fixture
    async def bell(self, runtime: Runtime) -> Any:
        return await runtime.start_agent(Bell, "b")

    async def test_what_a_turn_published_is_there_after_it(self, bell: Any, signals: PublishedSignals) -> None:
        assert (len(signals), list(signals)) == (0, [])
        await bell.call_settled("ring", times=3)
        assert signals.types == ["rung"] * 3
        assert [signal.data["number"] for signal in signals] == [0, 1, 2]
        assert (signals[0].data, signals[-1].data) == ({"number": 0}, {"number": 2})
        assert [signal.data["number"] for signal in signals[1:]] == [1, 2]

    async def test_each_look_sees_what_has_come(self, bell: Any, signals: PublishedSignals) -> None:
        for number in range(1, 4):
            await bell.call_settled("ring")
            assert len(signals) == number

    async def test_they_compare_with_a_list(self, bell: Any, signals: PublishedSignals) -> None:
        assert signals == []
        await bell.call_settled("ring")
        assert signals == [signals[0]]
        assert signals != []
        assert signals == (signals[0],)
        assert signals == signals
        assert signals != 1
        assert repr(signals) == repr([signals[0]])

    async def test_what_an_agent_sends_to_another_is_not_published(
        self, runtime: Runtime, bell: Any, signals: PublishedSignals
    ) -> None:
        class Ringer(Agent, name="ringer"):
            @on("go")
            def go(self) -> Any:
                return Emit("ring", {}, to="b")

        ringer = await runtime.start_agent(Ringer, "r")
        await ringer.call("go")
        await settle(runtime)
        assert bell.state().rung == 1
        assert signals.types == ["rung"]

    async def test_finding_takes_a_pattern_and_a_condition(self, bell: Any, signals: PublishedSignals) -> None:
        await bell.call_settled("ring", times=4)
        assert signals.find("**") == signals
        assert signals.find("ring") == []
        assert signals.find("rung", when=lambda signal: signal.data["number"] > 1) == signals[2:]

    async def test_waiting_returns_what_has_come_already(self, bell: Any, signals: PublishedSignals) -> None:
        await bell.call_settled("ring")
        assert await signals.wait_for("rung") == signals[0]

    async def test_waiting_goes_on_until_the_condition_holds(self, bell: Any, signals: PublishedSignals) -> None:
        await bell.call_settled("ring.later", after=5)
        await bell.call_settled("ring")
        second = await signals.wait_for("*", when=lambda signal: signal.data["number"] == 1)
        assert trio.current_time() == 5
        assert signals[1] == second

    async def test_waiting_for_several_returns_so_many(self, bell: Any, signals: PublishedSignals) -> None:
        await bell.call_settled("ring.later", after=1)
        await bell.call_settled("ring.later", after=2)
        await bell.call_settled("ring.later", after=3)
        assert await signals.wait_for_count(2, "rung") == signals[:2]
        assert trio.current_time() == 2

    async def test_no_more_are_returned_than_were_wanted(self, bell: Any, signals: PublishedSignals) -> None:
        await bell.call_settled("ring", times=4)
        assert await signals.wait_for_count(2) == signals[:2]

    async def test_several_may_wait_at_once(self, bell: Any, signals: PublishedSignals, nursery: trio.Nursery) -> None:
        heard: list[tuple[str, Signal]] = []

        async def wait(pattern: str, number: int) -> None:
            found = await signals.wait_for(pattern, when=lambda signal: signal.data["number"] == number)
            heard.append((pattern, found))

        async with trio.open_nursery() as waiting:
            waiting.start_soon(wait, "rung", 0)
            waiting.start_soon(wait, "*", 1)
            waiting.start_soon(wait, "**", 2)
            await trio.testing.wait_all_tasks_blocked()
            await bell.call("ring", times=3)
            # Also those that are just on their way to somebody who waits are there, in order.
            assert [signal.data["number"] for signal in signals] == [0, 1, 2]
        assert sorted(heard, key=lambda one: one[1].data["number"]) == [
            ("rung", signals[0]), ("*", signals[1]), ("**", signals[2]),
        ]  # fmt: skip

    async def test_waiting_ends_with_the_callers_deadline(self, signals: PublishedSignals) -> None:
        with pytest.raises(trio.TooSlowError), trio.fail_after(60):
            await signals.wait_for("never")
        assert trio.current_time() == 60

    async def test_what_was_cleared_is_forgotten(self, bell: Any, signals: PublishedSignals) -> None:
        await bell.call_settled("ring", times=2)
        signals.clear()
        assert signals == []
        await bell.call_settled("ring")
        assert [signal.data["number"] for signal in signals] == [2]
