"""The pytest plugin: strict mode, and the fixtures `runtime`, `signals` and `clock`.

pytest loads it in every session of an environment that prunella is installed in, also where nobody uses it. So it
imports next to nothing by itself, and pytest-trio is asked for only by tests that use its fixtures.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Generator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from trio.testing import MockClock

    from ..runtime import Runtime
    from ._published import PublishedSignals

__all__ = ["clock", "runtime", "runtime_options", "signals"]

_STRICT: Final = "PRUNELLA_STRICT"
_strict_is_ours: Final = pytest.StashKey[bool]()

_runtime_of_test: Final = pytest.StashKey[Any]()

_EPOCH: Final = datetime(2030, 1, 1, tzinfo=UTC)
_RECORDED: Final = 10_000


def pytest_configure(config: pytest.Config) -> None:
    """Turns strict mode on for the session, unless the user has said something about it."""
    config.stash[_strict_is_ours] = _STRICT not in os.environ
    os.environ.setdefault(_STRICT, "1")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leaves the environment as it was."""
    if config.stash.get(_strict_is_ours, False):
        os.environ.pop(_STRICT, None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tells of a test that has failed what its agents did last."""
    report = yield
    runtime = item.stash.get(_runtime_of_test, None)
    if report.failed and runtime is not None:
        from ._last_turns import last_turns

        if text := last_turns(runtime):
            report.sections.append(("last turns of agents", text))
    return report


@pytest.fixture
def clock() -> MockClock:
    """Trio's clock of a test that uses `runtime`: it jumps to what comes next as soon as everybody waits.

    So a test of an hour takes no time. For work that waits for something outside of Trio (a thread, a server) it must
    not jump at once: set its `autojump_threshold` to real seconds, or override the fixture.
    """
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0)


@pytest.fixture
def runtime_options() -> Mapping[str, Any]:
    """The arguments of `open_runtime` for the fixture `runtime`: override it to give a tree, an epoch, executors."""
    return {}


@pytest.fixture
def _on_the_clock(request: pytest.FixtureRequest, clock: Any) -> None:
    """Lets the test run on `clock`; pytest-trio by itself looks only at what the test function itself asks for."""
    marker = request.node.get_closest_marker("trio")
    if marker is None or not request.config.pluginmanager.hasplugin("trio"):
        pytest.fail(
            f"the fixtures of prunella are for async tests that pytest-trio runs: install prunella[testing], and mark "
            f"{request.node.name} with @pytest.mark.trio or set trio_mode = true",
            pytrace=False,
        )
    import trio

    # The one that the user has chosen, by the marker or for all tests.
    run = next((run for mark in request.node.iter_markers("trio") if (run := mark.kwargs.get("run"))), trio.run)

    def run_on_the_clock(*args: Any, clock: Any = None, **options: Any) -> Any:
        return run(*args, clock=ours if clock is None else clock, **options)

    ours = clock
    request.node.add_marker(pytest.mark.trio(run=run_on_the_clock), append=False)


@pytest.fixture
async def _opened(
    request: pytest.FixtureRequest, _on_the_clock: None, runtime_options: Mapping[str, Any]
) -> AsyncIterator[tuple[Runtime, PublishedSignals]]:
    from ..runtime import open_runtime
    from ._published import MOST_SIGNALS, PublishedSignals

    opening: Any = open_runtime(**{"epoch": _EPOCH, "recorder": _RECORDED, **runtime_options})
    # Subscribed before it is opened, so that nothing is missed that the first agents publish when they start.
    runtime: Runtime = opening._runtime
    runtime.recorder.keeps_durable = True
    request.node.stash[_runtime_of_test] = runtime
    async with runtime.subscribe("**", buffer=MOST_SIGNALS) as stream, opening:
        yield runtime, PublishedSignals(runtime, stream)


@pytest.fixture
def runtime(_opened: tuple[Runtime, PublishedSignals]) -> Runtime:
    """An open runtime: on the mock clock, at the beginning of 2030, in strict mode, with a recorder of its events.

    It is empty, unless `runtime_options` gives a tree: start agents with `runtime.start_agent`. If the test fails, its
    report shows the last turns of agents that are durable, or whose spec says ``debug=True``.
    """
    return _opened[0]


@pytest.fixture
def signals(_opened: tuple[Runtime, PublishedSignals]) -> PublishedSignals:
    """Everything that was published in `runtime`, from its first moment on."""
    return _opened[1]
