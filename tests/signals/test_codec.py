"""Signals leave and enter as JSON or MessagePack: nothing is lost, and nothing bad comes in."""

from __future__ import annotations

import base64
import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import msgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from prunella.errors import InvalidArgument
from prunella.signals import (
    DecodeError,
    InvalidSignal,
    PayloadTooLarge,
    Signal,
    SignalError,
    decode,
    decode_batch,
    encode,
    encode_batch,
)

from .strategies import signals

MINIMAL = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a"}


def document(**changes: Any) -> bytes:
    return json.dumps({name: value for name, value in (MINIMAL | changes).items() if value != "ABSENT"}).encode()


def refused(data: bytes, format: str = "json") -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        decode(data, format=format)
    return caught.value


class TestRoundTrip:
    @given(signals())
    @settings(max_examples=200, deadline=None)
    def test_every_signal_comes_back_equal_from_json(self, signal: Signal) -> None:
        again = decode(encode(signal))

        assert again == signal
        assert type(again.data) is type(signal.data)

    @given(signals())
    @settings(max_examples=200, deadline=None)
    def test_every_signal_comes_back_equal_from_msgpack(self, signal: Signal) -> None:
        again = decode(encode(signal, format="msgpack"), format="msgpack")

        assert again == signal
        assert type(again.data) is type(signal.data)

    @given(st.lists(signals(), max_size=4))
    @settings(max_examples=50, deadline=None)
    def test_every_batch_comes_back_equal(self, batch: list[Signal]) -> None:
        assert decode_batch(encode_batch(batch)) == tuple(batch)

    def test_json_keeps_the_types_that_python_takes_for_equal(self) -> None:
        data = [1, 1.0, True, 0, 0.0, False, -0.0]
        again = decode(encode(Signal("a", data))).data

        assert [repr(item) for item in again] == [repr(item) for item in data]

    def test_a_tuple_is_read_back_as_a_list(self) -> None:
        assert decode(encode(Signal("a", (1, ("b",))))).data == [1, ["b"]]
        assert decode(encode(Signal("a", (1, ("b",))), format="msgpack"), format="msgpack").data == [1, ["b"]]

    def test_the_empty_string_and_empty_bytes_are_data(self) -> None:
        assert decode(encode(Signal("a", ""))).data == ""
        assert decode(encode(Signal("a", b""))).data == b""

    def test_the_same_signal_is_the_same_bytes(self) -> None:
        names = [f"x{number}" for number in range(20)]
        one = Signal("a", id="1", time=None, extensions=dict.fromkeys(names, 1))
        other = Signal("a", id="1", time=None, extensions=dict.fromkeys(reversed(names), 1))

        assert encode(one) == encode(other)
        assert list(json.loads(encode(one)))[-20:] == sorted(names)  # in every process


