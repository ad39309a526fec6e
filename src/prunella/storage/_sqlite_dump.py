"""Everything of an agent, out of a database and into one."""

from __future__ import annotations

import sqlite3

from ._codec import (
    decode_data,
    encode_commit,
    encode_data,
    encode_signal,
    encode_snapshot,
    microseconds,
    moment,
)
from ._dump import AgentDump, check_dump
from ._errors import AlreadyStored, StorageError
from ._key import AgentKey
from ._records import Handled
from ._sqlite_reading import (
    number_of,
    of_agent,
    read_commits_of,
    read_dead_letters,
    read_directives_of,
    read_record,
    read_schedules_of,
    read_snapshots_of,
    read_waiting,
)
from ._sqlite_writing import Writing

__all__ = ["insert", "read_dump"]


def read_dump(connection: sqlite3.Connection, key: AgentKey) -> AgentDump | None:
    """See `Storage.dump`."""
    record, agent = read_record(connection, key), number_of(connection, key)
    if record is None or agent is None:
        return None
    (trimmed, spec) = connection.execute("SELECT trimmed, spec FROM agents WHERE agent = ?", (agent,)).fetchone()
    with of_agent(key):
        if not record.is_readable:
            decode_data(spec, "the spec")
        return AgentDump(
            record,
            trimmed,
            read_snapshots_of(connection, agent),
            read_commits_of(connection, agent, trimmed, -1),
            read_waiting(connection, agent, 0, -1),
            read_directives_of(connection, agent, key),
            read_schedules_of(connection, agent),
            read_dead_letters(connection, key, -1),
            _handled(connection, agent),
        )


def _handled(connection: sqlite3.Connection, agent: int) -> tuple[Handled, ...]:
    rows = connection.execute(
        "SELECT signal, sequence, answer, at FROM commits WHERE agent = ? AND signal IS NOT NULL ORDER BY sequence",
        (agent,),
    )
    return tuple(
        [
            Handled(
                signal,
                sequence,
                None if answer is None else decode_data(answer, f"the answer to {signal}"),
                answer is not None,
                moment(at),
            )
            for signal, sequence, answer, at in rows.fetchall()
        ]
    )


def insert(writing: Writing, dump: AgentDump) -> None:
    """See `Storage.insert`."""
    check_dump(dump)
    key = dump.record.key
    if writing.agent(key) is not None:
        raise AlreadyStored(str(key))
    rows = _Rows(dump)
    writing.connection.execute("SAVEPOINT agent")
    try:
        _insert(writing.connection, dump, rows)
    except UnicodeEncodeError as error:
        # What is no error of the database does not end its transaction.
        writing.connection.execute("ROLLBACK TO agent")
        raise StorageError(f"half of a surrogate pair cannot be stored: {error.object!r}") from error
    finally:
        if writing.connection.in_transaction:
            writing.connection.execute("RELEASE agent")


def _insert(connection: sqlite3.Connection, dump: AgentDump, rows: _Rows) -> None:
    key, code, claim = dump.record.key, dump.record.code, dump.record.claim
    execute, many = connection.execute, connection.executemany
    agent = execute(
        "INSERT INTO agents (runtime, partition, id, name, version, digest, reference, spec, trimmed, claim) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, max(?, (SELECT value FROM facts WHERE name = 'highest forgotten claim')))",
        (*key.order, code.name, code.version, code.digest, code.reference, rows.spec, dump.trimmed, claim),
    ).lastrowid
    for statement, found in (
        ("INSERT INTO commits (agent, sequence, at, signal, answer, body) VALUES (?, ?, ?, ?, ?, ?)", rows.commits),
        ("INSERT INTO snapshots (agent, sequence, at, body) VALUES (?, ?, ?, ?)", rows.snapshots),
        ("INSERT INTO directives (agent, sequence, place, at, body) VALUES (?, ?, ?, ?, ?)", rows.directives),
        ("INSERT INTO schedules (agent, name, due, directive, origin) VALUES (?, ?, ?, ?, ?)", rows.schedules),
        ("INSERT INTO waiting (agent, signal, deliveries, at, body) VALUES (?, ?, ?, ?, ?)", rows.waiting),
        ("INSERT INTO dead (agent, signal, reason, deliveries, at, body) VALUES (?, ?, ?, ?, ?, ?)", rows.dead),
    ):
        many(statement, [(agent, *row) for row in found])


class _Rows:
    """What an agent becomes, without its number."""

    def __init__(self, dump: AgentDump) -> None:
        remembered = {one.sequence: one for one in dump.handled}
        answers = {one.sequence: encode_data(one.answer) for one in dump.handled if one.is_answered}
        self.spec = None if dump.record.spec is None else encode_data(dump.record.spec)
        self.commits = [
            (
                commit.sequence,
                microseconds(commit.now),
                commit.signal.id if commit.sequence in remembered else None,
                answers.get(commit.sequence),
                encode_commit(commit),
            )
            for commit in dump.commits
        ]
        for one in dump.handled:
            if one.sequence <= dump.trimmed:
                assert one.now is not None
                row = (one.sequence, microseconds(one.now), one.signal_id, answers.get(one.sequence), b"")
                self.commits.append(row)
        self.snapshots = [(one.sequence, microseconds(one.now), encode_snapshot(one)) for one in dump.snapshots]
        self.directives = [
            (one.sequence, one.index, microseconds(one.now), encode_data(one.directive)) for one in dump.directives
        ]
        self.schedules = [
            (one.key, microseconds(one.due), encode_data(one.directive), one.id) for one in dump.schedules
        ]
        self.waiting = [
            (one.signal.id, one.deliveries, microseconds(one.now), encode_signal(one.signal)) for one in dump.waiting
        ]
        self.dead = [
            (one.signal.id, one.reason, one.deliveries, microseconds(one.now), encode_signal(one.signal))
            for one in dump.dead_letters
        ]
