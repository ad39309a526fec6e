"""What a durable turn costs: `SQLiteStorage` beside SQLite itself, which is given the same rows.

    python benchmarks/storage.py [--rounds N] [--directory PATH]

Each committer has an agent of its own and commits one turn after the other. SQLite gets the rows that such turns
become, in transactions of one turn and of a hundred, from one loop that does nothing else. Every figure is taken
several times, ours and SQLite's in turn, and given as minimum and median of the time for each turn; and the processor's
time, which a busy machine does not change as much. The budgets: 100 committers at most 60 µs above SQLite's own time in
transactions of a hundred, 1 000 at 60 % of its rate, one at 70 % of its rate in transactions of one.

Choose a directory on the disk that you mean: on a file system in memory an fsync costs nothing.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trio

from prunella import Signal
from prunella.storage import AgentKey, Code, Commit, MemoryStorage, SQLiteStorage, Storage, Write, encode_commit

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CODE = Code("support", 1, "0123456789abcdef", "app.agents:Support")
Took = tuple[float, float]
"""Seconds for each turn: by the clock, and of the processor."""

BUDGET = 60.0  # µs for each turn, above SQLite's own
TURNS = {1: 300, 100: 6_000, 1_000: 12_000}
RAW_TURNS = {1: 300, 100: 6_000}


def commit(sequence: int, claim: int = 1) -> Commit:
    """A turn as small agents have it."""
    signal = Signal("ticket.opened", {"ticket": f"T-{sequence}", "priority": 2}, source="/desk")
    return Commit(sequence, claim, signal, NOW, 7, CODE, changes={"opened": sequence, "last": f"T-{sequence}"})


def raw_database(path: Path) -> sqlite3.Connection:
    """A table as that of `SQLiteStorage`."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("CREATE TABLE commits (agent INT, sequence INT, at INT, signal TEXT, answer BLOB, body BLOB)")
    connection.execute("CREATE UNIQUE INDEX commits_sequence ON commits (agent, sequence)")
    connection.execute("CREATE UNIQUE INDEX commits_signal ON commits (signal, agent)")
    return connection


