"""Sync functions: in threads, which cannot be stopped, and in processes, which can. On the real clock."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from prunella.actions import ActionError, ActionFailed, ActionTimeout, Failure, action, open_runner, run, try_run
from prunella.agents import Agent, Cancel, Run, on
from prunella.runtime import AgentSpec, open_runtime
from prunella.telemetry import Event


@action
def blocks(seconds: float) -> str:
    time.sleep(seconds)
    return threading.current_thread().name


@action
def looks() -> None:
    while True:
        time.sleep(0.001)
        trio.from_thread.check_cancelled()


async def test_a_sync_function_runs_in_a_thread() -> None:
    assert await run(blocks, {"seconds": 0.0}) != threading.current_thread().name


async def test_cancelling_answers_at_once_and_the_thread_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    events: list[Event] = []
    release = threading.Event()
    ended: list[bool] = []

    @action
    def waits() -> None:
        ended.append(release.wait(20))

    with trio.move_on_after(0.05) as scope:
        await run(waits, telemetry=[events.append])
    assert scope.cancelled_caught
    assert ended == []
    release.set()
    assert "action.unresponsive" in [event.name for event in events]
    assert "check_cancelled" in caplog.text


async def test_a_thread_that_looks_for_cancellation_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunella.actions._threads._GRACE", 10.0)  # a machine that is busy is slow
    events: list[Event] = []
    with trio.move_on_after(0.05):
        await run(looks, telemetry=[events.append])
    assert "action.unresponsive" not in [event.name for event in events]


async def test_an_unresponsive_thread_counts_until_it_ends() -> None:
    release = threading.Event()

    @action
    def waits() -> None:
        release.wait(10)

    async with open_runner(threads=1) as runner:
        outcome = await runner.try_run(waits, timeout=0.05)
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, ActionTimeout)
        assert runner.threads.borrowed_tokens == 1
        undone: list[int] = []
        outcome = await runner.try_run(waits, timeout=0.05, compensate=lambda: undone.append(1))
        # It got no thread, so there is nothing to undo.
        assert isinstance(outcome, Failure)
        assert outcome.error.compensation is None
        assert not undone
        release.set()
        while runner.threads.borrowed_tokens:  # noqa: ASYNC110 - a process tells nobody
            await trio.sleep(0.001)
        assert await runner.run(waits) is None


async def test_a_sync_function_that_returns_a_coroutine_is_found_out() -> None:
    async def later() -> int:
        return 1

    @action
    def work() -> object:
        return later()

    outcome = await try_run(work)
    assert isinstance(outcome, Failure)
    assert "asynchronous" in str(outcome.error)


# In processes


@action(cpu=True)
def square(number: int) -> int:
    return number * number


@action(cpu=True)
def spins(path: str) -> None:
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while True:
        pass


@action(cpu=True)
def dies() -> None:
    os._exit(3)


@action(cpu=True)
def fails() -> None:
    raise ActionError("from afar", retryable=True, details={"a": 1})


class Locked(ConnectionError):
    """Cannot be pickled."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.lock = threading.Lock()


@action(cpu=True)
def locked(message: str) -> None:
    raise Locked(message)


@action(cpu=True)
def local() -> None:
    class Local(ValueError):
        pass

    raise Local("of this function")


@action(cpu=True)
def locked_inside() -> None:
    raise ActionError("from afar", retryable=True) from Locked("inside")


class Odd(Exception):
    """Cannot be made anew of its arguments."""

    def __init__(self, a: int, *, b: int) -> None:
        super().__init__(f"{a} and {b}")


