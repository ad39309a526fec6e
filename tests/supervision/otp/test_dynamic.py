"""OTP, DynamicSupervisor: children that come and go."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Backoff,
    Child,
    ChildExited,
    ChildNotFound,
    DynamicSupervisor,
    Exit,
    GaveUp,
    Ignore,
    InvalidSpec,
    Shutdown,
    StartFailed,
    Supervisor,
    SupervisorFailed,
    TooManyChildren,
    cleanup_scope,
    monitor,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, ids, states


async def test_it_starts_empty_and_its_children_come_later(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor: nothing is started at boot."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        assert supervisor.which_children() == ()
        info = await supervisor.start_child(troupe.child("c1"))
        assert (info.id, info.state, info.started) == ("c1", "running", "c1, life 1")
        assert states(supervisor) == {"c1": "running"}


async def test_ids_may_repeat(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 1: ids are ignored; here an id names a child while it occurs once."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        first = await supervisor.start_child(troupe.child("c1"))
        assert supervisor.get_child("c1").life == first.life
        second = await supervisor.start_child(troupe.child("c1"))
        assert first.life != second.life
        assert ids(supervisor.which_children()) == ["c1", "c1"]
        with pytest.raises(InvalidSpec, match="c1"):
            supervisor.get_child("c1")
        with pytest.raises(InvalidSpec, match="c1"):
            await supervisor.terminate_child("c1")
        assert supervisor.get_child(second).life == second.life
        await supervisor.terminate_child(first)
        assert supervisor.get_child("c1").life == second.life
        await supervisor.terminate_child("c1")
        assert supervisor.which_children() == ()


async def test_extra_arguments_stand_before_those_of_each_child_at_restarts_too(autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 1: extra_arguments."""
    seen = []

    async def child(*arguments: object) -> None:
        seen.append(arguments)
        await trio.sleep(1)
        if len(seen) == 1:
            raise error_of("c1")
        await trio.sleep_forever()

    async with open_supervisor(DynamicSupervisor(extra_arguments=("extra", 1))) as supervisor:
        await supervisor.start_child(Child(child, "own", id="c1"))
        await trio.sleep(2)
    assert seen == [("extra", 1, "own")] * 2


