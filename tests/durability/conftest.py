"""All clocks here are mocked: time passes when nothing else is left to do. A test that waits for ever fails."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from tests.durability.agents import Heard, World, run, world

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run))


@pytest.fixture(autouse=True)
def outside() -> World:
    """The world outside, as if nothing had ever happened in it."""
    world.begin_anew()
    return world


@pytest.fixture
def heard() -> Heard:
    """Collects the events of a runtime: give it as a listener."""
    return Heard()
