"""Where events wait for a child."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import attrs
import trio

from ..errors import InvalidArgument
from ..signals import matches
from ..supervision import Exit
from ._events import CloudEvent

__all__ = ["Loss", "Mailbox"]

_MOST_LOSSES = 20


@attrs.frozen
class Loss:
    """An event that a child crashed on.

    Attributes:
        event: the event.
        error: what was raised, in one line.
    """

    event: CloudEvent
    error: str


@final
class Mailbox:
    """Where events wait for one child. It belongs to the child's address, not to one of its lives.

    What waits when the child crashes is handled by its next life; only the event that it crashed on is lost, and is
    counted. A full mailbox makes the sender wait.

    Args:
        child: the path of the child in its tree ("support", "workers/w1").
        accepts: patterns of the types that it takes ("ticket.*"), as those of `prunella.signals.Route`.
        capacity: how many events may wait.

    Attributes:
        handled: how many events were handled.
        crashed_on: how many the child crashed on.
        interrupted: how many it was handling when it was stopped.
        losses: the first few of those that it crashed on.
        closed: whether its child has ended for good. What waited then will never be handled.

    Raises:
        InvalidArgument: `child` is empty, or `capacity` is no whole number above zero.
        InvalidPattern: a pattern breaks the grammar.
    """

    def __init__(self, child: str, *accepts: str, capacity: int = 100) -> None:
        if not (isinstance(child, str) and child):
            raise InvalidArgument("Mailbox", "child", "the path of a child", child)
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
            raise InvalidArgument(f"Mailbox {child!r}", "capacity", "a whole number above zero", capacity)
        for pattern in accepts:
            matches(pattern, "any")
        self.child = child
        self.patterns = accepts
        self.handled = 0
        self.crashed_on = 0
        self.interrupted = 0
        self.losses: list[Loss] = []
        self.closed = False
        # Counted here, not read off the channel: an event that has left the channel may not have arrived yet.
        self._accepted = 0
        self._in_hand = 0
        self._settled = trio.Event()
        self._send, self._receive = trio.open_memory_channel[CloudEvent](capacity)

    def __repr__(self) -> str:
        return f"<Mailbox of {self.child!r}, {self.waiting} waiting>"

    @property
    def waiting(self) -> int:
        """How many events wait, one that waits to be put included."""
        return self._unsettled - self._in_hand

    @property
    def _unsettled(self) -> int:
        return self._accepted - self.handled - self.crashed_on - self.interrupted

    @asynccontextmanager
    async def take(self) -> AsyncIterator[CloudEvent]:
        """Waits for the next event, for the length of a block that handles it::

            async with mailbox.take() as event:
                ...

        An event whose block raises is not given out again.
        """
        event = await self._receive.receive()
        self._in_hand += 1
        try:
            yield event
        except BaseException as error:
            fault = _fault_in(error)
            if isinstance(fault, Exit):
                self.handled += 1
            elif fault is None:
                self.interrupted += 1
            else:
                self.crashed_on += 1
                if len(self.losses) < _MOST_LOSSES:
                    self.losses.append(Loss(event, f"{type(fault).__qualname__}: {fault}"))
            raise
        else:
            self.handled += 1
        finally:
            self._in_hand -= 1
            self._settled.set()

    async def put(self, event: CloudEvent) -> bool:
        """Lets an event wait here; while the mailbox is full, the caller waits.

        Returns:
            Whether it was accepted; not if the mailbox is closed.
        """
        self._accepted += 1
        try:
            await self._send.send(event)
        except BaseException as error:
            self._accepted -= 1
            if isinstance(error, trio.BrokenResourceError):
                return False
            raise
        return True

    async def wait_idle(self) -> None:
        """Waits until nothing waits here and nothing is being handled, or the mailbox is closed."""
        while self._unsettled and not self.closed:
            if self._settled.is_set():
                self._settled = trio.Event()
            await self._settled.wait()

    def close(self) -> None:
        """Takes no more events: the child has ended for good."""
        if not self.closed:
            self.closed = True
            self._receive.close()
            self._settled.set()


def _fault_in(error: BaseException) -> Exception | None:
    """What went wrong, if it was not only that the child was stopped."""
    if isinstance(error, BaseExceptionGroup):
        return next((fault for inner in error.exceptions if (fault := _fault_in(inner)) is not None), None)
    return error if isinstance(error, Exception) else None
