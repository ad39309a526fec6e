"""Reports: each kind exactly once, to every listener at once, and to a log that a crash loop cannot flood."""

from __future__ import annotations

import logging
import re
import subprocess
import sys

import attrs
import pytest
import trio
from tests.supervision.trio_side.children import (
    crash,
    crash_when,
    deaf,
    finish,
    finish_when,
    forever,
    of,
    some_steps,
    steady,
    until,
)

from prunella.supervision import (
    Child,
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    Crashed,
    DynamicSupervisor,
    GaveUp,
    Killed,
    Normal,
    Shutdown,
    ShutdownError,
    Supervisor,
    SupervisorFailed,
    Unresponsive,
    open_supervisor,
)
from prunella.telemetry import Event

LOGGER = "prunella.supervision"


def told(events: list[object]) -> list[tuple[str, str, object]]:
    return [(type(event).__name__, event.child, event.reason) for event in events]


# Events


async def test_start_and_stop(autojump_clock):
    events: list[object] = []
    spec = Supervisor([Child(forever, id="a"), Supervisor([Child(forever, id="b")], id="inner")])
    async with open_supervisor(spec, telemetry=[events.append]):
        assert told(events) == [
            ("ChildStarted", "a", None),
            ("ChildStarted", "inner/b", None),
            ("ChildStarted", "inner", None),
        ]
        events.clear()
    assert told(events) == [
        ("ChildExited", "inner/b", Shutdown()),
        ("ChildExited", "inner", Shutdown()),
        ("ChildExited", "a", Shutdown()),
    ]


async def test_a_crash_is_an_exit_and_a_restart_each_once(autojump_clock):
    events: list[object] = []
    event = trio.Event()

    async def bad():
        waited = event
        await crash_when(waited)

    async with open_supervisor(Supervisor([Child(bad, id="c")]), telemetry=[events.append]) as supervisor:
        first = supervisor.get_child("c").life
        events.clear()
        old, event = event, trio.Event()
        old.set()
        await until(lambda: supervisor.get_child("c").restarts == 1)
        second = supervisor.get_child("c").life
        crashed = Crashed(ValueError("crash"))
        assert told(events) == [("ChildExited", "c", crashed), ("ChildRestarted", "c", crashed)]
        assert [event.life for event in events] == [first, second]
        assert events[1].restarts == 1
        assert events[0].error.type == "ValueError"
        assert events[0].error.message == "crash"


async def test_restarts_of_a_group_are_told_for_each_member(autojump_clock):
    events: list[object] = []
    event = trio.Event()

    async def bad():
        waited = event
        await crash_when(waited)

    spec = Supervisor([Child(forever, id="a"), Child(bad, id="c")], strategy="one_for_all")
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        events.clear()
        old, event = event, trio.Event()
        old.set()
        await until(lambda: supervisor.get_child("c").restarts == 1)
        assert [(type(event).__name__, event.child) for event in events] == [
            ("ChildExited", "c"),
            ("ChildExited", "a"),
            ("ChildRestarted", "a"),
            ("ChildRestarted", "c"),
        ]


async def test_a_restart_by_hand_is_a_start(autojump_clock):
    events: list[object] = []
    async with open_supervisor(Supervisor([Child(forever, id="a")]), telemetry=[events.append]) as supervisor:
        events.clear()
        await supervisor.terminate_child("a")
        await supervisor.restart_child("a")
        assert told(events) == [("ChildExited", "a", Shutdown()), ("ChildStarted", "a", None)] or [
            type(event) for event in events
        ] == [ChildExited, ChildStarted]
        assert len(events) == 2


async def test_a_failed_start_is_told_once(autojump_clock):
    async def bad(*, task_status: trio.TaskStatus[None]) -> None:
        raise LookupError("x")

    events: list[object] = []
    async with open_supervisor(Supervisor([]), telemetry=[events.append]) as supervisor:
        with pytest.raises(Exception, match="failed to start"):
            await supervisor.start_child(Child(bad, id="bad"))
        assert told(events) == [("ChildStartFailed", "bad", Crashed(LookupError("x")))]


async def test_giving_up_is_told_once_at_each_level(autojump_clock):
    events: list[object] = []
    inner = Supervisor([Child(crash, id="bad")], id="inner", max_restarts=1)
    with pytest.raises(SupervisorFailed):
        await Supervisor([inner], max_restarts=0).run(telemetry=[events.append])
    assert [event.child for event in of(events, GaveUp)] == ["inner/bad", "inner"]
    assert [event.supervisor for event in of(events, GaveUp)] == ["inner", ""]
    crashes = [event for event in of(events, ChildExited) if event.child == "inner/bad"]
    assert len(crashes) == 2
    assert len(of(events, ChildRestarted)) == 1