class TestWritten:
    def test_the_json_is_that_of_cloudevents(self) -> None:
        signal = Signal(
            "ticket.opened",
            {"ticket": "ü"},
            id="1",
            source="/web",
            subject="T-1",
            time=datetime(2026, 1, 31, 12, 0, 0, 500, UTC),
            dataschema="https://example.org/schema",
            extensions={"traceparent": "x", "n": 3, "b": True},
        )

        assert json.loads(encode(signal)) == {
            "specversion": "1.0",
            "id": "1",
            "source": "/web",
            "type": "ticket.opened",
            "subject": "T-1",
            "time": "2026-01-31T12:00:00.000500Z",
            "datacontenttype": "application/json",
            "dataschema": "https://example.org/schema",
            "traceparent": "x",
            "n": 3,
            "b": True,
            "data": {"ticket": "ü"},
        }

    def test_absent_attributes_are_not_written(self) -> None:
        assert json.loads(encode(Signal("a", id="1", time=None))) == MINIMAL | {"source": "/"}

    def test_bytes_are_written_in_base64_in_json_and_native_in_msgpack(self) -> None:
        signal = Signal("a", b"\x00\xff")

        assert json.loads(encode(signal))["data_base64"] == base64.b64encode(b"\x00\xff").decode()
        assert msgpack.unpackb(encode(signal, format="msgpack"))["data"] == b"\x00\xff"

    @pytest.mark.parametrize(
        ("data", "field"),
        [
            ({1, 2}, "data"),
            ({"a": [0, object()]}, "data.a[1]"),
            ({"a": {1: "x"}}, "data.a"),
            ({None: "x"}, "data"),
            ([float("nan")], "data[0]"),
            ([float("inf")], "data[0]"),
            (-float("inf"), "data"),
            (2**64, "data"),
            ({"n": -(2**63) - 1}, "data.n"),
            ("\ud800", "data"),
            ({"\udfff": 1}, r"data['\udfff']"),
            ({"a b": [b"x"]}, "data['a b'][0]"),
            (bytearray(b"x"), "data"),
        ],
    )
    @pytest.mark.parametrize("format", ["json", "msgpack"])
    def test_data_that_is_no_json_value_is_refused_with_its_place(self, data: Any, field: str, format: str) -> None:
        with pytest.raises(InvalidSignal) as caught:
            encode(Signal("a", data), format=format)

        assert caught.value.field == field

    def test_the_error_names_the_type_and_not_the_payload(self) -> None:
        class Secret:
            def __repr__(self) -> str:
                return "hunter2"

        with pytest.raises(InvalidSignal) as caught:
            encode(Signal("a", {"password": Secret()}))

        assert "Secret" in str(caught.value)
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("format", ["json", "msgpack"])
    def test_data_may_be_100_deep_and_no_deeper(self, format: str) -> None:
        deep: Any = []
        for _ in range(49):
            deep = [{"a": deep}]
        deep = [deep]
        assert decode(encode(Signal("a", deep), format=format), format=format).data == deep

        with pytest.raises(InvalidSignal):
            encode(Signal("a", [[deep]]), format=format)

    def test_data_that_contains_itself_is_refused(self) -> None:
        data: list[Any] = []
        data.extend([data, data])

        with pytest.raises(InvalidSignal):
            encode(Signal("a", data))

    def test_data_that_is_small_in_memory_and_endless_on_the_wire_is_given_up(self) -> None:
        data: Any = "x" * 1000
        for _ in range(60):
            data = [data, data]

        with pytest.raises(PayloadTooLarge) as caught:
            encode(Signal("a", data))

        assert caught.value.size > caught.value.limit == 10_000_000

    def test_what_is_no_signal_or_no_format_is_refused(self) -> None:
        with pytest.raises(InvalidSignal):
            encode({"type": "a"})  # type: ignore[arg-type]
        with pytest.raises(InvalidSignal):
            encode_batch(["a"])  # type: ignore[list-item]
        with pytest.raises(InvalidArgument):
            encode(Signal("a"), format="xml")
        with pytest.raises(InvalidArgument):
            decode(b"", format="xml")
        with pytest.raises(InvalidArgument):
            encode(Signal("a"), limit=-1)


class TestLimit:
    @pytest.mark.parametrize("format", ["json", "msgpack"])
    @pytest.mark.parametrize("data", [{"text": "x" * 1000}, b"x" * 1000])
    def test_the_limit_counts_bytes_of_the_document_in_both_directions(self, format: str, data: Any) -> None:
        signal = Signal("a", data)
        written = encode(signal, format=format)
        size = len(written)

        assert encode(signal, format=format, limit=size) == written
        assert decode(written, format=format, limit=size) == signal
        with pytest.raises(PayloadTooLarge) as caught:
            encode(signal, format=format, limit=size - 1)
        assert caught.value.limit == size - 1
        with pytest.raises(PayloadTooLarge) as caught:
            decode(written, format=format, limit=size - 1)
        assert (caught.value.size, caught.value.limit) == (size, size - 1)

    def test_the_limit_of_a_batch_is_that_of_the_whole(self) -> None:
        batch = [Signal("a", "x" * 100)] * 3
        written = encode_batch(batch)

        assert encode_batch(batch, limit=len(written)) == written
        with pytest.raises(PayloadTooLarge):
            encode_batch(batch, limit=len(written) - 1)
        with pytest.raises(PayloadTooLarge):
            decode_batch(written, limit=len(written) - 1)
        assert encode_batch([], limit=2) == b"[]"
        with pytest.raises(PayloadTooLarge):
            encode_batch([], limit=1)

    def test_ten_million_bytes_are_the_limit_unless_another_is_given(self) -> None:
        with pytest.raises(PayloadTooLarge):
            encode(Signal("a", "x" * 10_000_000))
        with pytest.raises(PayloadTooLarge):
            decode(b" " * 10_000_001)


