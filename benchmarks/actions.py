"""What a run of an action costs, beside a bare call and beside what people put around one instead.

    python benchmarks/actions.py [--rounds N]

Every figure is taken several times, one after another in turn, and given as minimum and median. The overhead of a run
is its median less that of the bare call. Peers that are not installed are left out.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from prunella.actions import Plan, Step, action, open_runner, run, tool_schema
from prunella.agents import Agent, Run, on
from prunella.runtime import AgentSpec, open_runtime
from prunella.telemetry import Event

CALLS = 5_000
STEPS = 1_000
OVERHEAD = 10e-6  # seconds of a trivial run without deadline
OVERHEAD_WITH_DEADLINE = 25e-6
RUNS = 60_000  # a second

Measure = Callable[[], Awaitable[float]]


async def plain(x: int, y: str = "a") -> int:
    return x


bare = action(name="bare")(plain)
limited = action(name="limited", timeout=10.0)(plain)
limited_twice = action(name="limited_twice", timeout=10.0, total_timeout=30.0, retries=2, idempotent=True)(plain)


@action
def in_thread(x: int) -> int:
    return x


async def timed(call: Callable[[], Awaitable[Any]], calls: int = CALLS) -> float:
    """Seconds a call."""
    begin = time.perf_counter()
    for _ in range(calls):
        await call()
    return (time.perf_counter() - begin) / calls


def with_runner(one: Any, *listeners: Callable[[Event], object]) -> Measure:
    async def measure() -> float:
        async with open_runner(telemetry=listeners) as runner:
            return await timed(lambda: runner.run(one, {"x": 1}))

    return measure


async def bare_deadline() -> float:
    async def call() -> int:
        with trio.fail_after(10.0):
            return await plain(x=1)

    return await timed(call)


async def threads() -> float:
    async with open_runner() as runner:
        return await timed(lambda: runner.run(in_thread, {"x": 1}), 500)


async def bare_threads() -> float:
    return await timed(lambda: trio.to_thread.run_sync(lambda: 1), 500)


class Worker(Agent, name="worker"):
    """Has something done for every signal; the result comes back as another one."""

    done: int = 0

    @on("do")
    def do(self, what: str) -> Run:
        return Run(WORK[what], {"x": 1}, then="done")

    @on("done")
    def note(self, result: int) -> Worker:
        return self.set(done=self.done + 1)

    @on("nothing")
    def nothing(self) -> None: ...


WORK: dict[str, Any] = {"action": bare, "function": plain, "thread": in_thread}


def in_a_runtime(what: str | None) -> Measure:
    """A turn with a `Run`, until that has ended; or a turn that asks for nothing."""

    async def measure() -> float:
        async with open_runtime(AgentSpec(Worker, "worker"), strict=False) as runtime:
            worker = runtime.ref("worker", Worker)
            if what is None:
                return await timed(lambda: worker.call_settled("nothing"), 1_000)
            return await timed(lambda: worker.call_settled("do", what=what), 1_000)

    return measure


async def plan_of_many() -> float:
    plan = Plan([Step(f"s{number}", bare, {"x": number}) for number in range(STEPS)])
    begin = time.perf_counter()
    await run(plan)
    return (time.perf_counter() - begin) / STEPS


async def definition() -> float:
    async def define() -> None:
        tool_schema(action(name="defined")(plain))

    return await timed(define, 200)


async def schema() -> float:
    async def again() -> None:
        tool_schema(limited)

    return await timed(again, 1_000)


def measures() -> dict[str, Measure]:
    found: dict[str, Measure] = {
        "bare call": lambda: timed(lambda: plain(x=1)),
        "run": lambda: timed(lambda: run(bare, {"x": 1})),
        "run of a runner": with_runner(bare),
        "run, one listener": with_runner(bare, lambda event: None),
        "bare call, fail_after": bare_deadline,
        "run, timeout": with_runner(limited),
        "run, both timeouts, retries": with_runner(limited_twice),
    }
    try:
        import tenacity
    except ImportError:
        pass
    else:
        around = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_exponential_jitter())(plain)
        found["tenacity"] = lambda: timed(lambda: around(x=1))
    try:
        import stamina
    except ImportError:
        pass
    else:
        tried = stamina.retry(on=ConnectionError, attempts=3, timeout=30.0)(plain)
        found["stamina"] = lambda: timed(lambda: tried(x=1))
    try:
        import pydantic
    except ImportError:
        pass
    else:
        validated = pydantic.validate_call(validate_return=True)(plain)
        found["pydantic validate_call"] = lambda: timed(lambda: validated(x=1))
    try:
        from langchain_core.tools import StructuredTool
    except ImportError:
        pass
    else:
        tool = StructuredTool.from_function(
            func=lambda x, y="a": x, name="plain", description="plain", args_schema=None
        )

        async def invoke() -> None:
            tool.invoke({"x": 1})

        found["langchain tool, sync"] = lambda: timed(invoke, 500)
    return found | {
        "to_thread.run_sync": bare_threads,
        "run of a sync action": threads,
        "turn of an agent": in_a_runtime(None),
        "turn with Run(function)": in_a_runtime("function"),
        "turn with Run(action)": in_a_runtime("action"),
        "turn with Run(sync action)": in_a_runtime("thread"),
        f"a step of a plan of {STEPS}": plan_of_many,
        "definition and schema": definition,
        "schema again": schema,
    }


def collect(rounds: int) -> dict[str, list[float]]:
    found = measures()
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, measure in found.items():
            gc.collect()
            taken[name].append(trio.run(measure))
    return taken


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=7)
    taken = collect(arguments.parse_args().rounds)
    print(
        f"{platform.python_implementation()} {platform.python_version()}, Trio {trio.__version__}, microseconds a call"
    )
    print(f"{'':32}{'minimum':>10}{'median':>10}{'a second':>12}")
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        print(f"{name:32}{min(seconds) * 1e6:10.2f}{median * 1e6:10.2f}{1 / median:12,.0f}")
    median = {name: statistics.median(seconds) for name, seconds in taken.items()}
    overhead = median["run of a runner"] - median["bare call"]
    with_deadline = median["run, timeout"] - median["bare call"]
    rate = 1 / median["run of a runner"]
    checks = [
        ("overhead of a run", f"{overhead * 1e6:.1f} µs", overhead <= OVERHEAD, "10 µs"),
        ("overhead with a deadline", f"{with_deadline * 1e6:.1f} µs", with_deadline <= OVERHEAD_WITH_DEADLINE, "25 µs"),
        ("runs a second", f"{rate:,.0f}", rate >= RUNS, f"{RUNS:,}"),
    ]
    print()
    for what, figure, kept, budget in checks:
        print(f"{what}: {figure} ({'within' if kept else 'NOT within'} the budget of {budget})")
    sys.exit(not all(kept for _, _, kept, _ in checks))


if __name__ == "__main__":
    main()
