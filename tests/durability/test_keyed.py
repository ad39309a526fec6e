"""Agents by key: one for each, started when it is asked for, gone when it is idle."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.durability.agents import EPOCH, Heard, Puppet, Task, World, copied, doing, emit, later, quiet

from prunella.agents import Agent, AgentStopped, Cron, Emit, Reply, RestoreFailed, Schedule, on
from prunella.errors import InvalidArgument
from prunella.runtime import AgentStarted, Hibernated, open_runtime, wait_all, wait_any
from prunella.storage import MemoryStorage
from prunella.supervision import InvalidSpec, Shutdown
from prunella.testing.storage import Fault, FaultyStorage

both = pytest.mark.parametrize("durable", [True, False])


@both
async def test_there_is_one_agent_for_each_key(durable: bool, heard: Heard) -> None:
    async with open_runtime(storage=MemoryStorage(), telemetry=[heard]) as runtime:
        sessions = runtime.keyed(Puppet, name="session", durable=durable)
        assert sessions.keys() == ()
        one, two = await sessions.get("one"), await sessions.get("two")
        assert one.id == "session/one"
        assert await sessions.get("one") == one
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(sessions.get, "three")
        assert sessions.keys() == ("one", "two", "three")
        await one.call("note", value="a")
        assert two.state().log == ()
        assert len(heard.of(AgentStarted)) == 3


@both
async def test_its_first_state_may_be_given(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, durable=durable)
        ref = await sessions.get("k", state={"log": ["first"]})
        assert ref.id == "puppet/k"
        assert (await sessions.get("k", state={"log": ["other"]})).state().log == ("first",)


async def test_partition_and_state_may_be_given_by_place() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.keyed(Puppet).get("k", "one", {"log": ["first"]})
        assert ref.address.partition == "one"
        assert ref.state().log == ("first",)


@pytest.mark.parametrize("sleeps", [True, False])
async def test_one_whose_state_cannot_be_read_is_not_given_and_loses_nothing(sleeps: bool) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        sessions = runtime.keyed(Puppet)
        for key in "kl":
            await (await sessions.get(key)).call("note", value=key)
        if not sleeps:
            await sessions.stop("k")
    torn = RestoreFailed("the bytes are torn (on purpose)")
    storage.faults.append(Fault("load", "unavailable", call=None, error=torn, when=lambda args, _: "k" in args[0].id))
    async with open_runtime(storage=storage) as runtime:
        sessions = runtime.keyed(Puppet)
        await sessions.get("l")
        for _ in range(3):
            with pytest.raises(RestoreFailed) as failed, trio.fail_after(1):
                await sessions.get("k")
            assert failed.value.address.id == "puppet/k"
            assert sessions.keys() == ("l",)
            assert runtime.ref("puppet/k").status().state == "quarantined"
        storage.faults.clear()
        await runtime.retry("puppet/k")
        assert (await (await sessions.get("k")).call("note", value="z")).log == ("k", "z")
        assert sessions.keys() == ("l", "k")


async def test_partitions_keep_keys_apart() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet)
        one = await sessions.get("k", partition="one")
        await one.call("note", value="a")
        two = await sessions.get("k", partition="two")
        assert two.state().log == ()
        assert sessions.keys() == ()
        assert sessions.keys(partition="one") == ("k",)


@both
async def test_one_that_is_idle_leaves_and_its_ref_wakes_it(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60, durable=durable)
        ref = await sessions.get("k")
        await ref.call("note", value="a")
        await trio.sleep(50)
        await ref.call("note", value="b")
        await trio.sleep(50)
        assert sessions.keys() == ("k",)
        await trio.sleep(20)
        assert sessions.keys() == ()
        expected = ("a", "b", "c") if durable else ("c",)
        assert (await ref.call("note", value="c")).log == expected
        assert sessions.keys() == ("k",)
        await trio.sleep(100)
        assert sessions.keys() == ()
        assert (await (await sessions.get("k")).call("note", value="d")).log == (
            (*expected, "d") if durable else ("d",)
        )


@both
async def test_it_is_not_idle_while_effects_run_or_callers_wait(durable: bool, outside: World) -> None:
    outside.seconds = 200
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60, durable=durable)
        ref = await sessions.get("k")
        assert await ref.ask("pay", amount=1) == 1
        assert outside.done == [1]
        await trio.sleep(50)
        assert sessions.keys() == ("k",)
        await trio.sleep(50)
        assert sessions.keys() == ()
        ref = await sessions.get("k")
        async with trio.open_nursery() as nursery:
            waiting = Task(nursery, ref.wait_for, lambda state: "x" in state.log)
            await trio.sleep(300)
            assert sessions.keys() == ("k",)
            await ref.call("note", value="x")
        assert waiting.error is None
        await ref.suspend()
        await ref.cast("note", value="waits")
        await trio.sleep(300)
        assert sessions.keys() == ("k",)


class Slow(Agent, name="slow"):
    """Replies when it has waited, or somebody else has."""

    @on("wait")
    def wait(self, seconds: float) -> Any:
        return Schedule(seconds, "waited")

    @on("forward")
    def forward(self, to: str, seconds: float) -> Any:
        return Emit("wait", {"seconds": seconds}, to=to)

    @on("waited")
    def waited(self) -> Any:
        return Reply("done")


@both
async def test_it_is_not_idle_while_an_ask_waits_for_a_schedule(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        slow = runtime.keyed(Slow, idle_timeout=60, durable=durable)
        one, two = await slow.get("one"), await slow.get("two")
        assert await one.ask("wait", seconds=1000) == "done"
        await slow.get("two")
        assert await one.ask("forward", to=two.id, seconds=1000) == "done"
        assert slow.keys() == ("one", "two")  # both have waited for it
        await trio.sleep(100)
        assert slow.keys() == ()
        # A caller that has gone keeps nobody.
        with trio.move_on_after(1):
            await one.ask("wait", seconds=100_000)
        await trio.sleep(100)
        assert slow.keys() == ()


@both
async def test_an_emit_to_one_that_has_left_wakes_it(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60, durable=durable)
        await sessions.get("k")
        await trio.sleep(100)
        assert sessions.keys() == ()
        sender = await runtime.start_agent(Puppet, "sender")
        await sender.call(doing(emit("puppet/k", "x")))
        await trio.sleep(1)
        assert runtime.ref("puppet/k", Puppet).state().log == ("x",)


async def test_a_schedule_wakes_one_that_has_left() -> None:
    async with open_runtime(storage=MemoryStorage(), epoch=EPOCH) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60)
        ref = await sessions.get("k")
        await ref.call(doing(Schedule(600, "tick", key="a"), Cron("0 * * * *", "tick", key="b")))
        await trio.sleep(100)
        assert sessions.keys() == ()
        await trio.sleep(510)
        assert ref.state().log == ("tick 02 12:10:00",)
        await trio.sleep(100)
        assert sessions.keys() == ()
        await trio.sleep(3000)
        assert (await runtime.state_at(ref)).log == ("tick 02 12:10:00", "tick 02 13:00:00")


async def test_after_a_kill_one_comes_back_for_its_key() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage, epoch=EPOCH) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60)
        for number in range(5):
            ref = await sessions.get(str(number))
            await ref.call("note", value=str(number))
        killed = copied(storage)
    for kept in (storage, killed):
        async with open_runtime(storage=kept, epoch=later(hours=1)) as runtime:
            sessions = runtime.keyed(Puppet, idle_timeout=60)
            assert sessions.keys() == ()
            assert (await (await sessions.get("3")).call("note", value="x")).log == ("3", "x")
            assert sessions.keys() == ("3",)
            await trio.sleep(100)
            assert sessions.keys() == ()
            assert (await runtime.ref("puppet/4", Puppet).call("note", value="x")).log == ("4", "x")
            await trio.sleep(100)
            assert sessions.keys() == ()


@both
async def test_one_can_be_stopped(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60, durable=durable)
        ref = await sessions.get("k")
        await ref.call("note", value="a")
        await sessions.stop("k")
        await sessions.stop("k")
        await sessions.stop("other")
        assert sessions.keys() == ()
        again = await sessions.get("k")
        assert again.state().log == (("a",) if durable else ())


async def test_one_that_sleeps_can_be_stopped_and_does_not_come_back_by_itself() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage, epoch=EPOCH) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60)
        ref = await sessions.get("k")
        await ref.call(doing(Cron("0 * * * *", "tick", key="c")))
        await trio.sleep(100)
        assert sessions.keys() == ()
        await sessions.stop("k")
        await trio.sleep(7200)
        assert sessions.keys() == ()
    async with open_runtime(storage=storage, epoch=later(hours=5)) as runtime:
        await trio.sleep(3600)
        assert runtime.agents() == ()


@both
async def test_one_that_crashes_too_often_is_gone_until_it_is_asked_for(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, max_restarts=1, durable=durable)
        ref = await sessions.get("k")
        for _ in range(2):
            with pytest.raises(Exception, match="boom"):
                await ref.call("boom")
        assert (await ref.wait_stopped()).error is not None  # type: ignore[union-attr]
        again = await sessions.get("k")
        assert (await again.call("note", value="a")).log == ("a",)
        assert runtime.count() == 1


async def test_wrong_arguments_are_refused() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60)
        for key in ("", 7, None):
            with pytest.raises(InvalidArgument):
                await sessions.get(key)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument):
            runtime.keyed(Puppet, idle_timeout=-1)
        with pytest.raises(InvalidArgument):
            runtime.keyed(Puppet, name="a/b")
        with pytest.raises(InvalidArgument):
            runtime.keyed(Puppet, idle_timeout=61)  # the name is in use for others
    async with open_runtime() as runtime:
        with pytest.raises(InvalidSpec):
            await runtime.keyed(Puppet).get("k")


@both
async def test_a_ref_to_a_key_that_was_never_asked_for_wakes_it_too(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, durable=durable)
        assert (await runtime.ref("puppet/new", Puppet).call("note", value="a")).log == ("a",)
        assert sessions.keys() == ("new",)


async def test_a_crash_starts_its_idle_time_anew() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60)
        ref = await sessions.get("k")
        await trio.sleep(50)
        with pytest.raises(Exception, match="boom"):
            await ref.call("boom")
        await quiet(ref)
        await trio.sleep(50)
        assert sessions.keys() == ("k",)
        await trio.sleep(20)
        assert sessions.keys() == ()


assert AgentStopped


# What a ref says of one that has left.


@both
async def test_what_is_asked_of_one_that_has_left(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.keyed(Puppet, idle_timeout=60, durable=durable).get("k")
        await trio.sleep(100)
        assert runtime.agents() == ()
        assert ref.status().state == "hibernated"
        assert ref.handles("note")
        assert not ref.handles("nothing")
        await ref.resume()
        with pytest.raises(Hibernated) as caught:
            ref.state()
        assert caught.value.address == ref.address
        assert runtime.agents() == ()
        await ref.suspend()
        assert ref.status().state == "suspended"
        await trio.sleep(300)
        assert ref.status().state == "suspended"


async def test_what_needs_no_storage_comes_back_at_once() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.keyed(Puppet, idle_timeout=60, durable=False).get("k")
        await trio.sleep(100)
        ref.cast_nowait("note", value="x")
        await trio.sleep(1)
        assert ref.state().log == ("x",)
        await trio.sleep(100)
        assert (await ref.wait_for(lambda state: True)).log == ()
        stored = await runtime.keyed(Puppet, name="stored", idle_timeout=60, durable=True).get("k")
        await trio.sleep(100)
        stored.cast_nowait("note", value="x")
        await trio.sleep(1)
        assert stored.state().log == ("x",)


async def test_waiting_for_several_brings_back_those_that_need_no_storage() -> None:
    async with open_runtime() as runtime:
        sessions = runtime.keyed(Puppet, idle_timeout=60, durable=False)
        one, two = await sessions.get("one"), await sessions.get("two")
        await trio.sleep(100)
        assert set(await wait_all([one, two], lambda state: state.log == ())) == {one, two}
        await trio.sleep(100)
        async with trio.open_nursery() as nursery:
            waiting = Task(nursery, wait_any, [one, two], lambda state: state.log == ("x",))
            await trio.sleep(100)
            await two.call("note", value="x")
        assert waiting.value[0] == two


@both
async def test_one_that_leaves_and_comes_back_at_once_has_not_stopped(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime, trio.open_nursery() as nursery:
        ref = await runtime.keyed(Puppet, idle_timeout=60, durable=durable).get("k")
        waiting = Task(nursery, ref.wait_stopped)
        for _ in range(5):
            await trio.sleep(60)
            await ref.call("note", value="x")
        assert waiting.ended_at is None
        await trio.sleep(60)
        await ref.stop("now")
        await trio.sleep(1)
        assert waiting.value == Shutdown("now")


@both
async def test_to_leave_is_not_to_stop(durable: bool) -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime, trio.open_nursery() as nursery:
        ref = await runtime.keyed(Puppet, idle_timeout=60, durable=durable).get("k")
        early = Task(nursery, ref.wait_stopped)
        await trio.sleep(100)
        late = Task(nursery, ref.wait_stopped)
        await ref.call("note", value="x")
        await trio.sleep(100)
        assert early.ended_at is None
        assert late.ended_at is None
        await ref.stop("enough")
        await trio.sleep(1)
        assert early.value == late.value == Shutdown("enough")
        assert ref.status().state == "stopped"
        assert await ref.wait_stopped() == Shutdown("enough")
        await ref.stop()
        for look in (ref.suspend, lambda: ref.wait_for(lambda state: True)):
            with pytest.raises(AgentStopped):
                await look()
        assert runtime.agents() == ()


@both
async def test_whoever_waits_for_the_end_of_one_that_has_left_is_told_when_all_ends(durable: bool) -> None:
    async with trio.open_nursery() as nursery:
        async with open_runtime(storage=MemoryStorage()) as runtime:
            ref = await runtime.keyed(Puppet, idle_timeout=60, durable=durable).get("k")
            await trio.sleep(100)
            waiting = Task(nursery, ref.wait_stopped)
            with trio.move_on_after(1):
                await ref.wait_stopped()
                raise AssertionError
            assert waiting.ended_at is None
        await trio.sleep(1)
        assert isinstance(waiting.value, Shutdown)
        assert isinstance(await ref.wait_stopped(), Shutdown)
