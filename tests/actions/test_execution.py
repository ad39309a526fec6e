"""Deadlines, retries, undoing, cancellation: on a clock that waits for nobody."""

from __future__ import annotations

import contextvars
import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from prunella.actions import (
    ActionContext,
    ActionError,
    ActionFailed,
    ActionStarted,
    ActionStopped,
    ActionTimeout,
    Failure,
    IdempotencyKey,
    Instruction,
    InvalidAction,
    InvalidInput,
    InvalidOutput,
    Success,
    action,
    open_runner,
    parallel,
    run,
    stream,
    try_run,
)
from prunella.actions._options import Options
from prunella.actions._retry import delay_before_next
from prunella.errors import InvalidArgument
from prunella.supervision import Backoff
from prunella.telemetry import Event

STEADY = Backoff(1.0, 30.0, 2.0, jitter=0.0)


class Flaky:
    """An async function that fails as told, one attempt after another."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.times: list[float] = []

    async def __call__(self) -> str:
        self.times.append(trio.current_time())
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        return "done"


def flaky(*errors: BaseException | None, **options: Any) -> tuple[Any, Flaky]:
    inner = Flaky(*errors)

    @action(**{"backoff": STEADY, **options})
    async def work() -> str:
        return await inner()

    return work, inner


async def test_without_retries_there_is_one_attempt() -> None:
    work, _inner = flaky(ConnectionError("gone"))
    with pytest.raises(ActionFailed) as caught:
        await run(work)
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert (caught.value.attempts, caught.value.action) == (1, "work")
    assert caught.value.retryable


async def test_retries_wait_longer_and_longer(autojump_clock: trio.testing.MockClock) -> None:
    work, inner = flaky(*[ConnectionError()] * 4, retries=4)
    begun = trio.current_time()
    assert await try_run(work) == Success("done", (), 5)
    assert [time - begun for time in inner.times] == pytest.approx([0, 1, 3, 7, 15])


@pytest.mark.parametrize("error", [ValueError(), TypeError(), KeyError(), NotImplementedError(), ActionError("no")])
async def test_what_is_not_worth_it_is_not_tried_again(error: Exception) -> None:
    work, inner = flaky(error, retries=3)
    assert isinstance(await try_run(work), Failure)
    assert len(inner.times) == 1


async def test_a_hint_wins(autojump_clock: trio.testing.MockClock) -> None:
    work, _ = flaky(ActionError("busy", retryable=True), retries=1)
    assert await run(work) == "done"

    class Stubborn(ConnectionError):
        retryable = False

    work, _inner = flaky(Stubborn(), retries=1)
    assert isinstance(await try_run(work), Failure)


async def test_the_error_of_the_function_passes_unchanged() -> None:
    error = ActionError("mine", details={"a": 1})
    error.__cause__ = KeyError("why")
    work, _ = flaky(error)
    with pytest.raises(ActionError) as caught:
        await run(work)
    assert caught.value is error
    assert isinstance(error.__cause__, KeyError)


async def test_the_caller_is_never_raised_into_by_try_run() -> None:
    for error in (ValueError("x"), ExceptionGroup("x", [ValueError()]), ActionError("x")):
        work, _ = flaky(error)
        assert isinstance(await try_run(work), Failure)


async def test_a_result_of_another_type_is_no_success_and_not_tried_again() -> None:
    calls = []

    @action(retries=3)
    async def work() -> int:
        calls.append(1)
        return "1"  # type: ignore[return-value]

    with pytest.raises(InvalidOutput) as caught:
        await run(work)
    assert (caught.value.expected, caught.value.got, len(calls)) == ("int", "str", 1)


async def test_an_attempt_that_takes_too_long(autojump_clock: trio.testing.MockClock) -> None:
    calls = []

    @action(timeout=2.0, retries=3)
    async def slow() -> None:
        calls.append(trio.current_time())
        await trio.sleep(5)

    with pytest.raises(ActionTimeout) as caught:
        await run(slow)
    assert len(calls) == 1
    assert not caught.value.retryable
    assert isinstance(caught.value, TimeoutError)
    outcome = await try_run(slow, idempotent=True, backoff=STEADY, retries=2)
    assert isinstance(outcome, Failure)
    assert outcome.error.retryable
    assert outcome.error.attempts == 3


async def test_the_total_deadline_ends_attempts_and_waits(autojump_clock: trio.testing.MockClock) -> None:
    work, inner = flaky(*[ConnectionError()] * 9, retries=9, total_timeout=4.0)
    begun = trio.current_time()
    with pytest.raises(ActionFailed):
        await run(work)
    # Attempts at 0, 1, 3; the wait of 4 s does not fit, so it is not begun.
    assert trio.current_time() - begun == pytest.approx(3.0)
    assert len(inner.times) == 3

    @action(timeout=10.0, total_timeout=3.0, idempotent=True, retries=5)
    async def slow() -> None:
        await trio.sleep(5)

    begun = trio.current_time()
    with pytest.raises(ActionTimeout) as caught:
        await run(slow)
    assert trio.current_time() - begun == pytest.approx(3.0)
    assert not caught.value.retryable
    assert caught.value.attempts == 1


async def test_a_deadline_of_the_caller_is_no_timeout_of_the_action(autojump_clock: trio.testing.MockClock) -> None:
    @action(timeout=10.0)
    async def slow() -> None:
        await trio.sleep(5)

    with trio.move_on_after(1) as scope:
        await try_run(slow)
        raise AssertionError("it should have been cancelled")
    assert scope.cancelled_caught


async def test_when_both_deadlines_pass_at_once_it_is_the_callers(autojump_clock: trio.testing.MockClock) -> None:
    @action(timeout=2.0)
    async def slow() -> None:
        await trio.sleep(5)

    with trio.move_on_after(2.0) as scope:
        await try_run(slow)
        raise AssertionError("it should have been cancelled")
    assert scope.cancelled_caught


async def test_a_run_inside_a_run_inherits_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    seen = []

    @action(timeout=100.0)
    async def inner(context: ActionContext) -> None:
        seen.append(context.deadline - trio.current_time())
        await trio.sleep(50)

    @action(timeout=2.0)
    async def outer() -> None:
        await run(inner)

    with pytest.raises(ActionTimeout) as caught:
        await run(outer)
    assert caught.value.action == "outer"
    assert seen == [pytest.approx(2.0)]


async def test_without_a_limit_the_deadline_is_infinite() -> None:
    @action
    async def look(context: ActionContext) -> bool:
        return context.deadline == math.inf

    assert await run(look)


async def test_retries_do_not_multiply(autojump_clock: trio.testing.MockClock) -> None:
    calls = []

    @action(retries=2, backoff=STEADY)
    async def inner() -> None:
        calls.append(1)
        raise ConnectionError

    @action(retries=5, backoff=STEADY)
    async def outer() -> None:
        await run(inner)

    with pytest.raises(ActionFailed) as caught:
        await run(outer)
    assert len(calls) == 3
    assert caught.value.action == "inner"
    assert caught.value.retryable


async def test_an_error_that_is_raised_again_and_again_is_counted_anew(autojump_clock: trio.testing.MockClock) -> None:
    shared = ActionError("busy", retryable=True)

    @action(retries=1, backoff=STEADY)
    async def work() -> None:
        raise shared

    for _ in range(2):
        outcome = await try_run(work)
        assert isinstance(outcome, Failure)
        assert outcome.error is shared
        assert outcome.error.attempts == 2


async def test_retries_do_not_multiply_through_a_run_between(autojump_clock: trio.testing.MockClock) -> None:
    calls = []

    @action(retries=1, backoff=STEADY)
    async def inner() -> None:
        calls.append(1)
        raise ConnectionError

    @action
    async def between() -> None:
        await run(inner)

    @action(retries=3, backoff=STEADY)
    async def outer() -> None:
        await run(between)

    assert isinstance(await try_run(outer), Failure)
    assert len(calls) == 2


async def test_one_key_for_all_attempts_and_another_for_another_run(autojump_clock: trio.testing.MockClock) -> None:
    keys: list[str] = []

    @action(retries=1, backoff=STEADY)
    async def pay(key: IdempotencyKey) -> None:
        keys.append(key)
        if len(keys) == 1:
            raise ConnectionError

    await run(pay)
    await run(pay)
    await run(pay, idempotency_key="mine")
    assert keys[0] == keys[1] != keys[2]
    assert keys[3] == "mine"


# Undoing


async def test_undoing_happens_once_after_the_last_attempt(autojump_clock: trio.testing.MockClock) -> None:
    undone: list[Any] = []

    async def give_back(amount: int, error: ActionError) -> None:
        undone.append((amount, error.attempts, type(error.__cause__)))

    @action(retries=2, backoff=STEADY, compensate=give_back)
    async def take(amount: int, other: int = 0) -> None:
        raise ConnectionError

    with pytest.raises(ActionFailed) as caught:
        await run(take, {"amount": 3})
    assert undone == [(3, 3, ConnectionError)]
    assert caught.value.compensation == "completed"
    assert caught.value.retryable


async def test_undoing_after_a_timeout_has_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    undone = []

    async def undo() -> None:
        await trio.sleep(3)
        undone.append(trio.current_time())

    @action(timeout=1.0, total_timeout=2.0, compensate=undo)
    async def slow() -> None:
        await trio.sleep(9)

    with pytest.raises(ActionTimeout) as caught:
        await run(slow)
    assert len(undone) == 1
    assert caught.value.compensation == "completed"
    with pytest.raises(ActionTimeout) as caught:
        await run(slow, compensate_timeout=2.0)
    assert len(undone) == 1
    assert caught.value.compensation == "timed_out"


async def test_undoing_that_fails_keeps_the_error() -> None:
    def undo() -> None:
        raise KeyError("broken")

    work, _ = flaky(ValueError("original"), compensate=undo)
    with pytest.raises(ActionFailed) as caught:
        await run(work)
    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.compensation == "failed"
    assert "KeyError" in caught.value.__notes__[0]


async def test_nothing_is_undone_when_nothing_was_begun() -> None:
    undone: list[int] = []

    @action(compensate=lambda: undone.append(1))
    async def work(a: int) -> None: ...

    outcome = await try_run(work, {})
    assert isinstance(outcome, Failure)
    assert outcome.error.compensation is None
    with trio.CancelScope() as scope:
        scope.cancel()
        await run(work, {"a": 1})
    assert scope.cancelled_caught
    assert not undone


async def test_a_cancelled_run_is_undone_before_the_cancellation_goes_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    undone: list[Any] = []

    async def undo(error: ActionError) -> None:
        await trio.sleep(2)
        undone.append(str(error))

    @action(compensate=undo)
    async def slow() -> None:
        await trio.sleep(100)

    begun = trio.current_time()
    with trio.move_on_after(1) as scope:
        await run(slow)
    assert scope.cancelled_caught
    assert undone == ["slow: cancelled"]
    assert trio.current_time() - begun == pytest.approx(3.0)


async def test_a_cancelled_run_waits_no_longer_than_its_time_for_undoing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @action(compensate=trio.sleep_forever, compensate_timeout=2.0)
    async def slow() -> None:
        await trio.sleep(100)

    begun = trio.current_time()
    with trio.move_on_after(1):
        await run(slow)
    assert trio.current_time() - begun == pytest.approx(3.0)


async def test_a_run_cancelled_while_it_waits_for_the_next_attempt_is_undone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    undone: list[int] = []
    work, inner = flaky(ConnectionError(), retries=1, compensate=lambda: undone.append(1))
    with trio.move_on_after(0.5) as scope:
        await run(work)
    assert scope.cancelled_caught
    assert undone == [1]
    assert len(inner.times) == 1


# Limits, instructions, listeners


async def test_max_concurrency_holds_within_a_runner(autojump_clock: trio.testing.MockClock) -> None:
    now = most = 0

    @action(max_concurrency=2)
    async def work() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(1)
        now -= 1

    async with open_runner() as runner, trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(runner.run, work)
    assert most == 2
    assert not runner._places


async def test_waiting_for_a_place_counts_against_the_total(autojump_clock: trio.testing.MockClock) -> None:
    @action(max_concurrency=1)
    async def work(seconds: float) -> None:
        await trio.sleep(seconds)

    async with open_runner() as runner, trio.open_nursery() as nursery:
        nursery.start_soon(runner.run, work, {"seconds": 10.0})
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(ActionTimeout) as caught:
            await runner.run(work, {"seconds": 0.0}, total_timeout=2.0)
        assert caught.value.attempts == 0
        nursery.cancel_scope.cancel()


async def test_a_closed_runner_refuses() -> None:
    work, _ = flaky()
    async with open_runner() as runner:
        assert await runner.run(work) == "done"
    with pytest.raises(ActionError, match="closed"):
        await runner.run(work)


async def test_a_block_with_a_runner_wraps_no_exception() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_runner():
            raise ValueError("mine")


@pytest.mark.parametrize("options", [{"threads": 0}, {"processes": -1}, {"threads": True}])
async def test_limits_of_a_runner_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument):
        async with open_runner(**options):
            pass


async def test_an_instruction_brings_everything_and_the_call_wins() -> None:
    @action
    async def look(a: int, b: int = 0, *, context: ActionContext) -> tuple[Any, ...]:
        return (a, b, dict(context.values))

    order = Instruction(look, {"a": 1, "b": 2}, {"user": "u"}, {"retries": 1})
    assert await run(order) == (1, 2, {"user": "u"})
    assert await run(order, {"b": 3}, context={"user": "v"}) == (1, 3, {"user": "v"})


async def test_what_is_no_action_is_refused() -> None:
    async def plain() -> None: ...

    for thing in (plain, 3, None, "plain"):
        with pytest.raises(InvalidAction, match="is no action"):
            await run(thing)  # type: ignore[arg-type]


async def test_unknown_and_wrong_overrides_are_refused() -> None:
    work, inner = flaky()
    with pytest.raises(TypeError, match="'retry'"):
        await run(work, retry=3)
    with pytest.raises(
        InvalidArgument, match="run of work: retries must be a whole number of at least 0, got -1"
    ) as caught:
        await try_run(work, retries=-1)
    assert (caught.value.owner, caught.value.field, caught.value.got) == ("run of work", "retries", -1)
    with pytest.raises(InvalidArgument, match="run of work: compensate must be a function of parameters") as caught:
        await run(work, compensate=lambda other: None)
    assert "asks for 'other'" in str(caught.value.__cause__)
    assert not inner.times


async def test_a_parameter_in_the_place_of_an_option_is_told_where_it_goes() -> None:
    @action
    async def work(text: str) -> None: ...

    @action(open=True)
    async def takes_all(**rest: str) -> None: ...

    with pytest.raises(
        TypeError, match=r"no option 'text'; .*parameters go into a mapping: run\(work, {'text': ...}\)"
    ):
        await run(work, text="x")
    with pytest.raises(TypeError, match="parameters go into a mapping"):
        await run(takes_all, text="x")
    with pytest.raises(TypeError, match="no option 'retry'") as caught:
        await run(work, retry=3)
    assert "mapping" not in str(caught.value)


async def test_a_run_is_one_span_with_one_for_each_attempt(autojump_clock: trio.testing.MockClock) -> None:
    events: list[Event] = []

    @action(retries=1, backoff=STEADY)
    async def work(password: str) -> str:
        if len(events) < 4:
            raise ConnectionError(password)
        return password

    await run(work, {"password": "hunter2"}, context={"x": "hunter2"}, telemetry=[events.append])
    assert [event.name for event in events] == [
        "action.start",
        "action.attempt.start",
        "action.attempt.exception",
        "action.attempt.start",
        "action.attempt.stop",
        "action.stop",
    ]
    assert events[0].span_id == events[-1].span_id == events[1].parent_span_id
    assert events[1].span_id == events[2].span_id != events[3].span_id
    assert events[2].attributes["delay"] == 1.0
    assert events[1].attributes["max_attempts"] == 2
    assert "hunter2" not in repr(events)
    assert "hunter2" not in repr([event.attributes for event in events])


async def test_parameters_and_results_are_shown_when_they_are_asked_for() -> None:
    events: list[Event] = []

    @action
    async def inner(number: int) -> int:
        return number + 1

    @action
    async def outer(number: int) -> str:
        return f"is {await run(inner, {'number': number})}"

    async with open_runner(telemetry=[events.append], payloads=True) as runner:
        assert await runner.run(outer, {"number": 1}) == "is 2"
    started = [event.params for event in events if isinstance(event, ActionStarted)]
    stopped = [event.value for event in events if isinstance(event, ActionStopped)]
    assert started == [{"number": 1}, {"number": 1}]
    assert stopped == [2, "is 2"]
    assert "is 2" not in repr(events)


async def test_runs_inside_a_run_are_heard_too() -> None:
    events: list[Event] = []

    @action
    async def inner() -> None: ...

    @action
    async def outer() -> None:
        await run(inner)

    await run(outer, telemetry=[events.append])
    starts = [event for event in events if event.name == "action.start"]
    assert starts[1].parent_span_id == starts[0].span_id


async def test_a_cancelled_run_has_an_end_too(autojump_clock: trio.testing.MockClock) -> None:
    events: list[Event] = []

    @action
    async def slow() -> None:
        await trio.sleep(10)

    with trio.move_on_after(1):
        await run(slow, telemetry=[events.append])
    assert [event.name for event in events][2:] == ["action.attempt.exception", "action.exception"]
    assert events[-1].error is not None
    assert events[-1].error.type == "Cancelled"


async def test_a_listener_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    work, _ = flaky()
    assert await run(work, telemetry=[lambda event: 1 / 0]) == "done"


async def test_a_context_that_holds_itself_is_no_matter() -> None:
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic

    @action
    async def look(context: ActionContext) -> bool:
        return context.values["self"] is context.values

    assert await run(look, context=cyclic)
    with pytest.raises(InvalidArgument, match="context"):
        await run(look, context=3)  # type: ignore[arg-type]


async def test_context_variables_reach_whatever_a_run_does() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    @action
    def in_thread() -> str:
        return variable.get()

    @action
    async def in_task() -> str:
        return variable.get()

    variable.set("here")
    assert await run(parallel(in_thread, in_task)) == {"in_thread": "here", "in_task": "here"}


# Streams


@action
async def count(n: int) -> AsyncIterator[int]:
    for number in range(n):
        yield number


async def test_a_stream_gives_what_is_yielded() -> None:
    async with stream(count, {"n": 3}) as values:
        assert [value async for value in values] == [0, 1, 2]


async def test_run_refuses_a_stream_and_stream_what_is_none() -> None:
    with pytest.raises(InvalidAction, match="use stream"):
        await run(count, {"n": 1})
    work, _ = flaky()
    with pytest.raises(InvalidAction, match="use run"):
        async with stream(work):
            pass


async def test_leaving_the_block_ends_the_generator_and_is_no_failure() -> None:
    ended: list[str] = []
    events: list[Event] = []

    @action(compensate=lambda: ended.append("undone"))
    async def forever() -> AsyncIterator[int]:
        try:
            while True:
                yield len(ended)
        finally:
            ended.append("ended")

    async with stream(forever, telemetry=[events.append]) as values:
        assert await values.receive() == 0
    assert ended == ["ended"]
    assert events[-1].name == "action.stop"
    with pytest.raises(ValueError, match="mine"):
        async with stream(forever) as values:
            raise ValueError("mine")


async def test_a_generator_that_waits_is_ended_too_and_that_is_no_failure() -> None:
    ended: list[str] = []
    events: list[Event] = []

    @action(compensate=lambda: ended.append("undone"))
    async def waits() -> AsyncIterator[int]:
        yield 1
        try:
            await trio.sleep_forever()
        finally:
            ended.append("ended")

    async with stream(waits, telemetry=[events.append]) as values:
        assert await values.receive() == 1
        await trio.testing.wait_all_tasks_blocked()
    assert ended == ["ended"]
    assert [event.name for event in events][-2:] == ["action.attempt.stop", "action.stop"]


async def test_a_stream_is_never_ahead_by_more_than_one() -> None:
    made: list[int] = []

    @action
    async def eager() -> AsyncIterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    async with stream(eager) as values:
        await values.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert made == [0, 1]


async def test_the_failure_of_a_stream_is_raised_where_values_are_received(
    autojump_clock: trio.testing.MockClock,
) -> None:
    undone: list[int] = []
    begun: list[int] = []

    @action(retries=2, backoff=STEADY, compensate=lambda: undone.append(1))
    async def breaks(after: int) -> AsyncIterator[int]:
        begun.append(1)
        for number in range(after):
            yield number
        raise ConnectionError

    got = []
    with pytest.raises(ActionFailed):
        async with stream(breaks, {"after": 2}) as values:
            async for value in values:
                got.append(value)
    assert got == [0, 1]
    assert len(begun) == 1
    assert undone == [1]
    with pytest.raises(ActionFailed) as caught:
        async with stream(breaks, {"after": 0}) as values:
            await values.receive()
    assert caught.value.attempts == 3


async def test_values_of_a_stream_are_validated_and_its_time_is_limited(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @action(timeout=2.0)
    async def slow(seconds: float) -> AsyncIterator[int]:
        yield 1
        await trio.sleep(seconds)
        yield "2"  # type: ignore[misc]

    for seconds, error in ((1.0, InvalidOutput), (5.0, ActionTimeout)):
        async with stream(slow, {"seconds": seconds}) as values:
            assert await values.receive() == 1
            with pytest.raises(error):
                await values.receive()


async def test_a_stream_cancelled_from_outside_is_undone(autojump_clock: trio.testing.MockClock) -> None:
    undone: list[int] = []

    @action(compensate=lambda: undone.append(1))
    async def slow() -> AsyncIterator[int]:
        await trio.sleep(100)
        yield 1

    with trio.move_on_after(1) as scope:
        async with stream(slow) as values:
            await values.receive()
    assert scope.cancelled_caught
    assert undone == [1]


# Properties


@given(
    st.lists(st.sampled_from([0.0, 0.5, 3.0]), min_size=1, max_size=6),
    st.floats(0.1, 20.0),
    st.none() | st.floats(0.1, 5.0),
    st.integers(0, 6),
    st.floats(0.0, 5.0),
)
def test_the_total_deadline_is_never_exceeded(
    durations: list[float], total: float, timeout: float | None, retries: int, initial: float
) -> None:
    async def main() -> None:
        left = list(durations)

        @action(total_timeout=total, timeout=timeout, retries=retries, idempotent=True, backoff=Backoff(initial, 10.0))
        async def work() -> None:
            await trio.sleep(left.pop(0) if left else 0.0)
            raise ConnectionError

        begun = trio.current_time()
        outcome = await try_run(work)
        assert isinstance(outcome, Failure)
        assert outcome.error.attempts <= retries + 1
        assert trio.current_time() - begun <= total + 1e-9

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


@given(st.integers(0, 12))
def test_nothing_is_left_wherever_a_run_is_cancelled(checkpoints: int) -> None:
    open_things = 0

    @action(retries=2, backoff=Backoff(0.0, 0.0, 1.0), timeout=5.0, compensate=lambda: None)
    async def work() -> None:
        nonlocal open_things
        open_things += 1
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.lowlevel.checkpoint)
                await trio.lowlevel.checkpoint()
            raise ConnectionError
        finally:
            open_things -= 1

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_run, work)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert open_things == 0
        task = trio.lowlevel.current_task()
        assert not task.child_nurseries

    trio.run(main)


@given(st.integers(0, 10))
def test_no_place_is_kept_wherever_runs_are_cancelled(checkpoints: int) -> None:
    @action(max_concurrency=1)
    async def work() -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    @action
    async def values() -> AsyncIterator[int]:
        for number in range(3):
            yield number

    async def read(runner: Any) -> None:
        async with runner.stream(values) as received:
            async for _ in received:
                pass

    async def main() -> None:
        async with open_runner() as runner:
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(runner.run, work)
                    nursery.start_soon(read, runner)
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            assert not runner._places
            with trio.fail_after(5):
                await runner.run(work)

    trio.run(main)


def test_jitter_never_leads_beyond_the_longest_delay() -> None:
    options = Options(retries=20)
    error = ActionError("x", retryable=True)
    assert delay_before_next(error, 20, options, math.inf, 1.0) == 30.0
    assert delay_before_next(error, 20, options, math.inf, -1.0) == 15.0


@given(
    st.integers(1, 10),
    st.integers(0, 10),
    st.floats(0, 100),
    st.floats(-1, 1),
    st.booleans(),
)
def test_the_decision_about_another_attempt(
    attempts: int, retries: int, left: float, chance: float, retryable: bool
) -> None:
    options = Options(retries=retries)
    delay = delay_before_next(ActionError("x", retryable=retryable), attempts, options, left, chance)
    if delay is None:
        if retryable and attempts <= retries:
            assert left <= options.backoff.delay(attempts, chance)
    else:
        assert retryable
        assert attempts <= retries
        assert 0 <= delay < left
        assert delay <= options.backoff.maximum


async def test_a_run_whose_parameters_are_refused_is_no_event() -> None:
    events: list[Event] = []

    @action
    async def work(a: int) -> None: ...

    with pytest.raises(InvalidInput):
        await run(work, {"a": "1"}, telemetry=[events.append])
    assert events == []
