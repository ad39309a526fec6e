"""Agents as lines, out of one storage and into another."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given, settings
from tests.storage.test_codec import commits, mappings, names, plain, printable, signals, times

from prunella.agents import AgentNotFound, RestoreFailed
from prunella.signals import Signal
from prunella.storage import (
    AgentDump,
    AgentKey,
    AgentRecord,
    AlreadyStored,
    Code,
    Commit,
    DeadLetter,
    Handled,
    InvalidDump,
    MemoryStorage,
    ScheduleRecord,
    Snapshot,
    SQLiteStorage,
    Storage,
    StorageError,
    StoredDirective,
    StoredSignal,
    directive_id,
    export_agents,
    import_agents,
    read_dumps,
)

KEYS = [AgentKey("r", None, "a"), AgentKey("r", "p", "b/ü")]
counts = st.integers(0, 2**62)


@st.composite
def dumps(draw: Any, key: AgentKey = KEYS[0]) -> AgentDump:
    """Anything that an agent can be."""
    trimmed = draw(st.integers(0, 3))
    turns = tuple(
        [
            attrs.evolve(commit, sequence=sequence, signal=commit.signal.__replace__(id=f"s{sequence}"))
            for sequence, commit in enumerate(draw(st.lists(commits, max_size=3)), trimmed + 1)
        ]
    )
    last = trimmed + len(turns)
    bases = draw(st.sets(st.integers(trimmed, last), max_size=2)) | ({trimmed} if trimmed else set())
    when = {turn.sequence: turn.now for turn in turns}
    snapshots = [Snapshot(base, draw(times), draw(counts), draw(mappings)) for base in sorted(bases)]
    handled = [
        Handled(f"s{turn}", turn, draw(plain), True, when.get(turn) or draw(times))
        if draw(st.booleans())
        else Handled(f"s{turn}", turn, now=when.get(turn) or draw(times))
        for turn in range(1, last + 1)
        if draw(st.booleans())
    ]
    waiting = draw(st.lists(st.builds(StoredSignal, st.just(0), signals, counts, times), max_size=2))
    waiting = [attrs.evolve(one, signal=one.signal.__replace__(id=f"w{place}")) for place, one in enumerate(waiting)]
    places = sorted(draw(st.sets(st.tuples(counts, counts), max_size=2)))
    directives = [StoredDirective(directive_id(key, *place), *place, draw(mappings), draw(times)) for place in places]
    letters = draw(st.lists(st.builds(DeadLetter, signals, printable, counts, times), max_size=2))
    letters = [attrs.evolve(one, signal=one.signal.__replace__(id=f"d{place}")) for place, one in enumerate(letters)]
    code = draw(st.builds(Code, names, st.integers(1, 2**62), printable, printable))
    spec, claim = draw(st.none() | mappings), draw(st.integers(0, 2**62))
    record = AgentRecord(key, code, claim, None, None, last, spec, bool(waiting or directives))
    text = st.text(st.characters(codec="utf-8"))
    schedules = st.builds(ScheduleRecord, text, times, mappings, text)
    set_schedules = sorted(
        draw(st.lists(schedules, max_size=2, unique_by=lambda one: one.key)), key=lambda one: one.key
    )
    return AgentDump(
        record, trimmed, tuple(snapshots), turns, tuple(waiting), tuple(directives), tuple(set_schedules),
        tuple(letters), tuple(handled),
    )  # fmt: skip


def comparable(dump: AgentDump | None) -> AgentDump | None:
    """Without positions, which only have to grow."""
    return dump and attrs.evolve(dump, waiting=tuple([attrs.evolve(one, position=0) for one in dump.waiting]))


async def lines_of(storage: Storage, *keys: AgentKey) -> list[str]:
    return [line async for line in export_agents(storage, keys)]


async def imported(storage: Storage, lines: list[Any]) -> list[AgentKey]:
    return [key async for key in import_agents(storage, lines)]


def storages(directory: str) -> list[tuple[Callable[[], Storage], Callable[[], Storage]]]:
    files = [Path(directory) / f"{number}.db" for number in range(2)]
    return [(MemoryStorage, lambda: SQLiteStorage(files[0])), (lambda: SQLiteStorage(files[1]), MemoryStorage)]


@settings(max_examples=min(settings().max_examples, 60), deadline=None)
@given(dumps(), dumps(KEYS[1]))
def test_what_is_imported_is_what_was_exported(first: AgentDump, second: AgentDump) -> None:
    async def go(source: Storage, target: Storage) -> None:
        async with source, target:
            for dump in (first, second):
                await source.insert(dump)
            assert comparable(await source.dump(KEYS[0])) == first
            lines = await lines_of(source, *KEYS)
            assert all(line.endswith("\n") and line.count("\n") == 1 for line in lines)
            assert await imported(target, lines) == KEYS
            for dump in (first, second):
                assert comparable(await target.dump(dump.record.key)) == dump
            assert await lines_of(target, *KEYS) == lines

    with TemporaryDirectory() as directory:
        for make_source, make_target in storages(directory):
            trio.run(go, make_source(), make_target())


NOW = datetime(2026, 1, 31, tzinfo=UTC)


def dump(key: AgentKey = KEYS[0]) -> AgentDump:
    """One with a few of everything."""
    heard = [Signal("x", {"n": turn}, id=f"s{turn}", time=NOW) for turn in (2, 3)]
    turns = tuple(
        [
            Commit(turn, 1, signal, NOW + timedelta(seconds=turn), 0, Code("desk"))
            for turn, signal in enumerate(heard, 2)
        ]
    )
    return AgentDump(
        AgentRecord(key, Code("desk", 1, "0", "app:Desk"), 4, None, None, 3, {"id": "a"}, True),
        1,
        (Snapshot(1, NOW, 1, {"a": 1}),),
        turns,
        (StoredSignal(0, turns[0].signal, 2, NOW),),
        (StoredDirective(directive_id(key, 2, 0), 2, 0, {"directive": "Emit"}, NOW),),
        (),
        (DeadLetter(turns[1].signal, "why", 2, NOW),),
        (Handled("s1", 1, now=NOW), Handled("s3", 3, [1], True, NOW + timedelta(seconds=3))),
    )


def make_lines() -> list[str]:
    async def go() -> list[str]:
        async with MemoryStorage() as storage:
            for key in KEYS:
                await storage.insert(dump(key))
            return await lines_of(storage, *KEYS)

    return trio.run(go)


LINES = make_lines()


@pytest.fixture
def lines() -> list[str]:
    return list(LINES)


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else SQLiteStorage(tmp_path / "agents.db")


async def test_wherever_a_file_was_cut_off_no_agent_is_left_half_done(lines: list[str], storage: Storage) -> None:
    text = "".join(lines)
    ends = [place for place, line in enumerate(lines) if line.startswith('{"end"')][:2]
    whole = [sum(map(len, lines[: end + 1])) - 1 for end in ends]
    cuts = {0, *(sum(map(len, lines[:place])) + offset for place in range(len(lines)) for offset in (0, 1, -1, 40))}
    async with storage:
        for cut in sorted(cut for cut in cuts if 0 <= cut < len(text) - 1):
            with pytest.raises(InvalidDump):
                await imported(storage, text[:cut].splitlines(keepends=True))
            there = [key for key in KEYS if await storage.find(key) is not None]
            assert there == KEYS[: sum(cut >= end for end in whole)]
            for key in there:
                assert comparable(await storage.dump(key)) == dump(key)
                await storage.forget(key)


async def test_an_agent_that_is_there_is_not_overwritten(lines: list[str], storage: Storage) -> None:
    async with storage:
        claim = (await storage.claim(KEYS[0], Code("other"), owner="me", now=NOW)).claim
        with pytest.raises(AlreadyStored, match="r/-/a"):
            await imported(storage, lines)
        record = await storage.find(KEYS[0])
        assert record is not None
        assert (record.code.name, record.claim, record.owner) == ("other", claim, "me")
        assert await storage.find(KEYS[1]) is None


async def test_who_owned_the_agent_where_it_comes_from_is_fenced_here(lines: list[str], storage: Storage) -> None:
    async with storage:
        await imported(storage, lines)
        record = await storage.claim(KEYS[0], Code("desk"), owner="me", now=NOW, refuse=True)
        assert record.claim == 5


async def test_an_agent_that_a_database_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    schedule = ScheduleRecord("\ud800", NOW, {})
    async with SQLiteStorage(tmp_path / "agents.db") as storage:
        with pytest.raises(StorageError, match="surrogate"):
            await storage.insert(attrs.evolve(dump(), schedules=(schedule,)))
        assert await storage.find(KEYS[0]) is None
        await storage.insert(dump())
        assert comparable(await storage.dump(KEYS[0])) == dump()


async def test_what_is_not_stored_is_not_exported() -> None:
    async with MemoryStorage() as storage:
        with pytest.raises(AgentNotFound):
            await lines_of(storage, KEYS[0])


async def test_what_cannot_be_read_is_not_exported(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    async with SQLiteStorage(tmp_path / "agents.db") as storage:
        await storage.insert(dump())
        with closing(sqlite3.connect(tmp_path / "agents.db", isolation_level=None)) as database:
            for change in (
                "UPDATE agents SET spec = x'7b'",
                "UPDATE agents SET spec = NULL",
                "UPDATE snapshots SET body = x'7b'",
            ):
                database.execute(change)
                if "NULL" not in change:
                    with pytest.raises(RestoreFailed) as caught:
                        await storage.dump(KEYS[0])
                    assert str(caught.value.address) == "a"


def changed(line: str, change: Callable[[Any], None]) -> str:
    data = json.loads(line)
    change(data)
    return json.dumps(data) + "\n"


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("prunella", lambda data: data["prunella"].update(form=9), "another release"),
        ("prunella", lambda data: data["prunella"].update(what="x"), "no line of an export"),
        ("agent", lambda data: data["agent"].pop("claim"), "'claim' is missing"),
        ("agent", lambda data: data["agent"].update(sequence=9), "not all there"),
        ("agent", lambda data: data["agent"].update(id=""), "id"),
        ("snapshot", lambda data: data["snapshot"].update(version="1"), "expected an integer"),
        ("snapshot", lambda data: data["snapshot"].update(state=[]), "expected an object"),
        ("commit", lambda data: data["commit"].update(sequence=7), "not all there"),
        ("commit", lambda data: data["commit"].update(signal=None), "cannot be read"),
        ("commit", lambda data: data.update(more=1), "no line of an export"),
        ("handled", lambda data: data["handled"].update(sequence=3), "twice"),
        ("waiting", lambda data: data["waiting"].update(now=10**30), "days|out of range|too large"),
        ("directive", lambda data: data["directive"].update(index=None), "expected an integer"),
        ("dead", lambda data: data["dead"].update(reason=1), "expected a text"),
        ("end", lambda data: data["end"].update(lines=1), "are missing"),
    ],
)
def test_a_line_that_is_wrong_is_named(lines: list[str], kind: str, change: Any, problem: str) -> None:
    place = next(place for place, line in enumerate(lines) if line.startswith(f'{{"{kind}"'))
    lines[place] = changed(lines[place], change)
    with pytest.raises(InvalidDump, match=problem) as caught:
        list(read_dumps(lines))
    assert caught.value.line in (place + 1, next(n for n, line in enumerate(lines, 1) if line.startswith('{"end"')))


def test_lines_may_be_bytes_and_blank_ones_do_not_count(lines: list[str]) -> None:
    found = list(read_dumps(part for line in lines for part in (line.encode(), b"\r\n")))
    assert [one.record.key for one in found] == KEYS


@pytest.mark.parametrize(
    "wrong",
    [
        lambda lines: [],
        lambda lines: ["x\n", *lines],
        lambda lines: lines[1:],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [lines[0], lines[2], *lines[1:]],
        lambda lines: [lines[0], lines[-1]],
        lambda lines: [lines[0], *(lines[1:-1] * 2), lines[-1]],
        lambda lines: [*lines[:3], '{"surprise": 1}\n', *lines[3:]],
        lambda lines: ["[" * 100_000],
    ],
)
def test_lines_out_of_place_are_refused(lines: list[str], wrong: Any) -> None:
    with pytest.raises(InvalidDump):
        list(read_dumps(wrong(lines)))


@given(
    st.lists(
        st.sampled_from(["agent", "end", "commit", "x"]).flatmap(lambda kind: plain.map(lambda data: {kind: data}))
    )
)
def test_anything_else_is_refused_in_words(found: list[dict[str, Any]]) -> None:
    head = {"prunella": {"form": 1, "what": "agents"}}
    try:
        list(read_dumps([json.dumps(line) for line in [head, *found]]))
    except InvalidDump as error:
        assert str(error).startswith("line ")
