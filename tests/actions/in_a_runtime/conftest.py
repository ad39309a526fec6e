"""All clocks here are mocked: time passes when nothing else is left to do. A test that waits for ever fails."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from tests.runtime.turns.agents import Heard, run
from trio.testing import MockClock

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run))


@pytest.fixture(autouse=True)
def not_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers run once: the puppet does what the tests hand it."""
    monkeypatch.delenv("PRUNELLA_STRICT", raising=False)


@pytest.fixture
def thread_clock() -> MockClock:
    """For tests with threads: nothing jumps while one of them is at work."""
    return MockClock(autojump_threshold=2.0)


@pytest.fixture
def heard() -> Heard:
    """Collects the events of a runtime: give it as a listener."""
    return Heard()
