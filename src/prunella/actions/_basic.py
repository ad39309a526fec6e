from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import trio

from ._action import Action, action
from ._errors import ActionError
from ._execution import current_run

__all__ = ["basic_actions"]

_logger = logging.getLogger("prunella.actions.log")

Number = int | float


def basic_actions() -> Mapping[str, Action[..., Any]]:
    """Small actions that touch nothing: `add`, `subtract`, `multiply`, `divide`; `current_time`, `add_days`,
    `days_between`; `sleep` and `log`.

    Returns:
        The actions by name.
    """
    return _ACTIONS


@action(idempotent=True, category="arithmetic")
async def add(a: Number, b: Number) -> Number:
    """The sum of two numbers."""
    return a + b


@action(idempotent=True, category="arithmetic")
async def subtract(a: Number, b: Number) -> Number:
    """The first number less the second."""
    return a - b


@action(idempotent=True, category="arithmetic")
async def multiply(a: Number, b: Number) -> Number:
    """The product of two numbers."""
    return a * b


@action(idempotent=True, category="arithmetic")
async def divide(a: Number, b: Number) -> float:
    """The first number divided by the second."""
    if b == 0:
        raise ActionError("a number cannot be divided by zero")
    return a / b


@action(idempotent=True, tags=("time",), category="dates")
async def current_time(timezone: str = "UTC") -> datetime:
    """The date and the time of day: inside a runtime, by its clock.

    Args:
        timezone: where, as `Europe/Oslo`.
    """
    run = current_run.get()
    now = datetime.now(UTC) if run is None else run.runner.now()
    try:
        return now.astimezone(ZoneInfo(timezone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ActionError(f"there is no time zone {timezone[:100]!r}") from None


@action(idempotent=True, category="dates")
async def add_days(day: date, days: int) -> date:
    """The day that is so many days later, or earlier if the number is negative."""
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise ActionError("that is beyond the calendar") from None


@action(idempotent=True, category="dates")
async def days_between(start: date, end: date) -> int:
    """How many days it is from one day to another."""
    return (end - start).days


@action(idempotent=True, tags=("wait",), category="time")
async def sleep(seconds: float) -> None:
    """Waits for some seconds."""
    await trio.sleep(max(0.0, seconds))


@action(category="log")
async def log(message: str, level: Literal["debug", "info", "warning", "error"] = "info") -> None:
    """Writes a line to the log."""
    # Whoever writes it may be a model: it gets one line, of bounded length.
    _logger.log(logging.getLevelNamesMapping()[level.upper()], "%s", message[:10_000].encode("unicode_escape").decode())


_ACTIONS = MappingProxyType(
    {one.name: one for one in (add, subtract, multiply, divide, current_time, add_days, days_between, sleep, log)}
)
