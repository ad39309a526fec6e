"""When old turns go, and which of them."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from prunella.agents import Durable
from prunella.errors import InvalidArgument
from prunella.signals import Signal
from prunella.storage import AgentKey, Code, Commit, MemoryStorage, Snapshot, SQLiteStorage, Storage, Write
from prunella.storage._retention import Retention, Trim

NOW = datetime(2026, 1, 31, tzinfo=UTC)
KEY = AgentKey("default", None, "desk")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    async with MemoryStorage() if request.param == "memory" else SQLiteStorage(tmp_path / "agents.db") as storage:
        yield storage


def test_what_is_kept_for_ever_is_never_trimmed() -> None:
    retention = Retention(Durable(dedupe_for=math.inf))
    for sequence in range(0, 1000, 50):
        trim, retention = retention.after(sequence, at(sequence * 1e6))
        assert trim is None


def test_turns_are_looked_at_when_there_is_a_new_snapshot() -> None:
    retention = Retention(Durable(snapshot_every=10, keep=60, dedupe_for=30, keep_turns=5))
    found = []
    for sequence in range(31):
        trim, retention = retention.after(sequence, at(sequence))
        if trim is not None:
            found.append((sequence, trim))
    assert found == [(turn, Trim(at(turn - 60), 5, at(turn - 30))) for turn in (10, 20, 30)]


def test_an_agent_that_takes_few_turns_is_looked_at_now_and_then() -> None:
    retention = Retention(Durable(keep=6000))
    found = []
    for seconds in range(0, 2000, 10):
        trim, retention = retention.after(1, at(seconds))
        if trim is not None:
            found.append(seconds)
    assert found == [360, 720, 1080, 1440, 1800]  # a tenth of the shorter time, which is that of the ids


def test_nothing_is_deleted_before_the_first_turn() -> None:
    retention = Retention(Durable(keep=1))
    for seconds in (0, 1000):
        trim, retention = retention.after(0, at(seconds))
        assert trim is None


@given(st.floats(0, allow_nan=False), st.floats(0, allow_nan=False), st.none() | st.integers(0, 9))
def test_any_time_can_be_asked_for(keep: float, dedupe_for: float, turns: int | None) -> None:
    durable = Durable(snapshot_every=1, keep=keep, dedupe_for=dedupe_for, keep_turns=turns)
    trim, _ = Retention(durable).after(1, NOW)
    assert trim is None or (trim.before or NOW) <= NOW


@pytest.mark.parametrize("turns", [-1, True, 1.5, "1"])
def test_a_wrong_number_of_turns_is_refused(turns: object) -> None:
    with pytest.raises(InvalidArgument, match="keep_turns"):
        Durable(keep_turns=turns)  # type: ignore[arg-type]


async def test_an_agent_that_is_trimmed_as_it_asks_keeps_what_it_asks_for(storage: Storage) -> None:
    code = Code("desk")
    claim = (await storage.claim(KEY, code, owner="me", now=NOW)).claim
    retention = Retention(Durable(snapshot_every=5, keep=20, dedupe_for=12))
    for sequence in range(1, 101):
        now = at(sequence)
        turn = Commit(sequence, claim, Signal("x", id=f"s{sequence}"), now, 0, code)
        snapshot = Snapshot(sequence, now, 1, {}) if sequence % 5 == 0 else None
        assert await storage.append(Write(KEY, claim, now, (turn,), snapshot)) == (None,)
        trim, retention = retention.after(sequence, now)
        if trim is not None:
            await trim.apply(storage, KEY)
    kept = await storage.commits(KEY, after=75)
    assert [turn.sequence for turn in kept] == list(range(76, 101))
    remembered = [turn for turn in range(1, 101) if await storage.handled(KEY, f"s{turn}") is not None]
    assert remembered == list(range(88, 101))


async def test_where_a_clock_went_back_ids_are_remembered_longer(storage: Storage) -> None:
    code = Code("desk")
    claim = (await storage.claim(KEY, code, owner="me", now=NOW)).claim
    for sequence, seconds in enumerate((5, 1, 9, 2, 8), 1):
        turn = Commit(sequence, claim, Signal("x", id=f"s{sequence}"), at(seconds), 0, code)
        await storage.append(Write(KEY, claim, NOW, (turn,)))

    async def remembered() -> list[int]:
        return [turn for turn in range(1, 6) if await storage.handled(KEY, f"s{turn}") is not None]

    for bound, expected in ((2, [1, 2, 3, 4, 5]), (6, [3, 4, 5]), (9, [3, 4, 5]), (10, [])):
        await storage.trim(KEY, handled_before=at(bound))
        assert await remembered() == expected


async def test_forgetting_looks_at_nothing_that_stays(tmp_path: Path) -> None:
    """Steps of SQLite's machine tell, whatever the machine does beside it."""
    code = Code("desk")
    async with SQLiteStorage(tmp_path / "agents.db") as storage:
        claim = (await storage.claim(KEY, code, owner="me", now=NOW)).claim
        turns = [Commit(turn, claim, Signal("x", id=f"s{turn}"), at(turn), 0, code) for turn in range(1, 5001)]
        assert await storage.append(Write(KEY, claim, NOW, tuple(turns), Snapshot(4990, NOW, 1, {}))) == (None,)
        assert storage._commit is not None
        steps = 0
        await storage.trim(KEY, keep=10)  # the ids are still remembered

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        storage._commit._connection.set_progress_handler(count, 100)
        await storage.trim(KEY, keep=10, before=at(10), handled_before=at(10))
        assert await storage.handled(KEY, "s9") is None
        assert await storage.handled(KEY, "s10") is not None
        assert steps < 20  # of 100 instructions; to look at all is hundreds
