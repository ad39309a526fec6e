"""What signals cost, beside the CloudEvents SDK and blinker, in one run.

    python benchmarks/signals.py [--rounds N] [--most-routes N]

Every figure is taken several times, ours and the others' in turn, and given as the rate of the fastest and of the
median round; the ratios are of medians. The table is printed; routing against the number of routes is also drawn to
`benchmarks/results/signals.png`. The SDK and blinker are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import platform
import random
import statistics
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prunella.signals import Route, Router, Signal, decode, encode

RESULTS = Path(__file__).parent / "results"
MANY = 20_000
DATA = {"ticket": "T-1", "customer": {"name": "Ada", "vip": True}, "lines": [1, 2.5, None, "grüß dich"]}
BUDGETS = {10: 500_000, 100: 400_000, 1_000: 300_000, 100_000: 200_000}
CONSTRUCTIONS = 300_000

Work = Callable[[], int]  # does something so many times


def construct_ours() -> int:
    for _ in range(MANY):
        Signal("ticket.opened", DATA, source="/web", subject="T-1")
    return MANY


def construct_and_read_ours() -> int:
    for _ in range(MANY):
        signal = Signal("ticket.opened", DATA, source="/web", subject="T-1")
        signal.id, signal.time  # noqa: B018  what is made when somebody asks for it
    return MANY


def encode_ours(format: str = "json") -> Work:
    signals = [Signal("ticket.opened", DATA, source="/web", subject="T-1") for _ in range(MANY // 10)]
    for signal in signals:
        encode(signal)  # the text of id and time is made once, not with every encoding

    def work() -> int:
        for signal in signals:
            encode(signal, format=format)
        return len(signals)

    return work


def decode_ours(format: str = "json") -> Work:
    document = encode(Signal("ticket.opened", DATA, source="/web", subject="T-1"), format=format)

    def work() -> int:
        for _ in range(MANY // 10):
            decode(document, format=format)
        return MANY // 10

    return work


def with_sdk() -> dict[str, Work]:
    """The same with the official SDK; nothing where it is not installed."""
    try:
        from cloudevents.core.formats.json import JSONFormat
        from cloudevents.core.v1.event import CloudEvent
    except ImportError:
        return {}

    def construct() -> int:
        for _ in range(MANY // 10):
            CloudEvent({"type": "ticket.opened", "source": "/web", "subject": "T-1"}, DATA)
        return MANY // 10

    attributes = {
        "type": "ticket.opened",
        "source": "/web",
        "subject": "T-1",
        "datacontenttype": "application/json",
    }
    events = [CloudEvent(dict(attributes), DATA) for _ in range(MANY // 10)]
    document = JSONFormat().write(events[0])

    def write() -> int:
        for event in events:
            JSONFormat().write(event)
        return len(events)

    def read() -> int:
        for _ in range(MANY // 10):
            JSONFormat().read(None, document)
        return MANY // 10

    return {"construct": construct, "encode": write, "decode": read}


def routing(routes: int) -> tuple[Router[int], list[Signal], float]:
    """A router with mixed routes, signals that few of them match, and how many do so on average.

    Seven of ten routes are exact, two have a `*`, one a `**` at its end; types are drawn from all of them.
    """
    exact, starred = routes * 7 // 10, routes * 2 // 10
    made = [Route(f"tenant{number}.order.created", number) for number in range(exact)]
    made += [Route(f"tenant{number}.*.created", number) for number in range(starred)]
    made += [Route(f"tenant{number}.**", number) for number in range(routes - exact - starred)]
    router = Router(made)
    chance = random.Random(1)
    types = [f"tenant{chance.randrange(exact)}.order.created" for _ in range(MANY)]
    signals = [Signal(type) for type in types]
    return router, signals, statistics.mean(len(router.route(signal)) for signal in signals)


def route_ours(router: Router[int], signals: Sequence[Signal]) -> Work:
    def work() -> int:
        for signal in signals:
            router.route(signal)
        return len(signals)

    return work


def route_new_types(router: Router[int]) -> Work:
    """Every type is met for the first time, so that nothing is remembered of it."""
    numbers: Iterator[int] = itertools.count()

    def prepared() -> list[Signal]:
        return [Signal(f"tenant{next(numbers)}.order.created") for _ in range(MANY)]

    batches = [prepared() for _ in range(3)]

    def work() -> int:
        batch = batches.pop() if batches else prepared()
        for signal in batch:
            router.route(signal)
        return MANY

    return work


def with_blinker(names: int) -> tuple[Work, Work] | None:
    """Routing by exact name: a named signal of blinker and its one receiver, ours and the target's call."""
    try:
        import blinker
    except ImportError:
        return None
    namespace = blinker.Namespace()
    called: list[Any] = []

    def receiver(sender: Any, **data: Any) -> None:
        called.append(sender)

    for number in range(names):
        namespace.signal(f"ticket.opened.{number}").connect(receiver)
    router = Router([Route(f"ticket.opened.{number}", receiver) for number in range(names)])
    chosen = [f"ticket.opened.{random.Random(2).randrange(names)}" for _ in range(MANY)]
    signals = [Signal(name) for name in chosen]

    def theirs() -> int:
        called.clear()
        for name in chosen:
            namespace.signal(name).send(None)
        return MANY

    def ours() -> int:
        called.clear()
        for signal in signals:
            for target in router.route(signal):
                target(signal)
        return MANY

    return ours, theirs


