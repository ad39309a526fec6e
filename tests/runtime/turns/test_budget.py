"""Restart budgets and escalation: what an agent's end costs, and what outlives it."""

from __future__ import annotations

import pytest
import trio
from tests.runtime.turns.agents import Puppet, Task, settle

from prunella.agents import AgentCrashed, AgentStopped, Stop
from prunella.runtime import AgentSpec, open_runtime
from prunella.supervision import AlreadyStarted, Child, Crashed, Normal, Supervisor, SupervisorFailed
from prunella.testing import crash


async def test_an_agent_over_its_budget_ends_and_its_id_is_free() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", max_restarts=2, max_seconds=10)
        other = await runtime.start_agent(Puppet, "other")
        for _ in range(3):
            with pytest.raises(AgentCrashed):
                await ref.call("boom")
        reason = await ref.wait_stopped()
        assert isinstance(reason, Crashed)
        assert ref.status().state == "stopped"
        with pytest.raises(AgentStopped):
            ref.state()
        assert runtime.whereis("p") is None
        again = await runtime.start_agent(Puppet, "p")
        assert (await again.call("note", value=1)).log == (1,)
        assert (await other.call("note", value=1)).log == (1,)
        assert (await ref.call("note", value=2)).log == (1, 2), "the old ref is one of the new agent"


async def test_restarts_long_ago_do_not_count() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", max_restarts=1, max_seconds=5)
        for _ in range(5):
            await crash(ref)
            await trio.sleep(6)
        assert ref.status().restarts == 5


async def test_one_agents_budget_is_not_anothers() -> None:
    async with open_runtime() as runtime:
        refs = [await runtime.start_agent(Puppet, f"p{n}", max_restarts=1) for n in range(20)]
        for ref in refs:
            await crash(ref)
        assert runtime.count() == 20


async def test_an_id_in_use_is_refused_with_the_ref_of_who_has_it() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        with pytest.raises(AlreadyStarted) as caught:
            await runtime.start_agent(Puppet, "p")
        assert caught.value.child == ref
        assert runtime.count() == 1


async def test_restart_types_decide_what_a_stop_and_a_crash_lead_to() -> None:
    async with open_runtime() as runtime:
        for restart, after_stop, after_crash in [
            ("permanent", "running", "running"),
            ("transient", "stopped", "running"),
            ("temporary", "stopped", "stopped"),
        ]:
            stopping = await runtime.start_agent(Puppet, f"{restart}-stop", restart=restart)
            await stopping.cast("do", it=Stop())
            crashing = await runtime.start_agent(Puppet, f"{restart}-crash", restart=restart)
            await crashing.cast("boom")
            await settle()
            assert (restart, stopping.status().state, crashing.status().state) == (restart, after_stop, after_crash)


async def test_a_group_restart_leaves_mailboxes_refs_and_last_values() -> None:
    tree = Supervisor(
        [AgentSpec(Puppet, "a", restore="last"), AgentSpec(Puppet, "b", restore="last"), AgentSpec(Puppet, "c")],
        strategy="one_for_all",
    )
    async with open_runtime(tree) as runtime:
        a, b, c = (runtime.ref(id, Puppet) for id in "abc")
        for ref in (a, b, c):
            await ref.call("note", value=1)
        await b.suspend()
        await b.cast("note", value=2)
        await a.cast("boom")
        await settle()
        assert [ref.status().restarts for ref in (a, b, c)] == [1, 1, 1]
        assert (a.state().log, b.state().log, c.state().log) == ((1,), (1,), ())
        assert b.status().mailbox == 1
        await b.resume()
        await settle()
        assert b.state().log == (1, 2)


async def test_a_supervisor_that_gives_up_and_comes_back_leaves_mailboxes_refs_and_suspensions() -> None:
    inner = Supervisor(
        [AgentSpec(Puppet, "a", restore="last"), AgentSpec(Puppet, "b", restore="last")], id="inner", max_restarts=1
    )
    async with open_runtime(Supervisor([inner], id="outer")) as runtime, trio.open_nursery() as nursery:
        a, b = runtime.ref("a", Puppet), runtime.ref("b", Puppet)
        await b.call("note", value=1)
        await b.suspend()
        caller = Task(nursery, b.call, "note", value=2)
        await settle()
        for value in (1, 2):
            await a.cast("boom")
            await a.cast("note", value=value)
        await settle()
        assert a.state().log == (1, 2)
        assert a.status().restarts == b.status().restarts + 1 == 2
        assert (b.status().state, b.status().mailbox) == ("suspended", 1)
        assert caller.is_waiting
        await b.resume()
        await settle()
        assert caller.value.log == (1, 2)


async def test_agents_of_a_supervisor_that_ends_for_good_end_with_it() -> None:
    inner = Supervisor(
        [AgentSpec(Puppet, "a"), AgentSpec(Puppet, "b")], id="inner", max_restarts=0, restart="temporary"
    )
    async with open_runtime(Supervisor([inner], id="outer")) as runtime, trio.open_nursery() as nursery:
        a, b = runtime.ref("a", Puppet), runtime.ref("b", Puppet)
        await b.suspend()
        caller = Task(nursery, b.call, "note")
        await settle()
        await a.cast("boom")
        await settle()
        assert isinstance(caller.error, AgentStopped)
        assert runtime.count() == 0
        assert (a.status().state, b.status().state) == ("stopped", "stopped")


async def test_when_the_root_gives_up_the_block_is_left_and_callers_hear() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(SupervisorFailed):
            async with open_runtime(AgentSpec(Puppet, "a"), max_restarts=0) as runtime:
                ref = runtime.ref("a", Puppet)
                await ref.suspend()
                await ref.cast("boom")
                caller = Task(nursery, ref.call, "note")
                await settle()
                await ref.resume()
                await trio.sleep_forever()
        await settle()
        assert isinstance(caller.error, AgentStopped)


async def test_an_agent_ends_itself_with_a_reason() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Stop())
        assert await ref.wait_stopped() == Normal()


async def test_the_runtimes_own_parts_may_crash_and_lose_no_agent() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value=1)
        [parts] = [child for child in runtime.supervisor.which_children() if child.id == "prunella"]
        assert parts.started is not None
        await parts.started.terminate_child("scheduler")
        await ref.cast("note", value=2)
        await parts.started.restart_child("scheduler")
        assert (await ref.call("note", value=3)).log == (1, 2, 3)
        assert ref.status().restarts == 0


async def test_a_caller_inside_a_child_is_answered_too() -> None:
    answers: list[object] = []
    opened = trio.Event()

    async def client() -> None:
        await opened.wait()
        with pytest.raises(AgentCrashed):
            await runtime.ref("p").call("boom")
        answers.append((await runtime.ref("p", Puppet).call("note", value=1)).log)

    tree = Supervisor([AgentSpec(Puppet, "p"), Child(client, id="client", restart="temporary")])
    async with open_runtime(tree) as runtime:
        opened.set()
        await settle()
    assert answers == [(1,)]
