"""`TaskSupervisor`: one-off work whose crash stays its own."""

from __future__ import annotations

import outcome
import pytest
import trio
from tests.supervision.trio_side.children import crash, deaf, of, some_steps, until

from prunella.supervision import (
    ChildExited,
    Crashed,
    InvalidSpec,
    Shutdown,
    SupervisionError,
    Supervisor,
    SupervisorStopped,
    TaskSupervisor,
    TooManyChildren,
    cleanup_scope,
    open_supervisor,
)


async def double(number: float) -> float:
    await trio.sleep(number)
    return 2 * number


# run()


async def test_run_returns_what_the_function_returns(autojump_clock):
    """OTP, Task.Supervisor, 5: async_nolink, the result."""
    async with open_supervisor(TaskSupervisor()) as tasks:
        assert await tasks.run(double, 3) == 6
        assert tasks.which_children() == ()


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("x", [ValueError(), KeyError()])])
async def test_run_raises_what_the_function_raises_bare(autojump_clock, error):
    """OTP, Task.Supervisor, 2: whoever awaits a task that died hears why."""

    async def bad():
        await trio.sleep(1)
        raise error

    events: list[object] = []
    async with open_supervisor(TaskSupervisor(), telemetry=[events.append]) as tasks:
        with pytest.raises(type(error)) as caught:
            await tasks.run(bad)
        assert caught.value is error
        assert await tasks.run(double, 1) == 2
    assert [event.reason for event in of(events, ChildExited) if not event.expected] == [Crashed(error)]


async def test_cancelling_the_caller_of_run_cancels_the_task_and_waits_for_it(autojump_clock):
    """OTP, Task.Supervisor, 5: async, a task that is linked to its caller."""
    journal = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(2)
                journal.append("cleaned up")

    async with open_supervisor(TaskSupervisor()) as tasks:
        before = trio.current_time()
        with trio.move_on_after(1) as scope:
            await tasks.run(cleans)
        assert scope.cancelled_caught
        assert journal == ["cleaned up"]
        assert trio.current_time() - before == pytest.approx(3)
        assert tasks.which_children() == ()


async def test_a_deaf_task_holds_its_cancelled_caller_up_no_longer_than_its_time_and_a_grace_second(autojump_clock):
    release = trio.Event()
    async with open_supervisor(TaskSupervisor()) as tasks:
        before = trio.current_time()
        with trio.move_on_after(1):
            await tasks.run(deaf, release)
        assert trio.current_time() - before == pytest.approx(1 + 5 + 1)
        release.set()


async def test_a_task_that_its_supervisor_stops_is_an_error_of_its_caller(autojump_clock):
    errors = []

    async def waits():
        try:
            await tasks.run(trio.sleep_forever)
        except SupervisionError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        async with open_supervisor(TaskSupervisor()) as tasks:
            nursery.start_soon(waits)
            await some_steps()
            (child,) = tasks.which_children()
            await tasks.terminate_child(child)
            await some_steps()
            assert len(errors) == 1
            nursery.start_soon(waits)
            await some_steps()
    assert len(errors) == 2
    assert isinstance(errors[1], SupervisorStopped)


async def test_nothing_runs_when_the_caller_is_cancelled_already(autojump_clock):
    ran = []

    async def runs():
        ran.append(1)

    async with open_supervisor(TaskSupervisor()) as tasks:
        with trio.CancelScope() as scope:
            scope.cancel()
            await tasks.run(runs)
        await some_steps()
    assert ran == []


# start_soon()


async def test_start_soon_is_plain_and_a_crash_stays_with_the_task(autojump_clock):
    """OTP, Task.Supervisor, 5: start_child, fire and forget; temporary."""
    done = []

    async def work(name):
        await trio.sleep(1)
        done.append(name)

    events: list[object] = []
    async with open_supervisor(TaskSupervisor(), telemetry=[events.append]) as tasks:
        assert tasks.start_soon(work, "a") is None
        for _ in range(10):
            tasks.start_soon(crash)
        tasks.start_soon(work, "b")
        assert tasks.count_children().specs == 12
        await trio.sleep(2)
        assert tasks.count_children().specs == 0
    assert sorted(done) == ["a", "b"]
    crashes = [event for event in of(events, ChildExited) if not event.expected]
    assert [event.reason for event in crashes] == [Crashed(ValueError("crash"))] * 10


async def test_a_task_outlives_the_scope_in_which_it_was_started(autojump_clock):
    """OTP, Task.Supervisor, 5: start_child, not linked to the caller."""
    done = []

    async def work():
        await trio.sleep(5)
        done.append(1)

    async with open_supervisor(TaskSupervisor()) as tasks:
        with trio.CancelScope() as scope:
            tasks.start_soon(work)
            scope.cancel()
            await trio.lowlevel.checkpoint()
        await trio.sleep(6)
    assert done == [1]


