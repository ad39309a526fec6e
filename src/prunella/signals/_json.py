from __future__ import annotations

import binascii
import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from math import isinf
from typing import Any, NoReturn

from ._attributes import time_text
from ._data import MAX_DEPTH, Unreadable, check_data, find_problem
from ._document import SPECVERSION, signal_of
from ._errors import DecodeError, PayloadTooLarge
from ._signal import Signal

__all__ = [
    "batch_from_json",
    "batch_to_json",
    "compact_encoder",
    "data_from_json",
    "data_to_json",
    "signal_from_json",
    "signal_to_json",
]

_LONGEST_INT = 20  # characters of -2**63, and of 2**64 - 1


def signal_to_json(signal: Signal, limit: int) -> bytes:
    """A signal in the JSON event format of CloudEvents 1.0."""
    # Written by hand, which takes half of the time that a dict and an encoder take: it is what each durable turn does.
    parts = [
        f'{{"specversion":"{SPECVERSION}","id":{_text(signal.id)},"source":{_text(signal.source)},'
        f'"type":{_text(signal.type)}'
    ]
    if signal.subject is not None:
        parts.append(f',"subject":{_text(signal.subject)}')
    if signal.time is not None:
        parts.append(f',"time":"{time_text(signal.time)}"')
    if signal.datacontenttype is not None:
        parts.append(f',"datacontenttype":{_text(signal.datacontenttype)}')
    if signal.dataschema is not None:
        parts.append(f',"dataschema":{_text(signal.dataschema)}')
    if signal.extensions:
        # A Map has an order of its own, which differs from process to process; the same signal shall be the
        # same bytes.
        parts += [f",{_text(name)}:{_encode(signal.extensions[name])}" for name in sorted(signal.extensions)]
    parts.append(_member(signal, limit))
    return _checked("".join(parts), limit)


def batch_to_json(signals: Iterable[Signal], limit: int) -> bytes:
    """Signals in the JSON batch format of CloudEvents 1.0."""
    events: list[bytes] = []
    size = 1
    for signal in signals:
        events.append(signal_to_json(signal, limit))
        size += len(events[-1]) + 1
        if size > limit:
            raise PayloadTooLarge(size, limit)
    document = b"[" + b",".join(events) + b"]"
    if len(document) > limit:
        raise PayloadTooLarge(len(document), limit)
    return document


def data_to_json(data: Any, limit: int) -> bytes:
    """A JSON value by itself, as the body of a message in HTTP's binary mode."""
    check_data(data, limit=limit)
    return _checked(_encode(data), limit)


def _member(signal: Signal, limit: int) -> str:
    """The member that holds the data, and the end."""
    data = signal.data
    if data is None:
        return "}"
    if isinstance(data, bytes):
        if len(data) > limit:
            raise PayloadTooLarge(len(data), limit)
        return f',"data_base64":"{b64encode(data).decode("ascii")}"}}'
    check_data(data, owner=f"Signal {signal.type!r}", limit=limit)
    return f',"data":{_encode(data)}}}'


def compact_encoder(*, default: Callable[[Any], Any] | None = None, allow_nan: bool = False) -> Callable[[Any], str]:
    """What makes compact JSON of plain data.

    `JSONEncoder.encode` makes its encoder in C anew at each call, which takes half of the time for a small value.

    Args:
        default: makes something plain of what is not.
        allow_nan: whether floats need not be finite.
    """
    make: Any = vars(json.encoder).get("c_make_encoder")
    if make is None:  # no CPython
        separators = (",", ":")
        return json.JSONEncoder(
            ensure_ascii=False, allow_nan=allow_nan, check_circular=False, separators=separators, default=default
        ).encode
    encode = make(None, default or _refuse, _text, None, ":", ",", False, False, allow_nan)
    return lambda value: "".join(encode(value, 0))


def _refuse(value: object) -> NoReturn:
    raise TypeError(f"a value of type {type(value).__name__} is no JSON value")


_text = json.encoder.encode_basestring
_encode = compact_encoder()


