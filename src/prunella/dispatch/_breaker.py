"""When to stop asking an origin that fails: the decision, without a loop and without a clock of its own."""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar, final

import attrs

from ..errors import InvalidArgument

__all__ = ["Admission", "Breaker", "Breakers", "CircuitBreaker", "CircuitState"]

Key = TypeVar("Key")

_MOST_ORIGINS: Final = 1_000


@final
@attrs.frozen
class CircuitBreaker:
    """When a dispatcher stops asking an origin, and when it tries again.

    Args:
        max_failures: the circuit opens with this failure inside `window`.
        window: seconds over which failures are counted.
        reset_after: seconds after which an open circuit lets one call through, to see.

    Raises:
        InvalidArgument: one of these is not a positive number.
    """

    max_failures: int = 5
    window: float = 10.0
    reset_after: float = 30.0

    def __attrs_post_init__(self) -> None:
        failures = self.max_failures
        if not isinstance(failures, int) or isinstance(failures, bool) or not 1 <= failures <= 10_000:
            raise InvalidArgument("CircuitBreaker", "max_failures", "an int from 1 to 10000", failures)
        for field in ("window", "reset_after"):
            seconds: Any = getattr(self, field)
            if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 < seconds < math.inf:
                raise InvalidArgument("CircuitBreaker", field, "a positive number of seconds", seconds)


class CircuitState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    """They do; failures are counted."""
    OPEN = "open"
    """They fail at once."""
    HALF_OPEN = "half_open"
    """One goes through as a probe, the others fail at once."""


class Admission(NamedTuple):
    """Leave to make one attempt; its outcome is to be told, by one of the breaker's three methods, exactly once.

    Attributes:
        openings: how often the circuit had opened by then. Outcomes of earlier times say nothing about now.
        probe: whether this attempt decides if the circuit closes again.
    """

    openings: int
    probe: bool


@final
class Breaker:
    """The circuit of one origin.

    Times are seconds on any clock that does not go back.
    """

    __slots__ = ("_failures", "_in_flight", "_opened_at", "_probing", "_spec", "openings", "state")

    def __init__(self, spec: CircuitBreaker) -> None:
        self.state = CircuitState.CLOSED
        self.openings = 0
        self._spec = spec
        self._failures: deque[float] = deque(maxlen=spec.max_failures)
        self._in_flight = 0
        self._opened_at = -math.inf
        self._probing = False

    def admit(self, now: float) -> Admission | None:
        """Leave for one attempt, or None: the circuit is open."""
        if self.state is CircuitState.OPEN and self.seconds_left(now) <= 0:
            self.state = CircuitState.HALF_OPEN
        if self.state is CircuitState.OPEN or (self.state is CircuitState.HALF_OPEN and self._probing):
            return None
        self._in_flight += 1
        self._probing = self.state is CircuitState.HALF_OPEN
        return Admission(self.openings, self._probing)

    def seconds_left(self, now: float) -> float:
        """How long until an open circuit lets a call through; 0 if it would now."""
        return max(0.0, self._opened_at + self._spec.reset_after - now)

    def succeeded(self, admission: Admission) -> None:
        """The origin answered, and not with a failure of its own."""
        self._in_flight -= 1
        if admission.probe and admission.openings == self.openings:
            self.state = CircuitState.CLOSED
            self._probing = False
            self._failures.clear()

    def failed(self, admission: Admission, now: float) -> None:
        """The origin did not answer, or said that it cannot."""
        self._in_flight -= 1
        if admission.openings != self.openings:
            return
        self._failures.append(now)
        full = len(self._failures) == self._spec.max_failures
        if admission.probe or (full and now - self._failures[0] <= self._spec.window):
            self.state = CircuitState.OPEN
            self.openings += 1
            self._opened_at = now
            self._probing = False
            self._failures.clear()

    def abandoned(self, admission: Admission) -> None:
        """The attempt was given up before it had an outcome; a next one may be the probe."""
        self._in_flight -= 1
        if admission.probe and admission.openings == self.openings:
            self._probing = False

    def is_like_new(self, now: float) -> bool:
        """Whether nothing would be lost by forgetting it."""
        quiet = not self._failures or now - self._failures[-1] > self._spec.window
        return self.state is CircuitState.CLOSED and quiet and not self._in_flight

    def is_in_use(self) -> bool:
        """Whether an attempt is under way."""
        return self._in_flight > 0


@final
class Breakers(Generic[Key]):
    """The circuits of all origins.

    At most a thousand are kept beyond those in use: what has nothing to remember goes first, then what was made first.
    """

    __slots__ = ("_breakers", "_spec")

    def __init__(self, spec: CircuitBreaker) -> None:
        self._spec = spec
        self._breakers: dict[Key, Breaker] = {}

    def __len__(self) -> int:
        return len(self._breakers)

    def of(self, key: Key, now: float) -> Breaker:
        """The circuit of an origin."""
        breaker = self._breakers.get(key)
        if breaker is None:
            if len(self._breakers) >= _MOST_ORIGINS:
                self._forget(now)
            breaker = self._breakers[key] = Breaker(self._spec)
        return breaker

    def _forget(self, now: float) -> None:
        self._breakers = {key: kept for key, kept in self._breakers.items() if not kept.is_like_new(now)}
        surplus = len(self._breakers) + 1 - _MOST_ORIGINS
        idle = [key for key, breaker in self._breakers.items() if not breaker.is_in_use()]
        for key in idle[: max(0, surplus)]:
            del self._breakers[key]
