"""What happened, as values: every report of the library is one frozen `Event`, handed to listeners.

A listener is a plain function of one event. It is called at once, in the task in which the event happened, so
it must be quick and must not wait; it can never change an outcome, and what it raises is logged, not
propagated::

    def show(event: Event) -> None:
        print(event.name, dict(event.attributes))

    async with open_supervisor(spec, telemetry=[show]) as supervisor:
        ...
"""

from ._events import ErrorInfo, Event, Listener
from ._listeners import Listeners

__all__ = ["ErrorInfo", "Event", "Listener", "Listeners"]
