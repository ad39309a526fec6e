from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import trio
import trio_util
from trio.testing import MockClock

from prunella import Agent, AgentSpec, Cron, Emit, MemoryStorage, Run, Schedule, on
from prunella.runtime import Runtime, open_runtime
from prunella.supervision import Backoff
from prunella.testing import crash, settle
from prunella.testing.storage import Fault, FaultyStorage


class Worker(Agent, name="worker"):
    """Works, and may hand the work on."""

    done: int = 0

    @on("work")
    def work(self, seconds: float = 0.0, further: tuple[str, ...] = ()) -> Any:
        return Run(trio.sleep, {"seconds": seconds}, then="worked", carry={"further": further})

    @on("worked")
    def worked(self, further: tuple[str, ...] = ()) -> Any:
        following = Emit("work", {"seconds": 1.0, "further": further[1:]}, to=further[0]) if further else None
        return self.set(done=self.done + 1), following

    @on("work.silently")
    def silently(self, seconds: float) -> Any:
        return Run(trio.sleep, {"seconds": seconds})

    @on("work.later")
    def later(self) -> Any:
        return Schedule(1000, "worked"), Cron("* * * * *", "worked")

    @on("crash")
    def crash(self) -> Any:
        raise ValueError


async def test_an_empty_runtime_is_quiet(runtime: Runtime) -> None:
    await settle(runtime)
    assert trio.current_time() == 0


async def test_signals_that_wait_are_handled_first(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w")
    for _ in range(500):
        await worker.cast("worked")
    await settle(runtime)
    assert worker.state().done == 500


async def test_work_ends_first_and_what_it_leads_to(runtime: Runtime) -> None:
    refs = [await runtime.start_agent(Worker, id) for id in "abc"]
    await refs[0].cast("work", seconds=60, further=("b", "c", "a"))
    await settle(runtime)
    assert [ref.state().done for ref in refs] == [2, 1, 1]
    assert trio.current_time() == 63


async def test_work_of_which_nobody_hears_ends_first(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w")
    await worker.cast("work.silently", seconds=60)
    await settle(runtime)
    assert trio.current_time() == 60
    assert worker.status().effects == 0


async def test_work_that_nobody_listens_to_ends_first(autojump_clock: MockClock) -> None:
    """A runtime without listeners and recorder makes no events."""
    async with open_runtime() as runtime:
        worker = await runtime.start_agent(Worker, "w")
        await worker.cast("work.silently", seconds=60)
        await settle(runtime)
        assert trio.current_time() == 60


async def test_work_in_threads_ends_first() -> None:
    go = threading.Event()

    class Threaded(Agent, name="threaded"):
        done: bool = False

        @on("work")
        def work(self) -> Any:
            return Run(go.wait, then="worked")

        @on("worked")
        def worked(self) -> Any:
            return self.set(done=True)

    async with open_runtime() as runtime:
        worker = await runtime.start_agent(Threaded, "w")
        await worker.cast("work")
        threading.Timer(0.05, go.set).start()
        await settle(runtime)
        assert worker.state().done


async def test_a_delayed_restart_comes_first(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w", backoff=Backoff(10, 60, 2, 0))
    await worker.cast("crash")
    await worker.cast("worked")
    await settle(runtime)
    assert worker.status().restarts == 1
    assert worker.state().done == 1
    assert trio.current_time() == 10


async def test_what_is_scheduled_is_not_waited_for(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w")
    await worker.call("work.later")
    await settle(runtime)
    assert trio.current_time() == 0
    assert len(worker.schedules()) == 2


async def test_signals_of_a_suspended_agent_are_not_waited_for(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w")
    await worker.suspend()
    await worker.cast("worked")
    await settle(runtime)
    assert worker.status().mailbox == 1


async def test_running_work_of_a_suspended_agent_is_waited_for(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w")
    await worker.cast("work", seconds=5)
    await trio.testing.wait_all_tasks_blocked()
    await worker.suspend()
    await settle(runtime)
    assert trio.current_time() == 5
    assert worker.status().mailbox == 1  # its result


async def test_other_tasks_of_the_program_may_tick_on(runtime: Runtime, nursery: trio.Nursery) -> None:
    async def tick() -> None:
        async for _ in trio_util.periodic(1):
            pass

    nursery.start_soon(tick)
    worker = await runtime.start_agent(Worker, "w")
    await worker.cast("work", seconds=10.5)
    await settle(runtime)
    assert worker.state().done == 1
    assert trio.current_time() == 10.5


async def test_tasks_that_are_about_to_send_something_come_first(runtime: Runtime, nursery: trio.Nursery) -> None:
    worker = await runtime.start_agent(Worker, "w")

    async def send() -> None:
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        await worker.cast("worked")

    nursery.start_soon(send)
    await settle(runtime)
    assert worker.state().done == 1


async def test_nothing_of_it_stays_in_the_event_loop(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    added, removed = [], []
    add, remove = trio.lowlevel.add_instrument, trio.lowlevel.remove_instrument
    monkeypatch.setattr(trio.lowlevel, "add_instrument", lambda one: (added.append(one), add(one)))
    monkeypatch.setattr(trio.lowlevel, "remove_instrument", lambda one: (removed.append(one), remove(one)))
    worker = await runtime.start_agent(Worker, "w")
    await worker.cast("work", seconds=5)
    await settle(runtime)
    assert added
    assert removed == added


async def test_it_can_be_cancelled(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w")
    await worker.cast("work", seconds=trio.current_time() + 1000)
    with pytest.raises(trio.TooSlowError), trio.fail_after(5):
        await settle(runtime)
    assert trio.current_time() == 5


async def test_waiting_takes_no_processor_time() -> None:
    async with open_runtime() as runtime:
        worker = await runtime.start_agent(Worker, "w")
        await worker.cast("work", seconds=0.3)
        began = time.thread_time()
        await settle(runtime)
        assert time.thread_time() - began < 0.15


async def test_an_agent_that_has_ended_is_not_waited_for(runtime: Runtime) -> None:
    worker = await runtime.start_agent(Worker, "w", restart="temporary")
    await worker.cast("worked")
    await crash(worker)
    await settle(runtime)
    assert runtime.count() == 0


class Kept(Worker, name="kept", durable=True):
    pass


async def test_what_a_slow_storage_has_not_written_yet_is_waited_for(clock: MockClock) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(AgentSpec(Kept), storage=storage) as runtime:
        kept = runtime.ref("kept", Kept)
        await settle(runtime)
        storage.faults.append(Fault("append", "delay", call=None, delay=5.0))
        kept.cast_nowait("worked")
        await settle(runtime)
        assert kept.state().done == 1
        assert trio.current_time() >= 10, "to store the signal, and its turn"


async def test_an_agent_that_cannot_be_read_is_not_waited_for(clock: MockClock) -> None:
    class Newer(Agent, name="kept", durable=True, version=2):
        pass

    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Newer), storage=storage) as runtime:
        await settle(runtime)
    async with open_runtime(AgentSpec(Kept), storage=storage) as runtime:
        assert runtime.ref("kept").status().state == "quarantined"
        await settle(runtime)