def prepared_rows(turns: int, agents: int) -> list[tuple[Any, ...]]:
    """Rows as those of `SQLiteStorage`, of so many agents in turn."""
    commits = [(number % agents, number // agents + 1, commit(number // agents + 1)) for number in range(turns)]
    return [(agent, sequence, 0, made.signal.id, encode_commit(made)) for agent, sequence, made in commits]


def write_rows(connection: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    """One transaction."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO commits VALUES (?, ?, ?, ?, NULL, ?)", rows)
    connection.execute("COMMIT")


def sqlite_alone(directory: Path, batch: int) -> Took:
    """Seconds for each turn that SQLite needs for its rows: prepared beforehand, written by one loop."""
    turns = RAW_TURNS[batch]
    path = directory / "raw.db"
    connection = raw_database(path)
    rows = prepared_rows(turns, batch)
    gc.collect()
    begin, cpu = time.perf_counter(), time.process_time()
    for start in range(0, turns, batch):
        write_rows(connection, rows[start : start + batch])
    took, cpu = time.perf_counter() - begin, time.process_time() - cpu
    connection.close()
    _remove(path)
    return took / turns, cpu / turns


async def ours(storage: Storage, committers: int) -> Took:
    """Seconds for each turn with so many tasks that commit, each for its own agent."""
    turns = TURNS[committers] // committers

    async def work(number: int, claim: int) -> None:
        key = AgentKey("bench", None, f"agent-{number}")
        for sequence in range(1, turns + 1):
            outcomes = await storage.append(Write(key, claim, NOW, (commit(sequence, claim),)))
            assert outcomes == (None,)

    async with storage:
        claims: dict[int, int] = {}

        async def claim(number: int) -> None:
            key = AgentKey("bench", None, f"agent-{number}")
            claims[number] = (await storage.claim(key, CODE, owner="bench", now=NOW)).claim

        async with trio.open_nursery() as nursery:
            for number in range(committers):
                nursery.start_soon(claim, number)
        gc.collect()
        begin, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as nursery:
            for number in range(committers):
                nursery.start_soon(work, number, claims[number])
        took, cpu = time.perf_counter() - begin, time.process_time() - cpu
        return took / (turns * committers), cpu / (turns * committers)


def on_sqlite(directory: Path, committers: int) -> Took:
    path = directory / "ours.db"
    try:
        return trio.run(ours, SQLiteStorage(path), committers)
    finally:
        _remove(path)


def in_memory(directory: Path, committers: int) -> Took:
    return trio.run(ours, MemoryStorage(), committers)


async def restoring(directory: Path, turns: int = 10_000, every: int = 100) -> float:
    """Seconds to load an agent with many turns and a snapshot every hundred."""
    from prunella.storage import Snapshot

    path = directory / "restore.db"
    key = AgentKey("bench", None, "agent")
    async with SQLiteStorage(path) as storage:
        claim = (await storage.claim(key, CODE, owner="bench", now=NOW)).claim
        for start in range(1, turns - 1, every):
            commits = tuple(commit(sequence, claim) for sequence in range(start, min(start + every, turns)))
            state = Snapshot(start - 1, NOW, 1, {"opened": start - 1, "last": ""})
            assert await storage.append(Write(key, claim, NOW, commits, state)) == (None,)
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            stored = await storage.load(key)
            times.append(time.perf_counter() - begin)
            assert stored is not None
            assert len(stored.commits) == every - 1
    _remove(path)
    return min(times)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {options.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=options.directory, prefix=".storage-bench-") as name:
        directory = Path(name)
        measures: dict[str, Callable[[], Took]] = {
            "SQLite, transactions of 1": lambda: sqlite_alone(directory, 1),
            "SQLite, transactions of 100": lambda: sqlite_alone(directory, 100),
        }
        for committers in TURNS:
            label = f"SQLiteStorage, {committers} committer{'s' * (committers > 1)}"
            measures[label] = lambda committers=committers: on_sqlite(directory, committers)  # type: ignore[misc]
        measures["MemoryStorage, 100 committers"] = lambda: in_memory(directory, 100)
        times: dict[str, list[float]] = {label: [] for label in measures}
        cpu_times: dict[str, list[float]] = {label: [] for label in measures}
        for _, (label, measure) in itertools.product(range(options.rounds), measures.items()):
            took, cpu = measure()
            times[label].append(took * 1e6)
            cpu_times[label].append(cpu * 1e6)
        print(f"{'':34}{'min':>10}{'median':>10}{'processor':>12}   µs for each turn")
        for label, found in times.items():
            print(f"{label:34}{min(found):10.1f}{statistics.median(found):10.1f}{min(cpu_times[label]):12.1f}")
        alone, with_100 = times["SQLite, transactions of 100"], times["SQLiteStorage, 100 committers"]
        above = [mine - its for mine, its in zip(with_100, alone, strict=True)]
        verdict = "within" if statistics.median(above) <= BUDGET else "ABOVE"
        print(
            f"100 committers above SQLite's own: {min(above):.1f} µs, median {statistics.median(above):.1f}; "
            f"{verdict} the budget of {BUDGET:g}"
        )
        single = statistics.median(times["SQLite, transactions of 1"]) / statistics.median(
            times["SQLiteStorage, 1 committer"]
        )
        many = statistics.median(alone) / statistics.median(times["SQLiteStorage, 1000 committers"])
        print(f"1 committer: {single:.0%} of SQLite's own rate; 1000 committers: {many:.0%} of that in hundreds")
        print(f"load of 10 000 turns, a snapshot every 100: {trio.run(restoring, directory) * 1e3:.1f} ms (budget 20)")


if __name__ == "__main__":
    main()
