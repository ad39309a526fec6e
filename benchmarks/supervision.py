"""What supervision costs, beside bare Trio and beside triotp, in one run.

    python benchmarks/supervision.py [--rounds N] [--triotp PYTHON]

Every figure is taken several times, ours and the others' in turn, and given as minimum and median; the ratios are
of medians. `--triotp` names an interpreter in whose environment triotp is installed. The table is printed, the cost
of a restart against the number of siblings is also drawn to `benchmarks/results/supervision.png`.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import math
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trio.testing

from prunella.supervision import Child, DynamicSupervisor, Supervisor, TaskSupervisor, open_supervisor

RESULTS = Path(__file__).parent / "results"
MANY = 10_000

Measure = Callable[[], Awaitable[float]]


async def idle() -> None:
    await trio.sleep_forever()


async def idle_in_a_scope() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def idle_with_status(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.sleep_forever()


async def idle_in_a_scope_with_status(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    with trio.CancelScope(shield=True):
        task_status.started()
        await trio.sleep_forever()


# Starting one after another, each start awaited.


async def boot_ours() -> float:
    spec = Supervisor([Child(idle_with_status, id=str(n), shutdown="brutal_kill") for n in range(MANY)])
    begin = time.perf_counter()
    async with open_supervisor(spec) as supervisor:
        took = time.perf_counter() - begin
        supervisor._live.kill_all()
    return took / MANY


async def boot_nursery_start() -> float:
    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        for _ in range(MANY):
            await nursery.start(idle_with_status)
        took = time.perf_counter() - begin
        nursery.cancel_scope.cancel()
    return took / MANY


# Starting at run time.


async def start_child_ours() -> float:
    child = Child(idle, shutdown="brutal_kill")
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        begin = time.perf_counter()
        for _ in range(MANY):
            await supervisor.start_child(child)
        return (time.perf_counter() - begin) / MANY


async def start_child_concurrently_ours() -> float:
    child = Child(idle, shutdown="brutal_kill")
    callers = 100

    async def caller() -> None:
        for _ in range(MANY // callers):
            await supervisor.start_child(child)

    async with open_supervisor(DynamicSupervisor()) as supervisor:
        begin = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(callers):
                nursery.start_soon(caller)
        return (time.perf_counter() - begin) / MANY


async def start_soon_bare() -> float:
    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        for _ in range(MANY):
            nursery.start_soon(idle_in_a_scope)
        await trio.testing.wait_all_tasks_blocked()
        took = time.perf_counter() - begin
        await _kill(nursery)
    return took / MANY


async def nursery_start() -> float:
    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        for _ in range(MANY):
            await nursery.start(idle_in_a_scope_with_status)
        took = time.perf_counter() - begin
        await _kill(nursery)
    return took / MANY


async def nursery_start_concurrently() -> float:
    return await _by_a_hundred_callers(_nursery_start)


async def _nursery_start(nursery: trio.Nursery) -> None:
    await nursery.start(idle_in_a_scope_with_status)


async def _by_a_hundred_callers(start: Callable[[trio.Nursery], Awaitable[None]]) -> float:
    async def caller() -> None:
        for _ in range(MANY // 100):
            await start(nursery)

    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        async with trio.open_nursery() as callers:
            for _ in range(100):
                callers.start_soon(caller)
        took = time.perf_counter() - begin
        await _kill(nursery)
    return took / MANY


async def start_tasks_ours() -> float:
    async with open_supervisor(TaskSupervisor(task_shutdown="brutal_kill")) as tasks:
        begin = time.perf_counter()
        for _ in range(MANY):
            tasks.start_soon(idle)
        await trio.testing.wait_all_tasks_blocked()
        took = time.perf_counter() - begin
        tasks._live.kill_all()
    return took / MANY


async def _started(parent: trio.lowlevel.Task) -> None:
    trio.lowlevel.reschedule(parent)
    await idle_in_a_scope()


async def start_and_wait_by_hand() -> float:
    """As little as can be done if a start is to be waited for: the child's first step wakes its starter."""
    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        for _ in range(MANY):
            await _start_and_wait(nursery)
        took = time.perf_counter() - begin
        await _kill(nursery)
    return took / MANY


async def start_and_wait_by_hand_concurrently() -> float:
    return await _by_a_hundred_callers(_start_and_wait)


async def _start_and_wait(nursery: trio.Nursery) -> None:
    nursery.start_soon(_started, trio.lowlevel.current_task())
    await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)


