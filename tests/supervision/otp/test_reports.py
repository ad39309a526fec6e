"""OTP, reports: what a supervisor says of what happened, to listeners and to the log."""

from __future__ import annotations

import logging
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    Child,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    DynamicSupervisor,
    Exit,
    GaveUp,
    Killed,
    Normal,
    Shutdown,
    ShutdownError,
    StartFailed,
    SupervisionEvent,
    Supervisor,
    SupervisorFailed,
    cleanup_scope,
    open_supervisor,
)
from prunella.telemetry import Event

from .children import Troupe, crashed, error_of, lives, states


def log_of(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """What the supervisors logged at a level."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "prunella.supervision" and record.levelno == level
    ]


def told(troupe: Troupe) -> list[tuple[str, str]]:
    """What was reported of which child, in order."""
    return [(type(event).__name__, event.child) for event in troupe.events if isinstance(event, SupervisionEvent)]


async def test_each_start_is_a_progress_report(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: progress, at level info; children before their supervisor, as they have started."""
    caplog.set_level(logging.INFO, "prunella.supervision")
    inner = Supervisor(troupe.children("c2"), id="inner")
    async with open_supervisor(Supervisor([troupe.child("c1"), inner]), telemetry=[troupe.events.append]) as supervisor:
        started = [(event.child, event.life) for event in troupe.heard(ChildStarted)]
        assert started == [
            ("c1", lives(supervisor)["c1"]),
            ("inner/c2", supervisor.supervisor("inner").get_child("c2").life),
            ("inner", lives(supervisor)["inner"]),
        ]
    lines = log_of(caplog, logging.INFO)
    assert [name for name in ("c1", "inner/c2") if any(name in line for line in lines)] == ["c1", "inner/c2"]


async def test_a_restart_is_reported_after_the_end_that_caused_it(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, reports: child_terminated, then progress."""
    async with open_supervisor(Supervisor(troupe.children("c1")), telemetry=[troupe.events.append]) as supervisor:
        before = lives(supervisor)["c1"]
        troupe.clear()
        await troupe.crash("c1")
        after = lives(supervisor)["c1"]
        assert told(troupe) == [("ChildExited", "c1"), ("ChildRestarted", "c1")]
        (exited,), (restarted,) = troupe.heard(ChildExited), troupe.heard(ChildRestarted)
        assert (exited.life, exited.reason) == (before, crashed("c1"))
        assert (restarted.life, restarted.reason) == (after, crashed("c1"))


async def test_listeners_hear_of_an_event_at_once(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, reports: in the task in which it happened, before the restart begins."""

    def note(event: Event) -> None:
        if isinstance(event, ChildExited | ChildRestarted):
            troupe.journal.append(type(event).__name__)

    async with open_supervisor(Supervisor(troupe.children("c1")), telemetry=[note]):
        troupe.clear()
        await troupe.crash("c1")
        assert troupe.journal == ["end c1", "ChildExited", "start c1", "ChildRestarted"]


async def test_every_listener_hears_every_event_in_the_same_order(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, reports: each handler gets each report."""
    first: list[Event] = []
    second: list[Event] = []
    async with open_supervisor(Supervisor(troupe.children("c1", "c2")), telemetry=[first.append, second.append]):
        await troupe.crash("c1")
    assert first == second
    assert len([event for event in first if isinstance(event, ChildExited)]) == 3


async def test_a_listener_that_raises_changes_nothing(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, reports: a handler cannot harm what it listens to."""

    def broken(event: Event) -> NoReturn:
        raise LookupError("broken listener")

    spec = Supervisor(troupe.children("c1"))
    async with open_supervisor(spec, telemetry=[broken, troupe.events.append]) as supervisor:
        await troupe.crash("c1")
        assert states(supervisor) == {"c1": "running"}
    assert len(troupe.heard(ChildRestarted)) == 1


async def test_a_crash_is_logged_as_an_error_with_path_and_traceback(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: crash report and child_terminated."""

    async def fails_deep_down() -> None:
        await go.wait()
        raise error_of("c1")

    go = trio.Event()
    inner = Supervisor([Child(fails_deep_down, id="c1", restart="temporary")], id="inner")
    async with open_supervisor(Supervisor([inner])):
        go.set()
        await wait_all_tasks_blocked()
    (line,) = log_of(caplog, logging.ERROR)
    assert "inner/c1" in line
    assert "RuntimeError: c1 crashed" in line
    assert "fails_deep_down" in line


async def test_clean_ends_are_silent_except_for_permanent_children(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: clean reasons."""
    children = [
        troupe.child("transient", restart="transient"),
        troupe.child("temporary", restart="temporary"),
        troupe.child("permanent"),
    ]
    async with open_supervisor(Supervisor(children)):
        for id in ("transient", "temporary", "permanent"):
            await troupe.end(id, Exit(Shutdown("enough")))
    (line,) = log_of(caplog, logging.ERROR)
    assert "permanent" in line


async def test_a_tree_that_starts_and_stops_in_order_logs_no_error(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: what was asked for is no error."""
    inner = Supervisor([*troupe.children("c2", "c3"), DynamicSupervisor()], id="inner")
    async with open_supervisor(Supervisor([troupe.child("c1"), inner])) as supervisor:
        await supervisor.terminate_child("c1")
        await supervisor.restart_child("c1")
    assert log_of(caplog, logging.ERROR) == log_of(caplog, logging.WARNING) == []


async def test_a_start_that_fails_is_a_start_error(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: start_error, at boot, by hand and in a restart."""
    troupe.plan("c1", error_of("c1"))
    with pytest.raises(StartFailed):
        await Supervisor(troupe.children("c1")).run(telemetry=[troupe.events.append])
    async with open_supervisor(Supervisor(troupe.children("c2")), telemetry=[troupe.events.append]) as supervisor:
        troupe.plan("c2", error_of("c2"))
        await troupe.crash("c2")
        troupe.plan("c3", error_of("c3"))
        with pytest.raises(StartFailed):
            await supervisor.start_child(troupe.child("c3"))
    failed = [(event.child, event.reason) for event in troupe.heard(ChildStartFailed)]
    assert failed == [(id, crashed(id)) for id in ("c1", "c2", "c3")]
    lines = log_of(caplog, logging.ERROR)
    for id in ("c1", "c2", "c3"):
        assert any(id in line and "start" in line for line in lines)


async def test_a_shutdown_error_says_how_the_child_ended(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: shutdown_error."""

    async def takes_too_long() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(100)

    spec = Supervisor([Child(takes_too_long, id="c1", shutdown=1)])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        life = lives(supervisor)["c1"]
    (error,) = troupe.heard(ShutdownError)
    assert (error.child, error.life, error.reason) == ("c1", life, Killed())
    assert any("c1" in line for line in log_of(caplog, logging.ERROR))


async def test_giving_up_is_reported_with_the_child_and_its_reason(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: shutdown, reached_max_restart_intensity."""
    inner = Supervisor(troupe.children("c1"), id="inner", max_restarts=0, restart="temporary")
    async with open_supervisor(Supervisor([inner]), telemetry=[troupe.events.append]) as supervisor:
        life = supervisor.supervisor("inner").get_child("c1").life
        await troupe.crash("c1")
    (gave_up,) = troupe.heard(GaveUp)
    assert (gave_up.child, gave_up.life, gave_up.reason) == ("inner/c1", life, crashed("c1"))
    assert any("inner/c1" in line and "gave up" in line for line in log_of(caplog, logging.ERROR))


async def test_the_end_of_a_nested_supervisor_is_reported_after_those_of_its_children(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, reports: in the order in which it happened."""
    inner = Supervisor(troupe.children("c2", "c3"), id="inner")
    async with open_supervisor(Supervisor([troupe.child("c1"), inner]), telemetry=[troupe.events.append]):
        troupe.clear()
    assert [(event.child, event.reason) for event in troupe.heard(ChildExited)] == [
        (child, Shutdown()) for child in ("inner/c3", "inner/c2", "inner", "c1")
    ]


async def test_each_life_has_exactly_one_end(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, reports: whatever starts is reported to end, once."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all", max_restarts=10)
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        for id in ("c1", "c2", "c3"):
            await troupe.crash(id)
        await troupe.end("c2")
        await supervisor.terminate_child("c1")
    began = [event.life for event in troupe.events if isinstance(event, ChildStarted | ChildRestarted)]
    ended = [event.life for event in troupe.heard(ChildExited)]
    assert len(began) == 3 * 5
    assert len(set(began)) == len(began)
    assert sorted(began) == sorted(ended)


async def test_a_crash_loop_is_no_logging_loop(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: the logger has overload protection; it says how much it left out, and listeners hear all."""
    crashes = 500
    spec = Supervisor(troupe.children("looping"), max_restarts=crashes)
    async with open_supervisor(spec, telemetry=[troupe.events.append]):
        for _ in range(crashes):
            await troupe.crash("looping")
    assert len(troupe.heard(ChildRestarted)) == crashes
    lines = [line for line in log_of(caplog, logging.ERROR) if "looping" in line]
    assert 1 < len(lines) < crashes / 5
    assert "left out" in lines[-1]


async def test_everything_has_been_logged_when_the_block_is_left(
    troupe: Troupe, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """OTP, reports: none is lost at the end."""
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=0)):
            troupe.tell("c1", error_of("c1"))
            await trio.sleep_forever()
    lines = log_of(caplog, logging.ERROR)
    assert any("crashed" in line for line in lines)
    assert any("gave up" in line for line in lines)


async def test_an_end_that_was_asked_for_is_told_as_any_other(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, reports: listeners hear every end, also silent ones."""
    spec = Supervisor([troupe.child("c1"), troupe.child("c2", restart="transient")])
    async with open_supervisor(spec, telemetry=[troupe.events.append]) as supervisor:
        await troupe.end("c2")
        await supervisor.terminate_child("c1")
    assert [(event.child, event.reason) for event in troupe.heard(ChildExited)] == [
        ("c2", Normal()),
        ("c1", Shutdown()),
    ]
