"""The tables of a database, and how an older one becomes one of today."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from ._errors import StorageError

__all__ = ["APPLICATION_ID", "VERSION", "check", "migrate", "set_up"]

APPLICATION_ID: Final = 0x5072756E  # "Prun": tells `file`, and us, whose database it is

# Commits lie in the order in which they were written, so that one batch of many agents fills a few pages, instead of
# one page for each agent; the index of sequences is small, and ids of signals begin with the time, so they come almost
# in order. What is looked up by its key alone has no rowid.
_FIRST: Final = """
CREATE TABLE agents (
    agent INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again, so a number that somebody remembers is right or gone
    runtime TEXT NOT NULL,
    partition TEXT NOT NULL,                  -- empty for none
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    reference TEXT NOT NULL,
    claim INTEGER NOT NULL,
    owner TEXT,
    previous TEXT,                            -- from whom it was claimed while that one was alive
    spec BLOB,
    trimmed INTEGER NOT NULL DEFAULT 0,       -- turns up to this one are gone
    forgotten INTEGER NOT NULL DEFAULT 0,     -- ids of the signals of turns up to this one are, too
    UNIQUE (runtime, partition, id)
);
CREATE INDEX agents_previous ON agents (previous) WHERE previous IS NOT NULL;
CREATE TABLE owners (owner TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE commits (
    agent INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    at INTEGER NOT NULL,
    signal TEXT,                              -- its id, as long as it is remembered
    answer BLOB,
    body BLOB NOT NULL                        -- empty when only the signal is still remembered
);
CREATE UNIQUE INDEX commits_sequence ON commits (agent, sequence);
CREATE UNIQUE INDEX commits_signal ON commits (signal, agent);
CREATE TABLE snapshots (
    agent INTEGER NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (agent, sequence)
);
CREATE TABLE directives (
    agent INTEGER NOT NULL, sequence INTEGER NOT NULL, place INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (agent, sequence, place)
) WITHOUT ROWID;
CREATE TABLE schedules (
    agent INTEGER NOT NULL, name TEXT NOT NULL, due INTEGER NOT NULL, directive BLOB NOT NULL, origin TEXT NOT NULL,
    PRIMARY KEY (agent, name)
) WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (due);
CREATE TABLE waiting (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    agent INTEGER NOT NULL, signal TEXT NOT NULL, deliveries INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX waiting_signal ON waiting (agent, signal);
CREATE INDEX waiting_order ON waiting (agent, position);
CREATE TABLE dead (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    agent INTEGER NOT NULL, signal TEXT NOT NULL, reason TEXT NOT NULL, deliveries INTEGER NOT NULL,
    at INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE UNIQUE INDEX dead_signal ON dead (agent, signal);
CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO facts VALUES ('highest forgotten claim', 0);
"""


def _first(connection: sqlite3.Connection) -> None:
    # Not executescript, which would commit first.
    for statement in _FIRST.split(";\n"):
        if statement.strip():
            connection.execute(statement)


# From the version that is its place to the next. They run in one transaction, which begins with an empty database.
_STEPS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_first,)
VERSION: Final = len(_STEPS)


def set_up(connection: sqlite3.Connection) -> None:
    """Makes a database ours: made now, brought to the present, or found to be.

    Raises:
        StorageError: it is somebody else's, or was made by a newer release.
        sqlite3.Error: it is none.
    """
    connection.execute("PRAGMA busy_timeout = 5000")
    version, empty = _state(connection)
    if empty:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # counts only before there is a table
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")  # macOS: an fsync that reaches the disk; elsewhere it is nothing
    if version < VERSION:
        migrate(connection)


def check(connection: sqlite3.Connection) -> None:
    """That a database is ours, and of the present; nothing is changed.

    Raises:
        StorageError: it is empty, or somebody else's, or was made by another release.
        sqlite3.Error: it is none.
    """
    version, empty = _state(connection)
    if empty:
        raise StorageError("the database is empty")
    if version < VERSION:
        raise StorageError(
            f"the database was made by an older release: its form is {version}, this release reads {VERSION}; "
            "it is brought to the present when it is opened for writing"
        )


def migrate(connection: sqlite3.Connection, steps: tuple[Callable[[sqlite3.Connection], None], ...] = _STEPS) -> None:
    """Brings a database to the present, all the way or not at all.

    Raises:
        StorageError: another process has brought it further meanwhile.
        sqlite3.Error: a step failed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version, _ = _state(connection, len(steps))
        for step in steps[version:]:
            step(connection)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _state(connection: sqlite3.Connection, newest: int = VERSION) -> tuple[int, bool]:
    """The version of a database, and whether it is empty."""
    # At one instant: another process may be making it now.
    row = connection.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_user_version, pragma_application_id"
    )
    version, application, tables = row.fetchone()
    if tables and application != APPLICATION_ID:
        raise StorageError("the database holds something else, it was not made by prunella")
    if version > newest:
        raise StorageError(
            f"the database was made by a newer release: its form is {version}, this release knows {newest}; "
            "it was left as it is"
        )
    return version, not tables
