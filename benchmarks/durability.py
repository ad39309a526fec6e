"""What durability costs a call: agents on `SQLiteStorage` beside SQLite itself, plain agents, and DBOS.

    python benchmarks/durability.py [--rounds N] [--directory PATH] [--dbos PYTHON] [--plot PATH]

A call is made, handled, committed with an fsync, and answered. SQLite gets the same rows, prepared beforehand, from
one loop that does nothing else, in transactions of one turn and of a hundred; and by hand, from tasks that only wait
for the thread that writes: what is left between that and a budget is all that an agent may cost. DBOS runs one
workflow of one step for each call, on SQLite too, in a process of its own with an interpreter that has it. Every
figure is taken several times, all in turn, and given as minimum and median.

Budgets: 100 callers of 100 agents at most 60 µs above SQLite's own time in transactions of a hundred; 1 000 callers of
1 000 agents 60 % of that rate; one caller 70 % of SQLite's single rate; 100 callers of one agent within 1.5 times the
time of 100 agents; an agent of 10 000 turns is back in 20 ms.

Choose a directory on the disk that you mean: on a file system in memory an fsync costs nothing.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import platform
import queue
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
from storage import prepared_rows, raw_database, sqlite_alone, write_rows

from prunella import Agent, on, open_runtime
from prunella.storage import AgentKey, MemoryStorage, SQLiteStorage, Storage

BUDGET = 60.0
CALLS = {(1, 1): 300, (10, 10): 2_000, (100, 100): 6_000, (1_000, 1_000): 12_000, (100, 1): 6_000}


class Desk(Agent, name="desk", durable=True):
    """As `commit` of benchmarks/storage.py: two fields change in each turn."""

    opened: int = 0
    last: str = ""

    @on("ticket.opened")
    def open_ticket(self, ticket: str, priority: int = 0) -> Desk:
        return self.set(opened=self.opened + 1, last=ticket)


class PlainDesk(Desk, name="plain_desk", durable=False):
    """The same, kept in memory only."""


async def calls(kind: type[Desk], storage: Storage | None, callers: int, agents: int) -> float:
    """Seconds for each call."""
    each = CALLS[callers, agents] // callers
    async with open_runtime(storage=storage) as runtime:
        refs = [await runtime.start_agent(kind, f"agent-{number}") for number in range(agents)]

        async def work(number: int) -> None:
            ref = refs[number % agents]
            for turn in range(each):
                await ref.call("ticket.opened", ticket=f"T-{turn}", priority=2)

        gc.collect()
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(callers):
                nursery.start_soon(work, number)
        took = time.perf_counter() - begin
        for ref in refs:
            assert ref.state().opened == each * callers // agents
    return took / (each * callers)


def durable(directory: Path, callers: int, agents: int) -> float:
    path = directory / "ours.db"
    try:
        return trio.run(calls, Desk, SQLiteStorage(path), callers, agents)
    finally:
        remove(path)


def by_hand(directory: Path, callers: int) -> float:
    """The least that a call can cost whose row is written before it returns.

    Rows are prepared beforehand. A caller hands over one and waits; one thread writes all that it finds, and wakes
    their callers. Nothing is decided, encoded, checked or told.
    """
    path = directory / "hand.db"
    try:
        return trio.run(_by_hand, path, callers)
    finally:
        remove(path)


async def _by_hand(path: Path, callers: int) -> float:
    each = CALLS[callers, callers] // callers
    connection = raw_database(path)
    rows = iter(prepared_rows(each * callers, callers))
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    token = trio.lowlevel.current_trio_token()

    def wake(tasks: list[trio.lowlevel.Task]) -> None:
        for task in tasks:
            trio.lowlevel.reschedule(task)

    def write() -> None:
        while (first := waiting.get()) is not None:
            batch = [first]
            while not waiting.empty() and len(batch) < 500:
                batch.append(waiting.get())
            write_rows(connection, [row for row, _ in batch])
            token.run_sync_soon(wake, [task for _, task in batch])

    async def call() -> None:
        for _ in range(each):
            waiting.put((next(rows), trio.lowlevel.current_task()))
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    thread = threading.Thread(target=write)
    thread.start()
    gc.collect()
    begin = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
    took = time.perf_counter() - begin
    waiting.put(None)
    thread.join()
    connection.close()
    return took / (each * callers)


def plain(callers: int, agents: int) -> float:
    return trio.run(calls, PlainDesk, None, callers, agents)


async def restoring(directory: Path, turns: int) -> float:
    """Seconds until an agent with so many turns answers, in a runtime that has just been opened."""
    path = directory / "restore.db"
    storage = SQLiteStorage(path)
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Desk, "desk")

        async def work() -> None:
            for turn in range(max(1, turns // 50)):
                await ref.call("ticket.opened", ticket=f"T-{turn}")

        async with trio.open_nursery() as nursery:
            for _ in range(min(50, turns)):
                nursery.start_soon(work)
    times = []
    for _ in range(5):
        async with open_runtime(storage=storage) as runtime:
            begin = time.perf_counter()
            ref = await runtime.thaw("desk")
            times.append(time.perf_counter() - begin)
            assert ref.state().opened >= turns
    remove(path)
    return min(times)


async def sleeping(number: int) -> float:
    """Bytes of memory that an agent takes in a runtime while it sleeps."""
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        for index in range(number):
            await runtime.start_agent(Desk, f"agent-{index}")
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    async with open_runtime(storage=storage) as runtime:
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        assert len(runtime.agents(hibernated=True)) == number
        assert await storage.find(AgentKey("default", None, "agent-0")) is not None
    tracemalloc.stop()
    return (after - before) / number


DBOS = """
import sys, time
from concurrent.futures import ThreadPoolExecutor
from dbos import DBOS, DBOSConfig
path, callers, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = {"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR", "run_admin_server": False}
dbos = DBOS(config=config)
@DBOS.step()
def step(ticket): return ticket
@DBOS.workflow()
def call(ticket): return step(ticket)
DBOS.launch()
call("warm")
def work(index):
    for turn in range(number // callers):
        call(f"T-{turn}")
begin = time.perf_counter()
with ThreadPoolExecutor(callers) as pool:
    list(pool.map(work, range(callers)))
print("seconds", (time.perf_counter() - begin) / number)
DBOS.destroy()
"""


def with_dbos(python: str, directory: Path, callers: int, number: int) -> float:
    path = directory / "dbos.sqlite"
    command = [python, "-c", DBOS, str(path), str(callers), str(number)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    remove(path)
    found = [line for line in done.stdout.splitlines() if line.startswith("seconds ")]
    if not found:
        raise RuntimeError(done.stderr[-2000:])
    return float(found[0].split()[1])


def remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def draw(path: Path, rates: dict[int, float], restores: dict[int, float]) -> None:
    """Throughput against callers, and the time of a restore against turns."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    left.plot(list(rates), list(rates.values()), marker="o")
    left.set(xscale="log", xlabel="callers, each of an agent of its own", ylabel="durable calls a second")
    right.plot(list(restores), [1e3 * seconds for seconds in restores.values()], marker="o")
    right.set(xscale="log", xlabel="turns", ylabel="ms until the agent answers", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--directory", type=Path, default=Path.cwd())
    parser.add_argument("--dbos", help="an interpreter that has DBOS")
    parser.add_argument("--plot", type=Path, help="where to draw throughput and restores")
    options = parser.parse_args()
    print(f"CPython {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {options.rounds} rounds")
    with tempfile.TemporaryDirectory(dir=options.directory, prefix=".durability-bench-") as name:
        directory = Path(name)
        measures: dict[str, Callable[[], float]] = {
            "SQLite, transactions of 1": lambda: sqlite_alone(directory, 1)[0],
            "SQLite, transactions of 100": lambda: sqlite_alone(directory, 100)[0],
        }
        for callers in (1, 100, 1_000):
            measures[f"by hand, {callers} callers"] = partial(by_hand, directory, callers)
        for callers, agents in CALLS:
            label = f"durable, {callers} callers of {agents} agents"
            measures[label] = partial(durable, directory, callers, agents)
        measures["plain, 100 callers of 100 agents"] = lambda: plain(100, 100)
        if options.dbos:
            measures["DBOS, 1 caller"] = lambda: with_dbos(options.dbos, directory, 1, 200)
            measures["DBOS, 100 callers"] = lambda: with_dbos(options.dbos, directory, 100, 1_000)
        times: dict[str, list[float]] = {label: [] for label in measures}
        for _, (label, measure) in itertools.product(range(options.rounds), measures.items()):
            times[label].append(measure() * 1e6)
        print(f"{'':38}{'min':>10}{'median':>10}   µs for each call")
        for label, found in times.items():
            print(f"{label:38}{min(found):10.1f}{statistics.median(found):10.1f}")
        middle = {label: statistics.median(found) for label, found in times.items()}
        alone, hundred = middle["SQLite, transactions of 100"], middle["durable, 100 callers of 100 agents"]
        single = middle["SQLite, transactions of 1"] / middle["durable, 1 callers of 1 agents"]
        many = alone / middle["durable, 1000 callers of 1000 agents"]
        one = middle["durable, 100 callers of 1 agents"] / hundred
        hand = middle["SQLite, transactions of 1"] / middle["by hand, 1 callers"]
        hand_many = alone / middle["by hand, 1000 callers"]
        print(f"100 callers of 100 agents: {hundred - alone:.1f} µs above SQLite's own (budget {BUDGET:g})")
        print(f"1 caller: {single:.0%} of SQLite's single rate (budget 70 %; by hand {hand:.0%})")
        print(f"1 000 callers: {many:.0%} of SQLite's rate in hundreds (budget 60 %; by hand {hand_many:.0%})")
        print(f"100 callers of one agent: {one:.2f} times the time of 100 agents (budget 1.5)")
        restores = {turns: trio.run(restoring, directory, turns) for turns in (100, 1_000, 10_000)}
        for turns, seconds in restores.items():
            print(f"back after {turns} turns: {seconds * 1e3:.1f} ms" + (" (budget 20)" if turns == 10_000 else ""))
        print(f"a sleeping agent takes {trio.run(sleeping, 100_000):.0f} bytes, of 100 000")
        if options.plot:
            rates = {
                callers: 1e6 / middle[f"durable, {callers} callers of {callers} agents"]
                for callers in (1, 10, 100, 1_000)
            }
            draw(options.plot, rates, restores)


if __name__ == "__main__":
    main()
