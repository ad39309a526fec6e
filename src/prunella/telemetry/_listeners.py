from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from ..errors import InvalidArgument
from ._events import Event, Listener

__all__ = ["Listeners"]

logger = logging.getLogger("prunella.telemetry")

_SECONDS_BETWEEN_COMPLAINTS = 60.0


class Listeners:
    """The listeners of one tree, dispatcher, bus or runtime; whoever has something to report owns one.

    `if listeners:` is the cheap test to make before an event is built at all.

    Args:
        listeners: plain functions of one event.

    Raises:
        InvalidArgument: a listener is not callable.
    """

    __slots__ = ("_complained", "_listeners")

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners: tuple[Listener, ...] = tuple(listeners)
        for listener in self._listeners:
            _check(listener)
        self._complained: dict[Listener, float] = {}

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def emit(self, event: Event) -> None:
        """Hands the event to every listener, in the order in which they came.

        What a listener raises is logged, at most once a minute for each, and changes nothing else.
        """
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                self._complain(listener, event)

    @contextmanager
    def subscribe(self, listener: Listener) -> Iterator[None]:
        """Lets `listener` hear every event until the block is left."""
        _check(listener)
        entry: Listener = _Subscription(listener)
        self._listeners = (*self._listeners, entry)
        try:
            yield
        finally:
            self._listeners = tuple(other for other in self._listeners if other is not entry)
            self._complained.pop(entry, None)

    def _complain(self, listener: Listener, event: Event) -> None:
        last = self._complained.get(listener)
        if last is None or event.time - last >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained[listener] = event.time
            logger.exception("telemetry listener %r raised for %s", listener, event.name)


class _Subscription:
    """One subscription of a listener, told from another of the same function by its identity."""

    __slots__ = ("listener",)

    def __init__(self, listener: Callable[[Event], object]) -> None:
        self.listener = listener

    def __call__(self, event: Event) -> object:
        return self.listener(event)

    def __repr__(self) -> str:
        return repr(self.listener)


def _check(listener: object) -> None:
    if not callable(listener):
        raise InvalidArgument("telemetry", "listener", "a function of one event", listener)
