"""`cleanup_scope()`: time for a child that is cancelled, and no more than its shutdown time."""

from __future__ import annotations

import math

import pytest
import trio
from tests.supervision.trio_side.children import forever, of, some_steps, until

from prunella.supervision import (
    Child,
    ChildExited,
    Crashed,
    Killed,
    Normal,
    NotInAChild,
    Shutdown,
    ShutdownError,
    SupervisionError,
    Supervisor,
    cleanup_scope,
    open_supervisor,
)


async def stopped(child: Child, *, telemetry=()) -> float:
    """Runs a child for ten seconds, and then stops it; says how long that took."""
    async with open_supervisor(Supervisor([child]), telemetry=telemetry) as supervisor:
        await trio.sleep(10)
        before = trio.current_time()
        await supervisor.terminate_child(child.id)
        return trio.current_time() - before


async def test_a_cancelled_child_may_wait_in_it(autojump_clock):
    done = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(2)
                done.append("scope")
            done.append("after")
            await trio.lowlevel.checkpoint()
            done.append("not here")

    events: list[object] = []
    assert await stopped(Child(cleans), telemetry=[events.append]) == pytest.approx(2)
    assert done == ["scope", "after"]
    assert [event.reason for event in of(events, ChildExited)] == [Shutdown()]
    assert of(events, ShutdownError) == []


async def test_when_its_time_is_over_the_rest_of_the_block_is_skipped_and_no_error_raised(autojump_clock):
    done = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(100)
                done.append("not here")
            done.append("after")

    events: list[object] = []
    assert await stopped(Child(cleans, shutdown=3), telemetry=[events.append]) == pytest.approx(3)
    assert done == ["after"]
    assert [event.reason for event in of(events, ChildExited)] == [Killed()]
    assert [event.reason for event in of(events, ShutdownError)] == [Killed()]


async def test_the_time_counts_from_the_request_to_stop_not_from_the_scope(autojump_clock):
    done = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            with cleanup_scope() as scope:
                done.append(scope.deadline - trio.current_time())
                await trio.sleep(100)

    assert await stopped(Child(cleans, shutdown=5)) == pytest.approx(5)
    assert done == [pytest.approx(3)]


async def test_several_scopes_share_the_time(autojump_clock):
    done = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            for seconds in (2, 2, 2):
                with cleanup_scope():
                    await trio.sleep(seconds)
                    done.append(seconds)
            with cleanup_scope():
                await trio.lowlevel.checkpoint()
                done.append("not here")

    assert await stopped(Child(cleans, shutdown=5)) == pytest.approx(5)
    assert done == [2, 2]


async def test_scopes_can_be_nested(autojump_clock):
    done = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                with cleanup_scope():
                    await trio.sleep(1)
                    done.append("inner")
                await trio.sleep(1)
                done.append("outer")

    assert await stopped(Child(cleans, shutdown=5)) == pytest.approx(2)
    assert done == ["inner", "outer"]


async def test_brutal_kill_gives_no_time_but_synchronous_cleanup_runs(autojump_clock):
    done = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                done.append("before the first wait")
                await trio.lowlevel.checkpoint()
                done.append("not here")
            done.append("after")

    events: list[object] = []
    child = Child(cleans, shutdown="brutal_kill")
    assert await stopped(child, telemetry=[events.append]) == pytest.approx(0)
    assert done == ["before the first wait", "after"]
    assert [event.reason for event in of(events, ChildExited)] == [Killed()]
    assert of(events, ShutdownError) == []


async def test_brutal_kill_gives_no_time_to_a_child_that_ends_by_itself_either(autojump_clock):
    done = []

    async def cleans():
        with cleanup_scope():
            await trio.lowlevel.checkpoint()
            done.append("not here")
        done.append(trio.current_time())

    child = Child(cleans, id="c", shutdown="brutal_kill", restart="temporary")
    before = trio.current_time()
    async with open_supervisor(Supervisor([child])):
        await until(lambda: done)
    assert done == [pytest.approx(before)]


async def test_an_infinite_shutdown_time_is_a_scope_without_a_deadline(autojump_clock):
    deadlines = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope() as scope:
                deadlines.append(scope.deadline)
                await trio.sleep(10_000)

    events: list[object] = []
    assert await stopped(Child(cleans, shutdown=math.inf), telemetry=[events.append]) == pytest.approx(10_000)
    assert deadlines == [math.inf]
    assert [event.reason for event in of(events, ChildExited)] == [Shutdown()]


async def test_a_child_that_ends_by_itself_has_its_shutdown_time_from_the_first_scope_on(autojump_clock):
    times = []

    async def cleans():
        before = trio.current_time()
        await trio.sleep(7)
        for _ in range(2):
            with cleanup_scope() as scope:
                times.append(scope.deadline - before)
                await trio.sleep(2)
        with cleanup_scope():
            await trio.sleep(2)
            times.append("not here")
        times.append(trio.current_time() - before)

    events: list[object] = []
    child = Child(cleans, shutdown=5, restart="transient")
    async with open_supervisor(Supervisor([child]), telemetry=[events.append]):
        await trio.sleep(100)
    assert times == [pytest.approx(12), pytest.approx(12), pytest.approx(12)]
    assert [event.reason for event in of(events, ChildExited)] == [Normal()]


