"""Two runtimes side by side share nothing."""

from __future__ import annotations

import pytest
from tests.runtime.turns.agents import Puppet, settle

from prunella.agents import AgentNotFound, Emit
from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, open_runtime
from prunella.testing import crash


async def test_the_same_id_in_two_runtimes_is_two_agents() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), name="one") as one:
        async with open_runtime(AgentSpec(Puppet, "p"), name="two") as two:
            first, second = one.ref("p", Puppet), two.ref("p", Puppet)
            assert first != second
            await first.call("note", value=1)
            await second.cast("note", value=2)
            await crash(first)
            await settle()
            assert (first.state().log, second.state().log) == ((), (2,))
            assert (first.status().restarts, second.status().restarts) == (1, 0)


async def test_the_end_of_one_is_nothing_to_the_other() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), name="one") as one:
        async with open_runtime(AgentSpec(Puppet, "p"), name="two"):
            pass
        assert (await one.ref("p", Puppet).call("note", value=1)).log == (1,)


async def test_what_is_published_in_one_is_not_heard_in_the_other() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), name="one") as one:
        async with open_runtime(AgentSpec(Puppet, "q", subscribe=["note"]), name="two") as two:
            async with two.subscribe("**") as stream:
                await one.ref("p").call("do", it=Emit("note", {"value": 1}))
                await settle()
                assert stream.statistics().current_buffer_used == 0
            assert two.ref("q", Puppet).state().log == ()


async def test_an_emit_to_a_ref_of_the_other_goes_to_the_other() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), name="one") as one:
        async with open_runtime(AgentSpec(Puppet, "p"), name="two") as two:
            first, second = one.ref("p", Puppet), two.ref("p", Puppet)
            await first.call_settled("do", it=Emit("note", {"value": 1}, to=second))
            await settle()
            assert (first.state().log, second.state().log) == ((), (1,))


async def test_a_ref_of_the_other_is_no_agent_to_stop_here() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), name="one") as one:
        async with open_runtime(AgentSpec(Puppet, "p"), name="two") as two:
            with pytest.raises(InvalidArgument):
                await one.stop_agent(two.ref("p"))
            assert two.count() == one.count() == 1


async def test_an_agent_of_one_is_unknown_in_the_other() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), name="one"):
        async with open_runtime(name="two") as two:
            with pytest.raises(AgentNotFound):
                await two.ref("p").call("note")
