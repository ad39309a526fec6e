"""Dispatch: signals out to where they go.

A *target* is a frozen value that says where: a function, a channel, a name, a log, an HTTP endpoint. Functions,
send channels and refs of agents stand for themselves, and so does every object with a method ``async deliver(signal)``.
A *dispatcher* delivers, in the task of its caller:

.. code-block:: python

    import trio
    from prunella import Signal
    from prunella.dispatch import DispatchError, open_dispatcher

    async def main():
        send, receive = trio.open_memory_channel(10)
        signal = Signal("ticket.opened", {"ticket": "T-1"})

        async with open_dispatcher() as dispatcher:
            await dispatcher.dispatch(signal, send)                     # returns when it has arrived
            assert await receive.receive() == signal

            def broken(signal):
                raise ValueError("no ticket for you")

            try:
                await dispatcher.dispatch(signal, broken)               # ... and raises when it has not
            except DispatchError as error:
                assert error.reason == "raised" and isinstance(error.__cause__, ValueError)

            results = await dispatcher.dispatch_all(signal, [send, broken])
            assert [result.ok for result in results] == [True, False]   # one result a target, in their order

    trio.run(main)

Signals to equal targets arrive in the order of the calls; other targets never wait for them. Deadlines are those of the
caller's cancel scopes. `HTTPTarget` and `WebhookTarget` (extra ``prunella[http]``) are tried again where that can help,
and have one `CircuitBreaker` for each origin; `verify` is the other end of a webhook.
"""

from ._breaker import CircuitBreaker, CircuitState
from ._dispatcher import Dispatcher, DispatchResult, deliver, open_dispatcher
from ._errors import DispatchError, DispatchTimeout, InvalidSignature, MissingExtra, Reason
from ._events import (
    AttemptFailed,
    CircuitChanged,
    DispatchEvent,
    DispatchFailed,
    DispatchStarted,
    DispatchStopped,
)
from ._http_targets import HTTPMethod, HTTPTarget, WebhookTarget
from ._signature import verify
from ._targets import (
    ChannelTarget,
    ConsoleTarget,
    Destination,
    FunctionTarget,
    LoggerTarget,
    LogLevel,
    NamedTarget,
    NoopTarget,
    Target,
)

__all__ = [
    "AttemptFailed",
    "ChannelTarget",
    "CircuitBreaker",
    "CircuitChanged",
    "CircuitState",
    "ConsoleTarget",
    "Destination",
    "DispatchError",
    "DispatchEvent",
    "DispatchFailed",
    "DispatchResult",
    "DispatchStarted",
    "DispatchStopped",
    "DispatchTimeout",
    "Dispatcher",
    "FunctionTarget",
    "HTTPMethod",
    "HTTPTarget",
    "InvalidSignature",
    "LogLevel",
    "LoggerTarget",
    "MissingExtra",
    "NamedTarget",
    "NoopTarget",
    "Reason",
    "Target",
    "WebhookTarget",
    "deliver",
    "open_dispatcher",
    "verify",
]
