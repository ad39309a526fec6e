"""What agents cost, beside bare Trio channels, triotp's gen_server and pykka, in one run.

    python benchmarks/agents.py [--rounds N] [--triotp PYTHON]

Every figure is taken several times, ours and the others' in turn, and given as minimum and median; the ratios are
of medians. pykka is measured if it is installed. The table is printed; what a call costs against the number of agents,
and what a signal costs against the length of the mailbox, is also drawn to `benchmarks/results/agents.png`.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import platform
import statistics
import subprocess
import sysconfig
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
import trio.testing

from prunella.agents import Agent, AgentCrashed, on
from prunella.runtime import AgentSpec, open_runtime

RESULTS = Path(__file__).parent / "results"
CALLS = 20_000
AGENTS = 10_000


class Counter(Agent, name="counter"):
    """The trivial agent."""

    count: int = 0

    @on("add")
    def add(self, amount: int = 1) -> Any:
        return self.set(count=self.count + amount)

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")


# Ours.


async def cmd() -> float:
    counter = Counter()
    begin = time.perf_counter()
    for _ in range(CALLS):
        counter, _directives = counter.cmd("add", amount=1)
    return (time.perf_counter() - begin) / CALLS


async def call() -> float:
    async with open_runtime(AgentSpec(Counter, "c"), strict=False) as runtime:
        ref = runtime.ref("c", Counter)
        begin = time.perf_counter()
        for _ in range(CALLS):
            await ref.call("add", amount=1)
        return (time.perf_counter() - begin) / CALLS


async def cast() -> float:
    async with open_runtime(AgentSpec(Counter, "c"), strict=False) as runtime:
        ref = runtime.ref("c", Counter)
        begin = time.perf_counter()
        for _ in range(CALLS):
            await ref.cast("add", amount=1)
        await ref.wait_for(lambda state: state.count == CALLS)
        return (time.perf_counter() - begin) / CALLS


async def start() -> float:
    async with open_runtime(strict=False) as runtime:
        begin = time.perf_counter()
        for number in range(AGENTS):
            await runtime.start_agent(Counter, f"a{number}")
        return (time.perf_counter() - begin) / AGENTS


async def memory() -> float:
    async with open_runtime(strict=False) as runtime:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(AGENTS):
            await runtime.start_agent(Counter, f"a{number}")
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        return (after - before) / AGENTS


async def crash() -> float:
    crashes = 2_000
    async with open_runtime(strict=False) as runtime:
        ref = await runtime.start_agent(Counter, "c", max_restarts=10**9)
        begin = time.perf_counter()
        for _ in range(crashes):
            with contextlib.suppress(AgentCrashed):
                await ref.call("boom")
            await ref.call("add")
        return (time.perf_counter() - begin) / crashes


# Bare Trio.


async def channel_call() -> float:
    """A call by channels: a request with its own reply channel, a task that answers."""
    send, receive = trio.open_memory_channel[Any](100)

    async def server() -> None:
        count = 0
        async for amount, reply in receive:
            count += amount
            await reply.send(count)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        reply_send, reply_receive = trio.open_memory_channel[int](1)
        begin = time.perf_counter()
        for _ in range(CALLS):
            await send.send((1, reply_send))
            await reply_receive.receive()
        took = (time.perf_counter() - begin) / CALLS
        send.close()
    return took


async def channel_send() -> float:
    send, receive = trio.open_memory_channel[int](1000)

    async def server() -> None:
        async for _ in receive:
            pass

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        begin = time.perf_counter()
        for _ in range(CALLS):
            await send.send(1)
        send.close()
    return (time.perf_counter() - begin) / CALLS


async def _task_with_scope_and_channel(receive: Any) -> None:
    with trio.CancelScope(shield=True):
        await receive.receive()


async def bare_start() -> float:
    sends = []
    async with trio.open_nursery() as nursery:
        begin = time.perf_counter()
        for _ in range(AGENTS):
            send, receive = trio.open_memory_channel[int](1000)
            sends.append(send)
            nursery.start_soon(_task_with_scope_and_channel, receive)
        await trio.testing.wait_all_tasks_blocked()  # a checkpoint may come before all of them
        took = (time.perf_counter() - begin) / AGENTS
        for send in sends:
            send.send_nowait(1)
    return took


async def bare_memory() -> float:
    sends = []
    async with trio.open_nursery() as nursery:
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(AGENTS):
            send, receive = trio.open_memory_channel[int](1000)
            sends.append(send)
            nursery.start_soon(_task_with_scope_and_channel, receive)
        await trio.testing.wait_all_tasks_blocked()  # a checkpoint may come before all of them
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        for send in sends:
            send.send_nowait(1)
    return (after - before) / AGENTS


async def bare_crash() -> float:
    """A loop around try, in one task: the least that comes back."""
    crashes = 2_000
    send, receive = trio.open_memory_channel[Any](1)

    async def server() -> None:
        while True:
            try:
                async for what, reply in receive:
                    if what == "boom":
                        await reply.send(None)
                        raise ValueError
                    await reply.send(1)
            except ValueError:
                continue
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server)
        reply_send, reply_receive = trio.open_memory_channel[Any](1)
        begin = time.perf_counter()
        for _ in range(crashes):
            await send.send(("boom", reply_send))
            await reply_receive.receive()
            await send.send(("add", reply_send))
            await reply_receive.receive()
        took = (time.perf_counter() - begin) / crashes
        send.close()
    return took


# Peers.


def pykka_figures() -> dict[str, float] | None:
    try:
        import pykka
    except ImportError:
        return None

    class PykkaCounter(pykka.ThreadingActor):
        def __init__(self) -> None:
            super().__init__()
            self.count = 0

        def on_receive(self, message: Any) -> Any:
            self.count += message
            return self.count

    calls = 5_000
    actor = PykkaCounter.start()
    begin = time.perf_counter()
    for _ in range(calls):
        actor.ask(1)
    called = (time.perf_counter() - begin) / calls
    begin = time.perf_counter()
    for _ in range(calls):
        actor.tell(1)
    actor.ask(1)
    cast = (time.perf_counter() - begin) / calls
    actor.stop()
    begin = time.perf_counter()
    actors = [PykkaCounter.start() for _ in range(500)]
    started = (time.perf_counter() - begin) / 500
    for other in actors:
        other.stop()
    return {"call": called, "cast": cast, "start": started}


TRIOTP = """
import json, time
import logbook, trio, trio.testing
from triotp import gen_server, mailbox
logbook.NullHandler().push_application()
CALLS = 3000
class counter:
    __name__ = "counter"
    async def init(self, n): return n
    async def handle_call(self, message, caller, state): return (gen_server.Reply(state + message), state + message)
    async def handle_cast(self, message, state): return (gen_server.NoReply(), state + message)
    async def handle_info(self, message, state): return (gen_server.NoReply(), state)
    async def terminate(self, reason, state): pass
