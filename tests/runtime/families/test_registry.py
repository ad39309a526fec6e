"""Who is there: ids, partitions, refs and classes."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Child, Counter, Heard, Log, do, settle

from prunella import supervision
from prunella.agents import Address, Agent, AgentCrashed, AgentNotFound, AgentStopped, Emit, on
from prunella.errors import InvalidArgument
from prunella.runtime import AgentRef, AgentRestarted, AgentSpec, Runtime, open_runtime
from prunella.supervision import AlreadyStarted, Backoff, InvalidSpec, Shutdown, StartFailed, Supervisor


class Base(Agent):
    count: int = 0

    @on("add")
    def add(self) -> Any:
        return self.set(count=self.count + 1)


class Special(Base, name="special"):
    more: int = 0


async def test_whereis_gives_the_ref_of_an_agent_that_is_there() -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        ref = runtime.whereis("c", Counter)
        assert ref is not None
        assert (ref.id, ref.partition, ref.address) == ("c", None, Address("c"))
        assert (await ref.call("add")).count == 1
        assert runtime.whereis("other") is None
        await ref.stop()
        assert runtime.whereis("c") is None


async def test_an_agent_between_two_lives_is_there() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter, "c", backoff=Backoff(initial=5.0, maximum=9.0))
        await ref.cast("boom")
        await settle()
        assert ref.status().state == "restarting"
        assert runtime.whereis("c") == ref
        assert runtime.agents() == (ref,)


async def test_another_class_there_is_a_mistake_and_a_base_is_none() -> None:
    async with open_runtime(AgentSpec(Special, "s")) as runtime:
        with pytest.raises(InvalidArgument) as raised:
            runtime.whereis("s", Counter)
        assert raised.value.field == "agent"
        assert runtime.whereis("s", Base) == runtime.whereis("s", Special) == runtime.whereis("s")
        assert runtime.whereis("nobody", Counter) is None


async def test_a_ref_is_made_without_looking() -> None:
    async with open_runtime() as runtime:
        ref = runtime.ref("c", Counter)
        for ask in (ref.state, ref.status, lambda: ref.cast_nowait("add"), ref.schedules):
            with pytest.raises(AgentNotFound) as raised:
                ask()
            assert raised.value.address == Address("c")
        for verb in (lambda: ref.call("add"), lambda: ref.ask("add"), ref.stop, ref.wait_stopped, ref.suspend):
            with pytest.raises(AgentNotFound):
                await verb()
        await runtime.start_agent(Counter, "c")
        assert (await ref.call("add")).count == 1, "it was the ref of an address"


async def test_after_its_end_a_ref_says_how_that_was() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter, "c")
        await ref.stop("enough")
        with pytest.raises(AgentStopped) as raised:
            ref.state()
        assert raised.value.reason == Shutdown("enough")
        assert ref.status().state == "stopped"
        assert ref.status().reason == Shutdown("enough")
        assert await ref.wait_stopped() == Shutdown("enough")
        await ref.stop()
        again = await runtime.start_agent(Counter, "c")
        assert again == ref
        assert (await ref.call("add")).count == 1


async def test_refs_are_equal_if_their_addresses_are() -> None:
    async with open_runtime(name="a") as one, open_runtime(name="b") as other:
        ref = await one.start_agent(Counter, "c")
        assert ref == one.ref("c") == one.whereis("c")
        assert hash(ref) == hash(one.ref("c"))
        assert ref != one.ref("c", partition="p")
        assert ref != other.ref("c"), "an address has the name of its runtime"
        assert ref != "c"
        assert repr(ref) == "<AgentRef 'c' of runtime 'a'>"


async def test_an_agent_without_an_id_gets_a_new_one() -> None:
    async with open_runtime() as runtime:
        refs = [await runtime.start_agent(Counter) for _ in range(3)]
        assert len({ref.id for ref in refs}) == 3
        assert runtime.agents() == tuple(refs)


async def test_in_a_tree_the_id_defaults_to_the_name() -> None:
    async with open_runtime(Supervisor([AgentSpec(Counter), AgentSpec(Log)])) as runtime:
        assert [ref.id for ref in runtime.agents()] == ["counter", "log"]


# An id in use.


async def test_an_id_in_use_is_refused_with_the_ref_of_whoever_has_it() -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        ref = runtime.ref("c", Counter)
        await ref.call("add")
        for agent in (Counter, Log):
            with pytest.raises(AlreadyStarted) as raised:
                await runtime.start_agent(agent, "c")
            assert raised.value.child == ref
        assert ref.state().count == 1
        assert ref.status().restarts == 0


async def test_an_id_twice_in_a_tree_is_a_failed_start() -> None:
    tree = Supervisor([Supervisor([AgentSpec(Counter, "c")], id="a"), Supervisor([AgentSpec(Log, "c")], id="b")])
    with pytest.raises(StartFailed) as raised:
        async with open_runtime(tree):
            assert False
    assert isinstance(raised.value.__cause__, AlreadyStarted)


async def test_ids_that_the_runtime_itself_might_use_are_free() -> None:
    for id in ("agents", "system", "scheduler", "default"):
        async with open_runtime(AgentSpec(Counter, id)) as runtime:
            ref = await runtime.start_agent(Log)
            assert runtime.whereis(id) is not None
            assert runtime.agents(Log) == (ref,)


async def test_an_empty_id_is_refused() -> None:
    async with open_runtime() as runtime:
        with pytest.raises(InvalidSpec):
            await runtime.start_agent(Counter, "")
        with pytest.raises(InvalidSpec):
            AgentSpec(Counter, "")


async def test_an_id_is_free_again_when_its_agent_has_ended() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter, "c", restart="temporary")
        await ref.cast("boom")
        await ref.wait_stopped()
        assert (await (await runtime.start_agent(Log, "c")).call("tick")).signals


# Names and classes.


async def test_two_classes_of_one_name_are_not_started_in_one_runtime() -> None:
    class Other(Agent, name="counter"):
        pass

    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        with pytest.raises(InvalidSpec) as raised:
            await runtime.start_agent(Other, "o")
        assert "counter" in str(raised.value) or "Counter" in str(raised.value)
        assert runtime.count() == 1
        async with open_runtime(AgentSpec(Other, "o"), name="second") as second:
            assert second.count() == 1


async def test_a_class_that_is_only_a_base_cannot_be_started() -> None:
    async with open_runtime() as runtime:
        with pytest.raises((InvalidSpec, InvalidArgument)):
            await runtime.start_agent(Base)
        assert (await (await runtime.start_agent(Special)).call("add")).count == 1, "it has what the base has"


# Lists and counts.


async def test_agents_are_listed_by_class_and_partition_in_the_order_of_their_starts() -> None:
    async with open_runtime(Supervisor([AgentSpec(Special, "s"), AgentSpec(Counter, "c")])) as runtime:
        east = await runtime.start_agent(Counter, "c", partition="east")
        west = await runtime.start_agent(Special, "x", partition="west")
        assert [str(ref.address) for ref in runtime.agents()] == ["s", "c", str(east.address), str(west.address)]
        assert runtime.agents(Base) == (runtime.ref("s"), west)
        assert runtime.agents(Counter) == (runtime.ref("c"), east)
        assert runtime.agents(partition="east") == (east,)
        assert runtime.agents(partition=None) == (runtime.ref("s"), runtime.ref("c"))
        assert runtime.agents(Log) == ()
        assert (runtime.count(), runtime.count(partition="east"), runtime.count(partition=None)) == (4, 1, 2)
        await east.stop()
        assert (runtime.count(), runtime.count(partition="east")) == (3, 0)


async def test_one_id_in_two_partitions_is_two_agents() -> None:
    async with open_runtime() as runtime:
        refs = [await runtime.start_agent(Counter, "c", partition=part) for part in (None, "a", "b")]
        for number, ref in enumerate(refs):
            await ref.call("add", amount=number)
        assert [ref.state().count for ref in refs] == [0, 1, 2]
        assert runtime.whereis("c", partition="b") == refs[2]
        assert runtime.whereis("c", partition="none") is None
        await refs[1].stop()
        assert runtime.count() == 2


async def test_a_string_is_an_id_in_the_partition_of_whoever_sends() -> None:
    async with open_runtime() as runtime:
        sender = await runtime.start_agent(Log, "s", partition="a")
        near = await runtime.start_agent(Log, "t", partition="a")
        far = await runtime.start_agent(Log, "t")
        await do(sender, Emit("tick", {}, to="t"), Emit("note.x", {}, to=Address("t")))
        await settle()
        assert [signal.type for signal in near.state().signals] == ["tick"]
        assert [signal.type for signal in far.state().signals] == ["note.x"]


# A ref, an address or an id.


def as_id(ref: AgentRef[Any]) -> Any:
    return ref.id


def as_address(ref: AgentRef[Any]) -> Any:
    return ref.address


def as_ref(ref: AgentRef[Any]) -> Any:
    return ref


forms = pytest.mark.parametrize("form", [as_id, as_address, as_ref])


@forms
async def test_an_agent_is_stopped_by_id_address_or_ref(form: Any) -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter, "c", restart="permanent")
        await runtime.stop_agent(form(ref), "enough")
        assert await ref.wait_stopped() == Shutdown("enough")
        await runtime.stop_agent(form(ref))
        assert runtime.count() == 0


@forms
async def test_an_emit_goes_to_an_id_an_address_or_a_ref(form: Any) -> None:
    async with open_runtime() as runtime:
        sender, target = await runtime.start_agent(Log, "s"), await runtime.start_agent(Log, "t")
        await do(sender, Emit("tick", {}, to=form(target)))
        await settle()
        assert len(target.state().signals) == 1


async def test_stopping_what_never_was_or_what_is_no_agent() -> None:
    async with open_runtime() as runtime:
        with pytest.raises(AgentNotFound):
            await runtime.stop_agent("nobody")
        for nonsense in (None, 7, Counter):
            with pytest.raises(InvalidArgument):
                await runtime.stop_agent(nonsense)  # type: ignore[arg-type]


async def test_a_ref_of_another_runtime_means_the_agent_there() -> None:
    async with open_runtime(name="one") as one, open_runtime(name="two") as two:
        sender = await one.start_agent(Log, "s")
        here, there = await one.start_agent(Log, "t"), await two.start_agent(Log, "t")
        await do(sender, Emit("tick", {}, to=there))
        await settle()
        assert (len(here.state().signals), len(there.state().signals)) == (0, 1)
        with pytest.raises(InvalidArgument):
            await one.stop_agent(there)
        assert one.count() == 2
        assert two.count() == 1


async def test_whatever_else_is_no_target_of_a_child_directive() -> None:
    from prunella.agents import AdoptChild

    for nonsense in (None, 7, Child):
        with pytest.raises(InvalidArgument):
            AdoptChild(nonsense, tag="t")


# Bounded memory of those that have ended.


async def test_only_so_many_of_those_that_have_ended_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    from prunella.runtime import _directory

    monkeypatch.setattr(_directory, "_MOST_TOMBSTONES", 3)
    async with open_runtime() as runtime:
        refs = [await runtime.start_agent(Counter, f"c{number}") for number in range(5)]
        for ref in refs:
            await ref.stop()
        for ref in refs[:2]:
            with pytest.raises(AgentNotFound):
                runtime.ref(ref.id).state()
        for ref in refs[2:]:
            with pytest.raises(AgentStopped):
                runtime.ref(ref.id).state()


async def test_starting_agents_lets_others_run_now_and_then() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        steps = 0

        async def count() -> None:
            nonlocal steps
            while True:
                steps += 1
                await trio.lowlevel.checkpoint()

        nursery.start_soon(count)
        for _ in range(640):
            await runtime.start_agent(Counter)
        assert steps >= 9, "at least every 64th time"
        nursery.cancel_scope.cancel()


async def test_a_start_that_is_cancelled_starts_nothing() -> None:
    async def start(runtime: Runtime) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await runtime.start_agent(Counter, "c")

    async with open_runtime() as runtime:
        await start(runtime)
        assert runtime.count() == 0


async def test_an_agent_that_is_stopped_between_two_lives_is_not_started_once_more() -> None:
    """Its supervisor is busy, and has not yet come to restart it."""

    async def slow(task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(3)
        task_status.started()
        await trio.sleep_forever()

    heard = Heard()
    tree = Supervisor([AgentSpec(Counter, "c", restart="permanent"), supervision.Child(slow, id="slow")])
    async with open_runtime(tree, telemetry=[heard]) as runtime, trio.open_nursery() as nursery:
        supervisor = runtime.supervisor.supervisor("supervisor")
        await supervisor.terminate_child("slow")
        nursery.start_soon(supervisor.restart_child, "slow")
        await trio.sleep(1)
        c = runtime.ref("c", Counter)
        with pytest.raises(AgentCrashed):
            await c.call("boom")
        assert c.status().state == "restarting"
        await runtime.stop_agent("c", "enough")
        await trio.sleep(10)
        assert supervisor.get_child("c").state == "stopped"
        assert c.status().reason == Shutdown("enough")
        assert heard.of(AgentRestarted) == []
        await supervisor.restart_child("c")
        assert c.status().state == "running"
