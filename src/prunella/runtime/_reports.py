"""What happens to agents, told to listeners, to the recorder and to the log. None of it changes an outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from secrets import token_hex
from typing import TYPE_CHECKING, Any, final

from ..agents import Address, Context, Fenced, InvalidSignalData, Rejected, RestoreFailed, Turn, UnhandledSignal
from ..agents._turn import Outcome
from ..agents._turns import changed_fields, visible
from ..supervision import Crashed, ExitReason
from ..telemetry import ErrorInfo, Event, Listeners
from ..telemetry._log import LimitedLog
from ..telemetry._redaction import redacted_text
from ._events import (
    AgentEnded,
    AgentFenced,
    AgentQuarantined,
    AgentRestarted,
    AgentStarted,
    EffectException,
    EffectStart,
    EffectStop,
    OutboxMeasured,
    ReplyDropped,
    SignalDropped,
    SignalPoisoned,
    SignalRepeated,
    TurnEvent,
)
from ._recorder import Recorder
from ._redaction import redacted
from ._signals import trace_of

if TYPE_CHECKING:
    from ..agents import Agent, Directive
    from ..signals import Signal
    from ._clock import RuntimeClock
    from ._server import AgentServer

logger = logging.getLogger("prunella.runtime")

__all__ = ["EffectSpan", "Reports", "TurnSpan"]


class TurnSpan:
    """A turn that somebody wants to hear of.

    Attributes:
        id: of the span; parent of its effects.
        began: when, on the clock for durations.
        outer: the turn inside which it is taken: the last signal of a life comes while another one ends it.
    """

    __slots__ = ("began", "id", "outer")

    def __init__(self, outer: TurnSpan | None) -> None:
        self.id = token_hex(8)
        self.outer = outer
        self.began = time.perf_counter()


class EffectSpan:
    """An effect that somebody wants to hear of.

    Attributes:
        id: of the span; the signal that it sends carries it as its parent.
        parent: the span of its turn.
        trace_id: of the trace that it belongs to.
        directive: what is done.
        signal: of its turn.
        began: when, on the clock for durations.
    """

    __slots__ = ("began", "directive", "id", "parent", "signal", "trace_id")

    def __init__(self, directive: Directive, signal: Signal, sent: Signal | None, turn: TurnSpan | None) -> None:
        trace = trace_of(signal)
        sent_trace = None if sent is None else trace_of(sent)
        self.id = token_hex(8) if sent_trace is None else sent_trace.span_id
        self.trace_id = None if trace is None else trace.trace_id
        self.parent = turn.id if turn is not None else None if trace is None else trace.span_id
        self.directive = directive
        self.signal = signal
        self.began = time.perf_counter()


@final
class Reports:
    """The reports of one runtime.

    Args:
        telemetry: its listeners; supervision has the same.
        recorder: where agents with `debug` are recorded.
        listens: whether it is one of the listeners, and so is told anyway.
    """

    __slots__ = ("_clock", "_crashes", "_listens", "_log", "_turn", "recorder", "telemetry")

    def __init__(self, telemetry: Listeners, recorder: Recorder, *, listens: bool) -> None:
        self.telemetry = telemetry
        self.recorder = recorder
        self._listens = listens
        self._clock: RuntimeClock
        self._log = LimitedLog(logger, "agent")
        self._turn: TurnSpan | None = None
        self._crashes: dict[AgentServer, ErrorInfo] = {}

    def opens(self, clock: RuntimeClock) -> None:
        """The runtime is being opened."""
        self._clock = clock

    def begins(self, soon: Callable[[Callable[[], None]], object]) -> None:
        """Its supervision tree is being made: from now on there is somebody who writes the log.

        Args:
            soon: calls a function in the next step of the event loop.
        """
        self._log.opens(soon)

    def close(self) -> None:
        """Nothing more is going to happen."""
        self._log.close()

    def _hears(self, server: AgentServer) -> bool:
        return bool(self.telemetry) or server.spec.debug

    def _emit(self, server: AgentServer, event: Event) -> None:
        self.telemetry.emit(event)
        if server.spec.debug and not self._listens:
            self.recorder.keep(str(server.address), event)

    def _common(self, server: AgentServer) -> dict[str, Any]:
        return {"time": self._clock.now(), "agent": str(server.address)}

    # Lives.

    def life_began(self, server: AgentServer) -> None:
        """A life of an agent has begun."""
        if server.spec.debug and server.spec.restore == "fresh":
            self.recorder.forget_turns(str(server.address))
        if self._hears(server):
            common = self._common(server)
            event = AgentRestarted(**common, restarts=server.restarts) if server.restarts else AgentStarted(**common)
            self._emit(server, event)

    def ended(self, server: AgentServer, reason: ExitReason) -> None:
        """An agent has ended for good."""
        error = self._crashes.pop(server, None)
        if not isinstance(reason, Crashed):
            error = None  # what there is was that of another life
        elif error is None:
            error = ErrorInfo(reason.type.__name__, "")
        if self._hears(server):
            kind = type(reason).__name__.lower()
            self._emit(server, AgentEnded(**self._common(server), reason=kind, error=error))

    # Turns.

    def turn_begins(self, server: AgentServer) -> TurnSpan | None:
        """A turn begins; what it gives is to be given back when it has ended."""
        if not (self.telemetry or server.spec.debug):
            return None
        self._turn = TurnSpan(self._turn)
        return self._turn

    def turn_waits(self, span: TurnSpan | None) -> None:
        """A turn is decided, and does not count yet: others may be taken meanwhile."""
        if span is not None:
            self._turn = span.outer

    def turn_goes_on(self, span: TurnSpan | None) -> None:
        """It counts from now on, and what follows now belongs to it."""
        if span is not None:
            span.outer = self._turn
            self._turn = span

    def turn_undone(self, span: TurnSpan | None) -> None:
        """It never counted; if it is decided again, that is another."""

    def turn_ended(
        self,
        server: AgentServer,
        signal: Signal,
        span: TurnSpan | None,
        outcome: str,
        error: BaseException | None = None,
    ) -> None:
        """A turn has ended.

        Args:
            server: the agent.
            signal: its signal.
            span: what `turn_begins` gave.
            outcome: ``committed``, ``crashed``, or the name of the refusal.
            error: the refusal or the crash.
        """
        if span is None:
            return
        duration = time.perf_counter() - span.began
        self._turn = span.outer
        trace = trace_of(signal)
        self._emit(
            server,
            TurnEvent(
                **self._common(server),
                span_id=span.id,
                parent_span_id=None if trace is None else trace.span_id,
                trace_id=None if trace is None else trace.trace_id,
                signal_type=signal.type,
                signal_id=signal.id,
                outcome=outcome,
                duration=duration,
                mailbox=server.waiting,
                error=None if error is None else redacted(error, signal.data),
            ),
        )

    def record_turn(
        self,
        server: AgentServer,
        signal: Signal,
        context: Context | None,
        before: Agent,
        after: Agent,
        directives: tuple[Directive, ...] = (),
        error: BaseException | None = None,
        outcome: str = Outcome.COMMITTED,
    ) -> None:
        """Keeps a turn of an agent that is debugged, so that it can be run again.

        Args:
            server: the agent.
            signal: what it heard.
            context: what the handlers could know, if one of them asked.
            before, after: the agent.
            directives: what they asked for.
            error: the refusal, if it was refused.
            outcome: what became of it, if it was not refused.
        """
        if not (server.spec.debug or (self.recorder.keeps_durable and server.is_durable)):
            return
        if error is None:
            pass
        elif isinstance(error, UnhandledSignal):
            outcome = Outcome.UNHANDLED
        elif isinstance(error, Rejected | InvalidSignalData):
            outcome = Outcome.REJECTED
        else:
            return  # No handler has decided it: there is nothing to run again.
        agent = str(server.address)
        last = self.recorder.turns_of(agent)[-1:]
        turn = Turn(
            server.sequence if server.is_durable else last[0].sequence + 1 if last else 1,
            visible(signal),
            self._clock.wall_now() if context is None else context.now,
            0 if context is None else context.seed,
            None if context is None else context.parent,
            {} if context is None else context.children,
            outcome,
            changed_fields(before, after),
            directives,
        )
        self.recorder.keep_turn(agent, turn)

    # Effects.

    def effect_begins(
        self, server: AgentServer, directive: Directive, signal: Signal, sent: Signal | None = None
    ) -> EffectSpan | None:
        """A directive begins; what it gives is to be given back when it has ended, once.

        Args:
            server: whose it is.
            directive: what is done.
            signal: of the turn that asked for it.
            sent: the signal that it sends, if that is what it does.
        """
        if not self._hears(server):
            return None
        span = EffectSpan(directive, signal, sent, self._turn)
        self._emit(server, EffectStart(**self._effect(server, span), signal_type=signal.type))
        return span

    def effect_ended(self, server: AgentServer, span: EffectSpan | None, error: BaseException | None) -> None:
        """It has ended."""
        if span is None:
            return
        common = self._effect(server, span)
        duration = time.perf_counter() - span.began
        if error is None:
            self._emit(server, EffectStop(**common, duration=duration))
        else:
            info = redacted(error, span.signal.data, span.directive)
            self._emit(server, EffectException(**common, duration=duration, error=info))

    def effect_was_instant(
        self, server: AgentServer, directive: Directive, signal: Signal, sent: Signal | None = None
    ) -> None:
        """A directive that did not have to wait for anything."""
        if self._hears(server):
            self.effect_ended(server, self.effect_begins(server, directive, signal, sent), None)

    def _effect(self, server: AgentServer, span: EffectSpan) -> dict[str, Any]:
        return {
            **self._common(server),
            "span_id": span.id,
            "parent_span_id": span.parent,
            "trace_id": span.trace_id,
            "directive": type(span.directive).__name__,
        }

    # What went wrong.

    def poison(self, server: AgentServer, signal: Signal, reason: Crashed) -> None:
        """A signal has crashed its agent; its data is not shown."""
        logs = self._log_wants(server, logging.ERROR)
        hears = self._hears(server)
        if not (logs or hears):
            return
        error = ErrorInfo(reason.type.__name__, redacted_text(reason.message, signal.data))
        if logs:
            text = "agent %s crashed on signal %s (%s): %s: %s"
            self._log.take(logging.ERROR, text, server.address, signal.type, signal.id, error.type, error.message)
        if hears:
            self._crashes[server] = error
            about: dict[str, Any] = {"signal_type": signal.type, "signal_id": signal.id, "error": error}
            self._emit(server, SignalPoisoned(**self._common(server), **about))

    def error(self, server: AgentServer, error: Exception, signal: Signal | None) -> None:
        """A refusal or a failed directive that nobody catches."""
        if self._log_wants(server, logging.WARNING):
            about = "" if signal is None else f" on signal {signal.type}"
            info = redacted(error, None if signal is None else signal.data)
            self._log.take(logging.WARNING, "agent %s%s: %s: %s", server.address, about, info.type, info.message)

    def policy_failure(self, server: AgentServer, error: BaseException) -> None:
        """An error policy has failed; it is ignored."""
        if self._log_wants(server, logging.ERROR):
            self._log.take(logging.ERROR, "the error policy of agent %s failed", server.address, exc_info=error)

    def subscriber_full(self, signal: Signal) -> None:
        """A subscriber does not keep up, and misses a signal of the runtime's own."""
        if self._log.wants("(subscribers)", logging.WARNING, self._clock.now()):
            self._log.take(logging.WARNING, "a subscriber of %s is full and misses one", signal.type)

    def _log_wants(self, server: AgentServer, level: int) -> bool:
        return self._log.wants(str(server.address), level, self._clock.now())

    def dropped(self, server: AgentServer, signal: Signal) -> None:
        """A signal that will not be handled."""
        if self._hears(server):
            self._emit(server, SignalDropped(**self._common(server), signal_type=signal.type, signal_id=signal.id))

    def repeated(self, server: AgentServer, signal: Signal) -> None:
        """A signal that counts already."""
        if self._hears(server):
            self._emit(server, SignalRepeated(**self._common(server), signal_type=signal.type, signal_id=signal.id))

    def fenced(self, server: AgentServer, error: Fenced) -> None:
        """Another owner has claimed the agent."""
        if self._log_wants(server, logging.WARNING):
            self._log.take(logging.WARNING, "agent %s: %s; it is stopped here", server.address, error)
        if self._hears(server):
            self._emit(server, AgentFenced(**self._common(server)))

    def quarantined(self, server: AgentServer, error: RestoreFailed) -> None:
        """The state of an agent cannot be read."""
        if self._log_wants(server, logging.ERROR):
            self._log.take(logging.ERROR, "agent %s is quarantined: %s", server.address, error)
        if self._hears(server):
            info = ErrorInfo(type(error).__name__, str(error))
            self._emit(server, AgentQuarantined(**self._common(server), error=info))

    def quarantined_asleep(self, address: Address, error: RestoreFailed) -> None:
        """An agent that sleeps cannot be woken, and is not in memory."""
        if self._log.wants(str(address), logging.ERROR, self._clock.now()):
            self._log.take(logging.ERROR, "agent %s is quarantined: %s", address, error)
        if self.telemetry:
            info = ErrorInfo(type(error).__name__, str(error))
            self.telemetry.emit(AgentQuarantined(time=self._clock.now(), agent=str(address), error=info))

    def fault(self, server: AgentServer, error: BaseException) -> None:
        """Something in the library itself has failed."""
        if self._log_wants(server, logging.ERROR):
            self._log.take(logging.ERROR, "agent %s met a fault of the library", server.address, exc_info=error)

    def storage_trouble(self, what: str, error: BaseException) -> None:
        """The storage does not do what it is asked for; it will be asked again."""
        if self._log.wants("(storage)", logging.WARNING, self._clock.now()):
            self._log.take(logging.WARNING, "%s: %s: %s", what, type(error).__name__, error)

    def outbox(self, count: int, age: float, *, warns: bool) -> None:
        """So many directives are decided and not done, the oldest for `age` seconds."""
        if self.telemetry:
            self.telemetry.emit(OutboxMeasured(time=self._clock.now(), count=count, age=age))
        if warns and self._log.wants("(outbox)", logging.WARNING, self._clock.now()):
            self._log.take(logging.WARNING, "%d directives are decided and not done, the oldest for %.0f s", count, age)

    def dropped_reply(self, server: AgentServer, signal: Signal) -> None:
        """A reply that nobody waits for."""
        if self._hears(server):
            self._emit(server, ReplyDropped(**self._common(server), signal_type=signal.type))
