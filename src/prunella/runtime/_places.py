"""How many runs of one agent there are at a time."""

from __future__ import annotations

from collections import OrderedDict
from typing import final

import trio

__all__ = ["Place", "Places"]


@final
class Places:
    """The places of an agent's runs. Who finds none free waits for one, in the order in which they came.

    Args:
        limit: how many there are.
    """

    __slots__ = ("_free", "_waiting")

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: OrderedDict[Place, trio.Event] = OrderedDict()

    def take(self) -> Place:
        """A place, or one in the queue."""
        place = Place(self)
        if self._free:
            self._free -= 1
        else:
            place.reached = self._waiting[place] = trio.Event()
        return place

    def give_back(self, place: Place) -> None:
        """A place is free; the first who waits has it now. Or one who waits has gone."""
        if self._waiting.pop(place, None) is not None:
            return
        if self._waiting:
            self._waiting.popitem(last=False)[1].set()
        else:
            self._free += 1


@final
class Place:
    """The place of one run.

    Attributes:
        reached: happens when it may begin; None if it need not wait.
    """

    __slots__ = ("_places", "reached")

    def __init__(self, places: Places) -> None:
        self._places: Places | None = places
        self.reached: trio.Event | None = None

    def leave(self) -> None:
        """It has ended, or will not begin; telling so twice does no harm."""
        places, self._places = self._places, None
        if places is not None:
            places.give_back(self)
