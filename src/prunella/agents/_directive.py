"""What a directive is, and the checks that all of them share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from ..conversion import Map, to_data
from ..errors import InvalidArgument
from ..signals import Signal, SignalType, type_of
from ..signals._attributes import checked_text
from ..signals._errors import kind
from ._address import Address

__all__ = [
    "EMPTY",
    "Directive",
    "Event",
    "agent_target",
    "callable_argument",
    "choice",
    "keyword_mapping",
    "optional_text",
    "positive_seconds",
    "signal_type",
    "text",
    "what_to_send",
]

Event: TypeAlias = Signal | str | SignalType | type[SignalType]

EMPTY: Final[Map[str, Any]] = Map()


class Directive:
    """A value that describes an effect. Handlers return directives; the runtime executes them after the turn.

    Directives are frozen and compare by value, so a test compares what a handler returned with what it should
    have. One of your own is a frozen class that derives from this one, made with `attrs.frozen` or
    `dataclass(frozen=True)`; a runtime executes it if it has an executor for its class.
    """

    __slots__ = ()


def what_to_send(owner: str, event: Event, data: Any) -> tuple[str, Any, Signal | None]:
    """Type, data and, if one was given, the signal itself.

    Raises:
        InvalidArgument: it is none of these, has data twice, or a type that only the runtime sends.
    """
    signal = None
    if event.__class__ is str:
        type: Any = event
        if not type or not type.isprintable():
            checked_text(owner, "type", type)
    elif isinstance(event, str):
        type = checked_text(owner, "type", event)
    elif isinstance(event, Signal):
        if data is not None:
            raise InvalidArgument(owner, "data", "left out, for a Signal has its own", kind(data))
        signal, type, data = event, event.type, event.data
    elif isinstance(event, SignalType):
        if data is not None:
            raise InvalidArgument(owner, "data", "left out, for a typed signal has its own", kind(data))
        type, data = type_of(event.__class__), to_data(event)
    elif _is_signal_class(event):
        type = type_of(event)
    else:
        raise InvalidArgument(owner, "signal_or_type", "a signal type (text, or a SignalType) or a Signal", event)
    if type.startswith("prunella."):
        raise InvalidArgument(owner, "type", "none that begins with 'prunella.', which only the runtime sends", type)
    return type, data, signal


def signal_type(owner: str, field: str, value: Any) -> str | None:
    """The type of a signal that comes back, or `None` if none is wanted.

    Raises:
        InvalidArgument: it is no type, or one that only the runtime sends.
    """
    if value is None:
        return None
    if _is_signal_class(value):
        value = type_of(value)
    type = checked_text(owner, field, value)
    if type.startswith("prunella."):
        raise InvalidArgument(owner, field, "none that begins with 'prunella.', which only the runtime sends", type)
    return type


def _is_signal_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, SignalType)


def text(owner: str, field: str, value: Any) -> str:
    """A text that is not empty.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(value, str) or not value:
        raise InvalidArgument(owner, field, "a non-empty string", value)
    return str.__str__(value)


def optional_text(owner: str, field: str, value: Any) -> str | None:
    """The same, or `None`."""
    return None if value is None else text(owner, field, value)


def choice(owner: str, field: str, value: Any, choices: tuple[str, ...]) -> str:
    """One of a few words; a member of a `StrEnum` is one too.

    Raises:
        InvalidArgument: it is another.
    """
    if not isinstance(value, str) or value not in choices:
        raise InvalidArgument(owner, field, f"one of {', '.join(map(repr, choices))}", value)
    return str.__str__(value)


def positive_seconds(owner: str, field: str, value: Any) -> float | None:
    """A duration that is not nothing, or `None`.

    Raises:
        InvalidArgument: it is none.
    """
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not value > 0:
        raise InvalidArgument(owner, field, "seconds, more than 0, or None", value)
    return float(value)


def keyword_mapping(owner: str, field: str, value: Any) -> Map[str, Any]:
    """An immutable mapping with keys of type `str`.

    Raises:
        InvalidArgument: it is none.
    """
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InvalidArgument(owner, field, "a mapping with keys of type str", kind(value))
    return Map(value)


def callable_argument(owner: str, field: str, value: Any) -> Any:
    """A function.

    Raises:
        InvalidArgument: it cannot be called.
    """
    if not callable(value):
        raise InvalidArgument(owner, field, "a function", value)
    return value


def agent_target(owner: str, field: str, value: Any) -> Any:
    """An agent's id, its `Address`, or a ref: anything whose `address` is one.

    Raises:
        InvalidArgument: it is none of these.
    """
    if isinstance(value, str):
        return text(owner, field, value)
    if isinstance(value, Address) or isinstance(getattr(value, "address", None), Address):
        return value
    raise InvalidArgument(owner, field, "the id of an agent, an Address or an AgentRef", value)
