"""When a cron expression is due: the calendar, time zones, and clocks that are set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella.agents import Cron
from prunella.errors import InvalidArgument

BERLIN = ZoneInfo("Europe/Berlin")


def ticks(expression: str, begin: datetime, count: int, zone: str = "Europe/Berlin") -> list[datetime]:
    cron = Cron(expression, "tick", timezone=zone)
    found = []
    for _ in range(count):
        begin = cron.next_after(begin)
        found.append(begin)
    return found


def local(moments: list[datetime], zone: str = "Europe/Berlin") -> list[str]:
    return [moment.astimezone(ZoneInfo(zone)).strftime("%d %H:%M %Z") for moment in moments]


def at(text: str, zone: str = "Europe/Berlin") -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


def test_the_next_moment_is_after_the_given_one_and_in_utc() -> None:
    cron = Cron("0 9 * * *", "tick")
    assert cron.next_after(datetime(2026, 1, 1, 9, tzinfo=UTC)) == datetime(2026, 1, 2, 9, tzinfo=UTC)
    due = cron.next_after(datetime(2026, 1, 1, 8, 59, 59, 999999, tzinfo=UTC))
    assert due == datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert due.tzinfo is UTC


def test_it_is_meant_in_its_time_zone() -> None:
    [due] = ticks("0 9 * * *", datetime(2026, 7, 1, tzinfo=UTC), 1)
    assert due == datetime(2026, 7, 1, 7, tzinfo=UTC)


def test_the_moment_may_be_in_any_zone_but_must_have_one() -> None:
    cron = Cron("0 9 * * *", "tick")
    there = timezone(timedelta(hours=5))
    assert cron.next_after(datetime(2026, 1, 1, 13, 59, tzinfo=there)) == datetime(2026, 1, 1, 9, tzinfo=UTC)
    with pytest.raises(InvalidArgument):
        cron.next_after(datetime(2026, 1, 1))


def test_days_of_the_week_and_the_month() -> None:
    assert local(ticks("0 9 * * MON-FRI", at("2026-01-30 12:00"), 2)) == ["02 09:00 CET", "03 09:00 CET"]
    assert local(ticks("0 0 29 2 *", at("2026-01-01 00:00"), 1)) == ["29 00:00 CET"]


def test_a_local_time_that_does_not_exist_is_skipped() -> None:
    assert local(ticks("30 2 * * *", at("2026-03-28 00:00"), 2)) == ["28 02:30 CET", "30 02:30 CEST"]


def test_a_local_time_that_exists_twice_counts_once() -> None:
    found = ticks("30 2 * * *", at("2026-10-24 12:00"), 2)
    assert local(found) == ["25 02:30 CEST", "26 02:30 CET"]
    assert local(ticks("30 2 * * *", found[0] + timedelta(minutes=59), 1)) == ["26 02:30 CET"]
    assert local(ticks("30 2 25 10 *", at("2026-10-01 12:00"), 2))[1].endswith("CEST")


@pytest.mark.parametrize("expression", ["*/15 * * * *", "0,15,30,45 * * * *", "0-45/15 * * * *"])
@pytest.mark.parametrize("day", ["2026-03-29 00:00", "2026-10-25 00:00"])
def test_a_quarter_of_an_hour_stays_one_whatever_the_clocks_do(expression: str, day: str) -> None:
    begin = at(day)
    found = [begin, *ticks(expression, begin, 24)]
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=15)}


@pytest.mark.parametrize("day", ["2026-03-29 00:00", "2026-10-25 00:00"])
def test_every_hour_is_every_hour(day: str) -> None:
    begin = at(day)
    found = [begin, *ticks("0 * * * *", begin, 8)]
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}


def test_hours_apart_do_not_come_twice() -> None:
    assert local(ticks("0 */2 * * *", at("2026-10-25 00:00"), 2)) == ["25 02:00 CEST", "25 04:00 CET"]
    assert local(ticks("0 2,14 * * *", at("2026-10-25 00:00"), 2)) == ["25 02:00 CEST", "25 14:00 CET"]


def test_hours_that_run_on_do_not_pause() -> None:
    assert local(ticks("0 1-3 * * *", at("2026-10-25 00:00"), 4)) == [
        "25 01:00 CEST",
        "25 02:00 CEST",
        "25 02:00 CET",
        "25 03:00 CET",
    ]
    assert local(ticks("0 1,2 * * *", at("2026-10-25 00:30"), 3))[2] == "25 02:00 CET"
    assert local(ticks("0 2,3 * * *", at("2026-10-25 00:30"), 2))[1] == "25 02:00 CET"


def test_clocks_that_are_set_by_half_an_hour() -> None:
    zone = "Australia/Lord_Howe"  # back from 02:00 to 01:30 on 5 April 2026
    begin = at("2026-04-05 00:00", zone)
    found = [begin, *ticks("*/10 * * * *", begin, 18, zone)]
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(minutes=10)}
    assert len(ticks("45 1 * * *", begin, 1, zone)) == 1
    once = ticks("45 1 * * *", begin, 2, zone)
    assert once[1] - once[0] == timedelta(hours=24, minutes=30)


def test_clocks_that_are_set_at_midnight() -> None:
    zone = "America/Havana"  # back from 01:00 to 00:00 on 1 November 2026
    once = ticks("30 0 * * *", at("2026-10-31 12:00", zone), 2, zone)
    assert once[1] - once[0] == timedelta(hours=25)


def test_an_expression_and_a_zone_are_kept_as_given() -> None:
    cron = Cron("0 9 * * mon-fri", "tick", timezone="Europe/Berlin")
    assert (cron.expression, cron.timezone, cron.misfire) == ("0 9 * * mon-fri", "Europe/Berlin", "once")


def test_there_is_an_end_of_the_calendar() -> None:
    with pytest.raises(OverflowError):
        Cron("0 0 1 1 *", "tick").next_after(datetime(9999, 12, 31, tzinfo=UTC))


minutes = st.sampled_from(["*", "*/15", "0", "30", "5,35", "59"])
hours = st.sampled_from(["*", "*/2", "2", "1-3", "2,14", "0", "23"])
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"])
moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
near_changes = st.builds(
    lambda day, seconds: day + timedelta(seconds=seconds),
    st.sampled_from(
        [datetime(2026, m, d, tzinfo=UTC) for m, d in ((3, 29), (10, 25), (3, 8), (11, 1), (4, 4), (10, 3))]
    ),
    st.integers(-86400, 2 * 86400),
)


@given(minutes, hours, zones, moments | near_changes)
def test_what_is_due_matches_exists_and_is_the_first(minute: str, hour: str, zone: str, moment: datetime) -> None:
    cron = Cron(f"{minute} {hour} * * *", "tick", timezone=zone)
    due = cron.next_after(moment)
    assert due > moment
    there = due.astimezone(ZoneInfo(zone))
    assert there.replace(tzinfo=None) in matching(minute, hour, there)
    # Nothing in between: what is due after any moment before it is the same.
    between = moment + (due - moment) / 2
    assert cron.next_after(between) == due


def matching(minute: str, hour: str, there: datetime) -> list[datetime]:
    naive = there.replace(tzinfo=None)
    wanted = values(minute, 60), values(hour, 24)
    return [naive] if naive.minute in wanted[0] and naive.hour in wanted[1] and naive.second == 0 else []


def values(field: str, size: int) -> set[int]:
    if field.startswith("*"):
        return set(range(0, size, int(field.partition("/")[2] or 1)))
    if "-" in field:
        first, last = map(int, field.split("-"))
        return set(range(first, last + 1))
    return {int(part) for part in field.split(",")}
