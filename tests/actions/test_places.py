"""Places of actions with a limit: who would wait for itself hears so, everybody else waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from prunella.actions import InvalidAction, Plan, PlanFailed, Step, action, chain, open_runner, run, stream


@action(max_concurrency=1)
async def countdown(n: int) -> int:
    return 0 if n == 0 else 1 + await run(countdown, {"n": n - 1})


@action(max_concurrency=3)
async def deeper(n: int) -> int:
    return 0 if n == 0 else 1 + await run(deeper, {"n": n - 1})


async def test_an_action_that_runs_inside_of_itself_is_refused_when_there_is_no_place(
    autojump_clock: trio.testing.MockClock,
) -> None:
    assert await run(countdown, {"n": 0}) == 0
    with trio.fail_after(60):
        with pytest.raises(InvalidAction, match="countdown: it runs inside of itself, and its max_concurrency of 1"):
            await run(countdown, {"n": 1})
        assert await run(deeper, {"n": 2}) == 2
        with pytest.raises(InvalidAction, match="max_concurrency of 3"):
            await run(deeper, {"n": 3})


async def test_it_is_refused_through_others_and_through_nurseries(autojump_clock: trio.testing.MockClock) -> None:
    @action(max_concurrency=1)
    async def outer() -> None:
        await run(Plan([Step("side", aside), Step("again", chain(again))]))

    @action
    async def aside() -> None:
        await trio.sleep(5)

    @action
    async def again() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run, outer)

    with trio.fail_after(60), pytest.raises(PlanFailed) as caught:
        await run(outer)
    cause: Any = caught.value
    while cause.__cause__ is not None:
        cause = cause.__cause__
    assert "it runs inside of itself" in str(cause.exceptions[0])


async def test_a_stream_that_runs_itself_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    @action(max_concurrency=1)
    async def numbers(n: int) -> AsyncIterator[int]:
        yield n
        async with stream(numbers, {"n": n + 1}) as values:
            async for value in values:
                yield value

    with trio.fail_after(60), pytest.raises(InvalidAction, match="inside of itself"):
        async with stream(numbers, {"n": 0}) as values:
            assert await values.receive() == 0
            await values.receive()


async def test_whoever_the_run_does_not_wait_for_waits(autojump_clock: trio.testing.MockClock) -> None:
    log: list[Any] = []

    @action(max_concurrency=1)
    async def work(n: int) -> None:
        if n:
            background.start_soon(run, work, {"n": n - 1})
            await trio.sleep(1)
        log.append((n, trio.current_time()))

    with trio.fail_after(60):
        async with trio.open_nursery() as background:
            # In the very task that has opened the nursery, and in one beside it.
            await run(work, {"n": 1})
        async with trio.open_nursery() as background:
            background.start_soon(run, work, {"n": 1})
    assert [n for n, _ in log] == [1, 0, 1, 0]


async def test_others_that_hold_the_place_are_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    @action(max_concurrency=1)
    async def slow() -> float:
        await trio.sleep(1)
        return trio.current_time()

    @action
    async def both() -> list[float]:
        return [await run(slow), await run(slow)]

    async with open_runner() as runner, trio.open_nursery() as nursery:
        begun = trio.current_time()
        nursery.start_soon(runner.run, slow)
        await trio.testing.wait_all_tasks_blocked()
        assert await runner.run(both) == [begun + 2, begun + 3]


async def test_another_runner_has_other_places() -> None:
    @action(max_concurrency=1)
    async def work(n: int) -> int:
        if not n:
            return 0
        async with open_runner() as runner:
            return 1 + await runner.run(work, {"n": n - 1})

    assert await run(work, {"n": 3}) == 3


async def test_places_are_given_back_after_it_was_refused() -> None:
    async with open_runner() as runner:
        with pytest.raises(InvalidAction):
            await runner.run(countdown, {"n": 1})
        assert await runner.run(countdown, {"n": 0}) == 0
        assert not runner._places
