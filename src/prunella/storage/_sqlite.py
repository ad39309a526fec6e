from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar, final

import trio

from ..errors import InvalidArgument
from ..signals import Signal
from . import _sqlite_calls as calls
from . import _sqlite_reading as reading
from ._codec import encode_data, microseconds
from ._commit import Code, Commit, DeadLetter, Snapshot, Write
from ._dump import AgentDump
from ._errors import StorageError, StorageUnavailable
from ._group_commit import GroupCommit
from ._key import AgentKey
from ._prepared import Prepared, prepare, prepare_signals
from ._records import AgentRecord, DueSchedule, Handled, Outbox, StoredAgent, StoredDirective, StoredSignal
from ._sqlite_backup import back_up
from ._sqlite_dump import insert, read_dump
from ._sqlite_opening import connect, connect_to_read
from ._sqlite_writing import Append, Call, Enqueue, Work
from ._storage import Outcome
from ._turn_mark import TurnMark

__all__ = ["SQLiteStorage"]

T = TypeVar("T")

# Pages that deletions have left empty are given back to the file system a bit at a time, after the commit.
_GIVE_BACK: Final = "PRAGMA incremental_vacuum(1000)"
_EMPTY_THE_LOG: Final = "PRAGMA wal_checkpoint(TRUNCATE)"


