"""What is read of a database: each function sees one instant of it if it is called inside a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from ..agents import RestoreFailed
from ._codec import decode_commit, decode_data, decode_signal, decode_snapshot, microseconds, moment, read_spec
from ._commit import Code, Commit, DeadLetter, ScheduleRecord, Snapshot
from ._errors import HistoryGone
from ._key import AgentKey, about, directive_id
from ._records import AgentRecord, DueSchedule, Handled, Outbox, StoredAgent, StoredDirective, StoredSignal

__all__ = [
    "number_of",
    "of_agent",
    "read_agent",
    "read_agents",
    "read_commits",
    "read_commits_of",
    "read_dead_letters",
    "read_directives",
    "read_directives_of",
    "read_due",
    "read_handled",
    "read_outbox",
    "read_record",
    "read_runtimes",
    "read_schedules_of",
    "read_snapshot",
    "read_snapshots_of",
    "read_waiting",
]

_RECORD: Final = """
SELECT runtime, partition, id, name, version, digest, reference, claim, agents.owner, owners.until,
    max(coalesce((SELECT max(sequence) FROM commits WHERE commits.agent = agents.agent), 0), trimmed), spec,
    EXISTS (SELECT 1 FROM waiting WHERE waiting.agent = agents.agent)
        OR EXISTS (SELECT 1 FROM directives WHERE directives.agent = agents.agent)
