"""The mailbox of an agent: the signals that wait, and handling them in turn.

It belongs to an address, and outlives the lives of its agent. Signals of others wait in a memory channel, bounded;
beside it stand the agent's own (results, ticks, what it sends to itself), which do not count against that bound, and
what the runtime has to tell it, which comes first.
"""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from ..agents import AgentCrashed
from ..signals import Signal
from ..supervision import Crashed
from ..supervision._reasons import captured
from ._delivery import Delivery

if TYPE_CHECKING:
    from ..agents import AgentError
    from ..agents._turns import Definition
    from ..supervision import ExitReason
    from ._life import AgentLife
    from ._runtime import Runtime
    from ._spec import AgentSpec

__all__ = ["Mailbox"]


class Mailbox:
    """The part of a server that signals wait in.

    Attributes:
        suspended: whether they wait whatever happens.
    """

    is_durable: ClassVar[bool] = False

    __slots__ = ("_control", "_inner", "_inner_room", "_queued", "_receive", "_send", "suspended")

    if TYPE_CHECKING:  # of the other part
        runtime: Runtime
        spec: AgentSpec[Any]
        definition: Definition
        life: AgentLife | None
        ended: ExitReason | None
        effects: int

        @property
        def is_open(self) -> bool: ...
        def stopped_error(self) -> AgentError: ...
        def about(self, error: Any) -> Any: ...
        def handle(self, delivery: Delivery) -> None: ...

    def __init__(self) -> None:
        self.suspended = False
        # Opened when the first signal has to wait: an idle agent needs none of them.
        self._send: trio.MemorySendChannel[Delivery] | None = None
        self._receive: trio.MemoryReceiveChannel[Delivery] | None = None
        self._control: deque[Delivery] | None = None
        self._inner: deque[Delivery] | None = None
        self._inner_room: trio.Event | None = None
        self._queued = False

    # What waits.

    @property
    def waiting(self) -> int:
        """How many signals wait."""
        number = len(self._control or ()) + len(self._inner or ())
        if self._receive is not None:
            number += self._receive.statistics().current_buffer_used
        return number

    def offer(self, delivery: Delivery) -> bool:
        """Puts a signal into the mailbox; tells whether there was room."""
        if self._send is None:
            self._send, self._receive = trio.open_memory_channel(self.spec.mailbox)
        try:
            self._send.send_nowait(delivery)
        except trio.WouldBlock:
            return False
        if delivery.ask is not None:
            delivery.ask.hold()
        self._wake()
        return True

    def offer_nowait(self, delivery: Delivery) -> bool:
        """As `offer`, also of a signal that a durable agent stores: whether that worked is not waited for."""
        return self.offer(delivery)

    async def accept_from_outside(self, delivery: Delivery) -> None:
        """As `accept`, but waits until the agent's own effects have caught up, too.

        Signals of agents do not: two that send to each other would wait for ever.

        Raises:
            AgentStopped: it has ended, or is about to.
        """
        while self.effects >= self.spec.effects and self.is_open:
            await self.runtime.outbox_has_room(self)  # type: ignore[arg-type]  # the whole is a server
        await self.accept(delivery)

    async def accept(self, delivery: Delivery) -> None:
        """Puts a signal into the mailbox, and waits for room if there is none.

        Raises:
            AgentStopped: it has ended, or is about to.
        """
        if not self.is_open:
            raise self.stopped_error()
        if self.offer(delivery):
            return
        assert self._send is not None
        ask = delivery.ask
        if ask is not None:
            ask.hold()
        try:
            await self._send.send(delivery)
        except trio.BrokenResourceError:
            if ask is not None:
                ask.release()
            raise self.stopped_error() from None
        except BaseException:
            if ask is not None:
                ask.release()
            raise
        if delivery.dropped:
            raise self.stopped_error()
        self._wake()

    def put(self, delivery: Delivery) -> None:
        """Takes a signal of its own, a result or a tick: these do not count against the mailbox."""
        if self.ended is not None:
            if delivery.ask is not None:
                delivery.ask.hold()
            self._drop(delivery)
            return
        if self._inner is None:
            self._inner = deque()
        if delivery.ask is not None:
            delivery.ask.hold()
        self._inner.append(delivery)
        self._wake()

    def tell(self, type: str, data: dict[str, Any], cause: Signal | None = None, span: str | None = None) -> None:
        """Sends it a signal of the runtime, if it has a handler for such."""
        if self.ended is None and self.hears(type):
            if self._control is None:
                self._control = deque()
            self._control.append(Delivery(self.runtime.signals.new(type, data, cause, span)))
            self._wake()

    def hears(self, type: str) -> bool:
        """Whether it has a handler for signals of the runtime of that type; others are never sent to it."""
        return self.definition.hears_lifecycle and self.definition.hears(type)

    def _put_first(self, signal: Signal) -> None:
        if self._control is None:
            self._control = deque()
        self._control.appendleft(Delivery(signal))

    def _drop_all(self) -> None:
        """Answers whoever waits in the mailbox, or for room in it."""
        # What the runtime has to tell it is dropped without a word.
        waiting = [each for each in self._control or () if not each.signal.type.startswith("prunella.")]
        waiting += self._inner or ()
        accepted = len(waiting) + self.waiting - len(self._control or ()) - len(self._inner or ())
        self._control = self._inner = None
        while (delivery := self._received()) is not None:
            waiting.append(delivery)
        for index, delivery in enumerate(waiting):
            # Who waits for room hears of it, and needs no report.
            self._drop(delivery, report=index < accepted)

    def _drop(self, delivery: Delivery, *, report: bool = True) -> None:
        if report and delivery.answer is None:
            self.runtime.reports.dropped(self, delivery.signal)  # type: ignore[arg-type]  # the whole is a server
        delivery.drop(self.stopped_error())

    async def inner_has_room(self) -> None:
        """Waits until its own signals that wait are fewer than its effects may be; lets others run in any case."""
        await trio.lowlevel.checkpoint()
        while len(self._inner or ()) >= self.spec.effects:
            if self._inner_room is None:
                self._inner_room = trio.Event()
            await self._inner_room.wait()

    def _wake(self) -> None:
        if not self._queued and self._may_run():
            self._queued = True
            self.runtime.scheduler.add(self)  # type: ignore[arg-type]  # the whole is a server

    def _may_run(self) -> bool:
        return self.life is not None and not self.life.is_ending and not self.suspended

    # Handling it.

    def drain(self, most: int, seconds: float) -> int:
        """Handles signals that wait, at most so many; goes to the end of the queue if there are more.

        Args:
            most: how many.
            seconds: after how long it is enough.

        Returns:
            How many it has handled.
        """
        try:
            return self._drain(most, time.perf_counter() + seconds)
        except BaseException:
            self._queued = False
            self._wake()
            raise
        finally:
            room = self._inner_room
            if room is not None and len(self._inner or ()) < self.spec.effects:
                self._inner_room = None
                room.set()

    def _drain(self, most: int, until: float) -> int:
        handled = 0
        inner_next = True
        while handled < most and self._may_run():
            delivery = None
            if self._control:
                delivery = self._control.popleft()
            else:
                # Turn and turn about, so that neither its own signals nor those of others have to wait for ever.
                delivery = self._inner.popleft() if inner_next and self._inner else self._received()
                inner_next = not inner_next
                if delivery is None and self._inner:
                    delivery = self._inner.popleft()
            if delivery is None:
                self._queued = False
                return handled
            handled += 1
            if not delivery.withdrawn:
                try:
                    self.handle(delivery)
                except (KeyboardInterrupt, SystemExit):
                    # Its turn did not come about: the interrupt ends the runtime, and with it who waits for this.
                    self._control = self._control or deque()
                    self._control.appendleft(delivery)
                    raise
                except Exception as error:  # A fault of ours: it must not leave the caller without an answer.
                    delivery.drop(self.about(AgentCrashed(Crashed(captured(error)))))
                    raise
            if delivery.ask is not None and (delivery.withdrawn or not self.is_durable):
                delivery.ask.release()
            if time.perf_counter() >= until:
                break
        if self._may_run():
            self.runtime.scheduler.add(self)  # type: ignore[arg-type]  # the whole is a server
        else:
            self._queued = False
        return handled

    def _received(self) -> Delivery | None:
        if self._receive is None:
            return None
        try:
            return self._receive.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return None

    def suspend(self) -> None:
        """Lets signals wait from now on."""
        self.suspended = True

    def resume(self) -> None:
        """Lets them be handled again."""
        self.suspended = False
        if self.waiting:
            self._wake()
