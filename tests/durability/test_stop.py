"""Stopping in order: what was accepted is kept, agents are released, and the next start is immediate."""

from __future__ import annotations

import os
import signal

import pytest
import trio
from tests.durability.agents import Listening, Puppet, Task, World, copied, doing, puppets, quiet

from prunella.agents import AgentCrashed, AgentStopped, Fenced, Schedule
from prunella.errors import InvalidArgument
from prunella.runtime import open_runtime
from prunella.storage import AgentKey, CommitFailed, MemoryStorage, state_at
from prunella.supervision import Supervisor
from prunella.testing.storage import Fault, FaultyStorage


async def test_leaving_the_block_commits_and_releases() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        await runtime.start_agent(Puppet, "r")
        for id in "pqr":
            runtime.ref(id, Puppet).cast_nowait("note", value="a")
    async with storage:
        for id in "pqr":
            stored = await storage.load(AgentKey("default", None, id))
            assert stored is not None
            assert stored.record.owner is None
            assert len(stored.waiting) + len(stored.commits) == 1
    with trio.fail_after(0.1):
        async with open_runtime(Supervisor(puppets("p", "q")), storage=storage, claim="refuse") as runtime:
            pass


async def test_the_next_start_after_a_kill_is_immediate_too_unless_it_gives_way() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("note", value="a")
        killed, other = copied(storage), copied(storage)
    with trio.fail_after(0.1):
        async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
            assert runtime.ref("p", Puppet).state().log == ("a",)
    with pytest.raises(Fenced):
        async with open_runtime(Supervisor(puppets("p")), storage=other, claim="refuse"):
            pass
    await trio.sleep(11)
    epoch = runtime.clock.wall_now()
    async with open_runtime(Supervisor(puppets("p")), storage=other, claim="refuse", epoch=epoch) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("a",)


async def test_what_was_handed_over_is_done_within_the_shutdown_time(outside: World) -> None:
    storage = MemoryStorage()
    outside.seconds = 3
    async with open_runtime(Supervisor(puppets("p", shutdown=5.0)), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("pay", amount=1)
    assert outside.done == [1]
    outside.seconds = 30
    async with open_runtime(Supervisor(puppets("p", shutdown=5.0)), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert ref.state().log == ("pay 1", "paid 1")
        await ref.call("pay", amount=2)
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(5, abs=1)
    assert outside.done == [1]
    outside.seconds = 0
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert outside.done == [1, 2]
        assert ref.state().log == ("pay 1", "paid 1", "pay 2", "paid 2")


async def test_the_rest_of_the_agents_stops_when_one_write_takes_its_time() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        storage.faults.append(Fault("append", "delay", delay=4.0))
        runtime.ref("p", Puppet).cast_nowait("note", value="a")
        await trio.sleep(0.1)
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert ref.state().log == ("a",)


async def test_a_storage_that_does_not_answer_holds_nobody_up_for_ever() -> None:
    storage = FaultyStorage(MemoryStorage())
    before = 0.0
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        storage.faults.append(Fault("append", "delay", delay=1e4, call=None))
        async with trio.open_nursery() as nursery:
            call = Task(nursery, ref.call, "note", value="b")
            await trio.sleep(1)
            before = trio.current_time()
            call.scope.cancel()
    assert trio.current_time() - before < 120
    assert (await state_at(storage.storage, Puppet, "p")).log == ("a",)


async def test_callers_that_wait_when_all_is_stopped_are_told() -> None:
    storage = MemoryStorage()
    async with trio.open_nursery() as nursery:
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
            ref = runtime.ref("p", Puppet)
            await ref.suspend()
            tasks = [Task(nursery, verb, "echo", value=1) for verb in (ref.call, ref.ask, ref.call_settled)]
            await ref.cast("note", value="kept")
            await trio.sleep(1)
    assert [type(task.error) for task in tasks] == [AgentStopped] * 3
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).state().log == ("kept",)


async def test_an_agent_that_is_stopped_keeps_what_waited_for_its_next_start() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.suspend()
        await ref.cast("note", value="a")
        await ref.stop()
        await ref.stop()
        with pytest.raises(AgentStopped):
            await ref.cast("note", value="b")
        again = await runtime.start_agent(Puppet, "p")
        await quiet(again)
        assert again.state().log == ("a",)


async def test_an_agent_can_be_started_again_at_once_after_it_was_stopped() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        for number in range(20):
            ref = await runtime.start_agent(Puppet, "p")
            assert len(ref.state().log) == number
            await ref.call(doing(Schedule(1e6, "tick", key="t"), note=str(number)))
            await ref.stop()


async def test_the_last_turn_of_an_agent_that_hears_of_its_end_is_committed() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Listening, "p")
        await quiet(ref)
        await ref.stop()
        assert (await state_at(storage, Listening, "p")).log == ("started 0 False", "stopping")


