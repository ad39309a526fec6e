"""OTP, restart intensity: how often is too often, and what giving up means."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Child,
    ChildRestarted,
    ChildStarted,
    DynamicSupervisor,
    Exit,
    GaveUp,
    Normal,
    Shutdown,
    StartFailed,
    Supervisor,
    SupervisorFailed,
    SupervisorStopped,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, lives, states


async def survives(troupe: Troupe, times: list[float], **flags: object) -> bool:
    """Whether a supervisor is still there after crashes of its one child at those times."""
    spec = Supervisor(troupe.children("c1"), **flags)  # type: ignore[arg-type]
    try:
        async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
            for time in times:
                await trio.sleep_until(time)
                await troupe.crash("c1")
            assert states(supervisor) == {"c1": "running"}
    except SupervisorFailed:
        return False
    return True


async def test_with_no_restarts_allowed_the_first_one_gives_up(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: intensity 0."""
    assert not await survives(troupe, [0], max_restarts=0)
    assert troupe.starts["c1"] == 1


async def test_with_no_restarts_allowed_a_clean_end_of_a_permanent_child_gives_up_too(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: intensity 0; what counts is the restart, not the reason."""
    with pytest.raises(SupervisorFailed) as failure:
        async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=0)):
            await troupe.end("c1")
    assert failure.value.reason == Normal()


@pytest.mark.parametrize("max_restarts", [1, 2, 3, 10])
async def test_exactly_as_many_restarts_as_allowed_are_done(
    max_restarts: int, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: intensity I permits I restarts in the window; one more gives up."""
    assert await survives(troupe, [0] * max_restarts, max_restarts=max_restarts)
    assert troupe.starts["c1"] == 1 + max_restarts
    troupe.clear()
    assert not await survives(troupe, [0] * (max_restarts + 1), max_restarts=max_restarts)
    assert len(troupe.heard(ChildRestarted)) == max_restarts


async def test_three_restarts_are_allowed_by_default(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: a difference, the default is three as in Elixir."""
    assert await survives(troupe, [0, 0, 0])
    assert not await survives(troupe, [0, 0, 0, 0])


@pytest.mark.parametrize(
    ("times", "survived"),
    [
        ([0, 0], False),
        ([0, 4.999], False),
        ([0, 5], False),
        ([0, 5.001], True),
        ([0, 5.5], True),
        ([0.9, 5.95], True),
        ([0, 6, 12, 18], True),
        ([0, 6, 10], False),
    ],
)
async def test_the_window_is_inclusive_and_slides(
    times: list[float], survived: bool, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: the boundary; a difference, time is not truncated to whole seconds."""
    assert await survives(troupe, times, max_restarts=1, max_seconds=5) is survived


@pytest.mark.parametrize(
    ("times", "survived"),
    [([0, 4, 8, 12, 16], True), ([0, 4, 8, 9], False), ([0, 2, 5], False), ([0, 2, 5.5, 8], True)],
)
async def test_old_restarts_are_forgotten_one_by_one(
    times: list[float], survived: bool, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: a list that only ages."""
    assert await survives(troupe, times, max_restarts=2, max_seconds=5) is survived


async def test_success_never_resets_the_window(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: the list is never reset by success."""
    assert not await survives(troupe, [0, 4.5], max_restarts=1, max_seconds=5)
    assert troupe.starts["c1"] == 2


async def test_the_window_may_be_shorter_than_a_second(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: a difference, the window is a float."""
    assert await survives(troupe, [0, 0.375, 0.75], max_restarts=1, max_seconds=0.25)


async def test_children_share_one_window(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: nothing is per child."""
    with pytest.raises(SupervisorFailed) as failure:
        async with open_supervisor(Supervisor(troupe.children("c1", "c2"), max_restarts=1)):
            await troupe.crash("c1")
            await troupe.crash("c2")
    assert (failure.value.child, failure.value.reason) == ("c2", crashed("c2"))
    assert troupe.starts == {"c1": 2, "c2": 1}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_the_restart_of_a_group_counts_once(strategy: str, troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: one attempt is one entry, however large the group."""
    names = [f"c{number}" for number in range(1, 11)]
    spec = Supervisor(troupe.children(*names), strategy=strategy, max_restarts=2)
    async with open_supervisor(spec) as supervisor:
        await troupe.crash("c1")
        await troupe.crash("c1")
        assert {info.restarts for info in supervisor.which_children()} == {2}


async def test_each_try_of_a_failing_start_counts(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: each retry is one more entry."""
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=4)):
            troupe.plan("c1", *[error_of("c1")] * 10)
            await troupe.crash("c1")
    assert troupe.starts["c1"] == 1 + 4


async def test_an_end_that_is_not_followed_by_a_restart_does_not_count(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: not counted are ends that restart nothing."""
    children = [
        *troupe.children("a", "b", restart="transient"),
        *troupe.children("c", "d", restart="temporary"),
        troupe.child("last"),
    ]
    async with open_supervisor(Supervisor(children, max_restarts=1)) as supervisor:
        await troupe.end("a")
        await troupe.end("b", Exit(Shutdown("enough")))
        await troupe.end("c")
        await troupe.crash("d")
        await troupe.crash("last")
        assert states(supervisor) == {"a": "stopped", "b": "stopped", "last": "running"}


async def test_restarts_by_hand_do_not_count(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: not counted is restart_child."""
    async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=1)) as supervisor:
        for _ in range(5):
            await supervisor.terminate_child("c1")
            await supervisor.restart_child("c1")
        assert supervisor.get_child("c1").restarts == 0
        await troupe.crash("c1")
        assert supervisor.get_child("c1").restarts == 1


async def test_starts_by_hand_that_fail_do_not_count(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: not counted are failures of start_child and restart_child."""
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"), max_restarts=1)) as supervisor:
        await supervisor.terminate_child("c2")
        for _ in range(3):
            troupe.plan("new", error_of("new"))
            troupe.plan("c2", error_of("c2"))
            with pytest.raises(StartFailed):
                await supervisor.start_child(troupe.child("new"))
            with pytest.raises(StartFailed):
                await supervisor.restart_child("c2")
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "running", "c2": "stopped"}


async def test_giving_up_stops_the_others_in_reverse_and_ends_the_block(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: giving up; reason shutdown, and here an exception that names who, over whom and why."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), id="theatre", max_restarts=0)
    with pytest.raises(SupervisorFailed, match=r"theatre.*c2.*c2 crashed") as failure:
        async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
            troupe.clear()
            troupe.tell("c2", error_of("c2"))
            await trio.sleep_forever()
    assert troupe.journal == ["end c2", "stop c3", "stop c1"]
    assert (failure.value.id, failure.value.child, failure.value.reason) == ("theatre", "c2", crashed("c2"))
    assert await supervisor.wait_stopped() == Shutdown()
    with pytest.raises(SupervisorStopped):
        supervisor.which_children()
    (gave_up,) = troupe.heard(GaveUp)
    assert (gave_up.child, gave_up.reason) == ("c2", crashed("c2"))


async def test_giving_up_in_a_group_strategy_stops_each_of_the_others_once(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: giving up is decided before the group is stopped for its restart."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all", max_restarts=0)
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(spec):
            troupe.clear()
            await troupe.crash("c1")
    assert troupe.journal == ["end c1", "stop c3", "stop c2"]


async def test_run_raises_when_it_gives_up(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: giving up."""

    async def crashes() -> None:
        await trio.sleep(1)
        raise error_of("c1")

    with pytest.raises(SupervisorFailed) as failure:
        await Supervisor([Child(crashes, id="c1")], max_restarts=2).run()
    assert failure.value.reason == crashed("c1")
    assert trio.current_time() == pytest.approx(3)


async def test_a_permanent_supervisor_that_gives_up_is_restarted_with_all_its_children(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: the parent sees shutdown, and counts one entry."""
    inner = Supervisor(troupe.children("c1", "c2"), id="inner", max_restarts=0)
    spec = Supervisor([inner, troupe.child("c3")], max_restarts=2)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        before = lives(supervisor)
        troupe.clear()
        await troupe.crash("c1")
        info = supervisor.get_child("inner")
        assert troupe.journal == ["end c1", "stop c2", "start c1", "start c2"]
        assert (info.state, info.restarts, info.reason) == ("running", 1, Shutdown())
        assert lives(supervisor)["c3"] == before["c3"]
        await troupe.crash("c1")
        assert supervisor.get_child("inner").restarts == 2
        assert states(supervisor.supervisor("inner")) == {"c1": "running", "c2": "running"}
        assert [event.child for event in troupe.heard(GaveUp)] == ["inner/c1", "inner/c1"]


async def test_a_restarted_supervisor_begins_with_an_empty_window(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: the window is state of one life of the supervisor."""
    inner = Supervisor(troupe.children("c1"), id="inner", max_restarts=1)
    async with open_supervisor(Supervisor([inner], max_restarts=1)) as supervisor:
        for _ in range(3):
            await troupe.crash("c1")
        assert supervisor.get_child("inner").restarts == 1
        assert supervisor.supervisor("inner").get_child("c1").restarts == 1


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_escalation_stops_silently_at_a_supervisor_that_is_not_permanent(
    restart: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: shutdown is a clean reason for the parent."""
    inner = Supervisor(troupe.children("c1"), id="inner", max_restarts=0, restart=restart)
    spec = Supervisor([inner, troupe.child("c2")], max_restarts=0)
    async with open_supervisor(spec) as supervisor:
        await troupe.crash("c1")
        assert troupe.starts == {"c1": 1, "c2": 1}
        left = {"c2": "running"}
        assert states(supervisor) == (left if restart == "temporary" else {"inner": "stopped", **left})


async def test_restarts_before_the_root_gives_up_multiply_over_the_levels(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: about the product of (I+1) over the levels."""
    starts = 0

    async def crashes() -> None:
        nonlocal starts
        starts += 1
        await trio.lowlevel.checkpoint()
        raise error_of("c1")

    inner = Supervisor([Child(crashes, id="c1")], id="inner", max_restarts=2)
    middle = Supervisor([inner], id="middle", max_restarts=1)
    with pytest.raises(SupervisorFailed) as failure:
        await Supervisor([middle], id="root", max_restarts=3).run()
    assert starts == 3 * 2 * 4
    assert (failure.value.id, failure.value.child, failure.value.reason) == ("root", "middle", Shutdown())


async def test_children_of_a_dynamic_supervisor_share_one_window_too(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, restart intensity: also in DynamicSupervisor."""
    with pytest.raises(SupervisorFailed) as failure:
        async with open_supervisor(DynamicSupervisor()) as supervisor:
            for id in ("c1", "c2", "c3", "c4"):
                await supervisor.start_child(troupe.child(id))
            for id in ("c1", "c2", "c3", "c4"):
                await troupe.crash(id)
    assert failure.value.child == "c4"
    assert troupe.starts == {"c1": 2, "c2": 2, "c3": 2, "c4": 1}


async def test_the_first_start_is_reported_as_start_and_those_after_it_as_restarts(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, restart intensity: what counts can be seen."""
    async with open_supervisor(Supervisor(troupe.children("c1")), telemetry=[troupe.events.append]):
        await troupe.crash("c1")
        await wait_all_tasks_blocked()
    assert len(troupe.heard(ChildStarted)) == 1
    assert len(troupe.heard(ChildRestarted)) == 1