async def test_an_unresponsive_child_is_told_as_such_with_its_stack(autojump_clock):
    release = trio.Event()
    events: list[object] = []
    spec = Supervisor([Child(deaf, release, id="deaf", shutdown=1)])
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await supervisor.terminate_child("deaf")
        kinds = [type(event) for event in events]
        assert kinds.count(Unresponsive) == 1
        assert kinds.count(ShutdownError) <= 1
        assert of(events, Unresponsive)[0].reason == Killed()
        assert "deaf" in of(events, Unresponsive)[0].stack
        release.set()


async def test_events_are_frozen_values_with_a_name_and_attributes(autojump_clock):
    events: list[Event] = []
    spec = Supervisor([Child(finish, id="c", restart="transient")])
    async with open_supervisor(spec, telemetry=[events.append]):
        await some_steps()
    for event in events:
        assert isinstance(event, Event)
        assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", event.name)
        assert {"child", "life", "reason"} <= set(event.attributes)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.child = "other"
    started, exited = events
    assert started.span_id == exited.span_id != ""
    assert exited.reason == Normal()


async def test_every_listener_hears_every_event_at_once(autojump_clock):
    first: list[object] = []
    second: list[object] = []
    async with open_supervisor(
        Supervisor([Child(forever, id="a")]), telemetry=[first.append, second.append]
    ) as supervisor:
        assert len(first) == 1
        await supervisor.start_child(Child(forever, id="b"))
        assert [event.child for event in first] == ["a", "b"]
    assert first == second
    assert len(first) == 4


@pytest.mark.parametrize("error", [ValueError("listener"), trio.WouldBlock()])
async def test_a_listener_that_raises_changes_nothing_and_the_others_still_hear(autojump_clock, caplog, error):
    journal: list[str] = []
    events: list[object] = []

    def hostile(event):
        raise error

    async def bad():
        journal.append("bad")
        await trio.sleep(1)
        if journal.count("bad") < 3:
            raise ValueError
        await trio.sleep_forever()

    spec = Supervisor([Child(steady, journal, "a", id="a"), Child(bad, id="bad"), Child(steady, journal, "b", id="b")])
    async with open_supervisor(spec, telemetry=[hostile, events.append]) as supervisor:
        await until(lambda: journal.count("bad") == 3)
        assert supervisor.get_child("bad").restarts == 2
    assert journal == ["+a", "bad", "+b", "bad", "bad", "-b", "-a"]
    assert len(of(events, ChildRestarted)) == 2
    assert len(of(events, ChildStarted)) == 3
    assert any("listener" in record.getMessage() for record in caplog.records)


async def test_a_listener_may_look_at_the_supervisor(autojump_clock):
    seen = []

    def looks(event):
        if handles:
            seen.append((type(event).__name__, [str(child.state) for child in handles[0].which_children()]))

    handles: list[object] = []
    async with open_supervisor(Supervisor([Child(forever, id="a")]), telemetry=[looks]) as supervisor:
        handles.append(supervisor)
        await supervisor.start_child(Child(forever, id="b"))
        await supervisor.terminate_child("b")
        handles.clear()
    assert seen[0] == ("ChildStarted", ["running", "running"])
    assert seen[1][0] == "ChildExited"


# The log


def lines(caplog, level: int | None = None) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name == LOGGER and level in (None, record.levelno)
    ]