@action(cpu=True)
def odd() -> None:
    raise Odd(1, b=2)


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def written(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.slow
async def test_work_in_processes(tmp_path: Path) -> None:
    pytest.importorskip("trio_parallel")
    path = tmp_path / "pid"
    async with open_runner(processes=1) as runner:
        assert await runner.run(square, {"number": 3}) == 9
        with pytest.raises(ActionError, match="from afar") as caught:
            await runner.run(fails)
        assert caught.value.retryable
        assert caught.value.details == {"a": 1}
        with pytest.raises(ActionError, match=r"^dies: its worker process died \(exit code 3\)$") as caught:
            await runner.run(dies)
        assert caught.value.action == "dies"

        async def cancel_when_it_spins(scope: trio.CancelScope) -> None:
            while not written(path):  # noqa: ASYNC110 - a process tells nobody
                await trio.sleep(0.01)
            scope.cancel()

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(cancel_when_it_spins, scope)
                await runner.run(spins, {"path": str(path)})
        process = int(written(path))
        with trio.fail_after(5):
            while is_alive(process):  # noqa: ASYNC110 - a process tells nobody
                await trio.sleep(0.01)
    with trio.fail_after(10):
        assert await run(square, {"number": 4}) == 16


@pytest.mark.slow
async def test_what_cannot_leave_its_process_is_told_in_words() -> None:
    pytest.importorskip("trio_parallel")
    async with open_runner(processes=1) as runner:
        with pytest.raises(ActionFailed, match=r"^locked: Locked: no key") as caught:
            await runner.run(locked, {"message": "no key"})
        assert caught.value.retryable  # as it would be in a thread: it is a connection that failed
        assert (caught.value.action, caught.value.attempts, caught.value.__cause__) == ("locked", 1, None)
        [note] = caught.value.__notes__
        assert note.startswith("what was raised stayed in its worker process: TypeError: cannot pickle")
        with pytest.raises(ActionFailed, match=r"^local: Local: of this function") as caught:
            await runner.run(local)
        assert not caught.value.retryable
        with pytest.raises(ActionError, match=r"^from afar") as raised:
            await runner.run(locked_inside)
        assert type(raised.value) is ActionError
        assert raised.value.retryable
        assert raised.value.__notes__[0].startswith("the cause of it stayed in its worker process: TypeError")
        with pytest.raises(ActionFailed, match=r"^odd: Odd: 1 and 2") as caught:
            await runner.run(odd)
        assert isinstance(caught.value.__cause__, Odd)
        assert await runner.run(square, {"number": 3}) == 9


@action(cpu=True)
def process_id() -> int:
    return os.getpid()


class Miner(Agent, name="miner"):
    """Has work done in processes."""

    found: tuple[int, ...] = ()

    @on("look")
    def look(self) -> Any:
        return Run(process_id, then="found")

    @on("spin")
    def spin(self, path: str) -> Any:
        return Run(spins, {"path": path}, key="spinning")

    @on("enough")
    def enough(self) -> Any:
        return Cancel("spinning")

    @on("found")
    def take(self, result: int) -> Any:
        return self.set(found=(*self.found, result))


@pytest.mark.slow
async def test_the_processes_of_a_runtime_are_shared_killed_on_cancel_and_end_with_it(tmp_path: Path) -> None:
    pytest.importorskip("trio_parallel")
    path = tmp_path / "pid"
    with trio.fail_after(60):
        async with open_runtime(AgentSpec(Miner, "a")) as runtime:
            await runtime.start_agent(Miner, "b")
            for id in ("a", "b"):
                await runtime.ref(id).call_settled("look")
            states = [await runtime.ref(id, Miner).wait_for(lambda state: bool(state.found)) for id in ("a", "b")]
            [(worker,), (again,)] = [state.found for state in states]
            assert worker == again != os.getpid()
            await runtime.ref("a").call("spin", path=str(path))
            while not written(path):  # noqa: ASYNC110 - a process tells nobody
                await trio.sleep(0.01)
            await runtime.ref("a").call("enough")
            while is_alive(int(written(path))):  # noqa: ASYNC110 - a process tells nobody
                await trio.sleep(0.01)
            await runtime.ref("b").call_settled("look")
            last = (await runtime.ref("b", Miner).wait_for(lambda state: len(state.found) == 2)).found[-1]
            assert is_alive(last)
        while is_alive(last):  # noqa: ASYNC110 - a process tells nobody
            await trio.sleep(0.01)


def test_the_functions_stay_plain() -> None:
    assert square(5) == 25


async def test_what_raises_in_a_thread_is_the_cause() -> None:
    @action
    def work() -> None:
        raise KeyError("x")

    with pytest.raises(ActionFailed) as caught:
        await run(work)
    assert isinstance(caught.value.__cause__, KeyError)
