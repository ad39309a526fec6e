"""The signals that a runtime makes: each at its time, and with the trace of what caused it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import attrs

from ..signals import Signal, Trace, new_id
from ..signals._signal import LEFT_OUT, LeftOut

if TYPE_CHECKING:
    from datetime import datetime

    from ._clock import RuntimeClock
    from ._server import AgentServer

__all__ = ["SignalMaker", "trace_of"]


def trace_of(signal: Signal) -> Trace | None:
    """The trace that a signal carries, if it does."""
    return Trace.of(signal) if "traceparent" in signal.extensions else None


@final
class SignalMaker:
    """Makes the signals of a runtime."""

    __slots__ = ("_clock", "_own_time")

    def __init__(self, clock: RuntimeClock) -> None:
        self._clock = clock
        # What a signal takes for the present by itself is the system's time, which then is the runtime's.
        self._own_time = not clock.follows

    def new(self, type: str, data: Any, cause: Signal | None = None, span: str | None = None) -> Signal:
        """A new signal, of whoever calls or of the runtime.

        Args:
            type, data: of the signal.
            cause, span: as of `caused`.
        """
        signal = Signal(type, data, time=self._clock.wall_now()) if self._own_time else Signal(type, data)
        return signal if cause is None else _traced(signal, cause, span)

    def caused(
        self,
        type: str,
        data: Any,
        server: AgentServer,
        cause: Signal | None,
        span: str | None = None,
        id: str | None = None,
    ) -> Signal:
        """A signal of an agent's own work, such as the result of a `Run`.

        Args:
            type, data: of the signal.
            server: the agent.
            cause: what has caused it: its trace goes on.
            span: the span of the effect that brought it, if that was told to anybody.
            id: its id; a new one by default.
        """
        signal = Signal(type, data, source=_source(server), id=_or_new(id), time=self._time())
        return signal if cause is None else _traced(signal, cause, span)

    def emitted(self, directive: Any, server: AgentServer, cause: Signal, id: str | None = None) -> Signal:
        """The signal of an `Emit` or `Ask`."""
        if directive.signal is not None:
            return _traced(directive.signal, cause)
        subject = getattr(directive, "subject", None)
        data = {} if directive.data is None else directive.data
        signal = Signal(
            directive.type, data, source=_source(server), subject=subject, id=_or_new(id), time=self._time()
        )
        return _traced(signal, cause)

    def scheduled(
        self,
        directive: Any,
        server: AgentServer,
        cause: Signal | None,
        due: datetime | None,
        id: str | None = None,
    ) -> Signal:
        """The signal of a schedule, or of one tick: each has an id and a time of its own.

        Args:
            directive: the `Schedule` or `Cron`.
            server: the agent.
            cause: what has caused it, for a schedule.
            due: what a tick of a cron job was to come at; it goes into the data, if that has keys.
        """
        data = {} if directive.data is None else directive.data
        if due is not None and hasattr(data, "items"):
            data = {**data, "scheduled_for": due.isoformat()}
        whole: Signal | None = directive.signal
        if whole is None:
            signal = Signal(directive.type, data, source=_source(server), id=_or_new(id), time=self._time())
        else:
            signal = whole.__replace__(id=id or new_id(), time=self._time(), data=data)
        return signal if cause is None else _traced(signal, cause)

    def _time(self) -> datetime | LeftOut:
        return self._clock.wall_now() if self._own_time else LEFT_OUT


def _or_new(id: str | None) -> str | LeftOut:
    return LEFT_OUT if id is None else id


def _source(server: AgentServer) -> str:
    return f"/agents/{server.address.id}"


def _traced(signal: Signal, cause: Signal, span: str | None = None) -> Signal:
    """The signal as a part of the trace that its cause belongs to, if it belongs to one."""
    trace = trace_of(cause)
    if trace is None:
        return signal
    child = trace.child() if span is None else attrs.evolve(trace, span_id=span)
    return child.on(signal, cause=cause)
