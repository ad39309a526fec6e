"""The crash test: durable agents in a process that is killed again and again, and what must have come of it.

Run as `python program.py DIRECTORY KILLS SEED [RIVALS]`. The process forks children, which open a runtime on one
database; each is killed at a random instant. What they acknowledge comes back through a pipe. At the end one more
child finishes what is left, and everything is counted. The report is printed as JSON.
"""

from __future__ import annotations

import json
import logging
import math
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import defaultdict
from pathlib import Path
from typing import Any

import attrs
import trio
from ledger import LOG, Ledger

from prunella import AgentSpec, Signal, SQLiteStorage, Supervisor, open_runtime
from prunella.agents import AgentError, AgentStopped, Fenced
from prunella.runtime import Runtime
from prunella.storage import state_at
from prunella.supervision import SupervisionError

IN_THE_TREE = ("a", "b", "c")
STARTED_LATER = ("d",)
BY_KEY = ("k/1", "k/2")
EVERYONE = IN_THE_TREE + STARTED_LATER + BY_KEY
SECONDS_TO_OPEN = 0.15
SECONDS_AT_WORK = 0.06
SECONDS_TO_STOP = 20.0
SHARE_OF_GENTLE_ENDS = 0.05


@attrs.define
class Client:
    """One who sends entries to one agent, in order, each again until it is acknowledged, or not again.

    Attributes:
        agent: to whom.
        name: of this client.
        next: the number of the next entry.
        acknowledged: of which entries and shaky signals it is known that they were taken.
        doubtful: of which entries it is not known, and never will be.
    """

    agent: str
    name: str
    next: int = 1
    acknowledged: set[int] = attrs.Factory(set)
    shaky: set[int] = attrs.Factory(set)
    doubtful: set[int] = attrs.Factory(set)

    def hears(self, kind: str, number: int) -> None:
        if kind == "shaky":
            self.shaky.add(number)
        else:
            self.acknowledged.add(number)
            self.next = number + 1

    def killed(self, chance: random.Random) -> None:
        """The next one may have been sent: it is sent again, or given up."""
        if chance.random() < 0.3:
            self.doubtful.add(self.next)
            self.next += 1


# The child.


async def live(database: Path, clients: list[Client], seed: int, acks: int) -> None:
    chance = random.Random(seed)
    try:
        async with opened(database) as runtime:
            await start(runtime)
            async with trio.open_nursery() as nursery:
                for client in clients:
                    nursery.start_soon(send, runtime, client, random.Random(chance.random()), acks)
                nursery.start_soon(disturb, runtime, chance)
    except* (AgentStopped, Fenced, SupervisionError):
        pass  # It was asked to stop, or has lost an agent to a rival.


def opened(database: Path) -> Any:
    specs = [AgentSpec(Ledger, id, max_restarts=10**6, mailbox=10) for id in IN_THE_TREE]
    tree = Supervisor(specs, max_restarts=10**6)
    return open_runtime(
        tree, storage=SQLiteStorage(database), max_restarts=10**6, agents=[Ledger], handle_os_signals=True
    )


async def start(runtime: Runtime) -> None:
    keyed = runtime.keyed(Ledger, idle_timeout=0.03, name="k", max_restarts=10**6)
    for id in STARTED_LATER:
        if not runtime.can_wake(runtime.ref(id).address) and runtime.whereis(id) is None:
            await runtime.start_agent(Ledger, id, max_restarts=10**6)
    for id in BY_KEY:
        await keyed.get(id.partition("/")[2])


async def send(runtime: Runtime, client: Client, chance: random.Random, acks: int) -> None:
    """Sends entries, one after another."""
    ref = runtime.ref(client.agent, Ledger)
    number = client.next
    while True:
        data = {
            "client": client.name,
            "number": number,
            "to": [other for other in EVERYONE if chance.random() < 0.3],
            "work": chance.random() < 0.3,
            "alarm": chance.random() < 0.2,
        }
        entry = Signal("entry", data, id=f"{client.name}-{number}")
        if chance.random() < 0.3:
            state = await ref.call(entry)
            if state.last.get(client.name, 0) < number:
                raise AssertionError(f"{number} of {client.name} is not counted, but {state}")
        else:
            await ref.cast(entry)
        os.write(acks, f"entry {client.name} {number}\n".encode())
        if chance.random() < 0.1:
            await ref.cast(Signal("shaky", {"number": number}, id=f"{client.name}-shaky-{number}"))
            os.write(acks, f"shaky {client.name} {number}\n".encode())
        number += 1
        await trio.sleep(chance.random() / 500)


