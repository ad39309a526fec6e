"""Agents that count what they hear, for tests in which much goes wrong."""

from __future__ import annotations

from typing import Any

import trio

from prunella import Agent, Durable, Emit, Reply, Run, Schedule, on


async def work(name: str) -> str:
    """An effect that takes a second."""
    await trio.sleep(1)
    return name


class Counter(Agent, name="counter", durable=Durable(snapshot_every=3, max_deliveries=2)):
    """Keeps the names of all that it has heard, in order."""

    counted: tuple[str, ...] = ()
    noted: tuple[str, ...] = ()
    worked: tuple[str, ...] = ()
    ticked: tuple[str, ...] = ()

    @on("count")
    def count(self, name: str, to: str | None = None, works: bool = False, ticks: bool = False) -> Any:
        directives: list[Any] = []
        if to is not None:
            directives.append(Emit("note", {"name": name}, to=to))
        if works:
            directives.append(Run(work, {"name": name}, then="worked"))
        if ticks:
            directives.append(Schedule(3, "tick", {"name": name}))
        return self.set(counted=(*self.counted, name)), *directives

    @on("note")
    def note(self, name: str) -> Any:
        return self.set(noted=(*self.noted, name))

    @on("worked")
    def has_worked(self, result: str) -> Any:
        return self.set(worked=(*self.worked, result)), Reply(result)

    @on("tick")
    def tick(self, name: str) -> Any:
        return self.set(ticked=(*self.ticked, name))

    @on("boom")
    def boom(self, name: str) -> Any:
        raise ValueError(name)
