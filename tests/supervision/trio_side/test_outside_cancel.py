"""A tree under a scope that is cancelled from outside stops in order all the same; then the cancellation goes on."""

from __future__ import annotations

import math

import pytest
import trio
from tests.supervision.trio_side.children import crash_when, finish, forever, of, steady, tidy, until

from prunella.supervision import (
    Child,
    ChildExited,
    DynamicSupervisor,
    GaveUp,
    Killed,
    Shutdown,
    ShutdownError,
    StartFailed,
    StillStopping,
    Supervisor,
    open_supervisor,
)


async def test_children_end_one_after_another_in_reverse_order_and_then_the_cancellation_goes_on(autojump_clock):
    journal: list[str] = []
    before = trio.current_time()
    with trio.move_on_after(10) as scope:
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 2, id=n) for n in "abc"])):
            await trio.sleep_forever()
        journal.append("not here")
    assert scope.cancelled_caught
    assert trio.current_time() - before == pytest.approx(16)
    assert journal == ["+a", "+b", "+c", "?c", "-c", "?b", "-b", "?a", "-a"]


async def test_that_holds_for_a_tree_of_several_levels(autojump_clock):
    journal: list[str] = []
    spec = Supervisor(
        [
            Child(tidy, journal, "a", 1, id="a"),
            Supervisor([Child(tidy, journal, "b", 1, id="b"), Child(tidy, journal, "c", 1, id="c")], id="inner"),
            Child(tidy, journal, "d", 1, id="d"),
        ]
    )
    with trio.move_on_after(1) as scope:
        await spec.run()
    assert scope.cancelled_caught
    assert journal == ["+a", "+b", "+c", "+d", "?d", "-d", "?c", "-c", "?b", "-b", "?a", "-a"]


async def test_children_are_shielded_until_their_turn_comes(autojump_clock):
    """The first child goes on with its work while the last one cleans up."""
    ticks = []

    async def ticker():
        while True:
            await trio.sleep(1)
            ticks.append(trio.current_time() - before)

    with trio.move_on_after(2.5):
        async with open_supervisor(Supervisor([Child(ticker), Child(tidy, [], "slow", 3.0)])):
            before = trio.current_time()
            await trio.sleep_forever()
    assert ticks == [pytest.approx(second) for second in (1, 2, 3, 4, 5)]


async def test_each_child_has_its_own_shutdown_time(autojump_clock):
    journal: list[str] = []
    events: list[object] = []
    spec = Supervisor(
        [
            Child(tidy, journal, "patient", 4, id="patient", shutdown=5),
            Child(tidy, journal, "hasty", 4, id="hasty", shutdown=1),
            Child(tidy, journal, "killed", 4, id="killed", shutdown="brutal_kill"),
        ]
    )
    with trio.move_on_after(1):
        async with open_supervisor(spec, telemetry=[events.append]):
            before = trio.current_time() + 1
            await trio.sleep_forever()
    assert trio.current_time() - before == pytest.approx(5)
    assert [(event.child, event.reason) for event in of(events, ChildExited)] == [
        ("killed", Killed()),
        ("hasty", Killed()),
        ("patient", Shutdown()),
    ]
    assert [event.child for event in of(events, ShutdownError)] == ["hasty"]


async def test_a_failing_task_beside_the_tree_stops_it_in_order_and_only_its_error_comes_out(autojump_clock):
    journal: list[str] = []
    event = trio.Event()
    with pytest.raises(ExceptionGroup) as caught:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash_when, event)
            async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])):
                event.set()
                await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


async def test_a_cancel_while_the_tree_starts_stops_those_that_had_started(autojump_clock):
    journal: list[str] = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        journal.append("+slow")
        try:
            await trio.sleep(100)
            task_status.started()
        finally:
            journal.append("-slow")

    spec = Supervisor([Child(steady, journal, "a"), Child(slow), Child(finish, id="never")])
    before = trio.current_time()
    with trio.move_on_after(3) as scope:
        async with open_supervisor(spec):
            journal.append("entered")
    assert scope.cancelled_caught
    assert trio.current_time() - before == pytest.approx(3)
    assert journal == ["+a", "+slow", "-slow", "-a"]


async def test_a_tree_is_not_started_under_a_scope_that_is_cancelled_already(autojump_clock):
    journal: list[str] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_supervisor(Supervisor([Child(steady, journal, "a")])):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert journal.count("+a") == journal.count("-a")


