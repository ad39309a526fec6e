"""The past of an agent, over a storage: read, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from prunella.agents import Agent, AgentNotFound, Emit, Rejected, RestoreFailed, Turn, migrate, on, replay
from prunella.agents._turns import changed_fields, take_turn
from prunella.conversion import ConversionError
from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, open_runtime
from prunella.signals import Signal
from prunella.storage import (
    AgentKey,
    Commit,
    Difference,
    HistoryGone,
    MemoryStorage,
    ScheduleRecord,
    Snapshot,
    SQLiteStorage,
    Storage,
    StorageError,
    StorageUnavailable,
    Write,
    agent_of,
    code_of,
    commit_of,
    history,
    restored_state,
    snapshot_of,
    state_at,
)
from prunella.storage import replay as replay_stored
from prunella.testing.storage import FaultyStorage

NOW = datetime(2026, 1, 31, tzinfo=UTC)
KEY = AgentKey("default", None, "desk")


class Desk(Agent, name="desk"):
    waiting: tuple[str, ...] = ()
    seen: int = 0
    since: datetime | None = None

    @on("ticket.opened")
    def opened(self, ticket: str) -> Any:
        return self.set(waiting=(*self.waiting, ticket), seen=self.seen + 1), Emit(
            "ticket.accepted", {"ticket": ticket}
        )


class NewDesk(Agent, name="desk", version=2):
    queue: tuple[str, ...] = ()
    seen: int = 0

    @migrate(1)
    def rename_waiting(data):
        return {"queue": data.get("waiting", []), "seen": data.get("seen", 0)}

    @on("ticket.opened")
    def opened(self, ticket: str) -> Any:
        return self.set(queue=(*self.queue, ticket), seen=self.seen + 1)


def at(sequence: int) -> datetime:
    return NOW + timedelta(minutes=sequence)


def turns(count: int, first: int = 1, agent: Agent | None = None) -> Iterable[tuple[Turn, Agent]]:
    agent = Desk() if agent is None else agent
    for sequence in range(first, first + count):
        signal = Signal("ticket.opened", {"ticket": f"T-{sequence}"})
        after, directives = take_turn(agent, signal, lambda: None, strict=False)  # type: ignore[arg-type, return-value]
        changes = changed_fields(agent, after)
        yield Turn(sequence, signal, at(sequence), 0, changes=changes, directives=directives), after
        agent = after


async def fill(storage: Storage, count: int = 7, every: int = 3) -> None:
    """An agent with turns, and a snapshot every so many."""
    code = code_of(Desk)
    claim = (await storage.claim(KEY, code, owner="me", now=NOW)).claim
    await storage.append(Write(KEY, claim, NOW, snapshot=snapshot_of(Desk(), 0, NOW)))
    for turn, after in turns(count):
        snapshot = snapshot_of(after, turn.sequence, turn.now) if turn.sequence % every == 0 else None
        outcomes = await storage.append(Write(KEY, claim, turn.now, (commit_of(turn, claim, code),), snapshot))
        assert outcomes == (None,)


def desk(last: int) -> Desk:
    return Desk(waiting=tuple(f"T-{number}" for number in range(1, last + 1)), seen=last)


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return MemoryStorage() if request.param == "memory" else SQLiteStorage(tmp_path / "agents.db")


async def test_state_at_tells_every_past_state(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        for sequence in range(8):
            assert await state_at(storage, Desk, "desk", until=sequence) == desk(sequence)
            assert await state_at(storage, Desk, "desk", until=at(sequence)) == desk(sequence)
            moment = at(sequence) + timedelta(seconds=59)
            assert await state_at(storage, Desk, "desk", until=moment) == desk(sequence)
        assert await state_at(storage, Desk, "desk") == desk(7)
        assert await state_at(storage, Desk, "desk", until=100) == desk(7)
        with pytest.raises(AgentNotFound):
            await state_at(storage, Desk, "desk", until=NOW - timedelta(days=1))


async def test_a_storage_that_is_not_open_is_opened_for_it(storage: Storage) -> None:
    async with storage:
        await fill(storage)
    assert await state_at(storage, Desk, "desk", until=2) == desk(2)
    assert [entry.turn.sequence async for entry in history(storage, Desk, "desk")] == [1, 2, 3, 4, 5, 6, 7]
    assert not storage.is_open


async def test_history_has_each_turn_between_two_states(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        entries = [entry async for entry in history(storage, Desk, "desk")]
        assert [(entry.before, entry.after) for entry in entries] == [
            (desk(number - 1), desk(number)) for number in range(1, 8)
        ]
        assert entries[2].turn.changes == {"waiting": ("T-1", "T-2", "T-3"), "seen": 3}
        assert entries[2].turn.directives == (Emit("ticket.accepted", {"ticket": "T-3"}),)
        assert list(replay(Desk, [entry.turn for entry in entries])) == [entry.after for entry in entries]
        some = [entry async for entry in history(storage, Desk, "desk", since=3, until=at(5))]
        assert some == entries[2:5]
        assert [entry async for entry in history(storage, Desk, "desk", since=9)] == []


async def test_reading_claims_nothing(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        before = await storage.load(KEY)
        await state_at(storage, Desk, "desk")
        _ = [entry async for entry in history(storage, Desk, "desk")]
        assert await storage.load(KEY) == before


async def test_what_retention_has_deleted_is_said_to_be_gone(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        assert await storage.trim(KEY, keep=3) == 3
        with pytest.raises(HistoryGone) as caught:
            await state_at(storage, Desk, "desk", until=2)
        assert caught.value.oldest == 3
        assert await state_at(storage, Desk, "desk", until=3) == desk(3)
        with pytest.raises(HistoryGone):
            await state_at(storage, Desk, "desk", until=at(2))
        entries = [entry async for entry in history(storage, Desk, "desk")]
        assert [entry.turn.sequence for entry in entries] == [4, 5, 6, 7]
        assert entries[0].before == desk(3)
        with pytest.raises(HistoryGone):
            _ = [entry async for entry in history(storage, Desk, "desk", since=2)]
        for until in (2, at(2)):
            with pytest.raises(HistoryGone):
                _ = [entry async for entry in history(storage, Desk, "desk", until=until)]
        assert [entry async for entry in history(storage, Desk, "desk", until=3)] == []


async def test_older_state_is_migrated(storage: Storage) -> None:
    async with storage:
        await fill(storage, 2)
        assert await state_at(storage, NewDesk, "desk") == NewDesk(queue=("T-1", "T-2"), seen=2)
        migrated = NewDesk(queue=("T-1", "T-2"), seen=2)
        code = code_of(NewDesk)
        turn = Turn(3, Signal("prunella.migrated"), at(3), 0, changes=vars(migrated))
        after = migrated.set(queue=("T-1", "T-2", "T-4"), seen=3)
        last = Turn(4, Signal("ticket.opened", {"ticket": "T-4"}), at(4), 0, changes=changed_fields(migrated, after))
        await storage.append(Write(KEY, 1, NOW, (commit_of(turn, 1, code), commit_of(last, 1, code))))
        assert await state_at(storage, NewDesk, "desk") == after
        entries = [entry async for entry in history(storage, NewDesk, "desk")]
        assert [entry.after.queue for entry in entries] == [
            ("T-1",),
            ("T-1", "T-2"),
            ("T-1", "T-2"),
            ("T-1", "T-2", "T-4"),
        ]
        assert entries[0].turn.changes == {"queue": ("T-1",), "seen": 1}
        with pytest.raises(RestoreFailed, match="newer") as caught:
            await state_at(storage, Desk, "desk")
        assert (caught.value.stored_version, caught.value.version) == (2, 1)
        assert str(caught.value.address) == "desk"


async def test_an_agent_that_is_not_stored_or_of_another_type_is_refused(storage: Storage) -> None:
    class Clerk(Agent, name="clerk"):
        pass

    async with storage:
        with pytest.raises(AgentNotFound):
            await state_at(storage, Desk, "desk")
        await fill(storage)
        with pytest.raises(AgentNotFound):
            await state_at(storage, Desk, "desk", partition="p")
        with pytest.raises(RestoreFailed, match="type 'desk'"):
            await state_at(storage, Clerk, "desk")


@pytest.mark.parametrize("until", [-1, True, "1", datetime(2026, 1, 31)])
async def test_what_is_no_turn_and_no_time_is_refused(until: Any) -> None:
    with pytest.raises(InvalidArgument, match="until"):
        await state_at(MemoryStorage(), Desk, "desk", until=until)


def test_stored_data_that_does_not_fit_says_where() -> None:
    with pytest.raises(RestoreFailed) as caught:
        agent_of(Desk, 1, {"waiting": ["a", 7]})
    assert caught.value.path == "waiting[1]"

    class Broken(Agent, name="broken", version=3):
        @migrate(2)
        def fail(data):
            raise KeyError("x")

    with pytest.raises(RestoreFailed, match="migration from version 2 failed"):
        agent_of(Broken, 2, {})
    with pytest.raises(RestoreFailed, match="no migration begins at version 1"):
        agent_of(Broken, 1, {})


def test_a_migration_cannot_change_what_was_handed_in() -> None:
    class Rude(Agent, name="rude", version=2):
        names: tuple[str, ...] = ()

        @migrate(1)
        def append(data):
            data["names"].append("x")
            return data

    state = {"names": ["a"]}
    assert agent_of(Rude, 1, state) == Rude(names=("a", "x"))
    assert state == {"names": ["a"]}


def test_restoring_lays_changes_over_the_snapshot() -> None:
    code = code_of(Desk)
    commits = [commit_of(turn, 1, code) for turn, _ in turns(2)]
    assert restored_state(None, ()) == (None, {})
    assert restored_state(None, commits) == (1, {"waiting": ["T-1", "T-2"], "seen": 2})
    snapshot = Snapshot(0, NOW, 1, {"waiting": [], "seen": 0, "since": None})
    assert restored_state(snapshot, commits[:1]) == (1, {"waiting": ["T-1"], "seen": 1, "since": None})
    assert agent_of(Desk, *restored_state(snapshot, commits)) == desk(2)


def test_the_code_of_a_class_changes_with_its_handlers() -> None:
    class Same(Agent, name="same"):
        @on("a")
        def hear(self) -> Any:
            return None

    first = code_of(Same)

    class Same(Agent, name="same"):  # type: ignore[no-redef]
        @on("a")
        def hear(self) -> Any:
            return self.set()

    assert code_of(Same).digest != first.digest
    assert code_of(Desk) == code_of(Desk)
    assert (first.name, first.version, first.reference.rpartition(".")[2]) == ("same", 1, "Same")


def test_a_commit_of_a_turn_is_plain_data() -> None:
    [(turn, _)] = turns(1)
    commit = commit_of(
        turn, 3, code_of(Desk), done=["r/-/a/1/0"], schedules={"k": ScheduleRecord("k", NOW, {})}, answers={"s": (NOW,)}
    )
    assert commit.changes == {"waiting": ["T-1"], "seen": 1}
    assert commit.directives == ({"directive": "Emit", "type": "ticket.accepted", "data": {"ticket": "T-1"}},)
    assert commit.answers == {"s": ["2026-01-31T00:00:00+00:00"]}
    assert (commit.claim, commit.outcome, commit.done) == (3, "committed", ("r/-/a/1/0",))


def test_a_field_without_a_form_as_data_is_named() -> None:
    turn = Turn(1, Signal("x"), NOW, 0, changes={"waiting": ("a", object())})
    with pytest.raises(ConversionError) as caught:
        commit_of(turn, 1, code_of(Desk))
    assert caught.value.path == "waiting[1]"


async def test_a_directive_whose_action_is_gone_makes_the_turn_unreadable() -> None:
    data = {"directive": "Run", "action": "nowhere:gone", "params": {}}
    commit = Commit(1, 1, Signal("x"), NOW, 0, code_of(Desk), directives=(data,))
    async with MemoryStorage() as storage:
        await storage.claim(KEY, code_of(Desk), owner="me", now=NOW)
        await storage.append(Write(KEY, 1, NOW, (commit,)))
        assert await state_at(storage, Desk, "desk") == Desk()
        with pytest.raises(RestoreFailed, match="turn 1"):
            _ = [entry async for entry in history(storage, Desk, "desk")]


class LaterDesk(Agent, name="desk"):
    """Decides otherwise since a release."""

    waiting: tuple[str, ...] = ()
    seen: int = 0
    since: datetime | None = None

    @on("ticket.opened")
    def opened(self, ticket: str) -> Any:
        if ticket == "T-5":
            raise ValueError("no good")
        if ticket == "T-6":
            raise Rejected("not that one")
        return self.set(waiting=(*self.waiting, ticket), seen=self.seen + 1 + (ticket == "T-3")), Emit(
            "ticket.accepted", {"ticket": "?" if ticket == "T-4" else ticket}
        )


async def test_what_comes_out_the_same_has_not_diverged(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        entries = [entry async for entry in replay_stored(storage, Desk, "desk", until=5)]
        assert [(entry.turn.sequence, entry.diverged, entry.differences) for entry in entries] == [
            (sequence, None, ()) for sequence in range(1, 6)
        ]
        assert (entries[1].before, entries[1].after) == (desk(1), desk(2))


async def test_each_turn_that_comes_out_differently_is_named_and_stops_nothing(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        before = await storage.load(KEY)
        entries = [entry async for entry in replay_stored(storage, LaterDesk, "desk")]
        diverged = {entry.turn.sequence: entry.diverged for entry in entries if entry.diverged is not None}
        assert {turn: error.fields for turn, error in diverged.items()} == {
            3: ("seen",),
            4: ("directives",),
            5: ("outcome",),
            6: ("outcome",),
        }
        assert [error.sequence for error in diverged.values()] == [3, 4, 5, 6]
        differences = [difference for entry in entries for difference in entry.differences]
        assert differences[0] == Difference("seen", 3, 4)
        directives = differences[1]
        assert directives.recorded == (Emit("ticket.accepted", {"ticket": "T-4"}),)
        assert directives.now == (Emit("ticket.accepted", {"ticket": "?"}),)
        assert [(one.field, one.recorded, type(one.now)) for one in differences[2:]] == [
            ("outcome", "committed", ValueError),
            ("outcome", "committed", Rejected),
        ]
        assert await storage.load(KEY) == before


async def test_turns_that_were_trimmed_are_not_run_again(storage: Storage) -> None:
    async with storage:
        await fill(storage)
        await storage.trim(KEY, keep=2)
        assert [entry.turn.sequence async for entry in replay_stored(storage, Desk, "desk")] == [4, 5, 6, 7]
        with pytest.raises(HistoryGone):
            _ = [entry async for entry in replay_stored(storage, Desk, "desk", since=2)]


async def test_a_reader_changes_nothing_and_hinders_nobody(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    async with SQLiteStorage(path) as writer:
        await fill(writer, 4)
        async with SQLiteStorage(path, read_only=True) as reader:
            assert await state_at(reader, Desk, "desk") == desk(4)
            for turn, _ in turns(1, 5, desk(4)):
                await writer.append(Write(KEY, 1, NOW, (commit_of(turn, 1, code_of(Desk)),)))
            assert await state_at(reader, Desk, "desk") == desk(5)
            with pytest.raises(StorageError, match="reading only"):
                await reader.claim(KEY, code_of(Desk), owner="me", now=NOW)
            with pytest.raises(StorageError, match="reading only"):
                await reader.append(Write(KEY, 1, NOW))
        with pytest.raises(StorageUnavailable):
            await reader.find(KEY)
        record = await writer.find(KEY)
        assert record is not None
        assert record.claim == 1


@pytest.mark.parametrize("content", [None, b"", b"not a database, but long enough to be one" * 100])
async def test_a_reader_makes_no_database_and_repairs_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "agents.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StorageError):
        async with SQLiteStorage(path, read_only=True):
            pass
    assert files_in(tmp_path) == ({} if content is None else {"agents.db": content})


@pytest.mark.parametrize("is_wrapped", [False, True])
async def test_who_reads_where_nothing_is_makes_nothing(tmp_path: Path, is_wrapped: bool) -> None:
    path = tmp_path / "agents.db"
    storage: Any = SQLiteStorage(path)
    if is_wrapped:
        storage = FaultyStorage(storage)
    for read in (
        lambda: state_at(storage, Desk, "desk"),
        lambda: anext(history(storage, Desk, "desk")),
        lambda: anext(replay_stored(storage, Desk, "desk")),
    ):
        with pytest.raises(StorageUnavailable, match=re.escape(str(path))):
            await read()
    assert files_in(tmp_path) == {}
    assert not storage.is_open


async def test_a_file_that_is_no_database_is_not_tried_again_later(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content := b"milk, bread, and all that we need else" * 100)
    with pytest.raises(StorageError, match=r"notes\.txt.*not a database") as failed:
        await state_at(SQLiteStorage(path), Desk, "desk")
    assert not isinstance(failed.value, StorageUnavailable)
    assert files_in(tmp_path) == {"notes.txt": content}


async def test_before_its_first_start_there_was_no_such_agent(autojump_clock: trio.abc.Clock) -> None:
    storage = MemoryStorage()
    begun = datetime(2026, 3, 2, 12, tzinfo=UTC)
    async with open_runtime(AgentSpec(Started, "a", state={"count": 7}), storage=storage, epoch=begun) as runtime:
        await trio.sleep(10)
        await runtime.ref("a").call("add")
        with pytest.raises(AgentNotFound):
            await runtime.state_at("a", until=begun - timedelta(seconds=1))
    for until, count in ((begun, 7), (begun + timedelta(seconds=5), 7), (begun + timedelta(seconds=11), 8), (0, 7)):
        assert (await state_at(storage, Started, "a", until=until)).count == count
    with pytest.raises(AgentNotFound) as failed:
        await state_at(storage, Started, "a", until=begun - timedelta(seconds=1))
    assert failed.value.address.id == "a"
    assert [entry async for entry in history(storage, Started, "a", until=begun - timedelta(seconds=1))] == []


class Started(Agent, name="started", durable=True):
    """Begins with what it is given."""

    count: int = 0

    @on("add")
    def add(self) -> Any:
        return self.set(count=self.count + 1)


def files_in(directory: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in directory.iterdir()}
