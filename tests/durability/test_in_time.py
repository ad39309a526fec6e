"""What comes at a bad moment: while agents are read, begin, leave or stop. None of it is lost, and the order stays."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from tests.durability.agents import copied
from tests.durability.counting import Counter
from tests.durability.filmed import filmed

from prunella.agents import AgentStopped
from prunella.runtime import AgentSpec, open_runtime
from prunella.storage import MemoryStorage, StorageUnavailable
from prunella.supervision import Child, Supervisor, cleanup_scope
from prunella.testing.storage import Fault, FaultKind, FaultyStorage

A, B = AgentSpec(Counter, "a", mailbox=3), AgentSpec(Counter, "b", mailbox=3)


def opened(storage: Any, *specs: Any) -> Any:
    return open_runtime(Supervisor(specs or (A, B)), storage=storage, agents=[Counter])


async def test_what_was_decided_is_sent_to_agents_that_start_later_too() -> None:
    storage, copies = filmed()
    async with opened(storage) as runtime:
        await runtime.start_agent(Counter, "later")
        a = runtime.ref("a", Counter)
        for number in range(3):
            await a.call("count", name=f"b {number}", to="b")
            await a.call("count", name=f"later {number}", to="later")
        await trio.sleep(1)
    assert len(copies) > 10
    for killed in copies:
        async with opened(killed) as runtime:
            await trio.sleep(10)
            counted = runtime.ref("a", Counter).state().counted
            noted = [*runtime.ref("b", Counter).state().noted]
            if any(name.startswith("later") for name in counted):
                noted += (await runtime.state_at("later")).noted
            assert sorted(noted) == sorted(counted)


async def waiting(*names: str, to: str | None = None) -> MemoryStorage:
    """What a process leaves behind that was killed before agent a has handled these."""
    storage = MemoryStorage()
    async with opened(storage) as runtime:
        ref = runtime.ref("a", Counter)
        await ref.suspend()
        for name in names:
            await ref.cast("count", name=name, to=to)
        return copied(storage)


async def test_a_call_waits_behind_what_waited_when_the_process_died() -> None:
    async with opened(await waiting("x", "y")) as runtime:
        state = await runtime.ref("a", Counter).call("count", name="z")
        assert state.counted == ("x", "y", "z")


async def test_a_call_that_comes_while_an_agent_is_read_waits_behind_what_is_stored() -> None:
    storage = FaultyStorage(await waiting("x", "y"), [Fault("load", FaultKind.DELAY, call=2, delay=5)])
    async with opened(storage, B) as runtime:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.start_agent, Counter, "a")
            await trio.sleep(1)
            with trio.fail_after(10):
                state = await runtime.ref("a", Counter).call("count", name="z")
        assert state.counted == ("x", "y", "z")


async def test_what_an_agent_sends_itself_keeps_its_order_over_a_restart() -> None:
    async with opened(await waiting("x", "y", to="a")) as runtime:
        ref = runtime.ref("a", Counter)
        for name in ("z", "w"):
            await ref.cast("count", name=name, to="a")
        await trio.sleep(1)
        assert ref.state().counted == ref.state().noted == ("x", "y", "z", "w")


async def test_suspects_that_crash_hold_up_nobody() -> None:
    storage = MemoryStorage()
    async with opened(storage) as runtime:
        ref = runtime.ref("a", Counter)
        await ref.suspend()
        await ref.cast("boom", name="x")
        killed = copied(storage)
    async with opened(killed) as runtime:
        ref = runtime.ref("a", Counter)
        await trio.sleep(1)
        with trio.fail_after(1):
            assert (await ref.call("count", name="y")).counted == ("y",)
        await runtime.hibernate("a")


async def test_who_waits_for_room_is_let_in_also_if_the_agent_has_left_meanwhile() -> None:
    for steps in range(12):
        async with opened(MemoryStorage()) as runtime, trio.open_nursery() as nursery:
            ref = runtime.ref("a", Counter)
            for number in range(8):
                nursery.start_soon(partial(ref.cast, "count", name=str(number)))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.start_soon(runtime.hibernate, "a")
            await trio.sleep(1)
            state = await runtime.state_at("a")
            assert sorted(state.counted) == [str(number) for number in range(8)]


async def tidy() -> None:
    """A child that takes its time to stop."""
    try:
        await trio.sleep_forever()
    finally:
        with cleanup_scope():
            await trio.sleep(3)


async def test_effects_of_a_turn_that_is_written_while_the_agent_stops_are_done_or_stay_open() -> None:
    kept = MemoryStorage()
    storage = FaultyStorage(kept)
    async with opened(storage, Child(tidy), A, B) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a", Counter)
        storage.faults.append(Fault("append", FaultKind.DELAY, delay=1))

        async def call() -> None:
            with suppress(AgentStopped):
                await ref.call("count", name="x", to="b", works=True)

        nursery.start_soon(call)
        await trio.sleep(0.5)
        begin = trio.current_time()
        await runtime.supervisor.stop()
        assert trio.current_time() - begin < 7
    async with opened(kept) as runtime:
        await trio.sleep(10)
        state = runtime.ref("a", Counter).state()
        assert state.counted == state.worked == ("x",)
        assert runtime.ref("b", Counter).state().noted == ("x",)


async def test_an_agent_that_looks_at_what_waited_stops_at_once() -> None:
    storage = FaultyStorage(await waiting("x"), [Fault("take", FaultKind.UNAVAILABLE, call=None)])
    async with opened(storage):
        await trio.sleep(10)
        begin = trio.current_time()
    assert trio.current_time() - begin < 1


async def test_who_waits_for_an_agent_that_cannot_be_read_is_told_why() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime, trio.open_nursery() as nursery:
        storage.faults += [Fault("find", FaultKind.DELAY, delay=5), Fault("load", FaultKind.UNAVAILABLE)]

        async def start() -> None:
            with pytest.raises(StorageUnavailable):
                await runtime.start_agent(Counter, "later")

        nursery.start_soon(start)
        await trio.sleep(1)
        ref = runtime.ref("later", Counter)
        for verb in (ref.cast, ref.call):

            async def wait(verb: Any = verb) -> None:
                with pytest.raises(StorageUnavailable), trio.fail_after(10):
                    await verb("count", name="x")

            nursery.start_soon(wait)


@pytest.mark.slow
async def test_processes_that_die_one_after_another_bury_nothing_that_they_have_not_tried() -> None:
    storage = MemoryStorage()
    names = [str(number) for number in range(2_500)]
    async with opened(storage, AgentSpec(Counter, "a", mailbox=5_000)) as runtime:
        ref = runtime.ref("a", Counter)
        await ref.suspend()
        for name in names:
            await ref.cast("note", name=name)
        killed = copied(storage)
    for _ in range(4):
        async with opened(killed) as runtime:
            await runtime.ref("a").suspend()
            await trio.sleep(10)
            killed = copied(killed)
    async with opened(killed) as runtime:
        ref = runtime.ref("a", Counter)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(ref.cast, "note", name="last"))
            await trio.sleep(100)
        assert list(ref.state().noted) == [*names, "last"]
        assert await runtime.dead_letters("a") == ()
