"""What deciding a signal costs: `Agent.cmd`, beside a turn written the plain way with attrs and cattrs.

    python benchmarks/cmd.py [--rounds N]

Every figure is taken several times, all of them in turn, and given as minimum and median. The plain way is what one
would write by hand: a frozen attrs class, a table of functions, `cattrs.structure` for the data and `attrs.evolve`
for the change, on a signal that is complete when it is made.
"""

from __future__ import annotations

import argparse
import gc
import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import attrs
import cattrs

from prunella.agents import Agent, Context, Emit, on
from prunella.agents._turns import take_turn
from prunella.signals import Signal

TURNS = 20_000
BUDGET = 200_000


class Counter(Agent, name="counter"):
    count: int = 0

    @on("counter.add")
    def add(self, amount: int):  # type: ignore[no-untyped-def]
        return self.set(count=self.count + amount)

    @on("counter.say")
    def say(self, amount: int):  # type: ignore[no-untyped-def]
        return self.set(count=self.count + amount), Emit("counter.said", {"amount": amount})

    @on("counter.stamp")
    def stamp(self, context: Context):  # type: ignore[no-untyped-def]
        return self.set(count=context.now.second)


class Wide(Agent, name="wide"):
    a: int = 0
    b: str = ""
    c: tuple[int, ...] = ()
    d: float = 0.0
    e: bool = False
    f: int = 0
    g: str = ""
    h: int = 0

    @on("counter.add")
    def add(self, amount: int):  # type: ignore[no-untyped-def]
        return self.set(a=self.a + amount)


@attrs.frozen
class PlainSignal:
    type: str
    data: dict[str, Any]
    id: str = attrs.field(factory=lambda: str(uuid4()))
    time: datetime = attrs.field(factory=lambda: datetime.now(UTC))


@attrs.frozen
class Add:
    amount: int


@attrs.frozen
class PlainCounter:
    count: int = 0


def plain_add(state: PlainCounter, data: Add) -> PlainCounter:
    return attrs.evolve(state, count=state.count + data.amount)


HANDLERS: dict[str, tuple[type, Callable[..., PlainCounter]]] = {"counter.add": (Add, plain_add)}


def plain_turn(state: PlainCounter, signal: PlainSignal) -> tuple[PlainCounter, tuple[Any, ...]]:
    parameters, handler = HANDLERS[signal.type]
    return handler(state, cattrs.structure(signal.data, parameters)), ()


counter = Counter()
wide = Wide()
signal = Signal("counter.add", {"amount": 1})


def no_context() -> Context:
    raise AssertionError("nobody asks for it")


CASES: dict[str, Callable[[], object]] = {
    "cmd, new agent": lambda: Counter().cmd("counter.add", amount=1),
    "cmd, same agent": lambda: counter.cmd("counter.add", amount=1),
    "cmd, with an Emit": lambda: counter.cmd("counter.say", amount=1),
    "cmd, with a Context": lambda: counter.cmd("counter.stamp"),
    "cmd, eight fields": lambda: wide.cmd("counter.add", amount=1),
    "cmd, strict": lambda: counter.cmd("counter.add", strict=True, amount=1),
    "take_turn alone": lambda: take_turn(counter, signal, no_context, strict=False),
    "new Signal alone": lambda: Signal("counter.add", {"amount": 1}),
    "set alone": lambda: counter.set(count=1),
    "the plain way": lambda: plain_turn(PlainCounter(), PlainSignal("counter.add", {"amount": 1})),
}


def measured(case: Callable[[], object]) -> float:
    """Microseconds for one call."""
    begin = time.perf_counter()
    for _ in range(TURNS):
        case()
    return (time.perf_counter() - begin) / TURNS * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each figure is taken")
    rounds = parser.parse_args().rounds
    figures: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, case in CASES.items():
            gc.collect()
            figures[name].append(measured(case))
    print(f"CPython {platform.python_version()}, {rounds} rounds of {TURNS} calls\n")
    print(f"{'':22}{'min µs':>9}{'med µs':>9}{'per second (med)':>18}{'of the plain way':>18}")
    plain = statistics.median(figures["the plain way"])
    for name, taken in figures.items():
        median = statistics.median(taken)
        print(f"{name:22}{min(taken):9.2f}{median:9.2f}{1e6 / median:18,.0f}{median / plain:18.2f}")
    reached = 1e6 / statistics.median(figures["cmd, new agent"])
    print(f"\nbudget: {BUDGET:,} cmd per second, a new agent with one int: {reached:,.0f}")
    if reached < BUDGET:
        sys.exit("the budget was missed")


if __name__ == "__main__":
    main()
