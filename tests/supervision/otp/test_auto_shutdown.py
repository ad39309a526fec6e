"""OTP, auto_shutdown: a supervisor that ends when those that matter have done their work."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Backoff,
    Exit,
    Ignore,
    Shutdown,
    Supervisor,
    SupervisorFailed,
    SupervisorHandle,
    open_supervisor,
)

from .children import Troupe, error_of, states

Ending = Callable[[], Exception | None]
CLEAN: list[Ending] = [lambda: None, lambda: Exit(Shutdown()), lambda: Exit(Shutdown("enough"))]
NAMES = ["returns", "exits", "exits_with_detail"]


async def goes_on(supervisor: SupervisorHandle) -> bool:
    """Whether the supervisor is still there when everything has settled."""
    with trio.move_on_after(100) as patience:
        await supervisor.wait_stopped()
    return patience.cancelled_caught


async def run(spec: Supervisor, nursery: trio.Nursery) -> SupervisorHandle:
    """Runs a supervisor apart from the test, which therefore is not cancelled when it ends."""
    handle: SupervisorHandle = await nursery.start(spec.run)
    return handle


@pytest.mark.parametrize("ending", CLEAN, ids=NAMES)
async def test_any_significant_stops_when_a_significant_child_ends_cleanly(
    ending: Ending, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: any_significant, transient; in reverse order, reason shutdown."""
    children = [
        troupe.child("c1"),
        troupe.child("c2", restart="transient", significant=True),
        troupe.child("c3", restart="transient", significant=True),
        troupe.child("c4"),
    ]
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="any_significant"), nursery)
        troupe.clear()
        await troupe.end("c2", ending())
        assert await supervisor.wait_stopped() == Shutdown()
    assert troupe.journal == ["end c2", "stop c4", "stop c3", "stop c1"]


@pytest.mark.parametrize("ending", [*CLEAN, lambda: error_of("c1")], ids=[*NAMES, "crashes"])
async def test_a_significant_temporary_child_counts_however_it_ends(
    ending: Ending, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: temporary, any reason."""
    children = [troupe.child("c1", restart="temporary", significant=True), troupe.child("c2")]
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="any_significant"), nursery)
        await troupe.end("c1", ending())
        assert await supervisor.wait_stopped() == Shutdown()
    assert troupe.journal[-1] == "stop c2"


async def test_a_block_ends_quietly_when_its_supervisor_stops_itself(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: no failure; the block is cancelled."""
    spec = Supervisor([troupe.child("c1", restart="transient", significant=True)], auto_shutdown="any_significant")
    finished = False
    async with open_supervisor(spec):
        troupe.tell("c1")
        await trio.sleep_forever()
        finished = True
    assert not finished
    assert trio.current_time() == 0


async def test_a_significant_child_that_is_restarted_stops_nothing(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: only if it is not restarted."""
    spec = Supervisor([troupe.child("c1", restart="transient", significant=True)], auto_shutdown="any_significant")
    async with trio.open_nursery() as nursery:
        supervisor = await run(spec, nursery)
        await troupe.crash("c1")
        assert await goes_on(supervisor)
        assert states(supervisor) == {"c1": "running"}
        await supervisor.stop()


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
async def test_a_child_that_is_not_significant_stops_nothing(
    auto_shutdown: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: only a significant child."""
    children = [
        troupe.child("c1", restart="transient"),
        troupe.child("c2", restart="temporary"),
        troupe.child("c3", restart="transient", significant=True),
    ]
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown=auto_shutdown), nursery)
        await troupe.end("c1")
        await troupe.crash("c2")
        assert await goes_on(supervisor)
        await supervisor.stop()


async def test_never_stops_nothing(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: never is the default; a supervisor without running children goes on."""
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(troupe.children("c1", restart="transient")), nursery)
        await troupe.end("c1")
        assert await goes_on(supervisor)
        await supervisor.stop()


async def test_all_significant_waits_for_the_last_significant_child(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: all_significant."""
    children = [
        troupe.child("c1", restart="transient", significant=True),
        troupe.child("c2"),
        troupe.child("c3", restart="temporary", significant=True),
    ]
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="all_significant"), nursery)
        await troupe.end("c1")
        assert await goes_on(supervisor)
        assert states(supervisor) == {"c1": "stopped", "c2": "running", "c3": "running"}
        troupe.clear()
        await troupe.crash("c3")
        assert await supervisor.wait_stopped() == Shutdown()
    assert troupe.journal == ["end c3", "stop c2"]


