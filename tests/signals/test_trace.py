"""Where a signal stands in a trace, by W3C Trace Context."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella.signals import DecodeError, InvalidSignal, Signal, SignalError, Trace, decode, encode

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TEXT = f"00-{TRACE}-{SPAN}-01"


def test_a_root_is_new_sampled_and_has_no_parent() -> None:
    one, other = Trace.root(), Trace.root()

    assert one.trace_id != other.trace_id
    assert (one.parent_span_id, one.flags) == (None, 1)
    assert Trace.from_traceparent(one.traceparent) == one


def test_a_child_is_a_new_span_of_the_same_trace() -> None:
    root = Trace(TRACE, SPAN, flags=0, tracestate="vendor=1")
    child = root.child()

    assert (child.trace_id, child.parent_span_id, child.flags) == (TRACE, SPAN, 0)
    assert child.span_id not in (SPAN, root.child().span_id)
    assert child.tracestate == "vendor=1"


@pytest.mark.parametrize("flags", range(0, 256, 17))
def test_flags_are_kept(flags: int) -> None:
    text = f"00-{TRACE}-{SPAN}-{flags:02x}"

    assert Trace.from_traceparent(text).flags == flags
    assert Trace.from_traceparent(text).traceparent == text


@pytest.mark.parametrize(
    "text", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", f"fe-{TRACE}-{SPAN}-01-"]
)
def test_a_newer_version_is_read_as_far_as_ours_goes(text: str) -> None:
    assert Trace.from_traceparent(text) == Trace(TRACE, SPAN)


FORBIDDEN: list[Any] = [
    "",
    "00",
    TEXT.upper(),
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"00-{TRACE}-{SPAN}-01-more",
    f"00-{TRACE}-{SPAN}-01-",
    f"00-{TRACE}-{SPAN}-1",
    f"00-{TRACE}-{SPAN}",
    f"00-{TRACE[:-1]}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}0-01",
    f"0-{TRACE}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}-0g",
    f"01-{TRACE}-{SPAN}-01more",
    f" {TEXT}",
    f"{TEXT}\n",
    f"00_{TRACE}_{SPAN}_01",
    f"01-{TRACE}-{SPAN}-01-" + "x" * 1000,
    None,
    5,
    b"00",
]


@pytest.mark.parametrize("text", FORBIDDEN)
def test_what_w3c_forbids_is_refused_when_parsed_and_absent_in_a_signal(text: Any) -> None:
    with pytest.raises(SignalError) as caught:
        Trace.from_traceparent(text)
    assert isinstance(caught.value, DecodeError)
    if isinstance(text, str) and text and "\n" not in text:
        assert Trace.of(Signal("a", extensions={"traceparent": text})) is None


@given(st.text(max_size=60))
def test_any_text_is_a_trace_or_refused(text: str) -> None:
    try:
        Trace.from_traceparent(text)
    except SignalError:
        pass


@pytest.mark.parametrize(
    "arguments",
    [
        {"trace_id": "0" * 32},
        {"trace_id": TRACE.upper()},
        {"trace_id": 5},
        {"span_id": "0" * 16},
        {"span_id": SPAN + "\n"},
        {"parent_span_id": "x"},
        {"flags": 256},
        {"flags": -1},
        {"flags": True},
        {"tracestate": ""},
        {"tracestate": 5},
    ],
)
def test_a_trace_is_checked_where_it_is_made(arguments: dict[str, Any]) -> None:
    (field,) = arguments

    with pytest.raises(InvalidSignal) as caught:
        Trace(**({"trace_id": TRACE, "span_id": SPAN} | arguments))

    assert caught.value.field == field


def test_a_trace_travels_in_the_extensions_without_its_parent() -> None:
    cause = Signal("a", id="cause")
    trace = Trace(TRACE, SPAN, "1" * 16, 3, "vendor=1")
    signal = decode(encode(trace.on(Signal("b", {"n": 1}, extensions={"x": 1}), cause)))

    assert signal.extensions == {
        "x": 1,
        "traceparent": f"00-{TRACE}-{SPAN}-03",
        "tracestate": "vendor=1",
        "causationid": "cause",
    }
    assert Trace.of(signal) == Trace(TRACE, SPAN, None, 3, "vendor=1")


def test_a_trace_put_on_a_signal_replaces_the_one_before_and_nothing_else() -> None:
    signal = Signal("b", {"n": 1}, subject="s")
    marked = Trace(TRACE, SPAN, tracestate="vendor=1").on(signal, "cause")
    other = Trace.root()
    remarked = other.on(marked)

    assert (remarked.id, remarked.time, remarked.data, remarked.subject) == (
        signal.id,
        signal.time,
        signal.data,
        "s",
    )
    assert remarked.extensions == {"traceparent": other.traceparent, "causationid": "cause"}


def test_a_signal_without_trace_has_none() -> None:
    assert Trace.of(Signal("a")) is None
    assert Trace.of(Signal("a", extensions={"traceparent": 5})) is None
