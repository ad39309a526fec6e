"""A signal is a checked, frozen value."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given

from prunella.errors import InvalidArgument, PrunellaError
from prunella.signals import InvalidSignal, Signal, SignalError, time_of_id

from .strategies import signals

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_what_is_left_out_is_filled_in() -> None:
    before = datetime.now(UTC)
    signal = Signal("ticket.opened", {"ticket": "T-1"})
    after = datetime.now(UTC)

    assert signal.source == "/"
    assert signal.datacontenttype == "application/json"
    assert signal.time is not None
    assert before - timedelta(milliseconds=1) <= signal.time <= after
    assert before - timedelta(milliseconds=2) <= time_of_id(signal.id) <= after + timedelta(milliseconds=2)
    assert (signal.subject, signal.dataschema, dict(signal.extensions)) == (None, None, {})


def test_id_and_time_are_those_of_the_making_whenever_somebody_asks() -> None:
    signals = [Signal("a") for _ in range(100)]
    ids_asked_for_backwards = [signal.id for signal in reversed(signals)]
    times = [signal.time for signal in reversed(signals)]

    assert ids_asked_for_backwards == sorted(ids_asked_for_backwards, reverse=True)
    assert times == sorted(times, reverse=True)  # type: ignore[type-var]
    assert signals[0].id is signals[0].id


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (None, None),
        ({}, "application/json"),
        ("", "application/json"),
        (0, "application/json"),
        (False, "application/json"),
        ([], "application/json"),
        (b"", None),
        (b"\x00", None),
    ],
)
def test_the_content_type_is_json_for_json_data_only(data: object, content_type: str | None) -> None:
    assert Signal("a", data).datacontenttype == content_type


def test_time_and_content_type_given_as_none_are_absent() -> None:
    signal = Signal("a", {"b": 1}, time=None, datacontenttype=None)

    assert (signal.time, signal.datacontenttype) == (None, None)


def test_a_time_is_turned_to_utc() -> None:
    signal = Signal("a", time=datetime(2026, 1, 31, 14, tzinfo=timezone(timedelta(hours=2))))

    assert signal.time == NOON
    assert signal.time is not None
    assert signal.time.tzinfo is UTC


TEXTS_THAT_ARE_NONE: list[Any] = ["", "a\x00", "a\nb", "\x7f", "\x85", "\ud800", "\udfff a", 5, b"a", ["a"]]


@pytest.mark.parametrize("field", ["type", "source", "id", "subject", "datacontenttype", "dataschema"])
@pytest.mark.parametrize("text", TEXTS_THAT_ARE_NONE)
def test_a_text_attribute_is_refused_that_is_no_clean_text(field: str, text: Any) -> None:
    arguments: dict[str, Any] = {"type": "a", field: text}

    with pytest.raises(InvalidSignal) as caught:
        Signal(**arguments)

    assert caught.value.field == field
    assert isinstance(caught.value, (SignalError, InvalidArgument, PrunellaError, ValueError))


@pytest.mark.parametrize("field", ["type", "source", "id"])
def test_a_required_attribute_cannot_be_none(field: str) -> None:
    arguments: dict[str, Any] = {"type": "a", field: None}

    with pytest.raises(InvalidSignal) as caught:
        Signal(**arguments)

    assert caught.value.field == field


@pytest.mark.parametrize("text", [" ", "ticket", "..", "*", "Ü x", "\u00a0", "\u2028", "\ufffe", "\U0001f600", "\xad"])
def test_a_type_is_any_text_without_control_characters_and_lone_surrogates(text: str) -> None:
    assert Signal(text, source=text, subject=text).type == text


@pytest.mark.parametrize(
    "time",
    [
        datetime(2026, 1, 1),
        "2026-01-01T00:00:00Z",
        1.0,
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1))),
        datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2))),
    ],
)
def test_a_time_without_zone_or_beyond_the_calendar_is_refused(time: Any) -> None:
    with pytest.raises(InvalidSignal) as caught:
        Signal("a", time=time)

    assert caught.value.field == "time"


@pytest.mark.parametrize("name", ["", "A", "a_b", "a-b", "ä", "a b", "time", "specversion", "data", 5, None, "a\n"])
def test_an_extension_is_refused_whose_name_is_none(name: Any) -> None:
    with pytest.raises(InvalidSignal):
        Signal("a", extensions={name: "x"})


@pytest.mark.parametrize("value", ["", None, 1.0, 2**31, -(2**31) - 1, b"x", [], {}, "\ud800", "a\x00b"])
def test_an_extension_is_refused_whose_value_is_none(value: Any) -> None:
    with pytest.raises(InvalidSignal) as caught:
        Signal("a", extensions={"x": value})

    assert caught.value.field == "extensions.x"


@pytest.mark.parametrize("value", [True, False, 2**31 - 1, -(2**31), "x", " "])
def test_bools_small_ints_and_texts_are_extensions(value: Any) -> None:
    assert Signal("a", extensions={"x1": value}).extensions == {"x1": value}


def test_extensions_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(InvalidSignal):
        Signal("a", extensions=[("x", "y")])  # type: ignore[arg-type]


def test_a_string_enumeration_becomes_its_plain_text() -> None:
    class Kind(StrEnum):
        OPENED = "ticket.opened"

    assert type(Signal(Kind.OPENED).type) is str


def test_an_unknown_or_missing_keyword_is_pythons_own_error() -> None:
    with pytest.raises(TypeError):
        Signal()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Signal("a", extension={})  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["type", "data", "id", "time", "extensions", "_id", "anything"])
def test_a_signal_does_not_change(name: str) -> None:
    signal = Signal("a", {"b": 1})

    with pytest.raises(AttributeError):
        setattr(signal, name, "x")
    with pytest.raises(AttributeError):
        delattr(signal, name)
    assert (signal.type, signal.data) == ("a", {"b": 1})


def test_the_extensions_do_not_change_with_the_mapping_they_came_in() -> None:
    extensions = {"x": "1"}
    signal = Signal("a", extensions=extensions)
    extensions["x"] = "2"

    assert signal.extensions == {"x": "1"}
    with pytest.raises(TypeError):
        signal.extensions["x"] = "3"  # type: ignore[index]


@pytest.mark.parametrize(
    "change",
    [
        {"type": "b"},
        {"source": "/other"},
        {"id": "2"},
        {"time": None},
        {"subject": "s"},
        {"datacontenttype": None},
        {"dataschema": "d"},
        {"data": {"n": 2}},
        {"extensions": {"x": 2}},
    ],
)
def test_signals_are_equal_only_if_every_attribute_is(change: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"type": "a", "data": {"n": 1}, "id": "1", "time": NOON, "extensions": {"x": 1}}

    assert Signal(**arguments) == Signal(**arguments)
    assert Signal(**arguments) != Signal(**(arguments | change))
    assert Signal(**arguments).__replace__(**change) == Signal(**(arguments | change))
    assert Signal(**arguments) != "a"


def test_the_hash_is_that_of_source_and_id() -> None:
    assert hash(Signal("a", {}, id="1", source="/s")) == hash(("/s", "1"))


def test_a_replaced_signal_keeps_its_id_and_time() -> None:
    signal = Signal("a", {"b": 1})
    other = signal.__replace__(type="c")

    assert (other.id, other.time, other.data) == (signal.id, signal.time, signal.data)
    with pytest.raises(InvalidSignal):
        signal.__replace__(type="")


def test_the_repr_tells_which_signal_it_is_and_keeps_the_payload_to_itself() -> None:
    shown = repr(Signal("ticket.opened", {"password": "hunter2"}, id="1", subject="T-1"))

    assert shown == "Signal('ticket.opened', source='/', id='1', subject='T-1', data=<dict>)"


@given(signals())
def test_a_signal_comes_back_from_pickle_and_from_a_copy(signal: Signal) -> None:
    assert pickle.loads(pickle.dumps(signal)) == signal
    assert copy.copy(signal) == signal
    assert copy.deepcopy(signal) == signal