async def test_starts_are_logged_at_info_and_unexpected_ends_at_error_with_the_path(autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    event = trio.Event()
    inner = Supervisor([Child(crash_when, event, id="bad", restart="temporary")], id="inner")
    async with open_supervisor(Supervisor([inner])):
        event.set()
        await some_steps()
    assert any("inner/bad" in line for line in lines(caplog, logging.INFO))
    assert len(lines(caplog, logging.ERROR)) == 1
    (line,) = lines(caplog, logging.ERROR)
    assert "inner/bad" in line
    assert "ValueError" in line
    assert "crash" in line


@pytest.mark.parametrize(("restart", "logged"), [("permanent", True), ("transient", False), ("temporary", False)])
async def test_a_clean_end_is_logged_for_permanent_children_only(autojump_clock, caplog, restart, logged):
    event = trio.Event()

    async def once():
        waited = event
        await finish_when(waited)

    async with open_supervisor(Supervisor([Child(once, id="c", restart=restart)])):
        old, event = event, trio.Event()
        old.set()
        await some_steps()
    errors = lines(caplog, logging.ERROR)
    assert len(errors) == (1 if logged else 0)
    assert all("c" in line for line in errors)


async def test_an_ordinary_stop_is_silent_above_info(autojump_clock, caplog):
    async with open_supervisor(Supervisor([Child(forever, id=n) for n in "abc"])):
        pass
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


async def test_all_that_went_wrong_is_logged_before_the_block_is_left(autojump_clock, caplog):
    async def bad():
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("in cleanup")

    async with open_supervisor(Supervisor([Child(bad, id="bad")])):
        await some_steps()
    assert any("bad" in line and "in cleanup" in line for line in lines(caplog, logging.ERROR))


async def test_giving_up_and_failed_starts_are_logged_before_it_is_raised(autojump_clock, caplog):
    async def fails(*, task_status: trio.TaskStatus[None]) -> None:
        raise LookupError("no host")

    with pytest.raises(SupervisorFailed):
        await Supervisor([Child(crash, id="bad")], max_restarts=2, id="top").run()
    assert sum("crash" in line and "bad" in line for line in lines(caplog, logging.ERROR)) >= 3
    caplog.clear()
    with pytest.raises(Exception, match="failed to start"):
        await Supervisor([Child(fails, id="f")]).run()
    assert any("no host" in line and "f" in line for line in lines(caplog, logging.ERROR))


async def test_a_crash_loop_is_not_a_logging_loop_and_says_how_many_lines_it_left_out(autojump_clock, caplog):
    caplog.set_level(logging.DEBUG, LOGGER)
    events: list[object] = []
    number = 500
    lives = 0

    async def loops():
        nonlocal lives
        lives += 1
        await trio.lowlevel.checkpoint()
        if lives <= number:
            raise ValueError("again")
        await trio.sleep_forever()

    spec = Supervisor([Child(loops, id="loops"), Child(crash, id="other", restart="temporary")], max_restarts=10_000)
    async with open_supervisor(spec, telemetry=[events.append]):
        await until(lambda: lives > number)
    crashes = [event for event in of(events, ChildExited) if event.child == "loops" and not event.expected]
    assert len(crashes) == number
    about = [line for line in lines(caplog) if "loops" in line]
    assert len(about) < 50
    assert any("other" in line and "crash" in line for line in lines(caplog, logging.ERROR))
    # Nothing is lost without a word: what was written and what is said to have been left out is all there was.
    left_out = sum(int(found.group(1)) for line in about if (found := re.search(r"left out (\d+)", line)))
    written = sum("left out" not in line for line in about)
    started = sum(event.child == "loops" for event in of(events, ChildStarted))
    assert written + left_out == number + number + started  # crashes, restarts, the first start


async def test_a_long_crash_loop_is_logged_again_in_each_window(autojump_clock, caplog):
    async def loops():
        await trio.sleep(0.1)
        raise ValueError("again")

    spec = DynamicSupervisor(max_restarts=10_000)
    async with open_supervisor(spec) as supervisor:
        await supervisor.start_child(Child(loops, id="loops"))
        await trio.sleep(5)
        early = len(lines(caplog))
        await trio.sleep(100)
    assert 0 < early < 50
    assert early < len(lines(caplog)) < 1050
    assert sum("left out" in line for line in lines(caplog)) >= 3


async def test_a_logger_that_is_off_costs_nothing_and_changes_nothing(autojump_clock, caplog):
    caplog.set_level(logging.CRITICAL + 1, LOGGER)
    events: list[object] = []
    with pytest.raises(SupervisorFailed):
        await Supervisor([Child(crash)]).run(telemetry=[events.append])
    assert lines(caplog) == []
    assert len(of(events, GaveUp)) == 1


BROKEN_HANDLER = """
import logging
import trio
from trio.testing import MockClock
from prunella.supervision import Child, Supervisor, open_supervisor

class Broken(logging.Handler):
    def emit(self, record):
        raise OSError("disk full")

async def crash():
    raise ValueError

async def steady():
    try:
        await trio.sleep_forever()
    finally:
        print("stopped")

async def main():
    spec = Supervisor([Child(steady, id="a"), Child(crash, id="c", restart="temporary")])
    async with open_supervisor(spec) as supervisor:
        await trio.sleep(10)
        print(supervisor.get_child("a").state, supervisor.get_child("a").restarts)
    print("left")

logging.getLogger("prunella.supervision").addHandler(Broken())
trio.run(main, clock=MockClock(autojump_threshold=0))
"""


def test_a_log_handler_that_raises_changes_nothing():
    """In a process of its own, so that it fails rather than hangs."""
    done = subprocess.run(
        [sys.executable, "-c", BROKEN_HANDLER], capture_output=True, text=True, timeout=20, check=False
    )
    assert done.stdout.split() == ["running", "0", "stopped", "left"], done.stderr
    assert done.returncode == 0


async def test_failed_starts_of_a_child_do_not_hide_another(autojump_clock, caplog):
    async def fails(*, task_status: trio.TaskStatus[None]) -> None:
        raise LookupError("x")

    events: list[object] = []
    async with open_supervisor(DynamicSupervisor(), telemetry=[events.append]) as supervisor:
        for _ in range(100):
            with pytest.raises(Exception, match="failed to start"):
                await supervisor.start_child(Child(fails, id="noisy"))
        with pytest.raises(Exception, match="failed to start"):
            await supervisor.start_child(Child(fails, id="quiet"))
    assert len(of(events, ChildStartFailed)) == 101
    assert any("quiet" in line for line in lines(caplog, logging.ERROR))