class TestRead:
    def test_absent_stays_absent(self) -> None:
        signal = decode(document(data={"a": 1}))

        assert (signal.time, signal.datacontenttype, signal.subject) == (None, None, None)

    def test_unknown_attributes_become_extensions_and_null_is_absent(self) -> None:
        signal = decode(document(x="1", y=2, z=True, gone=None, subject=None, data=None, data_base64=None))

        assert signal.extensions == {"x": "1", "y": 2, "z": True}
        assert (signal.subject, signal.data) == (None, None)

    @pytest.mark.parametrize(
        ("text", "time"),
        [
            ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
            ("2026-01-31t12:00:00z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
            ("2026-01-31T12:00:00.1Z", datetime(2026, 1, 31, 12, 0, 0, 100_000, UTC)),
            ("2026-01-31T12:00:00.1234567899Z", datetime(2026, 1, 31, 12, 0, 0, 123_456, UTC)),
            ("2026-01-31T14:30:00+02:30", datetime(2026, 1, 31, 12, tzinfo=UTC)),
            ("2026-01-31T09:00:00-03:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
            ("2026-01-31T12:00:00-00:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ],
    )
    def test_a_time_is_read_by_rfc_3339_and_kept_in_utc(self, text: str, time: datetime) -> None:
        signal = decode(document(time=text))

        assert signal.time == time
        assert signal.time is not None
        assert signal.time.tzinfo is UTC

    @pytest.mark.parametrize(
        "time",
        [
            "",
            "yesterday",
            "2026-01-31",
            "2026-01-31T12:00:00",
            "2026-01-31 12:00:00Z",
            "20260131T120000Z",
            "2026-02-30T12:00:00Z",
            "2026-01-31T24:00:00Z",
            "2026-12-31T23:59:60Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+02:60",
            "0000-01-01T00:00:00Z",
            "0001-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "٢٠٢٦-01-31T12:00:00Z",
            "2026-01-31T12:00:00Z\n",
            5,
            True,
            ["2026-01-31T12:00:00Z"],
        ],
    )
    def test_a_time_of_another_form_is_refused(self, time: Any) -> None:
        assert refused(document(time=time)).path == "time"

    @pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
    @pytest.mark.parametrize("value", ["ABSENT", None, "", 1, 1.0, True, ["1.0"], {"a": 1}])
    def test_a_required_attribute_is_refused_that_is_missing_or_no_text(self, name: str, value: Any) -> None:
        assert refused(document(**{name: value})).path == name

    @pytest.mark.parametrize("version", ["1.0.2", "0.3", "1", "1.00", "2.0"])
    def test_another_version_is_refused(self, version: str) -> None:
        assert refused(document(specversion=version)).path == "specversion"

    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"subject": ""}, "subject"),
            ({"subject": 1}, "subject"),
            ({"source": "a\x00"}, "source"),
            ({"datacontenttype": ["x"]}, "datacontenttype"),
            ({"dataschema": {}}, "dataschema"),
            ({"x": ""}, "x"),
            ({"x": 1.5}, "x"),
            ({"x": 2**31}, "x"),
            ({"x": []}, "x"),
            ({"x": {"y": 1}}, "x"),
            ({"X": 1}, "X"),
            ({"a_b": 1}, "a_b"),
            ({"": 1}, ""),
            ({"data": 1, "data_base64": "AA=="}, "data_base64"),
            ({"data_base64": 5}, "data_base64"),
            ({"data_base64": "!!!!"}, "data_base64"),
            ({"data_base64": "AAA"}, "data_base64"),
            ({"data_base64": "AA==\n"}, "data_base64"),
            ({"data_base64": "AAÄ="}, "data_base64"),
        ],
    )
    def test_a_wrong_attribute_is_refused_with_its_name(self, changes: dict[str, Any], path: str) -> None:
        assert refused(document(**changes)).path == path

    @pytest.mark.parametrize(
        ("data", "path"),
        [
            ('{"a": 1, "a": 2}', "data.a"),
            ('[{"b": [0, {"c": 1, "c": 1}]}]', "data[0].b[1].c"),
            ("NaN", "data"),
            ('{"x": [1, -Infinity]}', "data.x[1]"),
            ("1e999", "data"),
            ("[-1e400]", "data[0]"),
            (str(2**64), "data"),
            ("[" + "9" * 5000 + "]", "data[0]"),
            (str(-(2**63) - 1), "data"),
            (r'"\ud800"', "data"),
            (r'{"k": "a\udc00b"}', "data.k"),
            (r'{"\ud800": 1}', r"data['\ud800']"),
        ],
    )
    def test_a_wrong_place_in_the_data_is_named(self, data: str, path: str) -> None:
        text = json.dumps(MINIMAL)[:-1] + f', "data": {data}}}'

        assert refused(text.encode()).path == path

    def test_the_attributes_themselves_may_not_stand_twice(self) -> None:
        assert refused(b'{"id":"2",' + document()[1:]).path == "id"

    def test_a_pair_of_surrogates_in_escapes_is_one_character(self) -> None:
        assert decode(document(data="\U0001f600")).data == "\U0001f600"

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b" ",
            b"null",
            b"[]",
            b'"a"',
            b"5",
            b"{",
            b"{}}",
            b"{'a': 1}",
            b'{"a":1,}',
            b"\xff\xfe",
            b"\xef\xbb\xbf{}",
            '{"a": 1}'.encode("utf-16"),
            b"[" * 100_000,
            b'{"a":' * 100_000,
            b"[" * 50_000 + b"]" * 50_000,
        ],
    )
    def test_what_is_no_json_object_is_refused(self, data: bytes) -> None:
        refused(data)

    @pytest.mark.parametrize("depth", [100, 101, 900, 100_000])
    def test_data_is_at_most_100_deep(self, depth: int) -> None:
        data = json.dumps(MINIMAL)[:-1].encode() + b', "data": ' + b"[" * depth + b"]" * depth + b"}"

        if depth == 100:
            assert decode(data).type == "a"
        else:
            refused(data)

    def test_what_is_no_bytes_is_refused(self) -> None:
        with pytest.raises(DecodeError):
            decode("{}")  # type: ignore[arg-type]
        assert decode(bytearray(document())) == decode(memoryview(document())) == decode(document())

    def test_a_batch_names_the_place_of_what_is_wrong(self) -> None:
        with pytest.raises(DecodeError) as caught:
            decode_batch(b"[" + document() + b"," + document(time=5) + b"]")
        assert caught.value.path == "[1].time"
        with pytest.raises(DecodeError) as caught:
            decode_batch(b"[" + document() + b', {"a": {"b": 1, "b": 2}}]')
        assert caught.value.path == "[1].a.b"
        with pytest.raises(DecodeError):
            decode_batch(document())
        with pytest.raises(DecodeError) as caught:
            decode_batch(b"[5]")
        assert caught.value.path == "[0]"

    def test_the_error_never_holds_the_payload(self) -> None:
        error = refused(document(subject="hunter2\x00", data={"hunter2": 1}))

        assert "hunter2" not in str(error)
        assert "hunter2" not in repr(error)


