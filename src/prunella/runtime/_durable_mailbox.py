"""The mailbox of a durable agent: a signal is accepted when it is stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Address, AgentStopped, Fenced, RestoreFailed
from ..signals import Signal
from ..storage import CommitFailed, StoredSignal
from ..supervision import ExitReason
from ._delivery import Answer, Delivery
from ._draft import Arrival
from ._ledger import Ledger, has_gone
from ._mail import Mail
from ._plain_signal import make_plain
from ._server import AgentServer

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._spec import AgentSpec

__all__ = ["DurableMailbox"]

_SECONDS_TO_FINISH = 10.0


class DurableMailbox(AgentServer):
    """The part of a durable server that signals wait in.

    Attributes:
        ledger: the turns that are decided and not written.
        mail: the signals that wait.
        quarantine: why its state cannot be read; None if it can.
        fence: that another owner has claimed it; None if none has.
    """

    is_durable: ClassVar[bool] = True

    __slots__ = ("_turned", "fence", "ledger", "mail", "quarantine")

    ledger: Ledger

    def __init__(self, runtime: Runtime, spec: AgentSpec[Any], address: Address) -> None:
        super().__init__(runtime, spec, address)
        self.mail = Mail()
        self.quarantine: RestoreFailed | None = None
        self.fence: Fenced | None = None
        self._turned: trio.Event | None = None

    def is_idle(self) -> bool:
        return False  # No turn is taken in a caller's task: it would have to be written there.

    @property
    def is_quiet(self) -> bool:
        busy = self.ledger.has_unwritten or self.ledger.failure is not None
        return super().is_quiet and not busy and not self.mail.is_suspicious

    @property
    def waiting(self) -> int:
        return len(self._control or ()) + len(self.mail)

    def _refuse(self) -> None:
        """Raises why nothing is taken now, if that is so."""
        error = self.quarantine or self.ledger.down
        if not self.is_open:
            error = self.stopped_error()
        if error is not None:
            raise error.with_traceback(None)  # the same for many

    def stopped_error(self) -> Any:
        return super().stopped_error() if self.fence is None else self.fence

    def _has_room(self) -> bool:
        return len(self.mail) - self.mail.own + len(self.ledger.draft.arrivals) < self.spec.mailbox

    def offer(self, delivery: Delivery) -> bool:
        if delivery.keep:
            return False
        self._refuse()
        if not self._has_room():
            return False
        if delivery.ask is not None:
            delivery.ask.hold()
        make_plain(delivery)
        self.mail.put(delivery)
        self._wake()
        return True

    def offer_nowait(self, delivery: Delivery) -> bool:
        self._refuse()
        if not self._has_room():
            return False
        if not delivery.keep:
            return self.offer(delivery)
        self._store(delivery, None, is_own=False)
        return True

    @enable_ki_protection
    async def accept(self, delivery: Delivery) -> None:
        """Puts a signal into the mailbox; one that is to be kept is stored when this returns.

        Raises:
            AgentStopped, Fenced, RestoreFailed: nothing is handled here any more.
            StorageError: it could not be stored.
        """
        try:
            self._refuse()
            while not self._has_room():
                await self.mail.wait_for_room()
                self._refuse()
        except AgentStopped:
            if not self.is_leaving:
                raise
            # It has left memory meanwhile, and comes back for this.
            await self.runtime.accept_awake(self.address, delivery)
            return
        if not delivery.keep:
            self.offer(delivery)
            return
        ack = Answer()
        ack.held = self._cancelled
        self._store(delivery, ack, is_own=False)
        await ack.wait()

    def put(self, delivery: Delivery) -> None:
        if self.ended is not None or self.fence is not None:
            if delivery.ask is not None:
                delivery.ask.hold()
            self._drop(delivery)
            return
        self._store(delivery, None, is_own=True)

    def take_over(self, signals: Iterable[Signal]) -> None:
        """Takes what was sent to it while it slept, and is not stored yet."""
        for signal in signals:
            if self.quarantine is not None or self.fence is not None or self.ended is not None:
                self.runtime.reports.dropped(self, signal)
            else:
                self._store(Delivery(signal), None, is_own=False)

    def _store(self, delivery: Delivery, ack: Answer | None, *, is_own: bool) -> None:
        if delivery.ask is not None:
            delivery.ask.hold()
        make_plain(delivery)
        self.ledger.draft.arrivals.append(Arrival(delivery, ack, is_own=is_own))
        self.ledger.dirty()

    def arrived(self, arrival: Arrival) -> None:
        """A signal is stored, and waits in memory too."""
        delivery = arrival.delivery
        if delivery.signal.id in self.mail.known or self.ended is not None:
            if self.ended is None:
                self.runtime.reports.repeated(self, delivery.signal)
            self._release(delivery)  # it waits already, or is handled when the agent comes back
        else:
            delivery.deliveries = 0
            self.mail.known.add(delivery.signal.id)
            self.mail.put(delivery, is_own=arrival.is_own)
        if arrival.ack is not None:
            arrival.ack.give(None)

    def _release(self, delivery: Delivery) -> None:
        if delivery.ask is not None:
            delivery.ask.release()

    def take_mail(self, signal: Signal, deliveries: int, *, is_suspect: bool = False) -> None:
        """A signal that waits in the storage comes into memory, unless it is there. See `Mail.put_stored`."""
        if self.mail.put_stored(signal, deliveries, is_suspect=is_suspect):
            self._wake()

    def take_page(self, waiting: Iterable[StoredSignal]) -> None:
        """More of what waits in the storage comes into memory."""
        self.mail.put_page(waiting)
        self._wake()

    def put_control_first(self, delivery: Delivery) -> None:
        """A signal of the runtime whose turn was taken back comes first again."""
        self._control = self._control or deque()
        self._control.appendleft(delivery)

    def cleared(self) -> None:
        """There are no more suspects."""
        self.mail.cleared()
        self._wake()

    async def until_handled(self, id: str) -> None:
        """Waits until the turn of a stored signal is written."""
        while self.mail.is_under_way(id):
            await self.until_published()

    async def until_published(self) -> None:
        """Waits until something has been written."""
        if self._turned is None:
            self._turned = trio.Event()
        await self._turned.wait()

    def _has_turned(self) -> None:
        """Something has been written."""
        if self._turned is not None:
            self._turned.set()
            self._turned = None

    async def inner_has_room(self) -> None:
        await trio.lowlevel.checkpoint()
        while self.mail.own >= self.spec.effects:
            await self.until_published()

    def _received(self) -> Delivery | None:
        delivery = self.mail.take()
        if delivery is not None:
            self.mail.has_room()
        return delivery

    def _drop_all(self) -> None:
        # What is stored stays stored: it is handled when the agent comes back. An ask does not wait for that.
        self._inner = deque(self.mail.keep_stored())
        waiting, self.mail = self.mail, Mail()
        super()._drop_all()
        self.mail = waiting
        for delivery in waiting.stored():
            if delivery.ask is not None:
                delivery.ask.error = self.stopped_error()
                delivery.ask.release()
                delivery.ask = None

    def close(self, reason: ExitReason, *, by_itself: bool = False) -> None:
        super().close(reason, by_itself=by_itself)
        self.mail.has_room()

    def _cancelled(self, answer: Answer) -> None:
        """Whoever waits for something that is being written was cancelled: it has ten seconds to be finished."""
        answer.held = has_gone
        late = CommitFailed(f"the storage has not answered for {_SECONDS_TO_FINISH:g} s", in_doubt=True)
        when = self.runtime.clock.now() + _SECONDS_TO_FINISH

        def give_up() -> None:
            answer.fail(late)

        self.runtime.service.call_at(when, give_up)
