"""Under random faults: each target has exactly one outcome, its order holds, nothing runs after its deadline."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from prunella import Signal
from prunella.dispatch import (
    CircuitBreaker,
    DispatchError,
    DispatchFailed,
    DispatchStarted,
    DispatchStopped,
    HTTPTarget,
    open_dispatcher,
)

from .http_server import Answer, HTTPServer
from .scripted import ScriptedClient

STEP = st.one_of(
    st.sampled_from([200, 200, 204, 404, 408, 429, 500, 503]),
    st.just("refused"),
    st.floats(0.0, 8.0),
    st.tuples(st.sampled_from([429, 503]), st.sampled_from(["1", "30", "99", "x"])),
)
CALL = st.tuples(
    st.floats(0, 5),  # seconds before it
    st.lists(st.integers(0, 5), min_size=1, max_size=5),  # targets
    st.one_of(st.just(math.inf), st.floats(0.1, 20)),  # its deadline
    st.integers(1, 3),  # max_concurrency
)


class Local:
    """A target that takes its time, and fails now and then."""

    def __init__(self, name: int, seconds: float) -> None:
        self.name = name
        self.seconds = seconds
        self.log: list[tuple[int, float]] = []

    async def deliver(self, signal: Signal) -> None:
        self.log.append((signal.data, trio.current_time()))
        await trio.sleep(self.seconds)
        if signal.data % 3 == self.name % 3:
            raise ValueError


@settings(max_examples=60)
@given(st.lists(CALL, max_size=12), st.lists(STEP, min_size=1, max_size=20), st.integers(1, 6))
def test_whatever_goes_wrong(calls: list[Any], steps: list[Any], max_failures: int) -> None:
    trio.run(under_faults, calls, steps, max_failures, clock=MockClock(autojump_threshold=0))


async def under_faults(calls: list[Any], steps: list[Any], max_failures: int) -> None:
    locals_ = [Local(n, n * 0.7) for n in range(3)]
    remote = [HTTPTarget(f"http://{host}.org/{n}", timeout=4.0) for n, host in enumerate("aab")]
    targets: list[Any] = [*locals_, *remote]
    events: list[Any] = []
    outcomes: dict[int, Any] = {}
    deadlines: dict[int, float] = {}

    async def call(number: int, chosen: list[int], seconds: float, limit: int) -> None:
        deadlines[number] = trio.current_time() + seconds
        signal = Signal("a.b", number)
        with trio.move_on_at(deadlines[number]) as scope:
            outcomes[number] = await dispatcher.dispatch_all(
                signal, [targets[n] for n in chosen], max_concurrency=limit
            )
        if scope.cancelled_caught:
            outcomes[number] = None

    async with open_dispatcher(telemetry=[events.append], breaker=CircuitBreaker(max_failures, 10, 5)) as dispatcher:
        client = ScriptedClient(*steps).put_into(dispatcher)
        async with trio.open_nursery() as nursery:
            for number, (pause, chosen, seconds, limit) in enumerate(calls):
                await trio.sleep(pause)
                nursery.start_soon(call, number, chosen, seconds, limit)
                await trio.testing.wait_all_tasks_blocked()
        assert len(dispatcher._lanes) == 0

    for number, (_, chosen, _, _) in enumerate(calls):
        results = outcomes[number]
        if results is not None:
            assert [result.target for result in results] == [targets[n] for n in chosen]
            assert all(isinstance(result.error, DispatchError) != result.ok for result in results)
    starts = [event.span_id for event in events if isinstance(event, DispatchStarted)]
    ends = [event.span_id for event in events if isinstance(event, DispatchStopped | DispatchFailed)]
    assert len(set(starts)) == sum(len(chosen) for _, chosen, _, _ in calls)
    assert sorted(starts) == sorted(ends)

    arrivals: dict[object, list[tuple[int, float]]] = defaultdict(list)
    for local in locals_:
        arrivals[local] = local.log
    for attempt in client.attempts:
        arrivals[attempt.url].append((json.loads(attempt.body)["data"], attempt.at))
    for log in arrivals.values():
        assert [number for number, _ in log] == sorted(number for number, _ in log)
        assert all(at < deadlines[number] for number, at in log)


@pytest.mark.slow
@settings(max_examples=10)
@given(
    st.lists(
        st.builds(
            Answer,
            status=st.sampled_from([200, 202, 404, 429, 500, 503]),
            after=st.sampled_from([0.0, 0.0, 0.01, 1.0]),
            ending=st.sampled_from(["whole", "whole", "half head", "half body", "nothing", "silence"]),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_whatever_a_real_server_does(answers: list[Answer]) -> None:
    trio.run(on_loopback, answers)


async def on_loopback(answers: list[Answer]) -> None:
    server = HTTPServer(*answers)
    signals = [Signal("a.b", number) for number in range(6)]
    outcomes: list[tuple[int, str]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("prunella.dispatch._retry._FIRST_DELAY", 0.001)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            targets = [HTTPTarget(f"{server.url}/{name}", timeout=0.2) for name in "ab"]

            async def one(number: int) -> None:
                for target in targets:
                    try:
                        await dispatcher.dispatch(signals[number], target)
                    except DispatchError as error:
                        outcomes.append((number, error.reason))
                    else:
                        outcomes.append((number, "ok"))

            async with open_dispatcher() as dispatcher, trio.open_nursery() as callers:
                for number in range(len(signals)):
                    callers.start_soon(one, number)
                    await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert sorted(number for number, _ in outcomes) == sorted([*range(6), *range(6)])
    assert {reason for _, reason in outcomes} <= {"ok", "status", "timeout", "unreachable", "circuit_open"}
    for name in "ab":
        numbers = [json.loads(request.body)["data"] for request in server.requests if request.path == f"/{name}"]
        assert numbers == sorted(numbers)
