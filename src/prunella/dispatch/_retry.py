"""What an attempt came to, and whether and when to make another: plain decisions, tested without a loop."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, final

import attrs

from ._errors import Reason

__all__ = ["TIMED_OUT", "UNREACHABLE", "Outcome", "answered", "delay_before_next", "retry_after"]

# 408 Request Timeout, 425 Too Early, 429 Too Many Requests: the receiver asks to be asked again.
_ASK_AGAIN: Final = frozenset({408, 425, 429})

_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
_LONGEST_RETRY_AFTER: Final = 60.0

_SECONDS = re.compile("[0-9]+")


@final
@attrs.frozen
class Outcome:
    """What one attempt came to.

    Attributes:
        reason: why it failed; None if the signal is delivered.
        status: the status of the answer, if there was one.
        retryable: whether another attempt may succeed.
        counts: whether it is a failure of the origin, for its circuit.
        retry_after: seconds that the receiver asked to be left alone.
    """

    reason: Reason | None
    status: int | None = None
    retryable: bool = False
    counts: bool = False
    retry_after: float | None = None


UNREACHABLE: Final = Outcome(Reason.UNREACHABLE, retryable=True, counts=True)
TIMED_OUT: Final = Outcome(Reason.TIMEOUT, retryable=True, counts=True)


def answered(status: int, retry_after_headers: Iterable[str], now: datetime) -> Outcome:
    """What an answer means.

    Args:
        status: its HTTP status.
        retry_after_headers: the values of its headers `Retry-After`.
        now: the time on the wall, for those that are dates.
    """
    if 200 <= status < 300:
        return Outcome(None, status)
    if status in _ASK_AGAIN or status >= 500:
        asked = [seconds for text in retry_after_headers if (seconds := retry_after(text, now)) is not None]
        return Outcome(Reason.STATUS, status, True, status >= 500, max(asked, default=None))
    return Outcome(Reason.STATUS, status)


def retry_after(text: str, now: datetime) -> float | None:
    """The seconds that a header `Retry-After` asks for (RFC 9110, 10.2.3); None if it cannot be read."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": in UTC, of which nothing more is known
        moment = moment.replace(tzinfo=UTC)
    try:
        return max(0.0, (moment - now).total_seconds())
    except OverflowError:  # an offset that leads out of the calendar
        return None


def delay_before_next(outcome: Outcome, attempts: int, retries: int, chance: float) -> float | None:
    """Seconds until the next attempt; None if there is to be none.

    Delays double from half a second to half a minute; chance takes away up to half, so that those who failed
    together do not come back together.

    Args:
        outcome: what the last attempt came to.
        attempts: how many were made.
        retries: how many there may be after the first.
        chance: a random number from 0 to 1.
    """
    if not outcome.retryable or attempts > retries:
        return None
    asked = outcome.retry_after or 0.0
    if asked > _LONGEST_RETRY_AFTER:
        return None
    backoff = min(_FIRST_DELAY * 2.0 ** (attempts - 1), _LONGEST_DELAY)
    return max(asked, backoff * (1 - chance / 2))
