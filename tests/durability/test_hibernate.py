"""Agents leave memory, and come back for a signal or a schedule; nothing is lost on the way."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.durability.agents import (
    EPOCH,
    Heard,
    Listening,
    Puppet,
    Task,
    World,
    copied,
    doing,
    emit,
    later,
    puppets,
    quiet,
)
from tests.durability.filmed import filmed

from prunella.agents import AgentCrashed, AgentNotFound, AgentStopped, Ask, Cron, Emit, MailboxFull, Schedule
from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, AgentStarted, EffectsRunning, Hibernated, Runtime, open_runtime
from prunella.storage import AgentKey, MemoryStorage
from prunella.supervision import Backoff, Supervisor
from prunella.testing.storage import Fault, FaultKind, FaultyStorage


async def _asleep(runtime: Runtime, id: str = "p") -> Any:
    ref = runtime.ref(id, Puppet)
    await quiet(ref)
    await runtime.hibernate(ref)
    assert ref.status().state == "hibernated"
    return ref


@pytest.mark.parametrize("place", ["tree", "later"])
async def test_it_leaves_memory_and_comes_back_with_the_next_signal(place: str) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "x")) if place == "tree" else None, storage=storage) as runtime:
        if place == "later":
            await runtime.start_agent(Puppet, "p")
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        await _asleep(runtime)
        assert "p" not in [each.id for each in runtime.agents()]
        assert "p" in [each.id for each in runtime.agents(hibernated=True)]
        with pytest.raises(Hibernated):
            ref.state()
        assert (await runtime.state_at(ref)).log == ("a",)
        assert (await ref.call("note", value="b")).log == ("a", "b")
        assert ref.status().state == "running"
        await _asleep(runtime)
        await ref.cast("note", value="c")
        await quiet(ref)
        assert ref.state().log == ("a", "b", "c")
        await _asleep(runtime)
        assert await ref.ask("echo", value=1) == 1
        await _asleep(runtime)
        assert (await ref.call_settled("note", value="d")).log == ("a", "b", "c", "echo 1", "d")
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        assert len(runtime.ref("p", Puppet).state().log) == 5


async def test_hibernating_and_thawing_twice_is_harmless() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p", state={"log": ["a"]})
        await runtime.hibernate(ref)
        await runtime.hibernate("p")
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(runtime.thaw, ref)
        thawed = await runtime.thaw("p")
        assert thawed == ref
        assert ref.state().log == ("a",)
        with pytest.raises(AgentNotFound):
            await runtime.hibernate("nobody")
        with pytest.raises(AgentNotFound):
            await runtime.thaw("nobody")


async def test_what_is_not_durable_cannot_hibernate() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        await runtime.start_agent(Puppet, "p", durable=False)
        with pytest.raises(InvalidArgument):
            await runtime.hibernate("p")
    async with open_runtime() as runtime:
        await runtime.start_agent(Puppet, "p", durable=False)
        with pytest.raises(InvalidArgument):
            await runtime.hibernate("p")


async def test_it_waits_for_the_commit() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        storage.faults.append(Fault("append", "delay", delay=5.0))
        async with trio.open_nursery() as nursery:
            call = Task(nursery, ref.call, "note", value="a")
            await trio.sleep(1)
            await runtime.hibernate(ref)
            assert call.value is not None
        assert (await runtime.state_at(ref)).log == ("a",)


async def test_it_is_refused_while_effects_run_unless_that_is_wanted(outside: World) -> None:
    outside.seconds = 10
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call("pay", amount=1)
        await trio.sleep(1)
        with pytest.raises(EffectsRunning):
            await runtime.hibernate(ref)
        assert ref.status().state == "running"
        await runtime.hibernate(ref, force=True)
        assert ref.status().state == "hibernated"
        await trio.sleep(100)
        assert outside.done == []
        await runtime.thaw(ref)
        await ref.wait_for(lambda state: state.log == ("pay 1", "paid 1"))
        assert outside.done == [1]
        assert len(set(outside.keys)) == 1


async def test_a_signal_that_comes_while_it_leaves_is_handled() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        for number in range(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(runtime.hibernate, ref)
                nursery.start_soon(ref.cast, "note", {"value": f"{number}a"})
                nursery.start_soon(ref.call, "note", {"value": f"{number}b"})
        await runtime.thaw(ref)
        await quiet(ref)
        assert sorted(ref.state().log) == sorted(f"{number}{letter}" for number in range(20) for letter in "ab")


async def test_many_callers_wake_it_once(heard: Heard) -> None:
    async with open_runtime(storage=MemoryStorage(), telemetry=[heard]) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        heard.clear()
        async with trio.open_nursery() as nursery:
            for number in range(30):
                nursery.start_soon(ref.call, "note", {"value": str(number)})
        assert len(ref.state().log) == 30
        assert len(heard.of(AgentStarted)) == 1


async def test_an_emit_and_an_ask_wake_their_target() -> None:
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage()) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await _asleep(runtime, "q")
        await p.call(doing(emit("q", "x")))
        await q.wait_for(lambda state: state.log == ("x",)) if q.status().state == "running" else await trio.sleep(1)
        assert q.state().log == ("x",)
        await _asleep(runtime, "q")
        await p.call(doing(Ask("q", "echo", {"value": 1}, then="got")))
        await p.wait_for(lambda state: state.log == ("got 1",))


async def test_one_that_listens_to_published_signals_is_woken_by_them() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "sleeper", subscribe=("note.*",))
        await runtime.hibernate(ref)
        await runtime.ref("p", Puppet).call(doing(Emit("note.a", {"value": "a"}), Emit("else", {})))
        await trio.sleep(1)
        await quiet(ref)
        assert ref.state().log == ("a",)
        await runtime.hibernate(ref)
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("sleeper", Puppet)
        assert ref.status().state == "hibernated"
        await runtime.ref("p", Puppet).call(doing(Emit("note.b", {"value": "b"})))
        await trio.sleep(1)
        await quiet(ref)
        assert ref.state().log == ("a", "b")


# Schedules of sleepers.


async def test_a_schedule_wakes_it() -> None:
    async with open_runtime(storage=MemoryStorage(), epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call(doing(Schedule(600, "tick", key="a"), Schedule(7200, "tick", key="b")))
        await _asleep(runtime)
        await trio.sleep(590)
        assert ref.status().state == "hibernated"
        await trio.sleep(20)
        assert ref.status().state == "running"
        assert ref.state().log == ("tick 02 12:10:00",)
        await _asleep(runtime)
        await trio.sleep(7200)
        assert ref.state().log == ("tick 02 12:10:00", "tick 02 14:00:00")


async def test_a_schedule_that_is_due_wakes_a_sleeper_of_an_earlier_process() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage, epoch=EPOCH) as runtime:
        for id, seconds in (("p", 600), ("q", 7200)):
            ref = await runtime.start_agent(Puppet, id)
            await ref.call(doing(Schedule(seconds, "tick", key="a"), Cron("0 0 * * *", "tick", key="b")))
        killed = copied(storage)
        await _asleep(runtime, "p")
    for kept in (storage, killed):
        async with open_runtime(storage=kept, epoch=later(hours=1)) as runtime:
            p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
            await trio.sleep(1)
            assert p.state().log == ("tick 02 13:00:00",)
            assert q.status().state == "hibernated"
            await trio.sleep(3600)
            assert q.state().log == ("tick 02 14:00:00",)
            await trio.sleep(3600 * 11)
            assert p.state().log[-1] == "tick 03 00:00:00"


@pytest.mark.parametrize("misfire", ["once", "skip", "all"])
async def test_cron_of_a_sleeper_ticks_on_time(misfire: str) -> None:
    async with open_runtime(storage=MemoryStorage(), epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call(doing(Cron("0 * * * *", "tick", key="c", misfire=misfire)))
        for _ in range(3):
            await _asleep(runtime)
            await trio.sleep(3600)
        assert ref.state().log == tuple(f"tick 02 {hour}:00:00" for hour in (13, 14, 15))


async def test_a_schedule_that_is_due_while_the_storage_is_away_wakes_it_afterwards() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage, epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call(doing(Schedule(600, "tick", key="a")))
        await _asleep(runtime)
        storage.faults.append(Fault("claim", "unavailable", call=None))
        await trio.sleep(1200)
        assert ref.status().state == "hibernated"
        storage.faults.clear()
        await trio.sleep(60)
        assert ref.status().state == "running"
        assert len(ref.state().log) == 1


# Signals of the runtime.


async def test_it_hears_that_it_leaves_and_that_it_comes_back() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Listening, "p")
        await quiet(ref)
        await runtime.hibernate(ref)
        await runtime.thaw(ref)
        await quiet(ref)
        log = ref.state().log
        assert log[0] == "started 0 False"
        assert log[-1] == "started 0 True"
        assert log.count("stopping") <= 1


# Kills.


async def test_a_kill_while_it_hibernates_or_thaws_loses_nothing() -> None:
    storage, copies = filmed()
    async with open_runtime(storage=storage, epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call(doing(Schedule(600, "note", {"value": "tick"}, key="a"), note="a"))
        first = len(copies)
        await _asleep(runtime)
        await ref.cast("note", value="b")
        second = len(copies)
        await _asleep(runtime)
        await trio.sleep(700)
    for place, killed in enumerate(copies[first:], first):
        async with open_runtime(storage=killed, epoch=later(seconds=60)) as runtime:
            ref = runtime.ref("p", Puppet)
            await runtime.thaw(ref)
            await trio.sleep(700)
            await quiet(ref)
            assert ref.state().log in (("a", "tick"), ("a", "b", "tick"))
            if place >= second:
                assert ref.state().log == ("a", "b", "tick")


async def test_a_thaw_that_fails_because_the_storage_is_away_can_be_tried_again() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", state={"log": ["a"]})
        await runtime.hibernate(ref)
        for method in ("find", "claim", "load"):
            storage.faults.append(Fault(method, "unavailable", call=None))
            with pytest.raises(Exception, match="away"):
                await runtime.thaw(ref)
            with pytest.raises(Exception, match="away"):
                await ref.call("note", value="lost")
            storage.faults.clear()
            assert ref.status().state == "hibernated"
        assert (await ref.call("note", value="b")).log == ("a", "b")


async def test_it_is_released_when_it_has_left() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        await trio.sleep(1)
        record = await storage.find(AgentKey("default", None, "p"))
        assert record is not None
        assert record.owner is None


async def test_a_sleeper_can_be_stopped_for_good() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        await ref.stop()
        with pytest.raises(AgentStopped):
            await ref.call("note", value="a")
    async with open_runtime(storage=storage) as runtime:
        assert runtime.agents(hibernated=True) == ()


async def test_verbs_that_look_say_that_it_sleeps() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        for look in (ref.state, ref.schedules):
            with pytest.raises(Hibernated):
                look()
        with pytest.raises(Hibernated):
            await ref.wait_for(lambda state: True)
        assert runtime.count() == 0


async def test_who_cannot_wait_wakes_it_too() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p", mailbox=5)
        await runtime.hibernate(ref)
        for number in range(5):
            ref.cast_nowait("note", value=str(number))
        with pytest.raises(MailboxFull) as full:
            ref.cast_nowait("note", value="too much")
        assert full.value.address == ref.address
        assert (await ref.call("note", value="called")).log == ("0", "1", "2", "3", "4", "called")
        await runtime.hibernate(ref)
        ref.cast_nowait("note", value="5")
        await trio.sleep(1)
        assert ref.state().log == ("0", "1", "2", "3", "4", "called", "5")
        assert ref.status().mailbox == 0


async def test_who_cannot_wait_is_heard_whatever_the_moment_and_in_order() -> None:
    for checkpoints in range(12):
        async with open_runtime(storage=MemoryStorage()) as runtime, trio.open_nursery() as nursery:
            ref = await runtime.start_agent(Puppet, "p")
            nursery.start_soon(runtime.hibernate, ref)
            for number in range(checkpoints + 1):
                await trio.lowlevel.checkpoint()
                ref.cast_nowait("note", value=str(number))
            await trio.sleep(1)
            await runtime.thaw(ref)
            await trio.sleep(1)
            assert ref.state().log == tuple(map(str, range(checkpoints + 1)))


@pytest.mark.parametrize("method", ["find", "claim", "load", "enqueue"])
async def test_what_was_sent_without_waiting_is_not_lost_while_the_storage_is_away(method: str) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        storage.faults.append(Fault(method, FaultKind.UNAVAILABLE, call=None))
        ref.cast_nowait("note", value="a")
        await trio.sleep(60)
        ref.cast_nowait("note", value="b")
        await trio.sleep(60)
        storage.faults.clear()
        await trio.sleep(60)
        assert ref.state().log == ("a", "b")


async def test_what_was_sent_without_waiting_at_the_last_moment_is_heard_by_the_next_process() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        ref.cast_nowait("note", value="a")
    async with open_runtime(storage=storage) as runtime:
        await trio.sleep(1)
        assert runtime.ref("p", Puppet).state().log == ("a",)


async def test_what_cannot_be_stored_is_lost_alone() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await runtime.hibernate(ref)
        for value in ("a", object(), "b"):
            ref.cast_nowait("note", value=value)
        await trio.sleep(1)
        assert ref.state().log == ("a", "b")


async def test_waiting_for_a_state_keeps_it_in_memory_or_hears_that_it_leaves() -> None:
    """Who waits is never left to wait for ever."""
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        async with trio.open_nursery() as nursery:
            waiting = Task(nursery, ref.wait_for, lambda state: "a" in state.log)
            await trio.sleep(1)
            hibernating = Task(nursery, runtime.hibernate, ref)
            await trio.sleep(1)
            await ref.call("note", value="a")
        assert waiting.error is None
        assert hibernating.error is None


@pytest.mark.parametrize("way", ["waiter", "restart", "kill"])
async def test_it_leaves_also_if_what_it_waited_for_ends_without_a_turn(way: str) -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", backoff=Backoff(5.0, 5.0) if way == "restart" else None)
        async with trio.open_nursery() as nursery:
            if way == "waiter":
                waiting = Task(nursery, ref.wait_for, lambda state: "never" in state.log)
                await trio.sleep(1)
                hibernating = Task(nursery, runtime.hibernate, ref)
                await trio.sleep(1)
                assert hibernating.is_waiting
                waiting.scope.cancel()
            elif way == "restart":
                with pytest.raises(AgentCrashed):
                    await ref.call("boom")
                nursery.start_soon(runtime.hibernate, ref)
            else:
                await ref.suspend()
                await ref.cast("note", value="a")
                storage = copied(storage)
        if way != "kill":
            assert ref.status().state == "hibernated"
    if way == "kill":
        async with open_runtime(storage=storage) as runtime:
            await runtime.hibernate("p")
            assert (await runtime.state_at("p")).log == ("a",)


# Forgetting, D15.


@pytest.mark.parametrize("asleep", [False, True])
async def test_what_was_forgotten_never_was(asleep: bool) -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage, epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call(doing(Schedule(60, "tick", key="t"), note="secret"))
        await ref.suspend()
        await ref.cast("note", value="secret")
        if asleep:
            await ref.resume()
            await _asleep(runtime)
        await runtime.forget(ref)
        await trio.sleep(100)
        assert await storage.load(AgentKey("default", None, "p")) is None
        with pytest.raises(AgentNotFound):
            await ref.call("note", value="x")
        with pytest.raises(AgentNotFound):
            await runtime.state_at("p")
        assert runtime.agents(hibernated=True) == ()
        fresh = await runtime.start_agent(Puppet, "p")
        assert fresh.state().log == ()
        await fresh.call("note", value="new")
    async with open_runtime(storage=storage, epoch=later(hours=1)) as runtime:
        assert (await runtime.ref("p", Puppet).call("note", value="x")).log == ("new", "x")


async def test_one_of_the_tree_that_was_forgotten_begins_anew_in_the_next_runtime() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", restart="permanent")), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("note", value="a")
        await runtime.forget("p")
        with pytest.raises((AgentNotFound, AgentStopped)):
            await runtime.ref("p", Puppet).call("note", value="a")
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ()


assert AgentSpec


async def test_whoever_waits_for_room_in_one_that_leaves_wakes_it() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("s")), storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", mailbox=1)
        sender = runtime.ref("s", Puppet)
        for number in range(20):
            await ref.suspend()
            await ref.cast("note", value=f"{number} a")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.cast, "note", {"value": f"{number} b"})
                nursery.start_soon(ref.call, "note", {"value": f"{number} c"})
                nursery.start_soon(sender.call, doing(emit("p", f"{number} d")))
                nursery.start_soon(runtime.hibernate, ref)
                await trio.sleep(1)
                await ref.resume()
            await runtime.thaw(ref)
            await quiet(ref, sender)
        assert sorted(ref.state().log) == sorted(f"{number} {letter}" for number in range(20) for letter in "abcd")


@pytest.mark.parametrize("place", ["tree", "later"])
async def test_it_is_woken_also_if_whoever_asked_for_it_is_cancelled(place: str) -> None:
    storage = FaultyStorage(MemoryStorage())
    tree = Supervisor(puppets("p", "x")) if place == "tree" else None
    async with open_runtime(tree, storage=storage) as runtime:
        if place == "later":
            await runtime.start_agent(Puppet, "p")
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        for seconds in (1, 3, 3.9):
            await _asleep(runtime)
            storage.faults[:] = [Fault(name, "delay", delay=2.0, call=None) for name in ("claim", "load")]
            with trio.move_on_after(seconds) as scope:
                await ref.call("note", value="cancelled")
            assert scope.cancelled_caught
            await trio.sleep(5)
            storage.faults.clear()
            assert ref.status().state == "running"
            assert ref.state().log == ("a",)
        await runtime.hibernate(ref)
    async with open_runtime(tree, storage=storage) as runtime:
        assert (await runtime.ref("p", Puppet).call("note", value="b")).log == ("a", "b")


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all"])
async def test_a_restart_of_its_group_while_it_sleeps_loses_nothing(strategy: str) -> None:
    storage = MemoryStorage()
    tree = Supervisor(puppets("p", "q"), strategy=strategy)
    async with open_runtime(tree, storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await p.call("note", value="a")
        await _asleep(runtime)
        with pytest.raises(AgentCrashed):
            await q.call("boom")
        await quiet(q)
        assert (await p.call("note", value="b")).log == ("a", "b")
        await _asleep(runtime)
        assert (await p.call("note", value="c")).log == ("a", "b", "c")
        await p.stop()
        assert p.status().state == "stopped"
        with pytest.raises(AgentStopped):
            await p.call("note", value="d")
    async with open_runtime(tree, storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("a", "b", "c")


async def test_a_supervisor_that_gives_up_takes_its_sleepers_along() -> None:
    """Its parent starts it again, and them: they have what they had."""
    storage = MemoryStorage()
    inner = Supervisor(puppets("p", "q"), id="inner", max_restarts=0)
    async with open_runtime(Supervisor([inner]), storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await p.call("note", value="a")
        await _asleep(runtime)
        with pytest.raises(AgentCrashed):
            await q.call("boom")
        await quiet(q)
        assert (await p.call("note", value="b")).log == ("a", "b")
        await _asleep(runtime)
        assert (await p.call("note", value="c")).log == ("a", "b", "c")
