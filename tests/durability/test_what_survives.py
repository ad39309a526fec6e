"""The lines of the tables in docs/concepts/durability.md, in their order: each has a test of its name here.

A kill is a copy of the storage as it is at that instant, which is what the process would leave behind, and a new
runtime on it. Processes that are really killed are in the crash test beside this, in tests/cli and in tests/examples.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.durability.agents import copied
from trio.testing import MockClock

from prunella import (
    Agent,
    AgentSpec,
    Ask,
    Context,
    Cron,
    Emit,
    MemoryStorage,
    Reply,
    Run,
    Schedule,
    Signal,
    SpawnAgent,
    SQLiteStorage,
    Supervisor,
    on,
    open_runtime,
)
from prunella.actions import IdempotencyKey
from prunella.agents import AgentCrashed, AgentStopped, Fenced, RestoreFailed, SpawnTask
from prunella.runtime import AgentRef, Runtime
from prunella.storage import AgentKey, CommitFailed, StorageUnavailable
from prunella.storage._sqlite_opening import connect
from prunella.testing import crash, settle
from prunella.testing.storage import Fault, FaultyStorage

PAGE = Path(__file__).parents[2] / "docs/concepts/durability.md"


class Failure(Enum):
    CRASH = "crash"
    KILL = "kill"
    STOP = "stop"
    SLEEP = "sleep"


EVERY = tuple(Failure)
of_every_kind = pytest.mark.parametrize("failure", EVERY, ids=lambda failure: failure.value)


# The world outside, and the agents.


class Outside:
    """What effects do, and whether they come to an end."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.tasks = 0
        self.is_stuck = True
        self.has_begun = trio.Event()


outside_now = Outside()


@pytest.fixture(autouse=True)
def world() -> Outside:
    outside_now.__init__()  # type: ignore[misc]  # it begins anew
    return outside_now


async def work(key: IdempotencyKey) -> str:
    outside_now.keys.append(str(key))
    outside_now.has_begun.set()
    if outside_now.is_stuck:
        await trio.sleep_forever()
    return "done"


async def stay() -> None:
    outside_now.tasks += 1
    outside_now.has_begun.set()
    await trio.sleep_forever()


class Desk(Agent, name="desk", durable=True):
    heard: tuple[str, ...] = ()
    crashes: bool = True

    @on("say")
    def say(self, word: str) -> Any:
        return self.set(heard=(*self.heard, word))

    @on("work")
    def work(self) -> Any:
        return Run(work, then="worked")

    @on("worked")
    def worked(self, result: str) -> Any:
        return self.set(heard=(*self.heard, result)), Reply(result)

    @on("send")
    def send(self, to: str) -> Any:
        return Emit("say", {"word": "sent"}, to=to)

    @on("ask")
    def ask(self, to: str) -> Any:
        return Ask(to, "work", then="worked")

    @on("later")
    def later(self, delay: float) -> Any:
        return Schedule(delay, "due", key="later")

    @on("daily")
    def daily(self) -> Any:
        return Cron("0 12 * * *", "due", key="daily")

    @on("due")
    def due(self, context: Context, scheduled_for: str | None = None) -> Any:
        when = context.now if scheduled_for is None else datetime.fromisoformat(scheduled_for)
        return self.set(heard=(*self.heard, f"{when:%d %H:%M}"))

    @on("spawn")
    def spawn(self) -> Any:
        return SpawnAgent(Desk, tag="child", id="child")

    @on("family")
    def family(self, context: Context) -> Any:
        return self.set(heard=(*self.heard, *context.children))

    @on("stay")
    def stay(self) -> Any:
        return SpawnTask(stay)

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")


TREE = Supervisor([AgentSpec(Desk), AgentSpec(Desk, "other", mailbox=1)], max_restarts=100)
EPOCH = datetime.fromisoformat("2030-01-01T00:00:00+00:00")
Before = Callable[[Runtime], Awaitable[None]]


def opened(storage: Any, *, hours: float = 0.0) -> Any:
    return open_runtime(TREE, storage=storage, epoch=EPOCH.replace(hour=int(hours)), agents=[Desk])


@asynccontextmanager
async def after(failure: Failure, before: Before, *, hours: float = 0.0) -> AsyncIterator[Runtime]:
    """A runtime after something was done and the failure has come; so many hours later, if a process had to start."""
    storage = MemoryStorage()
    async with opened(storage) as runtime:
        await before(runtime)
        if failure is Failure.KILL:
            storage = copied(storage)
        elif failure is not Failure.STOP:
            desk = runtime.ref("desk", Desk)
            if failure is Failure.CRASH:
                await crash(desk)
            else:
                await runtime.hibernate(desk, force=True)
                assert desk.status().state == "hibernated"
                await trio.sleep(hours * 3600)
                await runtime.thaw(desk)
            await resumed(runtime)
            yield runtime
            return
    async with opened(storage, hours=hours) as runtime:
        yield runtime


