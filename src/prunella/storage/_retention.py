"""When an agent's old turns are to be deleted, and which. What decides it is a value, which reads no clock."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Final, final

import attrs

from ..agents import Durable
from ._key import AgentKey
from ._storage import Storage

__all__ = ["Retention", "Trim"]

_LEAST_PAUSE: Final = 60.0  # seconds between two trims of an agent that takes few turns


@final
@attrs.frozen
class Trim:
    """What `Storage.trim` is to be asked for. See there.

    Attributes:
        before, keep, handled_before: its arguments.
    """

    before: datetime | None = None
    keep: int | None = None
    handled_before: datetime | None = None

    async def apply(self, storage: Storage, key: AgentKey) -> int:
        """Asks a storage for it.

        Returns:
            How many turns are gone.
        """
        return await storage.trim(key, before=self.before, keep=self.keep, handled_before=self.handled_before)


@final
@attrs.frozen
class Retention:
    """How long one agent's turns are kept.

    Turns go up to a snapshot. So there is something to delete when a new one is there, and when time has passed.

    Args:
        durable: what the agent asks for.
        sequence: the last turn when it was trimmed last; 0 if it never was.
        now: when that was.
    """

    durable: Durable
    sequence: int = 0
    now: datetime | None = None

    @property
    def is_endless(self) -> bool:
        """Whether everything is kept for ever."""
        durable = self.durable
        return durable.keep_turns is None and math.isinf(durable.keep) and math.isinf(durable.dedupe_for)

    def is_due(self, sequence: int, now: datetime) -> bool:
        """Whether there may be something to delete.

        Args:
            sequence: the agent's last turn.
            now: the time.
        """
        if self.is_endless or sequence == 0:
            return False
        if sequence - self.sequence >= self.durable.snapshot_every:
            return True
        bound = min(self.durable.keep, self.durable.dedupe_for)
        if self.now is None or math.isinf(bound):
            return False
        return (now - self.now).total_seconds() >= max(_LEAST_PAUSE, bound / 10)

    def after(self, sequence: int, now: datetime) -> tuple[Trim | None, Retention]:
        """What is to be deleted now, and what decides the next time.

        Args:
            sequence: the agent's last turn.
            now: the time.

        Returns:
            The trim, `None` if there is none to make, and the value to ask next.
        """
        if not self.is_due(sequence, now):
            return None, self if self.now is not None else attrs.evolve(self, now=now)
        durable = self.durable
        trim = Trim(_earlier(now, durable.keep), durable.keep_turns, _earlier(now, durable.dedupe_for))
        return trim, attrs.evolve(self, sequence=sequence, now=now)


def _earlier(now: datetime, seconds: float) -> datetime | None:
    if math.isinf(seconds):
        return None
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:  # before there was a calendar
        return None
