"""A soak of agents: thousands of them, and for a minute signals, crashes, spawns and stops at random.

    python benchmarks/soak_agents.py [--agents N] [--seconds S] [--seed N]

What happened is counted twice: by those who sent, and by what the runtime reported. The two must agree exactly: no
signal is lost, and none is handled twice, except for those that crashed their agent.
"""

from __future__ import annotations

import argparse
import logging
import random
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from prunella.agents import (
    Agent,
    AgentCrashed,
    AgentError,
    AgentStopped,
    Context,
    Emit,
    NoReply,
    Rejected,
    Reply,
    Run,
    SpawnAgent,
    Stop,
    on,
)
from prunella.runtime import (
    AgentEnded,
    AgentRef,
    AgentRestarted,
    AgentStarted,
    EffectException,
    EffectStart,
    EffectStop,
    Runtime,
    SignalDropped,
    TurnEvent,
    open_runtime,
)
from prunella.telemetry import Event

__all__ = ["Tally", "soak"]


async def pause(seconds: float) -> float:
    """Work that takes a while."""
    await trio.sleep(seconds)
    return seconds


class Worker(Agent, name="soak_worker"):
    """Does what a signal says; `count` is what it has done."""

    count: int = 0

    @on("cast.work", "call.work", "emit.work")
    def work(self) -> Any:
        return self.set(count=self.count + 1)

    @on("cast.refuse", "call.refuse", "emit.refuse")
    def refuse(self) -> None:
        raise Rejected("no")

    @on("cast.boom", "call.boom", "emit.boom")
    def boom(self) -> None:
        raise ValueError("boom")

    @on("cast.relay", "call.relay")
    def relay(self, to: str, type: str) -> Any:
        return self.set(count=self.count + 1), Emit(type, to=to)

    @on("cast.run", "call.run")
    def run(self, seconds: float) -> Any:
        return Run(pause, {"seconds": seconds}, then="ran")

    @on("ran")
    def ran(self) -> Any:
        return self.set(count=self.count + 1)

    @on("cast.spawn", "call.spawn")
    def spawn(self, context: Context) -> Any:
        tag = f"child-{context.new_id()}"
        return SpawnAgent(Worker, tag=tag)

    @on("cast.stop", "call.stop")
    def stop(self) -> Any:
        return Stop()

    @on("ask.reply", "ask.behind")
    def reply(self) -> Any:
        return Reply(self.count)

    @on("ask.relay")
    def ask_relay(self, to: str) -> Any:
        return Emit("ask.behind", to=to)

    @on("ask.run")
    def ask_run(self, seconds: float) -> Any:
        return Run(pause, {"seconds": seconds}, then="ask.ran")

    @on("ask.ran")
    def ask_ran(self, result: float) -> Any:
        return Reply(result)


_ACTIONS = {
    "work": 30, "refuse": 3, "boom": 3, "relay": 15, "run": 5, "spawn": 1, "stop": 1, "ask.reply": 5, "ask.relay": 5,
    "ask.run": 2, "end": 1, "suspend": 1,
}  # fmt: skip
_EMITTED = ("emit.work",) * 8 + ("emit.refuse", "emit.boom")


class Tally:
    """What was sent, and what was reported.

    Attributes:
        sent: of senders: what came of each signal that they sent, by its type.
        turns: of the runtime: turns by type and outcome.
        dropped: of the runtime: signals that were accepted and will not be handled, by type.
        effects: of the runtime: effects by directive and how they ended.
        lives: of the runtime: beginnings and ends of agents.
    """

    def __init__(self) -> None:
        self.sent: Counter[tuple[str, str]] = Counter()
        self.turns: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[str] = Counter()
        self.effects: Counter[tuple[str, str]] = Counter()
        self.lives: Counter[str] = Counter()

    def listen(self, event: Event) -> None:
        """A listener of the runtime."""
        if isinstance(event, TurnEvent):
            self.turns[event.signal_type, event.outcome] += 1
        elif isinstance(event, SignalDropped):
            self.dropped[event.signal_type] += 1
        elif isinstance(event, EffectStart | EffectStop | EffectException):
            self.effects[event.directive, event.name] += 1
        elif isinstance(event, AgentStarted | AgentRestarted):
            self.lives[event.name] += 1
        elif isinstance(event, AgentEnded):
            self.lives[event.name] += 1
            self.lives[f"ended {event.reason}"] += 1

    def handled(self, kind: str, outcome: str | None = None) -> int:
        """How many turns there were for signals of a kind."""
        return sum(
            number
            for (type, how), number in self.turns.items()
            if type.startswith(kind) and (outcome is None or how == outcome)
        )

    def came_of(self, kind: str, result: str) -> int:
        """How often that came of a signal of a kind."""
        return sum(number for (type, how), number in self.sent.items() if type.startswith(kind) and how == result)

    def lost(self, kind: str) -> int:
        """How many signals of a kind were dropped."""
        return sum(number for type, number in self.dropped.items() if type.startswith(kind))

    def differences(self) -> list[str]:
        """Where the two do not agree."""
        emits, runs = self.handled("cast.relay", "committed"), self.handled("cast.run", "committed")
        emits += self.handled("call.relay", "committed") + self.handled("ask.relay", "committed")
        runs += self.handled("call.run", "committed") + self.handled("ask.run", "committed")
        sums = {
            "casts": (self.came_of("cast", "accepted"), self.handled("cast") + self.lost("cast")),
            "calls that returned": (self.came_of("call", "returned"), self.handled("call", "committed")),
            "calls that were refused": (self.came_of("call", "Rejected"), self.handled("call", "Rejected")),
            "calls that crashed": (self.came_of("call", "AgentCrashed"), self.handled("call", "crashed")),
            "emits": (
                emits,
                sum(self.handled(kind) + self.lost(kind) for kind in ("emit", "ask.behind"))
                + self.effects["Emit", "effect.exception"],
            ),
            "works": (
                runs,
                sum(self.handled(kind) + self.lost(kind) for kind in ("ran", "ask.ran"))
                + self.effects["Run", "effect.exception"],
            ),
            "lives": (self.lives["agent.started"], self.lives["agent.ended"]),
            "crashes": (
                sum(number for (_, outcome), number in self.turns.items() if outcome == "crashed"),
                self.lives["agent.restarted"] + self.lives["ended crashed"],
            ),
            "ends of effects": (
                sum(number for (_, name), number in self.effects.items() if name == "effect.start"),
                sum(number for (_, name), number in self.effects.items() if name != "effect.start"),
            ),
        }
        return [f"{what}: {one} and {other}" for what, (one, other) in sums.items() if one != other]


