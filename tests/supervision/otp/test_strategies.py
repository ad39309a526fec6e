"""OTP, strategies: whom a restart takes along."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Child,
    ChildRestarted,
    GaveUp,
    Ignore,
    ShutdownError,
    Supervisor,
    cleanup_scope,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, lives, states


async def test_one_for_one_restarts_the_child_alone_and_in_its_place(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, strategies: one_for_one."""
    async with open_supervisor(Supervisor(troupe.children("c1", "c2", "c3"))) as supervisor:
        before = lives(supervisor)
        troupe.clear()
        await troupe.crash("c2")
        after = lives(supervisor)
        assert troupe.journal == ["end c2", "start c2"]
        assert list(after) == ["c1", "c2", "c3"]
        assert (after["c1"], after["c3"]) == (before["c1"], before["c3"])
        assert after["c2"] != before["c2"]
    assert troupe.journal[2:] == ["stop c3", "stop c2", "stop c1"]


async def test_one_for_all_stops_the_others_in_reverse_and_starts_all_in_order(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: one_for_all."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all")
    async with open_supervisor(spec) as supervisor:
        before = lives(supervisor)
        troupe.clear()
        await troupe.crash("c2")
        after = lives(supervisor)
        assert troupe.journal == ["end c2", "stop c3", "stop c1", "start c1", "start c2", "start c3"]
        assert list(after) == ["c1", "c2", "c3"]
        assert not set(after.values()) & set(before.values())
        assert [info.restarts for info in supervisor.which_children()] == [1, 1, 1]


