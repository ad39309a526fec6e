"""What those who send through a ref give, checked and made a signal."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

from ..agents import Agent
from ..conversion import to_data
from ..errors import InvalidArgument
from ..signals import Signal, SignalType, type_of
from ..signals._errors import kind
from ..supervision._life import current_life

if TYPE_CHECKING:
    from ._runtime import Runtime

__all__ = ["check_class", "check_predicate", "signal_to_send"]


def signal_to_send(runtime: Runtime, signal_or_type: Any, data: Any, more: dict[str, Any]) -> Signal:
    """The signal that a caller of `AgentRef.cast` or its like means.

    Raises:
        InvalidArgument: it is none, or has data twice.
        StaleLife: the caller was declared unresponsive.
    """
    life = current_life()
    if life is not None:
        life.check_fresh("sending through a ref")
    if signal_or_type.__class__ is str:
        name: str = signal_or_type
    elif isinstance(signal_or_type, str):
        name = str.__str__(signal_or_type)
    elif isinstance(signal_or_type, type) and issubclass(signal_or_type, SignalType):
        name = type_of(signal_or_type)
    else:
        return _whole_signal(runtime, signal_or_type, data, more)
    if more:
        if data is not None:
            if not isinstance(data, Mapping):
                raise InvalidArgument("a signal", "data", "a mapping, where keywords are added", kind(data))
            more = {**data, **more}
        data = more
    elif data is None:
        data = {}
    if not name or name.startswith("prunella."):
        raise InvalidArgument("a signal", "type", "a type of your own, not empty", name)
    return runtime.signals.new(name, data)


def _whole_signal(runtime: Runtime, signal: Any, data: Any, more: dict[str, Any]) -> Signal:
    if not isinstance(signal, Signal | SignalType):
        raise InvalidArgument("a signal", "signal_or_type", "a signal type (text) or a Signal", signal)
    if data is not None or more:
        raise InvalidArgument("a signal", "data", "left out, where a whole signal is given", kind(data or more))
    if isinstance(signal, SignalType):
        return runtime.signals.new(type_of(type(signal)), to_data(signal))
    if signal.type.startswith("prunella."):
        raise InvalidArgument("a signal", "signal", "of a type of your own", signal.type)
    return signal


def check_class(owner: str, agent: object) -> None:
    """A class of agents.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(agent, type) or not issubclass(agent, Agent):
        raise InvalidArgument(owner, "agent", "a class of agents", agent)


def check_predicate(owner: str, predicate: object) -> None:
    """A plain function: what an async one returns is true of every state.

    Raises:
        InvalidArgument: it is none.
    """
    if not callable(predicate) or iscoroutinefunction(predicate):
        raise InvalidArgument(owner, "predicate", "a plain function of one state", predicate)