async def _kill(nursery: trio.Nursery) -> None:
    for task in list(nursery.child_tasks):
        scope = task._cancel_status._scope
        scope.cancel()


# Memory.


async def memory_ours() -> float:
    child = Child(idle, shutdown="brutal_kill")
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(MANY):
            await supervisor.start_child(child)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    return (after - before) / MANY


async def memory_bare() -> float:
    async with trio.open_nursery() as nursery:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(MANY):
            nursery.start_soon(idle_in_a_scope)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        await _kill(nursery)
    return (after - before) / MANY


# From a crash to running again.


class Crasher:
    """Crashes when it is told to, and says how long it took until it ran again."""

    def __init__(self) -> None:
        self.go = trio.Event()
        self.back = trio.Event()
        self.crashed_at = 0.0
        self.times: list[float] = []

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        if self.crashed_at:
            self.times.append(time.perf_counter() - self.crashed_at)
            self.back.set()
        await self.go.wait()
        self.go = trio.Event()
        self.crashed_at = time.perf_counter()
        raise ValueError("crash")


async def crash_ours(siblings: int = 0, number: int = 1_000, *, booted: bool = True) -> list[float]:
    crasher = Crasher()
    children = [Child(idle, id=str(n), shutdown="brutal_kill") for n in range(siblings)]
    spec = Supervisor([*children, Child(crasher.run, id="crasher")], max_restarts=10**9)
    async with open_supervisor(spec) as supervisor:
        await _crash(crasher, number)
        supervisor._live.kill_all()
    return crasher.times


async def _crash(crasher: Crasher, number: int) -> None:
    for _ in range(number):
        crasher.back = trio.Event()
        crasher.go.set()
        await crasher.back.wait()


async def crash_by_hand(number: int = 1_000) -> list[float]:
    """A restart loop around a nursery of the child's own: what one writes without a library."""
    crasher = Crasher()

    async def loop() -> None:
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(crasher.run)
            except* ValueError:
                pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop)
        await trio.testing.wait_all_tasks_blocked()
        await _crash(crasher, number)
        nursery.cancel_scope.cancel()
    return crasher.times


# Many at once.


