from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress

from ..errors import InvalidArgument, check_iterable
from ._events import Event, Listener

__all__ = ["Listeners"]

logger = logging.getLogger("prunella.telemetry")

_SECONDS_BETWEEN_COMPLAINTS = 60.0


class Listeners:
    """The listeners of one tree, dispatcher, bus or runtime; whoever has something to report owns one.

    `if listeners:` is the cheap test to make before an event is built at all.

    Args:
        listeners: plain functions of one event.
        outer: others who hear the same events, after these.

    Raises:
        InvalidArgument: what came is no iterable, or a listener is not callable, or an async function.
    """

    __slots__ = ("_outer", "_subscriptions")

    def __init__(self, listeners: Iterable[Listener] = (), *, outer: Listeners | None = None) -> None:
        listeners = check_iterable("telemetry", "listeners", listeners, "plain functions of one event")
        self._subscriptions = tuple(_Subscription(_checked(listener)) for listener in listeners)
        self._outer = outer

    def __bool__(self) -> bool:
        return bool(self._subscriptions or self._outer)

    def emit(self, event: Event) -> None:
        """Hands the event to every listener, in the order in which they came.

        What a listener raises is logged, at most once a minute for each, and changes nothing else.
        """
        for subscription in self._subscriptions:
            try:
                subscription.listener(event)
            except Exception:
                subscription.complain(event)
        if self._outer is not None:
            self._outer.emit(event)

    def subscribe(self, listener: Listener) -> AbstractContextManager[None]:
        """Lets `listener` hear every event until the block is left.

        Raises:
            InvalidArgument: it is not callable, or is an async function.
        """
        return self._subscribed(_Subscription(_checked(listener)))

    @contextmanager
    def _subscribed(self, subscription: _Subscription) -> Iterator[None]:
        self._subscriptions = (*self._subscriptions, subscription)
        try:
            yield
        finally:
            self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)


class _Subscription:
    """One subscription of a listener, told from another of the same function by its identity.

    It also remembers the last complaint: a dictionary would ask of listeners that they be hashable.
    """

    __slots__ = ("complained", "listener")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.complained: float | None = None

    def complain(self, event: Event) -> None:
        if self.complained is None or event.time - self.complained >= _SECONDS_BETWEEN_COMPLAINTS:
            self.complained = event.time
            # A handler or a filter of the user's may raise too, and so may the repr of the listener.
            with suppress(Exception):
                logger.exception("telemetry listener %r raised for %s", self.listener, event.name)


def _checked(listener: Listener) -> Listener:
    # An async function would be called and its coroutine dropped: it would hear nothing, silently.
    if not callable(listener) or inspect.iscoroutinefunction(listener):
        raise InvalidArgument("telemetry", "listener", "a plain function of one event", listener)
    return listener
