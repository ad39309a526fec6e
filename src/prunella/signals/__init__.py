"""Signals: everything an agent hears is one."""

from ._codec import Format, decode, decode_batch, encode, encode_batch
from ._data import check_data
from ._errors import DecodeError, InvalidPattern, InvalidSignal, PayloadTooLarge, SignalError
from ._http import HTTPMode, from_http, to_http
from ._identity import new_id, new_ids, time_of_id
from ._signal import Signal

__all__ = [
    "DecodeError",
    "Format",
    "HTTPMode",
    "InvalidPattern",
    "InvalidSignal",
    "PayloadTooLarge",
    "Signal",
    "SignalError",
    "check_data",
    "decode",
    "decode_batch",
    "encode",
    "encode_batch",
    "from_http",
    "new_id",
    "new_ids",
    "time_of_id",
    "to_http",
]
