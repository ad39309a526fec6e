"""The rules of OTP as values and plain functions: who restarts, how often, what is worth a report.

Nothing here waits, and nothing here knows Trio.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import Any, TypeAlias

import attrs

from ._errors import InvalidSpec
from ._reasons import ExitReason, Killed, Normal, Shutdown

__all__ = [
    "BRUTAL_KILL",
    "AutoShutdown",
    "Backoff",
    "Budget",
    "ChildKind",
    "ChildState",
    "Restart",
    "RestartWindow",
    "ShutdownTime",
    "Strategy",
    "check_choice",
    "check_count",
    "check_id",
    "check_seconds",
    "check_shutdown",
    "end_in_shutdown_is_expected",
    "end_is_expected",
    "restarts_after",
]

ShutdownTime: TypeAlias = float | str

BRUTAL_KILL = "brutal_kill"


class Restart(StrEnum):
    """When a child that ended by itself is started again."""

    PERMANENT = "permanent"
    """Always. What a service wants."""
    TRANSIENT = "transient"
    """Only after a crash. For work that can be finished."""
    TEMPORARY = "temporary"
    """Never; the supervisor forgets it when it ends."""


class Strategy(StrEnum):
    """Who is restarted along with a child."""

    ONE_FOR_ONE = "one_for_one"
    """Only the child itself. You most likely want this one."""
    ONE_FOR_ALL = "one_for_all"
    """All children: they are stopped in reverse order and started again in order."""
    REST_FOR_ONE = "rest_for_one"
    """The child and those that were started after it."""


class AutoShutdown(StrEnum):
    """Whether a supervisor stops itself when its significant children have done their work."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


class Budget(StrEnum):
    """Whose restarts a dynamic supervisor's window counts."""

    SHARED = "shared"
    """Those of all children together, as in OTP: over it, the supervisor gives up."""
    PER_CHILD = "per_child"
    """Those of each child alone: over it, that child is removed and the others never notice."""


