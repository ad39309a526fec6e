from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import TypeVar

from ..errors import InvalidArgument
from ._errors import DecodeError, PayloadTooLarge
from ._json import batch_from_json, batch_to_json, signal_from_json, signal_to_json
from ._msgpack import signal_from_msgpack, signal_to_msgpack
from ._signal import Signal, check_signal

__all__ = ["DEFAULT_LIMIT", "Format", "checked_document", "decode", "decode_batch", "encode", "encode_batch"]

Maker = TypeVar("Maker")

DEFAULT_LIMIT = 10_000_000


class Format(StrEnum):
    """How a signal is written: `json` as CloudEvents has it, `msgpack` smaller, for our own side."""

    JSON = "json"
    MSGPACK = "msgpack"


_WRITERS: dict[str, Callable[[Signal, int], bytes]] = {
    Format.JSON: signal_to_json,
    Format.MSGPACK: signal_to_msgpack,
}
_READERS: dict[str, Callable[[bytes], Signal]] = {
    Format.JSON: signal_from_json,
    Format.MSGPACK: signal_from_msgpack,
}


def encode(signal: Signal, *, format: str = "json", limit: int = DEFAULT_LIMIT) -> bytes:
    """A signal as bytes: `decode` gives back one that is equal, for every signal whose data has no tuples.

    Args:
        signal: the signal.
        format: `"json"`, the JSON event format of CloudEvents 1.0 (`application/cloudevents+json`), or
            `"msgpack"`, a map of the same attributes (needs the extra `prunella[msgpack]`).
        limit: so many bytes may the document have.

    Raises:
        InvalidSignal: data is neither a JSON value nor `bytes`; `field` says where.
        PayloadTooLarge: the document is beyond the limit.
        InvalidArgument: there is no such format, or what shall be written is no signal.
    """
    writer = _of_format("encode", _WRITERS, format)
    return writer(check_signal("encode", signal), _checked_limit("encode", limit))


def decode(document: bytes, *, format: str = "json", limit: int = DEFAULT_LIMIT) -> Signal:
    """The signal that a document holds. Nothing in it is ever executed, and what is absent stays absent.

    Attributes that CloudEvents does not name become extensions. Of a `time` the digits beyond microseconds
    are cut; nothing else is lost.

    Args:
        document: the bytes.
        format: as of `encode`.
        limit: so many bytes may the document have.

    Raises:
        DecodeError: the document is no CloudEvent of version 1.0; `path` says where.
        PayloadTooLarge: it is beyond the limit; it is not even read.
        InvalidArgument: there is no such format.
    """
    reader = _of_format("decode", _READERS, format)
    return reader(checked_document("decode", document, limit))


def encode_batch(signals: Iterable[Signal], *, limit: int = DEFAULT_LIMIT) -> bytes:
    """Signals as one document in the JSON batch format (`application/cloudevents-batch+json`).

    Args:
        signals: the signals; none is right too.
        limit: so many bytes may the whole document have.

    Raises:
        InvalidSignal, PayloadTooLarge, InvalidArgument: as `encode`.
    """
    if not isinstance(signals, Iterable):  # not all of them at once: beyond the limit no more are asked for
        raise InvalidArgument("encode_batch", "signals", "an iterable of signals", signals)
    return batch_to_json(
        (check_signal("encode_batch", signal) for signal in signals), _checked_limit("encode_batch", limit)
    )


def decode_batch(document: bytes, *, limit: int = DEFAULT_LIMIT) -> tuple[Signal, ...]:
    """The signals of a document in the JSON batch format, in their order.

    Raises:
        DecodeError: one of them is no CloudEvent; its path begins with its place, `[2].time`.
        PayloadTooLarge: the document is beyond the limit.
    """
    return batch_from_json(checked_document("decode_batch", document, limit))


def checked_document(owner: str, document: object, limit: int) -> bytes:
    """The bytes of a document that is not too large."""
    limit = _checked_limit(owner, limit)
    if not isinstance(document, (bytes, bytearray, memoryview)):
        raise DecodeError("", f"expected bytes, got a value of type {type(document).__name__}")
    size = document.nbytes if isinstance(document, memoryview) else len(document)
    if size > limit:
        raise PayloadTooLarge(size, limit)
    return bytes(document)


def _checked_limit(owner: str, limit: object) -> int:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise InvalidArgument(owner, "limit", "a number of bytes", limit)
    return limit


def _of_format(owner: str, makers: dict[str, Maker], format: object) -> Maker:
    maker = makers.get(format) if isinstance(format, str) else None
    if maker is None:
        raise InvalidArgument(owner, "format", "'json' or 'msgpack'", format)
    return maker
