"""A storage that fails on purpose: where, when and how it is told, and else like the one that it stands around."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from prunella.errors import InvalidArgument
from prunella.signals import Signal
from prunella.storage import AgentKey, Code, Commit, CommitFailed, MemoryStorage, Storage, StorageUnavailable, Write
from prunella.testing.storage import Fault, FaultKind, FaultyStorage

NOW = datetime(2026, 1, 31, tzinfo=UTC)
KEY = AgentKey("default", None, "desk")
OTHER = AgentKey("default", None, "other")


def write(sequence: int = 1, key: AgentKey = KEY) -> Write:
    return Write(key, 1, NOW, (Commit(sequence, 1, Signal("x"), NOW, 0, Code("desk")),))


async def claimed(*faults: Fault) -> FaultyStorage:
    storage = FaultyStorage(MemoryStorage(), faults)
    await storage.open()
    for key in (KEY, OTHER):
        await storage.claim(key, Code("desk"), owner="me", now=NOW)
    return storage


def test_it_is_a_storage() -> None:
    assert isinstance(FaultyStorage(MemoryStorage()), Storage)


@pytest.mark.parametrize(
    ("kind", "error", "in_doubt", "written"),
    [
        ("unavailable", StorageUnavailable, None, 0),
        ("full_disk", CommitFailed, False, 0),
        ("lost_request", CommitFailed, True, 0),
        ("lost_answer", CommitFailed, True, 1),
        ("error_after", StorageUnavailable, None, 1),
    ],
)
async def test_a_fault_strikes_before_or_after_the_work(
    kind: str, error: type[Exception], in_doubt: bool | None, written: int
) -> None:
    storage = await claimed(Fault("append", kind))  # type: ignore[arg-type]
    with pytest.raises(error) as caught:
        await storage.append(write())
    assert getattr(caught.value, "in_doubt", None) == in_doubt
    assert (await storage.find(KEY)).sequence == written
    assert await storage.append(write(written + 1)) == (None,)


async def test_a_delay_is_on_the_clock_of_trio(autojump_clock: MockClock) -> None:
    storage = await claimed(Fault("append", "delay", delay=7.0))  # type: ignore[arg-type]
    begin = trio.current_time()
    assert await storage.append(write()) == (None,)
    assert trio.current_time() - begin == 7.0


async def test_a_fault_strikes_at_the_call_that_it_names() -> None:
    storage = await claimed(Fault("append", FaultKind.FULL_DISK, call=2))
    assert await storage.append(write(1)) == (None,)
    with pytest.raises(CommitFailed):
        await storage.append(write(2))
    assert await storage.append(write(2)) == (None,)


async def test_a_fault_may_strike_each_call_of_any_method_with_an_error_of_its_own() -> None:
    storage = await claimed()
    error = ValueError("mine")
    storage.faults.append(Fault("*", FaultKind.UNAVAILABLE, call=None, error=error))
    for call in (storage.find(KEY), storage.load(KEY), storage.append(write())):
        with pytest.raises(ValueError, match="mine"):
            await call
    storage.faults.clear()
    assert await storage.append(write()) == (None,)


async def test_a_fault_may_look_at_the_arguments() -> None:
    def is_other(args: tuple[Any, ...], _: dict[str, Any]) -> bool:
        return any(write.key == OTHER for write in args)

    storage = await claimed(Fault("append", FaultKind.FULL_DISK, call=None, when=is_other))
    assert await storage.append(write()) == (None,)
    with pytest.raises(CommitFailed):
        await storage.append(write(1, OTHER))


async def test_calls_are_remembered() -> None:
    storage = await claimed()
    await storage.find(KEY)
    assert storage.calls == ["open", "claim", "claim", "find"]


@pytest.mark.parametrize(
    ("field", "arguments"),
    [("method", ("write", "full_disk")), ("kind", ("append", "earthquake")), ("call", ("append", "full_disk", 0))],
)
def test_a_fault_that_cannot_be_is_refused(field: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidArgument, match=field):
        Fault(*arguments)
