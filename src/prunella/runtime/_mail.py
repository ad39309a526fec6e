"""The signals of a durable agent that wait in memory: those that are stored, and calls."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import trio

from ..signals import Signal
from ..storage import StoredSignal
from ._delivery import Delivery

__all__ = ["Mail"]


class Mail:
    """One queue, in the order in which signals were accepted.

    Attributes:
        is_all: whether all that is stored is in memory, but suspects; what is not comes page by page, before all that
            arrives.
        known: the ids of stored signals that are in memory, or in a turn that is not written yet.
        suspects: signals that waited when the process of the last owner ended. Each is counted before it is handled,
            alone: one of them may have been the end of it.
    """

    __slots__ = ("_behind", "_own", "_queue", "_room", "is_all", "known", "suspects")

    def __init__(self) -> None:
        self._queue: deque[Delivery] = deque()
        # Until it is known what is stored, all waits behind that.
        self._behind: list[Delivery] | None = []
        self._own: set[str] = set()
        self._room: trio.Event | None = None
        self.is_all = True
        self.known: set[str] = set()
        self.suspects: deque[StoredSignal] = deque()

    def __len__(self) -> int:
        return len(self._queue) + len(self.suspects) + len(self._behind or ())

    @property
    def own(self) -> int:
        """How many of them the agent has sent itself: these are bounded by its effects."""
        return len(self._own)

    @property
    def is_suspicious(self) -> bool:
        """Whether what arrives now waits behind suspects, or behind what is still to be read."""
        return self._behind is not None

    def put(self, delivery: Delivery, *, is_own: bool = False) -> None:
        """Puts a signal behind the others, suspects among them.

        Its own wait in the same queue: in the storage there is but one, and a restart must not change their order.
        """
        if is_own:
            self._own.add(delivery.signal.id)
        (self._queue if self._behind is None else self._behind).append(delivery)

    def put_first(self, delivery: Delivery) -> None:
        """Puts one before the others: its turn was taken back."""
        self._queue.appendleft(delivery)

    def put_stored(self, signal: Signal, deliveries: int, *, is_suspect: bool = False) -> bool:
        """Puts one that is read from the storage behind the others; tells whether it was not there yet.

        Args:
            signal: the signal.
            deliveries: how often it was delivered.
            is_suspect: whether it is a suspect whose turn has come.
        """
        if signal.id in self.known and not is_suspect:
            return False
        delivery = Delivery(signal)
        delivery.deliveries = deliveries
        self.known.add(signal.id)
        if is_suspect:
            self._queue.append(delivery)
        else:
            self.put(delivery)
        return True

    def take(self) -> Delivery | None:
        """The next one, if there is one."""
        if not self._queue:
            return None
        delivery = self._queue.popleft()
        if self._own:
            self._own.discard(delivery.signal.id)
        return delivery

    # What is stored.

    def restore(
        self, suspects: Iterable[StoredSignal], waiting: Iterable[StoredSignal], *, is_all: bool = True
    ) -> None:
        """It is known what is stored. All that has arrived meanwhile waits behind it.

        Args:
            suspects: what may have been the end of the last owner.
            waiting: what waits behind them, in order.
            is_all: whether that is all.
        """
        self.is_all = is_all
        behind, self._behind = self._behind, []
        self.suspects.extend(suspects)
        self.known.update(stored.signal.id for stored in self.suspects)
        for stored in waiting:
            self.put_stored(stored.signal, stored.deliveries)
        self._behind += behind or ()
        if is_all and not self.suspects:
            self.cleared()

    def put_page(self, waiting: Iterable[StoredSignal]) -> None:
        """More of what is stored, before all that has arrived meanwhile."""
        for stored in waiting:
            if stored.signal.id not in self.known:
                self.put_stored(stored.signal, stored.deliveries, is_suspect=True)

    def is_under_way(self, id: str) -> bool:
        """Whether a suspect is still to be handled, before what waits behind it."""
        return id in self.known and all(delivery.signal.id != id for delivery in self._behind or ())

    def cleared(self) -> None:
        """There are no more suspects."""
        behind, self._behind = self._behind, None
        self._queue.extend(behind or ())

    # Room.

    async def wait_for_room(self) -> None:
        """Waits until somebody has said that there may be room."""
        if self._room is None:
            self._room = trio.Event()
        await self._room.wait()

    def has_room(self) -> None:
        """There may be room, or no hope of it."""
        if self._room is not None:
            self._room.set()
            self._room = None

    # Its end.

    def keep_stored(self) -> list[Delivery]:
        """Takes out what is not stored, and gives it."""
        lost = [delivery for delivery in (*self._queue, *(self._behind or ())) if delivery.deliveries < 0]
        self._queue = deque([delivery for delivery in self._queue if delivery.deliveries >= 0])
        if self._behind is not None:
            self._behind = [delivery for delivery in self._behind if delivery.deliveries >= 0]
        return lost

    def stored(self) -> tuple[Delivery, ...]:
        """What is stored."""
        return tuple(delivery for delivery in (*self._queue, *(self._behind or ())) if delivery.deliveries >= 0)

    def drop_calls(self, error: Exception) -> None:
        """Tells whoever waits for a turn that it will not come."""
        for delivery in self.keep_stored():
            delivery.drop(error)
        self.has_room()

    def drop_all(self, error: Exception) -> None:
        """Forgets all of it: what is stored cannot be read. Whoever waits is told."""
        queues = (*self._queue, *(self._behind or ()))
        self._queue.clear()
        self._behind = None
        self.suspects.clear()
        self.known.clear()
        self._own.clear()
        for delivery in queues:
            delivery.drop(error)
        self.has_room()
