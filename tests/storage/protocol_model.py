"""How a durable agent lives, as a small state machine: accept, decide, commit, execute, mark, crash, restore.

A `World` is a storage, some runtimes that want to run one agent, and what the outside has seen. `Protocol.steps` gives
every world that can follow. A runtime may be killed between any two steps, and two may own the agent at the same time,
each in good faith. A call of the storage may lose its way there, or its answer.

Each signal from outside asks for one directive, whose id is the number of the turn. Its result comes back as a signal
`r<turn>`, which asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

__all__ = ["Call", "Life", "Protocol", "Request", "Stored", "World", "broken", "unfinished"]


@attrs.frozen(cache_hash=True)
class Request:
    """A write: turns that follow one another, or the mark that a directive is done, with its result."""

    claim: int
    first: int = 0
    signals: tuple[str, ...] = ()
    done: int | None = None
    enqueued: str | None = None

    @property
    def asking(self) -> list[int]:
        """The turns that ask for a directive: all but those about results."""
        return [turn for turn, signal in enumerate(self.signals, self.first) if not signal.startswith("r")]


@attrs.frozen(cache_hash=True)
class Stored:
    """What the storage has of the agent."""

    claim: int = 0
    turns: tuple[tuple[int, str], ...] = ()  # whose claim, which signal
    waiting: tuple[str, ...] = ()
    open: tuple[int, ...] = ()

    def knows(self, signal: str) -> bool:
        return signal in self.waiting or any(signal == other for _, other in self.turns)

    def enqueue(self, signal: str) -> Stored:
        return self if self.knows(signal) else attrs.evolve(self, waiting=(*self.waiting, signal))

    def append(self, request: Request) -> Stored | None:
        """All of it, or `None`: it is refused."""
        if request.claim != self.claim:
            return None
        if request.signals and request.first != len(self.turns) + 1:
            return None
        heard = [*(signal for _, signal in self.turns), *request.signals]
        if len(set(heard)) != len(heard):
            return None
        after = Stored(
            self.claim,
            (*self.turns, *((request.claim, signal) for signal in request.signals)),
            tuple([signal for signal in self.waiting if signal not in request.signals]),
            tuple([number for number in (*self.open, *request.asking) if number != request.done]),
        )
        return after if request.enqueued is None else after.enqueue(request.enqueued)


@attrs.frozen(cache_hash=True)
class Life:
    """What a runtime has in memory."""

    claim: int = 0
    is_loaded: bool = False
    last: int = 0
    counted: tuple[str, ...] = ()
    todo: tuple[int, ...] = ()  # committed, and not executed in this life
    ran: tuple[int, ...] = ()  # executed, and not marked
    pending: Request | None = None
    is_in_doubt: bool = False


@attrs.frozen(cache_hash=True)
class World:
    stored: Stored
    lives: tuple[Life | None, ...]
    outside: tuple[str, ...]  # signals that somebody wants to send
    acknowledged: frozenset[str] = frozenset()
    executed: frozenset[int] = frozenset()
    faults: int = 0  # how many calls may still be lost
    starts: int = 0  # how often a runtime may still be started

    def with_life(self, number: int, life: Life | None) -> World:
        return attrs.evolve(self, lives=(*self.lives[:number], life, *self.lives[number + 1 :]))


@attrs.frozen(cache_hash=True)
class Call:
    """A step, and what it asked of the storage, if anything arrived there."""

    name: str
    life: int | None = None
    enqueued: str | None = None
    claimed: bool = False
    request: Request | None = None


class Protocol:
    """What runtimes do. Each method is one thing that could be done wrongly."""

    most_ahead = 2  # turns that are committed at once

    def enqueue(self, stored: Stored, signal: str) -> Stored:
        return stored.enqueue(signal)

    def append(self, stored: Stored, request: Request) -> Stored | None:
        return stored.append(request)

    def steps(self, world: World) -> Iterator[tuple[Call, World]]:
        """Everything that may happen next."""
        for signal in world.outside:
            if signal not in world.acknowledged:
                yield from self.accept(world, signal)
        for number, life in enumerate(world.lives):
            if life is None:
                if world.starts:
                    yield from self.start(world, number)
                continue
            yield Call("killed", number), world.with_life(number, None)
            yield from self.live(world, number, life)

    def accept(self, world: World, signal: str) -> Iterator[tuple[Call, World]]:
        stored = attrs.evolve(world, stored=self.enqueue(world.stored, signal))
        if world.stored.claim:
            yield (
                Call("accepted", enqueued=signal),
                attrs.evolve(stored, acknowledged=world.acknowledged | {signal}),
            )
            if world.faults:
                yield Call("accepted, answer lost", enqueued=signal), attrs.evolve(stored, faults=world.faults - 1)

    def start(self, world: World, number: int) -> Iterator[tuple[Call, World]]:
        claim = world.stored.claim + 1
        after = attrs.evolve(world, stored=attrs.evolve(world.stored, claim=claim), starts=world.starts - 1)
        yield Call("claimed", number, claimed=True), after.with_life(number, Life(claim))

    def live(self, world: World, number: int, life: Life) -> Iterator[tuple[Call, World]]:
        if not life.is_loaded:
            yield Call("loaded", number), world.with_life(number, self.loaded(world.stored, life))
        elif life.is_in_doubt:
            yield Call("looked", number), world.with_life(number, self.looked(world.stored, life))
        elif life.pending is not None:
            yield from self.send(world, number, life, life.pending)
        else:
            yield from self.decide(world, number, life)
            if life.ran:
                mark = self.mark(life, life.ran[0])
                yield Call("marks", number), world.with_life(number, attrs.evolve(life, pending=mark))
        if life.todo:
            yield from self.execute(world, number, life)

    def loaded(self, stored: Stored, life: Life) -> Life:
        """Restores the agent: from what is stored after it was claimed."""
        counted = tuple([signal for _, signal in stored.turns])
        return Life(life.claim, True, len(counted), counted, stored.open)

    def mark(self, life: Life, number: int) -> Request:
        """The directive is done, and its result is stored: in one write."""
        return Request(life.claim, done=number, enqueued=f"r{number}")

    def decide(self, world: World, number: int, life: Life) -> Iterator[tuple[Call, World]]:
        if life.claim != world.stored.claim:  # the signals are taken, which is fenced
            yield Call("fenced", number), world.with_life(number, None)
            return
        waiting = world.stored.waiting
        for count in range(1, min(self.most_ahead, len(waiting)) + 1):
            request = Request(life.claim, life.last + 1, waiting[:count])
            yield Call("decided", number), world.with_life(number, attrs.evolve(life, pending=request))

    def send(self, world: World, number: int, life: Life, request: Request) -> Iterator[tuple[Call, World]]:
        stored = self.append(world.stored, request)
        if stored is None:
            # Fenced, or what cannot be: it ends, and whoever owns the agent goes on.
            yield Call("refused", number, request=request), world.with_life(number, None)
        else:
            written = attrs.evolve(world, stored=stored)
            yield (
                Call("written", number, request=request),
                written.with_life(number, self.written(life, request)),
            )
            if world.faults:
                lost = attrs.evolve(written, faults=world.faults - 1)
                doubting = self.doubting(life, request)
                yield Call("written, answer lost", number, request=request), lost.with_life(number, doubting)
        if world.faults:
            lost = attrs.evolve(world, faults=world.faults - 1)
            yield Call("request lost", number), lost.with_life(number, self.doubting(life, request))

    def doubting(self, life: Life, request: Request) -> Life:
        """After an answer that did not come: nothing is done before it has looked."""
        return attrs.evolve(life, is_in_doubt=True)

    def looked(self, stored: Stored, life: Life) -> Life | None:
        """Sees whether what is in doubt was written. If not, it is decided anew."""
        request = life.pending
        assert request is not None
        if stored.claim != life.claim:
            return None
        was_written = len(stored.turns) >= request.first if request.signals else request.done not in stored.open
        return self.written(life, request) if was_written else attrs.evolve(life, pending=None, is_in_doubt=False)

    def written(self, life: Life, request: Request) -> Life:
        """What was acknowledged counts; what it asks for may be executed."""
        return attrs.evolve(
            life,
            last=life.last + len(request.signals),
            counted=(*life.counted, *request.signals),
            todo=(*life.todo, *request.asking),
            ran=tuple([number for number in life.ran if number != request.done]),
            pending=None,
            is_in_doubt=False,
        )

    def execute(self, world: World, number: int, life: Life) -> Iterator[tuple[Call, World]]:
        """Effects run beside the turns, also while a commit is under way."""
        first = life.todo[0]
        after = attrs.evolve(life, todo=life.todo[1:], ran=(*life.ran, first))
        yield (
            Call("executed", number),
            attrs.evolve(world, executed=world.executed | {first}).with_life(number, after),
        )


def broken(world: World) -> str | None:
    """What is wrong with a world, if anything is."""
    stored = world.stored
    counted = [signal for _, signal in stored.turns]
    if len(set(counted)) != len(counted):
        return "a signal was counted twice"
    if any(not stored.knows(signal) for signal in world.acknowledged):
        return "an acknowledged signal was lost"
    claims = [claim for claim, _ in stored.turns]
    if claims != sorted(claims):
        return "an older owner has written after a newer one"
    asked = {number for number, signal in enumerate(counted, 1) if not signal.startswith("r")}
    if not world.executed <= asked:
        return "an effect was invented"
    if not asked - set(stored.open) <= world.executed:
        return "a directive was marked done that was not executed"
    results = {f"r{number}" for number in asked - set(stored.open)}
    if any(not stored.knows(result) for result in results):
        return "the result of a directive was lost"
    for life in world.lives:
        if life is not None and life.is_loaded and life.counted != tuple(counted[: life.last]):
            return "the state in memory is not that of the turns"
    return None


def recovered(protocol: Protocol, world: World) -> World | None:
    """What a world comes to when all are killed, one runtime is started again, and nothing goes wrong any more.

    `None` if it never comes to rest.
    """
    world = attrs.evolve(world, lives=(None,), outside=(), faults=0, starts=1)
    for _ in range(100):
        steps = [(call, after) for call, after in protocol.steps(world) if call.name != "killed"]
        if not steps:
            return world
        _, world = steps[0]
    return None


def unfinished(protocol: Protocol, world: World) -> str | None:
    """What is missing after a recovery, if anything is."""
    after = recovered(protocol, world)
    if after is None:
        return "it never comes to rest"
    stored = after.stored
    counted = [signal for _, signal in stored.turns]
    if stored.waiting or stored.open:
        return "something is left undone"
    if any(counted.count(signal) != 1 for signal in world.acknowledged):
        return "an acknowledged signal is not counted exactly once"
    asked = {number for number, signal in enumerate(counted, 1) if not signal.startswith("r")}
    if asked != after.executed:
        return "a directive was not executed"
    if any(counted.count(f"r{number}") != 1 for number in asked):
        return "a result is not counted exactly once"
    return broken(after)
