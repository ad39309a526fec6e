"""OTP, failing restarts: a start that fails during a restart is tried again, by the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    AlreadyPresent,
    Backoff,
    ChildRestarted,
    ChildRestarting,
    ChildStartFailed,
    DynamicSupervisor,
    GaveUp,
    Ignore,
    Shutdown,
    Supervisor,
    SupervisorFailed,
    SupervisorHandle,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, lives, states


async def test_a_child_that_fails_to_restart_stays_and_is_restarting(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts, 1: restarting, and a start_error."""
    gate = trio.Event()
    async with open_supervisor(Supervisor(troupe.children("c1", "c2")), telemetry=[troupe.events.append]) as supervisor:
        troupe.plan("c1", error_of("c1"), gate)
        await troupe.crash("c1")
        info = supervisor.get_child("c1")
        assert (info.state, info.restarts) == ("restarting", 0)
        counts = supervisor.count_children()
        assert (counts.specs, counts.active) == (2, 1)
        assert [(event.child, event.reason) for event in troupe.heard(ChildStartFailed)] == [("c1", crashed("c1"))]
        gate.set()
        await wait_all_tasks_blocked()
        info = supervisor.get_child("c1")
        assert (info.state, info.restarts) == ("running", 1)


async def test_tries_follow_without_delay(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts, 2: no delay and no back-off."""
    spec = Supervisor(troupe.children("c1"), max_restarts=50)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        troupe.plan("c1", *[error_of("c1")] * 49)
        await troupe.crash("c1")
        assert trio.current_time() == 0
        assert supervisor.get_child("c1").state == "running"
        assert (len(troupe.heard(ChildStartFailed)), len(troupe.heard(ChildRestarted))) == (49, 1)


async def test_what_was_asked_meanwhile_is_served_between_two_tries(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts, 2: the supervisor does not loop, its note stands behind what is already queued."""
    gate = trio.Event()
    async with (
        open_supervisor(Supervisor(troupe.children("c1"))) as supervisor,
        trio.open_nursery() as nursery,
    ):
        troupe.plan("c1", (gate, error_of("c1")))
        troupe.clear()
        await troupe.crash("c1")
        nursery.start_soon(supervisor.start_child, troupe.child("c2"))
        await wait_all_tasks_blocked()
        assert troupe.journal == ["end c1", "start c1"]
        gate.set()
        await wait_all_tasks_blocked()
        assert troupe.journal == ["end c1", "start c1", "fail c1", "start c2", "start c1"]


async def test_an_end_that_came_meanwhile_is_served_between_two_tries(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 2: exits already queued come before the next try."""
    gate = trio.Event()
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))):
        troupe.plan("c1", (gate, error_of("c1")))
        troupe.clear()
        await troupe.crash("c1")
        await troupe.crash("c2")
        gate.set()
        await wait_all_tasks_blocked()
        assert troupe.journal == ["end c1", "start c1", "end c2", "fail c1", "start c2", "start c1"]


async def test_a_start_that_always_fails_burns_through_the_window_and_gives_up(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 3: each try is counted."""
    with pytest.raises(SupervisorFailed) as failure:
        async with open_supervisor(
            Supervisor(troupe.children("c1", "c2"), max_restarts=4), telemetry=[troupe.events.append]
        ) as supervisor:
            troupe.plan("c1", *[error_of("c1")] * 10)
            await troupe.crash("c1")
    assert trio.current_time() == 0
    assert troupe.starts == {"c1": 5, "c2": 1}
    assert troupe.journal[-1] == "stop c2"
    assert (failure.value.child, failure.value.reason) == ("c1", crashed("c1"))
    assert await supervisor.wait_stopped() == Shutdown()
    assert len(troupe.heard(ChildStartFailed)) == 4
    assert len(troupe.heard(GaveUp)) == 1


async def test_a_start_that_works_at_the_second_try_has_used_two_entries(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 3: the failing try and the successful one are counted."""
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=2)) as supervisor:
            troupe.plan("c1", error_of("c1"))
            await troupe.crash("c1")
            assert supervisor.get_child("c1").state == "running"
            assert troupe.starts["c1"] == 3
            await troupe.crash("c1")
    assert troupe.starts["c1"] == 3


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda supervisor, troupe: supervisor.restart_child("c1"), ChildRestarting),
        (lambda supervisor, troupe: supervisor.delete_child("c1"), ChildRestarting),
        (lambda supervisor, troupe: supervisor.start_child(troupe.child("c1")), AlreadyPresent),
    ],
    ids=["restart_child", "delete_child", "start_child"],
)
async def test_a_restarting_child_can_only_be_terminated(
    call: Callable[[SupervisorHandle, Troupe], Awaitable[object]],
    error: type[Exception],
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, failing restarts, 4: restarting, already_present."""
    gates, refusals = (trio.Event(), trio.Event()), []
    async with (
        open_supervisor(Supervisor(troupe.children("c1"))) as supervisor,
        trio.open_nursery() as nursery,
    ):

        async def calls() -> None:
            with pytest.raises(error, match="c1") as refusal:
                await call(supervisor, troupe)
            refusals.append(refusal.value)

        troupe.plan("c1", (gates[0], error_of("c1")), gates[1])
        await troupe.crash("c1")
        nursery.start_soon(calls)
        await wait_all_tasks_blocked()
        assert refusals == []
        gates[0].set()
        await wait_all_tasks_blocked()
        assert len(refusals) == 1
        assert supervisor.get_child("c1").state == "restarting"
        gates[1].set()
        await wait_all_tasks_blocked()
        assert supervisor.get_child("c1").state == "running"
        assert troupe.starts["c1"] == 3


async def test_to_terminate_a_restarting_child_calls_its_restart_off(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts, 4: the pending note finds nothing to do."""
    gate = trio.Event()
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))) as supervisor:
        troupe.plan("c1", error_of("c1"), gate)
        await troupe.crash("c1")
        assert supervisor.get_child("c1").state == "restarting"
        await supervisor.terminate_child("c1")
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}
        await trio.sleep(100)
        assert troupe.starts["c1"] == 3
        assert (await supervisor.restart_child("c1")).state == "running"


async def test_to_terminate_a_child_that_has_just_failed_again_calls_its_restart_off(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 4: also between two tries."""
    gates = trio.Event(), trio.Event()
    async with (
        open_supervisor(Supervisor(troupe.children("c1"))) as supervisor,
        trio.open_nursery() as nursery,
    ):
        troupe.plan("c1", (gates[0], error_of("c1")))
        troupe.plan("new", gates[1])
        await troupe.crash("c1")
        nursery.start_soon(supervisor.start_child, troupe.child("new"))
        await wait_all_tasks_blocked()
        gates[0].set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "restarting", "new": "starting"}
        nursery.start_soon(supervisor.terminate_child, "c1")
        await wait_all_tasks_blocked()
        gates[1].set()
        await wait_all_tasks_blocked()
        assert states(supervisor)["new"] == "running"
        # The note of the next try stands before the call, which interrupts that try or finds the child running.
        assert supervisor.get_child("c1").state == "stopped"
        starts = troupe.starts["c1"]
        await trio.sleep(100)
        assert troupe.starts["c1"] == starts


async def test_to_delete_a_child_after_its_restart_was_called_off(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts, 4: then it is a stopped child like any other."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        troupe.plan("c1", trio.Event())
        await troupe.crash("c1")
        await supervisor.terminate_child("c1")
        await supervisor.delete_child("c1")
        assert supervisor.which_children() == ()


async def test_in_one_for_all_those_already_started_run_until_the_next_try_then_all_start_again(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 5: the next try is one of the whole group."""
    gate = trio.Event()
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all", max_restarts=2)
    async with open_supervisor(spec) as supervisor, trio.open_nursery() as nursery:
        troupe.plan("c2", (gate, error_of("c2")))
        troupe.clear()
        await troupe.crash("c1")
        nursery.start_soon(supervisor.start_child, troupe.child("new"))
        await wait_all_tasks_blocked()
        gate.set()
        await wait_all_tasks_blocked()
        assert troupe.journal == [
            "end c1", "stop c3", "stop c2",
            "start c1", "start c2", "fail c2",
            "start new",
            "stop new", "stop c1",
            "start c1", "start c2", "start c3", "start new",
        ]  # fmt: skip
        assert set(states(supervisor).values()) == {"running"}


async def test_in_one_for_all_a_child_that_never_starts_gives_up_in_its_own_name(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 5: the group is started on behalf of the one that failed."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all", max_restarts=2)
    with pytest.raises(SupervisorFailed) as failure:
        async with open_supervisor(spec):
            troupe.plan("c2", *[error_of("c2")] * 10)
            troupe.clear()
            await troupe.crash("c1")
    assert failure.value.child == "c2"
    assert troupe.journal == [
        "end c1", "stop c3", "stop c2",
        "start c1", "start c2", "fail c2", "stop c1",
        "start c1", "start c2", "fail c2", "stop c1",
    ]  # fmt: skip


async def test_in_rest_for_one_those_before_the_failing_child_are_kept(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 6: also those just restarted; the next try concerns it and those after it."""
    spec = Supervisor(troupe.children("c0", "c1", "c2", "c3"), strategy="rest_for_one")
    async with open_supervisor(spec) as supervisor:
        before = lives(supervisor)
        troupe.plan("c2", error_of("c2"))
        troupe.clear()
        await troupe.crash("c1")
        assert troupe.journal == [
            "end c1", "stop c3", "stop c2", "start c1", "start c2", "fail c2", "start c2", "start c3",
        ]  # fmt: skip
        assert lives(supervisor)["c0"] == before["c0"]
        assert set(states(supervisor).values()) == {"running"}


async def test_to_decline_in_a_restart_is_a_success(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts, 7: the spec is kept, without a life."""
    async with open_supervisor(Supervisor(troupe.children("c1")), telemetry=[troupe.events.append]) as supervisor:
        troupe.plan("c1", Ignore())
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "stopped"}
        assert troupe.starts["c1"] == 2
        assert troupe.heard(ChildStartFailed) == []
        assert (await supervisor.restart_child("c1")).state == "running"


async def test_to_decline_in_the_restart_of_a_group_lets_the_others_start(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 7: a success, so the next sibling is started."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all")
    async with open_supervisor(spec) as supervisor:
        troupe.plan("c2", Ignore())
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "running", "c2": "stopped", "c3": "running"}


async def test_to_decline_in_a_restart_removes_the_child_of_a_dynamic_supervisor(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 7: DynamicSupervisor keeps no stopped child."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        await supervisor.start_child(troupe.child("c1"))
        troupe.plan("c1", Ignore())
        await troupe.crash("c1")
        assert troupe.starts["c1"] == 2
        assert supervisor.which_children() == ()


async def test_a_supervisor_that_fails_to_restart_is_tried_again(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts: a supervisor is a child like any other; its children are started anew each time."""
    inner = Supervisor(troupe.children("c1", "c2"), id="inner", max_restarts=0)
    async with open_supervisor(Supervisor([inner]), telemetry=[troupe.events.append]) as supervisor:
        troupe.plan("c2", error_of("c2"))
        troupe.clear()
        await troupe.crash("c1")
        assert troupe.journal == [
            "end c1", "stop c2", "start c1", "start c2", "fail c2", "stop c1", "start c1", "start c2",
        ]  # fmt: skip
        assert states(supervisor.supervisor("inner")) == {"c1": "running", "c2": "running"}


async def test_a_delay_can_be_asked_for(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, failing restarts: an extension; the child shows as restarting meanwhile, its sibling notices nothing."""
    backoff = Backoff(initial=1, maximum=60, factor=2, jitter=0)
    spec = Supervisor([troupe.child("c1", backoff=backoff), troupe.child("c2")], max_restarts=3, max_seconds=100)
    async with open_supervisor(spec) as supervisor:
        troupe.plan("c1", error_of("c1"))
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "restarting", "c2": "running"}
        await trio.sleep(0.9)
        assert troupe.starts["c1"] == 1
        await trio.sleep(0.2)
        assert (troupe.starts["c1"], supervisor.get_child("c1").state) == (2, "restarting")
        await trio.sleep(1.8)
        assert troupe.starts["c1"] == 2
        await trio.sleep(0.2)
        assert (troupe.starts["c1"], supervisor.get_child("c1").state) == (3, "running")


async def test_a_delayed_restart_obeys_the_rules_of_one_that_is_pending(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 4: also with a delay."""
    backoff = Backoff(initial=1, maximum=60, factor=2, jitter=0)
    async with open_supervisor(Supervisor([troupe.child("c1", backoff=backoff)])) as supervisor:
        await troupe.crash("c1")
        with pytest.raises(ChildRestarting):
            await supervisor.restart_child("c1")
        with pytest.raises(ChildRestarting):
            await supervisor.delete_child("c1")
        with pytest.raises(AlreadyPresent):
            await supervisor.start_child(troupe.child("c1"))
        await supervisor.terminate_child("c1")
        await trio.sleep(100)
        assert (troupe.starts["c1"], supervisor.get_child("c1").state) == (1, "stopped")


@pytest.mark.parametrize(
    ("strategy", "crashing"), [("one_for_all", "c1"), ("one_for_all", "c4"), ("rest_for_one", "c1")]
)
async def test_to_terminate_a_member_that_is_slow_to_start_lets_the_rest_of_its_group_start(
    strategy: str, crashing: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management calls, 4: siblings do not notice. (That a start can be interrupted at all is a difference.)"""
    spec = Supervisor(troupe.children("c1", "c2", "c3", "c4"), strategy=strategy)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        troupe.plan("c2", trio.Event())
        await troupe.crash(crashing)
        assert states(supervisor) == {"c1": "running", "c2": "restarting", "c3": "restarting", "c4": "restarting"}
        await supervisor.terminate_child("c2")
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "running", "c2": "stopped", "c3": "running", "c4": "running"}
        assert supervisor.get_child("c2").reason == Shutdown()
        await trio.sleep(100)
        assert troupe.starts == {"c1": 2, "c2": 2, "c3": 2, "c4": 2}
        assert [info.restarts for info in supervisor.which_children()] == [1, 0, 1, 1]
        assert (await supervisor.restart_child("c2")).state == "running"


async def test_a_member_whose_start_takes_too_long_is_tried_again_with_its_group(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 4: a start that was cut off for its time has failed as any other."""
    c1, c3 = troupe.children("c1", "c3")
    async with open_supervisor(
        Supervisor([c1, troupe.child("c2", start_timeout=2), c3], strategy="one_for_all")
    ) as supervisor:
        troupe.plan("c2", trio.Event())
        await troupe.crash("c1")
        await trio.sleep(3)
        assert states(supervisor) == {"c1": "running", "c2": "running", "c3": "running"}
        assert troupe.starts == {"c1": 3, "c2": 3, "c3": 2}


async def test_to_terminate_the_one_child_that_is_being_restarted_leaves_it_stopped(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, failing restarts, 3: its restart is called off."""
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))) as supervisor:
        troupe.plan("c1", trio.Event())
        await troupe.crash("c1")
        await supervisor.terminate_child("c1")
        await trio.sleep(100)
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}
        assert troupe.starts["c1"] == 2