class ChildKind(StrEnum):
    """What a child is, for counting and for pictures."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class ChildState(StrEnum):
    """Where a child stands."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    """From the end of a life until a restart has succeeded, the tries included."""
    STOPPED = "stopped"
    """Ended and not restarted, terminated, or ignored (OTP's ``undefined``)."""


def restarts_after(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child that ended by itself is restarted (the table of OTP's supervisor manual)."""
    if restart is Restart.PERMANENT:
        return True
    return restart is Restart.TRANSIENT and not reason.clean


def end_is_expected(restart: Restart, reason: ExitReason) -> bool:
    """Whether the end of a child that ended by itself needs no report.

    Clean ends are expected of all but permanent children, whose every end is a surprise.
    """
    return reason.clean and restart is not Restart.PERMANENT


def end_in_shutdown_is_expected(restart: Restart, shutdown: ShutdownTime, reason: ExitReason, *, dynamic: bool) -> bool:
    """Whether the end of a child that its supervisor stopped needs no report (OTP's ``shutdown_error``).

    Args:
        restart: the child's restart type.
        shutdown: its shutdown time.
        reason: how it ended.
        dynamic: whether its supervisor is a dynamic one, which is stricter about ``brutal_kill`` and milder else.
    """
    if shutdown == BRUTAL_KILL:
        if isinstance(reason, Killed):
            return True
        return reason.clean and restart is not Restart.PERMANENT and not dynamic
    if isinstance(reason, Shutdown):
        return reason.detail is None or dynamic or restart is not Restart.PERMANENT
    return isinstance(reason, Normal) and restart is not Restart.PERMANENT


class RestartWindow:
    """How many restarts are allowed in how many seconds (OTP's restart intensity).

    The boundary is inclusive: a restart at second 0 still counts at second `seconds`. Unlike OTP, seconds are not
    cut to whole ones. The times are kept in a deque that does not exist before the first restart (an empty one is
    larger than all else that is kept for a child), and never holds more than `most` + 1 of them.

    Args:
        most: restarts allowed in the window; the next one is refused.
        seconds: length of the window.
    """

    __slots__ = ("_times", "most", "seconds")

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self._times: deque[float] | None = None

    def admit(self, now: float) -> bool:
        """Counts a restart at `now`; false if it is one too many."""
        if self._times is None:
            self._times = deque()
        times = self._times
        times.append(now)
        oldest = now - self.seconds
        while times[0] < oldest or len(times) > self.most + 1:
            times.popleft()
        return len(times) <= self.most


@attrs.frozen
class Backoff:
    """A growing delay before each restart in a row. OTP has none; without one, restarts are immediate.

    The n-th restart in a row waits `initial * factor ** (n - 1)` seconds, at most `maximum`, give or take `jitter`
    of it; the first one waits too. A life of at least `maximum` seconds ends the row. A restart enters the intensity
    window when it is done, not when it is put off.

    Args:
        initial: seconds before the first restart.
        maximum: the longest delay, in seconds.
        factor: what the delay is multiplied with from one restart to the next.
        jitter: the random part, as a fraction of the delay (0.1 is ± 10 %).

    Raises:
        InvalidSpec: a negative or non-finite number, a factor below 1, a jitter above 1.
    """

    initial: float = 0.1
    maximum: float = 60.0
    factor: float = 2.0
    jitter: float = 0.1

    def __attrs_post_init__(self) -> None:
        check_seconds("Backoff", "initial", self.initial)
        check_seconds("Backoff", "maximum", self.maximum)
        if not _is_number(self.factor) or not 1 <= self.factor < math.inf:
            raise InvalidSpec("Backoff", "factor", "a number of at least 1", self.factor)
        if not _is_number(self.jitter) or not 0 <= self.jitter <= 1:
            raise InvalidSpec("Backoff", "jitter", "a fraction between 0 and 1", self.jitter)

    def delay(self, number: int, chance: float) -> float:
        """Seconds to wait before restart `number` of a row (the first is 1).

        Args:
            number: which restart of the row it is.
            chance: a random number between -1 and 1.
        """
        try:
            delay = min(self.maximum, self.initial * self.factor ** (number - 1))
        except OverflowError:
            delay = self.maximum
        return delay * (1 + self.jitter * chance)


def check_choice(owner: str, field: str, value: Any, kind: type[StrEnum]) -> Any:
    """The member of `kind` that `value` is or names."""
    try:
        return kind(value)
    except ValueError:
        expected = "one of " + ", ".join(repr(str(member)) for member in kind)
        raise InvalidSpec(owner, field, expected, value) from None


def check_shutdown(owner: str, value: Any) -> ShutdownTime:
    """A shutdown time: seconds, `math.inf` or ``"brutal_kill"``."""
    if value == BRUTAL_KILL and isinstance(value, str):
        return BRUTAL_KILL
    if not _is_number(value) or not value >= 0:
        raise InvalidSpec(owner, "shutdown", "seconds of at least 0, math.inf or 'brutal_kill'", value)
    return float(value)


def check_seconds(owner: str, field: str, value: Any, *, above_zero: bool = False) -> float:
    """A finite number of seconds."""
    if not _is_number(value) or not math.isfinite(value) or value < 0 or (above_zero and value == 0):
        least = "seconds above 0" if above_zero else "seconds of at least 0"
        raise InvalidSpec(owner, field, least, value)
    return float(value)


def check_count(owner: str, field: str, value: Any, *, or_infinite: bool = False) -> Any:
    """A whole number of at least 0."""
    if or_infinite and value == math.inf:
        return value
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        least = "a whole number of at least 0"
        raise InvalidSpec(owner, field, f"{least}, or math.inf" if or_infinite else least, value)
    return value


def check_id(owner: str, value: Any) -> str:
    """A child's id: any string that is not empty."""
    if not isinstance(value, str) or not value:
        raise InvalidSpec(owner, "id", "a string that is not empty", value)
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
