"""What time it is, and when it is time to let others run: for the asynchronous parts of the library."""

from ._pace import Pace
from ._wall_clock import WallClock

__all__ = ["Pace", "WallClock"]
