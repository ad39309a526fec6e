from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from examples.reminders import DAY, EVERY_MORNING, SATURDAY, Reminders, main
from trio.testing import MockClock

from prunella import Cancel, Context, Rejected, Schedule
from prunella.agents import describe
from prunella.runtime import AgentRef, AgentSpec, Runtime
from prunella.testing import PublishedSignals, crash, settle

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def runtime_options() -> Mapping[str, Any]:
    return {"tree": AgentSpec(Reminders, restore="last"), "epoch": SATURDAY}


@pytest.fixture
def reminders(runtime: Runtime) -> AgentRef[Reminders]:
    return runtime.ref("reminders", Reminders)


def test_a_reminder_is_a_schedule_with_its_text_as_key() -> None:
    agent, directives = Reminders().cmd("remind", text="tea", seconds=240.0, context=Context(now=NOW))
    assert directives == (Schedule(240, "is.due", {"text": "tea"}, key="tea"),)
    assert agent.due == {"tea": NOW + timedelta(minutes=4)}


def test_what_is_forgotten_is_cancelled() -> None:
    agent, _ = Reminders().cmd("remind", text="tea", seconds=240.0, context=Context(now=NOW))
    assert agent.cmd("forget", text="tea") == (Reminders(), (Cancel("tea"),))


def test_of_the_past_nobody_is_reminded() -> None:
    with pytest.raises(Rejected, match="over already"):
        Reminders().cmd("remind", text="tea", seconds=-1.0)


def test_the_morning_is_declared() -> None:
    assert describe(Reminders).schedules == (EVERY_MORNING,)


async def test_a_reminder_comes_when_it_is_due_and_only_once(
    runtime: Runtime, reminders: AgentRef[Reminders], signals: PublishedSignals
) -> None:
    await reminders.call("remind", text="tea", seconds=240.0)
    signal = await signals.wait_for("reminder")
    assert (signal.data, trio.current_time()) == ({"text": "tea"}, 240)
    assert signal.time == SATURDAY + timedelta(minutes=4)
    assert reminders.state().due == {}
    await trio.sleep(DAY)
    assert signals.types == ["reminder"]


async def test_a_second_time_takes_the_place_of_the_first(
    reminders: AgentRef[Reminders], signals: PublishedSignals
) -> None:
    await reminders.call("remind", text="tea", seconds=240.0)
    await reminders.call("remind", text="tea", seconds=600.0)
    await signals.wait_for("reminder")
    assert trio.current_time() == 600


async def test_what_was_forgotten_does_not_come(
    runtime: Runtime, reminders: AgentRef[Reminders], signals: PublishedSignals
) -> None:
    await reminders.call("remind", text="tea", seconds=240.0)
    await reminders.call("forget", text="tea")
    assert [schedule.key for schedule in reminders.schedules()] == ["morning"]
    await trio.sleep(300)
    assert signals == []


async def test_the_agenda_comes_on_working_days_at_nine_in_oslo(
    reminders: AgentRef[Reminders], signals: PublishedSignals
) -> None:
    agendas = await signals.wait_for_count(6, "agenda")
    # Clocks were set forward on Sunday: nine is at seven in UTC, no longer at eight.
    mornings = [f"2030-04-0{day}T07:00:00+00:00" for day in (1, 2, 3, 4, 5, 8)]
    assert [agenda.data["at"] for agenda in agendas] == mornings
    assert [agenda.time.isoformat() for agenda in agendas] == mornings


async def test_the_agenda_names_what_is_still_to_come(
    reminders: AgentRef[Reminders], signals: PublishedSignals
) -> None:
    await reminders.call("remind", text="rent", seconds=2.5 * DAY)
    first, second = await signals.wait_for_count(2, "agenda")
    assert (first.data["open"], second.data["open"]) == (["rent"], [])


async def test_a_crash_moves_no_reminder(
    runtime: Runtime, reminders: AgentRef[Reminders], signals: PublishedSignals, caplog: pytest.LogCaptureFixture
) -> None:
    await reminders.call("remind", text="tea", seconds=240.0)
    await reminders.call("remind", text="rent", seconds=1000.0)
    await trio.sleep(100)
    await crash(reminders)
    await settle(runtime)
    assert [schedule.key for schedule in reminders.schedules()] == ["tea", "rent", "morning"]
    await signals.wait_for_count(2, "reminder")
    assert [signal.data["text"] for signal in signals] == ["tea", "rent"]
    assert trio.current_time() == pytest.approx(1000)


async def test_the_program_lives_through_a_week_in_no_time(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines if "reminder:" in line] == ["Tue 02", "Wed 14"]
    assert len([line for line in lines if "agenda:" in line]) == 5