async def test_all_significant_waits_for_one_that_is_restarting(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: all_significant, a child that is restarting counts as active."""
    slow = Backoff(initial=500, maximum=1000, jitter=0)
    children = [
        troupe.child("c1", restart="transient", significant=True, backoff=slow),
        troupe.child("c2", restart="transient", significant=True),
    ]
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="all_significant"), nursery)
        await troupe.crash("c1")
        await troupe.end("c2")
        assert await goes_on(supervisor)
        assert states(supervisor) == {"c1": "restarting", "c2": "stopped"}
        await trio.sleep(500)
        assert states(supervisor) == {"c1": "running", "c2": "stopped"}
        await troupe.end("c1")
        assert await supervisor.wait_stopped() == Shutdown()


async def test_all_significant_waits_for_one_that_crashed_at_the_same_moment(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: all_significant, whichever of the two ends is seen first, the crash is a restart."""
    children = troupe.children("c1", "c2", restart="transient", significant=True)
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="all_significant"), nursery)
        troupe.tell("c1")
        troupe.tell("c2", error_of("c2"))
        assert await goes_on(supervisor)
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}
        await supervisor.stop()


async def test_all_significant_does_not_wait_for_one_that_never_ran(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: all_significant, a child that declined does not count as active."""
    troupe.plan("c1", Ignore())
    children = troupe.children("c1", "c2", restart="transient", significant=True)
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="all_significant"), nursery)
        assert await goes_on(supervisor)
        await troupe.end("c2")
        assert await supervisor.wait_stopped() == Shutdown()


async def test_all_significant_does_not_wait_for_one_that_was_stopped_by_hand(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: all_significant, a child that was terminated does not count as active."""
    children = troupe.children("c1", "c2", restart="transient", significant=True)
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown="all_significant"), nursery)
        await supervisor.terminate_child("c1")
        assert await goes_on(supervisor)
        await troupe.end("c2")
        assert await supervisor.wait_stopped() == Shutdown()


async def test_any_significant_stops_also_when_only_one_of_many_started_later_ends(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: a significant child may come by start_child."""
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(troupe.children("c1"), auto_shutdown="any_significant"), nursery)
        await supervisor.start_child(troupe.child("c2", restart="temporary", significant=True))
        troupe.tell("c2")
        assert await supervisor.wait_stopped() == Shutdown()


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_terminate_child_never_stops_the_supervisor(
    auto_shutdown: str, restart: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: only a child that ends by itself."""
    children = [troupe.child("c1", restart=restart, significant=True), troupe.child("c2")]
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor(children, auto_shutdown=auto_shutdown), nursery)
        await supervisor.terminate_child("c1")
        assert await goes_on(supervisor)
        assert supervisor.get_child("c2").state == "running"
        await supervisor.stop()


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
async def test_the_restart_of_a_group_never_stops_the_supervisor(
    auto_shutdown: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: not by group restarts, also if a significant temporary child is lost in one."""
    children = [
        troupe.child("c1"),
        troupe.child("c2", restart="transient", significant=True),
        troupe.child("c3", restart="temporary", significant=True),
    ]
    spec = Supervisor(children, strategy="one_for_all", auto_shutdown=auto_shutdown)
    async with trio.open_nursery() as nursery:
        supervisor = await run(spec, nursery)
        await troupe.crash("c1")
        assert await goes_on(supervisor)
        assert states(supervisor) == {"c1": "running", "c2": "running"}
        await supervisor.stop()


async def test_giving_up_is_no_auto_shutdown(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, auto_shutdown: never triggered by giving up; a failure stays one."""
    spec = Supervisor(
        [troupe.child("c1", restart="transient", significant=True)], auto_shutdown="any_significant", max_restarts=0
    )
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(spec):
            await troupe.crash("c1")


@pytest.mark.parametrize(
    ("restart", "starts", "left"),
    [
        ("permanent", 2, {"inner": "running", "c2": "running"}),
        ("transient", 1, {"inner": "stopped", "c2": "running"}),
        ("temporary", 1, {"c2": "running"}),
    ],
)
async def test_a_permanent_supervisor_that_stopped_itself_is_restarted_by_its_parent(
    restart: str, starts: int, left: dict[str, str], troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: the ending is shutdown; make it transient or temporary."""
    inner = Supervisor(
        [troupe.child("c1", restart="transient", significant=True)],
        id="inner",
        auto_shutdown="any_significant",
        restart=restart,
    )
    async with open_supervisor(Supervisor([inner, troupe.child("c2")])) as supervisor:
        await troupe.end("c1")
        await wait_all_tasks_blocked()
        assert troupe.starts["c1"] == starts
        assert states(supervisor) == left


async def test_a_significant_supervisor_that_stopped_itself_stops_its_parent(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, auto_shutdown: a supervisor may be a significant child."""
    inner = Supervisor(
        [troupe.child("c1", restart="transient", significant=True)],
        id="inner",
        auto_shutdown="any_significant",
        restart="transient",
        significant=True,
    )
    async with trio.open_nursery() as nursery:
        supervisor = await run(Supervisor([troupe.child("c2"), inner], auto_shutdown="all_significant"), nursery)
        await troupe.end("c1")
        assert await supervisor.wait_stopped() == Shutdown()
    assert troupe.journal[-1] == "stop c2"
