"""Signals: everything an agent hears is one."""

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
