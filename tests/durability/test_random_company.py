"""Many who send at once to agents that crash, sleep and wake on a storage that falters: each signal counts once."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from tests.durability.agents import Puppet, doing, emit, puppets, quiet

from prunella.agents import AgentCrashed, Durable
from prunella.runtime import EffectsRunning, open_runtime
from prunella.signals import Signal
from prunella.storage import MemoryStorage, StorageError
from prunella.supervision import Supervisor
from prunella.testing.storage import Fault, FaultyStorage

_AGENTS = ("tree", "later", "keyed/k")
_FAULTS = ("unavailable", "full_disk", "lost_request", "lost_answer", "delay")


async def _insists(ref: Any, verb: str, signal: Signal) -> None:
    """Sends a signal again and again, until it is known that it was taken."""
    while True:
        try:
            await getattr(ref, verb)(signal)
        except (StorageError, AgentCrashed):
            await trio.sleep(0.3)
        else:
            return


class _Company:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.storage = FaultyStorage(MemoryStorage())
        self.expected: dict[str, list[str]] = {id: [] for id in _AGENTS}
        self.working = True

    async def client(self, runtime: Any, name: str) -> None:
        chance = self.chance
        for number in range(12):
            to, other = chance.choice(_AGENTS), chance.choice(_AGENTS)
            value = f"{name}-{number}"
            ref = runtime.ref(to, Puppet)
            if chance.random() < 0.4:
                signal = doing(emit(other, f"{value}!"), note=value)
                self.expected[other].append(f"{value}!")
            else:
                signal = Signal("note", {"value": value})
            self.expected[to].append(value)
            await _insists(ref, chance.choice(["cast", "call"]), signal)
            await trio.sleep(chance.random())

    async def disturb(self, runtime: Any) -> None:
        chance = self.chance
        while self.working:
            await trio.sleep(chance.random() * 2)
            ref = runtime.ref(chance.choice(_AGENTS), Puppet)
            try:
                if chance.random() < 0.5:
                    await runtime.hibernate(ref, force=chance.random() < 0.5)
                else:
                    await ref.call("boom")
            except (AgentCrashed, EffectsRunning, StorageError):
                pass

    async def falter(self) -> None:
        chance = self.chance
        while self.working:
            await trio.sleep(chance.random() * 2)
            kind = chance.choice(_FAULTS)
            self.storage.faults.append(Fault("*", kind, call=None, delay=0.4))
            await trio.sleep(chance.choice([0.0, 0.0, 0.1, 1.0]))
            self.storage.faults.clear()


@pytest.mark.parametrize("seed", range(20))
async def test_each_signal_counts_once(seed: int) -> None:
    company = _Company(seed)
    options: dict[str, Any] = {"durable": Durable(snapshot_every=5), "max_restarts": 10_000, "mailbox": 5}
    tree = Supervisor(puppets("tree", **options), max_restarts=10_000)
    async with open_runtime(tree, storage=company.storage, max_restarts=10_000) as runtime:
        await runtime.start_agent(Puppet, "later", **options)
        await runtime.keyed(Puppet, name="keyed", idle_timeout=1.5, **options).get("k")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(company.disturb, runtime)
            nursery.start_soon(company.falter)
            async with trio.open_nursery() as clients:
                for name in "abcde":
                    clients.start_soon(company.client, runtime, name)
            company.working = False
        await trio.sleep(60)
        for id in _AGENTS:
            ref = runtime.ref(id, Puppet)
            await runtime.thaw(ref)
            await quiet(ref)
            assert sorted(ref.state().log) == sorted(company.expected[id])
            assert await runtime.dead_letters(ref) == ()
        assert (await runtime.outbox()).count == 0
