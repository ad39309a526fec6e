"""OTP, exits: who is restarted after which reason, and what becomes of the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Child,
    ChildExited,
    ChildNotFound,
    ChildRestarted,
    Crashed,
    Exit,
    ExitReason,
    GaveUp,
    InvalidSpec,
    Killed,
    Normal,
    Shutdown,
    Supervisor,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, lives, states

# How a child ends by itself, and the reason that this makes.
ENDINGS = [
    pytest.param(lambda: None, Normal(), id="returns"),
    pytest.param(Exit, Normal(), id="exits"),
    pytest.param(lambda: Exit(Normal()), Normal(), id="exits_normal"),
    pytest.param(lambda: Exit(Shutdown()), Shutdown(), id="exits_shutdown"),
    pytest.param(lambda: Exit(Shutdown("enough")), Shutdown("enough"), id="exits_shutdown_with_detail"),
    pytest.param(lambda: error_of("c1"), crashed("c1"), id="crashes"),
]
CLEAN, CRASH = ENDINGS[:-1], ENDINGS[-1]
Ending = Callable[[], Exception | None]


@pytest.mark.parametrize(("ending", "reason"), ENDINGS)
async def test_a_permanent_child_is_restarted_whatever_its_reason(
    ending: Ending, reason: ExitReason, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: permanent, all reasons; each time a new life."""
    async with open_supervisor(Supervisor(troupe.children("c1")), telemetry=[troupe.events.append]) as supervisor:
        before = supervisor.get_child("c1")
        await troupe.end("c1", ending())
        after = supervisor.get_child("c1")
        assert (after.state, after.reason, after.restarts) == ("running", reason, 1)
        assert after.life != before.life
        assert after.started == "c1, life 2"
        assert [(event.child, event.reason) for event in troupe.heard(ChildRestarted)] == [("c1", reason)]


