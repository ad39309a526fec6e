from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import Any, Self, final

import attrs
import trio

from ..agents import AgentNotFound, Fenced, RestoreFailed
from ..errors import InvalidArgument
from ..signals import Signal
from ._codec import (
    decode_commit,
    decode_data,
    decode_signal,
    decode_snapshot,
    encode_commit,
    encode_data,
    encode_signal,
    encode_snapshot,
    microseconds,
    moment,
    read_spec,
)
from ._commit import Code, Commit, DeadLetter, ScheduleRecord, Snapshot, Write
from ._dump import AgentDump, check_dump
from ._errors import AlreadyStored, Duplicate, HistoryGone, StorageError, StorageUnavailable
from ._key import AgentKey, about, directive_id
from ._prepared import Letter, Turn, check_sequences, prepare, prepare_letter, prepare_signals
from ._records import AgentRecord, DueSchedule, Handled, Outbox, StoredAgent, StoredDirective, StoredSignal
from ._storage import Outcome

__all__ = ["MemoryStorage"]


@attrs.define
class _Waiting:
    body: bytes
    deliveries: int
    now: datetime


@attrs.define
class _Agent:
    code: Code
    claim: int
    owner: str | None = None
    previous: str | None = None
    spec: bytes | None = None
    trimmed: int = 0
    last: int = 0
    commits: dict[int, tuple[datetime, bytes]] = attrs.Factory(dict)
    snapshots: dict[int, tuple[datetime, bytes]] = attrs.Factory(dict)
    handled: dict[str, tuple[int, datetime, bytes | None]] = attrs.Factory(dict)
    directives: dict[tuple[int, int], tuple[datetime, bytes]] = attrs.Factory(dict)
    schedules: dict[str, tuple[int, bytes, str]] = attrs.Factory(dict)
    waiting: dict[int, _Waiting] = attrs.Factory(dict)  # by position, which grows
    positions: dict[str, int] = attrs.Factory(dict)
    dead: dict[str, Letter] = attrs.Factory(dict)


