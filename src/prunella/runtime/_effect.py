"""A directive under way, and what becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..actions import ActionError
from ..actions._errors import is_retryable
from ..agents import AgentCrashed, AgentError, AgentNotFound, AgentStopped, Directive, Fenced
from ..conversion import to_data
from ..signals import Signal
from ..storage import directive_id
from ..supervision import Crashed, ExitReason, Shutdown, StartFailed, SupervisorStopped
from ._delivery import Delivery, Settling

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["Effect", "as_error", "end_of", "error_data"]

_NOT_THERE = (AgentNotFound, AgentStopped, Fenced, StartFailed, SupervisorStopped)


class Effect:
    """A directive under way: whom it concerns when it has ended.

    Attributes:
        server: whose it is.
        life: in which it was begun.
        directive: what is to be done.
        place: the number of the turn that asked for it, and its place there.
        signal: the signal of the turn.
        ask: the open ask that it belongs to, if any.
    """

    __slots__ = ("_is_over", "_sent", "_settling", "_span", "ask", "directive", "life", "place", "server", "signal")

    def __init__(
        self,
        server: AgentServer,
        directive: Directive,
        delivery: Delivery,
        settling: Settling | None,
        index: int,
        sent: Signal | None = None,
    ) -> None:
        self.server = server
        self.life = server.life
        self.directive = directive
        self.signal = delivery.signal
        self.place = delivery.sequence, index
        self._is_over = False
        self._sent: dict[str, int] | None = None
        self.ask = delivery.ask
        self._settling = settling
        server.effects += 1
        if not server.effect_begins(self):
            if self.ask is not None:
                self.ask.hold()
            if settling is not None:
                settling.begin()
        self._span = server.runtime.reports.effect_begins(server, directive, delivery.signal, sent)

    def done(self, error: BaseException | None = None, *, caught: bool = False) -> None:
        """It has ended.

        Args:
            error: why it failed, if it did.
            caught: whether the agent's logic has been told of it by a signal.
        """
        server = self.server
        if self._is_for_later(error):
            self.cut(Shutdown())
        elif self._over(error):
            server.effect_ends(self)
            if error is not None and not caught and isinstance(error, Exception) and server.ended is None:
                server.apply_policy(error, self.signal)
            if self.ask is not None:
                if error is not None and not caught:
                    self.ask.failed(error)
                self.ask.release()
            server.runtime.room_in_outbox(server)

    def _is_for_later(self, error: BaseException | None) -> bool:
        """Whether it has failed only because all is being stopped: then the next process does it."""
        server = self.server
        return isinstance(error, _NOT_THERE) and server.is_durable and server.runtime.is_closing

    def cut(self, reason: ExitReason | None) -> None:
        """It was called off: by the agent itself, or by the end of the agent's life.

        Whoever waits for it hears of the end of a life; the error policy is asked about failures only.

        Args:
            reason: how the life ends; None if it was the agent's own wish.
        """
        server = self.server
        error = None if reason is None else end_of(server, reason)
        if reason is not None and server.is_durable:
            self._stays_open(error)
        elif self._over(error):
            server.effect_ends(self)
            if self.ask is not None:
                if error is not None:
                    self.ask.error = error
                self.ask.release()
            server.runtime.room_in_outbox(server)

    def _stays_open(self, error: BaseException | None) -> None:
        """The life is over, and this is not done: the next life does it. Who waits for it goes on waiting."""
        if not self._is_over:
            self._is_over = True
            server = self.server
            server.effects -= 1
            server.runtime.reports.effect_ended(server, self._span, error)
            server.effect_stays_open(self)
            server.runtime.room_in_outbox(server)

    def _over(self, error: BaseException | None) -> bool:
        """Takes note of its end; tells whether it is the first."""
        if self._is_over:
            return False  # It was given up, and has ended after all.
        self._is_over = True
        server = self.server
        server.effects -= 1
        server.runtime.reports.effect_ended(server, self._span, error)
        if self._settling is not None:
            self._settling.end(self.directive, error)
        return True

    def failed(self, error: Exception, catch: str | None, carry: Any = None, attempts: int = 1) -> None:
        """It has failed: the agent's logic is told if it wants to know, else its error policy."""
        if catch is None or self._is_for_later(error):
            self.done(error)
            return
        data = {"error": error_data(error), "attempts": attempts, **(carry or {})}
        self.send_back(catch, data)
        self.done(error, caught=True)

    @property
    def is_again(self) -> bool:
        """Whether it was begun before, in an earlier life or process, and perhaps done."""
        return self.server.is_begun_again(self.place)

    @property
    def is_waited_for(self) -> bool:
        """Whether an ask, or whoever wants the turn settled, waits for it."""
        return self.ask is not None or self._settling is not None

    @property
    def directive_id(self) -> str:
        """What it is called in every life, for idempotence: `runtime/partition/agent/sequence/index`."""
        return directive_id(self.server.key, *self.place)

    @property
    def span_id(self) -> str | None:
        """Its span, if anybody hears of it."""
        return None if self._span is None else self._span.id

    def send_back(self, type: str, data: Any) -> None:
        """Sends the agent a signal about it, with whatever the turn belonged to.

        Raises:
            ConversionError: the agent is durable, and this cannot be stored; nothing was sent.
        """
        server = self.server
        id = None
        if server.is_durable:
            data = to_data(data)
            id = self._next_id(type)
        self.send(server.runtime.signals.caused(type, data, server, self.signal, self.span_id, id))

    def _next_id(self, type: str) -> str | None:
        """The id of the next signal of a type: the same if all this is done again."""
        if self._sent is None:
            self._sent = {}
        number = self._sent[type] = self._sent.get(type, 0) + 1
        return self.server.derived_id(self.place, f"{type}/{number}")

    def send(self, signal: Signal) -> None:
        """Sends the agent a signal, with whatever the turn belonged to."""
        if not self._is_over:
            self.server.put(Delivery(signal, ask=self.ask))


def end_of(server: AgentServer, reason: ExitReason) -> AgentError:
    """What whoever waits for something of an agent hears when its life ends."""
    ended: AgentError = server.about(AgentCrashed(reason) if isinstance(reason, Crashed) else AgentStopped(reason))
    return ended


def as_error(failure: BaseException) -> Exception:
    """What no function should raise, as an error that can be told of."""
    if isinstance(failure, Exception):
        return failure
    error = RuntimeError(f"ended by {type(failure).__name__}: {failure}")
    error.__cause__ = failure
    return error


def error_data(error: BaseException) -> dict[str, Any]:
    """An error as plain data: what a handler decides by. The rest of it is in the events and the log."""
    if isinstance(error, ActionError):
        told = error.to_dict()
        return {name: told[name] for name in ("type", "message", "retryable")}
    return {
        "type": type(error).__name__,
        "message": str(error),
        "retryable": is_retryable(error),
    }
