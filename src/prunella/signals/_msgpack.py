from __future__ import annotations

from types import ModuleType
from typing import Any

from ..errors import InvalidArgument
from ._data import MAX_DEPTH, Unreadable, check_data, find_problem
from ._document import attributes_of, signal_of
from ._errors import DecodeError, PayloadTooLarge
from ._signal import Signal

__all__ = ["signal_from_msgpack", "signal_to_msgpack"]

_ENVELOPE = 1  # the levels around data


def signal_to_msgpack(signal: Signal, limit: int) -> bytes:
    """A signal as a map of its attributes; data and bytes as MessagePack has them."""
    data = signal.data
    if isinstance(data, bytes):
        if len(data) > limit:
            raise PayloadTooLarge(len(data), limit)
    else:
        check_data(data, owner=f"Signal {signal.type!r}", limit=limit)
    event = attributes_of(signal)
    if data is not None:
        event["data"] = data
    document: bytes = _msgpack().packb(event, use_bin_type=True)
    if len(document) > limit:
        raise PayloadTooLarge(len(document), limit)
    return document


def signal_from_msgpack(document: bytes) -> Signal:
    """The signal of such a map.

    Raises:
        DecodeError: it is none.
    """
    msgpack = _msgpack()
    _check_structure(document)
    try:
        event = msgpack.unpackb(
            document,
            raw=False,
            strict_map_key=True,
            object_pairs_hook=_all_pairs,
            ext_hook=_refuse_extension,
            timestamp=0,
        )
    except (ValueError, msgpack.UnpackException, RecursionError, OverflowError):
        raise DecodeError("", "it is no complete MessagePack with text in UTF-8 and keys of text") from None
    if not isinstance(event, dict):
        raise DecodeError("", f"expected a map, got a value of type {type(event).__name__}")
    data = event.pop("data", None)
    for part, where in ((event, ""), (None if isinstance(data, bytes) else data, "data")):
        found = find_problem(part, _ENVELOPE if part is event else 0)
        if found is not None:
            path, problem = found
            raise DecodeError((where + path).removeprefix("."), problem)
    return signal_of(event, data, "")


def _all_pairs(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    members: dict[Any, Any] = {}
    for key, value in pairs:
        members[key] = Unreadable("every key once", "this one twice") if key in members else value
    return members


def _refuse_extension(code: int, data: bytes) -> Unreadable:
    return Unreadable("a JSON value", f"the extension type {code}")


# The sizes of what has a length of its own: header byte -> (bytes of the length, bytes before the content).
_SIZED = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0),  # bin
    0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1),  # ext
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),  # str
}  # fmt: skip
_FIXED = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8,
    0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
_CONTAINERS = {
    0xDC: (2, 1),
    0xDD: (4, 1),
    0xDE: (2, 2),
    0xDF: (4, 2),
}  # (bytes of the count, values per item)


def _check_structure(document: bytes) -> None:
    """Refuses containers that announce more than can follow, and nesting without end.

    The unpacker reserves what a container announces before it has seen it: five bytes can ask for gigabytes,
    and containers in containers for that much each. Small containers cannot, so a document without any other
    is not looked at.
    """
    if not any(header in document for header in (b"\xdc", b"\xdd", b"\xde", b"\xdf")):
        return
    end = len(document)
    at = 0
    pending = [1]  # values still to come, per open container
    announced = 1  # all of them
    while pending:
        if pending[-1] == 0:
            pending.pop()
            continue
        if at >= end or announced > end - at:
            raise DecodeError("", "it ends too early")
        pending[-1] -= 1
        announced -= 1
        header = document[at]
        at += 1
        if 0x80 <= header <= 0x9F or 0xDC <= header <= 0xDF:
            if header >= 0xDC:
                width, per_item = _CONTAINERS[header]
                count = int.from_bytes(document[at : at + width], "big") * per_item
                at += width
            else:
                count = (header & 0x0F) * (2 if header <= 0x8F else 1)
            if len(pending) > MAX_DEPTH + _ENVELOPE + 1:
                raise DecodeError("", "nested too deeply")
            pending.append(count)
            announced += count
        elif 0xA0 <= header <= 0xBF:
            at += header & 0x1F
        elif header in _SIZED:
            width, before = _SIZED[header]
            at += width + before + int.from_bytes(document[at : at + width], "big")
        elif header in _FIXED:
            at += _FIXED[header]
        # What is left is a small int in its header, or the one byte without meaning, which the unpacker
        # refuses.


def _msgpack() -> ModuleType:
    try:
        import msgpack  # type: ignore[import-untyped]
    except ImportError:
        raise InvalidArgument(
            "encode and decode", "format", "'json' unless prunella[msgpack] is installed", "msgpack"
        ) from None
    module: ModuleType = msgpack
    return module