@pytest.mark.parametrize(
    ("crashing", "journal"),
    [
        ("c1", ["end c1", "stop c3", "stop c2", "start c1", "start c2", "start c3"]),
        ("c2", ["end c2", "stop c3", "start c2", "start c3"]),
        ("c3", ["end c3", "start c3"]),
    ],
)
async def test_rest_for_one_restarts_the_child_and_those_after_it(
    crashing: str, journal: list[str], troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: rest_for_one; those before it are untouched."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="rest_for_one")
    async with open_supervisor(spec) as supervisor:
        before = lives(supervisor)
        troupe.clear()
        await troupe.crash(crashing)
        after = lives(supervisor)
        assert troupe.journal == journal
        assert {id for id in after if after[id] == before[id]} == {id for id in before if id < crashing}


async def test_in_a_group_each_is_stopped_by_its_own_rule_and_fully_before_the_next(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: one_for_all, the others are shut down each by its own rule."""
    journal = []

    async def cleans_up(id: str, seconds: float) -> None:
        journal.append(f"start {id} at {trio.current_time():g}")
        try:
            await trio.sleep_forever()
        finally:
            journal.append(f"asked {id} at {trio.current_time():g}")
            with cleanup_scope():
                await trio.sleep(seconds)
                journal.append(f"clean {id} at {trio.current_time():g}")

    spec = Supervisor(
        [
            Child(cleans_up, "c1", 3, id="c1", shutdown=4),
            Child(cleans_up, "c2", 3, id="c2", shutdown=2),
            troupe.child("c3"),
        ],
        strategy="one_for_all",
    )
    async with open_supervisor(spec) as supervisor:
        journal.clear()
        await troupe.crash("c3")
        await trio.sleep(10)
        assert journal == [
            "asked c2 at 0",
            "asked c1 at 2",
            "clean c1 at 5",
            "start c1 at 5",
            "start c2 at 5",
        ]
        assert set(states(supervisor).values()) == {"running"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_group_restart_also_starts_those_that_had_ended_been_stopped_or_declined(
    strategy: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: a group restart is a fresh start of the group."""
    troupe.plan("declined", Ignore())
    spec = Supervisor(
        [
            troupe.child("c1"),
            troupe.child("ended", restart="transient"),
            *troupe.children("stopped", "declined"),
        ],
        strategy=strategy,
    )
    async with open_supervisor(spec) as supervisor:
        await troupe.end("ended")
        await supervisor.terminate_child("stopped")
        troupe.clear()
        assert states(supervisor) == {
            "c1": "running", "ended": "stopped", "stopped": "stopped", "declined": "stopped",
        }  # fmt: skip
        await troupe.crash("c1")
        assert troupe.journal == ["end c1", "start c1", "start ended", "start stopped", "start declined"]
        assert set(states(supervisor).values()) == {"running"}


async def test_rest_for_one_starts_no_stopped_child_before_the_one_that_crashed(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: rest_for_one, those before are no part of the group."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="rest_for_one")
    async with open_supervisor(spec) as supervisor:
        await supervisor.terminate_child("c1")
        await troupe.crash("c2")
        assert states(supervisor) == {"c1": "stopped", "c2": "running", "c3": "running"}


async def test_one_for_all_starts_a_terminated_child_before_the_one_that_crashed(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: one_for_all with a child stopped by terminate_child."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all")
    async with open_supervisor(spec) as supervisor:
        await supervisor.terminate_child("c1")
        troupe.clear()
        await troupe.crash("c2")
        assert troupe.journal == ["end c2", "stop c3", "start c1", "start c2", "start c3"]


async def test_two_that_crash_at_once_in_one_for_all_are_one_restart(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, strategies: the second is found dead while it is being stopped."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all", max_restarts=1)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        troupe.tell("c1", error_of("c1"))
        troupe.tell("c3", error_of("c3"))
        await wait_all_tasks_blocked()
        assert set(states(supervisor).values()) == {"running"}
        assert [info.restarts for info in supervisor.which_children()] == [1, 1, 1]
    (found_dead,) = troupe.heard(ShutdownError)
    assert found_dead.child in ("c1", "c3")
    assert found_dead.reason == crashed(found_dead.child)
    assert troupe.heard(GaveUp) == []


async def test_in_rest_for_one_two_crashes_are_one_restart_if_the_earlier_child_is_first(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: rest_for_one, two at once."""

    async def crashes_and_takes_along() -> None:
        await go.wait()
        troupe.tell("c2", error_of("c2"))
        raise error_of("c1")

    go = trio.Event()
    children = [Child(crashes_and_takes_along, id="c1"), troupe.child("c2")]
    spec = Supervisor(children, strategy="rest_for_one", max_restarts=1)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        old, go = go, trio.Event()
        old.set()
        await wait_all_tasks_blocked()
        assert [(info.id, info.state, info.restarts) for info in supervisor.which_children()] == [
            ("c1", "running", 1),
            ("c2", "running", 1),
        ]
    assert [(event.child, event.reason) for event in troupe.heard(ShutdownError)] == [("c2", crashed("c2"))]


async def test_in_rest_for_one_two_crashes_are_two_restarts_if_the_later_child_is_first(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: rest_for_one, two at once."""

    async def crashes_and_takes_along() -> None:
        await go.wait()
        troupe.tell("c1", error_of("c1"))
        raise error_of("c2")

    go = trio.Event()
    children = [troupe.child("c1"), Child(crashes_and_takes_along, id="c2")]
    spec = Supervisor(children, strategy="rest_for_one", max_restarts=2)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        old, go = go, trio.Event()
        old.set()
        await wait_all_tasks_blocked()
        assert [(info.id, info.state, info.restarts) for info in supervisor.which_children()] == [
            ("c1", "running", 1),
            ("c2", "running", 2),
        ]
    assert [event.child for event in troupe.heard(ChildRestarted)] == ["c2", "c1", "c2"]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_temporary_bystander_is_stopped_with_the_group_and_forgotten(
    strategy: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: temporary bystanders."""
    children = [troupe.child("c1"), troupe.child("c2", restart="temporary"), troupe.child("c3")]
    async with open_supervisor(Supervisor(children, strategy=strategy)) as supervisor:
        troupe.clear()
        await troupe.crash("c1")
        assert troupe.journal == ["end c1", "stop c3", "stop c2", "start c1", "start c3"]
        assert list(states(supervisor)) == ["c1", "c3"]


async def test_a_temporary_child_before_the_one_that_crashed_lives_on_in_rest_for_one(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: rest_for_one, those before are untouched."""
    children = [troupe.child("c1", restart="temporary"), troupe.child("c2"), troupe.child("c3")]
    async with open_supervisor(Supervisor(children, strategy="rest_for_one")) as supervisor:
        before = lives(supervisor)
        await troupe.crash("c2")
        assert list(states(supervisor)) == ["c1", "c2", "c3"]
        assert lives(supervisor)["c1"] == before["c1"]


async def test_a_new_child_goes_to_the_end_of_the_order(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, strategies: start_child appends."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="rest_for_one")
    async with open_supervisor(spec) as supervisor:
        await supervisor.start_child(troupe.child("c4"))
        troupe.clear()
        await troupe.crash("c3")
        assert troupe.journal == ["end c3", "stop c4", "start c3", "start c4"]
        assert list(states(supervisor)) == ["c1", "c2", "c3", "c4"]


async def test_a_supervisor_in_a_group_is_restarted_with_its_whole_subtree(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, strategies: a supervisor is a child like any other."""
    inner = Supervisor(troupe.children("c2", "c3"), id="inner")
    spec = Supervisor([troupe.child("c1"), inner], strategy="one_for_all")
    async with open_supervisor(spec) as supervisor:
        await troupe.crash("c3")
        troupe.clear()
        assert supervisor.supervisor("inner").get_child("c3").restarts == 1
        await troupe.crash("c1")
        assert troupe.journal == ["end c1", "stop c3", "stop c2", "start c1", "start c2", "start c3"]
        assert supervisor.get_child("inner").restarts == 1
        assert supervisor.supervisor("inner").get_child("c3").restarts == 0
