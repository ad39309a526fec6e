"""What is special to the storage on SQLite: its file, its thread, and what the disk may do to both."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from prunella.agents import Address, RestoreFailed
from prunella.errors import InvalidArgument
from prunella.signals import Signal
from prunella.storage import (
    AgentKey,
    Code,
    Commit,
    CommitFailed,
    ScheduleRecord,
    SQLiteStorage,
    StorageError,
    StorageUnavailable,
    Write,
    _group_commit,
    _sqlite_schema,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CODE = Code("desk")
KEY = AgentKey("default", None, "desk")
OTHER = AgentKey("default", None, "other")


def turn(sequence: int, claim: int = 1, **more: Any) -> Commit:
    return Commit(sequence, claim, Signal("x", id=f"s{sequence}"), NOW, 0, CODE, **more)


def write(sequence: int, key: AgentKey = KEY, **more: Any) -> Write:
    return Write(key, 1, NOW, (turn(sequence, **more),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agents.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SQLiteStorage]:
    async with SQLiteStorage(path) as storage:
        for key in (KEY, OTHER):
            await storage.claim(key, CODE, owner="me", now=NOW)
        yield storage


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def content_of(path: Path) -> bytes:
    return path.read_bytes()


def files_beside(path: Path) -> list[Path]:
    return list(path.parent.iterdir())


async def test_half_of_a_surrogate_pair_in_a_key_is_refused_alone(storage: SQLiteStorage) -> None:
    schedule = ScheduleRecord("\ud800", NOW, {})
    bad, good = write(1, schedules={"\ud800": schedule}), write(1, OTHER)
    results: list[Any] = []

    async def append(one: Write) -> None:
        try:
            results.append(await storage.append(one))
        except StorageError as error:
            results.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(append, bad)
        nursery.start_soon(append, good)
    assert sorted(results, key=str) == [(None,), StorageError]
    record = await storage.find(KEY)
    assert record is not None
    assert record.sequence == 0


def writer_of(storage: SQLiteStorage) -> sqlite3.Connection:
    assert storage._commit is not None
    return storage._commit._connection


# Its file.


@pytest.mark.parametrize("path", ["", ":memory:", 7, None])
def test_what_is_no_path_of_a_file_is_refused(path: Any) -> None:
    with pytest.raises(InvalidArgument, match="path"):
        SQLiteStorage(path)


async def test_a_log_is_written_and_synchronised_with_each_commit(storage: SQLiteStorage) -> None:
    writer = writer_of(storage)
    assert writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert writer.execute("PRAGMA synchronous").fetchone() == (2,)


async def test_closing_empties_the_log_and_ends_the_thread(path: Path) -> None:
    before = threading.active_count()
    async with SQLiteStorage(path) as storage:
        await storage.claim(KEY, CODE, owner="me", now=NOW)
        assert any("prunella.storage" in thread.name for thread in threading.enumerate())
    assert not any("prunella.storage" in thread.name for thread in threading.enumerate())
    assert threading.active_count() <= before + 2  # threads of Trio's, which it keeps for a while
    assert [found.name for found in files_beside(path)] == [path.name]


async def test_a_directory_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    storage = SQLiteStorage(tmp_path / "nowhere" / "agents.db")
    with pytest.raises(StorageUnavailable, match="cannot be opened"):
        await storage.open()
    assert not storage.is_open


async def test_a_file_that_is_no_database_is_left_as_it_is(path: Path) -> None:
    diary = b"my diary, do not read" * 100
    put(path, diary)
    with pytest.raises(StorageError):
        await SQLiteStorage(path).open()
    assert content_of(path) == diary


async def test_a_database_of_somebody_else_is_left_as_it_is(path: Path) -> None:
    with database(path) as connection:
        connection.execute("CREATE TABLE diary (entry)")
    with pytest.raises(StorageError, match="something else"):
        await SQLiteStorage(path).open()
    with database(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("diary",)]


async def test_a_database_of_a_newer_release_is_left_as_it_is(path: Path) -> None:
    async with SQLiteStorage(path):
        pass
    with database(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="newer release"):
        await SQLiteStorage(path).open()
    with database(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


@pytest.mark.parametrize("number", range(1, 8))  # the seventh begins the transaction that makes it
def test_a_database_that_another_process_makes_meanwhile_is_ours(tmp_path: Path, number: int) -> None:
    """Before whichever statement the other one does it."""
    path = tmp_path / "agents.db"
    statements = []

    class Watched(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            statements.append(sql)
            if len(statements) == number:
                with closing(sqlite3.connect(path, isolation_level=None)) as other:
                    _sqlite_schema.set_up(other)
            return super().execute(sql, *args)

    with closing(sqlite3.connect(path, isolation_level=None, factory=Watched)) as connection:
        _sqlite_schema.set_up(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (_sqlite_schema.VERSION,)
        assert len(statements) > number


def test_a_database_is_brought_to_the_present_all_the_way_or_not_at_all(path: Path) -> None:
    def second(connection: sqlite3.Connection) -> None:
        connection.execute("ALTER TABLE dead ADD COLUMN more")

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half_done (x)")
        raise ValueError("the step failed")

    first = _sqlite_schema._STEPS
    with database(path) as connection:
        _sqlite_schema.set_up(connection)
        with pytest.raises(ValueError, match="the step failed"):
            _sqlite_schema.migrate(connection, (*first, second, broken))
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half_done'").fetchall()
        _sqlite_schema.migrate(connection, (*first, second))
        _sqlite_schema.migrate(connection, (*first, second))  # another process has been faster
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        assert "more" in [column[1] for column in connection.execute("PRAGMA table_info(dead)")]


async def test_what_is_forgotten_is_overwritten(path: Path) -> None:
    async with SQLiteStorage(path) as storage:
        await storage.claim(KEY, CODE, owner="me", now=NOW)
        await storage.append(write(1, changes={"name": "a secret of Mrs Smith"}))
        await storage.enqueue(KEY, Signal("x", "a secret of Mr Smith"), now=NOW)
        await storage.forget(KEY)
    assert b"secret" not in content_of(path)


async def test_room_is_given_back(storage: SQLiteStorage, path: Path) -> None:
    await storage.append(*(write(number, changes={"x": "y" * 40_000}) for number in range(1, 41)))
    writer = writer_of(storage)
    (full,) = writer.execute("PRAGMA page_count").fetchone()
    await storage.forget(KEY)
    await storage.find(KEY)
    (left,) = writer.execute("PRAGMA page_count").fetchone()
    assert left < full / 2


# Bytes that cannot be read.


@pytest.mark.parametrize(
    ("statement", "place"),
    [
        ("UPDATE commits SET body = x'ff00' WHERE sequence = 2 AND agent = 1", "turn 2"),
        ("UPDATE commits SET body = substr(body, 1, 60) WHERE sequence = 1 AND agent = 1", "turn 1"),
        ("UPDATE waiting SET body = 'nonsense' WHERE agent = 1", "waiting signal 1"),
        ("UPDATE directives SET body = '{' WHERE agent = 1", "directive 0 of turn 1"),
        ("INSERT INTO snapshots VALUES (1, 0, 0, '[1,1]')", "the snapshot of turn 0"),
        ("INSERT INTO schedules VALUES (1, 'k', 0, '', '')", "the schedule 'k'"),
    ],
)
async def test_unreadable_bytes_fail_one_agent_and_stay(
    storage: SQLiteStorage, path: Path, statement: str, place: str
) -> None:
    await storage.append(write(1, directives=({"a": 1},)), write(2), write(1, OTHER))
    await storage.enqueue(KEY, Signal("w"), now=NOW)
    with database(path) as connection:
        connection.execute(statement)
        before = list(connection.iterdump())
    with pytest.raises(RestoreFailed) as caught:
        await storage.load(KEY)
    assert (caught.value.path, caught.value.address) == (place, Address("desk"))
    other = await storage.load(OTHER)
    assert other is not None
    assert len(other.commits) == 1
    assert len(await storage.agents("default")) == 2
    with database(path) as connection:
        assert list(connection.iterdump()) == before
    record = await storage.claim(KEY, CODE, owner="me", now=NOW)  # reads nothing of it
    assert (record.claim, record.sequence) == (2, 2)


async def test_an_unreadable_spec_hides_no_other_agent(storage: SQLiteStorage, path: Path) -> None:
    with database(path) as connection:
        connection.execute("UPDATE agents SET spec = '{' WHERE agent = 1")
    assert [(record.key, record.is_readable) for record in await storage.agents("default")] == [
        (KEY, False),
        (OTHER, True),
    ]


# Its disk.


async def test_a_full_disk_refuses_and_is_whole(storage: SQLiteStorage) -> None:
    writer = writer_of(storage)
    await storage.append(write(1))
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(CommitFailed, match="full") as caught:
        await storage.append(write(2, changes={"x": "y" * 100_000}, directives=({"a": 1},)))
    assert not caught.value.in_doubt
    stored = await storage.load(KEY)
    assert stored is not None
    assert (stored.record.sequence, stored.directives) == (1, ())
    writer.execute("PRAGMA max_page_count = 100000")
    assert await storage.append(write(2)) == (None,)


async def test_one_that_is_too_large_harms_none_that_waits_with_it(storage: SQLiteStorage) -> None:
    writer = writer_of(storage)
    writer.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 50_000)
    outcomes: dict[str, object] = {}

    async def commit(name: str, made: Write) -> None:
        try:
            outcomes[name] = await storage.append(made)
        except CommitFailed as error:
            outcomes[name] = type(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit, "large", write(1, changes={"x": "y" * 60_000}))
        nursery.start_soon(commit, "small", write(1, OTHER))
    assert outcomes == {"large": CommitFailed, "small": (None,)}


async def test_a_database_that_others_keep_locked_is_unavailable(storage: SQLiteStorage, path: Path) -> None:
    writer_of(storage).execute("PRAGMA busy_timeout = 10")
    with database(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked"):
            await storage.append(write(1))
        assert await storage.find(KEY) is not None  # reading goes on
        connection.execute("ROLLBACK")
    assert await storage.append(write(1)) == (None,)


# Its thread.


async def test_what_waits_is_written_in_one_transaction(storage: SQLiteStorage) -> None:
    keys = [AgentKey("default", None, f"agent-{number}") for number in range(50)]
    statements: list[str] = []
    writer_of(storage).set_trace_callback(statements.append)
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(lambda key=key: storage.claim(key, CODE, owner="me", now=NOW))
    claiming = statements.count("COMMIT")
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(lambda key=key: storage.append(write(1, key)))
    writer_of(storage).set_trace_callback(None)
    assert claiming < 25
    assert statements.count("COMMIT") - claiming < 25
    assert sum("INSERT INTO commits" in statement for statement in statements) < 50


async def test_another_process_is_heard_of(storage: SQLiteStorage, path: Path) -> None:
    assert await storage.append(write(1)) == (None,)
    async with SQLiteStorage(path) as other:
        assert (await other.claim(KEY, CODE, owner="you", now=NOW)).claim == 2
        (outcome,) = await storage.append(write(2))
        assert type(outcome).__name__ == "Fenced"
        assert await other.append(Write(KEY, 2, NOW, (turn(2, 2),))) == (None,)
        await other.forget(OTHER)
        await other.claim(OTHER, CODE, owner="you", now=NOW)
    (outcome,) = await storage.append(write(1, OTHER))
    assert type(outcome).__name__ == "Fenced"


async def test_a_cancelled_caller_waits_for_its_commit(storage: SQLiteStorage, path: Path) -> None:
    outcomes: list[object] = []
    with database(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def commit() -> None:
                    outcomes.append(await storage.append(write(1)))
                    outcomes.append("returned")
                    await trio.lowlevel.checkpoint()
                    outcomes.append("not reached")

                nursery.start_soon(commit)
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()
                assert outcomes == []
                connection.execute("ROLLBACK")
    assert scope.cancelled_caught
    assert outcomes == [(None,), "returned"]


async def test_a_cancelled_caller_does_not_wait_for_ever(
    storage: SQLiteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_group_commit, "_GRACE", 0.05)
    with database(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        async with trio.open_nursery() as nursery:
            failed: list[CommitFailed] = []

            async def commit() -> None:
                try:
                    await storage.append(write(1))
                except CommitFailed as error:
                    failed.append(error)

            nursery.start_soon(commit)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        connection.execute("ROLLBACK")
    assert [error.in_doubt for error in failed] == [True]
    await storage.find(KEY)  # the answer that came too late wakes nobody


async def test_a_commit_that_has_not_begun_is_cancelled_at_once(storage: SQLiteStorage) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await storage.append(write(1))
    assert scope.cancelled_caught
    record = await storage.find(KEY)
    assert record is not None
    assert record.sequence == 0


async def test_closing_waits_for_what_has_begun(path: Path) -> None:
    storage = SQLiteStorage(path)
    await storage.open()
    await storage.claim(KEY, CODE, owner="me", now=NOW)
    async with trio.open_nursery() as nursery:
        for number in range(1, 4):
            nursery.start_soon(storage.append, write(number))
            for _ in range(2):  # after the second it has run
                await trio.lowlevel.checkpoint()
        await storage.close()
        with pytest.raises(StorageUnavailable):
            await storage.append(write(4))
    async with storage:
        record = await storage.find(KEY)
        assert record is not None
        assert record.sequence == 3


async def test_a_backup_is_the_database_at_one_instant(storage: SQLiteStorage, tmp_path: Path) -> None:
    for sequence in range(1, 6):
        await storage.append(write(sequence))
    await storage.backup(tmp_path / "copy.db")
    for sequence in range(6, 9):
        await storage.append(write(sequence))
    assert not [file for file in files_beside(tmp_path / "copy.db") if file.name.startswith("copy.db-")]
    async with SQLiteStorage(tmp_path / "copy.db") as copy:
        record = await copy.find(KEY)
        assert record is not None
        assert record.sequence == 5
        claim = (await copy.claim(KEY, CODE, owner="you", now=NOW)).claim
        assert await copy.append(Write(KEY, claim, NOW, (turn(6, claim),))) == (None,)
    record = await storage.find(KEY)
    assert record is not None
    assert (record.sequence, record.claim) == (8, 1)


async def test_a_backup_while_others_write_has_no_gap(storage: SQLiteStorage, tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            for sequence in range(1, 200):
                await storage.append(write(sequence, changes={"text": "x" * 5000}))

        nursery.start_soon(work)
        while not await storage.commits(KEY, after=20):
            pass
        await storage.backup(tmp_path / "copy.db")
        nursery.cancel_scope.cancel()
    async with SQLiteStorage(tmp_path / "copy.db", read_only=True) as copy:
        dump = await copy.dump(KEY)  # which is checked when it is inserted
        assert dump is not None
        async with SQLiteStorage(tmp_path / "third.db") as third:
            await third.insert(dump)
        assert len(dump.commits) > 20


async def test_a_backup_overwrites_nothing_and_leaves_nothing_half_done(
    storage: SQLiteStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "copy.db", b"mine")
    with pytest.raises(StorageError, match="there already"):
        await storage.backup(tmp_path / "copy.db")
    assert content_of(tmp_path / "copy.db") == b"mine"
    with pytest.raises(StorageError, match="cannot be written"):
        await storage.backup(tmp_path / "nowhere" / "copy.db")
    with trio.CancelScope() as scope:
        scope.cancel()
        await storage.backup(tmp_path / "other.db")
    assert sorted(file.name for file in files_beside(tmp_path / "copy.db") if "agents" not in file.name) == ["copy.db"]
    await storage.close()
    with pytest.raises(StorageUnavailable):
        await storage.backup(tmp_path / "other.db")