async def resumed(runtime: Runtime) -> None:
    """A suspension outlives a crash, and was only there to let signals wait."""
    for agent in runtime.agents():
        await agent.resume()


def heard(runtime: Runtime, id: str = "desk") -> tuple[str, ...]:
    return runtime.ref(id, Desk).state().heard


# What survives what.


@of_every_kind
async def test_the_state_after_a_call_that_has_returned(failure: Failure) -> None:
    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").call("say", word="one")

    async with after(failure, before) as runtime:
        assert heard(runtime) == ("one",)


@pytest.mark.parametrize("failure", [Failure.CRASH, Failure.KILL, Failure.STOP], ids=lambda failure: failure.value)
async def test_a_signal_whose_cast_has_returned(failure: Failure) -> None:
    async def before(runtime: Runtime) -> None:
        desk = runtime.ref("desk")
        await desk.suspend()
        await desk.cast("say", word="one")
        await desk.cast("say", word="two")

    async with after(failure, before) as runtime:
        await settle(runtime)
        assert heard(runtime) == ("one", "two")


@of_every_kind
async def test_a_signal_that_is_sent_again_with_its_id(failure: Failure) -> None:
    signal = Signal("say", {"word": "one"}, id="1")

    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").cast(signal)
        await settle(runtime)

    async with after(failure, before) as runtime:
        await runtime.ref("desk").cast(signal)
        assert (await runtime.ref("desk", Desk).call(signal)).heard == ("one",)


@of_every_kind
async def test_work_that_was_decided_and_is_not_done(failure: Failure, world: Outside) -> None:
    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").call("work")
        await world.has_begun.wait()
        world.is_stuck = False

    async with after(failure, before) as runtime:
        state = await runtime.ref("desk", Desk).wait_for(lambda desk: desk.heard)
        await settle(runtime)
        assert state.heard == heard(runtime) == ("done",)
        assert len(world.keys) > 1, "it was not begun again"
        assert set(world.keys) == {"default/-/desk/1/0"}


@of_every_kind
async def test_a_signal_to_another_durable_agent(failure: Failure) -> None:
    async def before(runtime: Runtime) -> None:
        other = runtime.ref("other")
        await other.suspend()
        await other.cast("say", word="its mailbox is full")
        await runtime.ref("desk").call("send", to="other")  # so this waits

    async with after(failure, before) as runtime:
        await settle(runtime)
        assert heard(runtime, "other") == ("its mailbox is full", "sent")


@of_every_kind
async def test_a_schedule(failure: Failure) -> None:
    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").call("later", delay=1800.0)

    async with after(failure, before, hours=2) as runtime:
        state = await runtime.ref("desk", Desk).wait_for(lambda desk: desk.heard)
        assert state.heard == ("01 00:30" if failure in (Failure.CRASH, Failure.SLEEP) else "01 02:00",)
        await trio.sleep(3600)
        assert heard(runtime) == state.heard


@of_every_kind
async def test_a_cron_job(failure: Failure) -> None:
    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").call("daily")

    async with after(failure, before, hours=14) as runtime:
        desk = runtime.ref("desk", Desk)
        assert (await desk.wait_for(lambda state: state.heard)).heard == ("01 12:00",)
        [info] = desk.schedules()
        assert (info.key, f"{info.due:%d %H:%M}") == ("daily", "02 12:00")


@of_every_kind
async def test_a_task_that_stays(failure: Failure, world: Outside) -> None:
    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").call("stay")
        await world.has_begun.wait()

    async with after(failure, before):
        await trio.sleep(1)
        assert world.tasks == 2


@of_every_kind
async def test_a_child(failure: Failure) -> None:
    async def before(runtime: Runtime) -> None:
        await runtime.ref("desk").call_settled("spawn")
        await runtime.ref("child").call("say", word="one")

    async with after(failure, before) as runtime:
        assert (await runtime.ref("child", Desk).call("say", word="two")).heard == ("one", "two")
        assert (await runtime.ref("desk", Desk).call("family")).heard == ("child",)
        assert runtime.ref("child").status().state == "running"


# Who waits.


async def test_who_waits_for_a_call_or_an_ask_when_it_crashes(world: Outside) -> None:
    async with opened(MemoryStorage()) as runtime, trio.open_nursery() as nursery:
        desk = runtime.ref("desk")
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await desk.ask("work"))

        nursery.start_soon(ask)
        await world.has_begun.wait()
        world.is_stuck = False
        with pytest.raises(AgentCrashed):
            await desk.call("boom")
        await settle(runtime)
        assert answers == ["done"]  # its work has begun again, and the caller is still there


