"""A runtime beside a model of a few lines: whatever happens to it, in whatever order, comes out as the model says."""

from __future__ import annotations

import contextlib
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import example, given
from tests.durability.agents import copied, run
from tests.durability.counting import Counter

from prunella.agents import AgentCrashed, AgentError
from prunella.runtime import AgentSpec, Runtime, open_runtime
from prunella.storage import MemoryStorage, StorageError
from prunella.supervision import StartFailed, Supervisor
from prunella.testing.storage import Fault, FaultKind, FaultyStorage

IDS = ("a", "b", "later")
FAULTS = tuple(f"fault {kind}" for kind in FaultKind)
MOVES = (
    *("call", "cast", "ask", "call and leave", "cast and leave", "work", "emit", "tick"),
    *("boom", "throw boom", "suspend", "resume", "hibernate", "force", "thaw", "wait", "wait long"),
    *("away", *FAULTS, "back", "close", "kill"),
)


class Machine:
    """Some agents, and the model: what was asked for, and what is known to be done.

    Attributes:
        tried: by agent and name, what has to follow if it is counted.
        told: what was acknowledged.
    """

    def __init__(self) -> None:
        self.storage = MemoryStorage()
        self.tried: dict[tuple[str, str], str] = {}
        self.told: set[tuple[str, str]] = set()

    async def live(self, moves: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """One runtime, until it is closed or killed.

        Returns:
            The moves that are left.
        """
        storage = FaultyStorage(self.storage)
        specs = [AgentSpec(Counter, id, max_restarts=1000, mailbox=4) for id in ("a", "b")]
        async with open_runtime(Supervisor(specs, max_restarts=1000), storage=storage, max_restarts=1000) as runtime:
            if not runtime.sleeps(runtime.ref("later").address) and runtime.whereis("later") is None:
                await runtime.start_agent(Counter, "later", max_restarts=1000, mailbox=4)
            killed = False
            async with trio.open_nursery() as nursery:
                while moves and not killed:
                    (move, id), *moves = moves
                    if move == "close":
                        break
                    if move == "kill":
                        self.storage, killed = copied(storage), True
                    else:
                        nursery.start_soon(self.move, runtime, storage, move, id, str(len(self.tried)))
                        await trio.sleep(0.01)
                storage.faults.clear()
                await self.resume_all(runtime)
                while nursery.child_tasks:  # one of them may be about to wake an agent, to suspend it
                    await trio.sleep(1)
                    await self.resume_all(runtime)
            if not killed and not moves:
                await self.check(runtime)
        return moves

    async def resume_all(self, runtime: Runtime) -> None:
        for id in IDS:
            with contextlib.suppress(AgentError):  # it sleeps
                await runtime.ref(id).resume()

    async def move(self, runtime: Runtime, storage: FaultyStorage, move: str, id: str, name: str) -> None:
        if move == "away":
            storage.faults.append(Fault("*", FaultKind.UNAVAILABLE, call=None))
        elif move.startswith("fault "):
            storage.faults.append(Fault("*", FaultKind(move.removeprefix("fault ")), call=2, delay=12))
        elif move == "back":
            storage.faults.clear()
        elif move.startswith("wait"):
            pass
        else:
            try:
                with trio.fail_after(1000):
                    await self.touch(runtime, move, id, name)
            except (AgentError, StartFailed, StorageError):
                pass

    async def touch(self, runtime: Runtime, move: str, id: str, name: str) -> None:
        ref = runtime.ref(id, Counter)
        if move == "hibernate":
            await runtime.hibernate(id)
        elif move == "force":
            await runtime.hibernate(id, force=True)
        elif move == "thaw":
            await runtime.thaw(id)
        elif move in ("suspend", "resume"):
            await getattr(ref, move)()
        elif move == "boom":
            with pytest.raises((AgentCrashed, AgentError, StorageError)):
                await ref.call("boom", name=name)
        elif move == "throw boom":
            await ref.cast("boom", name=name)
        else:
            await self.count(ref, move, name)

    async def count(self, ref: Any, move: str, name: str) -> None:
        self.tried[ref.id, name] = move
        data: dict[str, Any] = {"name": name, "works": move in ("ask", "work"), "ticks": move == "tick"}
        if move == "emit":
            data["to"] = IDS[IDS.index(ref.id) - 1]
        verb = ref.ask if move == "ask" else ref.call if "call" in move else ref.cast
        with trio.move_on_after(0 if "leave" in move else 1000):
            kept = self.storage
            await verb("count", **data)
            if self.storage is kept:  # else it was killed before it could say so
                self.told.add((ref.id, name))

    async def check(self, runtime: Runtime) -> None:
        """All is quiet: what is there is what the model says."""
        states = {}
        for id in IDS:
            await runtime.thaw(id)
        await trio.sleep(100)  # What was cut off begins again.
        for id in IDS:
            states[id] = runtime.ref(id, Counter).state()
            assert await runtime.state_at(id) == states[id]
        counted = [(id, name) for id, state in states.items() for name in state.counted]
        assert len(set(counted)) == len(counted)
        assert self.told <= set(counted) <= set(self.tried)
        for id, state in states.items():
            mine = {name: self.tried[id, name] for name in state.counted}
            assert sorted(state.worked) == sorted(name for name, move in mine.items() if move in ("ask", "work"))
            assert sorted(state.ticked) == sorted(name for name, move in mine.items() if move == "tick")
            sender = IDS[(IDS.index(id) + 1) % len(IDS)]
            noted = [name for name in states[sender].counted if self.tried[sender, name] == "emit"]
            assert list(state.noted) == noted, "in the order of the turns"
        assert (await runtime.outbox()).count == 0


@example([("close", "a"), ("fault delay", "a"), ("suspend", "later"), ("call", "later")])
@given(st.lists(st.tuples(st.sampled_from(MOVES), st.sampled_from(IDS)), max_size=40))
def test_what_happens_is_what_the_model_says(moves: list[tuple[str, str]]) -> None:
    async def main() -> None:
        machine = Machine()
        left = await machine.live(moves)
        while left:
            left = await machine.live(left)
        await machine.live([])

    run(main)
