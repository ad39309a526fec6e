"""What the writer thread of a `SQLiteStorage` does to its connection: many writes, in few statements.

Each statement gives up the interpreter's lock, and gets it back only after up to 5 ms when another thread is busy. So
the rows of a whole batch go into as few statements as possible.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Final, TypeAlias, final

import attrs

from ..agents import AgentNotFound, Fenced
from ._errors import CommitFailed, Duplicate
from ._key import AgentKey, about
from ._prepared import Prepared, check_sequences
from ._storage import Outcome

__all__ = ["Append", "Call", "Enqueue", "Work", "Writing"]

_MOST_REMEMBERED: Final = 20_000

_COMMITS: Final = ("INSERT INTO commits (agent, sequence, at, signal, body)", 5)
_DIRECTIVES: Final = ("INSERT INTO directives (agent, sequence, place, at, body)", 5)
_WAITING: Final = ("INSERT INTO waiting (agent, signal, deliveries, at, body)", 5)
_SNAPSHOTS: Final = ("INSERT OR REPLACE INTO snapshots (agent, sequence, at, body)", 4)
_SCHEDULES: Final = ("INSERT OR REPLACE INTO schedules (agent, name, due, directive, origin)", 5)
_DEAD: Final = ("INSERT OR REPLACE INTO dead (agent, signal, reason, deliveries, at, body)", 6)

_HEAD: Final = """
SELECT agent, claim, max(coalesce((SELECT max(sequence) FROM commits WHERE commits.agent = agents.agent), 0), trimmed)
FROM agents WHERE runtime = ? AND partition = ? AND id = ?
"""
_KNOWN: Final = """
SELECT commits.agent, commits.signal, commits.sequence FROM json_each(?) AS asked CROSS JOIN commits
ON commits.agent = json_extract(asked.value, '$[0]') AND commits.signal = json_extract(asked.value, '$[1]')
"""
_QUEUED: Final = """
SELECT waiting.agent, waiting.signal FROM json_each(?) AS asked CROSS JOIN waiting
ON waiting.agent = json_extract(asked.value, '$[0]') AND waiting.signal = json_extract(asked.value, '$[1]')
"""
_DONE: Final = """
DELETE FROM directives WHERE (agent, sequence, place) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]') FROM json_each(?)
)
"""
_FINISHED: Final = """
DELETE FROM waiting WHERE (agent, signal) IN (
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)
)
"""

_Place: TypeAlias = tuple[int, str]


@final
@attrs.define(eq=False)
class Append:
    """Writes of one caller."""

    writes: list[Prepared]


@final
@attrs.define(eq=False)
class Enqueue:
    """Signals of one caller for one agent."""

    key: AgentKey
    signals: list[tuple[str, bytes]]
    at: int


@final
@attrs.define(eq=False)
class Call:
    """Something rarer; it checks before it changes anything. `after` are statements for when it is committed."""

    function: Callable[[Writing], Any]
    after: tuple[str, ...] = ()


Work: TypeAlias = Append | Enqueue | Call


@attrs.define
class _Head:
    agent: int
    claim: int
    last: int


@attrs.define
class _Rows:
    """What is about to be changed."""

    commits: list[tuple[Any, ...]] = attrs.Factory(list)
    answers: list[tuple[Any, ...]] = attrs.Factory(list)
    directives: list[tuple[Any, ...]] = attrs.Factory(list)
    done: list[tuple[int, int, int]] = attrs.Factory(list)
    snapshots: dict[tuple[int, int], tuple[Any, ...]] = attrs.Factory(dict)
    schedules: dict[_Place, tuple[Any, ...] | None] = attrs.Factory(dict)
    waiting: list[tuple[Any, ...]] = attrs.Factory(list)
    postponed: list[_Place] = attrs.Factory(list)
    finished: list[_Place] = attrs.Factory(list)
    dead: list[tuple[Any, ...]] = attrs.Factory(list)


@final
class Writing:
    """One connection, and what is remembered of its database.

    Claims and last turns of agents hold as long as nobody else has written, which SQLite tells, and nothing was taken
    back.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._known: dict[AgentKey, _Head] = {}
        self._data_version = -1
        self._is_careful = False

    def run(self, works: Sequence[Work], *, is_careful: bool) -> list[Any]:
        """Does what callers asked for, in order; inside a transaction.

        Args:
            works: what they asked for.
            is_careful: whether signals of turns are looked up first. Otherwise one that was handled before is an
                error of the database, and everything has to be done again; that is rare.

        Returns:
            For each the result, or an exception that concerns it alone.

        Raises:
            sqlite3.Error: the transaction has to be taken back.
        """
        self._is_careful = is_careful
        (version,) = self.connection.execute("PRAGMA data_version").fetchone()
        if version != self._data_version or len(self._known) > _MOST_REMEMBERED:
            self._known.clear()
            self._data_version = version
        results: list[Any] = []
        group: list[Append | Enqueue] = []
        for work in works:
            if isinstance(work, Call):
                results += self._write(group)
                group = []
                try:
                    results.append(work.function(self))
                except sqlite3.Error:
                    raise
                except Exception as error:
                    results.append(error)
            else:
                group.append(work)
        results += self._write(group)
        return results

    def agent(self, key: AgentKey) -> int | None:
        """The number of an agent."""
        head = self._heads((key,)).get(key)
        return None if head is None else head.agent

    def owned(self, key: AgentKey, claim: int) -> int:
        """The number of an agent whose claim is still this one.

        Raises:
            Fenced: it is not.
        """
        head = self._heads((key,)).get(key)
        if head is None or head.claim != claim:
            raise about(Fenced(), key)
        return head.agent

    def forget(self, key: AgentKey | None = None) -> None:
        """Remembers nothing of an agent, or of all: it was changed, or something was taken back."""
        if key is None:
            self._known.clear()
        else:
            self._known.pop(key, None)

    def _heads(self, keys: Iterable[AgentKey]) -> dict[AgentKey, _Head]:
        known = self._known
        for key in [key for key in keys if key not in known]:
            row = self.connection.execute(_HEAD, key.order).fetchone()
            if row is not None:
                known[key] = _Head(*row)
        return known

    # Groups of writes. They come out as if one were done after the other.

    def _write(self, works: list[Append | Enqueue]) -> list[Any]:
        units: list[Prepared | Enqueue] = []
        for work in works:
            if isinstance(work, Enqueue):
                units.append(work)
            else:
                units += work.writes
        outcomes: list[Any] = []
        while units:
            part, units = _apart(units)
            outcomes += self._write_part(part)
        of_each = iter(outcomes)
        return [
            next(of_each) if isinstance(work, Enqueue) else tuple([next(of_each) for _ in work.writes])
            for work in works
        ]

    def _write_part(self, units: list[Prepared | Enqueue]) -> list[Any]:
        heads = self._heads([unit.key for unit in units])
        handled, waiting = self._seen(units, heads)
        rows = _Rows()
        results: list[Any] = []
        for unit in units:
            head = heads.get(unit.key)
            if isinstance(unit, Enqueue):
                results.append(_enqueue(unit, head, rows, handled, waiting))
            else:
                results.append(_append(unit, head, rows, handled, waiting))
        self._change(rows)
        return results

    def _seen(
        self, units: list[Prepared | Enqueue], heads: dict[AgentKey, _Head]
    ) -> tuple[dict[_Place, int], set[_Place]]:
        """Of all signals that these writes are about: which were handled, and where, and which wait."""
        turns: list[_Place] = []
        queued: list[_Place] = []
        for unit in units:
            head = heads.get(unit.key)
            if head is None:
                continue
            if isinstance(unit, Enqueue):
                queued += [(head.agent, id) for id, _ in unit.signals]
                continue
            # Of a dead one no id is stored, so the database would not notice.
            turns += [(head.agent, turn.signal_id) for turn in unit.turns if self._is_careful or turn.is_dead]
            if unit.enqueued:
                queued += [(head.agent, id) for id, _ in unit.enqueued]
        execute = self.connection.execute
        known = execute(_KNOWN, (json.dumps(turns + queued),)).fetchall() if turns or queued else []
        found = execute(_QUEUED, (json.dumps(queued),)).fetchall() if queued else []
        return {(agent, id): sequence for agent, id, sequence in known}, {(agent, id) for agent, id in found}

    def _change(self, rows: _Rows) -> None:
        insert, execute = self._insert, self.connection.execute
        insert(_COMMITS, rows.commits)
        if rows.answers:
            self.connection.executemany("UPDATE commits SET answer = ? WHERE agent = ? AND signal = ?", rows.answers)
        insert(_DIRECTIVES, rows.directives)
        if rows.done:
            execute(_DONE, (json.dumps(rows.done),))
        insert(_SNAPSHOTS, list(rows.snapshots.values()))
        if rows.schedules:
            insert(_SCHEDULES, [row for row in rows.schedules.values() if row is not None])
            self.connection.executemany(
                "DELETE FROM schedules WHERE agent = ? AND name = ?",
                [place for place, row in rows.schedules.items() if row is None],
            )
        insert(_WAITING, rows.waiting)
        for place in rows.postponed:
            self._postpone(place)
        if rows.finished:
            execute(_FINISHED, (json.dumps(rows.finished),))
        insert(_DEAD, rows.dead)

    def _postpone(self, place: _Place) -> None:
        execute = self.connection.execute
        row = execute("SELECT deliveries, at, body FROM waiting WHERE agent = ? AND signal = ?", place).fetchone()
        if row is not None:
            execute("DELETE FROM waiting WHERE agent = ? AND signal = ?", place)
            deliveries, at, body = row
            if execute("SELECT 1 FROM commits WHERE agent = ? AND signal = ?", place).fetchone() is None:
                self._insert(_WAITING, [(*place, deliveries + 1, at, body)])

    def _insert(self, into: tuple[str, int], rows: list[tuple[Any, ...]]) -> None:
        """Rows in as few statements as there are ones in their number, so that few texts are compiled."""
        start, left = 0, len(rows)
        while left:
            size = min(128, 1 << (left.bit_length() - 1))
            values = [value for row in rows[start : start + size] for value in row]
            self.connection.execute(_statement(*into, size), values)
            start += size
            left -= size


