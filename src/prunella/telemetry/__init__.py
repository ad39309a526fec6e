"""What happened, as values: every report of the library is one frozen `Event`, handed to listeners.

A listener is a plain function of one event. It is called at once, in the task in which the event happened, so
it must be quick and must not wait; it can never change an outcome, and what it raises is logged, not
propagated:

.. code-block:: python

    import trio
    from prunella.supervision import Child, Supervisor, open_supervisor
    from prunella.telemetry import Event

    def show(event: Event) -> None:
        print(event.name, dict(event.attributes))

    async def main() -> None:
        async with open_supervisor(Supervisor([Child(trio.sleep_forever)]), telemetry=[show]):
            await trio.sleep(0)

    trio.run(main)
"""

from ._events import ErrorInfo, Event, Listener
from ._listeners import Listeners

__all__ = ["ErrorInfo", "Event", "Listener", "Listeners"]
