"""Signals to an agent that sleeps, from those who cannot wait until they are stored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, final

from ..agents import MailboxFull
from ..storage import AgentKey, CommitFailed, Storage, StorageError, StorageUnavailable
from ._plain_signal import make_plain

if TYPE_CHECKING:
    from ..signals import Signal
    from ._delivery import Delivery

__all__ = ["Unstored"]

_MOST_AT_ONCE = 100


@final
class Unstored:
    """Those of one agent, in their order.

    Attributes:
        signals: what is in memory only.
    """

    __slots__ = ("signals",)

    def __init__(self) -> None:
        self.signals: list[Signal] = []

    def add(self, delivery: Delivery, most: float) -> bool:
        """Keeps one more; tells whether it is the first.

        Args:
            delivery: the signal.
            most: how many may wait.

        Raises:
            MailboxFull: so many do.
        """
        if len(self.signals) >= most:
            raise MailboxFull(len(self.signals))
        make_plain(delivery)
        self.signals.append(delivery.signal)
        return len(self.signals) == 1

    async def store(
        self, storage: Storage, key: AgentKey, now: Callable[[], datetime], lost: Callable[[Exception], object]
    ) -> None:
        """Stores them, behind what waits there.

        Args:
            storage, key: where.
            now: tells the time.
            lost: called with the error if one of them cannot be written.

        Raises:
            AgentNotFound: no such agent is stored.
            StorageError: they could not be stored; they are kept.
        """
        number = _MOST_AT_ONCE
        while self.signals:
            signals = self.signals[:number]
            try:
                await storage.enqueue(key, *signals, now=now())
            except (CommitFailed, StorageUnavailable):
                raise
            except StorageError as error:
                if len(signals) > 1:
                    number = 1  # One of them cannot be written.
                    continue
                lost(error)
            del self.signals[: len(signals)]