@cache
def _statement(head: str, columns: int, rows: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return f"{head} VALUES {', '.join([row] * rows)}"


def _apart(units: list[Prepared | Enqueue]) -> tuple[list[Prepared | Enqueue], list[Prepared | Enqueue]]:
    """The first writes that may be done at once, and the rest.

    What is taken out of the mailbox is taken out last. So a later write about the same signal has to wait.
    """
    gone: set[tuple[AgentKey, str]] = set()
    for number, unit in enumerate(units):
        if isinstance(unit, Enqueue):
            if gone and any((unit.key, id) in gone for id, _ in unit.signals):
                return units[:number], units[number:]
        elif unit.finished or unit.postponed or unit.dead or (gone and unit.enqueued):
            removed = [(unit.key, id) for id in _removed(unit)]
            if gone and not gone.isdisjoint([*removed, *((unit.key, id) for id, _ in unit.enqueued)]):
                return units[:number], units[number:]
            gone.update(removed)
    return units, []


def _removed(write: Prepared) -> Iterable[str]:
    return *write.finished, *write.postponed, *(letter.signal_id for letter in write.dead)


def _enqueue(
    work: Enqueue, head: _Head | None, rows: _Rows, handled: dict[_Place, int], waiting: set[_Place]
) -> tuple[bool, ...] | Exception:
    if head is None:
        return about(AgentNotFound(work.key.id), work.key)
    return tuple([_queue(head.agent, id, work.at, body, rows, handled, waiting) for id, body in work.signals])


def _queue(
    agent: int, id: str, at: int, body: bytes, rows: _Rows, handled: dict[_Place, int], waiting: set[_Place]
) -> bool:
    place = agent, id
    if place in handled or place in waiting:
        return False
    waiting.add(place)
    rows.waiting.append((agent, id, 0, at, body))
    return True


def _append(
    write: Prepared, head: _Head | None, rows: _Rows, handled: dict[_Place, int], waiting: set[_Place]
) -> Outcome:
    if head is None or head.claim != write.claim:
        return about(Fenced(), write.key)
    agent = head.agent
    fresh: dict[_Place, int] = {}
    try:
        last = check_sequences(head.last, write.turns)
    except CommitFailed as error:
        return error
    for turn in write.turns:
        place = agent, turn.signal_id
        if place in handled or place in fresh:
            return Duplicate(turn.signal_id, handled[place] if place in handled else fresh[place])
        if not turn.is_dead:
            fresh[place] = turn.sequence
    # From here on nothing refuses it.
    head.last = last
    handled.update(fresh)
    for turn in write.turns:
        rows.commits.append((agent, turn.sequence, turn.at, None if turn.is_dead else turn.signal_id, turn.body))
        for id, answer in turn.answers:
            rows.answers.append((answer, agent, id))
        for index, body in turn.directives:
            rows.directives.append((agent, turn.sequence, index, turn.at, body))
        for name, found in turn.schedules:
            rows.schedules[agent, name] = None if found is None else (agent, name, *found)
    if write.snapshot is not None:
        rows.snapshots[agent, write.snapshot[0]] = (agent, *write.snapshot)
    for sequence, index in write.done:
        rows.done.append((agent, sequence, index))
    for id, body in write.enqueued:
        _queue(agent, id, write.at, body, rows, handled, waiting)
    for id in write.postponed:
        rows.postponed.append((agent, id))
    for id in write.finished:
        rows.finished.append((agent, id))
    for letter in write.dead:
        rows.finished.append((agent, letter.signal_id))
        rows.dead.append((agent, letter.signal_id, letter.reason, letter.deliveries, letter.at, letter.body))
    return None