@final
class MemoryStorage:
    """Keeps everything in memory: for tests, and for agents whose history may end with the process.

    Its content lives as long as the object, also while it is closed. It writes and reads the same bytes as one that
    keeps files, so what cannot be stored there is refused here.
    """

    def __init__(self) -> None:
        self._agents: dict[AgentKey, _Agent] = {}
        self._leases: dict[str, datetime] = {}
        self._position = 0
        self._highest_forgotten = 0
        self._is_open = False
        self._is_exclusive = False

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        return self._is_open

    @property
    def is_exclusive(self) -> bool:
        """Whether who opened it wants to be its only user."""
        return self._is_exclusive

    async def open(self, *, exclusive: bool = False) -> None:
        """Makes it usable. See `Storage.open`."""
        if self._is_open:
            raise InvalidArgument("MemoryStorage", "open()", "called while it is closed", "an open one")
        self._is_open, self._is_exclusive = True, exclusive
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """Lets go of it; its content stays. See `Storage.close`."""
        self._is_open = self._is_exclusive = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def claim(
        self,
        key: AgentKey,
        code: Code,
        *,
        owner: str,
        now: datetime,
        lease: float = 10.0,
        refuse: bool = False,
        spec: Mapping[str, Any] | None = None,
    ) -> AgentRecord:
        """See `Storage.claim`."""
        await self._begin()
        body = None if spec is None else encode_data(spec)
        agent = self._agents.get(key)
        if agent is None:
            agent = self._agents[key] = _Agent(code, self._highest_forgotten)
        elif agent.code.name != code.name:
            raise about(RestoreFailed(f"an agent of type {agent.code.name!r} is stored, not {code.name!r}"), key)
        alive = agent.owner is not None and agent.owner != owner and self._leases[agent.owner] > now
        if alive and refuse:
            raise about(Fenced(), key)
        agent.previous = agent.owner if alive else None
        agent.code, agent.claim, agent.owner = code, agent.claim + 1, owner
        if body is not None:
            agent.spec = body
        self._leases[owner] = now + timedelta(seconds=lease)
        return self._record(key, agent)

    async def renew(self, owner: str, *, now: datetime, lease: float = 10.0) -> tuple[AgentKey, ...]:
        """See `Storage.renew`."""
        await self._begin()
        self._leases[owner] = now + timedelta(seconds=lease)
        return tuple(
            sorted((key for key, agent in self._agents.items() if agent.previous == owner), key=lambda key: key.order)
        )

    async def release(self, key: AgentKey, claim: int) -> None:
        """See `Storage.release`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is not None and agent.claim == claim:
            agent.owner = agent.previous = None

    async def record(self, key: AgentKey, claim: int, spec: Mapping[str, Any] | None) -> None:
        """See `Storage.record`."""
        await self._begin()
        body = None if spec is None else encode_data(spec)
        self._owned(key, claim).spec = body

    async def find(self, key: AgentKey) -> AgentRecord | None:
        """See `Storage.find`."""
        await self._begin()
        agent = self._agents.get(key)
        return None if agent is None else self._record(key, agent)

    async def agents(
        self, runtime: str, *, after: AgentKey | None = None, limit: int = 1000
    ) -> tuple[AgentRecord, ...]:
        """See `Storage.agents`."""
        await self._begin()
        keys = sorted((key for key in self._agents if key.runtime == runtime), key=lambda key: key.order)
        start = 0 if after is None else bisect.bisect_right(keys, after.order, key=lambda key: key.order)
        return tuple([self._record(key, self._agents[key]) for key in keys[start : start + limit]])

    async def load(self, key: AgentKey) -> StoredAgent | None:
        """See `Storage.load`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is None:
            return None
        try:
            snapshot = _newest(agent, None)
            return StoredAgent(
                self._record(key, agent),
                snapshot,
                _commits(agent, 0 if snapshot is None else snapshot.sequence, agent.last),
                tuple([_stored(position, agent.waiting[position]) for position in islice(agent.waiting, 1000)]),
                _directives(key, agent),
                _schedules(agent),
            )
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def forget(self, key: AgentKey) -> bool:
        """See `Storage.forget`."""
        await self._begin()
        agent = self._agents.pop(key, None)
        if agent is None:
            return False
        self._highest_forgotten = max(self._highest_forgotten, agent.claim)
        return True

    async def runtimes(self) -> tuple[str, ...]:
        """See `Storage.runtimes`."""
        await self._begin()
        return tuple(sorted({key.runtime for key in self._agents}))

    async def dump(self, key: AgentKey) -> AgentDump | None:
        """See `Storage.dump`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is None:
            return None
        try:
            if agent.spec is not None:
                decode_data(agent.spec, "the spec")
            return AgentDump(
                self._record(key, agent),
                agent.trimmed,
                tuple([decode_snapshot(body, at, now) for at, (now, body) in sorted(agent.snapshots.items())]),
                _commits(agent, agent.trimmed, agent.last),
                tuple([_stored(position, waiting) for position, waiting in agent.waiting.items()]),
                _directives(key, agent),
                _schedules(agent),
                tuple([_dead_letter(letter) for letter in agent.dead.values()]),
                tuple([_handled(id, entry) for id, entry in agent.handled.items()]),
            )
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def insert(self, dump: AgentDump) -> None:
        """See `Storage.insert`."""
        await self._begin()
        check_dump(dump)
        key = dump.record.key
        if key in self._agents:
            raise AlreadyStored(str(key))
        agent = _inserted(dump, max(dump.record.claim, self._highest_forgotten))
        for one in dump.waiting:
            self._enqueue(agent, one.signal.id, encode_signal(one.signal), one.now, one.deliveries)
        self._agents[key] = agent

    async def append(self, *writes: Write) -> tuple[Outcome, ...]:
        """See `Storage.append`."""
        await self._begin()
        return tuple([self._append(write) for write in writes])

    async def commits(self, key: AgentKey, *, after: int = 0, limit: int = 1000) -> tuple[Commit, ...]:
        """See `Storage.commits`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is None:
            return ()
        if after < agent.trimmed:
            raise HistoryGone(agent.trimmed)
        try:
            return _commits(agent, after, limit)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def snapshot(self, key: AgentKey, *, until: int | datetime | None = None) -> Snapshot | None:
        """See `Storage.snapshot`."""
        await self._begin()
        agent = self._agents.get(key)
        try:
            return None if agent is None else _newest(agent, until)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def handled(self, key: AgentKey, signal_id: str) -> Handled | None:
        """See `Storage.handled`."""
        await self._begin()
        agent = self._agents.get(key)
        found = None if agent is None else agent.handled.get(signal_id)
        if found is None:
            return None
        return _handled(signal_id, found)

    async def enqueue(self, key: AgentKey, *signals: Signal, now: datetime) -> tuple[bool, ...]:
        """See `Storage.enqueue`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is None:
            raise about(AgentNotFound(key.id), key)
        return tuple([self._enqueue(agent, id, body, now) for id, body in prepare_signals(signals)])

    async def take(self, key: AgentKey, claim: int, *, after: int = 0, limit: int = 100) -> tuple[StoredSignal, ...]:
        """See `Storage.take`."""
        await self._begin()
        agent = self._owned(key, claim)
        waiting = list(islice((place for place in agent.waiting if place > after), limit))
        try:
            for position in waiting:
                _stored(position, agent.waiting[position])
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__
        for position in waiting:
            agent.waiting[position].deliveries += 1
        return tuple([_stored(position, agent.waiting[position]) for position in waiting])

    async def open_directives(self, key: AgentKey) -> tuple[StoredDirective, ...]:
        """See `Storage.open_directives`."""
        await self._begin()
        agent = self._agents.get(key)
        try:
            return () if agent is None else _directives(key, agent)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def outbox(self, runtime: str) -> Outbox:
        """See `Storage.outbox`."""
        await self._begin()
        times = [
            now for key, agent in self._agents.items() if key.runtime == runtime for now, _ in agent.directives.values()
        ]
        return Outbox(len(times), min(times, default=None))

    async def due(self, runtime: str, *, until: datetime, limit: int = 100) -> tuple[DueSchedule, ...]:
        """See `Storage.due`."""
        await self._begin()
        found = [
            (entry[0], key.order, name, key)
            for key, agent in self._agents.items()
            if key.runtime == runtime
            for name, entry in agent.schedules.items()
            if entry[0] <= microseconds(until)
        ]
        found.sort(key=lambda item: item[:3])
        return tuple([DueSchedule(key, name, moment(due)) for due, _, name, key in found[:limit]])

    async def dead_letters(self, key: AgentKey, *, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """See `Storage.dead_letters`."""
        await self._begin()
        agent = self._agents.get(key)
        letters = [] if agent is None else list(agent.dead.values())[-limit:]
        try:
            return tuple([_dead_letter(letter) for letter in letters])
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def redrive(self, key: AgentKey, signal_id: str | None = None, *, now: datetime) -> int:
        """See `Storage.redrive`."""
        await self._begin()
        agent = self._agents.get(key)
        ids = [] if agent is None else _named(agent, signal_id)
        for id in ids:
            assert agent is not None
            self._enqueue(agent, id, agent.dead.pop(id).body, now)
        return len(ids)

    async def discard(self, key: AgentKey, signal_id: str | None = None) -> int:
        """See `Storage.discard`."""
        await self._begin()
        agent = self._agents.get(key)
        ids = [] if agent is None else _named(agent, signal_id)
        for id in ids:
            assert agent is not None
            del agent.dead[id]
        return len(ids)

    async def trim(
        self,
        key: AgentKey,
        *,
        before: datetime | None = None,
        keep: int | None = None,
        handled_before: datetime | None = None,
    ) -> int:
        """See `Storage.trim`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is None:
            return 0
        if handled_before is not None:
            agent.handled = {id: entry for id, entry in agent.handled.items() if entry[1] >= handled_before}
        cut = 0 if keep is None else agent.last - keep
        if before is not None:
            young = (sequence for sequence, (now, _) in agent.commits.items() if now >= before)
            cut = max(cut, next(young, agent.last + 1) - 1)
        base = max((sequence for sequence in agent.snapshots if sequence <= cut), default=None)
        if base is None:
            return 0
        agent.trimmed = max(agent.trimmed, base)
        agent.snapshots = {sequence: entry for sequence, entry in agent.snapshots.items() if sequence >= base}
        count = len(agent.commits)
        agent.commits = {sequence: entry for sequence, entry in agent.commits.items() if sequence > base}
        return count - len(agent.commits)

    async def _begin(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._is_open:
            raise StorageUnavailable("the storage is not open: use `async with storage:`")

    def _owned(self, key: AgentKey, claim: int) -> _Agent:
        agent = self._agents.get(key)
        if agent is None or agent.claim != claim:
            raise about(Fenced(), key)
        return agent

    def _record(self, key: AgentKey, agent: _Agent) -> AgentRecord:
        spec, is_readable = read_spec(agent.spec)
        return AgentRecord(
            key,
            agent.code,
            agent.claim,
            agent.owner,
            None if agent.owner is None else self._leases[agent.owner],
            agent.last,
            spec,
            bool(agent.waiting or agent.directives),
            is_readable,
        )

    def _enqueue(self, agent: _Agent, id: str, body: bytes, now: datetime, deliveries: int = 0) -> bool:
        if id in agent.positions or id in agent.handled:
            return False
        self._position += 1
        agent.positions[id] = self._position
        agent.waiting[self._position] = _Waiting(body, deliveries, now)
        return True

    def _append(self, write: Write) -> Outcome:
        try:
            ready = prepare(write)
            agent = self._owned(ready.key, ready.claim)
            check_sequences(agent.last, ready.turns)
            _check_new(agent, ready.turns)
        except (Fenced, StorageError) as error:
            return error
        for turn in ready.turns:
            _apply(agent, turn)
        if ready.snapshot is not None:
            sequence, at, body = ready.snapshot
            agent.snapshots[sequence] = (moment(at), body)
        for place in ready.done:
            agent.directives.pop(place, None)
        for id, body in ready.enqueued:
            self._enqueue(agent, id, body, write.now)
        for id in ready.postponed:
            waiting = _removed(agent, id)
            if waiting is not None:
                self._enqueue(agent, id, waiting.body, waiting.now, waiting.deliveries + 1)
        for id in ready.finished:
            _removed(agent, id)
        for letter in ready.dead:
            _removed(agent, letter.signal_id)
            agent.dead.pop(letter.signal_id, None)
            agent.dead[letter.signal_id] = letter
        return None


def _check_new(agent: _Agent, turns: Iterable[Turn]) -> None:
    fresh: dict[str, int] = {}
    for turn in turns:
        id = turn.signal_id
        if id in agent.handled or id in fresh:
            raise Duplicate(id, agent.handled[id][0] if id in agent.handled else fresh[id])
        if not turn.is_dead:
            fresh[id] = turn.sequence


def _apply(agent: _Agent, turn: Turn) -> None:
    now = moment(turn.at)
    agent.commits[turn.sequence] = (now, turn.body)
    agent.last = turn.sequence
    if not turn.is_dead:
        agent.handled[turn.signal_id] = (turn.sequence, now, None)
    for id, answer in turn.answers:
        if id in agent.handled:
            agent.handled[id] = (*agent.handled[id][:2], answer)
    for index, body in turn.directives:
        agent.directives[turn.sequence, index] = (now, body)
    for name, found in turn.schedules:
        agent.schedules.pop(name, None)
        if found is not None:
            agent.schedules[name] = found


def _inserted(dump: AgentDump, claim: int) -> _Agent:
    """An agent with everything of a dump but what waits."""
    record = dump.record
    agent = _Agent(record.code, claim, trimmed=dump.trimmed, last=record.sequence)
    agent.spec = None if record.spec is None else encode_data(record.spec)
    agent.commits = {commit.sequence: (commit.now, encode_commit(commit)) for commit in dump.commits}
    agent.snapshots = {one.sequence: (one.now, encode_snapshot(one)) for one in dump.snapshots}
    for one in dump.handled:
        assert one.now is not None
        agent.handled[one.signal_id] = (one.sequence, one.now, encode_data(one.answer) if one.is_answered else None)
    agent.directives = {(one.sequence, one.index): (one.now, encode_data(one.directive)) for one in dump.directives}
    agent.schedules = {one.key: (microseconds(one.due), encode_data(one.directive), one.id) for one in dump.schedules}
    agent.dead = {letter.signal.id: prepare_letter(letter) for letter in dump.dead_letters}
    return agent


def _removed(agent: _Agent, id: str) -> _Waiting | None:
    position = agent.positions.pop(id, None)
    return None if position is None else agent.waiting.pop(position)


def _named(agent: _Agent, signal_id: str | None) -> list[str]:
    return [id for id in agent.dead if signal_id is None or id == signal_id]


def _commits(agent: _Agent, after: int, limit: int) -> tuple[Commit, ...]:
    return tuple(
        [
            decode_commit(agent.commits[sequence][1], f"turn {sequence}")
            for sequence in range(after + 1, min(agent.last, after + limit) + 1)
        ]
    )


def _newest(agent: _Agent, until: int | datetime | None) -> Snapshot | None:
    for sequence in sorted(agent.snapshots, reverse=True):
        now, body = agent.snapshots[sequence]
        if until is None or (now <= until if isinstance(until, datetime) else sequence <= until):
            return decode_snapshot(body, sequence, now)
    return None


def _directives(key: AgentKey, agent: _Agent) -> tuple[StoredDirective, ...]:
    return tuple(
        [
            StoredDirective(
                directive_id(key, sequence, index),
                sequence,
                index,
                decode_data(body, f"directive {index} of turn {sequence}"),
                now,
            )
            for (sequence, index), (now, body) in sorted(agent.directives.items())
        ]
    )


def _stored(position: int, waiting: _Waiting) -> StoredSignal:
    signal = decode_signal(waiting.body, f"waiting signal {position}")
    return StoredSignal(position, signal, waiting.deliveries, waiting.now)


def _schedules(agent: _Agent) -> tuple[ScheduleRecord, ...]:
    return tuple(
        [
            ScheduleRecord(name, moment(due), decode_data(body, f"the schedule {name!r}"), id)
            for name, (due, body, id) in sorted(agent.schedules.items())
        ]
    )


def _handled(signal_id: str, entry: tuple[int, datetime, bytes | None]) -> Handled:
    sequence, now, answer = entry
    if answer is None:
        return Handled(signal_id, sequence, now=now)
    return Handled(signal_id, sequence, decode_data(answer, f"the answer to {signal_id}"), True, now)


def _dead_letter(letter: Letter) -> DeadLetter:
    signal = decode_signal(letter.body, f"the dead letter {letter.signal_id}")
    return DeadLetter(signal, letter.reason, letter.deliveries, moment(letter.at))