class TestMessagePackRead:
    def packed(self, **changes: Any) -> bytes:
        written: bytes = msgpack.packb(MINIMAL | changes)
        return written

    @pytest.mark.parametrize(
        ("changes", "path"),
        [
            ({"data": [msgpack.ExtType(5, b"x")]}, "data[0]"),
            ({"data": msgpack.Timestamp(0)}, "data"),
            ({"x": msgpack.ExtType(1, b"")}, "x"),
            ({"data": [b"nested"]}, "data[0]"),
            ({"data": {"a": float("nan")}}, "data.a"),
            ({"x": b"bytes"}, "x"),
            ({"id": 1}, "id"),
            ({"data_base64": "AA=="}, "data_base64"),
        ],
    )
    def test_what_json_could_not_hold_is_refused_with_its_place(self, changes: dict[str, Any], path: str) -> None:
        assert refused(self.packed(**changes), "msgpack").path == path

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\xc0",
            b"\x90",
            b"\xc1",
            b"\x81\x01\x02",
            b"\x81\xc4\x01a\x01",
            b"\x81\xa1\xff\x01",
            b"\x81\xa1a",
            b"\x80\x80",
            b"\x91" * 100_000,
            b"\xdd\xff\xff\xff\xff",
            b"\xdd\x00\x98\x96\x80" * 600 + b"\xc0" * 5_000_000,
            b"\xdf\x7f\xff\xff\xff" * 100,
            b"\xdc",
        ],
    )
    def test_broken_and_boasting_documents_are_refused_at_once(self, data: bytes) -> None:
        refused(data, "msgpack")

    def test_containers_in_containers_that_boast_take_no_memory(self) -> None:
        """The unpacker reserves what is announced: here it would be half a gigabyte, for one megabyte."""
        data = (b"\xdd" + (1_000_000).to_bytes(4, "big")) * 60 + b"\xc0" * 1_000_000
        tracemalloc.start()
        try:
            refused(data, "msgpack")
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 50_000_000

    def test_a_key_may_not_stand_twice(self) -> None:
        twice = b"\x86\xa1x\x01\xa1x\x02" + msgpack.packb(MINIMAL)[1:]

        assert refused(twice, "msgpack").path == "x"

    def test_large_containers_are_read(self) -> None:
        data = {"many": list(range(70_000)), "keys": {str(key): [key] for key in range(70_000)}, "s": "ü" * 300}
        signal = Signal("a", data)

        assert decode(encode(signal, format="msgpack"), format="msgpack") == signal