async def main():
    from triotp import node
    mod = counter()
    async with trio.open_nursery() as nursery:
        mailbox._init()
        nursery.start_soon(gen_server.start, mod, 0, "counter")
        await trio.testing.wait_all_tasks_blocked()
        b = time.perf_counter()
        for _ in range(CALLS): await gen_server.call("counter", 1)
        call = (time.perf_counter() - b) / CALLS
        b = time.perf_counter()
        for _ in range(CALLS): await gen_server.cast("counter", 1)
        await gen_server.call("counter", 1)
        cast = (time.perf_counter() - b) / CALLS
        nursery.cancel_scope.cancel()
    print(json.dumps(dict(call=call, cast=cast)))
trio.run(main)
"""


def triotp_figures(python: str) -> dict[str, float] | None:
    done = subprocess.run([python, "-c", TRIOTP], capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"triotp: its gen_server could not be measured: {done.stderr.strip().splitlines()[-1:]}")
        return None
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


# Telling.


def run(measure: Callable[[], Any]) -> Any:
    gc.collect()
    return trio.run(measure)


def in_turn(rounds: int, *measures: Callable[[], Any]) -> list[list[float]]:
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(run(measure))
    return taken


def row(what: str, values: list[float], unit: str, scale: float, beside: list[float] | None = None) -> None:
    least, median = min(values) * scale, statistics.median(values) * scale
    ratio = "" if beside is None else f"{statistics.median(values) / statistics.median(beside):8.2f} x"
    rate = f"{1 / statistics.median(values):12,.0f} /s" if scale == 1e6 else ""
    print(f"  {what:<46} {least:10.2f} {median:10.2f} {unit:<6}{rate:<16}{ratio}")


def against_agents(sizes: list[int]) -> list[float]:
    async def measure(size: int) -> float:
        async with open_runtime(strict=False) as runtime:
            refs = [await runtime.start_agent(Counter, f"a{number}") for number in range(size)]
            number = max(CALLS, size)
            begin = time.perf_counter()
            for turn in range(number):
                await refs[turn % size].call("add", amount=1)
            return (time.perf_counter() - begin) / number

    return [run(lambda size=size: measure(size)) for size in sizes]


def against_mailbox(lengths: list[int]) -> list[float]:
    async def measure(length: int) -> float:
        async with open_runtime(strict=False) as runtime:
            ref = await runtime.start_agent(Counter, "c", mailbox=length)
            await ref.suspend()
            for _ in range(length):
                ref.cast_nowait("add", amount=1)
            begin = time.perf_counter()
            await ref.resume()
            await ref.wait_for(lambda state: state.count == length)
            return (time.perf_counter() - begin) / length

    return [run(lambda length=length: measure(length)) for length in lengths]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--triotp", help="an interpreter with triotp installed")
    parser.add_argument("--most-agents", type=int, default=100_000)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    print(
        f"{platform.python_implementation()} {platform.python_version()}"
        f" ({'with' if optimised else 'without'} --enable-optimizations), Trio {trio.__version__},"
        f" {options.rounds} rounds"
    )
    triotp = triotp_figures(options.triotp) if options.triotp else None
    pykka = pykka_figures()
    micro = 1e6
    print(f"  {'':<46} {'minimum':>10} {'median':>10}       per second      ratio of medians")

    (pure,) = in_turn(options.rounds, cmd)
    row("cmd", pure, "µs", micro)
    ours, bare = in_turn(options.rounds, call, channel_call)
    row("a call by channels, bare Trio", bare, "µs", micro)
    row("call", ours, "µs", micro, bare)
    for name, figures in (("triotp gen_server.call", triotp), ("pykka ask", pykka)):
        if figures:
            row(name, [figures["call"]], "µs", micro, bare)
    ours, bare = in_turn(options.rounds, cast, channel_send)
    row("a channel send, received, bare Trio", bare, "µs", micro)
    row("cast, handled", ours, "µs", micro, bare)
    for name, figures in (("triotp gen_server.cast", triotp), ("pykka tell", pykka)):
        if figures:
            row(name, [figures["cast"]], "µs", micro, bare)
    ours, bare = in_turn(options.rounds, start, bare_start)
    row("task, scope and channel, bare Trio", bare, "µs", micro)
    row("start_agent", ours, "µs", micro, bare)
    if pykka:
        row("pykka start", [pykka["start"]], "µs", micro, bare)
    ours, bare = in_turn(min(options.rounds, 3), memory, bare_memory)
    row("memory of task, scope and channel", bare, "bytes", 1)
    row("memory of an idle agent", ours, "bytes", 1, bare)
    ours, bare = in_turn(options.rounds, crash, bare_crash)
    row("crash and next call, loop around try, bare", bare, "µs", micro)
    row("crash, restart and next call", ours, "µs", micro, bare)

    sizes = [size for size in (10, 100, 1_000, 10_000, 100_000) if size <= options.most_agents]
    by_agents = against_agents(sizes)
    lengths = [10, 100, 1_000, 10_000, 100_000]
    by_mailbox = against_mailbox(lengths)
    for size, cost in zip(sizes, by_agents, strict=True):
        row(f"call, {size} agents", [cost], "µs", micro)
    for length, cost in zip(lengths, by_mailbox, strict=True):
        row(f"handling a mailbox of {length}", [cost], "µs", micro)
    plot(sizes, by_agents, lengths, by_mailbox)


def plot(sizes: list[int], by_agents: list[float], lengths: list[int], by_mailbox: list[float]) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot(sizes, [cost * 1e6 for cost in by_agents], marker="o", label="a call, against the number of agents")
    axes.plot(
        lengths, [cost * 1e6 for cost in by_mailbox], marker="s", label="a signal, against the length of the mailbox"
    )
    axes.set_xscale("log")
    axes.set_ylim(0, None)
    axes.set_ylabel("µs (one round)")
    axes.set_title("What a call and a signal cost, against how many there are")
    axes.legend()
    RESULTS.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(RESULTS / "agents.png", dpi=120)
    print(f"plot: {RESULTS.name}/agents.png")


if __name__ == "__main__":
    main()
