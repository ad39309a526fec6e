"""Cron jobs: by the calendar, in a time zone with its changes of the clock, and what becomes of missed ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Log, do, settle

from prunella.agents import Cron
from prunella.runtime import AgentRef, Runtime, open_runtime
from prunella.runtime._clock import RuntimeClock
from prunella.runtime._schedules import latest_ticks, sent_ticks

EPOCH = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


def due(ref: AgentRef[Log]) -> list[str]:
    """What the ticks that came were scheduled for."""
    return [signal.data["scheduled_for"] for signal in ref.state().signals]


async def ticks_of(cron: Cron, begin: datetime, seconds: float) -> list[datetime]:
    async with open_runtime(epoch=begin) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, cron)
        await trio.sleep(seconds)
        return [datetime.fromisoformat(text) for text in due(ref)]


async def test_a_job_ticks_by_the_calendar_again_and_again() -> None:
    ticks = await ticks_of(Cron("30 * * * *", "tick"), EPOCH, 3 * 3600)
    assert ticks == [EPOCH + timedelta(minutes=minutes) for minutes in (30, 90, 150)]


async def test_each_tick_is_a_signal_of_its_own() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("* * * * *", "tick", {"n": 1}))
        await trio.sleep(121)
        one, other = ref.state().signals
        assert one.id != other.id
        assert one.data == {"n": 1, "scheduled_for": (EPOCH + timedelta(minutes=1)).isoformat()}
        assert one.time == EPOCH + timedelta(minutes=1)
        assert one.source == "/agents/log"


async def test_data_that_has_no_keys_is_left_as_it_is() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("* * * * *", "tick", "text"))
        await trio.sleep(61)
        assert [signal.data for signal in ref.state().signals] == ["text"]


async def test_the_time_zone_is_that_of_the_expression() -> None:
    ticks = await ticks_of(Cron("0 9 * * *", "tick", timezone="America/New_York"), EPOCH, 86_400)
    assert ticks == [datetime(2030, 1, 1, 14, 0, tzinfo=UTC)]


async def test_a_local_time_that_does_not_exist_is_skipped() -> None:
    # In Berlin clocks go from 2:00 to 3:00 on 31 March 2030.
    begin = datetime(2030, 3, 30, 12, 0, tzinfo=UTC)
    ticks = await ticks_of(Cron("30 2 * * *", "tick", timezone="Europe/Berlin"), begin, 3 * 86_400)
    assert ticks == [datetime(2030, 4, 1, 0, 30, tzinfo=UTC), datetime(2030, 4, 2, 0, 30, tzinfo=UTC)]


async def test_a_local_time_that_exists_twice_ticks_once_at_its_first() -> None:
    # In Berlin clocks go from 3:00 back to 2:00 on 27 October 2030.
    begin = datetime(2030, 10, 26, 12, 0, tzinfo=UTC)
    ticks = await ticks_of(Cron("30 2 * * *", "tick", timezone="Europe/Berlin"), begin, 86_400)
    assert ticks == [datetime(2030, 10, 27, 0, 30, tzinfo=UTC)]


async def test_every_quarter_of_an_hour_neither_pauses_nor_doubles() -> None:
    for begin in (datetime(2030, 3, 31, 0, 0, tzinfo=UTC), datetime(2030, 10, 27, 0, 0, tzinfo=UTC)):
        ticks = await ticks_of(Cron("*/15 * * * *", "tick", timezone="Europe/Berlin"), begin, 4 * 3600 + 1)
        assert ticks == [begin + timedelta(minutes=15 * n) for n in range(1, 17)]


async def test_a_second_job_of_the_key_replaces_the_first_and_a_bad_one_cannot_be_made() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("* * * * *", "tick", key="k"))
        with pytest.raises(ValueError, match="cron expression"):
            Cron("* * * * * nonsense", "tick", key="k")
        await do(ref, Cron("0 * * * *", "note.hourly", key="k"))
        await trio.sleep(3601)
        assert [signal.type for signal in ref.state().signals] == ["note.hourly"]


async def test_a_turn_that_takes_a_tick_does_not_shift_the_next() -> None:
    async with open_runtime(epoch=EPOCH + timedelta(seconds=17, microseconds=333)) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("* * * * *", "tick"))
        await trio.sleep(200 * 60)
        assert due(ref) == [(EPOCH + timedelta(minutes=n)).isoformat() for n in range(1, 201)]


# Missed ticks. Trio's clock jumps; so does the system's, where nobody ran meanwhile.


async def missed(misfire: Any, minutes: float, *, seconds: float = 30.0) -> list[str]:
    """The ticks that come when an agent with a tick a minute finds that some minutes have passed at once."""
    clock = trio.lowlevel.current_clock()
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("* * * * *", "tick", misfire=misfire))
        clock.jump(minutes * 60 + seconds)  # type: ignore[attr-defined]
        await settle()
        assert ref.status().mailbox == 0
        found = due(ref)
        after = len(found)
        await trio.sleep(61)
        assert len(due(ref)) == after + 1, "it goes on as if nothing had been"
        return [text[11:16] for text in found]


async def test_by_default_one_tick_stands_for_all_that_were_missed() -> None:
    assert await missed("once", 5) == ["12:05"]


async def test_skip_sends_none_of_them() -> None:
    assert await missed("skip", 5) == []
    assert await missed("skip", 5, seconds=0.0) == ["12:05"], "the last of them is on time"


async def test_all_sends_each() -> None:
    assert await missed("all", 5) == [f"12:{n:02}" for n in range(1, 6)]


async def test_all_sends_at_most_the_last_hundred() -> None:
    ticks = await missed("all", 48 * 60)
    assert len(ticks) == 100
    assert ticks[-1] == "12:00"


async def test_one_that_comes_late_but_before_the_next_is_no_misfire() -> None:
    for misfire in ("once", "skip", "all"):
        assert await missed(misfire, 1) == ["12:01"]


@pytest.mark.parametrize("expression", ["* * * * *", "*/7 3-5 * * *", "0 0 1 * *", "* 2 * * *", "17 4 29 2 *"])
@pytest.mark.parametrize("days", [0.001, 0.3, 70.0])
def test_the_last_hundred_are_those_that_one_would_find_one_by_one(expression: str, days: float) -> None:
    cron = Cron(expression, "tick", timezone="Europe/Berlin")
    first = cron.next_after(EPOCH)
    now = first + timedelta(days=days)
    if expression == "* * * * *" and days > 1:
        now = first + timedelta(days=2)
    one_by_one = [first]
    while (tick := cron.next_after(one_by_one[-1])) <= now:
        one_by_one.append(tick)
    assert latest_ticks(cron, first, now) == one_by_one[-100:]
    assert sent_ticks("once", one_by_one[-100:], now) == one_by_one[-1:]


# The wall clock is set.


class Wall:
    """The system's clock, in the hands of a test, as a runtime follows it."""

    def __init__(self, runtime: Runtime) -> None:
        self.shift = timedelta()
        self._opened = trio.current_time()
        clock = RuntimeClock(None)
        clock.follows = True
        clock._wall._epoch = EPOCH
        clock._wall._follow = True
        clock._wall._system = self.now
        runtime.clock = clock
        runtime.signals._clock = clock

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=trio.current_time() - self._opened) + self.shift


