"""Directives that send signals, and those that answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import attrs

from ..conversion import Map
from ..errors import InvalidArgument
from ..signals import Signal
from ..signals._attributes import checked_text
from ._address import Address
from ._directive import (
    EMPTY,
    Directive,
    Event,
    agent_target,
    keyword_mapping,
    positive_seconds,
    signal_type,
    text,
    what_to_send,
)
from ._errors import checked_details

__all__ = ["Ask", "Emit", "Fail", "Reply"]

# What is given for a target by mistake; what else may be one is the runtime's to say.
_NO_TARGETS = (bool, int, float, complex, bytes, bytearray, list, tuple, dict, set, frozenset, Signal, Directive)


@final
@attrs.frozen(init=False)
class Emit(Directive):
    """Sends a signal.

    Args:
        signal_or_type: the type of the signal, as text or a `SignalType` class; or a whole `Signal`, or a typed
            one.
        data: its data, if a type was given.
        to: `None` publishes it in the runtime; text is the id of an agent in the sender's partition; else an
            `Address`, an `AgentRef` or a dispatch target.
        subject: what it is about, if a type was given.
        key: tells emits apart for whoever reads about them.

    Raises:
        InvalidArgument: one of these is of another kind, or only the runtime sends this type.
    """

    type: str
    data: Any
    signal: Signal | None
    to: Any
    subject: str | None
    key: str | None

    def __init__(
        self,
        signal_or_type: Event,
        data: Any = None,
        /,
        *,
        to: Any = None,
        subject: str | None = None,
        key: str | None = None,
    ) -> None:
        type, data, signal = what_to_send("Emit", signal_or_type, data)
        if to is not None:
            _check_target(to)
        if subject is not None:
            if signal is not None:
                raise InvalidArgument("Emit", "subject", "left out, for a Signal has its own", subject)
            subject = checked_text("Emit", "subject", subject)
        if key is not None:
            key = text("Emit", "key", key)
        self.__attrs_init__(type, data, signal, to, subject, key)


def _check_target(to: Any) -> None:
    is_wrong = isinstance(to, _NO_TARGETS) or hasattr(type(to), "_prunella_definition")
    if is_wrong or (isinstance(to, str) and not to):
        raise InvalidArgument("Emit", "to", "an agent's id, an Address, an AgentRef or a dispatch target", to)


@final
@attrs.frozen
class Reply(Directive):
    """Answers the `ask` that caused this turn, over however many turns and agents.

    Args:
        value: the answer.
    """

    value: Any


@final
@attrs.frozen(init=False)
class Fail(Directive):
    """The counterpart of `Reply`: the `ask` that caused this turn raises `Rejected`; the turn's state is kept.

    Args:
        reason: why, for the caller.
        details: more about it, as plain data.

    Raises:
        InvalidArgument: the reason is no text, or the details are no plain data.
    """

    reason: str
    details: Map[str, Any]

    def __init__(self, /, reason: str, **details: Any) -> None:
        if not isinstance(reason, str):
            raise InvalidArgument("Fail", "reason", "text", reason)
        self.__attrs_init__(reason, checked_details("Fail", details) if details else EMPTY)


@final
@attrs.frozen(init=False)
class Ask(Directive):
    """Asks another agent; its reply comes back as a signal.

    Args:
        to: the other agent: an id in one's own partition, an `Address` or an `AgentRef`.
        signal_or_type, data: as of `Emit`.
        then: the type of the signal that brings the reply: `{"result": ..., **carry}`.
        catch: the type of the signal that says that there will be none: `{"error": ..., **carry}`. Without it the
            error policy is asked.
        carry: goes into the data of either, so that the handler knows what the reply belongs to.
        timeout: seconds after which it has failed.

    Raises:
        InvalidArgument: one of these is of another kind, or only the runtime sends this type.
    """

    to: str | Address | Any
    type: str
    data: Any
    signal: Signal | None
    then: str
    catch: str | None
    carry: Map[str, Any]
    timeout: float | None

    def __init__(
        self,
        to: Any,
        signal_or_type: Event,
        data: Any = None,
        /,
        *,
        then: Event,
        catch: Event | None = None,
        carry: Mapping[str, Any] = EMPTY,
        timeout: float | None = None,
    ) -> None:
        type, data, signal = what_to_send("Ask", signal_or_type, data)
        wanted = signal_type("Ask", "then", then)
        if wanted is None:
            raise InvalidArgument("Ask", "then", "the type of the signal that brings the reply", then)
        self.__attrs_init__(
            agent_target("Ask", "to", to),
            type,
            data,
            signal,
            wanted,
            signal_type("Ask", "catch", catch),
            keyword_mapping("Ask", "carry", carry),
            positive_seconds("Ask", "timeout", timeout),
        )