async def soak(*, agents: int, drivers: int, goes_on: Callable[[], bool], seed: int) -> Tally:
    """Lets agents live, as long as `goes_on` says; what was counted is to be compared then.

    Args:
        agents: how many there are, about.
        drivers: how many tasks send to them.
        goes_on: asked before each signal.
        seed: of chance.
    """
    tally = Tally()
    chance = random.Random(seed)
    async with open_runtime(telemetry=[tally.listen], strict=False) as runtime:
        crew = [await _start(runtime) for _ in range(agents)]
        async with trio.open_nursery() as nursery:
            for _ in range(drivers):
                nursery.start_soon(_drive, runtime, crew, random.Random(chance.random()), goes_on, tally)
        # Results and emits follow each other: only when all is quiet at once is it over.
        while any(ref.status().mailbox or ref.status().effects for ref in runtime.agents()):  # noqa: ASYNC110
            await trio.sleep(0.05)
        assert runtime.count() == tally.lives["agent.started"] - tally.lives["agent.ended"]
    return tally


async def _start(runtime: Runtime) -> AgentRef[Worker]:
    return await runtime.start_agent(Worker, mailbox=20, effects=50, shutdown=0.5, max_restarts=1_000_000)


async def _drive(
    runtime: Runtime, crew: list[AgentRef[Worker]], chance: random.Random, goes_on: Callable[[], bool], tally: Tally
) -> None:
    names, weights = list(_ACTIONS), list(_ACTIONS.values())
    while goes_on():
        action = chance.choices(names, weights)[0]
        place = chance.randrange(len(crew))
        ref = crew[place]
        if action == "end":
            await ref.stop()
        elif action == "suspend":
            await _rest(ref, chance)
        elif action.startswith("ask"):
            await _send(ref, "ask", action, chance, crew, tally)
        elif action == "stop":
            await _send(ref, chance.choice(("cast", "call")), action, chance, crew, tally)
        else:
            verb = chance.choice(("cast", "cast", "call"))
            await _send(ref, verb, action, chance, crew, tally)
        if ref.status().state == "stopped" and crew[place] is ref:
            crew[place] = await _start(runtime)


async def _rest(ref: AgentRef[Worker], chance: random.Random) -> None:
    try:
        await ref.suspend()
        await trio.sleep(chance.random() * 0.01)
        await ref.resume()
    except AgentStopped:
        pass


async def _send(
    ref: AgentRef[Worker],
    verb: str,
    action: str,
    chance: random.Random,
    crew: list[AgentRef[Worker]],
    tally: Tally,
) -> None:
    type = action if verb == "ask" else f"{verb}.{action}"
    data: dict[str, Any] = {}
    if action in ("relay", "ask.relay"):
        data["to"] = chance.choice(crew).id
    if action == "relay":
        data["type"] = chance.choice(_EMITTED)
    if action in ("run", "ask.run"):
        data["seconds"] = chance.random() * 0.02
    result = "accepted" if verb == "cast" else "returned"
    try:
        with trio.CancelScope() as scope:
            if verb == "cast" and chance.random() < 0.1:
                scope.deadline = trio.current_time() + chance.random() * 0.001
            await getattr(ref, verb)(type, data)
        if scope.cancelled_caught:
            result = "withdrawn"
    except (Rejected, AgentCrashed, AgentStopped, NoReply) as error:
        result = error.__class__.__name__
    except AgentError as error:
        result = f"unexpected {error!r}"
    tally.sent[type, result] += 1


def main() -> None:
    """Runs it, and says what was counted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--agents", type=int, default=5_000)
    parser.add_argument("--drivers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    end = time.monotonic() + options.seconds

    async def run() -> Tally:
        return await soak(
            agents=options.agents,
            drivers=options.drivers,
            goes_on=lambda: time.monotonic() < end,
            seed=options.seed,
        )

    tally = trio.run(run)
    turns = sum(tally.turns.values())
    print(f"seed {options.seed}: {turns} turns, {sum(tally.sent.values())} signals sent")
    for title, counter in (("sent", tally.sent), ("lives", tally.lives), ("effects", tally.effects)):
        print(f"{title}:", ", ".join(f"{key} {number}" for key, number in sorted(counter.items(), key=str)))
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    differences = tally.differences()
    for difference in differences:
        print(f"does not add up: {difference}")
    if differences:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
