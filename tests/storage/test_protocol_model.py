"""The protocol of durable agents, looked at in every order in which things may happen.

First all of it to a bound, by a breadth-first search over a model; then beyond that bound at random, with the model's
storage held against the real ones. And the protocol broken on purpose, to see that this would be found.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs
import hypothesis.strategies as st
import pytest
import trio
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from tests.storage.protocol_model import Call, Life, Protocol, Request, Stored, World, broken, unfinished

from prunella.signals import Signal
from prunella.storage import (
    AgentKey,
    Code,
    Commit,
    MemoryStorage,
    SQLiteStorage,
    Storage,
    Write,
    directive_id,
)


def first(*, signals: str, lives: int, starts: int, faults: int) -> World:
    return World(Stored(), (None,) * lives, tuple(signals), faults=faults, starts=starts)


def search(protocol: Protocol, start: World, most: int) -> tuple[int, str | None, list[str]]:
    """Looks at every world that can be reached, the nearest first.

    Returns:
        How many there were; what is wrong with the first that is broken; and the steps that lead there.
    """
    found: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([start])
    while queue and len(found) < most:
        world = queue.popleft()
        for call, after in protocol.steps(world):
            if after in found:
                continue
            found[after] = (world, f"{call.name} {call.life if call.life is not None else call.enqueued}")
            problem = broken(after) or unfinished(protocol, after)
            if problem is not None:
                return len(found), problem, list(_path(found, after))[::-1]
            queue.append(after)
    return len(found), None, []


def _path(found: dict[World, tuple[World, str] | None], world: World) -> Iterator[str]:
    while (before := found[world]) is not None:
        world, step = before
        yield step


WORLDS = {
    "one owner that is killed": first(signals="ab", lives=1, starts=3, faults=0),
    "one owner whose answers are lost": first(signals="ab", lives=1, starts=2, faults=1),
    "two owners of one signal": first(signals="a", lives=2, starts=3, faults=2),
}


@pytest.mark.parametrize("name", WORLDS)
def test_no_order_of_events_breaks_the_protocol(name: str) -> None:
    """These are explored to their end."""
    count, problem, path = search(Protocol(), WORLDS[name], most=1_000_000)
    assert problem is None, path
    assert count > 1_500


@pytest.mark.slow
@pytest.mark.parametrize("signals", ["ab", "abc"])
def test_no_order_of_more_events_breaks_it_either(signals: str) -> None:
    """These to a depth: there are 215 000 worlds of two signals, two owners and a lost call."""
    count, problem, path = search(Protocol(), first(signals=signals, lives=2, starts=3, faults=1), most=15_000)
    assert problem is None, path
    assert count >= 15_000


# The protocol, broken.


class MarksBeforeItExecutes(Protocol):
    def written(self, life: Life, request: Request) -> Life:
        after = super().written(life, request)
        return attrs.evolve(after, ran=(*after.ran, *request.asking))


class ExecutesBeforeItCommits(Protocol):
    def decide(self, world: World, number: int, life: Life) -> Iterator[tuple[Call, World]]:
        for call, after in super().decide(world, number, life):
            decided = after.lives[number]
            if decided is not None and decided.pending is not None:
                decided = attrs.evolve(decided, todo=(*decided.todo, *decided.pending.asking))
            yield call, after.with_life(number, decided)


class TakesSignalsOutBeforeItCommits(Protocol):
    def decide(self, world: World, number: int, life: Life) -> Iterator[tuple[Call, World]]:
        for call, after in super().decide(world, number, life):
            decided = after.lives[number]
            taken = () if decided is None or decided.pending is None else decided.pending.signals
            waiting = tuple([signal for signal in after.stored.waiting if signal not in taken])
            yield call, attrs.evolve(after, stored=attrs.evolve(after.stored, waiting=waiting))


class StoresTheResultAfterTheMark(Protocol):
    def mark(self, life: Life, number: int) -> Request:
        return Request(life.claim, done=number)

    def written(self, life: Life, request: Request) -> Life:
        after = super().written(life, request)
        if request.done is None:
            return after
        return attrs.evolve(after, pending=Request(life.claim, enqueued=f"r{request.done}"))


class TakesALostAnswerForAYes(Protocol):
    def doubting(self, life: Life, request: Request) -> Life:
        return self.written(life, request)


class DecidesAnewWithoutLooking(Protocol):
    def looked(self, stored: Stored, life: Life) -> Life | None:
        after = attrs.evolve(life, pending=None, is_in_doubt=False)
        return attrs.evolve(after, last=len(stored.turns))


class AcknowledgesWhatIsNotStored(Protocol):
    def accept(self, world: World, signal: str) -> Iterator[tuple[Call, World]]:
        yield from super().accept(world, signal)
        yield Call("accepted"), attrs.evolve(world, acknowledged=world.acknowledged | {signal})


class ForgetsWhatWasOpen(Protocol):
    def loaded(self, stored: Stored, life: Life) -> Life:
        return attrs.evolve(super().loaded(stored, life), todo=())


class StorageWithoutFencing(Protocol):
    def append(self, stored: Stored, request: Request) -> Stored | None:
        after = stored.append(attrs.evolve(request, claim=stored.claim))
        if after is None or not request.signals:
            return after
        turns = (*stored.turns, *((request.claim, signal) for signal in request.signals))
        return attrs.evolve(after, turns=turns)


class StorageThatComparesNoSequences(Protocol):
    def append(self, stored: Stored, request: Request) -> Stored | None:
        return stored.append(attrs.evolve(request, first=len(stored.turns) + 1, claim=stored.claim))


class StorageThatTakesASignalTwice(Protocol):
    def enqueue(self, stored: Stored, signal: str) -> Stored:
        return attrs.evolve(stored, waiting=(*stored.waiting, signal))


@pytest.mark.parametrize(
    ("protocol", "problem"),
    [
        (MarksBeforeItExecutes, "a directive was marked done that was not executed"),
        (ExecutesBeforeItCommits, "an effect was invented"),
        (TakesSignalsOutBeforeItCommits, "an acknowledged signal was lost"),
        (StoresTheResultAfterTheMark, "the result of a directive was lost"),
        (TakesALostAnswerForAYes, "the state in memory is not that of the turns"),
        (DecidesAnewWithoutLooking, "the state in memory is not that of the turns"),
        (AcknowledgesWhatIsNotStored, "an acknowledged signal was lost"),
        (ForgetsWhatWasOpen, "something is left undone"),
        (StorageWithoutFencing, "the state in memory is not that of the turns"),
        (StorageThatComparesNoSequences, "the state in memory is not that of the turns"),
        (StorageThatTakesASignalTwice, "something is left undone"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_protocol_is_found(protocol: type[Protocol], problem: str) -> None:
    found = [search(protocol(), world, most=100_000) for world in WORLDS.values()]
    paths = {told: path for _, told, path in found if told is not None}
    assert problem in paths
    assert paths[problem]


# At random, further than anybody could look at everything; and beside the real storages.


NOW = datetime(2026, 1, 31, tzinfo=UTC)
KEY = AgentKey("default", None, "agent")
CODE = Code("agent")


def written(request: Request) -> Write:
    """The write that a request stands for."""
    turns = tuple(
        [
            Commit(
                turn,
                request.claim,
                Signal("x", id=signal, time=NOW),
                NOW,
                0,
                CODE,
                directives=({"directive": "Run"},) if turn in request.asking else (),
            )
            for turn, signal in enumerate(request.signals, request.first)
        ]
    )
    return Write(
        KEY,
        request.claim,
        NOW,
        turns,
        done=() if request.done is None else (directive_id(KEY, request.done, 0),),
        enqueued=() if request.enqueued is None else (Signal("x", id=request.enqueued, time=NOW),),
        finished=request.signals,
    )


async def carried_out(storage: Storage, call: Call, world: World) -> None:
    """Asks a real storage for what a step asks; it has to say and do the same."""
    life = None if call.life is None else world.lives[call.life]
    if call.claimed:
        record = await storage.claim(KEY, CODE, owner=f"runtime {call.life}", now=NOW)
        assert record.claim == world.stored.claim
    if call.enqueued is not None:
        await storage.enqueue(KEY, Signal("x", id=call.enqueued, time=NOW), now=NOW)
    if call.request is not None:
        (outcome,) = await storage.append(written(call.request))
        assert (outcome is not None) == (call.name == "refused"), outcome
    stored = await storage.load(KEY)
    assert (stored is None) == (world.stored.claim == 0)
    if stored is not None:
        assert [(turn.claim, turn.signal.id) for turn in stored.commits] == list(world.stored.turns)
        assert tuple([one.signal.id for one in stored.waiting]) == world.stored.waiting
        assert tuple([one.sequence for one in stored.directives]) == world.stored.open
        assert stored.record.claim == world.stored.claim
        assert life is None or not life.is_loaded or life.claim <= stored.record.claim


class Lives(RuleBasedStateMachine):
    """Three runtimes, six signals, and as many kills and lost calls as there is time for."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.storages: list[Storage] = [MemoryStorage(), SQLiteStorage(self.directory / "agents.db")]
        self.protocol = Protocol()
        self.world = first(signals="abcdef", lives=3, starts=1_000, faults=1_000)
        started: SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.Event]] = SimpleQueue()

        async def hold() -> None:
            stop = trio.Event()
            started.put((trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

        self.thread = threading.Thread(target=trio.run, args=[hold])
        self.thread.start()
        self.token, self.stop = started.get()

    def teardown(self) -> None:
        for storage in self.storages:
            self.wait(storage.close)
        trio.from_thread.run_sync(self.stop.set, trio_token=self.token)
        self.thread.join()
        shutil.rmtree(self.directory)

    def wait(self, function: Any, *args: Any) -> None:
        trio.from_thread.run(function, *args, trio_token=self.token)

    @initialize()
    def begin(self) -> None:
        for storage in self.storages:
            self.wait(storage.open)

    @rule(choices=st.lists(st.integers(0, 2**16), min_size=1, max_size=10))
    def go_on(self, choices: list[int]) -> None:
        for choice in choices:
            steps = list(self.protocol.steps(self.world))
            call, self.world = steps[choice % len(steps)]
            for storage in self.storages:
                self.wait(carried_out, storage, call, self.world)
            assert broken(self.world) is None
            assert unfinished(self.protocol, self.world) is None


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=min(settings().max_examples, 25), stateful_step_count=15, deadline=None)