@final
class SQLiteStorage:
    """Keeps everything in one SQLite database: the durable default, with no server to run.

    What is acknowledged survives `SIGKILL`, and a loss of power as far as the disk keeps its word (`synchronous=FULL`
    on a write-ahead log). All that waits is written in one transaction, so a hundred agents share one `fsync`.
    Several processes may use one database; not over a network file system. Readers and the writer do not hinder each
    other.

    Open it with `async with storage:`, or hand it to a runtime, which does. Afterwards it may be opened again.

    Args:
        path: of the database; it is made if it is not there. Beside it are, while it is open, `-wal` and `-shm`, and
            `-turn-…` of each runtime: the signal in whose turn a process was killed is found there.
        read_only: whether nothing is to be changed: the database has to be there, every change is a `StorageError`,
            and a program that writes it meanwhile is not hindered.

    Attributes:
        users: the names of the runtimes that use this object: two of one name would take each other's agents.

    Raises:
        InvalidArgument: this is no path of a file.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        if not isinstance(path, (str, os.PathLike)) or not os.fspath(path) or str(path).startswith(":"):
            raise InvalidArgument("SQLiteStorage", "path", "the path of a file", path)
        self.path = Path(path)
        self.read_only = read_only
        self.users: set[str] = set()
        self._commit: GroupCommit | None = None
        self._reader: sqlite3.Connection | None = None
        self._limiter = trio.CapacityLimiter(1)
        self._is_exclusive = False
        self._is_opening = False

    def __repr__(self) -> str:
        return f"SQLiteStorage({str(self.path)!r})"

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._reader is not None

    @property
    def is_exclusive(self) -> bool:
        """Whether who opened it wants to be its only user."""
        return self._is_exclusive

    async def open(self, *, exclusive: bool = False) -> None:
        """Makes it usable. See `Storage.open`.

        Raises:
            StorageUnavailable: the file cannot be opened.
        """
        if self._reader is not None or self._is_opening:
            raise InvalidArgument("SQLiteStorage", "open()", "called while it is closed", self)
        self._is_opening = True
        try:
            writer: sqlite3.Connection | None = None
            if self.read_only:
                reader = await trio.to_thread.run_sync(connect_to_read, self.path)
            else:
                writer, reader = await trio.to_thread.run_sync(connect, self.path)
            self._limiter = trio.CapacityLimiter(1)  # one belongs to the run in which it is first used
            self._commit = None if writer is None else GroupCommit(writer)
            self._reader, self._is_exclusive = reader, exclusive
        finally:
            self._is_opening = False

    async def close(self) -> None:
        """Writes what waits, empties the log, and lets go. See `Storage.close`."""
        commit, reader = self._commit, self._reader
        self._commit = self._reader = None
        self._is_exclusive = False
        if reader is None:
            return
        # Reads are short; the shield ends with the last of them, and `stop` has a limit of its own.
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(reader.close, limiter=self._limiter)
            if commit is not None:
                await commit.stop()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def turn_mark(self, runtime: str) -> TurnMark | None:
        """The note of what is in a turn, for a runtime of that name; None if nothing can be written there.

        No part of `Storage`: a runtime asks for it where a storage has it, and counts a signal that has killed its
        process without suspecting those that only waited.
        """
        if self.read_only:
            return None
        try:
            return await trio.to_thread.run_sync(TurnMark.beside, self.path, runtime)
        except OSError:
            return None

    # Changes.

    async def claim(
        self,
        key: AgentKey,
        code: Code,
        *,
        owner: str,
        now: datetime,
        lease: float = 10.0,
        refuse: bool = False,
        spec: Mapping[str, Any] | None = None,
    ) -> AgentRecord:
        """See `Storage.claim`."""
        body = None if spec is None else encode_data(spec)
        until = microseconds(now + timedelta(seconds=lease))
        return await self._call(
            partial(
                calls.claim,
                key=key,
                code=code,
                owner=owner,
                now=microseconds(now),
                until=until,
                refuse=refuse,
                spec=body,
            )
        )

    async def renew(self, owner: str, *, now: datetime, lease: float = 10.0) -> tuple[AgentKey, ...]:
        """See `Storage.renew`."""
        return await self._call(
            partial(calls.renew, owner=owner, now=microseconds(now), until=microseconds(now + timedelta(seconds=lease)))
        )

    async def release(self, key: AgentKey, claim: int) -> None:
        """See `Storage.release`."""
        await self._call(partial(calls.release, key=key, number=claim))

    async def record(self, key: AgentKey, claim: int, spec: Mapping[str, Any] | None) -> None:
        """See `Storage.record`."""
        body = None if spec is None else encode_data(spec)
        await self._call(partial(calls.record, key=key, number=claim, spec=body))

    async def forget(self, key: AgentKey) -> bool:
        """Deletes everything of an agent; its bytes are overwritten, in the log too. See `Storage.forget`."""
        return await self._call(partial(calls.forget, key=key), _GIVE_BACK, _EMPTY_THE_LOG)

    async def insert(self, dump: AgentDump) -> None:
        """See `Storage.insert`."""
        await self._call(partial(insert, dump=dump))

    async def append(self, *writes: Write) -> tuple[Outcome, ...]:
        """See `Storage.append`."""
        if len(writes) == 1:  # what comes most often
            try:
                ready = prepare(writes[0])
            except StorageError as error:
                await trio.lowlevel.checkpoint()
                return (error,)
            outcomes: tuple[Outcome, ...] = await self._submit(Append([ready]))
            return outcomes
        prepared: list[Prepared | StorageError] = []
        for write in writes:
            try:
                prepared.append(prepare(write))
            except StorageError as error:
                prepared.append(error)
        good = [write for write in prepared if isinstance(write, Prepared)]
        of_each = iter(await self._submit(Append(good)))
        return tuple([write if isinstance(write, StorageError) else next(of_each) for write in prepared])

    async def enqueue(self, key: AgentKey, *signals: Signal, now: datetime) -> tuple[bool, ...]:
        """See `Storage.enqueue`."""
        new: tuple[bool, ...] = await self._submit(Enqueue(key, prepare_signals(signals), microseconds(now)))
        return new

    async def take(self, key: AgentKey, claim: int, *, after: int = 0, limit: int = 100) -> tuple[StoredSignal, ...]:
        """See `Storage.take`."""
        return await self._call(partial(calls.take, key=key, number=claim, after=after, limit=limit))

    async def redrive(self, key: AgentKey, signal_id: str | None = None, *, now: datetime) -> int:
        """See `Storage.redrive`."""
        return await self._call(partial(calls.redrive, key=key, signal_id=signal_id, now=microseconds(now)))

    async def discard(self, key: AgentKey, signal_id: str | None = None) -> int:
        """See `Storage.discard`."""
        return await self._call(partial(calls.discard, key=key, signal_id=signal_id))

    async def trim(
        self,
        key: AgentKey,
        *,
        before: datetime | None = None,
        keep: int | None = None,
        handled_before: datetime | None = None,
    ) -> int:
        """Deletes old turns, and gives some of the room back to the file system. See `Storage.trim`."""
        return await self._call(
            partial(
                calls.trim,
                key=key,
                before=None if before is None else microseconds(before),
                keep=keep,
                handled_before=None if handled_before is None else microseconds(handled_before),
            ),
            _GIVE_BACK,
        )

    # Reading.

    async def backup(self, target: str | os.PathLike[str]) -> None:
        """Copies the database, as it is at one instant, into a new file. Nobody who writes it meanwhile is hindered.

        Raises:
            StorageError: the target is there already, or cannot be written. Then there is none.
            StorageUnavailable: the storage is not open.
        """
        if self._reader is None:
            await trio.lowlevel.checkpoint()
            raise _closed()
        await trio.to_thread.run_sync(back_up, self.path, Path(target), trio.from_thread.check_cancelled)

    async def find(self, key: AgentKey) -> AgentRecord | None:
        """See `Storage.find`."""
        return await self._read(reading.read_record, key)

    async def agents(
        self, runtime: str, *, after: AgentKey | None = None, limit: int = 1000
    ) -> tuple[AgentRecord, ...]:
        """See `Storage.agents`."""
        return await self._read(reading.read_agents, runtime, after, limit)

    async def load(self, key: AgentKey) -> StoredAgent | None:
        """See `Storage.load`."""
        return await self._read(reading.read_agent, key)

    async def runtimes(self) -> tuple[str, ...]:
        """See `Storage.runtimes`."""
        return await self._read(reading.read_runtimes)

    async def dump(self, key: AgentKey) -> AgentDump | None:
        """See `Storage.dump`."""
        return await self._read(read_dump, key)

    async def commits(self, key: AgentKey, *, after: int = 0, limit: int = 1000) -> tuple[Commit, ...]:
        """See `Storage.commits`."""
        return await self._read(reading.read_commits, key, after, limit)

    async def snapshot(self, key: AgentKey, *, until: int | datetime | None = None) -> Snapshot | None:
        """See `Storage.snapshot`."""
        return await self._read(reading.read_snapshot, key, until)

    async def handled(self, key: AgentKey, signal_id: str) -> Handled | None:
        """See `Storage.handled`."""
        return await self._read(reading.read_handled, key, signal_id)

    async def open_directives(self, key: AgentKey) -> tuple[StoredDirective, ...]:
        """See `Storage.open_directives`."""
        return await self._read(reading.read_directives, key)

    async def outbox(self, runtime: str) -> Outbox:
        """See `Storage.outbox`."""
        return await self._read(reading.read_outbox, runtime)

    async def due(self, runtime: str, *, until: datetime, limit: int = 100) -> tuple[DueSchedule, ...]:
        """See `Storage.due`."""
        return await self._read(reading.read_due, runtime, microseconds(until), limit)

    async def dead_letters(self, key: AgentKey, *, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """See `Storage.dead_letters`."""
        return await self._read(reading.read_dead_letters, key, limit)

    async def _submit(self, work: Work) -> Any:
        if self._commit is None:
            await trio.lowlevel.checkpoint()
            if self._reader is not None:
                raise StorageError(f"{self.path} was opened for reading only")
            raise _closed()
        return await self._commit.submit(work)

    async def _call(self, function: Callable[..., T], *after: str) -> T:
        result: T = await self._submit(Call(function, after))
        return result

    async def _read(self, read: Callable[..., T], *args: Any) -> T:
        """Reads in a thread, one after the other, each at one instant of the database."""
        reader = self._reader
        if reader is None:
            await trio.lowlevel.checkpoint()
            raise _closed()
        return await trio.to_thread.run_sync(_at_one_instant, reader, read, args, limiter=self._limiter)


def _closed() -> StorageUnavailable:
    return StorageUnavailable("the storage is not open: use `async with storage:`")


def _at_one_instant(connection: sqlite3.Connection, read: Callable[..., T], args: tuple[Any, ...]) -> T:
    try:
        connection.execute("BEGIN")
        try:
            return read(connection, *args)
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise StorageUnavailable(f"the database cannot be read: {error}") from error
