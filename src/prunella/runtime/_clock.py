"""What time it is in a runtime: Trio's for delays and deadlines, a wall clock beside it for points in time."""

from __future__ import annotations

from datetime import datetime
from typing import final

import trio

from .._time import WallClock

__all__ = ["RuntimeClock"]


@final
class RuntimeClock:
    """The clocks of one runtime.

    Args:
        epoch: what time it is now; None for the system's time.

    Attributes:
        follows: whether the wall clock is set again from the system's, which happens where Trio runs on its own clock
            and no epoch was given. Then a point in time may come sooner or later than the delay until it said.
    """

    __slots__ = ("_wall", "follows")

    def __init__(self, epoch: datetime | None) -> None:
        real = type(trio.lowlevel.current_clock()).__name__ == "SystemClock"  # Trio's own has no public name
        self.follows = real and epoch is None
        self._wall = WallClock(epoch, trio.current_time(), follow=real)

    def now(self) -> float:
        """Trio's time."""
        return trio.current_time()

    def wall_now(self) -> datetime:
        """The point in time, in UTC."""
        return self._wall.now(trio.current_time())
