"""Directives about later."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, Final, Literal, final

import attrs

from ..errors import InvalidArgument
from ..signals import Signal
from ._cron import check_expression, next_after, time_zone
from ._directive import Directive, Event, choice, optional_text, text, what_to_send

__all__ = ["Cancel", "Cron", "Schedule"]

_MISFIRES: Final = ("once", "skip", "all")


@final
@attrs.frozen(init=False)
class Schedule(Directive):
    """Sends a signal to oneself after a while, once.

    Args:
        delay: after how many seconds.
        signal_or_type, data: as of `Emit`.
        key: a name for `Cancel`; another directive with the key replaces this one.

    Raises:
        InvalidArgument: one of these is of another kind, or only the runtime sends this type.
    """

    delay: float
    type: str
    data: Any
    signal: Signal | None
    key: str | None

    def __init__(self, delay: float, signal_or_type: Event, data: Any = None, /, *, key: str | None = None) -> None:
        is_number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
        if not is_number or not math.isfinite(delay) or delay < 0:
            raise InvalidArgument("Schedule", "delay", "seconds, at least 0", delay)
        type, data, signal = what_to_send("Schedule", signal_or_type, data)
        self.__attrs_init__(float(delay), type, data, signal, optional_text("Schedule", "key", key))


@final
@attrs.frozen(init=False)
class Cron(Directive):
    """Sends a signal to oneself again and again, by the calendar.

    A local time that does not exist, because clocks are set forward, is skipped. One that exists twice counts once,
    unless the hours of the expression run on through the repeated hour: `*/15 * * * *` goes on every quarter of an
    hour, whatever the clocks do.

    Args:
        expression: minute, hour, day of the month, month, day of the week: `0 9 * * MON-FRI`.
        signal_or_type, data: as of `Emit`.
        key: a name for `Cancel`; another directive with the key replaces this one.
        timezone: the name of the time zone that the expression is meant in.
        misfire: what becomes of ticks that nobody was there for: `once`, one for all of them; `skip`, none; `all`,
            each, up to a hundred.

    Raises:
        InvalidArgument: one of these is of another kind, the expression is never due, there is no such time zone,
            or only the runtime sends this type.
    """

    expression: str
    type: str
    data: Any
    signal: Signal | None
    key: str | None
    timezone: str
    misfire: str

    def __init__(
        self,
        expression: str,
        signal_or_type: Event,
        data: Any = None,
        /,
        *,
        key: str | None = None,
        timezone: str = "UTC",
        misfire: Literal["once", "skip", "all"] = "once",
    ) -> None:
        type, data, signal = what_to_send("Cron", signal_or_type, data)
        self.__attrs_init__(
            check_expression("Cron", expression),
            type,
            data,
            signal,
            optional_text("Cron", "key", key),
            time_zone("Cron", timezone).key,
            choice("Cron", "misfire", misfire, _MISFIRES),
        )

    def next_after(self, moment: datetime) -> datetime:
        """The first moment after `moment` at which it is due, as an aware UTC datetime. Pure.

        Raises:
            InvalidArgument: `moment` is no aware datetime.
            OverflowError: there is none before the end of the calendar.
        """
        if not isinstance(moment, datetime) or moment.utcoffset() is None:
            raise InvalidArgument("Cron.next_after", "moment", "an aware datetime", moment)
        return next_after(self.expression, time_zone("Cron", self.timezone), moment)


@final
@attrs.frozen(init=False)
class Cancel(Directive):
    """Cancels the schedule, the cron job or the running `Run` of this agent that has the key; none is no error.

    Args:
        key: as of `Schedule`, `Cron` or `Run`.

    Raises:
        InvalidArgument: it is no text.
    """

    key: str

    def __init__(self, key: str) -> None:
        self.__attrs_init__(text("Cancel", "key", key))
