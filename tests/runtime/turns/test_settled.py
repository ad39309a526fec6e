"""`call_settled`: the state, when everything that the turn asked for has been done."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Puppet, Task, busy, settle

from prunella.agents import (
    AgentCrashed,
    AgentNotFound,
    AgentStopped,
    Cancel,
    Emit,
    Fail,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    Stop,
)
from prunella.runtime import AgentSpec, DirectiveFailed, open_runtime

anyhow = pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])


async def fail(text: str = "no") -> None:
    raise ValueError(text)


@anyhow
async def test_it_returns_at_once_where_nothing_is_to_be_done(is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        assert (await ref.call_settled("note", value=1)).log[-1] == 1
        await ref.call_settled("do", it=[Reply(1), Cancel("nothing")])


@anyhow
async def test_it_waits_for_work_and_call_does_not(is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        await ref.call("do", it=Run(trio.sleep, {"seconds": 50}))
        assert trio.current_time() < 1
        await ref.call_settled("do", it=Run(trio.sleep, {"seconds": 100}))
        assert 100 <= trio.current_time() < 101


@anyhow
async def test_it_returns_the_state_after_its_turn_and_not_a_later_one(is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        work = Run(trio.sleep, {"seconds": 1}, then="got")
        state = await ref.call_settled("do", it=lambda self: (self.set(log=("mine",)), work))
        assert state.log == ("mine",)
        await settle()
        assert ref.state().log != ("mine",)


async def test_a_task_has_started_when_it_has_taken_its_first_step() -> None:
    steps: list[str] = []

    async def walk() -> None:
        steps.append("first")
        await trio.sleep(1)
        steps.append("second")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=[SpawnTask(walk), SpawnTask(walk)])
        assert steps == ["first", "first"]


async def test_a_task_that_never_takes_a_step_keeps_nobody_waiting() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            waiting = Task(nursery, ref.call_settled, "do", it=[SpawnTask(trio.sleep_forever), Stop()])
            await settle()
            assert (waiting.is_waiting, waiting.error) == (False, None)


async def test_it_raises_all_failures_with_their_directives() -> None:
    failing, absent = Run(fail, {"text": "no"}), Emit("x", to="nobody")
    fine = Emit("note", {"value": 1}, to="p")
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(DirectiveFailed, match="2 of the turn's directives") as caught:
            await ref.call_settled("do", it=lambda self: (self.set(log=("kept",)), absent, failing, fine))
        assert caught.value.address == ref.address
        found = {directive: type(error) for directive, error in caught.value.failures}
        assert found == {absent: AgentNotFound, failing: ValueError}
        await settle()
        assert ref.state().log == ("kept", 1)


async def test_a_failure_that_the_agent_hears_of_is_one_for_the_caller_too() -> None:
    failing = Run(fail, {"text": "no"}, catch="failed")
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(DirectiveFailed):
            await ref.call_settled("do", it=failing)
        await settle()
        assert ref.state().log == (("failed", "ValueError", "no", {"attempts": 1}),)


async def test_an_emit_counts_when_it_is_accepted_not_when_it_is_handled() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        other = await runtime.start_agent(Puppet, "other", mailbox=1)
        await other.suspend()
        await ref.call_settled("do", it=Emit("note", {"value": 1}, to="other"))
        assert other.state().log == ()
        caller = Task(nursery, ref.call_settled, "do", it=Emit("note", {"value": 2}, to="other"))
        await trio.sleep(10)
        assert caller.is_waiting
        await other.resume()
        await settle()
        assert not caller.is_waiting
        assert caller.error is None


async def test_a_schedule_counts_when_it_is_armed_and_a_child_or_task_when_it_has_started() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Schedule(100, "note", {"value": 1}))
        assert [schedule.type for schedule in ref.schedules()] == ["note"]
        await ref.call_settled("do", it=SpawnAgent(Puppet, tag="child"))
        assert runtime.whereis("p/child") is not None
        await ref.call_settled("do", it=SpawnTask(trio.sleep_forever))
        assert trio.current_time() < 1


async def test_refusals_and_crashes_are_told_as_by_call() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(AgentCrashed):
            await ref.call_settled("boom")


@pytest.mark.parametrize("how", ["crash", "stop"])
async def test_work_that_the_agents_end_cuts_off_has_failed(how: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p", shutdown=2.0)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        caller = Task(nursery, ref.call_settled, "do", it=Run(trio.sleep_forever))
        await settle()
        if how == "crash":
            await ref.cast("boom")
        else:
            await ref.stop()
        await settle()
        assert isinstance(caller.error, DirectiveFailed)
        [(_, error)] = caller.error.failures
        assert isinstance(error, AgentCrashed if how == "crash" else AgentStopped)


async def test_work_that_is_called_off_has_ended() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        caller = Task(nursery, ref.call_settled, "do", it=Run(trio.sleep_forever, key="k"))
        await settle()
        await ref.call("do", it=Cancel("k"))
        await settle()
        assert not caller.is_waiting
        assert caller.error is None


async def test_a_fail_without_an_ask_is_no_failed_directive_but_meets_the_policy(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        state: Any = await ref.call_settled("do", it=lambda self: (self.set(log=(1,)), Fail("not so")))
        assert state.log == (1,)
        await settle()
        assert "not so" in caplog.text
