"""OTP, start-up: one after another, in order, all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Child,
    ChildNotFound,
    ChildRestarted,
    ChildStartFailed,
    GaveUp,
    Ignore,
    Killed,
    Normal,
    Shutdown,
    StartFailed,
    SupervisionError,
    Supervisor,
    SupervisorHandle,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, states


async def test_children_start_one_after_another_in_the_order_of_the_list(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 2: child n+1 begins only after child n has started."""
    gates = {id: trio.Event() for id in ("c1", "c2", "c3")}
    for id, gate in gates.items():
        troupe.plan(id, gate)
    seen = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Supervisor(troupe.children("c1", "c2", "c3")).run)
        for gate in gates.values():
            await wait_all_tasks_blocked()
            seen.append(tuple(troupe.journal))
            gate.set()
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert seen == [("start c1",), ("start c1", "start c2"), ("start c1", "start c2", "start c3")]


async def test_the_block_is_entered_when_all_children_have_started(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 1: start_link returns after the last child, down the whole tree."""

    async def starts_in(seconds: float, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(seconds)
        task_status.started()
        await trio.sleep_forever()

    inner = Supervisor([Child(starts_in, 2, id="c2"), Child(starts_in, 3, id="c3")], id="inner")
    async with open_supervisor(Supervisor([Child(starts_in, 1, id="c1"), inner])) as supervisor:
        assert trio.current_time() == pytest.approx(6)
        assert states(supervisor) == {"c1": "running", "inner": "running"}
        assert states(supervisor.supervisor("inner")) == {"c2": "running", "c3": "running"}


async def test_run_tells_its_starter_when_all_children_have_started(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 1: start_link hands out the supervisor."""
    async with trio.open_nursery() as nursery:
        supervisor: SupervisorHandle = await nursery.start(Supervisor(troupe.children("c1", "c2")).run)
        assert states(supervisor) == {"c1": "running", "c2": "running"}
        await supervisor.stop()


async def test_a_whole_subtree_has_started_before_the_next_child_begins(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 1 and 2: a supervisor is started when its children are."""
    inner = Supervisor(troupe.children("c2", "c3"), id="inner")
    async with open_supervisor(Supervisor([troupe.child("c1"), inner, troupe.child("c4")])):
        assert troupe.journal == ["start c1", "start c2", "start c3", "start c4"]


async def test_a_failing_child_stops_those_before_it_in_reverse_and_the_start_has_failed(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 3: failed_to_start_child."""
    error = error_of("c3")
    troupe.plan("c3", error)
    with pytest.raises(StartFailed, match="c3 crashed") as failure:
        async with open_supervisor(Supervisor(troupe.children("c1", "c2", "c3", "c4"))):
            assert False
    assert troupe.journal == ["start c1", "start c2", "start c3", "fail c3", "stop c2", "stop c1"]
    assert (failure.value.id, failure.value.reason) == ("c3", crashed("c3"))
    assert failure.value.__cause__ is error


async def test_those_before_a_failing_child_have_their_own_time_to_stop(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 3: each is shut down by its own rule."""
    stopped = []

    async def stops_slowly() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            stopped.append(trio.current_time())

    troupe.plan("c3", error_of("c3"))
    spec = Supervisor([Child(stops_slowly, id="c1"), Child(stops_slowly, id="c2"), troupe.child("c3")])
    with pytest.raises(StartFailed):
        await spec.run()
    assert stopped == pytest.approx([2, 4])


async def test_a_start_that_fails_at_boot_is_not_tried_again(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 3: no retry, and the intensity is not consulted."""
    troupe.plan("c1", error_of("c1"))
    with pytest.raises(StartFailed):
        await Supervisor(troupe.children("c1"), max_restarts=10).run(telemetry=[troupe.events.append])
    assert troupe.starts["c1"] == 1
    assert len(troupe.heard(ChildStartFailed)) == 1
    assert troupe.heard(GaveUp) == []


async def test_a_failing_child_fails_every_supervisor_above_that_is_starting(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 3: a nested failure; the error names the path of the child."""
    error = error_of("c3")
    troupe.plan("c3", error)
    inner = Supervisor(troupe.children("c2", "c3"), id="inner")
    middle = Supervisor([inner], id="middle")
    with pytest.raises(StartFailed) as failure:
        await Supervisor([troupe.child("c1"), middle, troupe.child("c4")]).run()
    assert troupe.journal == ["start c1", "start c2", "start c3", "fail c3", "stop c2", "stop c1"]
    assert failure.value.id == "middle/inner/c3"
    assert failure.value.reason == crashed("c3")
    assert failure.value.__cause__ is error


async def test_a_child_that_returns_before_it_has_started_has_failed_to_start(
    autojump_clock: MockClock,
) -> None:
    """OTP, start-up, 3: also a clean end is no start."""

    async def returns(*, task_status: trio.TaskStatus[None]) -> None:
        pass

    with pytest.raises(StartFailed) as failure:
        await Supervisor([Child(returns, id="c1")]).run()
    assert (failure.value.id, failure.value.reason) == ("c1", Normal())


async def test_a_child_without_handshake_has_started_when_it_has_taken_its_first_step(
    autojump_clock: MockClock,
) -> None:
    """OTP, start-up, 2: what stands before a child's first checkpoint is done before the next begins."""
    journal = []

    async def child(number: int) -> None:
        journal.append(f"before {number}")
        await trio.lowlevel.checkpoint()
        journal.append(f"after {number}")
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(child, number, id=str(number)) for number in range(5)])):
        assert [line for line in journal if "before" in line] == [f"before {number}" for number in range(5)]
        await wait_all_tasks_blocked()
        assert sorted(journal) == sorted(f"{word} {number}" for word in ("before", "after") for number in range(5))


async def test_an_error_in_the_first_step_without_handshake_is_a_crash_and_no_failed_start(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 3: such a child had started; it is restarted."""
    errors = [error_of("c1")]

    async def crashes_once() -> None:
        if errors:
            raise errors.pop()
        await trio.sleep_forever()

    spec = Supervisor([Child(crashes_once, id="c1"), troupe.child("c2")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "running", "c2": "running"}
        assert supervisor.get_child("c1").restarts == 1
    assert troupe.heard(ChildStartFailed) == []


async def test_an_error_right_after_started_is_a_crash(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 3: the child had started; it is restarted."""
    errors = [error_of("c1")]

    async def crashes_once(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if errors:
            raise errors.pop()
        await trio.sleep_forever()

    spec = Supervisor([Child(crashes_once, id="c1")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await wait_all_tasks_blocked()
        info = supervisor.get_child("c1")
        assert (info.state, info.restarts, info.reason) == ("running", 1, crashed("c1"))
    assert troupe.heard(ChildStartFailed) == []


async def test_to_decline_after_having_started_is_a_crash(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up: ignore is an answer of the start alone."""
    declines = [Ignore()]

    async def declines_late(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.lowlevel.checkpoint()
        if declines:
            raise declines.pop()
        await trio.sleep_forever()

    spec = Supervisor([Child(declines_late, id="c1", restart="transient")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await wait_all_tasks_blocked()
        info = supervisor.get_child("c1")
        assert (info.state, info.restarts) == ("running", 1)
        assert info.reason is not None
        assert not info.reason.clean


async def test_started_twice_is_an_error_in_the_child_and_the_first_value_stays(
    autojump_clock: MockClock,
) -> None:
    """OTP, start-up: a start is acknowledged once."""
    errors = []

    async def starts_twice(*, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(1)
        try:
            task_status.started(2)
        except RuntimeError as error:
            errors.append(error)
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(starts_twice, id="c1")])) as supervisor:
        assert len(errors) == 1
        assert supervisor.get_child("c1").started == 1


def _start_another(troupe: Troupe, supervisor: SupervisorHandle) -> Callable[[], Awaitable[object]]:
    return partial(supervisor.start_child, troupe.child("c3"))


def _terminate(troupe: Troupe, supervisor: SupervisorHandle) -> Callable[[], Awaitable[object]]:
    return partial(supervisor.terminate_child, "c1")


def _restart(troupe: Troupe, supervisor: SupervisorHandle) -> Callable[[], Awaitable[object]]:
    return partial(supervisor.restart_child, "c1")


def _delete(troupe: Troupe, supervisor: SupervisorHandle) -> Callable[[], Awaitable[object]]:
    return partial(supervisor.delete_child, "c1")


@pytest.mark.parametrize("call", [_start_another, _terminate, _restart, _delete])
async def test_a_start_that_calls_its_own_supervisor_is_refused_at_once(
    call: Callable[[Troupe, SupervisorHandle], Callable[[], Awaitable[object]]],
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, start-up, 4: there a deadlock, here an error that names both."""
    refusals = []

    async with open_supervisor(Supervisor(troupe.children("c1"), id="theatre")) as supervisor:

        async def calls(*, task_status: trio.TaskStatus[None]) -> None:
            with pytest.raises(SupervisionError, match="theatre") as refusal:
                await call(troupe, supervisor)()
            refusals.append(str(refusal.value))
            task_status.started()
            await trio.sleep_forever()

        with trio.fail_after(1):
            await supervisor.start_child(Child(calls, id="caller"))
        assert len(refusals) == 1
        assert "caller" in refusals[0]
        assert states(supervisor) == {"c1": "running", "caller": "running"}


async def test_a_child_that_has_started_may_call_its_own_supervisor(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 4: only the start itself must not."""
    async with open_supervisor(Supervisor()) as supervisor:

        async def calls(*, task_status: trio.TaskStatus[None]) -> None:
            task_status.started()
            await supervisor.start_child(troupe.child("c1"))
            await trio.sleep_forever()

        await supervisor.start_child(Child(calls, id="caller"))
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"caller": "running", "c1": "running"}


async def test_a_start_may_stop_its_own_supervisor(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 4: to stop waits for nobody's start."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:

        async def stops(*, task_status: trio.TaskStatus[None]) -> None:
            await supervisor.stop()

        with pytest.raises(StartFailed):
            await supervisor.start_child(Child(stops, id="c2"))
        assert await supervisor.wait_stopped() == Shutdown()
    assert troupe.journal == ["start c1", "stop c1"]


async def test_a_slow_start_delays_every_call_but_looking(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 5: a supervisor that starts a child answers nobody; here pictures can be had."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    async with (
        open_supervisor(Supervisor(troupe.children("c1"))) as supervisor,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(supervisor.start_child, troupe.child("c2"))
        await wait_all_tasks_blocked()
        nursery.start_soon(supervisor.terminate_child, "c1")
        await wait_all_tasks_blocked()
        assert supervisor.get_child("c1").state == "running"
        assert supervisor.count_children().active == 1
        gate.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}


async def test_a_start_may_have_a_time_limit(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 5: the timeout of an init; the child is killed."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    with pytest.raises(StartFailed) as failure:
        await Supervisor([troupe.child("c1"), troupe.child("c2", start_timeout=2.0)]).run()
    assert trio.current_time() == pytest.approx(2)
    assert (failure.value.id, failure.value.reason) == ("c2", Killed())
    assert troupe.journal == ["start c1", "start c2", "stop c2", "stop c1"]


async def test_a_start_within_its_time_limit_is_never_cut_off_later(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 5: the limit is one of the start only."""
    async with open_supervisor(Supervisor([troupe.child("c1", start_timeout=2.0)])) as supervisor:
        life = supervisor.get_child("c1").life
        await trio.sleep(10)
        assert supervisor.get_child("c1").life == life
        assert troupe.journal == ["start c1"]


async def test_a_child_that_crashes_while_another_starts_at_boot_is_restarted_when_the_boot_is_done(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 5: exits wait, like calls, until all have started."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(Supervisor(troupe.children("c1", "c2", "c3")).run, telemetry=[troupe.events.append]))
        await wait_all_tasks_blocked()
        await troupe.crash("c1")
        assert troupe.journal == ["start c1", "start c2", "end c1"]
        gate.set()
        await wait_all_tasks_blocked()
        assert troupe.journal == ["start c1", "start c2", "end c1", "start c3", "start c1"]
        assert [event.child for event in troupe.heard(ChildRestarted)] == ["c1"]
        nursery.cancel_scope.cancel()


async def _leave(supervisor: SupervisorHandle, scope: trio.CancelScope) -> None:
    pass


async def _stop(supervisor: SupervisorHandle, scope: trio.CancelScope) -> None:
    await supervisor.stop()


async def _cancel(supervisor: SupervisorHandle, scope: trio.CancelScope) -> None:
    scope.cancel()
    await trio.lowlevel.checkpoint()


async def _terminate_it(supervisor: SupervisorHandle, scope: trio.CancelScope) -> None:
    await supervisor.terminate_child("c2")
    assert states(supervisor) == {"c1": "running"}


@pytest.mark.parametrize("end", [_leave, _stop, _cancel, _terminate_it])
async def test_a_stop_interrupts_a_slow_start(
    end: Callable[[SupervisorHandle, trio.CancelScope], Awaitable[None]],
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, start-up, 5: a difference, a start in progress can be interrupted; whoever waits for it hears of it."""
    troupe.plan("c2", trio.Event())
    failures = []

    async def starts(supervisor: SupervisorHandle) -> None:
        with pytest.raises(StartFailed) as failure:
            await supervisor.start_child(troupe.child("c2"))
        failures.append(failure.value.reason)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
                nursery.start_soon(starts, supervisor)
                await wait_all_tasks_blocked()
                await end(supervisor, scope)
    assert failures == [Shutdown()]
    assert troupe.journal == ["start c1", "start c2", "stop c2", "stop c1"]
    assert trio.current_time() == 0


async def test_a_cancelled_boot_stops_what_has_started_in_reverse(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up, 5: a difference, also the boot can be interrupted, and keeps the order."""
    troupe.plan("c3", trio.Event())
    with trio.move_on_after(1) as scope:
        async with open_supervisor(Supervisor(troupe.children("c1", "c2", "c3", "c4"))):
            assert False
    assert scope.cancelled_caught
    assert troupe.journal == ["start c1", "start c2", "start c3", "stop c3", "stop c2", "stop c1"]


async def test_a_child_that_starts_although_the_boot_was_cancelled_is_stopped_and_the_next_never_begins(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, start-up, 5: a difference, the boot ends with the start that was in progress."""

    async def starts_regardless(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        task_status.started()
        await trio.sleep_forever()

    spec = Supervisor([troupe.child("c1"), Child(starts_regardless, id="c2"), troupe.child("c3")])
    with trio.move_on_after(1) as scope:
        async with open_supervisor(spec):
            assert False
    assert scope.cancelled_caught
    assert trio.current_time() == pytest.approx(3)
    assert troupe.journal == ["start c1", "stop c1"]


async def test_a_caller_that_is_cancelled_takes_the_start_back(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, start-up: as with nursery.start, nothing is kept."""
    troupe.plan("c1", trio.Event())
    async with open_supervisor(Supervisor()) as supervisor:
        with trio.move_on_after(1) as patience:
            await supervisor.start_child(troupe.child("c1"))
        assert patience.cancelled_caught
        await wait_all_tasks_blocked()
        assert troupe.journal == ["start c1", "stop c1"]
        with pytest.raises(ChildNotFound):
            supervisor.get_child("c1")
        assert (await supervisor.start_child(troupe.child("c1"))).state == "running"
