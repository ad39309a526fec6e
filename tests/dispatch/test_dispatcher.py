from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella import InvalidArgument, Signal
from prunella.dispatch import (
    Dispatcher,
    DispatchError,
    DispatchResult,
    FunctionTarget,
    LoggerTarget,
    NoopTarget,
    open_dispatcher,
)

SIGNAL = Signal("a.b", {"x": 1})


def numbered(count: int) -> list[Signal]:
    return [Signal("a.b", n) for n in range(count)]


class Slow:
    """A target that takes a second for each signal."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.got: list[Any] = []
        self.running = 0

    async def deliver(self, signal: Signal) -> None:
        self.running += 1
        assert self.running == 1, "two at a time"
        try:
            await trio.sleep(self.seconds)
        finally:
            self.running -= 1
        self.got.append(signal.data)


# One target.


async def test_dispatch_returns_when_the_signal_has_arrived(autojump_clock: MockClock) -> None:
    slow = Slow()
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, slow)
        assert slow.got == [SIGNAL.data]


async def test_dispatch_to_what_cannot_be_sent_to_is_refused_at_once() -> None:
    async with open_dispatcher() as dispatcher:
        with pytest.raises(InvalidArgument):
            await dispatcher.dispatch(SIGNAL, 42)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument):
            await dispatcher.dispatch("signal", print)  # type: ignore[arg-type]


async def test_signals_to_one_target_arrive_in_the_order_of_the_calls(autojump_clock: MockClock) -> None:
    slow = Slow()
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        for signal in numbered(20):
            nursery.start_soon(dispatcher.dispatch, signal, slow)
            await wait_all_tasks_blocked()
    assert slow.got == list(range(20))


async def test_a_function_and_its_target_are_the_same_target(autojump_clock: MockClock) -> None:
    slow = Slow()

    async def function(signal: Signal) -> None:
        await slow.deliver(signal)

    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        for signal, target in zip(numbered(4), [function, FunctionTarget(function)] * 2, strict=True):
            nursery.start_soon(dispatcher.dispatch, signal, target)
            await wait_all_tasks_blocked()
    assert slow.got == [0, 1, 2, 3]


async def test_other_targets_do_not_wait(autojump_clock: MockClock) -> None:
    hung, quick = Slow(1_000_000), Slow()
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.dispatch, SIGNAL, hung)
        await wait_all_tasks_blocked()
        with trio.fail_after(2):
            await dispatcher.dispatch(SIGNAL, quick)
        nursery.cancel_scope.cancel()


async def test_a_target_that_failed_is_tried_for_the_next_signal() -> None:
    got: list[object] = []

    def picky(signal: Signal) -> None:
        if signal.data == 1:
            raise ValueError
        got.append(signal.data)

    async with open_dispatcher() as dispatcher:
        for signal in numbered(3):
            try:
                await dispatcher.dispatch(signal, picky)
            except DispatchError:
                got.append("failed")
    assert got == [0, "failed", 2]


async def test_at_most_a_thousand_wait_for_a_target(autojump_clock: MockClock) -> None:
    slow, outcomes = Slow(0.001), list[str]()

    async def one(dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.dispatch(SIGNAL, slow)
        except DispatchError as error:
            outcomes.append(error.reason)
            assert error.retryable
            assert error.attempts == 0
        else:
            outcomes.append("ok")

    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        for _ in range(1_003):
            nursery.start_soon(one, dispatcher)
    assert sorted(outcomes) == ["ok"] * 1_001 + ["overloaded"] * 2
    assert len(slow.got) == 1_001


async def test_a_target_that_cannot_be_hashed_is_the_same_only_as_itself(autojump_clock: MockClock) -> None:
    class Unhashable(Slow):
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    one, other = Unhashable(), Unhashable()
    async with open_dispatcher() as dispatcher:
        with trio.fail_after(2.5):
            await dispatcher.dispatch_all(SIGNAL, [one, other, one])
    assert (len(one.got), len(other.got)) == (2, 1)


# Deadlines.


async def test_the_callers_deadline_ends_a_delivery(autojump_clock: MockClock) -> None:
    slow = Slow(10)
    async with open_dispatcher() as dispatcher:
        with trio.move_on_after(3) as scope:
            await dispatcher.dispatch(SIGNAL, slow)
        assert scope.cancelled_caught
        assert (slow.got, slow.running) == ([], 0)
        await dispatcher.dispatch(SIGNAL, slow)  # the lane is free again


async def test_who_waits_may_give_up_and_the_others_keep_their_order(autojump_clock: MockClock) -> None:
    slow = Slow()

    async def one(dispatcher: Dispatcher, signal: Signal, deadline: float) -> None:
        with trio.move_on_at(deadline):
            await dispatcher.dispatch(signal, slow)

    begin = trio.current_time()
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        for signal, seconds in zip(numbered(5), [100, 0.5, 100, 2.5, 100], strict=True):
            nursery.start_soon(one, dispatcher, signal, begin + seconds)
            await wait_all_tasks_blocked()
    assert slow.got == [0, 2, 4]


async def test_nothing_is_delivered_by_who_was_cancelled_before() -> None:
    async with open_dispatcher() as dispatcher:
        with trio.CancelScope() as scope:
            scope.cancel()
            await dispatcher.dispatch(SIGNAL, lambda signal: pytest.fail("delivered"))
        assert scope.cancelled_caught


async def test_nothing_is_delivered_after_a_deadline_that_trio_has_not_seen_pass(mock_clock: MockClock) -> None:
    got: list[Signal] = []
    async with open_dispatcher() as dispatcher:
        with trio.move_on_after(1):
            while len(got) < 5:
                await dispatcher.dispatch(SIGNAL, got.append)
                mock_clock.jump(0.4)  # no checkpoint: what a function does that computes for long
        assert len(got) == 3


async def test_a_turn_that_comes_at_the_deadline_is_not_used(autojump_clock: MockClock) -> None:
    slow, quick = Slow(1), list[Signal]()

    async def target(signal: Signal) -> None:
        quick.append(signal)
        await slow.deliver(signal)

    async def late(dispatcher: Dispatcher) -> None:
        with trio.move_on_after(1):
            await dispatcher.dispatch(SIGNAL, target)
            assert False

    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.dispatch, SIGNAL, target)
        await wait_all_tasks_blocked()
        nursery.start_soon(late, dispatcher)
    assert len(quick) == 1


async def test_it_lets_others_run_at_least_every_64th_time() -> None:
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await trio.lowlevel.checkpoint()
                ticks += 1

        nursery.start_soon(tick)
        await trio.lowlevel.checkpoint()
        before = ticks
        for _ in range(64 * 20):
            await dispatcher.dispatch(SIGNAL, NoopTarget())
        assert ticks - before >= 19  # the last may come after the end
        nursery.cancel_scope.cancel()


async def test_it_lets_others_run_after_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("prunella._time._pace.perf_counter", lambda: now)
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, NoopTarget())
        with trio.testing.assert_no_checkpoints():
            await dispatcher.dispatch(SIGNAL, NoopTarget())
        now = 0.0011
        with trio.testing.assert_checkpoints():
            await dispatcher.dispatch(SIGNAL, NoopTarget())
        with trio.testing.assert_no_checkpoints():
            await dispatcher.dispatch(SIGNAL, NoopTarget())


# Waiting for oneself.


async def test_a_target_that_would_wait_for_itself_is_told_so() -> None:
    async with open_dispatcher() as dispatcher:
        errors: list[Exception] = []

        async def around(signal: Signal) -> None:
            try:
                await dispatcher.dispatch(signal, around)
            except InvalidArgument as error:
                errors.append(error)
            [result] = await dispatcher.dispatch_all(signal, [around])
            assert isinstance(result.error, InvalidArgument)
            await dispatcher.dispatch(signal, NoopTarget())

        with trio.fail_after(5):
            await dispatcher.dispatch(SIGNAL, around)
        assert len(errors) == 1


# Many targets.


async def test_there_is_one_result_for_each_target_in_their_order() -> None:
    got: list[Signal] = []

    def broken(signal: Signal) -> None:
        raise ValueError

    targets: list[Any] = [got.append, broken, 42, NoopTarget(), got.append]
    async with open_dispatcher() as dispatcher:
        results = await dispatcher.dispatch_all(SIGNAL, targets)
    assert [result.target for result in results] == targets
    assert [result.ok for result in results] == [True, False, False, True, True]
    assert [result.attempts for result in results] == [1, 1, 0, 1, 1]
    assert isinstance(results[1].error, DispatchError)
    assert isinstance(results[2].error, InvalidArgument)
    assert got == [SIGNAL, SIGNAL]


async def test_a_target_that_cannot_even_be_looked_at_spoils_nothing() -> None:
    class Nasty:
        async def deliver(self, signal: Signal) -> None: ...

        def __hash__(self) -> int:
            raise ZeroDivisionError

    async with open_dispatcher() as dispatcher:
        results = await dispatcher.dispatch_all(SIGNAL, [NoopTarget(), Nasty(), NoopTarget()])
        assert [result.ok for result in results] == [True, False, True]
        assert len(dispatcher._lanes) == 0


async def test_no_targets_give_no_results() -> None:
    async with open_dispatcher() as dispatcher:
        assert await dispatcher.dispatch_all(SIGNAL, []) == ()
        assert await dispatcher.dispatch_all(SIGNAL, [NoopTarget()]) == (DispatchResult(NoopTarget()),)


async def test_targets_are_served_at_the_same_time(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        with trio.fail_after(1.5):
            results = await dispatcher.dispatch_all(SIGNAL, [Slow() for _ in range(8)])
    assert all(result.ok for result in results)


@pytest.mark.parametrize("limit", [1, 3, 100])
async def test_at_no_more_than_the_limit(autojump_clock: MockClock, limit: int) -> None:
    running = most = 0

    def target() -> Callable[[Signal], Any]:
        async def function(signal: Signal) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await trio.sleep(1)
            running -= 1

        return function

    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch_all(SIGNAL, [target() for _ in range(10)], max_concurrency=limit)
    assert most == min(limit, 10)


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None])
async def test_a_limit_must_be_a_positive_int(limit: Any) -> None:
    async with open_dispatcher() as dispatcher:
        with pytest.raises(InvalidArgument):
            await dispatcher.dispatch_all(SIGNAL, [], max_concurrency=limit)


async def test_calls_with_many_targets_keep_the_order_at_each_of_them(autojump_clock: MockClock) -> None:
    targets = [Slow(0.1 * (n % 5 + 1)) for n in range(12)]
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        for number, signal in enumerate(numbered(6)):
            order = targets[number:] + targets[:number]
            nursery.start_soon(lambda s=signal, o=order: dispatcher.dispatch_all(s, o, max_concurrency=2))
            await wait_all_tasks_blocked()
    assert [target.got for target in targets] == [[0, 1, 2, 3, 4, 5]] * 12


async def test_a_busy_target_takes_no_place_from_the_others(autojump_clock: MockClock) -> None:
    busy, quick = Slow(100), Slow(1)
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        nursery.start_soon(dispatcher.dispatch, SIGNAL, busy)
        await wait_all_tasks_blocked()
        nursery.start_soon(lambda: dispatcher.dispatch_all(SIGNAL, [busy, quick], max_concurrency=1))
        await trio.sleep(2)
        assert len(quick.got) == 1
        nursery.cancel_scope.cancel()


async def test_a_cancelled_call_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    targets = [Slow() for _ in range(20)]
    async with open_dispatcher() as dispatcher:
        with trio.move_on_after(1.5) as scope:
            await dispatcher.dispatch_all(SIGNAL, targets, max_concurrency=5)
        assert scope.cancelled_caught
        assert sum(len(target.got) for target in targets) == 5
        await trio.sleep(10)
        assert sum(len(target.got) for target in targets) == 5
        assert len(dispatcher._lanes) == 0


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_comes_bare(autojump_clock: MockClock, interrupt: type[BaseException]) -> None:
    def stop(signal: Signal) -> None:
        raise interrupt

    async with open_dispatcher() as dispatcher:
        with pytest.raises(interrupt):
            await dispatcher.dispatch_all(SIGNAL, [Slow(), stop, Slow()])
        assert len(dispatcher._lanes) == 0


async def test_what_the_block_raises_comes_bare() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_dispatcher():
            raise ValueError("mine")
    with pytest.raises(ExceptionGroup) as caught:
        async with open_dispatcher():
            raise ExceptionGroup("mine too", [ValueError()])
    assert caught.value.message == "mine too"


async def test_after_the_block_nothing_is_delivered(autojump_clock: MockClock) -> None:
    slow, errors = Slow(), list[DispatchError]()

    async def late(dispatcher: Dispatcher) -> None:
        try:
            await dispatcher.dispatch(SIGNAL, slow)
        except DispatchError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with open_dispatcher() as dispatcher:
            nursery.start_soon(dispatcher.dispatch, SIGNAL, slow)
            await wait_all_tasks_blocked()
            nursery.start_soon(late, dispatcher)
            await wait_all_tasks_blocked()
        await late(dispatcher)
    assert [(error.reason, error.attempts) for error in errors] == [("closed", 0)] * 2
    assert len(slow.got) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("breaker", None),
        ("breaker", 5),
        ("allow_hosts", "example.org"),
        ("allow_hosts", 5),
        ("allow_hosts", ["https://example.org"]),
        ("allow_hosts", [""]),
        ("epoch", 0),
        ("epoch", datetime(2026, 1, 1)),
        ("secrets", {"a": "b"}),
        ("secrets", {"a": b""}),
        ("secrets", {1: b"b"}),
        ("secrets", None),
    ],
)
def test_a_wrong_argument_is_refused_at_once(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        open_dispatcher(**{field: value})
    assert caught.value.field == field


def test_a_function_for_secrets_must_not_be_async() -> None:
    async def secrets(name: str) -> bytes:
        return b""

    with pytest.raises(InvalidArgument):
        open_dispatcher(secrets=secrets)  # type: ignore[arg-type]


async def test_two_dispatchers_share_nothing(autojump_clock: MockClock) -> None:
    class Together(Slow):
        async def deliver(self, signal: Signal) -> None:
            await trio.sleep(1)

    target = Together()
    async with open_dispatcher() as one, open_dispatcher() as other, trio.open_nursery() as nursery:
        with trio.fail_after(1.5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.dispatch, SIGNAL, target)
                nursery.start_soon(other.dispatch, SIGNAL, target)


async def test_a_logger_is_a_target_like_others(caplog: pytest.LogCaptureFixture) -> None:
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, LoggerTarget("error"))
    assert len(caplog.records) == 1
