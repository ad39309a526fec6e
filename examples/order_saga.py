"""Orders as a saga: a plan reserves, charges and ships, and what was done is undone when a step fails.

    python examples/order_saga.py [--orders 200] [--seed 1]

The services fail as services do: they refuse, time out, lose an answer, or crash; and some customers give up in the
middle. Whatever happens, the books must balance in the end: nothing is reserved or charged for an order that was not
shipped.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter

import attrs
import trio
from trio.testing import MockClock

from prunella.actions import ActionError, IdempotencyKey, Plan, PlanFailed, Step, action, open_runner, param, result_of


@attrs.define
class World:
    """The services that the orders deal with, and how they fail."""

    chance: random.Random
    stock: int = 1_000
    reserved: dict[str, int] = attrs.field(factory=dict)
    charged: dict[str, int] = attrs.field(factory=dict)
    shipped: set[str] = attrs.field(factory=set)

    async def work(self) -> None:
        """Takes a moment; fails now and then."""
        await trio.sleep(self.chance.uniform(0.01, 0.5))
        trouble = self.chance.random()
        if trouble < 0.05:
            raise ConnectionError("the answer was lost")
        if trouble < 0.07:
            raise ZeroDivisionError("somebody's bug")
        if trouble < 0.10:
            await trio.sleep(60)


def order_plan(world: World) -> Plan:
    """The steps of an order."""

    async def release(order: str) -> None:
        world.stock += world.reserved.pop(order, 0)

    @action(timeout=2.0, compensate=release)
    async def reserve(order: str, count: int) -> int:
        """Takes goods from the stock."""
        if count > world.stock:
            raise ActionError("there are not so many", details={"left": world.stock})
        world.stock -= count
        world.reserved[order] = count
        await world.work()
        return count

    async def refund(order: str) -> None:
        world.charged.pop(order, None)

    @action(timeout=2.0, retries=3, idempotent=True, compensate=refund)
    async def charge(order: str, amount: int, key: IdempotencyKey) -> str:
        """Takes the money; however often it is tried, once."""
        world.charged.setdefault(order, amount)
        await world.work()
        return f"receipt {key[-4:]}"

    async def call_back(order: str) -> None:
        world.shipped.discard(order)

    @action(timeout=2.0, compensate=call_back)
    async def ship(order: str, receipt: str) -> str:
        """Sends the goods."""
        world.shipped.add(order)
        await world.work()
        return f"{order} is on its way ({receipt})"

    return Plan(
        [
            Step("reserve", reserve, {"order": param("order"), "count": param("count")}),
            Step("charge", charge, {"order": param("order"), "amount": result_of("reserve")}),
            Step("ship", ship, {"order": param("order"), "receipt": result_of("charge")}),
        ],
        name="place_order",
        total_timeout=10.0,
    )


async def run(orders: int, seed: int) -> tuple[World, Counter[str]]:
    """Places orders side by side; gives the world as it is then, and what became of them."""
    world = World(random.Random(seed))
    outcomes: Counter[str] = Counter()
    plan = order_plan(world)
    async with open_runner() as runner, trio.open_nursery() as nursery:

        async def place(number: int) -> None:
            patience = world.chance.choice([0.4, 30.0, 30.0, 30.0])
            outcome = "given up"
            with trio.move_on_after(patience):
                try:
                    await runner.run(plan, {"order": f"order-{number}", "count": world.chance.randint(1, 12)})
                    outcome = "shipped"
                except PlanFailed as error:
                    outcome = f"failed at {error.failed}, undoing {error.compensation}"
                except ActionError as error:
                    outcome = type(error).__name__
            outcomes[outcome] += 1

        for number in range(orders):
            nursery.start_soon(place, number)
    return world, outcomes


def balances(world: World) -> bool:
    """Whether there are goods and money for exactly the orders that were shipped."""
    goods = world.stock + sum(world.reserved.values()) == 1_000
    return goods and set(world.reserved) == set(world.charged) == world.shipped


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--orders", type=int, default=200, help="how many orders are placed")
    arguments.add_argument("--seed", type=int, default=1, help="what chance begins with")
    chosen = arguments.parse_args()
    # A clock that jumps: an hour of timeouts takes a second.
    world, outcomes = trio.run(run, chosen.orders, chosen.seed, clock=MockClock(autojump_threshold=0))
    print(order_plan(world).mermaid())
    for outcome, count in outcomes.most_common():
        print(f"{count:5} {outcome}")
    print(f"{world.stock} left in stock; the books {'balance' if balances(world) else 'DO NOT BALANCE'}")


if __name__ == "__main__":
    main()
