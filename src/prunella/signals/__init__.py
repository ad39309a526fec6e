"""Signals: everything an agent hears is one. They are CloudEvents 1.0, as values.

A signal says what happened, where, and to what; id and time are filled in. It is checked when it is made and
never changes:

.. code-block:: python

    from prunella.signals import Signal

    signal = Signal("ticket.opened", {"ticket": "T-1"}, source="/web", subject="T-1")

`encode` and `decode` take it out of the process and in again without loss, as JSON or MessagePack; `to_http`
and `from_http` make an HTTP message of it. What comes from outside and is no signal raises a `SignalError`
that says where:

.. code-block:: python

    from prunella.signals import DecodeError, decode, encode, from_http, to_http

    assert decode(encode(signal)) == signal
    assert from_http(*to_http(signal, mode="binary")) == signal

    try:
        decode(b'{"specversion": "1.0", "type": "ticket.opened", "source": "/web"}')
    except DecodeError as error:
        assert error.path == "id"

A `Router` finds the targets of a signal. In patterns `*` is one segment, `**` any number:

.. code-block:: python

    from prunella.signals import Route, Router

    router = Router([Route("ticket.*", "desk"), Route("**", "audit", priority=-10)])
    assert router.route(signal) == ("desk", "audit")

A `SignalType` says what the data of one type of signal must be:

.. code-block:: python

    from prunella.signals import SignalType

    class TicketOpened(SignalType, type="ticket.opened"):
        ticket: str
        priority: int = 0

    assert TicketOpened.from_signal(signal) == TicketOpened(ticket="T-1")

`Trace` tells, by W3C trace context, which signal came of which:

.. code-block:: python

    from prunella.signals import Trace

    first = Trace.root().on(signal)
    second = Trace.of(first).child().on(Signal("ticket.assigned"), cause=first)

Nothing here waits, connects, or keeps state, but for the counter that makes ids increase.
"""

from ._codec import Format, decode, decode_batch, encode, encode_batch
from ._data import check_data
from ._errors import DecodeError, InvalidPattern, InvalidSignal, PayloadTooLarge, SignalError
from ._http import HTTPMode, from_http, to_http
from ._identity import new_id, new_ids, time_of_id
from ._router import Route, Router, matches
from ._signal import Signal
from ._trace import Trace
from ._typed import SignalType, type_of

__all__ = [
    "DecodeError",
    "Format",
    "HTTPMode",
    "InvalidPattern",
    "InvalidSignal",
    "PayloadTooLarge",
    "Route",
    "Router",
    "Signal",
    "SignalError",
    "SignalType",
    "Trace",
    "check_data",
    "decode",
    "decode_batch",
    "encode",
    "encode_batch",
    "from_http",
    "matches",
    "new_id",
    "new_ids",
    "time_of_id",
    "to_http",
    "type_of",
]