FROM agents LEFT JOIN owners ON owners.owner = agents.owner
"""


@contextmanager
def of_agent(key: AgentKey) -> Iterator[None]:
    """Says of what cannot be read whose it is."""
    try:
        yield
    except RestoreFailed as error:
        about(error, key)
        raise


def number_of(connection: sqlite3.Connection, key: AgentKey) -> int | None:
    """The number of an agent."""
    row = connection.execute(
        "SELECT agent FROM agents WHERE runtime = ? AND partition = ? AND id = ?", key.order
    ).fetchone()
    return None if row is None else int(row[0])


def read_runtimes(connection: sqlite3.Connection) -> tuple[str, ...]:
    """See `Storage.runtimes`."""
    rows = connection.execute("SELECT DISTINCT runtime FROM agents ORDER BY runtime")
    return tuple([runtime for (runtime,) in rows])


def read_record(connection: sqlite3.Connection, key: AgentKey) -> AgentRecord | None:
    """See `Storage.find`."""
    where = "WHERE runtime = ? AND partition = ? AND id = ?"
    row = connection.execute(f"{_RECORD} {where}", key.order).fetchone()
    return None if row is None else _record(row)


def read_agents(
    connection: sqlite3.Connection, runtime: str, after: AgentKey | None, limit: int
) -> tuple[AgentRecord, ...]:
    """See `Storage.agents`."""
    partition, id = ("", "") if after is None else after.order[1:]
    rows = connection.execute(
        f"{_RECORD} WHERE runtime = ? AND (partition, id) > (?, ?) ORDER BY partition, id LIMIT ?",
        (runtime, partition, id, limit),
    )
    return tuple([_record(row) for row in rows])


def _record(row: tuple[Any, ...]) -> AgentRecord:
    runtime, partition, id, name, version, digest, reference, claim, owner, until, sequence, spec, has_work = row
    spec, is_readable = read_spec(spec)
    return AgentRecord(
        AgentKey(runtime, partition or None, id),
        Code(name, version, digest, reference),
        claim,
        owner,
        None if owner is None or until is None else moment(until),
        sequence,
        spec,
        bool(has_work),
        is_readable,
    )


def read_agent(connection: sqlite3.Connection, key: AgentKey) -> StoredAgent | None:
    """See `Storage.load`."""
    record = read_record(connection, key)
    agent = number_of(connection, key)
    if record is None or agent is None:
        return None
    with of_agent(key):
        snapshot = _snapshot(connection, agent, None)
        return StoredAgent(
            record,
            snapshot,
            read_commits_of(connection, agent, 0 if snapshot is None else snapshot.sequence, -1),
            read_waiting(connection, agent, 0, 1000),
            read_directives_of(connection, agent, key),
            read_schedules_of(connection, agent),
        )


def read_commits(connection: sqlite3.Connection, key: AgentKey, after: int, limit: int) -> tuple[Commit, ...]:
    """See `Storage.commits`."""
    agent = number_of(connection, key)
    if agent is None:
        return ()
    (trimmed,) = connection.execute("SELECT trimmed FROM agents WHERE agent = ?", (agent,)).fetchone()
    if after < trimmed:
        raise HistoryGone(trimmed)
    with of_agent(key):
        return read_commits_of(connection, agent, after, limit)


def read_commits_of(connection: sqlite3.Connection, agent: int, after: int, limit: int) -> tuple[Commit, ...]:
    """Turns of an agent, in order; all if the limit is negative."""
    rows = connection.execute(
        "SELECT sequence, body FROM commits WHERE agent = ? AND sequence > ? ORDER BY sequence LIMIT ?",
        (agent, after, limit),
    )
    return tuple([decode_commit(body, f"turn {sequence}") for sequence, body in rows.fetchall()])


def read_snapshot(connection: sqlite3.Connection, key: AgentKey, until: int | datetime | None) -> Snapshot | None:
    """See `Storage.snapshot`."""
    agent = number_of(connection, key)
    if agent is None:
        return None
    with of_agent(key):
        return _snapshot(connection, agent, until)


def _snapshot(connection: sqlite3.Connection, agent: int, until: int | datetime | None) -> Snapshot | None:
    bound, values = "", [agent]
    if isinstance(until, datetime):
        bound, values = "AND at <= ?", [agent, microseconds(until)]
    elif until is not None:
        bound, values = "AND sequence <= ?", [agent, until]
    row = connection.execute(
        f"SELECT sequence, at, body FROM snapshots WHERE agent = ? {bound} ORDER BY sequence DESC LIMIT 1", values
    ).fetchone()
    if row is None:
        return None
    sequence, at, body = row
    return decode_snapshot(body, sequence, moment(at))


def read_snapshots_of(connection: sqlite3.Connection, agent: int) -> tuple[Snapshot, ...]:
    """All snapshots of an agent, in order."""
    rows = connection.execute("SELECT sequence, at, body FROM snapshots WHERE agent = ? ORDER BY sequence", (agent,))
    return tuple([decode_snapshot(body, sequence, moment(at)) for sequence, at, body in rows.fetchall()])


def read_handled(connection: sqlite3.Connection, key: AgentKey, signal_id: str) -> Handled | None:
    """See `Storage.handled`."""
    row = connection.execute(
        "SELECT sequence, answer, at FROM commits WHERE agent = ? AND signal = ?",
        (number_of(connection, key), signal_id),
    ).fetchone()
    if row is None:
        return None
    sequence, answer, at = row
    if answer is None:
        return Handled(signal_id, sequence, now=moment(at))
    with of_agent(key):
        return Handled(signal_id, sequence, decode_data(answer, f"the answer to {signal_id}"), True, moment(at))


def read_waiting(connection: sqlite3.Connection, agent: int, after: int, limit: int) -> tuple[StoredSignal, ...]:
    """The signals that wait for an agent, in order."""
    rows = connection.execute(
        "SELECT position, body, deliveries, at FROM waiting WHERE agent = ? AND position > ? ORDER BY position LIMIT ?",
        (agent, after, limit),
    )
    return tuple(
        [
            StoredSignal(position, decode_signal(body, f"waiting signal {position}"), deliveries, moment(at))
            for position, body, deliveries, at in rows.fetchall()
        ]
    )


def read_directives(connection: sqlite3.Connection, key: AgentKey) -> tuple[StoredDirective, ...]:
    """See `Storage.open_directives`."""
    agent = number_of(connection, key)
    if agent is None:
        return ()
    with of_agent(key):
        return read_directives_of(connection, agent, key)


def read_directives_of(connection: sqlite3.Connection, agent: int, key: AgentKey) -> tuple[StoredDirective, ...]:
    """The open directives of an agent, in order."""
    rows = connection.execute(
        "SELECT sequence, place, at, body FROM directives WHERE agent = ? ORDER BY sequence, place", (agent,)
    )
    return tuple(
        [
            StoredDirective(
                directive_id(key, sequence, place),
                sequence,
                place,
                decode_data(body, f"directive {place} of turn {sequence}"),
                moment(at),
            )
            for sequence, place, at, body in rows.fetchall()
        ]
    )


def read_schedules_of(connection: sqlite3.Connection, agent: int) -> tuple[ScheduleRecord, ...]:
    """The schedules of an agent, by their names."""
    rows = connection.execute(
        "SELECT name, due, directive, origin FROM schedules WHERE agent = ? ORDER BY name", (agent,)
    )
    return tuple([_schedule(*row) for row in rows.fetchall()])


def _schedule(name: str, due: int, body: bytes, origin: str) -> ScheduleRecord:
    return ScheduleRecord(name, moment(due), decode_data(body, f"the schedule {name!r}"), origin)


def read_due(connection: sqlite3.Connection, runtime: str, until: int, limit: int) -> tuple[DueSchedule, ...]:
    """See `Storage.due`."""
    rows = connection.execute(
        "SELECT partition, id, schedules.name, due FROM schedules JOIN agents USING (agent) "
        "WHERE runtime = ? AND due <= ? ORDER BY due, partition, id, schedules.name LIMIT ?",
        (runtime, until, limit),
    )
    return tuple(
        [
            DueSchedule(AgentKey(runtime, partition or None, id), name, moment(due))
            for partition, id, name, due in rows.fetchall()
        ]
    )


def read_outbox(connection: sqlite3.Connection, runtime: str) -> Outbox:
    """See `Storage.outbox`."""
    count, oldest = connection.execute(
        "SELECT count(*), min(at) FROM directives JOIN agents USING (agent) WHERE runtime = ?", (runtime,)
    ).fetchone()
    return Outbox(count, None if oldest is None else moment(oldest))


def read_dead_letters(connection: sqlite3.Connection, key: AgentKey, limit: int) -> tuple[DeadLetter, ...]:
    """See `Storage.dead_letters`."""
    rows = connection.execute(
        "SELECT signal, reason, deliveries, at, body FROM dead WHERE agent = ? ORDER BY number DESC LIMIT ?",
        (number_of(connection, key), limit),
    ).fetchall()
    with of_agent(key):
        return tuple(
            [
                DeadLetter(decode_signal(body, f"the dead letter {signal}"), reason, deliveries, moment(at))
                for signal, reason, deliveries, at, body in reversed(rows)
            ]
        )
