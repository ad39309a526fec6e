"""The smallest agent there is: it counts.

    python examples/counter.py

What it decides is a method; that it has a mailbox, and comes back after a crash, is the runtime's business.
"""

import trio

from prunella import Agent, on
from prunella.runtime import AgentSpec, open_runtime


class Counter(Agent, name="counter"):
    count: int = 0

    @on("add")
    def add(self, amount: int = 1):
        return self.set(count=self.count + amount)


async def main() -> None:
    async with open_runtime(AgentSpec(Counter)) as runtime:
        counter = runtime.ref("counter", Counter)
        await counter.cast("add")
        state = await counter.call("add", amount=2)
        print(state.count)


if __name__ == "__main__":
    trio.run(main)
