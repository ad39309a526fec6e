"""The agents of the crash test: everything that they hear and ask for leaves a trace that can be checked."""

from __future__ import annotations

import os

import trio

from prunella import Agent, Context, Durable, Emit, Run, Schedule, on
from prunella.actions import IdempotencyKey
from prunella.conversion import Map

LOG = "PRUNELLA_EFFECTS"


async def write_down(agent: str, number: int, key: IdempotencyKey) -> int:
    """The effect: a line in a file, with the id of the directive that asked for it."""
    await trio.sleep(number % 3 / 1000)
    file = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, f"{agent} {number} {key}\n".encode())
    finally:
        os.close(file)
    return number


class Ledger(Agent, name="ledger", durable=Durable(max_deliveries=1000, snapshot_every=7)):
    """Counts what it hears, and takes note of whatever should not be."""

    last: Map[str, int] = Map()
    """By client, the number of the last entry."""
    skipped: Map[str, tuple[int, ...]] = Map()
    """By client, the numbers that never came."""
    heard: Map[str, int] = Map()
    """By agent, how many notes of it have come."""
    sent: Map[str, int] = Map()
    """By agent, how many notes were sent to it."""
    shaky: tuple[int, ...] = ()
    asked: int = 0
    running: tuple[int, ...] = ()
    wound: int = 0
    ticking: tuple[int, ...] = ()
    wrong: tuple[str, ...] = ()

    @on("entry")
    def entry(self, client: str, number: int, to: tuple[str, ...] = (), work: bool = False, alarm: bool = False):
        last = self.last.get(client, 0)
        if number <= last:
            return self.set(wrong=(*self.wrong, f"entry {number} of {client} after {last}"))
        skipped = (*self.skipped.get(client, ()), *range(last + 1, number))
        changes = {"last": self.last.set(client, number), "skipped": self.skipped.set(client, skipped)}
        directives = []
        sent = self.sent
        for other in to:
            sent = sent.set(other, sent.get(other, 0) + 1)
            directives.append(Emit("note", {"number": sent[other]}, to=other))
        if work:
            changes |= {"asked": self.asked + 1, "running": (*self.running, self.asked + 1)}
            directives.append(Run(write_down, {"agent": client, "number": self.asked + 1}, then="written"))
        if alarm:
            changes |= {"wound": self.wound + 1, "ticking": (*self.ticking, self.wound + 1)}
            directives.append(Schedule(self.wound % 5 / 200, "tick", {"number": self.wound + 1}))
        return self.set(**changes, sent=sent), *directives

    @on("note")
    def note(self, number: int, context: Context):
        source = context.signal.source.removeprefix("/agents/")
        last = self.heard.get(source, 0)
        if number != last + 1:
            return self.set(wrong=(*self.wrong, f"note {number} of {source} after {last}"))
        return self.set(heard=self.heard.set(source, number))

    @on("written")
    def written(self, result: int):
        if result not in self.running:
            return self.set(wrong=(*self.wrong, f"result {result} twice"))
        return self.set(running=tuple(number for number in self.running if number != result))

    @on("tick")
    def tick(self, number: int):
        if number not in self.ticking:
            return self.set(wrong=(*self.wrong, f"tick {number} twice"))
        return self.set(ticking=tuple(other for other in self.ticking if other != number))

    @on("shaky")
    def shake(self, number: int, context: Context):
        if context.random.random() < 0.3:
            raise ValueError("shaken")
        return self.set(shaky=(*self.shaky, number))