class TestFuzz:
    """Whatever comes in: a signal or a `SignalError`."""

    @given(st.binary(max_size=300))
    @settings(max_examples=300, deadline=None)
    @example(b"\xdc\x00\x01")
    def test_any_bytes(self, data: bytes) -> None:
        for format in ("json", "msgpack"):
            try:
                decode(data, format=format)
            except SignalError:
                pass
        try:
            decode_batch(data)
        except SignalError:
            pass

    @given(
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(st.characters(exclude_categories=()), max_size=10)
            | st.sampled_from(["1.0", "2026-01-31T12:00:00Z", "AA=="]),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from([*MINIMAL, "time", "data", "data_base64", "subject", "x"]) | st.text(max_size=5),
                    inner,
                    max_size=8,
                )
            ),
        )
    )
    @settings(max_examples=300, deadline=None)
    def test_any_json(self, value: Any) -> None:
        for data in (value, MINIMAL | value if isinstance(value, dict) else value):
            try:
                signal = decode(json.dumps(data).encode())
            except SignalError:
                continue
            assert decode(encode(signal)) == signal

    @given(signals(), st.data())
    @settings(max_examples=300, deadline=None)
    def test_a_valid_document_with_some_bytes_changed(self, signal: Signal, draw: st.DataObject) -> None:
        for format in ("json", "msgpack"):
            data = bytearray(encode(signal, format=format))
            for _ in range(draw.draw(st.integers(1, 3))):
                data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
            try:
                decode(bytes(data), format=format)
            except SignalError:
                pass
