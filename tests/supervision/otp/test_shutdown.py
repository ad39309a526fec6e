"""OTP, shutdown: how one child is stopped, and how all of them are."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Backoff,
    Child,
    ChildExited,
    ChildRestarted,
    Crashed,
    DynamicSupervisor,
    Exit,
    ExitReason,
    GaveUp,
    Killed,
    Normal,
    Registry,
    Shutdown,
    ShutdownError,
    StaleLife,
    Supervisor,
    SupervisorHandle,
    Unresponsive,
    cleanup_scope,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, states

Reasons = list[tuple[str, ExitReason | None]]


def reasons(troupe: Troupe, kind: type[ChildExited] | type[ShutdownError]) -> Reasons:
    """Which children an event of that kind was about, and with what reason."""
    return [(event.child, event.reason) for event in troupe.heard(kind)]


class Cleaner:
    """Children that need some seconds to clean up, and a journal of when they were asked to and when they had."""

    def __init__(self) -> None:
        self.journal: list[str] = []

    def child(self, id: str, seconds: float, **options: object) -> Child:
        return Child(self._run, id, seconds, id=id, **options)  # type: ignore[arg-type]

    async def _run(self, id: str, seconds: float) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._note(f"{id} asked")
            with cleanup_scope():
                await trio.sleep(seconds)
                self._note(f"{id} clean")
            self._note(f"{id} over")

    def _note(self, what: str) -> None:
        self.journal.append(f"{what} at {trio.current_time():g}")


@pytest.fixture
def cleaner() -> Cleaner:
    return Cleaner()


async def test_a_child_that_needs_no_cleanup_ends_at_once_with_shutdown(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: a child that does not trap exits."""
    async with open_supervisor(Supervisor(troupe.children("c1")), telemetry=[troupe.events.append]) as supervisor:
        await supervisor.terminate_child("c1")
        assert trio.current_time() == 0
        info = supervisor.get_child("c1")
        assert (info.state, info.reason) == ("stopped", Shutdown())
    assert reasons(troupe, ChildExited) == [("c1", Shutdown())]
    assert troupe.heard(ShutdownError) == []


