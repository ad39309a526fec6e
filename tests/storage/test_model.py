"""Storages beside a model of a few lines: whatever is asked of both, in whatever order, comes out the same."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import attrs
import hypothesis.strategies as st
import trio
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from prunella.agents import AgentNotFound, Fenced
from prunella.signals import Signal
from prunella.storage import (
    AgentKey,
    Code,
    Commit,
    CommitFailed,
    DeadLetter,
    Duplicate,
    HistoryGone,
    MemoryStorage,
    ScheduleRecord,
    Snapshot,
    SQLiteStorage,
    Storage,
    Write,
    directive_id,
    export_agents,
    import_agents,
)

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CODE = Code("model")
KEYS = [AgentKey("r", None, "a"), AgentKey("r", "p", "a"), AgentKey("r", None, "b")]

keys = st.sampled_from(KEYS)
ids = st.sampled_from([f"s{number}" for number in range(8)])
names = st.sampled_from(["k", "l"])


def at(seconds: int) -> datetime:
    return NOW + timedelta(seconds=seconds)


def signal(id: str) -> Signal:
    return Signal("x", {"id": id}, id=id, time=NOW)


@attrs.define
class Model:
    """One agent, as simply as can be."""

    claim: int
    last: int = 0
    trimmed: int = 0
    turns: dict[int, str] = attrs.Factory(dict)
    snapshots: set[int] = attrs.Factory(set)
    handled: dict[str, int] = attrs.Factory(dict)
    open: list[tuple[int, int]] = attrs.Factory(list)
    schedules: dict[str, int] = attrs.Factory(dict)
    waiting: list[tuple[str, int]] = attrs.Factory(list)
    dead: list[str] = attrs.Factory(list)

    def enqueue(self, id: str, deliveries: int = 0) -> bool:
        if id in self.handled or any(id == other for other, _ in self.waiting):
            return False
        self.waiting.append((id, deliveries))
        return True

    def remove(self, id: str) -> int | None:
        for place, (other, deliveries) in enumerate(self.waiting):
            if other == id:
                del self.waiting[place]
                return deliveries
        return None


@attrs.frozen
class Asked:
    """A write, relative to what is stored when it comes."""

    key: AgentKey
    turns: tuple[tuple[str, bool, int, bool], ...]  # signal, whether it died, directives, whether the first is done
    schedules: tuple[tuple[str, int | None], ...]
    is_stale: bool
    gap: int
    has_snapshot: bool
    done: tuple[int, ...]
    enqueued: tuple[str, ...]
    finished: tuple[str, ...]
    postponed: tuple[str, ...]
    dead: tuple[str, ...]


few_ids = st.lists(ids, max_size=2, unique=True).map(tuple)
asked = st.builds(
    Asked,
    keys,
    st.lists(st.tuples(ids, st.sampled_from([False, False, True]), st.integers(0, 2), st.booleans()), max_size=3).map(
        tuple
    ),
    st.lists(st.tuples(names, st.none() | st.integers(0, 5)), max_size=2, unique_by=lambda item: item[0]).map(tuple),
    st.sampled_from([False] * 9 + [True]),
    st.sampled_from([0] * 9 + [-1, 1]),
    st.booleans(),
    st.lists(st.integers(0, 5), max_size=2).map(tuple),
    few_ids,
    few_ids,
    few_ids,
    few_ids,
)


class Storages(RuleBasedStateMachine):
    """Both storages, in a Trio of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.storages: list[Storage] = [MemoryStorage(), SQLiteStorage(self.directory / "agents.db")]
        self.models: dict[AgentKey, Model] = {}
        self.highest = 0
        started: SimpleQueue[tuple[trio.lowlevel.TrioToken, trio.Event]] = SimpleQueue()

        async def hold() -> None:
            stop = trio.Event()
            started.put((trio.lowlevel.current_trio_token(), stop))
            await stop.wait()

        self.thread = threading.Thread(target=trio.run, args=[hold])
        self.thread.start()
        self.token, self.stop = started.get()

    def teardown(self) -> None:
        self.each(lambda storage: storage.close())
        trio.from_thread.run_sync(self.stop.set, trio_token=self.token)
        self.thread.join()
        shutil.rmtree(self.directory)

    def each(self, function: Callable[[Storage], Awaitable[Any]]) -> Any:
        """What both of them do, which must be the same."""
        results = []
        for storage in self.storages:
            try:
                results.append(trio.from_thread.run(function, storage, trio_token=self.token))
            except (Fenced, AgentNotFound, HistoryGone) as error:
                results.append(error)
        first, second = results
        if isinstance(first, Exception):
            assert repr(first) == repr(second)
        else:
            assert first == second
        return first

    @initialize()
    def begin(self) -> None:
        self.each(lambda storage: storage.open())

    @rule()
    def reopen(self) -> None:
        self.each(lambda storage: storage.close())
        self.each(lambda storage: storage.open())

    @rule(key=keys)
    def claim(self, key: AgentKey) -> None:
        record = self.each(lambda storage: storage.claim(key, CODE, owner="me", now=NOW))
        model = self.models.setdefault(key, Model(self.highest))
        model.claim += 1
        assert (record.claim, record.sequence) == (model.claim, model.last)

    @rule(writes=st.lists(asked, min_size=1, max_size=4))
    def append(self, writes: list[Asked]) -> None:
        made, expected = [], []
        for write in writes:
            ready = self.write(write)
            made.append(ready)
            expected.append(self.expect(ready))
        outcomes = self.each(lambda storage: _kinds(storage.append(*made)))
        assert outcomes == expected

    def write(self, asked: Asked) -> Write:
        model = self.models.get(asked.key, Model(1))
        claim = model.claim - asked.is_stale
        first = model.last + 1 + asked.gap
        commits = [
            Commit(
                sequence,
                claim,
                signal(id),
                at(sequence),
                0,
                CODE,
                outcome="dead" if is_dead else "committed",
                changes={"at": sequence},
                directives=tuple({"n": number} for number in range(directives)),
                done=(directive_id(asked.key, sequence, 0),) if is_done else (),
                schedules={
                    name: None if due is None else ScheduleRecord(name, at(due), {"n": due})
                    for name, due in asked.schedules
                },
            )
            for sequence, (id, is_dead, directives, is_done) in enumerate(asked.turns, first)
        ]
        return Write(
            asked.key,
            claim,
            at(0),
            tuple(commits),
            Snapshot(model.last, at(model.last), 1, {}) if asked.has_snapshot else None,
            tuple(directive_id(asked.key, *model.open[place]) for place in asked.done if place < len(model.open)),
            tuple(map(signal, asked.enqueued)),
            asked.finished,
            asked.postponed,
            tuple(DeadLetter(signal(id), "why", 1, at(0)) for id in asked.dead),
        )

    def expect(self, write: Write) -> type | None:
        """What the model says becomes of a write; and that is what becomes of the model."""
        model = self.models.get(write.key)
        if model is None or model.claim != write.claim:
            return Fenced
        if [commit.sequence for commit in write.commits] != [
            model.last + number for number in range(1, len(write.commits) + 1)
        ]:
            return CommitFailed
        fresh: set[str] = set()
        for commit in write.commits:
            if commit.signal.id in model.handled or commit.signal.id in fresh:
                return Duplicate
            if commit.outcome != "dead":
                fresh.add(commit.signal.id)
        for commit in write.commits:
            model.last = commit.sequence
            model.turns[commit.sequence] = commit.signal.id
            if commit.outcome != "dead":
                model.handled[commit.signal.id] = commit.sequence
            own = {directive_id(write.key, commit.sequence, index) for index in range(len(commit.directives))}
            model.open += [
                (commit.sequence, index)
                for index in range(len(commit.directives))
                if directive_id(write.key, commit.sequence, index) in own - set(commit.done)
            ]
            for name, schedule in commit.schedules.items():
                model.schedules.pop(name, None)
                if schedule is not None:
                    model.schedules[name] = schedule.directive["n"]
        if write.snapshot is not None:
            model.snapshots.add(write.snapshot.sequence)
        model.open = [place for place in model.open if directive_id(write.key, *place) not in write.done]
        for waiting in write.enqueued:
            model.enqueue(waiting.id)
        for id in write.postponed:
            deliveries = model.remove(id)
            if deliveries is not None:
                model.enqueue(id, deliveries + 1)
        for id in write.finished:
            model.remove(id)
        for letter in write.dead:
            model.remove(letter.signal.id)
            model.dead = [id for id in model.dead if id != letter.signal.id] + [letter.signal.id]
        return None

    @rule(key=keys, ids=st.lists(ids, max_size=3))
    def enqueue(self, key: AgentKey, ids: list[str]) -> None:
        new = self.each(lambda storage: storage.enqueue(key, *map(signal, ids), now=NOW))
        if key in self.models:
            assert new == tuple([self.models[key].enqueue(id) for id in ids])
        else:
            assert isinstance(new, AgentNotFound)

    @rule(key=keys, limit=st.integers(0, 3), is_stale=st.sampled_from([False, False, False, True]))
    def take(self, key: AgentKey, limit: int, is_stale: bool) -> None:
        model = self.models.get(key)
        claim = 1 if model is None else model.claim - is_stale
        taken = self.each(lambda storage: _taken(storage.take(key, claim, limit=limit)))
        if model is None or is_stale:
            assert isinstance(taken, Fenced)
            return
        model.waiting[:limit] = [(id, deliveries + 1) for id, deliveries in model.waiting[:limit]]
        assert taken == model.waiting[:limit]

    @rule(key=keys, id=st.none() | ids)
    def redrive(self, key: AgentKey, id: str | None) -> None:
        count = self.each(lambda storage: storage.redrive(key, id, now=NOW))
        model = self.models.get(key, Model(0))
        chosen = [other for other in model.dead if id in (None, other)]
        assert count == len(chosen)
        for other in chosen:
            model.dead.remove(other)
            model.enqueue(other)

    @rule(key=keys, id=ids)
    def discard(self, key: AgentKey, id: str) -> None:
        model = self.models.get(key, Model(0))
        assert self.each(lambda storage: storage.discard(key, id)) == (id in model.dead)
        model.dead = [other for other in model.dead if other != id]

    @rule(
        key=keys,
        keep=st.none() | st.integers(0, 5),
        before=st.none() | st.integers(0, 9),
        handled_before=st.none() | st.integers(0, 9),
    )
    def trim(self, key: AgentKey, keep: int | None, before: int | None, handled_before: int | None) -> None:
        gone = self.each(
            lambda storage: storage.trim(
                key,
                keep=keep,
                before=None if before is None else at(before),
                handled_before=None if handled_before is None else at(handled_before),
            )
        )
        model = self.models.get(key, Model(0))
        model.handled = {id: turn for id, turn in model.handled.items() if turn >= (handled_before or 0)}
        by_count = 0 if keep is None else model.last - keep
        by_age = 0 if before is None else max((turn for turn in model.turns if turn < before), default=0)
        if before is not None and not any(turn >= before for turn in model.turns):
            by_age = model.last
        bases = [sequence for sequence in model.snapshots if sequence <= max(by_count, by_age)]
        if not bases:
            assert gone == 0
            return
        base = max(bases)
        old = [turn for turn in model.turns if turn <= base]
        assert gone == len(old)
        for turn in old:
            del model.turns[turn]
        model.snapshots = {sequence for sequence in model.snapshots if sequence >= base}
        model.trimmed = max(model.trimmed, base)

    @rule(key=keys)
    def forget(self, key: AgentKey) -> None:
        model = self.models.pop(key, None)
        assert self.each(lambda storage: storage.forget(key)) == (model is not None)
        if model is not None:
            self.highest = max(self.highest, model.claim)

    @rule(key=keys)
    def take_elsewhere_and_back(self, key: AgentKey) -> None:
        model = self.models.get(key)
        if model is None:
            assert self.each(lambda storage: storage.dump(key)) is None
            return
        self.each(lambda storage: _moved(storage, key))
        self.highest = max(self.highest, model.claim)
        model.claim = self.highest

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        for key in KEYS:
            stored = self.each(lambda storage, key=key: _loaded(storage.load(key)))
            model = self.models.get(key)
            if model is None:
                assert stored is None
                continue
            base = max(model.snapshots, default=0)
            assert (stored.record.claim, stored.record.sequence) == (model.claim, model.last)
            assert (stored.snapshot.sequence if stored.snapshot else 0) == base
            turns = [(commit.sequence, commit.signal.id) for commit in stored.commits]
            assert turns == sorted((turn, id) for turn, id in model.turns.items() if turn > base)
            assert [(one.signal.id, one.deliveries) for one in stored.waiting] == model.waiting
            assert [(one.sequence, one.index) for one in stored.directives] == model.open
            assert {one.key: one.directive["n"] for one in stored.schedules} == model.schedules
            assert stored.record.has_work == bool(model.waiting or model.open)
            for id in (f"s{number}" for number in range(8)):
                handled = self.each(lambda storage, key=key, id=id: storage.handled(key, id))
                assert (handled and handled.sequence) == model.handled.get(id)
            letters = self.each(lambda storage, key=key: storage.dead_letters(key))
            assert [letter.signal.id for letter in letters] == model.dead
            kept = self.each(lambda storage, key=key, model=model: storage.commits(key, after=model.trimmed))
            assert [commit.sequence for commit in kept] == sorted(model.turns)
            if model.trimmed:
                gone = self.each(lambda storage, key=key, model=model: storage.commits(key, after=model.trimmed - 1))
                assert isinstance(gone, HistoryGone)
                assert gone.oldest == model.trimmed
        due = self.each(lambda storage: storage.due("r", until=at(3)))
        assert {(one.key, one.schedule) for one in due} == {
            (key, name) for key, model in self.models.items() for name, when in model.schedules.items() if when <= 3
        }
        outbox = self.each(lambda storage: storage.outbox("r"))
        assert outbox.count == sum(len(model.open) for model in self.models.values())


async def _loaded(agent: Awaitable[Any]) -> Any:
    """Without positions, which only have to grow."""
    stored = await agent
    if stored is None:
        return None
    positions = [one.position for one in stored.waiting]
    assert positions == sorted(set(positions))
    return attrs.evolve(stored, waiting=tuple([attrs.evolve(one, position=0) for one in stored.waiting]))


async def _moved(storage: Storage, key: AgentKey) -> list[AgentKey]:
    """Exports an agent, forgets it, and has it back from its lines."""
    lines = [line async for line in export_agents(storage, [key])]
    assert await storage.forget(key)
    return [moved async for moved in import_agents(storage, lines)]


async def _kinds(outcomes: Awaitable[tuple[Any, ...]]) -> list[type | None]:
    return [None if outcome is None else type(outcome) for outcome in await outcomes]


async def _taken(signals: Awaitable[Any]) -> list[tuple[str, int]]:
    return [(one.signal.id, one.deliveries) for one in await signals]


TestStorages = Storages.TestCase
TestStorages.settings = settings(max_examples=min(settings().max_examples, 40), stateful_step_count=25, deadline=None)
