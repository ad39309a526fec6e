"""Group commit: one thread that writes all that waits in one transaction, and wakes whoever waited."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, final

import outcome
import trio

from ._errors import CommitFailed, StorageError, StorageUnavailable
from ._sqlite_writing import Call, Work, Writing

__all__ = ["GroupCommit"]

# How many callers share one transaction. More would make the first wait for the last without saving much: with 500
# the fsync is a small part of the time of a batch.
_MOST: Final = 500

_GRACE: Final = 10.0  # seconds of real time for which a caller that was cancelled still waits for its commit


_NOTHING: Final = outcome.Value(None)


@final
class _Request:
    __slots__ = ("deadline", "is_waiting", "result", "task", "work")

    def __init__(self, work: Work, task: trio.lowlevel.Task) -> None:
        self.work = work
        self.task = task
        self.is_waiting = True
        self.deadline = 0.0
        self.result: outcome.Outcome[Any] = _NOTHING


@final
class GroupCommit:
    """The writer of one database. It belongs to the Trio run in which it was started.

    Args:
        connection: its own, which it closes in the end.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._writing = Writing(connection)
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._token = trio.lowlevel.current_trio_token()
        self._hurried: set[_Request] = set()
        self._timer: threading.Timer | None = None
        self._is_stopping = False
        # A daemon, for a program that breaks down must not wait for it; `stop` does.
        self._thread = threading.Thread(target=self._work, name="prunella.storage writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work) -> Any:
        """Has something written with whatever else waits, and returns when it is durable.

        Once it has begun, cancellation waits for it: for 10 s of real time, for it is a disk that is waited for.

        Raises:
            CommitFailed: it was not acknowledged.
            StorageUnavailable: nothing was written.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_stopping:
            raise StorageUnavailable("the storage is being closed")
        request = _Request(work, trio.lowlevel.current_task())
        self._queue.put(request)

        def hurry(_: object) -> trio.lowlevel.Abort:
            request.deadline = time.monotonic() + _GRACE
            self._hurried.add(request)
            self._set_timer()
            return trio.lowlevel.Abort.FAILED

        return await trio.lowlevel.wait_task_rescheduled(hurry)

    async def stop(self) -> None:
        """Writes what waits, and ends."""
        self._is_stopping = True
        self._queue.put(None)
        with trio.CancelScope(shield=True):  # the join has a limit of its own, in real time
            await trio.to_thread.run_sync(self._thread.join, 3 * _GRACE)
        if self._timer is not None:
            self._timer.cancel()

    # In the thread.

    def _work(self) -> None:
        is_going_on = True
        try:
            while is_going_on:
                batch, is_going_on = self._next()
                if batch:
                    results = _written(self._connection, self._writing, [request.work for request in batch])
                    for request, result in zip(batch, results, strict=True):
                        request.result = result
                    _tidy_up(self._connection, batch)
                    self._call(partial(self._wake, batch))
        finally:
            _close(self._connection)

    def _next(self) -> tuple[list[_Request], bool]:
        """What waits; and whether more may come."""
        batch: list[_Request] = []
        request = self._queue.get()
        try:
            while request is not None:
                batch.append(request)
                if len(batch) == _MOST:
                    return batch, True
                request = self._queue.get_nowait()
        except queue.Empty:
            return batch, True
        return batch, False

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(trio.RunFinishedError):  # then nobody waits any more
            self._token.run_sync_soon(function)

    # In Trio's thread again.

    def _wake(self, batch: Sequence[_Request]) -> None:
        for request in batch:
            if request.is_waiting:
                request.is_waiting = False
                self._hurried.discard(request)
                trio.lowlevel.reschedule(request.task, request.result)

    def _set_timer(self) -> None:
        if self._timer is None and self._hurried:
            first = min(request.deadline for request in self._hurried)
            self._timer = threading.Timer(max(0.0, first - time.monotonic()), self._call, [self._give_up])
            self._timer.daemon = True
            self._timer.start()

    def _give_up(self) -> None:
        self._timer = None
        now = time.monotonic()
        for request in [request for request in self._hurried if request.deadline <= now]:
            self._hurried.discard(request)
            request.is_waiting = False
            error = CommitFailed(f"the disk has not answered for {_GRACE:g} s", in_doubt=True)
            trio.lowlevel.reschedule(request.task, outcome.Error(error))
        self._set_timer()


def _written(
    connection: sqlite3.Connection, writing: Writing, works: Sequence[Work], *, is_careful: bool = False
) -> list[outcome.Outcome[Any]]:
    """Writes all in one transaction. If something breaks it, each gets one of its own, so that only the cause fails."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        return [outcome.Error(StorageUnavailable(f"the database cannot be written: {error}")) for _ in works]
    try:
        results = writing.run(works, is_careful=is_careful)
    except Exception as error:
        _take_back(connection, writing)
        if not is_careful and isinstance(error, sqlite3.IntegrityError):
            return _written(connection, writing, works, is_careful=True)
        if len(works) > 1:
            return [_written(connection, writing, [work], is_careful=True)[0] for work in works]
        return [outcome.Error(_failure(error))]
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _take_back(connection, writing)
        # What could not be written to the end is not there. After an error of the disk nobody knows.
        in_doubt = (error.sqlite_errorcode & 0xFF) not in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
        return [
            outcome.Error(CommitFailed(f"the database could not commit: {error}", in_doubt=in_doubt)) for _ in works
        ]
    return [outcome.Error(result) if isinstance(result, Exception) else outcome.Value(result) for result in results]


def _tidy_up(connection: sqlite3.Connection, batch: Sequence[_Request]) -> None:
    """What has to come after a commit, and outside it."""
    statements = {
        statement: None for request in batch if isinstance(request.work, Call) for statement in request.work.after
    }
    for statement in statements:
        with suppress(sqlite3.Error):  # somebody else is reading or writing; the next one does it
            connection.executescript(statement)  # to its end; `execute` of Python 3.11 takes one step


def _failure(error: Exception) -> Exception:
    if isinstance(error, sqlite3.Error):
        failed = CommitFailed(f"the database refused it: {error}")
        failed.__cause__ = error
        return failed
    if isinstance(error, UnicodeEncodeError):  # an id, or the key of a schedule, which are kept as text
        return StorageError(f"half of a surrogate pair cannot be stored: {error.object!r}")
    return error


def _take_back(connection: sqlite3.Connection, writing: Writing) -> None:
    writing.forget()
    with suppress(sqlite3.Error):  # some errors have taken it back already
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _close(connection: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # somebody else is reading; the next who opens it does it
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
