from __future__ import annotations

from types import ModuleType
from typing import Any

from ..errors import InvalidArgument
from ._data import Unreadable, check_data, find_problem
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


def _msgpack() -> ModuleType:
    try:
        import msgpack  # type: ignore[import-untyped]  # it has no stubs
    except ImportError:
        raise InvalidArgument(
            "encode and decode", "format", "'json' unless prunella[msgpack] is installed", "msgpack"
        ) from None
    module: ModuleType = msgpack
    return module