async def disturb(runtime: Runtime, chance: random.Random) -> None:
    """Lets agents leave memory, when nobody expects it."""
    while True:
        await trio.sleep(chance.random() / 20)
        try:
            await runtime.hibernate(chance.choice(EVERYONE), force=True)
        except AgentError:
            pass


async def finish(database: Path, clients: list[Client], seed: int, acks: int) -> None:
    """Lets everything end that has begun."""
    async with opened(database) as runtime:
        await start(runtime)
        with trio.move_on_after(30):
            while not await is_quiet(runtime):  # noqa: ASYNC110 - it is a test, and of everything at once
                await trio.sleep(0.05)


async def is_quiet(runtime: Runtime) -> bool:
    for id in EVERYONE:
        await runtime.thaw(id)
        ref = runtime.ref(id, Ledger)
        status = ref.status()
        if status.mailbox or status.effects or ref.state().running or ref.state().ticking:
            return False
    return not (await runtime.outbox()).count


# The process that is not killed.


class Torture:
    """Forks, kills, and counts."""

    def __init__(self, directory: Path, seed: int, rivals: int) -> None:
        self.database = directory / "agents.db"
        self.log = directory / "effects"
        os.environ[LOG] = str(self.log)
        self.chance = random.Random(seed)
        self.rivals = rivals
        self.clients = {
            name: Client(agent, name) for rival in range(rivals) for agent in EVERYONE for name in [f"{agent}:{rival}"]
        }
        self.problems: list[str] = []
        self.early = 0

    def round(self) -> None:
        """One life, or several at once that fight for the agents."""
        lives = [self.fork(live, rival) for rival in range(self.rivals)]
        for number, _ in lives:
            pipes = [acks for _, acks in lives]
            if self.chance.random() < 0.4:
                # Also while it is opening.
                heard = self.hear(pipes, time.monotonic() + self.chance.uniform(0.0, SECONDS_TO_OPEN))
            else:
                heard = self.hear(pipes, time.monotonic() + SECONDS_TO_STOP, at_most=1)
                self.hear(pipes, time.monotonic() + self.chance.uniform(0.0, SECONDS_AT_WORK))
            self.early += not heard
            if self.chance.random() < SHARE_OF_GENTLE_ENDS:
                os.kill(number, signal.SIGTERM)
                self.await_end(number)
            else:
                os.kill(number, signal.SIGKILL)
                os.waitpid(number, 0)
        for _, acks in lives:
            self.hear([acks], None)
            os.close(acks)
        for client in self.clients.values():
            client.killed(self.chance)

    def await_end(self, number: int) -> None:
        """A process that was asked to stop does so, if it listens yet."""
        deadline = time.monotonic() + SECONDS_TO_STOP
        while os.waitpid(number, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                self.problems.append("a process that was asked to stop has not")
                os.kill(number, signal.SIGKILL)
                deadline = math.inf
            time.sleep(0.002)

    def fork(self, run: Any, rival: int) -> tuple[int, int]:
        reading, writing = os.pipe()
        seed = self.chance.randrange(10**9)
        number = os.fork()
        if number:
            os.close(writing)
            return number, reading
        try:
            os.close(reading)
            mine = [client for client in self.clients.values() if client.name.endswith(f":{rival}")]
            trio.run(run, self.database, mine, seed, writing)
        except BaseException:
            text = traceback.format_exc()
            os.write(writing, f"problem {json.dumps(text)}\n".encode())
        finally:
            os._exit(0)

    def hear(self, pipes: list[int], deadline: float | None, at_most: float = math.inf) -> int:
        """Takes what was acknowledged, until a time, until there is some, or until nobody writes any more."""
        number = 0
        rest: dict[int, bytes] = defaultdict(bytes)
        while pipes:
            seconds = None if deadline is None else max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select(pipes, [], [], seconds)
            for pipe in ready:
                data = os.read(pipe, 65536)
                if not data:
                    pipes = [other for other in pipes if other != pipe]
                *lines, rest[pipe] = (rest[pipe] + data).split(b"\n")
                number += len(lines)
                for line in lines:
                    self.take(line.decode())
            if number >= at_most or (deadline is not None and (not ready or time.monotonic() >= deadline)):
                return number
        return number

    def take(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        if kind == "problem":
            self.problems.append(json.loads(rest))
        else:
            name, number = rest.split()
            self.clients[name].hears(kind, int(number))

    def end(self) -> dict[str, Any]:
        """Lets everything end, and counts."""
        number, acks = self.fork(finish, 0)
        self.hear([acks], None)
        os.waitpid(number, 0)
        states = trio.run(self.states)
        done = defaultdict(set)
        keys: dict[str, set[str]] = defaultdict(set)
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            client, effect, key = line.split()
            agent = client.partition(":")[0]
            done[agent].add(int(effect))
            keys[f"{agent} {effect}"].add(key)
        for agent, state in states.items():
            for text in self.wrong(agent, state, states, done[agent]):
                self.problems.append(f"{agent}: {text}")
        for effect, its_keys in keys.items():
            if len(its_keys) != 1:
                self.problems.append(f"effect {effect} had the ids {sorted(its_keys)}")
        acknowledged = sum(len(client.acknowledged) + len(client.shaky) for client in self.clients.values())
        effects = sum(map(len, done.values()))
        return {"acknowledged": acknowledged, "effects": effects, "early": self.early, "problems": self.problems}

    async def states(self) -> dict[str, Ledger]:
        async with SQLiteStorage(self.database) as storage:
            return {id: await state_at(storage, Ledger, id) for id in EVERYONE}

    def wrong(self, agent: str, state: Ledger, states: dict[str, Ledger], done: set[int]) -> list[str]:
        found = list(state.wrong)
        for client in self.clients.values():
            if client.agent != agent:
                continue
            skipped = set(state.skipped.get(client.name, ()))
            last = state.last.get(client.name, 0)
            lost = {number for number in client.acknowledged if number > last or number in skipped}
            if lost:
                found.append(f"entries {sorted(lost)} of {client.name} are lost")
            invented = set(range(1, last + 1)) - skipped - client.acknowledged - client.doubtful - {client.next}
            if invented:
                found.append(f"entries {sorted(invented)} of {client.name} were invented")
        shaky = [number for client in self.clients.values() if client.agent == agent for number in client.shaky]
        for number in set(shaky) | set(state.shaky):
            if state.shaky.count(number) < shaky.count(number):
                found.append(f"shaky {number} is lost: {state.shaky.count(number)} for {shaky.count(number)}")
            if state.shaky.count(number) > self.rivals:
                found.append(f"shaky {number} is counted twice")
        for other, number in state.sent.items():
            if states[other].heard.get(agent, 0) != number:
                found.append(f"{number} notes were sent to {other}, which has {states[other].heard.get(agent, 0)}")
        if state.running or done != set(range(1, state.asked + 1)):
            found.append(f"of {state.asked} effects {sorted(done)} were done, {state.running} not heard of")
        if state.ticking:
            found.append(f"ticks {state.ticking} have not come")
        return found


def main(directory: str, kills: str, seed: str = "1", rivals: str = "1") -> None:
    logging.basicConfig(filename=Path(directory) / "log", level=logging.WARNING)
    torture = Torture(Path(directory), int(seed), int(rivals))
    killed = 0
    while killed < int(kills):
        torture.round()
        killed += torture.rivals
    print(json.dumps({"kills": killed, **torture.end()}))


if __name__ == "__main__":
    import program  # the agents' effects are found by their module

    program.main(*sys.argv[1:])
