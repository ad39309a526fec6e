"""`suspend` and `resume`: signals wait, everything else goes on."""

from __future__ import annotations

import pytest
import trio
from tests.runtime.turns.agents import Puppet, Task, settle

from prunella.agents import AgentStopped, Emit, MailboxFull, Run
from prunella.runtime import AgentSpec, open_runtime
from prunella.testing import crash


async def test_signals_wait_until_it_is_resumed() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.suspend()
        await ref.cast("note", value=1)
        caller = Task(nursery, ref.call, "note", value=2)
        await settle()
        assert (ref.state().log, ref.status().state, ref.status().mailbox) == ((), "suspended", 2)
        await ref.resume()
        await ref.resume()
        await settle()
        assert caller.value.log == (1, 2)
        assert ref.status().state == "running"


async def test_running_effects_go_on_and_their_results_wait() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        other = await runtime.start_agent(Puppet, "other", mailbox=1)
        await other.suspend()
        await ref.call("do", it=[Run(trio.sleep, {"seconds": 1}, then="got")])
        await ref.call("do", it=[Emit("note", {"value": number}, to="other") for number in range(3)])
        await ref.suspend()
        await trio.sleep(5)
        await other.resume()
        await settle()
        assert (ref.state().log, ref.status().mailbox, ref.status().effects) == ((), 1, 0)
        assert other.state().log == (0, 1, 2)
        await ref.resume()
        await settle()
        assert ref.state().log == (("got", None, {}),)


async def test_it_outlives_a_crash() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("note", value=1)
        await crash(ref)
        await settle()
        assert (ref.status().state, ref.status().restarts, ref.status().mailbox) == ("suspended", 1, 1)
        await ref.resume()
        await settle()
        assert ref.state().log == (1,)


async def test_the_mailbox_fills_up_and_then_says_so() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=2)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for _ in range(2):
            ref.cast_nowait("note")
        with pytest.raises(MailboxFull):
            ref.cast_nowait("note")


async def test_a_suspended_agent_answers_and_can_be_stopped() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value=1)
        await ref.suspend()
        assert ref.state().log == (1,)
        caller = Task(nursery, ref.ask, "echo")
        await settle()
        await ref.stop()
        await settle()
        assert isinstance(caller.error, AgentStopped)


async def test_a_suspension_in_a_turns_effects_holds_from_the_next_turn_on() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(5):
            ref.cast_nowait("note", value=number)
        await ref.suspend()
        before = ref.state().log
        await settle()
        assert ref.state().log == before
        await ref.resume()
        await settle()
        assert ref.state().log == tuple(range(5))


async def test_an_agent_that_has_ended_cannot_be_suspended() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.stop()
        for verb in (ref.suspend, ref.resume):
            with pytest.raises(AgentStopped):
                await verb()
