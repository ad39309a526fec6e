from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from prunella._time import WallClock

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class System:
    def __init__(self) -> None:
        self.time = EPOCH

    def __call__(self) -> datetime:
        return self.time


def test_it_goes_on_from_its_epoch_as_the_clock_of_the_run_does() -> None:
    clock = WallClock(EPOCH.astimezone(timezone(timedelta(hours=5))), 1_000.0, follow=True)
    assert clock.now(1_090.5) == EPOCH + timedelta(seconds=90.5)
    assert clock.now(1_090.5).tzinfo is UTC


def test_an_epoch_that_was_given_is_kept_whatever_the_system_says() -> None:
    system = System()
    system.time += timedelta(days=9)
    assert WallClock(EPOCH, 0.0, follow=True, system=system).now(600.0) == EPOCH + timedelta(seconds=600)


def test_once_a_minute_it_takes_the_time_of_a_system_that_was_set() -> None:
    system = System()
    clock = WallClock(None, 0.0, follow=True, system=system)
    system.time = EPOCH + timedelta(hours=1)
    assert clock.now(59.0) == EPOCH + timedelta(seconds=59)
    assert clock.now(60.0) == EPOCH + timedelta(hours=1)
    assert clock.now(61.0) == EPOCH + timedelta(hours=1, seconds=1)


def test_a_second_is_no_difference() -> None:
    system = System()
    clock = WallClock(None, 0.0, follow=True, system=system)
    system.time = EPOCH + timedelta(seconds=60.9)
    assert clock.now(60.0) == EPOCH + timedelta(seconds=60)


def test_on_a_clock_that_is_not_the_worlds_it_never_looks() -> None:
    system = System()
    clock = WallClock(None, 0.0, follow=False, system=system)
    system.time = EPOCH + timedelta(hours=1)
    assert clock.now(600.0) == EPOCH + timedelta(seconds=600)
