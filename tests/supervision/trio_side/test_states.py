"""Where a child stands, as handles and pictures show it while its supervisor is in the middle of something."""

from __future__ import annotations

import pytest
import trio
from tests.supervision.otp.children import Troupe, crashed, error_of, states
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Backoff,
    Child,
    ChildExited,
    ChildStarted,
    DynamicSupervisor,
    ExitReason,
    Normal,
    Shutdown,
    Supervisor,
    cleanup_scope,
    open_supervisor,
    tree,
)
from prunella.telemetry import Event


@pytest.fixture
def troupe() -> Troupe:
    return Troupe()


async def slow_to_stop(name: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with cleanup_scope():
            await trio.sleep(2)


# The end of a child that its supervisor has no time for yet


@pytest.mark.parametrize(
    ("restart", "error", "state", "reason"),
    [
        ("permanent", error_of("a"), "restarting", crashed("a")),
        ("permanent", None, "restarting", Normal()),
        ("transient", error_of("a"), "restarting", crashed("a")),
        ("transient", None, "stopped", Normal()),
        ("temporary", error_of("a"), "stopped", crashed("a")),
    ],
)
async def test_a_child_that_ends_while_its_supervisor_is_busy_shows_it_at_once(
    troupe: Troupe,
    autojump_clock: MockClock,
    restart: str,
    error: Exception | None,
    state: str,
    reason: ExitReason,
) -> None:
    gate = trio.Event()
    spec = Supervisor([troupe.child("a", restart=restart), troupe.child("b")])
    async with open_supervisor(spec) as supervisor, trio.open_nursery() as nursery:
        troupe.plan("slow", gate)
        nursery.start_soon(supervisor.start_child, troupe.child("slow"))
        await trio.sleep(1)
        when = trio.current_time()
        await troupe.end("a", error)
        await trio.sleep(1)
        info = supervisor.get_child("a")
        assert (str(info.state), info.reason, info.since) == (state, reason, when)
        assert tree(supervisor).children[0].info == info
        assert supervisor.count_children().active == 1  # b
        gate.set()
        await wait_all_tasks_blocked()
        assert supervisor.count_children().active == (3 if state == "restarting" else 2)
        assert troupe.starts["a"] == (2 if state == "restarting" else 1)


async def test_a_child_that_ends_while_its_supervisor_stops_will_not_come_back(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    spec = Supervisor([troupe.child("a"), Child(slow_to_stop, "b", id="b")])
    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(spec.run)
        nursery.start_soon(supervisor.stop)
        await trio.sleep(1)
        await troupe.crash("a")
        assert states(supervisor) == {"a": "stopped", "b": "stopping"}
        assert supervisor.get_child("a").reason == crashed("a")


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize(
    ("restart", "state"), [("permanent", "restarting"), ("transient", "restarting"), ("temporary", "stopped")]
)
async def test_who_hears_of_a_crash_sees_what_has_become_of_the_child(
    troupe: Troupe, autojump_clock: MockClock, dynamic: bool, restart: str, state: str
) -> None:
    seen = []

    def look(event: Event) -> None:
        if isinstance(event, ChildExited) and event.reason == crashed("a"):
            info = supervisor.get_child("a")
            seen.append((str(info.state), info.reason, supervisor.count_children().active))

    spec = DynamicSupervisor() if dynamic else Supervisor([])
    async with open_supervisor(spec, telemetry=[look]) as supervisor:
        await supervisor.start_child(troupe.child("a", restart=restart))
        await troupe.crash("a")
    assert seen == [(state, crashed("a"), 0)]


@pytest.mark.parametrize("dynamic", [True, False])
async def test_a_child_that_crashes_at_its_first_step_shows_as_one_that_comes_back(
    autojump_clock: MockClock, dynamic: bool
) -> None:
    async def bad() -> None:
        raise ValueError("at once")

    events: list[Event] = []
    backoff = Backoff(initial=5, jitter=0)
    async with open_supervisor(
        DynamicSupervisor() if dynamic else Supervisor([]), telemetry=[events.append]
    ) as supervisor:
        await supervisor.start_child(Child(bad, id="bad", backoff=backoff))
        await trio.sleep(1)
        assert states(supervisor) == {"bad": "restarting"}
        assert supervisor.get_child("bad").restarts == 0
        assert {type(event) for event in events} == {ChildStarted, ChildExited}


# A group that is being restarted


async def test_who_crashed_is_restarting_while_its_group_is_being_stopped(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    children = [troupe.child("a"), Child(slow_to_stop, "b", id="b"), troupe.child("c"), troupe.child("d")]
    async with open_supervisor(Supervisor(children, strategy="one_for_all")) as supervisor:
        await trio.sleep(1)
        when = trio.current_time()
        await troupe.crash("c")
        await trio.sleep(1)
        assert states(supervisor) == {"a": "running", "b": "stopping", "c": "restarting", "d": "restarting"}
        info = supervisor.get_child("c")
        assert (info.reason, info.since) == (crashed("c"), when)
        assert supervisor.get_child("d").reason == Shutdown()
        assert supervisor.count_children().active == 2
        await trio.sleep(5)
        assert set(states(supervisor).values()) == {"running"}


async def test_a_temporary_member_that_was_stopped_with_its_group_is_not_restarting(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    children = [Child(slow_to_stop, "a", id="a"), troupe.child("b"), troupe.child("t", restart="temporary")]
    async with open_supervisor(Supervisor(children, strategy="one_for_all")) as supervisor:
        await troupe.crash("b")
        assert states(supervisor) == {"a": "stopping", "b": "restarting", "t": "stopped"}
        await trio.sleep(5)
        assert states(supervisor) == {"a": "running", "b": "running"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_members_are_restarting_until_their_restart_has_succeeded(
    troupe: Troupe, autojump_clock: MockClock, strategy: str
) -> None:
    gate = trio.Event()
    async with open_supervisor(Supervisor(troupe.children("a", "b", "c"), strategy=strategy)) as supervisor:
        troupe.plan("b", gate)
        await troupe.crash("a")
        assert states(supervisor) == {"a": "running", "b": "restarting", "c": "restarting"}
        assert supervisor.count_children().active == 1
        gate.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"a": "running", "b": "running", "c": "running"}
        assert [info.restarts for info in supervisor.which_children()] == [1, 1, 1]


async def test_members_behind_one_that_failed_to_restart_are_stopped_until_its_next_try(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    b = troupe.child("b", backoff=Backoff(initial=5, jitter=0))
    children = [troupe.child("a"), b, troupe.child("c"), troupe.child("d")]
    async with open_supervisor(Supervisor(children, strategy="one_for_all")) as supervisor:
        troupe.plan("b", error_of("b"))
        await troupe.crash("d")
        assert states(supervisor) == {"a": "running", "b": "restarting", "c": "stopped", "d": "stopped"}
        await trio.sleep(6)
        assert set(states(supervisor).values()) == {"running"}


async def test_a_member_that_crashes_again_while_its_group_is_still_starting_comes_back(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    gate = trio.Event()
    async with open_supervisor(Supervisor(troupe.children("a", "b", "c"), strategy="one_for_all")) as supervisor:
        troupe.plan("b", (gate, error_of("b")))
        await troupe.crash("c")
        await troupe.crash("a")
        assert states(supervisor) == {"a": "restarting", "b": "restarting", "c": "restarting"}
        gate.set()
        await wait_all_tasks_blocked()
        assert set(states(supervisor).values()) == {"running"}


async def test_a_group_whose_restart_is_interrupted_by_the_end_leaves_nobody_restarting(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    spec = Supervisor(
        [Child(slow_to_stop, "x", id="x"), troupe.child("a"), troupe.child("b"), troupe.child("c")],
        strategy="rest_for_one",
    )
    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(spec.run)
        troupe.plan("b", trio.Event())
        await troupe.crash("a")
        nursery.start_soon(supervisor.stop)
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"x": "stopping", "a": "stopped", "b": "stopped", "c": "stopped"}