async def test_a_job_keeps_to_the_wall_clock_where_that_is_set_back() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        wall = Wall(runtime)
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("0 13 * * *", "tick"))
        await trio.sleep(1800)
        wall.shift = timedelta(minutes=-20)
        await trio.sleep(2900)  # by the delay that it began with the tick would have come by now
        assert due(ref) == []
        await trio.sleep(120)
        assert due(ref) == ["2030-01-01T13:00:00+00:00"]


async def test_a_job_keeps_to_the_wall_clock_where_that_is_set_forward() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        wall = Wall(runtime)
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("0 * * * *", "tick"))
        await trio.sleep(600)
        wall.shift = timedelta(hours=3)
        await trio.sleep(121)
        assert due(ref) == ["2030-01-01T15:00:00+00:00"], "one for all that were missed, and within the minute"


async def test_the_end_of_the_calendar_is_no_crash() -> None:
    async with open_runtime(epoch=datetime(9999, 12, 31, 20, 50, 30, tzinfo=UTC)) as runtime:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Cron("* * * * *", "tick", key="k"))
        await trio.sleep(3600)
        assert due(ref)
        assert ref.schedules() == ()
        await do(ref, Cron("* * * * *", "tick", key="k"))
        assert ref.schedules() == ()
        assert ref.status().restarts == 0