async def one_for_all_ours(siblings: int = 1_000) -> float:
    crash = trio.Event()
    back = trio.Event()
    lives = 0

    async def last(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        nonlocal lives
        lives += 1
        task_status.started()
        if lives == 2:
            back.set()
            await trio.sleep_forever()
        await crash.wait()
        raise ValueError("crash")

    children = [Child(idle_with_status, id=str(n)) for n in range(siblings)]
    spec = Supervisor([*children, Child(last, id="last")], strategy="one_for_all")
    async with open_supervisor(spec) as supervisor:
        begin = time.perf_counter()
        crash.set()
        await back.wait()
        took = time.perf_counter() - begin
        supervisor._live.kill_all()
    return took / siblings


async def all_crash_ours() -> float:
    crash = trio.Event()
    running = 0
    all_back = trio.Event()

    async def child() -> None:
        nonlocal running
        running += 1
        if running == 2 * MANY:
            all_back.set()
        if running > MANY:
            await trio.sleep_forever()
        await crash.wait()
        raise ValueError("crash")

    async with open_supervisor(DynamicSupervisor(max_restarts=10**9)) as supervisor:
        for _ in range(MANY):
            await supervisor.start_child(Child(child, shutdown="brutal_kill"))
        begin = time.perf_counter()
        crash.set()
        await all_back.wait()
        return (time.perf_counter() - begin) / MANY


async def all_crash_by_hand() -> float:
    crash = trio.Event()
    running = 0
    all_back = trio.Event()

    async def child() -> None:
        nonlocal running
        running += 1
        if running == 2 * MANY:
            all_back.set()
        if running > MANY:
            await trio.sleep_forever()
        await crash.wait()
        raise ValueError("crash")

    async def loop() -> None:
        while True:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(child)
            except* ValueError:
                pass

    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(loop)
        await trio.testing.wait_all_tasks_blocked()
        begin = time.perf_counter()
        crash.set()
        await all_back.wait()
        took = time.perf_counter() - begin
        nursery.cancel_scope.cancel()
    return took / MANY


async def stop_in_order_ours() -> float:
    spec = Supervisor([Child(idle_with_status, id=str(n)) for n in range(MANY)])
    async with open_supervisor(spec) as supervisor:
        begin = time.perf_counter()
        await supervisor.stop()
    return (time.perf_counter() - begin) / MANY


async def stop_dynamic_ours() -> float:
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        child = Child(idle)
        for _ in range(MANY):
            await supervisor.start_child(child)
        begin = time.perf_counter()
    return (time.perf_counter() - begin) / MANY


async def stop_bare() -> float:
    async with trio.open_nursery() as nursery:
        for _ in range(MANY):
            nursery.start_soon(idle)
        await trio.testing.wait_all_tasks_blocked()
        begin = time.perf_counter()
        nursery.cancel_scope.cancel()
    return (time.perf_counter() - begin) / MANY


# triotp, in an environment of its own.

TRIOTP = """
import gc, json, sys, time, tracemalloc
import logbook, trio, trio.testing
from triotp import supervisor
logbook.NullHandler().push_application()
MANY = {many}
P = supervisor.restart_strategy.PERMANENT

async def idle():
    await trio.sleep_forever()

def spec(n, task=idle):
    return supervisor.child_spec(id=str(n), task=task, args=[], restart=P)

async def boot():
    specs = [spec(n) for n in range(MANY)]
    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        nursery.start_soon(supervisor.start, specs, supervisor.options())
        await trio.testing.wait_all_tasks_blocked()
        booted = (time.perf_counter() - begin) / MANY
        begin = time.perf_counter()
        nursery.cancel_scope.cancel()
    return booted, (time.perf_counter() - begin) / MANY

async def memory():
    specs = [spec(n) for n in range(MANY)]
    async with trio.open_nursery() as nursery:
        gc.collect(); tracemalloc.start(); before = tracemalloc.get_traced_memory()[0]
        nursery.start_soon(supervisor.start, specs, supervisor.options())
        await trio.testing.wait_all_tasks_blocked()
        gc.collect(); after = tracemalloc.get_traced_memory()[0]; tracemalloc.stop()
        nursery.cancel_scope.cancel()
    return (after - before) / MANY

async def crash():
    times = []; go = trio.Event(); back = trio.Event(); crashed = 0.0
    async def crasher():
        nonlocal go, crashed
        if crashed:
            times.append(time.perf_counter() - crashed); back.set()
        await go.wait()
        go = trio.Event(); crashed = time.perf_counter()
        raise ValueError("crash")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start, [spec(0, crasher)], supervisor.options(max_restarts=10**9))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(300):
            back = trio.Event(); go.set(); await back.wait()
        nursery.cancel_scope.cancel()
    return times

booted, stopped = trio.run(boot)
print(json.dumps(dict(boot=booted, stop=stopped, memory=trio.run(memory), crash=trio.run(crash))))
"""


def triotp_figures(python: str, rounds: int) -> dict[str, list[float]]:
    figures: dict[str, list[float]] = {"boot": [], "stop": [], "memory": [], "crash": []}
    for _ in range(rounds):
        out = subprocess.run(
            [python, "-c", TRIOTP.format(many=MANY)], check=True, capture_output=True, text=True
        ).stdout
        one = json.loads(out.splitlines()[-1])
        for name in ("boot", "stop", "memory"):
            figures[name].append(one[name])
        figures["crash"] += one["crash"]
    return figures


# Telling.


def run(measure: Measure) -> float:
    gc.collect()
    return trio.run(measure)


def in_turn(rounds: int, *measures: Measure) -> list[list[float]]:
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(run(measure))
    return taken


def row(what: str, values: list[float], unit: str, scale: float, beside: list[float] | None = None) -> None:
    least, median = min(values) * scale, statistics.median(values) * scale
    ratio = ""
    if beside is not None:
        ratio = f"{statistics.median(values) / statistics.median(beside):8.2f} x"
    print(f"  {what:<52} {least:10.1f} {median:10.1f} {unit:<5} {ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--triotp", help="an interpreter with triotp installed")
    parser.add_argument("--most-siblings", type=int, default=100_000)
    options = parser.parse_args()
    rounds = options.rounds
    logging.getLogger("prunella").setLevel(logging.CRITICAL)

    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    print(
        f"{platform.python_implementation()} {platform.python_version()}"
        f" ({'with' if optimised else 'without'} --enable-optimizations), Trio {trio.__version__}, {rounds} rounds"
    )
    others = triotp_figures(options.triotp, min(rounds, 3)) if options.triotp else None
    if others is None:
        print("triotp: not measured (--triotp PYTHON)")
    micro = 1e6
    print(f"  {'':<52} {'minimum':>10} {'median':>10}       ratio of medians")

    ours, bare = in_turn(rounds, boot_ours, boot_nursery_start)
    print("booting a list of 10 000, per child")
    row("nursery.start, one by one", bare, "µs", micro)
    row("Supervisor", ours, "µs", micro, bare)
    if others:
        row("triotp (waits for no start)", others["boot"], "µs", micro, bare)

    bare, one_start, many_starts, one_by_hand, many_by_hand, one, many, tasks = in_turn(
        rounds,
        start_soon_bare,
        nursery_start,
        nursery_start_concurrently,
        start_and_wait_by_hand,
        start_and_wait_by_hand_concurrently,
        start_child_ours,
        start_child_concurrently_ours,
        start_tasks_ours,
    )
    print("starting 10 000 at run time, per child")
    row("nursery.start_soon of a task with a scope", bare, "µs", micro)
    row("nursery.start of it, one caller", one_start, "µs", micro, bare)
    row("nursery.start of it, 100 callers", many_starts, "µs", micro, bare)
    row("start_soon, woken by its first step, one caller", one_by_hand, "µs", micro, bare)
    row("start_soon, woken by its first step, 100 callers", many_by_hand, "µs", micro, bare)
    row("DynamicSupervisor.start_child, one caller", one, "µs", micro, bare)
    row("DynamicSupervisor.start_child, 100 callers", many, "µs", micro, bare)
    row("TaskSupervisor.start_soon, which waits for nothing", tasks, "µs", micro, bare)

    ours, bare = in_turn(min(rounds, 3), memory_ours, memory_bare)
    print("memory per idle child")
    row("task with a scope", bare, "bytes", 1)
    row("DynamicSupervisor", ours, "bytes", 1, bare)
    if others:
        row("triotp", others["memory"], "bytes", 1, bare)

    ours_times: list[float] = []
    hand_times: list[float] = []
    for _ in range(rounds):
        ours_times += run(crash_ours)  # type: ignore[arg-type, operator]
        hand_times += run(crash_by_hand)  # type: ignore[arg-type, operator]
    print("from a crash to running again")
    row("restart loop around a nursery, by hand", hand_times, "µs", micro)
    row("Supervisor", ours_times, "µs", micro, hand_times)
    row("Supervisor, 99th percentile", [statistics.quantiles(ours_times, n=100)[98]], "µs", micro)
    if others:
        row("triotp", others["crash"], "µs", micro, hand_times)

    (ours,) = in_turn(rounds, one_for_all_ours)
    print("one_for_all over 1 000 siblings, per sibling")
    row("Supervisor", ours, "µs", micro)

    ours, bare = in_turn(min(rounds, 3), all_crash_ours, all_crash_by_hand)
    print("10 000 children crash at once and come back, per child")
    row("restart loops around nurseries, by hand", bare, "µs", micro)
    row("DynamicSupervisor", ours, "µs", micro, bare)

    ordered, dynamic, bare = in_turn(min(rounds, 3), stop_in_order_ours, stop_dynamic_ours, stop_bare)
    print("stopping 10 000, per child")
    row("cancelling a nursery", bare, "µs", micro)
    row("DynamicSupervisor, all at once", dynamic, "µs", micro, bare)
    row("Supervisor, one after another in reverse", ordered, "µs", micro, bare)
    if others:
        row("triotp (cancels all)", others["stop"], "µs", micro, bare)

    print("from a crash to running again, against the number of siblings")
    sizes = [size for size in (10, 1_000, 100_000) if size <= options.most_siblings]
    medians = []
    for size in sizes:

        async def measure(size: int = size) -> list[float]:
            return await crash_ours(size, 300)

        times: list[float] = run(measure)  # type: ignore[arg-type, assignment]
        medians.append(statistics.median(times) * micro)
        row(f"{size} siblings", times, "µs", micro)
    plot(sizes, medians)


def plot(sizes: list[int], medians: list[float]) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot(sizes, medians, marker="o")
    axes.set_xscale("log")
    axes.set_ylim(0, max(200.0, math.ceil(max(medians) * 1.2)))
    axes.axhline(120, linestyle="--", color="grey")
    axes.set_xlabel("siblings")
    axes.set_ylabel("µs from crash to running again (median)")
    axes.set_title("A restart costs the same, however many siblings there are")
    RESULTS.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(RESULTS / "supervision.png", dpi=120)
    print(f"plot: {RESULTS.name}/supervision.png")


if __name__ == "__main__":
    sys.exit(main())