def _checked(text: str, limit: int) -> bytes:
    document = text.encode()
    if len(document) > limit:
        raise PayloadTooLarge(len(document), limit)
    return document


def signal_from_json(document: bytes) -> Signal:
    """The signal of a document in the JSON event format."""
    return _signal(_read(document, "", 1), "")


def batch_from_json(document: bytes) -> tuple[Signal, ...]:
    """The signals of a document in the JSON batch format."""
    events = _read(document, "", 2)
    if not isinstance(events, list):
        raise DecodeError("", f"expected a list of events, got {_kind(events)}")
    return tuple([_signal(event, f"[{index}]") for index, event in enumerate(events)])


def data_from_json(document: bytes) -> Any:
    """A JSON value that is the body of a message in HTTP's binary mode."""
    return _read(document, "data", 0)


def _signal(event: Any, path: str) -> Signal:
    if not isinstance(event, dict):
        raise DecodeError(path, f"expected an object, got {_kind(event)}")
    data = event.pop("data", None)
    encoded = event.pop("data_base64", None)
    if encoded is not None:
        where = f"{path}.data_base64" if path else "data_base64"
        if data is not None:
            raise DecodeError(where, "an event has data or data_base64, not both")
        if not isinstance(encoded, str):
            raise DecodeError(where, f"expected text in base64, got {_kind(encoded)}")
        try:
            data = binascii.a2b_base64(encoded, strict_mode=True)
        except ValueError:
            raise DecodeError(where, "expected text in base64, got text that is not") from None
    return signal_of(event, data, path)


# Reading happens at full speed first: the hooks only notice that something is not as it must be. Where it is,
# a second, slow reading finds out.


class _SuspiciousError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _SuspiciousError
    return members


def _int(text: str) -> int:
    if len(text) > _LONGEST_INT:
        raise _SuspiciousError
    number = int(text)
    if not -(2**63) <= number < 2**64:
        raise _SuspiciousError
    return number


def _float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise _SuspiciousError
    return number


def _suspicious(text: str) -> NoReturn:
    raise _SuspiciousError


_decode = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_int, parse_float=_float, parse_constant=_suspicious
).decode


def _all_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for key, value in pairs:
        members[key] = Unreadable("every key once", "this one twice") if key in members else value
    return members


def _found_int(text: str) -> Any:
    try:
        return _int(text)
    except _SuspiciousError:
        return Unreadable("an int from -2**63 to 2**64 - 1", "one beyond that")


def _found_float(text: str) -> Any:
    try:
        return _float(text)
    except _SuspiciousError:
        return Unreadable("a finite float", "a number beyond the range of floats")


def _found_constant(text: str) -> Unreadable:
    return Unreadable("a JSON value", "NaN or infinity")


_decode_slowly = json.JSONDecoder(
    object_pairs_hook=_all_pairs,
    parse_int=_found_int,
    parse_float=_found_float,
    parse_constant=_found_constant,
).decode


def _read(document: bytes, path: str, envelope: int) -> Any:
    try:
        text = document.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(path, f"expected UTF-8, got something else at byte {error.start + 1}") from None
    try:
        value = _decode(text)
        # Only an escape can bring a lone surrogate into text that was valid UTF-8.
        if b"\\u" not in document and document.count(b"[") + document.count(b"{") <= MAX_DEPTH:
            return value
    except json.JSONDecodeError as error:
        raise DecodeError(path, f"no JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise DecodeError(path, "nested too deeply") from None
    except _SuspiciousError:
        value = _reread(text, path)
    found = find_problem(value, envelope)
    if found is not None:
        where, problem = found
        raise DecodeError((path + where).removeprefix("."), problem)
    return value


def _reread(text: str, path: str) -> Any:
    # What the first reading stumbled over may stand before an error of syntax or of nesting.
    try:
        return _decode_slowly(text)
    except json.JSONDecodeError as error:
        raise DecodeError(path, f"no JSON at character {error.pos + 1}: {error.msg}") from None
    except RecursionError:
        raise DecodeError(path, "nested too deeply") from None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "text"}
    return kinds.get(type(value), "a number")
