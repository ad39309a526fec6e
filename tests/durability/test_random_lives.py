"""Random lives: whatever crashes, sleeps, is stopped or killed, each accepted signal counts once, and in order."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from tests.durability.agents import EPOCH, Puppet, copied, doing, emit, puppets, run, world

from prunella.agents import AgentCrashed, Durable, Schedule
from prunella.runtime import EffectsRunning, open_runtime
from prunella.storage import MemoryStorage
from prunella.supervision import Supervisor

_STEPS = (
    *("cast", "call", "ask", "pay", "emit", "other", "schedule", "boom", "poison"),
    *("hibernate", "force", "wait", "stop", "kill"),
)


class _World:
    """What was accepted, and the runtimes in which it was."""

    def __init__(self, later: bool, snapshot_every: int) -> None:
        self.storage = MemoryStorage()
        self.later = later
        self.durable = Durable(snapshot_every=snapshot_every)
        self.sent: list[str] = []  # in this order, from one caller
        self.caused: list[str] = []  # at some time
        self.to_other: list[str] = []  # in this order
        self.poisons = 0

    def tree(self) -> Any:
        ids = ("q",) if self.later else ("p", "q")
        return Supervisor(puppets(*ids, durable=self.durable), max_restarts=1000)

    async def live(self, steps: list[str]) -> list[str]:
        """Takes steps until the process ends; returns those that are left."""
        async with open_runtime(self.tree(), storage=self.storage, epoch=EPOCH, max_restarts=1000) as runtime:
            if self.later and not (runtime.whereis("p") or runtime.agents(hibernated=True)):
                await runtime.start_agent(Puppet, "p", durable=self.durable, max_restarts=1000)
            ref = runtime.ref("p", Puppet)
            for place, step in enumerate(steps):
                if step in ("stop", "kill"):
                    if step == "kill":
                        killed = copied(self.storage)
                    rest = steps[place + 1 :]
                    break
                await self.step(runtime, ref, step, f"{len(self.sent) + len(self.caused)}")
            else:
                await self.look(runtime, ref)
                return []
        if step == "kill":
            self.storage = killed
        return rest

    async def step(self, runtime: Any, ref: Any, step: str, name: str) -> None:
        if step in ("cast", "call"):
            await getattr(ref, step)("note", value=name)
            self.sent.append(name)
        elif step == "ask":
            assert await ref.ask("echo", value=name) == name
            self.sent.append(f"echo {name}")
        elif step == "pay":
            await ref.call("pay", amount=int(name))
            self.sent.append(f"pay {name}")
            self.caused.append(f"paid {name}")
        elif step == "emit":
            await ref.call(doing(emit("p", f"self {name}")))
            self.caused.append(f"self {name}")
        elif step == "other":
            await ref.call(doing(emit("q", name), note=name))
            self.sent.append(name)
            self.to_other.append(name)
        elif step == "schedule":
            await ref.call(doing(Schedule(5, "note", {"value": f"later {name}"})))
            self.caused.append(f"later {name}")
        elif step == "boom":
            with pytest.raises(AgentCrashed):
                await ref.call("boom")
        elif step == "poison":
            self.poisons += 1
            await ref.cast("boom")
        elif step in ("hibernate", "force"):
            try:
                await runtime.hibernate(ref, force=step == "force")
            except EffectsRunning:
                assert step == "hibernate"
        else:
            await trio.sleep(1.5)

    async def look(self, runtime: Any, ref: Any) -> None:
        """All that was accepted counts, once and in order."""
        other = runtime.ref("q", Puppet)
        await runtime.thaw(ref)
        await trio.sleep(60)
        log = list(ref.state().log)
        direct = [entry for entry in log if entry not in set(self.caused)]
        assert direct == self.sent
        assert sorted(entry for entry in log if entry in set(self.caused)) == sorted(self.caused)
        assert list(other.state().log) == self.to_other
        assert set(world.done) >= {int(entry.split()[1]) for entry in self.caused if entry.startswith("paid")}
        assert len(await runtime.dead_letters(ref)) == self.poisons
        assert (await runtime.outbox()).count == 0
        assert ref.schedules() == ()
        assert await runtime.state_at(ref) == ref.state()


@pytest.mark.slow
@given(
    st.lists(st.sampled_from(_STEPS), max_size=25),
    st.booleans(),
    st.sampled_from([1, 3, 100]),
    st.sampled_from([0.0, 2.0]),
)
def test_each_accepted_signal_counts_once_and_in_order(
    steps: list[str], later: bool, snapshot_every: int, seconds: float
) -> None:
    world.begin_anew()
    world.seconds = seconds

    async def main() -> None:
        lives = _World(later, snapshot_every)
        left = [*steps, "kill"]
        while left:
            left = await lives.live(left)
        await lives.live([])

    run(main)