async def test_that_time_is_counted_anew_in_the_next_life(autojump_clock):
    times = []

    async def cleans():
        await trio.sleep(1)
        with cleanup_scope() as scope:
            times.append(scope.deadline - trio.current_time())
            await trio.sleep(2)
        if len(times) == 1:
            raise ValueError
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(cleans, shutdown=5)])):
        await until(lambda: len(times) == 2)
    assert times == [pytest.approx(5), pytest.approx(5)]


async def test_a_request_to_stop_shortens_it_but_never_lengthens_it(autojump_clock):
    ends = []

    async def cleans(first: float):
        with cleanup_scope() as scope:
            deadline = scope.deadline
            await trio.sleep(100)
        ends.append((trio.current_time() - before, deadline - before))

    # The scope began at 0 and lasts until 5; the request comes at 4, and its time would last until 9.
    async with open_supervisor(Supervisor([Child(cleans, 0, id="c", shutdown=5, restart="temporary")])) as supervisor:
        before = trio.current_time()
        await trio.sleep(4)
        await supervisor.terminate_child("c")
    assert ends == [(pytest.approx(5, abs=0.01), pytest.approx(5, abs=0.01))]


async def test_the_time_of_the_supervisor_above_shortens_it(autojump_clock):
    ends = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(100)
            ends.append(trio.current_time() - before)

    inner = Supervisor([Child(cleans, shutdown=50)], id="inner", shutdown=3)
    async with open_supervisor(Supervisor([inner])) as supervisor:
        await some_steps()
        before = trio.current_time()
        await supervisor.terminate_child("inner")
    assert ends == [pytest.approx(3)]


async def test_it_works_in_tasks_that_the_child_spawned(autojump_clock):
    done = []

    async def worker(name, seconds):
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(seconds)
                done.append(name)

    async def spawns():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(worker, "quick", 2)
            nursery.start_soon(worker, "slow", 20)

    assert await stopped(Child(spawns, shutdown=4)) == pytest.approx(4)
    assert done == ["quick"]


async def test_an_error_in_it_is_a_crash(autojump_clock):
    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(1)
                raise OSError("disk full")

    events: list[object] = []
    await stopped(Child(cleans), telemetry=[events.append])
    assert [event.reason for event in of(events, ShutdownError)] == [Crashed(OSError("disk full"))]


async def test_it_can_be_used_in_the_start_of_a_child(autojump_clock):
    done = []

    async def cleans(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(1)
                done.append("cleaned up")

    async with open_supervisor(Supervisor([])) as supervisor:
        before = trio.current_time()
        with pytest.raises(SupervisionError):
            await supervisor.start_child(Child(cleans, start_timeout=2))
        assert trio.current_time() - before == pytest.approx(3)
    assert done == ["cleaned up"]


@pytest.mark.parametrize("how", ["cancelled", "deadline"])
async def test_one_that_the_child_ends_itself_was_not_cut_off(autojump_clock, how):
    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope() as scope:
                if how == "cancelled":
                    scope.cancel()
                else:
                    with trio.move_on_after(1):
                        await trio.sleep_forever()
                await trio.sleep(1)

    events: list[object] = []
    await stopped(Child(cleans, id="c"), telemetry=[events.append])
    assert [event.reason for event in of(events, ChildExited)] == [Shutdown()]
    assert of(events, ShutdownError) == []


async def test_one_that_the_child_ends_itself_hides_no_other_that_was_cut_off(autojump_clock):
    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope() as scope:
                scope.cancel()
                await trio.sleep(1)
            with cleanup_scope():
                await trio.sleep(100)

    events: list[object] = []
    assert await stopped(Child(cleans, id="c", shutdown=3), telemetry=[events.append]) == pytest.approx(3)
    assert [event.reason for event in of(events, ShutdownError)] == [Killed()]


async def test_one_used_in_mid_life_leaves_the_full_time_after_a_later_request_to_stop(autojump_clock):
    done = []

    async def connections():
        for _ in range(3):
            with cleanup_scope():
                await trio.sleep(0.5)
        try:
            await trio.sleep_forever()
        finally:
            for _ in range(2):
                with cleanup_scope():
                    await trio.sleep(1.5)
                    done.append("cleaned up")
            with cleanup_scope():
                await trio.sleep(100)
                done.append("not here")

    events: list[object] = []
    assert await stopped(Child(connections, id="c", shutdown=4), telemetry=[events.append]) == pytest.approx(4)
    assert done == ["cleaned up", "cleaned up"]
    assert [event.reason for event in of(events, ChildExited)] == [Killed()]


async def test_a_request_to_stop_in_the_middle_of_a_cleanup_lengthens_no_later_scope_either(autojump_clock):
    ends = []

    async def cleans():
        for _ in range(2):
            with cleanup_scope():
                await trio.sleep(100)
            ends.append(trio.current_time() - before)

    async with open_supervisor(Supervisor([Child(cleans, id="c", shutdown=5, restart="temporary")])) as supervisor:
        before = trio.current_time()
        await trio.sleep(4)
        await supervisor.terminate_child("c")
    assert ends == [pytest.approx(5, abs=0.01)] * 2


async def test_outside_of_a_child_there_is_none():
    with pytest.raises(NotInAChild), cleanup_scope():
        pytest.fail("entered")
    async with open_supervisor(Supervisor([Child(forever)])):
        with pytest.raises(NotInAChild, match="cleanup_scope"), cleanup_scope():
            pytest.fail("entered")
    assert issubclass(NotInAChild, SupervisionError)
