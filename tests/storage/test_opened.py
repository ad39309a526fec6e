"""Who opens a storage and who closes it: the first and the last of those who use it, whatever their order."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given
from tests.durability.counting import Counter
from trio.testing import MockClock

from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, open_runtime
from prunella.storage import MemoryStorage, SQLiteStorage, Storage, StorageUnavailable, history, opened, state_at
from prunella.testing.storage import Fault, FaultKind, FaultyStorage


@pytest.fixture(params=["memory", "sqlite", "proxy"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "memory":
        return MemoryStorage()
    database = SQLiteStorage(tmp_path / "agents.db")
    return database if request.param == "sqlite" else FaultyStorage(database)


async def with_three_turns(storage: Storage) -> None:
    async with open_runtime(AgentSpec(Counter, "a"), storage=storage) as runtime:
        for name in ("x", "y", "z"):
            await runtime.ref("a", Counter).call("count", name=name)


def in_trio(test: Any, *args: Any) -> None:
    async def limited() -> None:
        with trio.fail_after(30):
            await test(*args)

    trio.run(limited)


def test_several_may_read_at_once(storage: Storage) -> None:
    async def test() -> None:
        await with_three_turns(storage)
        states = {}

        async def read(until: int) -> None:
            states[until] = len((await state_at(storage, Counter, "a", until=until)).counted)

        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for until in range(1, 4):
                    nursery.start_soon(read, until)
            assert states == {1: 1, 2: 2, 3: 3}
            assert not storage.is_open

    in_trio(test)


def test_a_runtime_goes_on_when_a_reader_that_was_there_before_has_ended(storage: Storage) -> None:
    async def test() -> None:
        await with_three_turns(storage)
        for checkpoints in range(4):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(state_at, storage, Counter, "a")
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                async with open_runtime(AgentSpec(Counter, "a"), storage=storage) as runtime:
                    await trio.sleep(0.02)
                    state = await runtime.ref("a", Counter).call("count", name=f"{checkpoints}")
                    assert len(state.counted) == 4 + checkpoints
            assert not storage.is_open

    in_trio(test)


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("then", ["read", "run"])
def test_a_history_that_was_left_early_closes_nothing_under_others(storage: Storage, then: str) -> None:
    async def test() -> None:
        await with_three_turns(storage)
        async for entry in history(storage, Counter, "a"):
            if entry.turn.sequence == 2:
                break
        if then == "read":
            assert (await state_at(storage, Counter, "a")).counted == ("x", "y", "z")
            return
        async with open_runtime(AgentSpec(Counter, "a"), storage=storage) as runtime:
            await trio.sleep(0.02)
            assert len((await runtime.ref("a", Counter).call("count", name="u")).counted) == 4

    in_trio(test)
    assert not storage.is_open


def test_two_runtimes_are_refused_also_if_a_reader_has_opened_it(storage: Storage) -> None:
    async def test() -> None:
        async with opened(storage):
            async with open_runtime(name="one", storage=storage):
                with pytest.raises(InvalidArgument) as refused:
                    async with open_runtime(name="two", storage=storage):
                        pass
                assert refused.value.field == "storage"
            async with open_runtime(name="two", storage=storage):  # the first has ended
                pass
            assert storage.is_open
        assert not storage.is_open
        async with storage, open_runtime(name="one", storage=storage), open_runtime(name="two", storage=storage):
            pass

    in_trio(test)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # counters cannot be copied for ever
async def test_a_copy_of_a_storage_in_use_is_not_in_use() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage):
        copy_of = copy.deepcopy(storage)
        copy_of.users.clear()
        await copy_of.close()
        async with open_runtime(storage=copy_of):
            pass
        assert not copy_of.is_open
        assert storage.is_open


async def test_if_the_first_cannot_open_it_the_second_tries() -> None:
    storage = FaultyStorage(MemoryStorage(), [Fault("open", FaultKind.UNAVAILABLE)])
    done = []

    async def use(number: int) -> None:
        try:
            async with opened(storage):
                done.append(number)
        except StorageUnavailable:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, 0)
        nursery.start_soon(use, 1)
    assert len(done) == 1
    assert not storage.is_open


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=6))
def test_it_is_open_exactly_as_long_as_somebody_uses_it(blocks: list[tuple[float, float, float]]) -> None:
    """Each block begins, lasts, and may be cancelled: also while the storage is being opened or closed."""
    storage = FaultyStorage(
        MemoryStorage(),
        [Fault("open", FaultKind.DELAY, call=None, delay=1), Fault("close", FaultKind.DELAY, call=None, delay=1)],
    )
    inside = 0

    async def use(begins: float, lasts: float, cancelled: float) -> None:
        nonlocal inside
        await trio.sleep(begins)
        with trio.move_on_after(cancelled):
            async with opened(storage):
                inside += 1
                try:
                    assert storage.is_open
                    await trio.sleep(lasts)
                    assert storage.is_open
                finally:
                    inside -= 1

    async def test() -> None:
        async with trio.open_nursery() as nursery:
            for block in blocks:
                nursery.start_soon(use, *block)
        assert inside == 0

    trio.run(test, clock=MockClock(autojump_threshold=0))