async def test_an_outside_cancel_interrupts_a_start_that_is_in_progress(autojump_clock):
    started = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(100)
        task_status.started()

    async def start(supervisor):
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(Child(slow, id="slow"))
        started.append(caught.value.reason)

    async with trio.open_nursery() as nursery:
        before = trio.current_time()
        with trio.move_on_after(2):
            async with open_supervisor(Supervisor([Child(forever)])) as supervisor:
                nursery.start_soon(start, supervisor)
                await trio.sleep_forever()
        assert trio.current_time() - before == pytest.approx(2)
    assert started == [Shutdown()]


async def test_a_dynamic_supervisor_stops_all_its_children_at_once(autojump_clock):
    journal: list[str] = []
    with trio.move_on_after(1):
        async with open_supervisor(DynamicSupervisor()) as supervisor:
            for seconds in (1, 3, 2):
                await supervisor.start_child(Child(tidy, journal, str(seconds), seconds))
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(4)
    assert journal[-3:] == ["-1", "-2", "-3"]


async def test_a_child_outlives_the_cancelled_caller_that_had_started_it(autojump_clock):
    async with open_supervisor(Supervisor([])) as supervisor:
        with trio.CancelScope() as scope:
            await supervisor.start_child(Child(forever, id="kept"))
            scope.cancel()
            await trio.sleep(1)
        await trio.sleep(1)
        assert str(supervisor.get_child("kept").state) == "running"


async def test_giving_up_while_being_cancelled_is_only_reported(autojump_clock):
    """The supervisor has given up and stops a slow child when the cancellation comes."""
    events: list[object] = []
    journal: list[str] = []
    event = trio.Event()
    spec = Supervisor([Child(tidy, journal, "slow", 4), Child(crash_when, event, id="bad")], max_restarts=0)
    with trio.move_on_after(2) as scope:
        async with open_supervisor(spec, telemetry=[events.append]):
            event.set()
            await until(lambda: journal == ["+slow", "?slow"])
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert journal == ["+slow", "?slow", "-slow"]
    assert [event.child for event in of(events, GaveUp)] == ["bad"]


async def test_an_infinite_child_is_waited_for_and_a_report_says_so_every_ten_seconds(autojump_clock):
    events: list[StillStopping] = []
    spec = Supervisor([Child(forever, id="quick"), Child(tidy, [], "x", 35, id="endless", shutdown=math.inf)])
    with trio.move_on_after(1) as scope:
        async with open_supervisor(spec, telemetry=[events.append]):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(36)
    reports = of(events, StillStopping)
    assert [event.seconds for event in reports] == [pytest.approx(10), pytest.approx(20), pytest.approx(30)]
    assert all("endless" in event.waiting_for for event in reports)


async def test_a_second_cancel_does_not_cut_the_stop_short(autojump_clock):
    journal: list[str] = []
    with trio.CancelScope() as outer, trio.move_on_after(1):
        outer.deadline = trio.current_time() + 2
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 2, id=n) for n in "ab"])):
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(5)
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


async def test_cancelling_run_does_not_stop_another_tree_of_the_same_spec(autojump_clock):
    spec = Supervisor([Child(forever, id="a")])
    async with open_supervisor(spec) as other:
        with trio.move_on_after(1):
            await spec.run()
        assert str(other.get_child("a").state) == "running"


async def test_a_start_that_is_cut_off_with_its_caller_ends_before_the_next_child_is_asked(autojump_clock):
    """The block itself waits in `start_child` when it is cancelled: the child that starts is the last in order."""
    journal: list[str] = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await tidy(journal, "slow", 2)

    with trio.move_on_after(1) as scope:
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])) as supervisor:
            await supervisor.start_child(Child(slow, id="slow"))
    assert scope.cancelled_caught
    assert journal == ["+a", "+b", "+slow", "?slow", "-slow", "?b", "-b", "?a", "-a"]


async def test_a_start_that_is_cancelled_before_the_first_step_ends_in_order_too(autojump_clock):
    journal: list[str] = []
    with trio.CancelScope() as scope:
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])) as supervisor:
            trio.lowlevel.current_trio_token().run_sync_soon(scope.cancel)
            await supervisor.start_child(Child(tidy, journal, "new", 1))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    stops = [entry for entry in journal if entry[0] != "+"]
    assert stops in (["?b", "-b", "?a", "-a"], ["?new", "-new", "?b", "-b", "?a", "-a"])
