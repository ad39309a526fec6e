"""Whether and when to make another attempt: plain decisions, tested without a loop."""

from __future__ import annotations

import math

from ._errors import ActionError, is_retryable
from ._options import Options

__all__ = ["attempt_deadline", "delay_before_next", "is_total"]


def delay_before_next(
    error: ActionError,
    attempts: int,
    options: Options,
    seconds_left: float,
    chance: float,
    *,
    tried_inside: bool = False,
) -> float | None:
    """Seconds until the next attempt; None if there is to be none.

    Args:
        error: why the last one failed.
        attempts: how many were made.
        options: those of the run.
        seconds_left: until the total deadline; infinite if there is none.
        chance: a random number from -1 to 1.
        tried_inside: whether a run inside of this one has tried again already: the innermost declaration counts.
    """
    if attempts > options.retries or tried_inside or not is_retryable(error):
        return None
    # Jitter goes below the growing delay as well as above it, never above the maximum.
    delay = min(options.backoff.maximum, options.backoff.delay(attempts, chance))
    return delay if delay < seconds_left else None


def attempt_deadline(now: float, options: Options, total: float) -> float:
    """When an attempt that begins now must be over."""
    return total if options.timeout is None else min(total, now + options.timeout)


def is_total(deadline: float, total: float) -> bool:
    """Whether the deadline of an attempt was that of the whole run."""
    return deadline == total and total != math.inf
