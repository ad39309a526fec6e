"""How many runs of an agent there are at a time, and what becomes of those that wait."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Puppet, settle

from prunella.actions import action
from prunella.agents import Cancel, Run
from prunella.runtime import AgentSpec, open_runtime
from prunella.supervision import InvalidSpec


def serial(seen: list[str]) -> Any:
    @action
    async def work(name: str) -> None:
        seen.append(f"{name} begins")
        try:
            await trio.sleep(1)
            seen.append(f"{name} ends")
        except trio.Cancelled:
            seen.append(f"{name} is cancelled")
            raise

    return work


async def test_one_place_makes_runs_strictly_serial() -> None:
    seen: list[str] = []
    work = serial(seen)
    async with open_runtime(AgentSpec(Puppet, "p", runs=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Run(work, {"name": name}) for name in "abc"])
        await ref.call("do", it=Run(work, {"name": "d"}))
        assert ref.status().effects == 4
        await trio.sleep(10)
    assert seen == [f"{name} {what}" for name in "abcd" for what in ("begins", "ends")]


@pytest.mark.parametrize("limit", [1, 3, 7])
async def test_there_are_never_more_runs_than_places_and_they_begin_in_their_order(limit: int) -> None:
    running, most, order = 0, 0, []

    @action
    async def work(number: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        order.append(number)
        await trio.sleep(1 + number % 3)
        running -= 1

    async with open_runtime(AgentSpec(Puppet, "p", runs=limit)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Run(work, {"number": number}) for number in range(20)])
        await trio.sleep(100)
    assert most == limit
    # Those that begin at once do so in any order; of the others each waits for the one before it.
    assert sorted(order[:limit]) == list(range(limit))
    for place, number in enumerate(order):
        assert abs(place - number) < limit


async def test_failures_and_streams_give_their_places_back() -> None:
    seen: list[str] = []

    @action
    async def fail() -> None:
        raise ValueError

    @action
    async def refuse(value: int) -> None: ...

    @action
    async def letters() -> AsyncIterator[str]:
        yield "a"

    async with open_runtime(AgentSpec(Puppet, "p", runs=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        runs = [Run(fail, catch="failed"), Run(refuse, {"value": "no"}, catch="failed"), Run(letters, each="item")]
        await ref.call("do", it=[*runs, Run(serial(seen), {"name": "last"})])
        await trio.sleep(5)
    assert seen == ["last begins", "last ends"]


@pytest.mark.parametrize("gone", ["b", "c"])
async def test_one_that_waits_is_cancelled_by_its_key_and_leaves_the_queue(gone: str) -> None:
    seen: list[str] = []
    work = serial(seen)
    async with open_runtime(AgentSpec(Puppet, "p", runs=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Run(work, {"name": name}, key=name, catch="failed") for name in "abc"])
        await settle()
        await ref.call("do", it=Cancel(gone))
        await settle()
        assert ref.status().effects == 2
        await trio.sleep(5)
        assert (ref.status().effects, ref.state().log) == (0, ())
    assert seen == [f"{name} {what}" for name in "abc" if name != gone for what in ("begins", "ends")]


async def test_one_that_is_called_off_before_it_waits_holds_nobody_up() -> None:
    seen: list[str] = []
    work = serial(seen)
    async with open_runtime(AgentSpec(Puppet, "p", runs=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        b = Run(work, {"name": "b"}, key="k")
        await ref.call("do", it=[Run(work, {"name": "a"}), b, Cancel("k"), Run(work, {"name": "c"})])
        await trio.sleep(5)
        await ref.call("do", it=[Run(work, {"name": "d"}, key="k"), Cancel("k"), Run(work, {"name": "e"})])
        await trio.sleep(5)
    assert seen == [f"{name} {what}" for name in "ace" for what in ("begins", "ends")]


async def test_cancelling_the_one_that_runs_lets_the_next_begin() -> None:
    seen: list[str] = []
    work = serial(seen)
    async with open_runtime(AgentSpec(Puppet, "p", runs=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Run(work, {"name": "a"}, key="k"), Run(work, {"name": "b"})])
        await settle()
        # In one turn: the second with the key cancels the first, and stands behind those that wait already.
        await ref.call("do", it=Run(work, {"name": "c"}, key="k"))
        await trio.sleep(5)
    assert seen == ["a begins", "a is cancelled", "b begins", "b ends", "c begins", "c ends"]


async def test_a_crash_cuts_those_that_wait_like_those_that_run() -> None:
    seen: list[str] = []
    work = serial(seen)
    async with open_runtime(AgentSpec(Puppet, "p", runs=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Run(work, {"name": name}, catch="failed") for name in "abc"])
        await settle()
        await ref.cast("boom")
        await ref.call("do", it=Run(work, {"name": "new"}))
        await trio.sleep(5)
        assert (ref.status().effects, ref.status().restarts, ref.state().log) == (0, 1, ())
    assert seen == ["a begins", "a is cancelled", "new begins", "new ends"]


@pytest.mark.parametrize(("shutdown", "done"), [(10.0, 3), (1.5, 1)])
async def test_a_stop_lets_those_that_wait_have_their_turn_while_there_is_time(shutdown: float, done: int) -> None:
    seen: list[str] = []
    work = serial(seen)
    async with open_runtime(AgentSpec(Puppet, "p", runs=1, shutdown=shutdown)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Run(work, {"name": name}) for name in "abc"])
        await ref.stop()
    assert sum(entry.endswith("ends") for entry in seen) == done


async def test_those_that_wait_count_in_the_outbox() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", runs=1, effects=3)) as runtime:
        ref = runtime.ref("p", Puppet)
        work = serial([])
        await ref.call("do", it=[Run(work, {"name": name}) for name in "abcd"])
        began = trio.current_time()
        await ref.cast("note")
        # One caller more than there is room for waits until there are fewer.
        assert trio.current_time() - began == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("runs", [0, -1, 1.5, None, True])
async def test_a_limit_is_a_whole_number_of_at_least_one(runs: Any) -> None:
    with pytest.raises(InvalidSpec, match="runs"):
        AgentSpec(Puppet, "p", runs=runs)
