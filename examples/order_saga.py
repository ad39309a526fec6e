"""Orders as a saga: a plan reserves, charges and ships, and what was done is undone when a step fails.

    python examples/order_saga.py [--orders 200] [--seed 1]        # services that fail, on a clock that jumps
    python examples/order_saga.py --kill 3 [--orders 30]           # the program itself is killed, three times

The services fail as services do: they refuse, time out, lose an answer, or crash; and some customers give up in the
middle. Whatever happens, the books must balance in the end: nothing is reserved or charged for an order that was not
shipped.

With `--kill` a durable agent has the plan run. After each kill it begins again what it had asked for, from the start:
the services know by order or idempotency key what they have done already, and what another life has left behind is put
right when the plan fails.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio
from trio.testing import MockClock

from prunella import Agent, AgentSpec, Map, Run, SQLiteStorage, on, open_runtime
from prunella.actions import ActionError, IdempotencyKey, Plan, PlanFailed, Step, action, open_runner, param, result_of

STOCK = 1_000


class World:
    """The services that the orders deal with: their books, and how they fail.

    Args:
        seed: what chance begins with.
        books: the path of a database; by default they live as long as this.
        pace: how long everything takes; 1 is as in earnest.
    """

    def __init__(self, seed: int, books: str | Path = ":memory:", pace: float = 1.0) -> None:
        self.chance = random.Random(seed)
        self.pace = pace
        self.books = sqlite3.connect(books, isolation_level=None)
        self.books.execute("CREATE TABLE IF NOT EXISTS books (service, key, amount, PRIMARY KEY (service, key))")

    def write(self, service: str, key: str, amount: int) -> None:
        """Takes something into the books of a service, once for each key."""
        self.books.execute("INSERT OR IGNORE INTO books VALUES (?, ?, ?)", (service, key, amount))

    def strike(self, service: str, key: str) -> None:
        """Takes it out again."""
        self.books.execute("DELETE FROM books WHERE service = ? AND key = ?", (service, key))

    def of(self, service: str) -> dict[str, int]:
        """What is in the books of a service."""
        return dict(self.books.execute("SELECT key, amount FROM books WHERE service = ?", (service,)))

    @property
    def stock(self) -> int:
        """How many goods are left."""
        return STOCK - sum(self.of("reserved").values())

    def balances(self) -> bool:
        """Whether there are goods and money for exactly the orders that were shipped."""
        return self.of("reserved").keys() == self.of("charged").keys() == self.of("shipped").keys()

    async def work(self) -> None:
        """Takes a moment; fails now and then."""
        await trio.sleep(self.chance.uniform(0.01, 0.5) * self.pace)
        trouble = self.chance.random()
        if trouble < 0.05:
            raise ConnectionError("the answer was lost")
        if trouble < 0.07:
            raise ZeroDivisionError("somebody's bug")
        if trouble < 0.10:
            await trio.sleep(60)


world = World(0)


async def release(order: str) -> None:
    world.strike("reserved", order)


@action(timeout=2.0, compensate=release)
async def reserve(order: str, count: int) -> int:
    """Takes goods from the stock."""
    if count > world.stock:
        raise ActionError("there are not so many", details={"left": world.stock})
    world.write("reserved", order, count)
    await world.work()
    return count


async def refund(order: str) -> None:
    world.strike("charged", order)


@action(timeout=2.0, retries=3, idempotent=True, compensate=refund)
async def charge(order: str, amount: int, key: IdempotencyKey) -> str:
    """Takes the money; however often it is tried, once."""
    world.write("charged", order, amount)
    await world.work()
    return f"receipt {key[-4:]}"


async def call_back(order: str) -> None:
    world.strike("shipped", order)


@action(timeout=2.0, compensate=call_back)
async def ship(order: str, receipt: str) -> str:
    """Sends the goods."""
    world.write("shipped", order, 1)
    await world.work()
    return f"{order} is on its way ({receipt})"


async def put_right(order: str) -> None:
    """Undoes whatever was done for an order, also by a run that nobody knows of any more."""
    await call_back(order)
    await refund(order)
    await release(order)


place_order = Plan(
    [
        Step("reserve", reserve, {"order": param("order"), "count": param("count")}),
        Step("charge", charge, {"order": param("order"), "amount": result_of("reserve")}),
        Step("ship", ship, {"order": param("order"), "receipt": result_of("charge")}),
    ],
    name="place_order",
    total_timeout=10.0,
    compensate=put_right,
)


# Services that fail.


async def run(orders: int, seed: int) -> tuple[World, Counter[str]]:
    """Places orders side by side; gives the world as it is then, and what became of them."""
    global world
    world = World(seed)
    outcomes: Counter[str] = Counter()
    async with open_runner() as runner, trio.open_nursery() as nursery:

        async def place(number: int) -> None:
            patience = world.chance.choice([0.4, 30.0, 30.0, 30.0])
            outcome = "given up"
            with trio.move_on_after(patience):
                try:
                    await runner.run(place_order, {"order": f"order-{number}", "count": world.chance.randint(1, 12)})
                    outcome = "shipped"
                except PlanFailed as error:
                    outcome = f"failed at {error.failed}, undoing {error.compensation}"
                except ActionError as error:
                    outcome = type(error).__name__
            outcomes[outcome] += 1

        for number in range(orders):
            nursery.start_soon(place, number)
    return world, outcomes


# A program that is killed.


class Shop(Agent, name="shop", durable=True):
    """Takes orders, and remembers what has become of each."""

    orders: Mapping[str, str] = Map()

    @on("order.placed")
    def placed(self, order: str, count: int) -> Any:
        if order in self.orders:
            return None
        placed = self.set(orders={**self.orders, order: "placed"})
        asked = {"order": order, "count": count}
        return placed, Run(place_order, asked, then="order.shipped", catch="order.failed", carry={"order": order})

    @on("order.shipped")
    def shipped(self, order: str) -> Any:
        return self.set(orders={**self.orders, order: "shipped"})

    @on("order.failed")
    def failed(self, order: str, error: Any) -> Any:
        return self.set(orders={**self.orders, order: f"failed, {error['type']}"})


async def serve(directory: Path, orders: int, seed: int) -> Counter[str]:
    """Places orders and waits until each has come to an end; whoever is killed meanwhile may be started again."""
    global world
    world = World(seed, directory / "books.db", pace=0.2)
    chance = random.Random(orders)  # the same orders in every life
    counts = [chance.randint(1, 12) for _ in range(orders)]
    async with open_runtime(AgentSpec(Shop, "shop", runs=10), storage=SQLiteStorage(directory / "shop.db")) as runtime:
        shop = runtime.ref("shop", Shop)
        for number, count in enumerate(counts):
            await shop.cast("order.placed", order=f"order-{number}", count=count)
        state = await shop.wait_for(lambda state: len(state.orders) == orders and "placed" not in state.orders.values())
        return Counter(state.orders.values())


def serve_and_kill(directory: Path, orders: int, seed: int, times: int) -> Counter[str]:
    """Kills the program that serves, again and again, and lets the last life come to the end."""
    chance = random.Random(seed)
    for life in range(times):
        arguments = [f"--serve={directory}", f"--orders={orders}", f"--seed={seed + life}"]
        process = subprocess.Popen([sys.executable, __file__, *arguments])
        time.sleep(chance.uniform(0.8, 1.6))
        process.kill()
        process.wait()
    return trio.run(serve, directory, orders, seed + times)


def report(outcomes: Counter[str]) -> None:
    """Shows what became of the orders, and whether the books balance."""
    for outcome, count in outcomes.most_common():
        print(f"{count:5} {outcome}")
    print(f"{world.stock} left in stock; the books {'balance' if world.balances() else 'DO NOT BALANCE'}")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--orders", type=int, default=200, help="how many orders are placed")
    arguments.add_argument("--seed", type=int, default=1, help="what chance begins with")
    arguments.add_argument("--kill", type=int, default=0, help="how often the program is killed")
    arguments.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.serve is not None:
        trio.run(partial(serve, chosen.serve, chosen.orders, chosen.seed))
        return
    print(place_order.picture())
    if chosen.kill:
        with tempfile.TemporaryDirectory() as directory:
            report(serve_and_kill(Path(directory), chosen.orders, chosen.seed, chosen.kill))
            world.books.close()
    else:
        # A clock that jumps: an hour of timeouts takes a second.
        _, outcomes = trio.run(run, chosen.orders, chosen.seed, clock=MockClock(autojump_threshold=0))
        report(outcomes)


if __name__ == "__main__":
    main()
