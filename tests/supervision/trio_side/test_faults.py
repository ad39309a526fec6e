"""Children that misbehave: none of it reaches a sibling, and none of it stops the supervisor from its work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import trio
from tests.supervision.trio_side.children import (
    crash_when,
    forever,
    move,
    of,
    outcome_of,
    some_steps,
    steady,
    swallower,
    tidy,
    until,
)

from prunella.supervision import (
    Child,
    ChildExited,
    ChildNotFound,
    Crashed,
    DynamicSupervisor,
    Exit,
    Killed,
    Normal,
    Shutdown,
    ShutdownError,
    StartFailed,
    Supervisor,
    SupervisorFailed,
    Unresponsive,
    open_supervisor,
)


class Fatal(BaseException):
    """An exception that is no `Exception`."""


async def foreign_cancelled() -> trio.Cancelled:
    """A `Cancelled` that belongs to a scope which is long gone."""
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise
    return kept[0]


# Errors of all kinds


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        Fatal("x"),
        asyncio.CancelledError("x"),
        GeneratorExit("x"),
        MemoryError("x"),
        RecursionError("x"),
        BaseException("x"),
        BaseExceptionGroup("x", [Fatal("y"), ValueError("z")]),
        StopAsyncIteration("x"),
        AssertionError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_whatever_a_child_raises_is_its_exit_reason_and_nothing_else(autojump_clock, error):
    journal: list[str] = []
    events: list[object] = []
    event = trio.Event()

    async def bad_once():
        nonlocal event
        raised = event
        await raised.wait()
        event = trio.Event()
        raise error

    spec = Supervisor(
        [
            Child(steady, journal, "before", id="before"),
            Child(bad_once, id="bad", restart="transient"),
            Child(steady, journal, "after", id="after"),
        ],
        max_restarts=1,
    )
    with trio.fail_after(30):
        async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
            event.set()
            await until(lambda: supervisor.get_child("bad").restarts == 1)
            info = supervisor.get_child("bad")
            assert isinstance(info.reason, Crashed)
            assert info.reason.type is type(error)
            assert "x" in info.reason.message
            assert journal == ["+before", "+after"]
    assert journal == ["+before", "+after", "-after", "-before"]


async def test_stop_iteration_is_what_python_makes_of_it(autojump_clock):
    async def bad():
        raise StopIteration("x")

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad)], max_restarts=0).run()
    assert caught.value.reason.type is RuntimeError


async def test_a_stored_cancelled_of_somebody_else_is_a_crash_of_the_child_alone(autojump_clock):
    journal: list[str] = []
    events: list[object] = []
    error = await foreign_cancelled()
    times = []

    async def bad():
        times.append(trio.current_time())
        await trio.sleep(1)
        if len(times) == 1:
            raise error
        await trio.sleep_forever()

    spec = Supervisor([Child(steady, journal, "a", id="a"), Child(bad, id="bad"), Child(steady, journal, "b", id="b")])
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await trio.sleep(5)
        assert len(times) == 2
        assert supervisor.get_child("bad").restarts == 1
        reason = supervisor.get_child("bad").reason
        assert isinstance(reason, Crashed)
        assert reason.type is trio.Cancelled
        assert journal == ["+a", "+b"]
    assert [e.child for e in of(events, ChildExited) if not e.expected] == ["bad"]


async def test_a_stored_cancelled_in_a_group_is_a_crash_too(autojump_clock):
    error = await foreign_cancelled()

    async def bad():
        await trio.sleep(1)
        raise BaseExceptionGroup("two", [error, await foreign_cancelled()])

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad, id="bad")], max_restarts=0).run()
    assert isinstance(caught.value.reason, Crashed)


async def test_a_scope_of_the_child_itself_is_no_crash(autojump_clock):
    async def careful():
        with trio.move_on_after(1):
            await trio.sleep_forever()

    events: list[object] = []
    async with open_supervisor(Supervisor([Child(careful, restart="transient")]), telemetry=[events.append]):
        await trio.sleep(5)
    assert [event.reason for event in of(events, ChildExited)] == [Normal()]


# Groups


def nested(error: BaseException, depth: int) -> BaseException:
    for _ in range(depth):
        error = BaseExceptionGroup("wrapped", [error])
    return error


@pytest.mark.parametrize("depth", [1, 2, 5])
async def test_a_group_of_one_counts_as_its_only_member(autojump_clock, depth):
    async def bad():
        raise nested(KeyError("k"), depth)

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad)], max_restarts=0).run()
    assert caught.value.reason.type is KeyError


async def test_a_crash_in_a_nursery_of_the_child_is_the_crash_of_the_child(autojump_clock):
    async def bad():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever)
            nursery.start_soon(crash_when, event)
            event.set()

    event = trio.Event()
    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad)], max_restarts=0).run()
    assert caught.value.reason.type is ValueError


async def test_a_group_of_several_errors_is_a_crash_that_keeps_them_all(autojump_clock):
    async def bad():
        raise ExceptionGroup("both", [KeyError("one"), ValueError("two")])

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad)], max_restarts=0).run()
    reason = caught.value.reason
    assert issubclass(reason.type, ExceptionGroup)
    assert [member.type for member in reason.error.exceptions] == [KeyError, ValueError]


@pytest.mark.parametrize("depth", [1, 3])
async def test_exit_is_taken_out_of_groups(autojump_clock, depth):
    async def ends():
        await trio.sleep(1)
        raise nested(Exit(Shutdown("mine")), depth)

    events: list[object] = []
    async with open_supervisor(Supervisor([Child(ends, restart="transient")]), telemetry=[events.append]):
        await trio.sleep(5)
    assert [event.reason for event in of(events, ChildExited)] == [Shutdown("mine")]


async def test_exit_together_with_an_error_is_a_crash(autojump_clock):
    async def bad():
        raise ExceptionGroup("both", [Exit(), ValueError("x")])

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad, restart="transient")], max_restarts=0).run()
    assert isinstance(caught.value.reason, Crashed)


async def test_the_cancelled_in_a_group_is_dropped_when_the_child_was_asked_to_stop(autojump_clock):
    async def bad():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forever)
            nursery.start_soon(forever)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("in cleanup")

    events: list[object] = []
    async with open_supervisor(Supervisor([Child(bad, id="bad")]), telemetry=[events.append]):
        await some_steps()
    assert [event.reason.type for event in of(events, ShutdownError)] == [KeyError]
    assert [event.reason.type for event in of(events, ChildExited)] == [KeyError]


async def test_a_child_with_a_nursery_of_its_own_stops_like_any_other(autojump_clock):
    async def works():
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(forever)

    events: list[object] = []
    async with open_supervisor(Supervisor([Child(works)]), telemetry=[events.append]):
        await some_steps()
    assert [event.reason for event in of(events, ChildExited)] == [Shutdown()]
    assert of(events, ShutdownError) == []


# Stopping


async def test_a_child_that_swallows_cancelled_for_ever_does_not_hang_its_supervisor(mock_clock):
    release = trio.Event()
    events: list[object] = []
    journal: list[str] = []

    async def leave_the_block():
        spec = Supervisor([Child(steady, journal, "a", id="a"), Child(swallower, release, id="deaf", shutdown=2)])
        async with open_supervisor(spec, telemetry=[events.append]):
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave_the_block)
        await some_steps()
        await move(mock_clock, 2.75)
        assert journal == ["+a"]
        assert of(events, Unresponsive) == []
        await move(mock_clock, 0.5)
        assert [event.child for event in of(events, Unresponsive)] == ["deaf"]
        assert journal == ["+a", "-a"]
        release.set()


async def test_a_swallower_under_a_supervisor_that_goes_on_is_replaced(mock_clock):
    release = trio.Event()
    events: list[object] = []
    async with open_supervisor(DynamicSupervisor(), telemetry=[events.append]) as supervisor:
        info = await supervisor.start_child(Child(swallower, release, id="deaf", shutdown=1))
        other = await supervisor.start_child(Child(forever, id="other"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.terminate_child, info)
            await some_steps()
            await move(mock_clock, 2.5)
        with pytest.raises(ChildNotFound):
            supervisor.get_child("deaf")
        assert supervisor.get_child("other").life == other.life
        assert len(of(events, Unresponsive)) == 1
        release.set()


async def test_a_child_that_blocks_the_loop_past_its_deadline_is_killed_when_it_lets_go(mock_clock):
    """Nobody can run meanwhile; afterwards everything goes its ordinary way."""
    journal: list[str] = []
    events: list[object] = []

    async def blocks():
        try:
            await trio.sleep_forever()
        finally:
            mock_clock.jump(0.2)  # What the loop sees of 200 ms without a checkpoint.
            journal.append("let go")

    spec = Supervisor([Child(steady, journal, "a", id="a"), Child(blocks, id="blocks", shutdown=0.1)])
    with trio.fail_after(60):
        async with open_supervisor(spec, telemetry=[events.append]):
            await some_steps()
    assert journal == ["+a", "let go", "-a"]
    assert [event.child for event in of(events, ChildExited)] == ["blocks", "a"]
    assert of(events, Unresponsive) == []


async def test_a_child_that_blocks_the_loop_while_it_runs_harms_nobody(mock_clock):
    journal: list[str] = []

    async def blocks():
        while True:
            await trio.lowlevel.checkpoint()
            mock_clock.jump(0.2)

    async with open_supervisor(Supervisor([Child(blocks), Child(steady, journal, "a", id="a")])) as supervisor:
        await some_steps(50)
        assert [str(child.state) for child in supervisor.which_children()] == ["running", "running"]
        assert [child.restarts for child in supervisor.which_children()] == [0, 0]
    assert journal == ["+a", "-a"]


async def raises_in_cleanup(error: BaseException) -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), Fatal("x")], ids=["Exception", "BaseException"])
async def test_an_error_in_cleanup_is_a_crash_that_is_reported_and_not_restarted(autojump_clock, error):
    journal: list[str] = []
    events: list[object] = []
    spec = Supervisor([Child(steady, journal, "a", id="a"), Child(raises_in_cleanup, error, id="bad")])
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await some_steps()
        await supervisor.terminate_child("bad")
        info = supervisor.get_child("bad")
        assert str(info.state) == "stopped"
        assert info.reason == Crashed(error)
        assert info.restarts == 0
        await trio.sleep(1)
        assert str(supervisor.get_child("bad").state) == "stopped"
    assert [(event.child, event.reason) for event in of(events, ShutdownError)] == [("bad", Crashed(error))]
    assert journal == ["+a", "-a"]


async def returns_when_cancelled() -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        return


async def exits_when_cancelled(reason: Normal | Shutdown) -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        raise Exit(reason) from None


@pytest.mark.parametrize(
    ("function", "restart", "shutdown", "reason", "reported"),
    [
        (forever, "permanent", 5.0, Shutdown(), False),
        (forever, "transient", 5.0, Shutdown(), False),
        (returns_when_cancelled, "permanent", 5.0, Normal(), True),
        (returns_when_cancelled, "transient", 5.0, Normal(), False),
        (returns_when_cancelled, "temporary", 5.0, Normal(), False),
        (returns_when_cancelled, "permanent", "brutal_kill", Normal(), True),
        (returns_when_cancelled, "transient", "brutal_kill", Normal(), False),
        (lambda: exits_when_cancelled(Shutdown()), "permanent", 5.0, Shutdown(), False),
        (lambda: exits_when_cancelled(Shutdown("x")), "permanent", 5.0, Shutdown("x"), True),
        (lambda: exits_when_cancelled(Shutdown("x")), "transient", 5.0, Shutdown("x"), False),
        (lambda: exits_when_cancelled(Shutdown()), "permanent", "brutal_kill", Shutdown(), True),
        (lambda: exits_when_cancelled(Normal()), "permanent", 5.0, Normal(), True),
        (forever, "permanent", "brutal_kill", Killed(), False),
        (forever, "temporary", "brutal_kill", Killed(), False),
        (lambda: raises_in_cleanup(OSError("x")), "permanent", 5.0, Crashed(OSError("x")), True),
        (lambda: raises_in_cleanup(OSError("x")), "temporary", 5.0, Crashed(OSError("x")), True),
        (lambda: raises_in_cleanup(OSError("x")), "permanent", "brutal_kill", Crashed(OSError("x")), True),
        (lambda: tidy([], "", 9), "permanent", 5.0, Killed(), True),
        (lambda: tidy([], "", 9), "transient", 5.0, Killed(), True),
        (lambda: tidy([], "", 9), "permanent", "brutal_kill", Killed(), False),
        (lambda: tidy([], "", 3), "permanent", 5.0, Shutdown(), False),
    ],
)
async def test_exit_reasons_and_reports_while_being_stopped(
    autojump_clock, function: Callable[[], object], restart, shutdown, reason, reported
):
    events: list[object] = []
    child = Child(function, id="c", restart=restart, shutdown=shutdown)
    async with open_supervisor(Supervisor([child]), telemetry=[events.append]):
        await some_steps()
    assert [event.reason for event in of(events, ChildExited)] == [reason]
    assert [event.reason for event in of(events, ShutdownError)] == ([reason] if reported else [])


async def test_a_child_that_crashes_just_when_it_is_asked_to_stop_is_not_restarted(autojump_clock):
    event = trio.Event()
    events: list[object] = []
    async with open_supervisor(Supervisor([Child(crash_when, event, id="c")]), telemetry=[events.append]) as supervisor:
        await some_steps()
        event.set()
        await supervisor.terminate_child("c")
        await trio.sleep(1)
        assert str(supervisor.get_child("c").state) == "stopped"
        assert supervisor.get_child("c").restarts == 0
    assert len(of(events, ChildExited)) == 1


# Starting


async def test_a_child_that_ends_while_it_starts_has_not_started(autojump_clock):
    async def ends(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)

    async def exits(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        raise Exit(Shutdown("early"))

    async def crashes(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        raise LookupError("x")

    async with open_supervisor(Supervisor([])) as supervisor:
        for function, reason in [
            (ends, Normal()), (exits, Shutdown("early")), (crashes, Crashed(LookupError("x")))
        ]:  # fmt: skip
            with pytest.raises(StartFailed) as caught:
                await supervisor.start_child(Child(function, id="c"))
            assert caught.value.reason == reason
            assert caught.value.id == "c"
            with pytest.raises(ChildNotFound):
                supervisor.get_child("c")


async def test_a_stored_cancelled_raised_while_starting_is_a_failed_start(autojump_clock):
    error = await foreign_cancelled()

    async def bad(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        raise error

    async with open_supervisor(Supervisor([Child(forever, id="a")])) as supervisor:
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(Child(bad, id="bad"))
        assert caught.value.reason.type is trio.Cancelled
        assert str(supervisor.get_child("a").state) == "running"


async def test_a_swallower_that_is_starting_when_the_tree_stops_does_not_hang_it(mock_clock):
    release = trio.Event()
    events: list[object] = []
    answers = []

    async def stubborn(*, task_status: trio.TaskStatus[None]) -> None:
        await swallower(release)

    async def ask(supervisor):
        answers.append(await outcome_of(lambda: supervisor.start_child(Child(stubborn, id="deaf", shutdown=1))))

    async def leave_the_block():
        async with open_supervisor(Supervisor([]), telemetry=[events.append]) as supervisor:
            nursery.start_soon(ask, supervisor)
            await some_steps()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave_the_block)
        await some_steps(50)
        await move(mock_clock, 2.5)
        assert isinstance(answers[0], StartFailed)
        assert answers[0].reason == Shutdown()
        assert [event.child for event in of(events, Unresponsive)] == ["deaf"]
        release.set()


async def test_a_child_that_says_started_after_its_start_was_cut_off_has_not_started(autojump_clock):
    async def late(*, task_status: trio.TaskStatus[str]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            task_status.started("too late")

    async with open_supervisor(Supervisor([])) as supervisor:
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(Child(late, id="late", start_timeout=1))
        assert caught.value.reason == Killed()
        with pytest.raises(ChildNotFound):
            supervisor.get_child("late")


async def test_many_children_that_crash_at_once_are_all_restarted(autojump_clock):
    event = trio.Event()

    async def bad():
        waited = event
        await waited.wait()
        raise ValueError

    async with open_supervisor(Supervisor([Child(bad, id=str(n)) for n in range(50)], max_restarts=50)) as supervisor:
        old, event = event, trio.Event()
        old.set()
        await trio.sleep(1)
        assert [child.restarts for child in supervisor.which_children()] == [1] * 50
        assert supervisor.count_children().active == 50