async def test_who_waits_when_the_process_ends_in_order(world: Outside) -> None:
    errors: list[Exception] = []
    async with trio.open_nursery() as nursery:
        async with opened(MemoryStorage()) as runtime:
            desk = runtime.ref("desk")

            async def ask() -> None:
                try:
                    await desk.ask("work")
                except AgentStopped as error:
                    errors.append(error)

            nursery.start_soon(ask)
            await world.has_begun.wait()
    assert [type(error) for error in errors] == [AgentStopped]


# What ends more than a process.


def test_the_machine_loses_its_power(tmp_path: Path) -> None:
    writer, reader = connect(tmp_path / "agents.db")
    try:
        assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert writer.execute("PRAGMA synchronous").fetchone() == (2,), "what is acknowledged is not on the disk"
    finally:
        writer.close()
        reader.close()


@pytest.fixture
def thread_clock() -> MockClock:
    """Nothing jumps while a thread is at work on a database."""
    return MockClock(autojump_threshold=0.5)


async def test_another_process_takes_over(tmp_path: Path, thread_clock: MockClock, world: Outside) -> None:
    # Two storages on one file, as of two processes.
    async with opened(SQLiteStorage(tmp_path / "agents.db")) as first:
        old = first.ref("desk")
        await old.call("say", word="one")
        await old.call("work")
        async with opened(SQLiteStorage(tmp_path / "agents.db")) as second:
            new = second.ref("desk", Desk)
            assert (await new.call("say", word="two")).heard == ("one", "two")
            with pytest.raises(Fenced):
                await old.call("say", word="three")
            with pytest.raises(Fenced):
                await old.call("say", word="four")
            assert (await new.call("say", word="five")).heard == ("one", "two", "five")
            assert old.status().restarts == 0


async def test_the_storage_does_not_answer() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        desk = runtime.ref("desk", Desk)
        await desk.call("say", word="one")
        storage.faults.append(Fault("append", "lost_answer"))
        try:
            assert (await desk.call("say", word="two")).heard == ("one", "two")
        except CommitFailed as error:
            assert error.in_doubt
        assert (await desk.call("say", word="three")).heard == ("one", "two", "three")


async def test_the_storage_is_away() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        desk = runtime.ref("desk", Desk)
        await desk.call("say", word="one")
        away = [Fault(method, "unavailable", call=None) for method in ("append", "load", "enqueue")]
        storage.faults.extend(away)
        with pytest.raises((StorageUnavailable, CommitFailed)):
            await desk.call("say", word="two")
        with pytest.raises((StorageUnavailable, CommitFailed)):
            await desk.cast("say", word="three")
        assert desk.state().heard == ("one",)
        for fault in away:
            storage.faults.remove(fault)
        await trio.sleep(10)
        assert (await desk.call("say", word="four")).heard == ("one", "four")
        assert desk.status().restarts == 0


async def test_what_is_stored_cannot_be_read() -> None:
    class Older(Agent, name="desk", durable=True, version=2):
        """What a later release has left behind."""

    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Older, "desk"), storage=storage):
        pass
    async with opened(storage) as runtime:
        desk: AgentRef[Desk] = runtime.ref("desk", Desk)
        assert desk.status().state == "quarantined"
        with pytest.raises(RestoreFailed):
            await desk.call("say", word="one")
        with pytest.raises(RestoreFailed):
            await desk.cast("say", word="one")
        assert (await runtime.ref("other", Desk).call("say", word="one")).heard == ("one",)
    async with storage:
        record = await storage.find(AgentKey("default", None, "desk"))
        assert record is not None
        assert record.sequence == 0
        snapshot = await storage.snapshot(record.key)
        assert snapshot is not None
        assert snapshot.version == 2, "what could not be read was written over"


async def test_a_signal_crashes_its_agent_again_and_again() -> None:
    async with opened(MemoryStorage()) as runtime:
        desk = runtime.ref("desk", Desk)
        await desk.cast("boom")
        await desk.cast("say", word="behind it")
        await desk.wait_for(lambda state: state.heard)
        await settle(runtime)
        assert heard(runtime) == ("behind it",)
        [letter] = await runtime.dead_letters(desk)
        assert (letter.signal.type, letter.deliveries) == ("boom", 2)


# The page.


def lines_of_the_page() -> list[str]:
    """The first cells of its tables, as the names of tests."""
    cells = re.findall(r"^\| (?!-)\*\*(.+?)\*\*", PAGE.read_text(), re.M)
    return ["test_" + re.sub(r"\W+", "_", cell.replace("`", "").lower()).strip("_") for cell in cells]


def test_each_line_of_the_page_has_a_test_and_each_test_a_line() -> None:
    names = [name for name in globals() if name.startswith("test_") and "_of_the_page_" not in name]
    assert lines_of_the_page() == names