async def test_leaving_the_block_stops_all_tasks_at_once(autojump_clock):
    """OTP, Task.Supervisor, 5: a DynamicSupervisor for tasks, shutdown 5000."""
    ended = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(2)
                ended.append(trio.current_time() - before)

    async with open_supervisor(TaskSupervisor()) as tasks:
        for _ in range(3):
            tasks.start_soon(cleans)
        await some_steps()
        before = trio.current_time()
    assert ended == [pytest.approx(2)] * 3
    with pytest.raises(SupervisorStopped):
        tasks.start_soon(cleans)
    with pytest.raises(SupervisorStopped):
        await tasks.run(cleans)
    with pytest.raises(SupervisorStopped):
        async with tasks.map(double, [1], max_concurrency=1) as results:
            [result async for result in results]


async def test_max_children(autojump_clock):
    """OTP, Task.Supervisor, 5: max_children."""
    async with open_supervisor(TaskSupervisor(max_children=2)) as tasks:
        tasks.start_soon(double, 5)
        tasks.start_soon(double, 5)
        with pytest.raises(TooManyChildren):
            tasks.start_soon(double, 5)
        with pytest.raises(TooManyChildren):
            await tasks.run(double, 5)
        await trio.sleep(6)
        assert await tasks.run(double, 1) == 2


async def test_wrong_functions_are_refused():
    async with open_supervisor(TaskSupervisor()) as tasks:
        with pytest.raises(InvalidSpec):
            tasks.start_soon("work")
        with pytest.raises(InvalidSpec):
            await tasks.run(None)
        assert tasks.which_children() == ()


async def test_a_task_supervisor_stands_among_children(autojump_clock):
    async with open_supervisor(Supervisor([TaskSupervisor(id="tasks")])) as supervisor:
        tasks = supervisor.get_child("tasks").started
        assert await tasks.run(double, 2) == 4
        following = supervisor.supervisor("tasks")
        assert await following.run(double, 2) == 4
        await tasks.stop()
        await until(lambda: supervisor.get_child("tasks").restarts == 1)
        assert await following.run(double, 1) == 2


# map()


async def test_map_gives_the_results_in_the_order_of_the_items(autojump_clock):
    """OTP, Task.Supervisor, 7: async_stream, ordered."""
    async with open_supervisor(TaskSupervisor()) as tasks:
        before = trio.current_time()
        async with tasks.map(double, [3, 1, 2], max_concurrency=3) as results:
            assert [await anext(results) for _ in range(3)] == [outcome.Value(6), outcome.Value(2), outcome.Value(4)]
            with pytest.raises(StopAsyncIteration):
                await anext(results)
        assert trio.current_time() - before == pytest.approx(3)


async def test_map_can_give_them_as_they_are_done(autojump_clock):
    """OTP, Task.Supervisor, 7: async_stream, not ordered."""
    async with open_supervisor(TaskSupervisor()) as tasks:
        times = []
        async with tasks.map(double, [3, 1, 2], max_concurrency=3, ordered=False) as results:
            before = trio.current_time()
            values = []
            async for result in results:
                values.append(result.unwrap())
                times.append(trio.current_time() - before)
        assert values == [2, 4, 6]
        assert times == [pytest.approx(1), pytest.approx(2), pytest.approx(3)]


async def test_the_crash_of_one_item_is_its_result_and_touches_no_other(autojump_clock):
    """OTP, Task.Supervisor, 7: async_stream_nolink."""

    async def picky(number):
        await trio.sleep(1)
        if number == 2:
            raise ValueError("not two")
        return number

    async with open_supervisor(TaskSupervisor()) as tasks:
        async with tasks.map(picky, [1, 2, 3], max_concurrency=1) as results:
            outcomes = [result async for result in results]
    assert outcomes[0] == outcome.Value(1)
    assert outcomes[2] == outcome.Value(3)
    with pytest.raises(ValueError, match="not two"):
        outcomes[1].unwrap()


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("most", [1, 2, 5])
async def test_no_more_than_max_concurrency_run_at_once(autojump_clock, most, ordered):
    """OTP, Task.Supervisor, 7: max_concurrency."""
    running = []
    peak = []

    async def counts(number):
        running.append(number)
        peak.append(len(running))
        await trio.sleep(1 + number % 3)
        running.remove(number)
        return number

    async with open_supervisor(TaskSupervisor()) as tasks:
        async with tasks.map(counts, range(12), max_concurrency=most, ordered=ordered) as results:
            values = [result.unwrap() async for result in results]
    assert sorted(values) == list(range(12))
    if ordered:
        assert values == list(range(12))
    assert max(peak) == most


