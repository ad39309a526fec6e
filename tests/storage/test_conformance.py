"""Both storages do what every storage has to do, and so does a proxy around one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from prunella.storage import MemoryStorage, SQLiteStorage, Storage
from prunella.testing.storage import CHECKS, Check, FaultyStorage


@pytest.fixture(params=["memory", "sqlite", "proxy"])
def factory(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Storage]:
    if request.param == "sqlite":
        return lambda: SQLiteStorage(tmp_path / "agents.db")
    storage = MemoryStorage()
    if request.param == "memory":
        return lambda: storage
    return lambda: FaultyStorage(storage)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_storage_does_what_every_storage_has_to(check: Check, factory: Callable[[], Storage]) -> None:
    await check(factory)
