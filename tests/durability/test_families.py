"""Families of durable agents are what they were after a restart of the process."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.durability.agents import Listening, Puppet, World, copied, doing, forgiving, puppets, quiet
from tests.durability.filmed import filmed

from prunella.agents import Address, AdoptChild, AgentCrashed, AgentNotFound, Emit, SpawnAgent, Stop, StopChild
from prunella.runtime import AgentSpec, open_runtime
from prunella.storage import AgentKey, MemoryStorage, state_at
from prunella.supervision import Supervisor


def _parents(**options: Any) -> Supervisor:
    return Supervisor([AgentSpec(Listening, "p", **options), *puppets("q")])


async def _family(runtime: Any) -> tuple[str, str]:
    """What parent and child say of each other."""
    said = []
    for id, agent in (("p", Listening), ("p/c", Puppet)):
        state = await runtime.ref(id, agent).call("look")
        said.append(state.log[-1])
    return said[0], said[1]


# Children of a durable parent.


@pytest.mark.parametrize("way", ["stopped", "killed"])
async def test_parent_and_child_know_each_other_after_a_restart(way: str) -> None:
    storage = MemoryStorage()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c", meta={"n": 1}, state={"log": ["born"]})))
        await quiet(p, runtime.ref("p/c", Puppet))
        assert await _family(runtime) == ("None ['c']", "p []")
        killed = copied(storage)
    async with open_runtime(_parents(), storage=storage if way == "stopped" else killed) as runtime:
        assert runtime.ref("p/c", Puppet).status().state == "hibernated"
        assert await _family(runtime) == ("None ['c']", "p []")
        await quiet(runtime.ref("p", Listening), runtime.ref("p/c", Puppet))
        log = runtime.ref("p", Listening).state().log
        # No child has ended: that the process did is no end for good.
        assert [entry for entry in log if entry.startswith("exited")] == []
        assert log.count("child c {'n': 1} 0") == 2
        assert runtime.ref("p/c", Puppet).state().log[0] == "born"


async def test_a_child_is_started_once_whenever_the_process_is_killed() -> None:
    storage, copies = filmed()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call(doing(SpawnAgent(Puppet, tag="c", catch="failed"), Emit("note", {"value": "x"}, to="p/c")))
        await quiet(p)
    for killed in copies:
        async with open_runtime(_parents(), storage=killed) as runtime:
            p = runtime.ref("p", Listening)
            await trio.sleep(1)
            await quiet(p)
            assert "failed" not in " ".join(p.state().log)
            if await killed.find(AgentKey("default", None, "p/c")) is not None:
                assert await _family(runtime) == ("None ['c']", "p []")
                assert runtime.ref("p/c", Puppet).state().log in (("x", "p []"), ("p []",))


async def test_a_child_that_ended_is_no_child_any_more_after_a_restart() -> None:
    storage = MemoryStorage()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await runtime.ref("p/c", Puppet).stop()
        await quiet(p)
        assert "exited c shutdown []" in p.state().log
        killed = copied(storage)
    for kept in (storage, killed):
        async with open_runtime(_parents(), storage=kept) as runtime:
            p = runtime.ref("p", Listening)
            assert (await p.call("look")).log[-1] == "None []"
            await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
            assert await _family(runtime) == ("None ['c']", "p []")


async def test_a_crash_of_the_parent_is_no_death() -> None:
    async with open_runtime(_parents(), storage=MemoryStorage()) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        with pytest.raises(AgentCrashed):
            await p.call("boom")
        assert await _family(runtime) == ("None ['c']", "p []")


@pytest.mark.parametrize("policy", ["stop", "continue", "emit"])
async def test_a_parents_death_is_what_it_is_also_after_a_restart(policy: Any) -> None:
    storage = MemoryStorage()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Listening, tag="c", on_parent_death=policy)))
        await quiet(runtime.ref("p/c", Listening))
    async with open_runtime(_parents(), storage=storage) as runtime:
        child = runtime.ref("p/c", Listening)
        await runtime.thaw(child)
        await runtime.ref("p", Listening).call(doing(Stop()))
        await runtime.ref("p", Listening).wait_stopped()
        await trio.sleep(1)
        if policy == "stop":
            reason = await child.wait_stopped()
            assert reason.detail[0] == "parent"  # type: ignore[union-attr]
        else:
            assert (await child.call("look")).log[-1] == "None []"
            heard = "orphaned p c None" in child.state().log
            assert heard == (policy == "emit")


@pytest.mark.parametrize("policy", ["stop", "continue", "emit"])
async def test_a_sleeping_child_learns_of_its_parents_death(policy: Any) -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        p = await runtime.start_agent(Listening, "p")
        await p.call_settled(doing(SpawnAgent(Listening, tag="c", on_parent_death=policy)))
        child = runtime.ref("p/c", Listening)
        await quiet(child)
        await runtime.hibernate(child)
        await p.call(doing(Stop()))
        await p.wait_stopped()
        await trio.sleep(1)
        if policy == "stop":
            assert child.status().state == "stopped"
        else:
            assert (await child.call("look")).log[-1] == "None []"
            await quiet(child)
            heard = "orphaned p c None" in child.state().log
            assert heard == (policy == "emit")
    async with open_runtime(storage=storage) as runtime:
        ids = [ref.id for ref in runtime.agents(hibernated=True)]
        assert ids == ([] if policy == "stop" else ["p/c"])


@pytest.mark.parametrize("policy", ["stop", "continue", "emit"])
async def test_a_child_whose_parent_is_not_there_any_more_is_an_orphan(policy: Any) -> None:
    """The parent is not durable: it has ended with its process."""
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        p = await runtime.start_agent(Puppet, "p", durable=False)
        await p.call_settled(doing(SpawnAgent(Listening, tag="c", on_parent_death=policy)))
        await quiet(runtime.ref("p/c", Listening))
    async with open_runtime(storage=storage) as runtime:
        child = runtime.ref("p/c", Listening)
        if policy == "stop":
            with pytest.raises(AgentNotFound):
                await child.call("look")
            # Where it has its parent again, it is there.
            await runtime.start_agent(Puppet, "p", durable=False)
            assert (await child.call("look")).log[-1] == "p []"
            return
        assert (await child.call("look")).log[-1] == "None []"
        await quiet(child)
        assert ("orphaned p c None" in child.state().log) == (policy == "emit")
        await trio.sleep(1)
    async with open_runtime(storage=storage) as runtime:
        child = runtime.ref("p/c", Listening)
        await child.call("look")
        assert child.state().log.count("orphaned p c None") == (policy == "emit")


async def test_a_sleeping_parent_is_told_that_a_child_has_exited() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        p = await runtime.start_agent(Listening, "p")
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c", meta={"n": 1}), SpawnAgent(Puppet, tag="d")))
        c = runtime.ref("p/c", Puppet)
        await quiet(p, c)
        await runtime.hibernate(p)
        await c.stop()
        await trio.sleep(1)
        await runtime.thaw(p)
        await quiet(p)
        assert [entry for entry in p.state().log if entry.startswith("exited")] == ["exited c shutdown ['d']"]
        assert (await p.call("look")).log[-1] == "None ['d']"
        await runtime.hibernate(p)
        await runtime.ref("p/d", Puppet).stop()
        await trio.sleep(1)
    async with open_runtime(storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await runtime.thaw(p)
        await quiet(p)
        assert (await p.call("look")).log[-1] == "None []"
        exits = [entry for entry in p.state().log if entry.startswith("exited")]
        assert exits == ["exited c shutdown ['d']", "exited d shutdown []"]


@pytest.mark.parametrize("end", ["stopped", "by itself"])
async def test_a_parent_learns_of_a_childs_end_whenever_the_process_is_killed(end: str) -> None:
    storage, copies = filmed()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p, c = runtime.ref("p", Listening), runtime.ref("p/c", Puppet)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await quiet(p, c)
        if end == "stopped":
            await c.stop()
        else:
            await c.cast(doing(Stop()))
            await c.wait_stopped()
        await quiet(p)
    exits = 0
    for killed in copies:
        async with open_runtime(_parents(), storage=killed) as runtime:
            p = runtime.ref("p", Listening)
            await trio.sleep(1)
            await quiet(p)
            heard = sum(entry.startswith("exited c") for entry in p.state().log)
            was_born = "child c {} 0" in p.state().log
            is_there = (await p.call("look")).log[-1] == "None ['c']"
            # A child whose end was cut off comes back, whatever was told of it.
            assert heard or is_there or not was_born
            exits += not is_there
    assert exits


async def test_a_parent_that_sleeps_keeps_its_children() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        p = await runtime.start_agent(Listening, "p")
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await quiet(p, runtime.ref("p/c", Puppet))
        await runtime.hibernate(p)
        await trio.sleep(1)
        assert runtime.ref("p/c", Puppet).status().state == "running"
        assert await _family(runtime) == ("None ['c']", "p []")
        await runtime.hibernate("p/c")
        await runtime.hibernate(p)
        assert await _family(runtime) == ("None ['c']", "p []")


async def test_a_sleeping_child_can_be_stopped_by_its_parent() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        p = await runtime.start_agent(Listening, "p")
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await quiet(p, runtime.ref("p/c", Puppet))
        await runtime.hibernate("p/c")
        await p.call(doing(StopChild("c")))
        await trio.sleep(1)
        await quiet(p)
        assert runtime.ref("p/c", Puppet).status().state == "stopped"
        assert (await p.call("look")).log[-1] == "None []"
        assert "exited c shutdown []" in p.state().log


async def test_a_child_is_stopped_once_whenever_the_process_is_killed() -> None:
    storage, copies = filmed()
    tree = _parents(error_policy=forgiving)
    async with open_runtime(tree, storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await quiet(p)
        first = len(copies)
        await p.call(doing(StopChild("c"), note="go"))
        await trio.sleep(1)
        await quiet(p)
    for killed in copies[first:]:
        async with open_runtime(tree, storage=killed) as runtime:
            p = runtime.ref("p", Listening)
            await trio.sleep(1)
            await quiet(p)
            assert "policy" not in " ".join(p.state().log)
            if "go" in p.state().log:
                assert (await p.call("look")).log[-1] == "None []"
                assert [ref.id for ref in runtime.agents()] == ["p", "q"]
                assert runtime.agents(hibernated=True) == ()


async def test_nobody_hears_of_an_end_that_is_only_that_of_the_process(outside: World) -> None:
    storage = MemoryStorage()
    outside.seconds = 3
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await p.call_settled(doing(SpawnAgent(Listening, tag="d", on_parent_death="emit")))
        await quiet(p, runtime.ref("p/c", Puppet), runtime.ref("p/d", Listening))
        busy = await runtime.start_agent(Puppet, "busy")
        await busy.call("pay", amount=1)  # the children have ended when this has, three seconds later
    for id, kept in (("p", "exited"), ("p/d", "orphaned")):
        assert kept not in " ".join((await state_at(storage, Listening, id)).log)
    async with open_runtime(_parents(), storage=storage) as runtime:
        assert await _family(runtime) == ("None ['c', 'd']", "p []")


# Adoption.


async def test_an_adopted_child_is_one_after_a_restart() -> None:
    storage = MemoryStorage()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await runtime.start_agent(Puppet, "c")
        await p.call_settled(doing(AdoptChild("c", tag="t", meta={"n": 1})))
        await quiet(p)
        assert (await p.call("look")).log[-1] == "None ['t']"
        assert (await runtime.ref("c", Puppet).call("look")).log[-1] == "p []"
        await trio.sleep(1)
        killed = copied(storage)
    for kept in (storage, killed):
        async with open_runtime(_parents(), storage=kept) as runtime:
            p = runtime.ref("p", Listening)
            assert (await p.call("look")).log[-1] == "None ['t']"
            assert (await runtime.ref("c", Puppet).call("look")).log[-1] == "p []"
            await runtime.ref("c", Puppet).stop()
            await quiet(p)
            assert p.state().log[-1] == "exited t shutdown []"


# Recorded with the turn.


async def test_the_family_of_a_turn_is_stored_with_it() -> None:
    from tests.durability.agents import past

    storage = MemoryStorage()
    async with open_runtime(_parents(), storage=storage) as runtime:
        p = runtime.ref("p", Listening)
        await p.call_settled(doing(SpawnAgent(Puppet, tag="c")))
        await _family(runtime)
    (turn,) = [entry.turn for entry in await past(storage, Puppet, "p/c") if entry.turn.signal.type == "look"]
    assert turn.parent == Address("p")
    looks = [entry.turn for entry in await past(storage, Listening, "p") if entry.turn.signal.type == "look"]
    assert dict(looks[-1].children) == {"c": Address("p/c")}