def in_turn(rounds: int, *works: Work) -> list[list[float]]:
    """The rates of each, taken in turn, so that a busy moment of the machine hits all alike."""
    for work in works:
        work()
    rates: list[list[float]] = [[] for _ in works]
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for values, work in zip(rates, works, strict=True):
                begun = time.perf_counter()
                times = work()
                values.append(times / (time.perf_counter() - begun))
    finally:
        gc.enable()
    return rates


def row(
    what: str, rates: list[float], beside: list[float] | None = None, budget: int | None = None, note: str = ""
) -> None:
    fastest, median = max(rates), statistics.median(rates)
    ratio = f"{median / statistics.median(beside):8.1f} x" if beside else " " * 10
    held = "" if budget is None else f"  budget {budget:,}: {'held' if median >= budget else 'MISSED'}"
    print(f"  {what:<46} {fastest:14,.0f} {median:14,.0f} {ratio}{held}{note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--most-routes", type=int, default=100_000)
    options = parser.parse_args()
    rounds = options.rounds
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    print(
        f"{platform.python_implementation()} {platform.python_version()}"
        f" ({'with' if optimised else 'without'} --enable-optimizations), {rounds} rounds, per second"
    )
    print(f"  {'':<46} {'fastest':>14} {'median':>14}   ratio of medians")

    sdk = with_sdk()
    if not sdk:
        print("CloudEvents SDK: not measured, it is not installed")
    ours, read, *other = in_turn(rounds, construct_ours, construct_and_read_ours, *filter(None, [sdk.get("construct")]))
    print("making a signal")
    row("Signal", ours, *other, budget=CONSTRUCTIONS)
    row("Signal, then its id and time", read, *other)
    if other:
        row("CloudEvent of the SDK", *other)

    for what, work, packed in (
        ("encoding", encode_ours(), packed_or_none(encode_ours)),
        ("decoding", decode_ours(), packed_or_none(decode_ours)),
    ):
        theirs = sdk.get(what.removesuffix("ing") + "e" if what.endswith("coding") else what)
        found = in_turn(rounds, *filter(None, [work, packed, theirs]))
        beside = found[-1] if theirs else None
        print(f"{what} {len(encode(Signal('ticket.opened', DATA)))} bytes of JSON")
        row("JSON", found[0], beside)
        if packed:
            row("MessagePack", found[1], beside)
        if beside:
            row("JSONFormat of the SDK", beside)

    pair = with_blinker(1_000)
    print("routing by exact name to one function of 1 000, and calling it")
    if pair is None:
        print("  blinker: not measured, it is not installed")
    else:
        mine, theirs_rates = in_turn(rounds, *pair)
        row("Router", mine, theirs_rates)
        row("blinker, a named signal", theirs_rates)

    print("routing against the number of routes")
    sizes = [size for size in BUDGETS if size <= options.most_routes]
    known, fresh = [], []
    for size in sizes:
        router, signals, matching = routing(size)
        again, first = in_turn(rounds, route_ours(router, signals), route_new_types(router))
        known.append(statistics.median(again))
        fresh.append(statistics.median(first))
        row(f"{size:,} routes", again, budget=BUDGETS[size], note=f"; {matching:.1f} match")
        row(f"{size:,} routes, each type for the first time", first)
    plot(sizes, known, fresh)


def packed_or_none(make: Callable[[str], Work]) -> Work | None:
    try:
        import msgpack  # noqa: F401
    except ImportError:
        return None
    return make("msgpack")


def plot(sizes: list[int], known: list[float], fresh: list[float]) -> None:
    try:
        import matplotlib as mpl
    except ImportError:
        print("no plot: matplotlib is not installed")
        return
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    axes.plot(sizes, known, marker="o", label="types drawn from all routes")
    axes.plot(sizes, fresh, marker="s", label="each type for the first time")
    axes.plot(sizes, [BUDGETS[size] for size in sizes], linestyle="--", color="grey", label="budget")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("routes")
    axes.set_ylabel("signals routed per second (median)")
    axes.set_title("Routing costs what matches, not what is registered")
    axes.legend()
    RESULTS.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(RESULTS / "signals.png", dpi=120)
    print(f"plot: {RESULTS.name}/signals.png")


if __name__ == "__main__":
    sys.exit(main())