async def test_an_await_in_a_cleanup_without_scope_is_cut_off_at_once(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: whoever does not trap gets no time."""

    async def cleans_up_unprotected() -> None:
        try:
            await trio.sleep_forever()
        finally:
            await trio.sleep(1)

    async with open_supervisor(Supervisor([Child(cleans_up_unprotected, id="c1")])) as supervisor:
        await supervisor.terminate_child("c1")
        assert trio.current_time() == 0
        assert supervisor.get_child("c1").reason == Shutdown()


async def test_a_cleanup_within_its_time_is_finished(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: a time of T seconds, and terminate runs within it."""
    spec = Supervisor([cleaner.child("c1", 2, shutdown=3)])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await supervisor.terminate_child("c1")
        assert cleaner.journal == ["c1 asked at 0", "c1 clean at 2", "c1 over at 2"]
        assert supervisor.get_child("c1").reason == Shutdown()
    assert troupe.heard(ShutdownError) == []


async def test_a_cleanup_beyond_its_time_is_cut_off_and_the_child_killed(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: after T seconds it is killed; its siblings end with shutdown."""
    spec = Supervisor([troupe.child("c1"), cleaner.child("c2", 100, shutdown=1.5), troupe.child("c3")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        pass
    assert cleaner.journal == ["c2 asked at 0", "c2 over at 1.5"]
    assert reasons(troupe, ChildExited) == [("c3", Shutdown()), ("c2", Killed()), ("c1", Shutdown())]
    assert reasons(troupe, ShutdownError) == [("c2", Killed())]
    assert trio.current_time() == pytest.approx(1.5)


async def test_a_child_has_five_seconds_if_nothing_else_is_said(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: the default of a worker."""
    async with open_supervisor(Supervisor([cleaner.child("c1", 4.9), cleaner.child("c2", 100)])) as supervisor:
        await supervisor.terminate_child("c1")
        assert supervisor.get_child("c1").reason == Shutdown()
        await supervisor.terminate_child("c2")
        assert supervisor.get_child("c2").reason == Killed()
        assert trio.current_time() == pytest.approx(9.9)


async def test_with_no_time_at_all_only_what_does_not_wait_is_done(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: T = 0 is a signal, then a kill if it is not yet dead."""
    spec = Supervisor([troupe.child("c1", shutdown=0), cleaner.child("c2", 1, shutdown=0)])
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        pass
    assert cleaner.journal == ["c2 asked at 0", "c2 over at 0"]
    assert trio.current_time() == 0
    assert ("c2", Killed()) in reasons(troupe, ChildExited)


async def test_brutal_kill_gives_no_time_but_runs_synchronous_cleanup(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: brutal_kill; a difference, code that does not wait still runs."""
    spec = Supervisor([cleaner.child("c1", 1, shutdown="brutal_kill")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await supervisor.terminate_child("c1")
        assert cleaner.journal == ["c1 asked at 0", "c1 over at 0"]
        assert supervisor.get_child("c1").reason == Killed()
    assert reasons(troupe, ChildExited) == [("c1", Killed())]
    assert troupe.heard(ShutdownError) == []


async def test_infinity_waits_for_a_worker_as_long_as_it_needs(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: infinity."""
    spec = Supervisor([cleaner.child("c1", 1000, shutdown=math.inf)])
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        pass
    assert cleaner.journal == ["c1 asked at 0", "c1 clean at 1000", "c1 over at 1000"]
    assert reasons(troupe, ChildExited) == [("c1", Shutdown())]


async def test_infinity_is_the_default_for_a_supervisor_whose_children_take_their_time(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: infinity, for supervisors."""
    inner = Supervisor([cleaner.child("c1", 20, shutdown=30), cleaner.child("c2", 20, shutdown=30)], id="inner")
    async with open_supervisor(Supervisor([inner]), telemetry=[troupe.events.append]):
        pass
    assert cleaner.journal == [
        "c2 asked at 0", "c2 clean at 20", "c2 over at 20",
        "c1 asked at 20", "c1 clean at 40", "c1 over at 40",
    ]  # fmt: skip
    assert troupe.heard(ShutdownError) == []


async def test_a_supervisor_with_a_time_limit_is_killed_with_all_that_is_below_it(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: a supervisor that is killed cannot stop its children in order."""
    deepest = Supervisor([cleaner.child("c1", 100, shutdown=50), cleaner.child("c2", 100, shutdown=50)], id="deepest")
    inner = Supervisor([deepest, troupe.child("c3")], id="inner", shutdown=2)
    async with open_supervisor(Supervisor([inner]), telemetry=[troupe.events.append]) as supervisor:
        await supervisor.terminate_child("inner")
        assert trio.current_time() == pytest.approx(2)
        assert supervisor.get_child("inner").reason == Killed()
    assert cleaner.journal[0] == "c2 asked at 0"
    assert sorted(cleaner.journal[1:]) == ["c1 asked at 2", "c1 over at 2", "c2 over at 2"]


# How a child ends that was asked to stop, what it is worth as a reason, and for which it is reported.
EVERYBODY = ("permanent", "transient", "temporary")
STOPPED_IN_TIME = [
    (None, Shutdown(), ()),
    (lambda: Exit(Shutdown()), Shutdown(), ()),
    (lambda: Exit(Shutdown("enough")), Shutdown("enough"), ("permanent",)),
    (lambda: Exit(), Normal(), ("permanent",)),
    (lambda: error_of("c1"), crashed("c1"), EVERYBODY),
]
STOPPED_BRUTALLY = [
    (None, Killed(), ()),
    (lambda: Exit(Shutdown()), Shutdown(), ("permanent",)),
    (lambda: Exit(Shutdown("enough")), Shutdown("enough"), ("permanent",)),
    (lambda: Exit(), Normal(), ("permanent",)),
    (lambda: error_of("c1"), crashed("c1"), EVERYBODY),
]
STOPPED_IN_TIME_DYNAMICALLY = [
    (None, Shutdown(), ()),
    (lambda: Exit(Shutdown()), Shutdown(), ()),
    (lambda: Exit(Shutdown("enough")), Shutdown("enough"), ()),
    (lambda: Exit(), Normal(), ("permanent",)),
    (lambda: error_of("c1"), crashed("c1"), EVERYBODY),
]
STOPPED_BRUTALLY_AND_DYNAMICALLY = [
    (None, Killed(), ()),
    (lambda: Exit(Shutdown()), Shutdown(), EVERYBODY),
    (lambda: Exit(Shutdown("enough")), Shutdown("enough"), EVERYBODY),
    (lambda: Exit(), Normal(), EVERYBODY),
    (lambda: error_of("c1"), crashed("c1"), EVERYBODY),
]
Ending = Callable[[], Exception] | None
NAMES = ["cancelled", "exits_shutdown", "exits_with_detail", "exits_normal", "crashes"]


def ends_when_asked(ending: Ending, restart: str, shutdown: float | str) -> Child:
    """A child that ends in a way of its own when it is asked to stop."""

    async def run() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            if ending is None:
                raise
            raise ending() from None

    return Child(run, id="c1", restart=restart, shutdown=shutdown)  # type: ignore[arg-type]


@pytest.mark.parametrize("restart", EVERYBODY)
@pytest.mark.parametrize("shutdown", [3, math.inf])
@pytest.mark.parametrize(("ending", "reason", "reported"), STOPPED_IN_TIME, ids=NAMES)
async def test_which_ends_within_the_time_are_silent(
    shutdown: float,
    ending: Ending,
    reason: ExitReason,
    reported: tuple[str, ...],
    restart: str,
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, shutdown, one child: T or infinity, which reasons make a shutdown_error."""
    spec = Supervisor([ends_when_asked(ending, restart, shutdown)])
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        pass
    assert reasons(troupe, ChildExited) == [("c1", reason)]
    assert reasons(troupe, ShutdownError) == ([("c1", reason)] if restart in reported else [])


@pytest.mark.parametrize("restart", EVERYBODY)
@pytest.mark.parametrize(("ending", "reason", "reported"), STOPPED_BRUTALLY, ids=NAMES)
async def test_which_ends_are_silent_after_a_brutal_kill(
    ending: Ending,
    reason: ExitReason,
    reported: tuple[str, ...],
    restart: str,
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, shutdown, one child: brutal_kill, which reasons make a shutdown_error."""
    spec = Supervisor([ends_when_asked(ending, restart, "brutal_kill")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        pass
    assert reasons(troupe, ChildExited) == [("c1", reason)]
    assert reasons(troupe, ShutdownError) == ([("c1", reason)] if restart in reported else [])


@pytest.mark.parametrize("restart", EVERYBODY)
@pytest.mark.parametrize(("ending", "reason", "reported"), STOPPED_IN_TIME_DYNAMICALLY, ids=NAMES)
async def test_which_ends_within_the_time_are_silent_in_a_dynamic_supervisor(
    ending: Ending,
    reason: ExitReason,
    reported: tuple[str, ...],
    restart: str,
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, shutdown, one child: DynamicSupervisor, T or infinity, which reasons make a shutdown_error."""
    async with open_supervisor(DynamicSupervisor(), telemetry=[troupe.events.append]) as supervisor:
        await supervisor.start_child(ends_when_asked(ending, restart, 3))
    assert reasons(troupe, ChildExited) == [("c1", reason)]
    assert reasons(troupe, ShutdownError) == ([("c1", reason)] if restart in reported else [])


@pytest.mark.parametrize("restart", EVERYBODY)
@pytest.mark.parametrize(("ending", "reason", "reported"), STOPPED_BRUTALLY_AND_DYNAMICALLY, ids=NAMES)
async def test_which_ends_are_silent_after_a_brutal_kill_in_a_dynamic_supervisor(
    ending: Ending,
    reason: ExitReason,
    reported: tuple[str, ...],
    restart: str,
    troupe: Troupe,
    autojump_clock: MockClock,
) -> None:
    """OTP, shutdown, one child: DynamicSupervisor, brutal_kill, only killed is silent."""
    async with open_supervisor(DynamicSupervisor(), telemetry=[troupe.events.append]) as supervisor:
        await supervisor.start_child(ends_when_asked(ending, restart, "brutal_kill"))
    assert reasons(troupe, ChildExited) == [("c1", reason)]
    assert reasons(troupe, ShutdownError) == ([("c1", reason)] if restart in reported else [])


@pytest.mark.parametrize("restart", EVERYBODY)
async def test_a_cleanup_that_was_cut_off_is_always_reported(
    restart: str, troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: killed after T."""
    async with open_supervisor(Supervisor([cleaner.child("c1", 9, restart=restart)]), telemetry=[troupe.events.append]):
        pass
    assert reasons(troupe, ShutdownError) == [("c1", Killed())]


async def test_a_child_that_returns_although_it_was_cancelled_has_ended_normally(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: reason normal."""

    async def finishes() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return

    spec = Supervisor([Child(finishes, id="c1"), Child(finishes, id="c2", restart="transient")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        pass
    assert reasons(troupe, ChildExited) == [("c2", Normal()), ("c1", Normal())]
    assert reasons(troupe, ShutdownError) == [("c1", Normal())]


async def test_an_error_among_cancelled_tasks_of_the_child_is_its_reason(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: an error while it is being stopped; Trio's group is split, Cancelled dropped."""

    async def fails_to_clean_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error_of("c1")

    async def has_tasks() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fails_to_clean_up)

    async with open_supervisor(Supervisor([Child(has_tasks, id="c1")]), telemetry=[troupe.events.append]):
        await wait_all_tasks_blocked()
    (exited,) = troupe.heard(ChildExited)
    assert isinstance(exited.reason, Crashed)
    assert (exited.reason.type, exited.reason.message) == (RuntimeError, "c1 crashed")
    assert reasons(troupe, ShutdownError) == [("c1", exited.reason)]


async def test_nothing_but_a_report_follows_from_a_bad_reason(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: shutdown goes on."""
    spec = Supervisor(
        [troupe.child("c0"), ends_when_asked(lambda: error_of("c1"), "permanent", 5), cleaner.child("c2", 9)],
        max_restarts=0,
    )
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        pass
    assert await supervisor.wait_stopped() == Shutdown()
    assert reasons(troupe, ShutdownError) == [("c2", Killed()), ("c1", crashed("c1"))]
    assert troupe.journal == ["start c0", "stop c0"]
    assert troupe.heard(ChildRestarted) == troupe.heard(GaveUp) == []


@pytest.mark.parametrize(("shutdown", "over"), [(3, 3), ("brutal_kill", 0), (math.inf, 100)])
async def test_a_child_that_ends_by_itself_has_the_same_time_to_clean_up(
    shutdown: float | str, over: float, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: terminate also runs when nobody asked; it is cut off, and the reason stays."""
    cleaned_until = []

    async def crashes() -> None:
        try:
            raise error_of("c1")
        finally:
            with cleanup_scope():
                await trio.sleep(100)
            cleaned_until.append(trio.current_time())

    spec = Supervisor([Child(crashes, id="c1", restart="temporary", shutdown=shutdown)])  # type: ignore[arg-type]
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        await trio.sleep(200)
    assert cleaned_until == pytest.approx([over])
    assert reasons(troupe, ChildExited) == [("c1", crashed("c1"))]


async def test_children_stop_in_reverse_each_fully_before_the_next_is_asked(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: one at a time, so that it takes the sum of the times."""
    async with open_supervisor(Supervisor([cleaner.child(f"c{seconds}", seconds) for seconds in (1, 2, 3)])):
        pass
    assert [line for line in cleaner.journal if "over" not in line] == [
        "c3 asked at 0",
        "c3 clean at 3",
        "c2 asked at 3",
        "c2 clean at 5",
        "c1 asked at 5",
        "c1 clean at 6",
    ]


async def test_the_order_holds_down_the_whole_tree(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, shutdown, whole supervisor: a subtree has ended before the sibling before it is asked."""
    inner = Supervisor(troupe.children("c2", "c3"), id="inner")
    async with open_supervisor(Supervisor([troupe.child("c1"), inner, troupe.child("c4")])):
        troupe.clear()
    assert troupe.journal == ["stop c4", "stop c3", "stop c2", "stop c1"]


async def test_an_outside_cancel_keeps_order_and_times_and_then_goes_on(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: children are shielded from a cancel of whoever opened the tree."""
    with trio.move_on_after(10) as scope:
        async with open_supervisor(Supervisor([cleaner.child("c1", 1), troupe.child("c2"), cleaner.child("c3", 2)])):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [line for line in cleaner.journal if "over" not in line] == [
        "c3 asked at 10",
        "c3 clean at 12",
        "c1 asked at 12",
        "c1 clean at 13",
    ]


async def test_an_error_of_the_block_stops_the_tree_in_order_and_comes_out_bare(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: whoever opened the tree is its parent."""
    with pytest.raises(LookupError, match="block"):
        async with open_supervisor(Supervisor(troupe.children("c1", "c2"))):
            raise LookupError("block")
    assert troupe.journal == ["start c1", "start c2", "stop c2", "stop c1"]


async def test_children_of_a_dynamic_supervisor_stop_all_at_once(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: DynamicSupervisor, so that it takes the longest of the times."""
    async with open_supervisor(DynamicSupervisor(), telemetry=[troupe.events.append]) as supervisor:
        for seconds in (1, 2, 3):
            await supervisor.start_child(cleaner.child(f"c{seconds}", seconds))
        await supervisor.start_child(cleaner.child("late", 100, shutdown=2.5))
        await supervisor.start_child(cleaner.child("brutal", 100, shutdown="brutal_kill"))
    assert {line for line in cleaner.journal if "over" in line} == {
        "brutal over at 0",
        "c1 over at 1",
        "c2 over at 2",
        "late over at 2.5",
        "c3 over at 3",
    }
    assert {line for line in cleaner.journal if "asked" in line} == {
        f"{id} asked at 0" for id in ("c1", "c2", "c3", "late", "brutal")
    }
    assert reasons(troupe, ShutdownError) == [("late", Killed())]


async def test_a_child_that_waits_for_its_restart_has_nothing_to_stop(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: a child in state restarting."""
    waits = troupe.child("c2", backoff=Backoff(initial=50, maximum=60))
    async with open_supervisor(Supervisor([troupe.child("c1"), waits, troupe.child("c3")])):
        await troupe.crash("c2")
        troupe.clear()
    assert troupe.journal == ["stop c3", "stop c1"]
    assert trio.current_time() == 0


@pytest.mark.parametrize("reason", [Shutdown(), Shutdown("enough"), Normal()])
async def test_a_supervisor_ends_with_the_reason_it_was_stopped_with(
    reason: Normal | Shutdown, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: stop waits for the end."""
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))) as supervisor:
        await supervisor.stop(reason)
        assert troupe.journal == ["start c1", "start c2", "stop c2", "stop c1"]
        assert await supervisor.wait_stopped() == reason


async def test_run_returns_the_reason_it_was_stopped_with(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, shutdown, whole supervisor: the exit reason."""
    returned = []

    async def run(*, task_status: trio.TaskStatus[SupervisorHandle]) -> None:
        returned.append(await Supervisor(troupe.children("c1")).run(task_status=task_status))

    async with trio.open_nursery() as nursery:
        supervisor = await nursery.start(run)
        await supervisor.stop(Shutdown("enough"))
    assert returned == [Shutdown("enough")]


async def test_a_restart_that_is_due_is_not_done_once_the_supervisor_stops(
    troupe: Troupe, cleaner: Cleaner, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: the end of a child that crashes meanwhile restarts nothing."""
    spec = Supervisor([troupe.child("c1"), cleaner.child("c2", 3)])
    async with (
        open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor,
        trio.open_nursery() as nursery,
    ):
        nursery.cancel_scope.shield = True
        nursery.start_soon(supervisor.stop)
        await trio.sleep(1)
        await troupe.crash("c1")
        await supervisor.wait_stopped()
    assert troupe.starts["c1"] == 1
    assert troupe.heard(ChildRestarted) == []
    assert reasons(troupe, ShutdownError) == [("c1", crashed("c1"))]


async def test_a_child_that_does_not_end_is_declared_unresponsive_after_a_grace_second(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, one child: a difference, what cannot be killed no longer counts, and its name is free."""
    registry, release, refusals = Registry(), trio.Event(), []

    async def holds_on() -> None:
        registry.register("name")
        with trio.CancelScope(shield=True):
            await release.wait()
        with pytest.raises(StaleLife):
            registry.register("other name")
        refusals.append(True)

    async def takes_the_name() -> None:
        registry.register("name")
        await trio.sleep_forever()

    spec = Supervisor([troupe.child("c1"), Child(holds_on, id="stubborn", shutdown=0.5)])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await supervisor.terminate_child("stubborn")
        assert trio.current_time() == pytest.approx(1.5)
        info = supervisor.get_child("stubborn")
        assert (info.state, info.reason) == ("stopped", Killed())
        (unresponsive,) = troupe.heard(Unresponsive)
        assert (unresponsive.child, unresponsive.life) == ("stubborn", info.life)
        assert "holds_on" in unresponsive.stack
        await supervisor.start_child(Child(takes_the_name, id="successor"))
        owner = registry.whereis("name")
        assert owner is not None
        assert owner.id == "successor"
        assert states(supervisor) == {"c1": "running", "stubborn": "stopped", "successor": "running"}
        release.set()
        await wait_all_tasks_blocked()
    assert refusals == [True]
    assert [reason for child, reason in reasons(troupe, ChildExited) if child == "stubborn"] == [Killed()]


async def test_an_unresponsive_child_does_not_keep_its_siblings_from_being_stopped(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, shutdown, whole supervisor: a difference, the end of a supervisor is logical."""
    release = trio.Event()

    async def holds_on() -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    inner = Supervisor([troupe.child("c1"), Child(holds_on, id="stubborn", shutdown=2)], id="inner")
    async with open_supervisor(Supervisor([inner])) as supervisor:
        handle = supervisor.get_child("inner").started
        await supervisor.terminate_child("inner")
        assert trio.current_time() == pytest.approx(3)
        assert troupe.journal == ["start c1", "stop c1"]
        assert await handle.wait_stopped() == Shutdown()
        assert (await supervisor.restart_child("inner")).state == "running"
        assert troupe.journal == ["start c1", "stop c1", "start c1"]
        release.set()
