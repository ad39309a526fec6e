"""Commits as bytes: what is written comes back, and what cannot be read says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import hypothesis.strategies as st
import pytest
from hypothesis import given

from prunella.agents import Address, RestoreFailed
from prunella.errors import InvalidArgument
from prunella.signals import Signal
from prunella.storage import (
    AgentKey,
    Code,
    Commit,
    ScheduleRecord,
    Snapshot,
    StorageError,
    commit_from_data,
    commit_to_data,
    decode_commit,
    decode_data,
    decode_snapshot,
    directive_id,
    encode_commit,
    encode_data,
    encode_snapshot,
    parse_directive_id,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)

any_text = st.text(st.characters())  # halves of surrogate pairs too
times = st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(any_text, plain, max_size=3)
names = st.text(min_size=1)
addresses = st.builds(Address, names, st.none() | names)
printable = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
signal_data = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
signals = st.builds(Signal, printable, signal_data | st.binary(), id=printable, time=st.none() | times)
schedules = st.builds(ScheduleRecord, any_text, times, mappings, any_text)
commits = st.builds(
    Commit,
    st.integers(1, 2**62),
    st.integers(1, 2**62),
    signals,
    times,
    st.integers(),
    st.builds(Code, any_text, st.integers(1), any_text, any_text),
    st.none() | addresses,
    st.dictionaries(any_text, addresses, max_size=2),
    st.sampled_from(["committed", "rejected", "unhandled", "dead"]),
    mappings,
    st.lists(mappings, max_size=2).map(tuple),
    st.lists(any_text, max_size=2).map(tuple),
    st.lists(schedules, max_size=2).map(lambda found: {"gone": None} | {one.key: one for one in found}),
    mappings,
)
agent_keys = st.builds(AgentKey, names, st.none() | names, names)


@given(commits)
def test_a_commit_comes_back_from_its_bytes(commit: Commit) -> None:
    assert decode_commit(encode_commit(commit)) == commit


@given(commits)
def test_a_commit_comes_back_from_one_line_of_json(commit: Commit) -> None:
    line = json.dumps(commit_to_data(commit))
    assert commit_from_data(json.loads(line)) == commit


@given(plain)
def test_plain_data_comes_back(data: object) -> None:
    assert decode_data(encode_data(data), "data") == data


@given(mappings, st.integers(1), st.integers(0), times)
def test_a_snapshot_comes_back(state: dict[str, object], version: int, sequence: int, now: datetime) -> None:
    snapshot = Snapshot(sequence, now, version, state)
    assert decode_snapshot(encode_snapshot(snapshot), sequence, now) == snapshot


@given(agent_keys, st.integers(1), st.integers(0))
def test_an_id_of_a_directive_tells_what_it_is_made_of(key: AgentKey, sequence: int, index: int) -> None:
    id = directive_id(key, sequence, index)
    assert id.count("/") == 4
    assert parse_directive_id(id) == (key, sequence, index)


def test_an_id_of_a_directive_has_its_parts_percent_encoded() -> None:
    assert directive_id(AgentKey("r/1", None, "a b"), 3, 0) == "r%2F1/-/a%20b/3/0"
    assert directive_id(AgentKey("r", "-", "ü"), 3, 1) == "r/%2D/%C3%BC/3/1"


@pytest.mark.parametrize("id", ["", "a", "r/-/a/1", "r/-/a/x/0", "r/-/a/1/0/0", None])
def test_what_is_no_id_of_a_directive_is_refused(id: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_directive_id(id)


@given(commits, st.data())
def test_a_torn_commit_is_never_read_as_another_one(commit: Commit, data: st.DataObject) -> None:
    body = encode_commit(commit)
    length = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(RestoreFailed) as caught:
        decode_commit(body[:length], "turn 7")
    assert caught.value.path == "turn 7"


@pytest.mark.parametrize(
    "body", [b"", b"\n", b"{}\n{}", b"[]\n", b"\xff", b'{"form":2}\n', b"null", b'{"form":1}', b"[" * 100_000]
)
def test_other_bytes_are_no_commit(body: bytes) -> None:
    signal = b'{"specversion":"1.0","id":"x","source":"/","type":"t"}'
    for tail in (b"", b"\n" + signal, signal):
        with pytest.raises(RestoreFailed):
            decode_commit(body + tail)


def test_a_commit_of_a_form_to_come_is_not_guessed_at() -> None:
    body = encode_commit(Commit(1, 1, Signal("x"), NOW, 0, Code("a")))
    with pytest.raises(RestoreFailed, match="form 2"):
        decode_commit(body.replace(b'{"form":1', b'{"form":2'))


@pytest.mark.parametrize("wrong", [object(), {1, 2}, b"x", (x for x in "x"), NOW, timedelta(1)])
def test_what_is_no_plain_data_is_not_written(wrong: object) -> None:
    with pytest.raises(StorageError):
        encode_data({"a": [wrong]})
    with pytest.raises(StorageError):
        encode_commit(Commit(1, 1, Signal("x"), NOW, 0, Code("a"), changes={"a": wrong}))


def test_a_number_that_is_none_is_not_written() -> None:
    with pytest.raises(StorageError):
        encode_commit(Commit("1", 1, Signal("x"), NOW, 0, Code("a")))  # type: ignore[arg-type]


def test_data_that_contains_itself_is_not_written() -> None:
    data: list[object] = []
    data.append(data)
    with pytest.raises(StorageError):
        encode_data(data)
