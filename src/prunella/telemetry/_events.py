from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, TypeAlias

import attrs

__all__ = ["ErrorInfo", "Event", "Listener"]


@attrs.frozen
class ErrorInfo:
    """The error of an event: its type by name, and its message."""

    type: str
    message: str


@attrs.frozen(kw_only=True)
class Event:
    """One thing that happened.

    Each kind is a subclass with a dotted `name` and fields of its own; `attributes` is the read-only view of
    those fields, for listeners that treat all kinds alike. Events carry ids, types, counts and durations,
    never payloads.

    Attributes:
        time: when it happened, in seconds on Trio's clock.
        span_id: what the event belongs to; the same at the start and at the end of one thing.
        parent_span_id: what that thing belongs to in turn, if anything.
        agent: the address of the agent that it is about, if it is about one.
        error: type and message of the error, if one is the reason.
    """

    name: ClassVar[str] = "prunella.event"

    time: float
    span_id: str = ""
    parent_span_id: str | None = None
    agent: str | None = None
    error: ErrorInfo | None = None

    @property
    def attributes(self) -> Mapping[str, Any]:
        """The fields that this kind of event adds, by name."""
        own = {field.name: getattr(self, field.name) for field in attrs.fields(type(self)) if field.name not in _COMMON}
        return MappingProxyType(own)


_COMMON = frozenset(field.name for field in attrs.fields(Event))

Listener: TypeAlias = Callable[[Event], object]
