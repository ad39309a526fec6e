from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final
from urllib.parse import quote

from ..errors import InvalidArgument
from ._codec import DEFAULT_LIMIT, checked_document, decode, encode
from ._document import attributes_of, signal_of
from ._errors import DecodeError, PayloadTooLarge
from ._json import data_from_json, data_to_json
from ._signal import Signal

__all__ = ["HTTPMode", "from_http", "to_http"]

_STRUCTURED_JSON: Final = "application/cloudevents+json"
_STRUCTURED_MSGPACK: Final = "application/cloudevents+msgpack"
_PREFIX: Final = "ce-"
_CONTENT_TYPE: Final = "content-type"

# Binary mode puts data into the body as it is and leaves it to the content type what the bytes mean. Where
# that would not give back the same data (bytes under application/json, a list without any content type), this
# header of ours says what the body is. Others ignore it.
_BODY: Final = "prunella-body"

_JSON_TYPE = re.compile(r"[^/;\s]+/(?:[^/;\s]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
_TEXT_TYPE = re.compile(r"text/[^/;\s]+\s*(?:;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
_PLAIN_TYPE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SAFE = "!#$&'()*+,/:;<=>?@[\\]^_`{|}~-."  # all of U+0021 to U+007E but the quote and the percent sign


class HTTPMode(StrEnum):
    """How a signal becomes an HTTP message: all of it in the body, or attributes in headers."""

    STRUCTURED = "structured"
    BINARY = "binary"


def to_http(signal: Signal, *, mode: str = "structured") -> tuple[dict[str, str], bytes]:
    """Headers (in lower case) and body of an HTTP message that carries a signal.

    Args:
        signal: the signal.
        mode: `"structured"`: the whole signal as JSON in the body. `"binary"`: data as the body, attributes
            as `ce-` headers; there, extension values become text.

    Raises:
        InvalidSignal, PayloadTooLarge: as `encode`.
        InvalidArgument: there is no such mode.

    Source: CloudEvents 1.0.2, HTTP Protocol Binding, sections 3.1 and 3.2.
    """
    if mode == HTTPMode.STRUCTURED:
        return {_CONTENT_TYPE: _STRUCTURED_JSON}, encode(signal)
    if mode != HTTPMode.BINARY:
        raise InvalidArgument("to_http", "mode", "'structured' or 'binary'", mode)
    attributes = attributes_of(signal)
    content_type = attributes.pop("datacontenttype", None)
    headers = {_PREFIX + name: quote(_text(value), safe=_SAFE) for name, value in attributes.items()}
    if content_type is not None:
        if _PLAIN_TYPE.fullmatch(content_type) and not _is_structured(content_type):
            headers[_CONTENT_TYPE] = content_type
        else:  # as a header it would be changed on the way, or taken for structured mode
            headers[_PREFIX + "datacontenttype"] = quote(content_type, safe=_SAFE)
    body, kind = _body_of(signal.data, content_type)
    if kind != _natural_kind(body, content_type):
        headers[_BODY] = kind
    return headers, body


def from_http(headers: Mapping[str, str], body: bytes, *, limit: int = DEFAULT_LIMIT) -> Signal:
    """The signal that an HTTP message carries; the content type tells the mode.

    Args:
        headers: with names in any case.
        body: the whole body.
        limit: so many bytes may the body have.

    Raises:
        DecodeError: the message carries no CloudEvent, or a batch (`decode_batch` reads those); `path` names
            the header, or the place in the body.
        PayloadTooLarge: the body is beyond the limit.

    Source: CloudEvents 1.0.2, HTTP Protocol Binding, section 3.
    """
    body = checked_document("from_http", body, limit)
    found = _lower_case(headers)
    content_type = found.get(_CONTENT_TYPE)
    if content_type is not None and _is_structured(content_type):
        media_type = content_type.partition(";")[0].strip().lower()
        if media_type in (_STRUCTURED_JSON, "application/cloudevents"):
            return decode(body, limit=limit)
        if media_type == _STRUCTURED_MSGPACK:
            return decode(body, format="msgpack", limit=limit)
        hint = "; decode_batch reads batches" if media_type.startswith("application/cloudevents-batch") else ""
        raise DecodeError(f"headers.{_CONTENT_TYPE}", f"expected one signal as {_STRUCTURED_JSON}, got another{hint}")
    attributes: dict[str, Any] = {
        name.removeprefix(_PREFIX): _decoded(name, value) for name, value in found.items() if name.startswith(_PREFIX)
    }
    if "specversion" not in attributes:
        raise DecodeError("headers", f"neither {_CONTENT_TYPE}: {_STRUCTURED_JSON} nor ce-specversion is there")
    if content_type is not None:
        attributes.setdefault("datacontenttype", content_type)
    kind = found.get(_BODY)
    if kind is None:
        kind = _natural_kind(body, attributes.get("datacontenttype"))
    return signal_of(attributes, _data_of(body, kind), "headers", _PREFIX)


def _lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(headers, Mapping):
        raise DecodeError("headers", f"expected a mapping, got a value of type {type(headers).__name__}")
    found: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise DecodeError("headers", "expected names and values of type str, got another")
        name = name.lower()
        if name in found and (name.startswith(_PREFIX) or name in (_CONTENT_TYPE, _BODY)):
            raise DecodeError(f"headers.{name[:100]}", "it is there twice")
        found[name] = value
    return found


def _is_structured(content_type: str) -> bool:
    return content_type.lstrip().lower().startswith("application/cloudevents")


def _body_of(data: Any, content_type: str | None) -> tuple[bytes, str]:
    """The body for data, and what it is: `none`, `bytes`, `text` or `json`."""
    if data is None:
        return b"", "none"
    if isinstance(data, bytes):
        if len(data) > DEFAULT_LIMIT:
            raise PayloadTooLarge(len(data), DEFAULT_LIMIT)
        return data, "bytes"
    if isinstance(data, str) and content_type is not None and not _JSON_TYPE.fullmatch(content_type):
        return _body_of_text(data), "text"
    return data_to_json(data, DEFAULT_LIMIT), "json"


def _body_of_text(text: str) -> bytes:
    data_to_json(text, 6 * DEFAULT_LIMIT)  # sees lone surrogates, and says where
    return _body_of(text.encode(), None)[0]


def _natural_kind(body: bytes, content_type: str | None) -> str:
    """What a receiver takes a body for that knows nothing but its content type."""
    if content_type is not None and _JSON_TYPE.fullmatch(content_type):
        return "json" if body else "none"
    if content_type is not None and _TEXT_TYPE.fullmatch(content_type):
        try:
            body.decode()
        except UnicodeDecodeError:
            return "bytes"
        return "text"
    return "bytes" if body or content_type is not None else "none"


def _data_of(body: bytes, kind: str) -> Any:
    if kind == "json":
        return data_from_json(body)
    if kind == "bytes":
        return body
    if kind == "text":
        try:
            return body.decode()
        except UnicodeDecodeError as error:
            raise DecodeError("data", f"expected UTF-8, got something else at byte {error.start + 1}") from None
    if kind == "none" and not body:
        return None
    raise DecodeError(f"headers.{_BODY}", "expected json, text, bytes, or none without a body")


def _text(value: bool | int | str) -> str:
    """An attribute as text, by the canonical string encodings of CloudEvents' type system."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _decoded(name: str, value: str) -> str:
    """The text of a header: one round of quotes is taken off, then percent signs count (section 3.1.3.2)."""
    value = value.strip(" \t")
    quoted = _QUOTED.fullmatch(value)
    if quoted is not None:
        value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL)
    try:
        return _PERCENT.sub(lambda match: bytes.fromhex(match[0].replace("%", "")).decode(), value)
    except UnicodeDecodeError:
        raise DecodeError(f"headers.{name[:100]}", "expected percent-encoded UTF-8, got other bytes") from None