@pytest.mark.parametrize("wrong", [3, None, "abc", b"abc"])
def test_extra_arguments_are_many(wrong: object) -> None:
    """OTP, DynamicSupervisor, 1: extra_arguments is a list."""
    with pytest.raises(InvalidSpec, match="extra_arguments"):
        DynamicSupervisor(extra_arguments=wrong)  # type: ignore[arg-type]
    assert DynamicSupervisor(extra_arguments=["abc", 3]).extra_arguments == ("abc", 3)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_a_significant_child_is_refused(restart: str, troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 1: significant children are rejected."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        with pytest.raises(InvalidSpec, match="significant"):
            await supervisor.start_child(troupe.child("c1", restart=restart, significant=True))
        assert troupe.starts["c1"] == 0


async def test_max_children_refuses_before_anything_is_started(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 2: max_children."""
    async with open_supervisor(DynamicSupervisor(max_children=2)) as supervisor:
        await supervisor.start_child(troupe.child("c1"))
        await supervisor.start_child(troupe.child("c2"))
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(troupe.child("c3"))
        assert troupe.starts["c3"] == 0
        await supervisor.terminate_child("c1")
        assert (await supervisor.start_child(troupe.child("c3"))).state == "running"


async def test_max_children_may_be_zero(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 2: 0 is legal."""
    async with open_supervisor(DynamicSupervisor(max_children=0)) as supervisor:
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(troupe.child("c1"))


@pytest.mark.parametrize("max_children", [-1, 1.5, "2", None, math.nan])
def test_max_children_is_a_whole_number_or_infinite(max_children: object) -> None:
    """OTP, DynamicSupervisor, 2: default infinity."""
    with pytest.raises(InvalidSpec, match="max_children"):
        DynamicSupervisor(max_children=max_children)  # type: ignore[arg-type]
    assert DynamicSupervisor(max_children=math.inf).max_children == math.inf


async def test_max_children_counts_one_that_waits_for_its_restart(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 2: restarting ones included."""
    async with open_supervisor(DynamicSupervisor(max_children=1)) as supervisor:
        await supervisor.start_child(troupe.child("c1", backoff=Backoff(initial=5)))
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "restarting"}
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(troupe.child("c2"))


async def test_max_children_counts_one_that_is_starting(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 2: since starts are concurrent here, those that start included."""
    async with open_supervisor(DynamicSupervisor(max_children=1)) as supervisor, trio.open_nursery() as nursery:
        troupe.plan("c1", trio.Event())
        nursery.start_soon(supervisor.start_child, troupe.child("c1"))
        await wait_all_tasks_blocked()
        with pytest.raises(TooManyChildren):
            await supervisor.start_child(troupe.child("c2"))
        nursery.cancel_scope.cancel()


async def test_a_start_that_declines_keeps_nothing(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 3: start_child, ignore."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        troupe.plan("c1", Ignore())
        assert (await supervisor.start_child(troupe.child("c1"))).state == "stopped"
        assert supervisor.which_children() == ()


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_start_that_fails_keeps_nothing_and_counts_for_nothing(
    restart: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 3: start_child, error."""
    async with open_supervisor(DynamicSupervisor(max_restarts=0)) as supervisor:
        error = error_of("c1")
        troupe.plan("c1", error)
        with pytest.raises(StartFailed) as failure:
            await supervisor.start_child(troupe.child("c1", restart=restart))
        assert (failure.value.id, failure.value.reason) == ("c1", crashed("c1"))
        assert failure.value.__cause__ is error
        assert supervisor.which_children() == ()
        assert troupe.starts["c1"] == 1


@pytest.mark.parametrize(
    ("restart", "error"),
    [
        ("transient", None),
        ("transient", Exit(Shutdown("enough"))),
        ("temporary", None),
        ("temporary", error_of("c1")),
    ],
)
async def test_a_child_that_is_not_restarted_is_removed(
    restart: str, error: Exception | None, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 4: there is no stopped state."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        await supervisor.start_child(troupe.child("c1", restart=restart))
        await troupe.end("c1", error)
        assert supervisor.which_children() == ()
        assert supervisor.count_children().specs == 0


@pytest.mark.parametrize(
    ("restart", "error"), [("permanent", None), ("permanent", error_of("c1")), ("transient", error_of("c1"))]
)
async def test_a_child_is_restarted_by_the_same_rules_as_anywhere(
    restart: str, error: Exception | None, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 4: restart types; one_for_one."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        first = await supervisor.start_child(troupe.child("c1", restart=restart))
        other = await supervisor.start_child(troupe.child("c2"))
        await troupe.end("c1", error)
        info = supervisor.get_child("c1")
        assert (info.state, info.restarts) == ("running", 1)
        assert info.life != first.life
        assert supervisor.get_child("c2").life == other.life


async def test_nothing_can_be_restarted_or_deleted_by_hand(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 4: there is no restart_child, no delete_child."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        await supervisor.start_child(troupe.child("c1"))
        for call in (supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(ChildNotFound):
                await call("c1")
        assert states(supervisor) == {"c1": "running"}


async def test_a_child_that_waits_for_its_restart_can_be_terminated_by_its_old_life(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 5: a restart keeps the entry under the old pid."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        old = await supervisor.start_child(troupe.child("c1", backoff=Backoff(initial=5)))
        await troupe.crash("c1")
        assert supervisor.get_child(old).state == "restarting"
        await supervisor.terminate_child(old)
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child(old)
        await trio.sleep(100)
        assert troupe.starts["c1"] == 1


async def test_a_child_that_has_been_restarted_is_not_found_by_its_old_life(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 5: once the new life runs, the old pid is unknown."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        old = await supervisor.start_child(troupe.child("c1"))
        await troupe.crash("c1")
        with pytest.raises(ChildNotFound):
            supervisor.get_child(old)
        with pytest.raises(ChildNotFound):
            await supervisor.terminate_child(old)
        assert states(supervisor) == {"c1": "running"}


async def test_terminate_child_waits_for_the_end_and_forgets_the_child(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 6: terminate_child, for the child's shutdown time."""

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(3)

    async with open_supervisor(DynamicSupervisor(), telemetry=[troupe.events.append]) as supervisor:
        info = await supervisor.start_child(Child(cleans_up, id="c1"))
        await supervisor.terminate_child(info)
        assert trio.current_time() == pytest.approx(3)
        assert supervisor.which_children() == ()
        for subject in (info, "c1"):
            with pytest.raises(ChildNotFound):
                await supervisor.terminate_child(subject)
    assert [(event.life, event.reason) for event in troupe.heard(ChildExited)] == [(info.life, Shutdown())]


async def test_a_child_of_another_supervisor_is_not_found(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 6: terminate_child, a pid that is no child."""
    spec = Supervisor([DynamicSupervisor(id="one"), DynamicSupervisor(id="two")])
    async with open_supervisor(spec) as supervisor:
        one, two = supervisor.get_child("one").started, supervisor.get_child("two").started
        stranger = await one.start_child(troupe.child("c1"))
        await two.start_child(troupe.child("c1"))
        with pytest.raises(ChildNotFound):
            await two.terminate_child(stranger)
        assert states(one) == states(two) == {"c1": "running"}


async def test_children_are_listed_in_start_order_and_counted(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 7: which_children and count_children; a difference, there it is unordered."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        for id in ("c3", "c1", "c2"):
            await supervisor.start_child(troupe.child(id))
        await supervisor.start_child(Supervisor(id="inner"))
        await supervisor.start_child(troupe.child("waits", backoff=Backoff(initial=5)))
        await troupe.crash("waits")
        await troupe.crash("c3")
        assert ids(supervisor.which_children()) == ["c3", "c1", "c2", "inner", "waits"]
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (5, 4, 1, 4)


async def test_a_slow_start_delays_no_other_start_or_call(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 8: a difference, children start concurrently."""
    gate = trio.Event()
    async with open_supervisor(DynamicSupervisor()) as supervisor, trio.open_nursery() as nursery:
        troupe.plan("slow", gate)
        nursery.start_soon(supervisor.start_child, troupe.child("slow"))
        await wait_all_tasks_blocked()
        with trio.fail_after(0.1):
            await supervisor.start_child(troupe.child("c1"))
            await supervisor.terminate_child("c1")
            await supervisor.start_child(troupe.child("c2"))
        await troupe.crash("c2")
        assert [(info.id, info.state, info.restarts) for info in supervisor.which_children()] == [
            ("slow", "starting", 0),
            ("c2", "running", 1),
        ]
        gate.set()
        await wait_all_tasks_blocked()
        assert supervisor.get_child("slow").state == "running"


async def test_a_slow_restart_delays_no_other(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 8: a difference, also in restarts."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        await supervisor.start_child(troupe.child("slow"))
        await supervisor.start_child(troupe.child("c1"))
        troupe.plan("slow", trio.Event())
        await troupe.crash("slow")
        await troupe.crash("c1")
        assert states(supervisor) == {"slow": "restarting", "c1": "running"}


async def test_the_fourth_restart_in_five_seconds_gives_up_whoever_crashed(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 9: three in five seconds, shared by all children."""
    with pytest.raises(SupervisorFailed) as failure:
        async with open_supervisor(DynamicSupervisor(id="sessions")) as supervisor:
            for number in range(1, 11):
                await supervisor.start_child(troupe.child(f"c{number}"))
            for number in range(1, 5):
                await troupe.crash(f"c{number}")
    assert (failure.value.id, failure.value.child, failure.value.reason) == ("sessions", "c4", crashed("c4"))
    assert sorted(line for line in troupe.journal if "stop" in line) == sorted(
        f"stop c{number}" for number in range(1, 11) if number != 4
    )


async def test_with_a_budget_per_child_one_that_crashes_too_often_is_removed_and_the_others_go_on(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, DynamicSupervisor, 9: an extension, one window for each child."""
    spec = DynamicSupervisor(budget="per_child", max_restarts=2)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        for id in ("c1", "c2", "c3"):
            await supervisor.start_child(troupe.child(id))
        for id in ("c1", "c2", "c3"):
            await troupe.crash(id)
            await troupe.crash(id)
        async with monitor(supervisor.get_child("c2")) as down:
            await troupe.crash("c2")
            assert await down() == crashed("c2")
        assert states(supervisor) == {"c1": "running", "c3": "running"}
    assert [(event.child, event.reason) for event in troupe.heard(GaveUp)] == [("c2", crashed("c2"))]


async def test_with_a_budget_per_child_failing_tries_count_too(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 9 and 10: an extension, the window of a child holds its tries."""
    spec = DynamicSupervisor(budget="per_child", max_restarts=2)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await supervisor.start_child(troupe.child("c1"))
        await supervisor.start_child(troupe.child("c2"))
        troupe.plan("c1", *[error_of("c1")] * 5)
        await troupe.crash("c1")
        assert states(supervisor) == {"c2": "running"}
        assert troupe.starts["c1"] == 1 + 2
    assert [event.child for event in troupe.heard(GaveUp)] == ["c1"]


async def test_a_restart_that_fails_is_tried_again(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 10: an error in a restart is restarting and trying again."""
    gate = trio.Event()
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        await supervisor.start_child(troupe.child("c1"))
        troupe.plan("c1", error_of("c1"), gate)
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "restarting"}
        gate.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "running"}
        assert troupe.starts["c1"] == 3


async def test_a_restart_that_always_fails_gives_up(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 10: each try is counted."""
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(DynamicSupervisor()) as supervisor:
            await supervisor.start_child(troupe.child("c1"))
            troupe.plan("c1", *[error_of("c1")] * 10)
            await troupe.crash("c1")
    assert troupe.starts["c1"] == 1 + 3


async def test_it_is_restarted_empty(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor: its children are not part of its spec."""
    spec = Supervisor([DynamicSupervisor(id="sessions", max_restarts=0), troupe.child("c0")])
    async with open_supervisor(spec) as supervisor:
        await supervisor.supervisor("sessions").start_child(troupe.child("c1"))
        await supervisor.supervisor("sessions").start_child(troupe.child("c2"))
        await troupe.crash("c1")
        assert supervisor.get_child("sessions").restarts == 1
        assert supervisor.supervisor("sessions").which_children() == ()
        assert troupe.starts == {"c0": 1, "c1": 1, "c2": 1}


async def test_a_stop_interrupts_starts_in_progress(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, DynamicSupervisor, 8: a difference, a start in progress can be interrupted."""
    failures = []

    async def starts(id: str) -> None:
        troupe.plan(id, trio.Event())
        with pytest.raises(StartFailed) as failure:
            await supervisor.start_child(troupe.child(id))
        failures.append((failure.value.id, failure.value.reason))

    async with trio.open_nursery() as nursery:
        async with open_supervisor(DynamicSupervisor()) as supervisor:
            nursery.start_soon(starts, "c1")
            nursery.start_soon(starts, "c2")
            await wait_all_tasks_blocked()
            await supervisor.terminate_child("c1")
            assert states(supervisor) == {"c2": "starting"}
    assert failures == [("c1", Shutdown()), ("c2", Shutdown())]
