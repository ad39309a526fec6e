from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

from prunella import Agent, Emit, InvalidArgument, Rejected, Run, Supervisor, on
from prunella.agents import AgentCrashed, AgentNotFound, AgentStopped
from prunella.runtime import AgentSpec, Runtime, open_runtime
from prunella.supervision import Backoff, Crashed, SupervisorFailed
from prunella.testing import InducedCrash, crash, settle


class Counter(Agent, name="counter"):
    count: int = 0

    @on("add")
    def add(self, amount: int = 1) -> Any:
        return self.set(count=self.count + amount), Emit("added", {"count": self.count + amount})

    @on("sleep")
    def sleep(self) -> Any:
        return Run(trio.sleep, {"seconds": 5}, then="add.nothing")

    @on("add.nothing")
    def nothing(self, result: None) -> None: ...


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


async def test_the_agent_runs_again_when_it_returns(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    await counter.call("add")
    status = await crash(counter)
    assert (status.state, status.restarts) == ("running", 1)
    assert status == counter.status()
    assert counter.state().count == 0
    assert (await counter.call("add")).count == 1


async def test_an_agent_that_keeps_its_last_state_comes_back_with_it(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c", restore="last")
    await counter.call("add", amount=7)
    await crash(counter)
    assert counter.state().count == 7


async def test_the_reason_is_the_error(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    reason = (await crash(counter)).reason
    assert isinstance(reason, Crashed)
    assert (reason.type, reason.message) == (InducedCrash, "crashed on purpose, by a test")


@pytest.mark.parametrize("error", [KeyError("ticket"), KeyError])
async def test_the_error_may_be_chosen(runtime: Runtime, error: Any) -> None:
    counter = await runtime.start_agent(Counter, "c")
    reason = (await crash(counter, error=error)).reason
    assert isinstance(reason, Crashed)
    assert reason.type is KeyError


async def test_the_report_names_the_place_of_the_crash(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    reason = (await crash(counter)).reason
    assert "testing" in str(reason)


async def test_it_is_told_as_any_crash_is(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    await crash(counter)
    names = [event.name for event in counter.recent_events()]
    assert names == ["agent.started", "agent.turn", "agent.signal.poisoned", "agent.restarted"]
    [turn] = [event for event in counter.recent_events() if event.name == "agent.turn"]
    assert turn.attributes["outcome"] == "crashed"


async def test_signals_that_wait_are_handled_afterwards(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    for _ in range(3):
        counter.cast_nowait("add")
    await crash(counter)
    await settle(runtime)
    assert counter.state().count == 3


async def test_running_work_is_cut_off(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(AgentCrashed):
                await counter.ask("sleep")

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        await crash(counter)
    assert trio.current_time() == 0


async def test_an_agent_that_stays_down_has_ended_when_it_returns(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c", restart="temporary")
    status = await crash(counter)
    assert status.state == "stopped"
    assert isinstance(status.reason, Crashed)
    with pytest.raises(AgentStopped):
        await crash(counter)


async def test_one_crash_too_many_ends_the_agent(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c", max_restarts=2)
    assert [(await crash(counter)).state for _ in range(3)] == ["running", "running", "stopped"]


async def test_it_waits_for_a_restart_that_is_delayed(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c", backoff=Backoff(10, 60, 2, 0))
    assert (await crash(counter)).state == "running"
    assert trio.current_time() == 10


async def test_what_happens_to_others_meanwhile_is_nothing_to_it(runtime: Runtime, nursery: trio.Nursery) -> None:
    counter = await runtime.start_agent(Counter, "c", backoff=Backoff(10, 60, 2, 0))

    async def start_another() -> None:
        await trio.sleep(5)
        await runtime.start_agent(Counter, "d")

    nursery.start_soon(start_another)
    assert (await crash(counter)).state == "running"
    assert trio.current_time() == 10


async def test_an_agent_between_two_lives_is_crashed_when_it_is_back(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c", backoff=Backoff(10, 60, 2, 0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crash, counter)
        await trio.testing.wait_all_tasks_blocked()
        assert counter.status().state == "restarting"
        assert (await crash(counter)).restarts == 2
    assert trio.current_time() >= 20


async def test_others_crash_along_if_their_supervisor_says_so(runtime: Runtime) -> None:
    pair = Supervisor(
        [AgentSpec(Counter, "a"), AgentSpec(Counter, "b"), AgentSpec(Counter, "c")], strategy="rest_for_one"
    )
    async with open_runtime(pair, name="pair") as inner:
        await crash(inner.ref("b"))
        assert [inner.ref(id).status().restarts for id in "abc"] == [0, 1, 1]


async def test_a_suspended_agent_crashes_and_stays_suspended(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c")
    await counter.suspend()
    status = await crash(counter)
    assert (status.state, status.restarts) == ("suspended", 1)


async def test_when_the_tree_gives_up_the_block_is_left() -> None:
    with pytest.raises(SupervisorFailed):
        async with open_runtime(AgentSpec(Counter, "c"), max_restarts=0) as runtime:
            await crash(runtime.ref("c"))
            await trio.sleep(1)
            pytest.fail("the block should have been cancelled")


async def test_an_agent_that_never_was_cannot_crash(runtime: Runtime) -> None:
    with pytest.raises(AgentNotFound):
        await crash(runtime.ref("nobody"))


@pytest.mark.parametrize("error", [Rejected("no"), KeyboardInterrupt, "text", int, None])
async def test_what_is_no_crash_is_refused(runtime: Runtime, error: Any) -> None:
    counter = await runtime.start_agent(Counter, "c")
    with pytest.raises(InvalidArgument):
        await crash(counter, error=error)
    assert counter.status().restarts == 0


async def test_an_agent_that_crashes_by_itself_meanwhile_is_no_trouble(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "c", max_restarts=100)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(crash, counter)
    assert counter.status().restarts == 20
