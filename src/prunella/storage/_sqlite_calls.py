"""The rarer changes of a `SQLiteStorage`: functions for its writer thread, run inside a transaction.

They check first and change afterwards, so that one that refuses leaves nothing behind in a transaction of several.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ..agents import Fenced, RestoreFailed
from ._commit import Code
from ._key import AgentKey, about
from ._records import AgentRecord, StoredSignal
from ._sqlite_reading import read_record, read_waiting
from ._sqlite_writing import Writing

__all__ = ["claim", "discard", "forget", "record", "redrive", "release", "renew", "take", "trim"]

_KEPT_LEASES = 24 * 3600 * 1_000_000  # microseconds; every start of a runtime is another owner

_TABLES = ("commits", "snapshots", "directives", "schedules", "waiting", "dead")


def claim(
    writing: Writing, key: AgentKey, code: Code, owner: str, now: int, until: int, refuse: bool, spec: bytes | None
) -> AgentRecord:
    """See `Storage.claim`; times are microseconds."""
    execute = writing.connection.execute
    agent = writing.agent(key)
    row = None if agent is None else execute(_CLAIMED, (agent,)).fetchone()
    previous: str | None = None
    if row is not None:
        name, last_owner, lease = row
        if name != code.name:
            raise about(RestoreFailed(f"an agent of type {name!r} is stored, not {code.name!r}"), key)
        if last_owner is not None and last_owner != owner and (lease or 0) > now:
            if refuse:
                raise about(Fenced(), key)
            previous = last_owner
    writing.forget(key)
    execute("INSERT INTO owners VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET until = excluded.until", (owner, until))
    what = (code.name, code.version, code.digest, code.reference)
    if agent is None:
        execute(
            "INSERT INTO agents (runtime, partition, id, name, version, digest, reference, owner, spec, claim) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT value + 1 FROM facts WHERE name = 'highest forgotten claim'))",
            (*key.order, *what, owner, spec),
        )
    else:
        execute(
            "UPDATE agents SET name = ?, version = ?, digest = ?, reference = ?, owner = ?, spec = coalesce(?, spec), "
            "claim = claim + 1, previous = ? WHERE agent = ?",
            (*what, owner, spec, previous, agent),
        )
    made = read_record(writing.connection, key)
    assert made is not None
    return made


_CLAIMED = (
    "SELECT agents.name, agents.owner, owners.until FROM agents LEFT JOIN owners ON owners.owner = agents.owner "
    "WHERE agent = ?"
)


def renew(writing: Writing, owner: str, now: int, until: int) -> tuple[AgentKey, ...]:
    """See `Storage.renew`."""
    execute = writing.connection.execute
    execute("DELETE FROM owners WHERE until < ?", (now - _KEPT_LEASES,))
    execute("INSERT INTO owners VALUES (?, ?) ON CONFLICT (owner) DO UPDATE SET until = excluded.until", (owner, until))
    rows = execute(
        "SELECT runtime, partition, id FROM agents WHERE previous = ? ORDER BY runtime, partition, id", (owner,)
    )
    return tuple([AgentKey(runtime, partition or None, id) for runtime, partition, id in rows])


def release(writing: Writing, key: AgentKey, number: int) -> None:
    """See `Storage.release`."""
    writing.connection.execute(
        "UPDATE agents SET owner = NULL, previous = NULL WHERE agent = ? AND claim = ?", (writing.agent(key), number)
    )


def record(writing: Writing, key: AgentKey, number: int, spec: bytes | None) -> None:
    """See `Storage.record`."""
    agent = writing.owned(key, number)
    writing.connection.execute("UPDATE agents SET spec = ? WHERE agent = ?", (spec, agent))


def forget(writing: Writing, key: AgentKey) -> bool:
    """See `Storage.forget`."""
    execute = writing.connection.execute
    agent = writing.agent(key)
    if agent is None:
        return False
    writing.forget(key)
    row = execute("SELECT claim FROM agents WHERE agent = ?", (agent,)).fetchone()
    # Deleted for good: the bytes are overwritten, not only given free.
    execute("PRAGMA secure_delete = ON")
    try:
        for table in _TABLES:
            execute(f"DELETE FROM {table} WHERE agent = ?", (agent,))
        execute("DELETE FROM agents WHERE agent = ?", (agent,))
        execute("UPDATE facts SET value = max(value, ?) WHERE name = 'highest forgotten claim'", row)
    finally:
        execute("PRAGMA secure_delete = OFF")
    return True


def take(writing: Writing, key: AgentKey, number: int, after: int, limit: int) -> tuple[StoredSignal, ...]:
    """See `Storage.take`."""
    agent = writing.owned(key, number)
    found = read_waiting(writing.connection, agent, after, limit)
    if found:
        writing.connection.execute(
            "UPDATE waiting SET deliveries = deliveries + 1 WHERE agent = ? AND position BETWEEN ? AND ?",
            (agent, found[0].position, found[-1].position),
        )
    return tuple([StoredSignal(one.position, one.signal, one.deliveries + 1, one.now) for one in found])


def redrive(writing: Writing, key: AgentKey, signal_id: str | None, now: int) -> int:
    """See `Storage.redrive`."""
    connection = writing.connection
    numbers = _dead(writing, key, signal_id)
    for number in numbers:
        connection.execute(
            "INSERT INTO waiting (agent, signal, deliveries, at, body) "
            "SELECT agent, signal, 0, ?, body FROM dead WHERE number = ? "
            "AND NOT EXISTS (SELECT 1 FROM waiting WHERE agent = dead.agent AND signal = dead.signal) "
            "AND NOT EXISTS (SELECT 1 FROM commits WHERE agent = dead.agent AND signal = dead.signal)",
            (now, number),
        )
    return _delete_dead(connection, numbers)


def discard(writing: Writing, key: AgentKey, signal_id: str | None) -> int:
    """See `Storage.discard`."""
    return _delete_dead(writing.connection, _dead(writing, key, signal_id))


def _dead(writing: Writing, key: AgentKey, signal_id: str | None) -> list[int]:
    rows = writing.connection.execute(
        "SELECT number FROM dead WHERE agent = ? AND (signal = ? OR ? IS NULL) ORDER BY number",
        (writing.agent(key), signal_id, signal_id),
    )
    return [number for (number,) in rows]


def _delete_dead(connection: sqlite3.Connection, numbers: list[int]) -> int:
    connection.executemany("DELETE FROM dead WHERE number = ?", [(number,) for number in numbers])
    return len(numbers)


def trim(writing: Writing, key: AgentKey, before: int | None, keep: int | None, handled_before: int | None) -> int:
    """See `Storage.trim`."""
    execute = writing.connection.execute
    agent = writing.agent(key)
    if agent is None:
        return 0
    last, trimmed = execute(
        "SELECT max(coalesce((SELECT max(sequence) FROM commits WHERE commits.agent = agents.agent), 0), trimmed), "
        "trimmed FROM agents WHERE agent = ?",
        (agent,),
    ).fetchone()
    cut = 0 if keep is None else last - keep
    if before is not None:
        young = execute(
            "SELECT sequence FROM commits WHERE agent = ? AND sequence > ? AND at >= ? ORDER BY sequence LIMIT 1",
            (agent, trimmed, before),
        ).fetchone()
        cut = max(cut, last if young is None else young[0] - 1)
    base = _one(execute("SELECT max(sequence) FROM snapshots WHERE agent = ? AND sequence <= ?", (agent, cut)))
    gone = 0
    if base is not None and base > trimmed:
        execute("UPDATE agents SET trimmed = ? WHERE agent = ?", (base, agent))
        execute("DELETE FROM snapshots WHERE agent = ? AND sequence < ?", (agent, base))
        # The ids of signals are remembered for a time of their own.
        newly = (agent, trimmed + 1, base)
        execute("DELETE FROM commits WHERE agent = ? AND sequence BETWEEN ? AND ? AND signal IS NULL", newly)
        execute("UPDATE commits SET body = x'' WHERE agent = ? AND sequence BETWEEN ? AND ?", newly)
        gone, trimmed = base - trimmed, base
    if handled_before is not None:
        forgotten = _forget_handled(writing.connection, agent, last, handled_before)
        execute("DELETE FROM commits WHERE agent = ? AND sequence <= ?", (agent, min(trimmed, forgotten)))
    return gone


def _forget_handled(connection: sqlite3.Connection, agent: int, last: int, before: int) -> int:
    """Forgets ids of signals; tells up to which turn all are forgotten.

    It looks at no more than is forgotten: an agent may have a million turns that are remembered, or long forgotten.
    """
    forgotten = int(_one(connection.execute("SELECT forgotten FROM agents WHERE agent = ?", (agent,))))
    young = connection.execute(
        "SELECT sequence FROM commits WHERE agent = ? AND sequence > ? AND at >= ? AND signal IS NOT NULL "
        "ORDER BY sequence LIMIT 1",
        (agent, forgotten, before),
    ).fetchone()
    until: int = last if young is None else young[0] - 1
    if until > forgotten:
        connection.execute(
            "UPDATE commits SET signal = NULL, answer = NULL WHERE agent = ? AND sequence BETWEEN ? AND ?",
            (agent, forgotten + 1, until),
        )
        connection.execute("UPDATE agents SET forgotten = ? WHERE agent = ?", (until, agent))
    return max(forgotten, until)


def _one(rows: sqlite3.Cursor) -> Any:
    (value,) = rows.fetchone()
    return value
