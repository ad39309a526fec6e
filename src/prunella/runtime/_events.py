"""What a runtime reports: one event a turn, a start and an end of every effect that waits."""

from __future__ import annotations

from typing import ClassVar

import attrs

from ..telemetry import Event

__all__ = [
    "AgentEnded",
    "AgentEvent",
    "AgentFenced",
    "AgentQuarantined",
    "AgentRestarted",
    "AgentStarted",
    "EffectException",
    "EffectStart",
    "EffectStop",
    "OutboxMeasured",
    "ReplyDropped",
    "SignalDropped",
    "SignalPoisoned",
    "SignalRepeated",
    "TurnEvent",
]


@attrs.frozen(kw_only=True)
class AgentEvent(Event):
    """Something that happened to an agent. All kinds that a runtime reports derive from it.

    Turns and effects are spans: the span of a turn is the parent of those of its effects. Where signals carry a W3C
    trace context, the span of an effect is the parent of the turn of the signal that it sent.

    Attributes:
        trace_id: of the trace that the signal of the turn carries, if it does.
    """

    trace_id: str | None = None


@attrs.frozen(kw_only=True)
class AgentStarted(AgentEvent):
    """The first life of an agent has begun."""

    name: ClassVar[str] = "agent.started"


@attrs.frozen(kw_only=True)
class AgentRestarted(AgentEvent):
    """A further life has begun.

    Attributes:
        restarts: how many came before.
    """

    name: ClassVar[str] = "agent.restarted"

    restarts: int


@attrs.frozen(kw_only=True)
class AgentEnded(AgentEvent):
    """An agent has ended for good.

    Attributes:
        reason: the kind of its exit reason.
    """

    name: ClassVar[str] = "agent.ended"

    reason: str


@attrs.frozen(kw_only=True)
class AgentFenced(AgentEvent):
    """Another owner has claimed a durable agent; it is stopped here."""

    name: ClassVar[str] = "agent.fenced"


@attrs.frozen(kw_only=True)
class AgentQuarantined(AgentEvent):
    """The stored state of a durable agent cannot be read."""

    name: ClassVar[str] = "agent.quarantined"


@attrs.frozen(kw_only=True)
class TurnEvent(AgentEvent):
    """One signal was handled.

    Attributes:
        signal_type: its type.
        signal_id: its id.
        outcome: ``committed``, ``crashed``, or the name of the refusal.
        duration: seconds.
        mailbox: how many signals wait.
    """

    name: ClassVar[str] = "agent.turn"

    signal_type: str
    signal_id: str
    outcome: str
    duration: float
    mailbox: int


@attrs.frozen(kw_only=True)
class EffectStart(AgentEvent):
    """A directive begins to be carried out.

    Attributes:
        directive: the name of its class.
        signal_type: the type of the signal of its turn.
    """

    name: ClassVar[str] = "effect.start"

    directive: str
    signal_type: str


@attrs.frozen(kw_only=True)
class EffectStop(AgentEvent):
    """A directive was carried out.

    Attributes:
        directive: the name of its class.
        duration: seconds.
    """

    name: ClassVar[str] = "effect.stop"

    directive: str
    duration: float


@attrs.frozen(kw_only=True)
class EffectException(AgentEvent):
    """A directive failed.

    Attributes:
        directive: the name of its class.
        duration: seconds.
    """

    name: ClassVar[str] = "effect.exception"

    directive: str
    duration: float


@attrs.frozen(kw_only=True)
class SignalPoisoned(AgentEvent):
    """A signal crashed its agent.

    Attributes:
        signal_type: its type.
        signal_id: its id.
    """

    name: ClassVar[str] = "agent.signal.poisoned"

    signal_type: str
    signal_id: str


@attrs.frozen(kw_only=True)
class SignalDropped(AgentEvent):
    """A signal will not be handled, because its agent has ended for good.

    Attributes:
        signal_type: its type.
        signal_id: its id.
    """

    name: ClassVar[str] = "agent.signal.dropped"

    signal_type: str
    signal_id: str


@attrs.frozen(kw_only=True)
class OutboxMeasured(Event):
    """How many directives of all durable agents are decided and not done; once a minute.

    Attributes:
        count: how many.
        age: for how many seconds the oldest has been waiting; 0 if there is none.
    """

    name: ClassVar[str] = "outbox.measured"

    count: int
    age: float


@attrs.frozen(kw_only=True)
class SignalRepeated(AgentEvent):
    """A signal has come again that a durable agent has handled already, or that waits for it; it counts once.

    Attributes:
        signal_type: its type.
        signal_id: its id.
    """

    name: ClassVar[str] = "agent.signal.repeated"

    signal_type: str
    signal_id: str


@attrs.frozen(kw_only=True)
class ReplyDropped(AgentEvent):
    """A reply that nobody waits for: it is the second, its caller has gone, or nobody had asked.

    Attributes:
        signal_type: of the signal whose turn made it.
    """

    name: ClassVar[str] = "agent.reply.dropped"

    signal_type: str
