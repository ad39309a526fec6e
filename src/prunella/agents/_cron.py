"""When a cron expression is due, in a time zone with its changes of the clock. Pure: the caller says what time it is.

The arithmetic of the expression is cronsim's, on local times without a zone. What the clock changes make of these is
decided here: a local time that does not exist is skipped, and of one that exists twice the second occurrence counts
only where the hours of the expression run on through the repeated hour, so that `*/15 * * * *` goes on every quarter
of an hour, and `30 2 * * *` comes once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from ..errors import InvalidArgument

__all__ = ["check_expression", "next_after", "time_zone"]

_ANY_DAY: Final = datetime(2024, 1, 1)  # a leap year has all days that an expression can mean
_LONGEST_SHIFT: Final = timedelta(hours=3)  # clocks are set by an hour or half of one, in history by up to three
_SECOND: Final = timedelta(seconds=1)


def time_zone(owner: str, name: object) -> ZoneInfo:
    """The time zone of an IANA name.

    Raises:
        InvalidArgument: there is none of this name.
    """
    if isinstance(name, str):
        try:
            return ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # what is not found is a KeyError, other text one of the others
            pass
    raise InvalidArgument(owner, "timezone", "the name of a time zone, such as 'Europe/Berlin'", name)


def check_expression(owner: str, expression: object) -> str:
    """A cron expression of five fields.

    Raises:
        InvalidArgument: it is none, or one that is never due.
    """
    expected = "a cron expression of five fields, such as '0 9 * * MON-FRI'"
    if not isinstance(expression, str) or len(expression.split()) != 5:
        raise InvalidArgument(owner, "expression", expected, expression)
    expression = str.__str__(expression)
    try:
        next(CronSim(expression, _ANY_DAY))
    except CronSimError as error:
        raise InvalidArgument(owner, "expression", f"{expected} ({str(error).lower()})", expression) from None
    except StopIteration:
        raise InvalidArgument(owner, "expression", "one that is due on some day", expression) from None
    return expression


def next_after(expression: str, zone: ZoneInfo, moment: datetime) -> datetime:
    """The first moment after `moment` at which the expression is due, in UTC.

    Raises:
        OverflowError: there is none before the end of the calendar.
    """
    moment = moment.astimezone(UTC)
    local = moment.astimezone(zone).replace(tzinfo=None)
    # Around a clock that is set back the same local times come twice, so the search begins before them.
    ticks = CronSim(expression, local - _shift(zone, moment) - _SECOND)
    found: datetime | None = None
    try:
        for tick in ticks:
            first = _instant(tick, zone, 0)
            if found is not None and first >= found:
                break
            for instant in (first, _instant(tick, zone, 1)):
                exists = instant.astimezone(zone).replace(tzinfo=None) == tick
                if instant <= moment or not exists or (found is not None and instant >= found):
                    continue
                if instant == first or _runs_on(expression, tick.hour):
                    found = instant
    except OverflowError:  # the tick behind the last one of the calendar
        pass
    if found is None:
        raise OverflowError("there is no such moment before the end of the calendar")
    return found


def _instant(tick: datetime, zone: ZoneInfo, fold: int) -> datetime:
    return tick.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def _shift(zone: ZoneInfo, moment: datetime) -> timedelta:
    """By how much clocks are set back in the hours around a moment."""
    around = [
        (moment + hours).astimezone(zone).replace(tzinfo=None) - moment.replace(tzinfo=None) - hours
        for hours in (-_LONGEST_SHIFT, timedelta(), _LONGEST_SHIFT)
    ]
    return max(around[0] - around[1], around[1] - around[2], timedelta())


@lru_cache(maxsize=1024)
def _runs_on(expression: str, hour: int) -> bool:
    """Whether the expression is due in the hour before this one, or the hour after, as well."""
    hours = _hours(expression.split()[1])
    return (hour - 1) % 24 in hours or (hour + 1) % 24 in hours


def _hours(field: str) -> frozenset[int]:
    # A day of ticks on the hour, by the library's own reading of the field.
    start = _ANY_DAY - _SECOND
    hours = set()
    for tick in CronSim(f"0 {field} * * *", start):
        if tick - start > timedelta(days=1):
            break
        hours.add(tick.hour)
    return frozenset(hours)
