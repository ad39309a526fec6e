from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, final

__all__ = ["WallClock"]

_SECONDS_BETWEEN_LOOKS: Final = 60.0
_TOLERATED: Final = timedelta(seconds=1)


def _system_time() -> datetime:
    return datetime.now(UTC)


@final
class WallClock:
    """Points in time that keep step with the clock of a run.

    It begins at `epoch` and goes on as that clock does. Where it follows the system's clock it looks at it once a
    minute, when asked for the time, and takes its time if the two are more than a second apart.

    Args:
        epoch: what time it is at `opened`; None for the system's time.
        opened: the time of the run's clock now.
        follow: whether the run's clock goes at the pace of the world, so that the system's time means something. An
            epoch that was given is kept in any case.
        system: the system's clock.
    """

    __slots__ = ("_epoch", "_follow", "_looked", "_opened", "_system")

    def __init__(
        self,
        epoch: datetime | None,
        opened: float,
        *,
        follow: bool,
        system: Callable[[], datetime] = _system_time,
    ) -> None:
        self._epoch = system() if epoch is None else epoch.astimezone(UTC)
        self._opened = self._looked = opened
        self._follow = follow and epoch is None
        self._system = system

    def now(self, time: float) -> datetime:
        """The point in time, in UTC, that belongs to a time of the run's clock."""
        moment = self._epoch + timedelta(seconds=time - self._opened)
        if self._follow and time - self._looked >= _SECONDS_BETWEEN_LOOKS:
            self._looked = time
            system = self._system()
            if abs(system - moment) > _TOLERATED:
                self._epoch, self._opened, moment = system, time, system
        return moment