@pytest.mark.parametrize("ordered", [True, False])
async def test_input_is_drawn_only_when_there_is_room(autojump_clock, ordered):
    """OTP, Task.Supervisor, 7: max_concurrency is the back-pressure."""
    drawn = []

    def items():
        for number in range(100):
            drawn.append(number)
            yield number

    async def quick(number):
        return number

    async with open_supervisor(TaskSupervisor()) as tasks:
        async with tasks.map(quick, items(), max_concurrency=3, ordered=ordered) as results:
            await trio.sleep(10)
            assert len(drawn) <= 3
            for taken in range(1, 10):
                await anext(results)
                await trio.sleep(1)
                assert len(drawn) <= 3 + taken
        assert len(drawn) < 20


async def test_an_endless_input_is_fine(autojump_clock):
    """OTP, Task.Supervisor, 7: lazy."""

    def endless():
        number = 0
        while True:
            yield number
            number += 1

    async with open_supervisor(TaskSupervisor()) as tasks:
        values = []
        async with tasks.map(double, endless(), max_concurrency=2) as results:
            async for result in results:
                values.append(result.unwrap())
                if len(values) == 5:
                    break
        assert values == [0, 2, 4, 6, 8]
        assert tasks.which_children() == ()


async def test_leaving_early_cancels_what_runs_and_waits_for_it(autojump_clock):
    """OTP, Task.Supervisor, 7: halting the stream early."""
    ended = []

    async def cleans(number):
        try:
            await trio.sleep(100)
        finally:
            with cleanup_scope():
                await trio.sleep(2)
                ended.append(number)

    async with open_supervisor(TaskSupervisor()) as tasks:
        before = trio.current_time()
        async with tasks.map(cleans, range(10), max_concurrency=3):
            await trio.sleep(1)
        assert sorted(ended) == [0, 1, 2]
        assert trio.current_time() - before == pytest.approx(3)
        assert tasks.which_children() == ()


@pytest.mark.parametrize("how", ["error", "cancel"])
async def test_leaving_by_an_error_or_a_cancel_waits_too_and_it_comes_out_as_it_is(autojump_clock, how):
    ended = []

    async def cleans(number):
        try:
            await trio.sleep(100)
        finally:
            with cleanup_scope():
                await trio.sleep(2)
                ended.append(number)

    error = ValueError("mine")
    async with open_supervisor(TaskSupervisor()) as tasks:
        with trio.move_on_after(1) as scope:
            try:
                async with tasks.map(cleans, range(10), max_concurrency=3) as results:
                    if how == "error":
                        await some_steps()
                        raise error
                    await anext(results)
            except ValueError as caught:
                assert caught is error
        assert scope.cancelled_caught == (how == "cancel")
        assert sorted(ended) == [0, 1, 2]


async def test_an_error_of_the_input_comes_out(autojump_clock):
    def items():
        yield 1
        raise LookupError("no more")

    async with open_supervisor(TaskSupervisor()) as tasks:
        with pytest.raises(LookupError, match="no more"):
            async with tasks.map(double, items(), max_concurrency=1) as results:
                async for _ in results:
                    pass
        assert tasks.which_children() == ()


async def test_no_items_no_results(autojump_clock):
    async with open_supervisor(TaskSupervisor()) as tasks:
        async with tasks.map(double, [], max_concurrency=1) as results:
            assert [result async for result in results] == []


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "x", None])
async def test_a_wrong_max_concurrency_is_refused(wrong):
    async with open_supervisor(TaskSupervisor()) as tasks:
        with pytest.raises(InvalidSpec, match="max_concurrency"):
            async with tasks.map(double, [], max_concurrency=wrong):
                pytest.fail("entered")


async def test_max_concurrency_must_be_said():
    async with open_supervisor(TaskSupervisor()) as tasks:
        with pytest.raises(TypeError):
            async with tasks.map(double, []):
                pytest.fail("entered")


async def test_the_supervisor_can_be_stopped_in_the_middle_of_a_map(autojump_clock):
    """OTP, Task.Supervisor, 3: a task that is shut down."""
    outcomes = []

    async def maps(tasks):
        async with tasks.map(double, [100, 100], max_concurrency=2) as results:
            async for result in results:
                outcomes.append(result)

    async with trio.open_nursery() as nursery:
        async with open_supervisor(TaskSupervisor()) as tasks:
            nursery.start_soon(maps, tasks)
            await trio.sleep(1)
    assert [type(result) for result in outcomes] == [outcome.Error, outcome.Error]
    assert all(isinstance(result.error, SupervisorStopped) for result in outcomes)
    assert await tasks.wait_stopped() == Shutdown()
