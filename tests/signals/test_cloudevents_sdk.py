"""The official SDK of CloudEvents reads what we write, and we read what it writes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_binary_event,
    from_structured_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from prunella.signals import Signal, decode, encode, from_http, to_http

NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)
PAYLOADS: list[Any] = [
    None,
    {"ticket": "T-1", "list": [1, 2.5, None, True, "ü€\U0001f600"]},
    {},
    b"\x00\xff",
]


def signal_with(data: Any) -> Signal:
    return Signal(
        "ticket.opened",
        data,
        id="T 1%\"ü'",
        source="https://example.org/desk?a=b",
        subject="späť",
        time=NOON,
        dataschema="https://example.org/schema",
        datacontenttype="application/octet-stream" if isinstance(data, bytes) else "application/json",
        extensions={"traceparent": "00-aa-bb-01", "x1": "50 %"},
    )


def event_with(data: Any) -> CloudEvent:
    signal = signal_with(data)
    return CloudEvent(
        {
            "type": signal.type,
            "id": signal.id,
            "source": signal.source,
            "subject": signal.subject,
            "time": NOON,
            "dataschema": signal.dataschema,
            "datacontenttype": signal.datacontenttype,
            **signal.extensions,
        },
        data,
    )


def check(event: Any, signal: Signal) -> None:
    assert event.get_type() == signal.type
    assert event.get_id() == signal.id
    assert event.get_source() == signal.source
    assert event.get_subject() == signal.subject
    assert event.get_time() == signal.time
    assert event.get_dataschema() == signal.dataschema
    assert event.get_datacontenttype() == signal.datacontenttype
    assert event.get_specversion() == "1.0"
    for name, value in signal.extensions.items():
        assert event.get_extension(name) == value
    assert event.get_data() == signal.data


@pytest.mark.parametrize("data", PAYLOADS)
class TestBothDirections:
    def test_json(self, data: Any) -> None:
        check(JSONFormat().read(None, encode(signal_with(data))), signal_with(data))
        assert decode(JSONFormat().write(event_with(data))) == signal_with(data)

    def test_structured_mode(self, data: Any) -> None:
        check(from_structured_event(HTTPMessage(*to_http(signal_with(data)))), signal_with(data))
        message = to_structured_event(event_with(data))
        assert from_http(message.headers, message.body) == signal_with(data)

    def test_binary_mode(self, data: Any) -> None:
        headers, body = to_http(signal_with(data), mode="binary")
        check(from_binary_event(HTTPMessage(headers, body)), signal_with(data))
        message = to_binary_event(event_with(data))
        assert from_http(message.headers, message.body) == signal_with(data)


def test_text_is_text_to_both() -> None:
    signal = Signal("a", "grüß dich", datacontenttype="text/plain", id="1", time=NOON)
    headers, body = to_http(signal, mode="binary")

    check(from_binary_event(HTTPMessage(headers, body)), signal)
    check(JSONFormat().read(None, encode(signal)), signal)
