"""Connections to a database that is ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final
from urllib.parse import quote

from ._errors import StorageError, StorageUnavailable
from ._sqlite_schema import check, set_up

__all__ = ["connect", "connect_to_read"]

# The log is copied into the database when it has so many pages of 4 KB, by the writer, between two batches; at 16 MB
# that is about once in 30 000 small turns. When the storage is closed the log is emptied.
_CHECKPOINT_PAGES: Final = 4000
_LARGEST_LOG: Final = 64 << 20  # bytes; what is beyond is given back at the next checkpoint

_PATIENCE: Final = 5.0  # seconds for which others may keep it busy

_NO_DATABASE: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def connect(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """The writer's connection and the reader's. The database is made if it is not there.

    Raises:
        StorageUnavailable: it cannot be opened.
        StorageError: it is no database, or somebody else's, or was made by a newer release.
    """
    opened: list[sqlite3.Connection] = []
    try:
        for _ in range(2):
            opened.append(_connection(path))
        writer, reader = opened
        set_up(writer)
        writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        writer.execute(f"PRAGMA journal_size_limit = {_LARGEST_LOG}")
        reader.execute("PRAGMA query_only = ON")
    except BaseException as error:
        _give_up(path, opened, error)
        raise
    return writer, reader


def connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection through which nothing can be changed. Nothing is made, and an older database stays as it is.

    Raises:
        StorageUnavailable: it cannot be opened.
        StorageError: it is no database, or somebody else's, or was made by another release.
    """
    opened: list[sqlite3.Connection] = []
    try:
        opened.append(_connection(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True))
        check(opened[0])
    except BaseException as error:
        _give_up(path, opened, error)
        raise
    return opened[0]


def _connection(database: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    return sqlite3.connect(database, isolation_level=None, check_same_thread=False, timeout=_PATIENCE, uri=uri)


def _give_up(path: Path, opened: list[sqlite3.Connection], error: BaseException) -> None:
    for connection in opened:
        connection.close()
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) in _NO_DATABASE:
        raise StorageError(f"{path} cannot be opened: {error}; prunella has not made it, or it is damaged") from error
    if isinstance(error, sqlite3.Error):
        raise StorageUnavailable(f"{path} cannot be opened: {error}") from error