async def test_an_error_in_the_block_is_raised_as_it_is_and_loses_nothing() -> None:
    storage = MemoryStorage()
    with pytest.raises(ZeroDivisionError):
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
            await runtime.ref("p", Puppet).cast("note", value="a")
            raise ZeroDivisionError
    assert not storage.is_open
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).state().log == ("a",)


async def test_a_cancelled_block_loses_nothing() -> None:
    storage = MemoryStorage()
    with trio.CancelScope() as scope:
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
            ref = runtime.ref("p", Puppet)
            await ref.cast("note", value="a")
            ref.cast_nowait("note", value="b")
            scope.cancel()
            await trio.sleep_forever()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).state().log == ("a", "b")


async def test_one_whose_supervisor_gives_up_and_is_restarted_comes_back_with_all_it_had() -> None:
    storage = MemoryStorage()
    inner = Supervisor(puppets("p"), id="inner", max_restarts=0)
    async with open_runtime(Supervisor([inner]), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Schedule(100, "note", {"value": "later"}, key="t"), note="a"))
        await ref.suspend()
        await ref.cast("note", value="b")
        await ref.resume()
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await quiet(ref)
        assert ref.state().log == ("a", "b")
        await trio.sleep(200)
        assert ref.state().log == ("a", "b", "later")


# D22: signals of the operating system.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signals_of_the_operating_system_stop_it_in_order(number: int) -> None:
    storage = MemoryStorage()
    with trio.move_on_after(60) as scope:
        async with open_runtime(Supervisor(puppets("p")), storage=storage, handle_os_signals=True) as runtime:
            await runtime.ref("p", Puppet).cast("note", value="a")
            os.kill(os.getpid(), number)
            await trio.sleep_forever()
    assert not scope.cancelled_caught
    async with open_runtime(Supervisor(puppets("p")), storage=storage, claim="refuse") as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).state().log == ("a",)


# D23: the life of a storage object.


async def test_a_storage_may_be_opened_around_several_runtimes() -> None:
    async with MemoryStorage() as storage:
        async with open_runtime(Supervisor(puppets("p")), storage=storage, name="one") as one:
            async with open_runtime(Supervisor(puppets("p")), storage=storage, name="two") as two:
                await one.ref("p", Puppet).call("note", value="one")
                await two.ref("p", Puppet).call("note", value="two")
                assert one.ref("p", Puppet).state().log == ("one",)
            await one.ref("p", Puppet).call("note", value="one")
        assert storage.is_open
    assert not storage.is_open
    async with open_runtime(Supervisor(puppets("p")), storage=storage, name="two") as two:
        assert two.ref("p", Puppet).state().log == ("two",)


async def test_a_storage_that_two_runtimes_use_without_that_is_refused() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, name="one") as one:
        with pytest.raises(InvalidArgument):
            async with open_runtime(Supervisor(puppets("p")), storage=storage, name="two"):
                pass
        assert (await one.ref("p", Puppet).call("note", value="a")).log == ("a",)


async def test_two_runtimes_of_one_name_that_share_a_storage_are_refused() -> None:
    async with MemoryStorage() as storage:
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as one:
            with pytest.raises(InvalidArgument, match="name"):
                async with open_runtime(Supervisor(puppets("q")), storage=storage):
                    pass
            assert (await one.ref("p", Puppet).call("note", value="a")).log == ("a",)
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as again:
            assert again.ref("p", Puppet).state().log == ("a",)


async def test_what_a_caller_is_told_while_its_commit_is_in_doubt_at_the_end() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with trio.open_nursery() as nursery:
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
            ref = runtime.ref("p", Puppet)
            await ref.call("note", value="a")
            storage.faults += [Fault("append", "lost_answer"), Fault("load", "unavailable", call=None)]
            call = Task(nursery, ref.call, "note", value="b")
            await trio.sleep(1)
    assert isinstance(call.error, CommitFailed)
    assert call.error.in_doubt
    assert (await state_at(storage.storage, Puppet, "p")).log == ("a", "b")