@pytest.mark.parametrize(("ending", "reason"), CLEAN)
async def test_a_transient_child_that_ends_cleanly_stays_and_is_not_restarted(
    ending: Ending, reason: ExitReason, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: transient with a clean reason; its spec is kept, and can be restarted by hand."""
    async with open_supervisor(Supervisor(troupe.children("c1", restart="transient"))) as supervisor:
        await troupe.end("c1", ending())
        info = supervisor.get_child("c1")
        assert (info.state, info.reason, info.restarts) == ("stopped", reason, 0)
        assert troupe.starts["c1"] == 1
        assert (await supervisor.restart_child("c1")).state == "running"
        assert troupe.starts["c1"] == 2


@pytest.mark.parametrize(("ending", "reason"), [CRASH])
async def test_a_transient_child_that_crashes_is_restarted(
    ending: Ending, reason: ExitReason, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: transient with a crash."""
    async with open_supervisor(Supervisor(troupe.children("c1", restart="transient"))) as supervisor:
        await troupe.end("c1", ending())
        info = supervisor.get_child("c1")
        assert (info.state, info.reason, info.restarts) == ("running", reason, 1)


@pytest.mark.parametrize(("ending", "reason"), ENDINGS)
async def test_a_temporary_child_is_never_restarted_and_is_forgotten(
    ending: Ending, reason: ExitReason, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: temporary, all reasons; its spec is deleted."""
    spec = Supervisor(troupe.children("c1", restart="temporary"))
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await troupe.end("c1", ending())
        assert supervisor.which_children() == ()
        with pytest.raises(ChildNotFound):
            supervisor.get_child("c1")
        assert troupe.starts["c1"] == 1
    assert [event.reason for event in troupe.heard(ChildExited)] == [reason]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize(("ending", "reason"), ENDINGS)
async def test_an_end_is_an_error_in_the_log_if_it_was_unexpected(
    restart: str,
    ending: Ending,
    reason: ExitReason,
    troupe: Troupe,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OTP, exits: child_terminated is reported for every end of a permanent child, and for every crash."""
    async with open_supervisor(Supervisor(troupe.children("c1", restart=restart))):
        await troupe.end("c1", ending())
    errors = [
        record for record in caplog.records if record.name == "prunella.supervision" and record.levelno >= logging.ERROR
    ]
    unexpected = restart == "permanent" or not reason.clean
    assert len(errors) == int(unexpected)
    assert all("c1" in record.getMessage() for record in errors)


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
@pytest.mark.parametrize(
    ("restart", "ending"),
    [
        ("transient", lambda: None),
        ("transient", lambda: Exit(Shutdown("enough"))),
        ("temporary", lambda: None),
        ("temporary", lambda: error_of("c1")),
    ],
    ids=["transient_returns", "transient_exits", "temporary_returns", "temporary_crashes"],
)
async def test_the_end_of_a_child_that_is_not_restarted_touches_no_sibling(
    strategy: str, restart: str, ending: Ending, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: also in the group strategies nothing happens to the siblings."""
    children = [troupe.child("c0"), troupe.child("c1", restart=restart), troupe.child("c2")]
    async with open_supervisor(Supervisor(children, strategy=strategy, max_restarts=0)) as supervisor:
        before = lives(supervisor)
        troupe.clear()
        await troupe.end("c1", ending())
        after = lives(supervisor)
        assert (after["c0"], after["c2"]) == (before["c0"], before["c2"])
        assert troupe.journal == ["end c1"]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize(
    "ending",
    [lambda: None, lambda: Exit(Shutdown("enough")), lambda: error_of("c1")],
    ids=["returns", "exits", "crashes"],
)
async def test_a_child_that_is_being_stopped_is_not_restarted_however_it_ends(
    restart: str, ending: Ending, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: only self-inflicted ends restart, and count as restarts."""

    async def ends_its_own_way() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            error = ending()
            if error is not None:
                raise error from None

    spec = Supervisor([Child(ends_its_own_way, id="c1", restart=restart)], max_restarts=0)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await supervisor.terminate_child("c1")
        assert states(supervisor) == ({} if restart == "temporary" else {"c1": "stopped"})
        await wait_all_tasks_blocked()
    assert troupe.heard(ChildRestarted) == troupe.heard(GaveUp) == []


async def test_a_cancelled_that_belongs_to_no_scope_of_the_child_is_a_crash(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: killed by somebody else; a difference, since here it is a crash."""
    strays = [True]

    async def strays_once() -> None:
        await trio.lowlevel.checkpoint()
        if strays:
            strays.pop()
            with trio.CancelScope() as scope:
                scope.cancel()
                try:
                    await trio.lowlevel.checkpoint()
                except trio.Cancelled as error:
                    stray = error
            raise stray
        await trio.sleep_forever()

    spec = Supervisor([Child(strays_once, id="c1", restart="transient"), troupe.child("c2")])
    async with open_supervisor(spec) as supervisor:
        await wait_all_tasks_blocked()
        info = supervisor.get_child("c1")
        assert (info.state, info.restarts) == ("running", 1)
        assert isinstance(info.reason, Crashed)
        assert info.reason.type is trio.Cancelled
        assert troupe.starts["c2"] == 1


async def test_an_exit_out_of_a_nursery_of_the_child_is_that_exit(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, exits: one reason, although Trio makes groups."""

    async def leaves() -> None:
        async with trio.open_nursery() as outer:
            outer.start_soon(trio.sleep_forever)
            async with trio.open_nursery() as inner:
                inner.start_soon(trio.sleep_forever)
                raise Exit(Shutdown("enough"))

    async with open_supervisor(Supervisor([Child(leaves, id="c1", restart="transient")])) as supervisor:
        await wait_all_tasks_blocked()
        info = supervisor.get_child("c1")
        assert (info.state, info.reason) == ("stopped", Shutdown("enough"))


async def test_an_exit_together_with_an_error_is_a_crash(autojump_clock: MockClock) -> None:
    """OTP, exits: one reason, although Trio makes groups."""
    together = [ExceptionGroup("both", [Exit(), ValueError("wrong")])]

    async def ends_twice() -> None:
        if together:
            raise together.pop()
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(ends_twice, id="c1", restart="transient")])) as supervisor:
        await wait_all_tasks_blocked()
        info = supervisor.get_child("c1")
        assert info.restarts == 1
        assert isinstance(info.reason, Crashed)


async def test_an_error_that_is_no_exception_is_a_crash_like_any_other(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: nothing that a child raises reaches a sibling."""

    class Odd(BaseException):
        pass

    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))) as supervisor:
        before = lives(supervisor)
        await troupe.end("c1", Odd("odd"))  # type: ignore[arg-type]
        info = supervisor.get_child("c1")
        assert (info.state, info.reason) == ("running", Crashed(Odd("odd")))
        assert lives(supervisor)["c2"] == before["c2"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_in_a_child_stops_the_tree_in_order_and_is_raised(
    error: type[BaseException], troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, exits: an interrupt is for the whole program, and no crash of a child."""
    inner = Supervisor(troupe.children("c2", "c3", "c4"), id="inner")
    with pytest.raises(error):
        async with open_supervisor(Supervisor([troupe.child("c1"), inner]), telemetry=[troupe.events.append]):
            troupe.clear()
            await troupe.end("c3", error())
    assert troupe.journal == ["end c3", "stop c4", "stop c2", "stop c1"]
    assert troupe.heard(ChildRestarted) == []


def test_only_a_clean_reason_can_be_chosen() -> None:
    """OTP, exits: clean reasons are normal and shutdown, with or without detail."""
    assert [reason.clean for reason in (Normal(), Shutdown(), Shutdown("why"), Killed(), crashed("c1"))] == [
        True,
        True,
        True,
        False,
        False,
    ]
    for reason in (Killed(), crashed("c1"), "normal", None):
        with pytest.raises(InvalidSpec, match="reason"):
            Exit(reason)  # type: ignore[arg-type]


def test_reasons_compare_by_value() -> None:
    """OTP, exits: reasons are terms."""
    assert Shutdown("a") == Shutdown("a") != Shutdown("b")
    assert Shutdown() != Normal()
    assert Crashed(ValueError("a")) == Crashed(ValueError("a")) != Crashed(ValueError("b"))
    assert Crashed(ValueError("a")) != Crashed(TypeError("a"))
