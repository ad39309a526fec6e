"""Who may deliver to a target, and who waits: first come, first served, one at a time. Plain bookkeeping."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Final, final

__all__ = ["MOST_WAITING", "LaneFull", "Lanes", "Ticket"]

MOST_WAITING: Final = 1_000


class LaneFull(Exception):
    """There is no room for one more to wait."""


@final
class Ticket:
    """A place in the lane of one target.

    Attributes:
        ready: whether it is at the front: its holder may deliver.
        wake: called, once, when it gets there; None if nobody waits for that.
        runner: who delivers with it, once somebody does.
    """

    __slots__ = ("_key", "ready", "runner", "wake")

    def __init__(self, key: Hashable, ready: bool) -> None:
        self._key = key
        self.ready = ready
        self.wake: Callable[[], object] | None = None
        self.runner: object = None


class _Lane:
    __slots__ = ("front", "waiting")

    def __init__(self, front: Ticket) -> None:
        self.front = front
        self.waiting: deque[Ticket] | None = None


@final
class Lanes:
    """The lanes of all targets that somebody delivers to at the moment; others have none."""

    __slots__ = ("_lanes",)

    def __init__(self) -> None:
        self._lanes: dict[Hashable, _Lane] = {}

    def __len__(self) -> int:
        return len(self._lanes)

    def enter(self, key: Hashable) -> Ticket:
        """Takes the next place in a lane. Whoever has a ticket must `leave` with it.

        Raises:
            LaneFull: a thousand wait there already.
        """
        lane = self._lanes.get(key)
        if lane is None:
            ticket = Ticket(key, True)
            self._lanes[key] = _Lane(ticket)
            return ticket
        if lane.waiting is None:
            lane.waiting = deque()
        elif len(lane.waiting) >= MOST_WAITING:
            raise LaneFull
        ticket = Ticket(key, False)
        lane.waiting.append(ticket)
        return ticket

    def runner(self, ticket: Ticket) -> object:
        """Who delivers in the lane of this ticket now."""
        return self._lanes[ticket._key].front.runner

    def leave(self, ticket: Ticket) -> None:
        """Gives a place up, from the front or from the middle; at the front the next in line is woken."""
        lane = self._lanes[ticket._key]
        if lane.front is not ticket:
            assert lane.waiting is not None
            lane.waiting.remove(ticket)
        elif lane.waiting:
            lane.front = lane.waiting.popleft()
            lane.front.ready = True
            if lane.front.wake is not None:
                lane.front.wake()
        else:
            del self._lanes[ticket._key]
