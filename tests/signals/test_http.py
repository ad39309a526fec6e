"""A signal as an HTTP message, in both modes of CloudEvents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunella.errors import InvalidArgument
from prunella.signals import (
    DecodeError,
    InvalidSignal,
    PayloadTooLarge,
    Signal,
    SignalError,
    encode,
    encode_batch,
    from_http,
    to_http,
)

from .strategies import attribute_texts, signals

MINIMAL = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "a"}


def refused(headers: dict[str, Any], body: bytes = b"") -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        from_http(headers, body)
    return caught.value


@given(signals())
@settings(max_examples=100, deadline=None)
def test_every_signal_comes_back_equal_in_structured_mode(signal: Signal) -> None:
    headers, body = to_http(signal)

    assert headers == {"content-type": "application/cloudevents+json"}
    assert from_http(headers, body) == signal


@given(signals(extension_values=attribute_texts))
@settings(max_examples=300, deadline=None)
def test_every_signal_with_extensions_of_text_comes_back_equal_in_binary_mode(signal: Signal) -> None:
    headers, body = to_http(signal, mode="binary")
    again = from_http({name.upper(): value for name, value in headers.items()}, body)

    assert again == signal
    assert type(again.data) is type(signal.data)
    for value in headers.values():
        assert value.isascii()
        assert value.isprintable()
        assert value == value.strip()


def test_binary_mode_puts_attributes_into_headers_and_data_into_the_body() -> None:
    signal = Signal("a b", {"n": 1}, id="1", time=None, subject='50% "ü"€', extensions={"x": 3, "y": True})
    headers, body = to_http(signal, mode="binary")

    assert headers == {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/",
        "ce-type": "a%20b",
        "ce-subject": "50%25%20%22%C3%BC%22%E2%82%AC",
        "ce-x": "3",
        "ce-y": "true",
        "content-type": "application/json",
    }
    assert json.loads(body) == {"n": 1}
    assert from_http(headers, body).extensions == {"x": "3", "y": "true"}


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/json; charset=utf-8", b"[]", []),
        ("Application/Problem+JSON", b'"x"', "x"),
        ("text/plain", "ü".encode(), "ü"),
        ("text/plain", b"\xff", b"\xff"),
        ("text/plain; charset=latin-1", b"\xfc", b"\xfc"),
        ("application/octet-stream", b"x", b"x"),
        ("application/json", b"", None),
        (None, b"", None),
        (None, b"x", b"x"),
    ],
)
def test_the_content_type_of_another_sender_tells_what_the_body_is(
    content_type: str | None, body: bytes, data: Any
) -> None:
    headers = MINIMAL if content_type is None else {**MINIMAL, "Content-Type": content_type}
    signal = from_http(headers, body)

    assert signal.data == data
    assert signal.datacontenttype == content_type


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"quoted \\" and \\\\"', 'quoted " and \\'),
        ("%C3%BC%2525", "ü%25"),
        ("100%", "100%"),
        ("%zz", "%zz"),
        ("  padded  ", "padded"),
        ('"', '"'),
    ],
)
def test_headers_of_other_senders_are_unquoted_and_decoded_once(value: str, text: str) -> None:
    assert from_http({**MINIMAL, "ce-subject": value}, b"").subject == text


@pytest.mark.parametrize("content_type", ["application/cloudevents+json", " padded", "ünusual", "a\u2003b"])
def test_a_content_type_that_a_header_would_change_travels_beside_it(content_type: str) -> None:
    signal = Signal("a", {"b": 1}, datacontenttype=content_type)
    headers, body = to_http(signal, mode="binary")

    assert "content-type" not in headers
    assert from_http(headers, body) == signal


def test_structured_mode_is_known_by_its_content_type_in_any_case() -> None:
    signal = Signal("a", {"b": 1})

    for content_type in (
        "Application/CloudEvents+JSON; charset=UTF-8",
        " application/cloudevents+json",
        "application/cloudevents",
    ):
        assert from_http({"CONTENT-TYPE": content_type, "ce-id": "ignored"}, encode(signal)) == signal
    assert from_http({"content-type": "application/cloudevents+msgpack"}, encode(signal, format="msgpack")) == signal


@pytest.mark.parametrize(
    ("headers", "body", "path"),
    [
        ({}, b"{}", "headers"),
        ({"content-type": "application/json"}, b"{}", "headers"),
        ({"content-type": "application/cloudevents+xml"}, b"", "headers.content-type"),
        ({"content-type": "application/cloudevents+json"}, b"[]", ""),
        ({"content-type": "application/cloudevents+json"}, b"{}", "specversion"),
        ({**MINIMAL, "ce-specversion": "0.3"}, b"", "headers.ce-specversion"),
        ({**MINIMAL, "ce-id": ""}, b"", "headers.ce-id"),
        ({**MINIMAL, "ce-time": "noon"}, b"", "headers.ce-time"),
        ({**MINIMAL, "ce-subject": "%00"}, b"", "headers.ce-subject"),
        ({**MINIMAL, "ce-subject": "%ff"}, b"", "headers.ce-subject"),
        ({**MINIMAL, "ce-a_b": "x"}, b"", "headers.ce-a_b"),
        ({**MINIMAL, "ce-data": "x"}, b"", "headers.ce-data"),
        ({**MINIMAL, "CE-ID": "2"}, b"", "headers.ce-id"),
        ({**MINIMAL, "content-type": "application/json"}, b"{", "data"),
        ({**MINIMAL, "content-type": "application/json"}, b'{"a": [NaN]}', "data.a[0]"),
        ({**MINIMAL, "prunella-body": "pickle"}, b"x", "headers.prunella-body"),
        ({**MINIMAL, "prunella-body": "none"}, b"x", "headers.prunella-body"),
        ({**MINIMAL, "prunella-body": "text"}, b"\xff", "data"),
        ({**MINIMAL, "ce-x": 5}, b"", "headers"),
    ],
)
def test_a_message_that_carries_no_signal_is_refused_with_its_place(
    headers: dict[str, Any], body: bytes, path: str
) -> None:
    assert refused(headers, body).path == path


def test_headers_that_are_no_mapping_are_refused() -> None:
    for headers in (None, [("ce-id", "1")], "ce-id: 1"):
        assert refused(headers).path == "headers"  # type: ignore[arg-type]


def test_a_missing_header_is_named() -> None:
    for name in ("ce-id", "ce-source", "ce-type"):
        headers = {key: value for key, value in MINIMAL.items() if key != name}
        assert refused(headers).path == f"headers.{name}"


def test_a_batch_is_refused_with_a_hint() -> None:
    body = encode_batch([Signal("a")])

    assert "decode_batch" in str(refused({"content-type": "application/cloudevents-batch+json"}, body))


def test_limits_and_modes_are_checked() -> None:
    with pytest.raises(InvalidArgument):
        to_http(Signal("a"), mode="batch")
    with pytest.raises(PayloadTooLarge):
        from_http(MINIMAL, b"x" * 11, limit=10)
    with pytest.raises(PayloadTooLarge):
        to_http(Signal("a", b"x" * 10_000_001), mode="binary")
    with pytest.raises(PayloadTooLarge):
        to_http(Signal("a", "x" * 10_000_001, datacontenttype="text/plain"), mode="binary")
    with pytest.raises(InvalidSignal):
        to_http(Signal("a", "\ud800", datacontenttype="text/plain"), mode="binary")
    with pytest.raises(InvalidSignal):
        to_http(Signal("a", object()), mode="binary")


@given(
    st.dictionaries(
        st.sampled_from([*MINIMAL, "ce-time", "ce-x", "Content-Type", "prunella-body"]) | st.text(max_size=6),
        st.sampled_from(["1.0", "application/json", "text/plain", "application/cloudevents+json", "json", "text"])
        | st.text(st.characters(exclude_categories=()), max_size=10),
    ),
    st.booleans(),
    st.binary(max_size=30),
)
@settings(max_examples=300, deadline=None)
def test_any_message_is_a_signal_or_a_signal_error(headers: dict[str, str], full: bool, body: bytes) -> None:
    try:
        from_http(MINIMAL | headers if full else headers, body)
    except SignalError:
        pass
