from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, final

import trio

from ..agents import AgentNotFound, Fenced, RestoreFailed
from ..errors import InvalidArgument
from ..signals import Signal
from ._codec import (
    decode_data,
    encode_data,
    microseconds,
    moment,
    read_spec,
)
from ._commit import Code, Commit, DeadLetter, Snapshot, Write
from ._dump import AgentDump, check_dump
from ._errors import AlreadyStored, HistoryGone, StorageError, StorageUnavailable
from ._key import AgentKey, about
from ._memory_agent import MemoryAgent, handled_signal
from ._prepared import prepare, prepare_signals
from ._records import AgentRecord, DueSchedule, Handled, Outbox, StoredAgent, StoredDirective, StoredSignal
from ._storage import Outcome

__all__ = ["MemoryStorage"]


@final
class MemoryStorage:
    """Keeps everything in memory: for tests, and for agents whose history may end with the process.

    Its content lives as long as the object, also while it is closed. It writes and reads the same bytes as one that
    keeps files, so what cannot be stored there is refused here.

    Attributes:
        users: the names of the runtimes that use it: two of one name would take each other's agents.
    """

    def __init__(self) -> None:
        self.users: set[str] = set()
        self._agents: dict[AgentKey, MemoryAgent] = {}
        self._leases: dict[str, datetime] = {}
        self._positions = itertools.count(1)
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
            agent = self._agents[key] = MemoryAgent(code, self._highest_forgotten, self._positions)
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
            snapshot = agent.newest(None)
            return StoredAgent(
                self._record(key, agent),
                snapshot,
                agent.turns(0 if snapshot is None else snapshot.sequence, agent.last),
                agent.signals(0, 1000),
                agent.open_directives(key),
                agent.all_schedules(),
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
                agent.all_snapshots(),
                agent.turns(agent.trimmed, agent.last),
                agent.signals(0, len(agent.waiting)),
                agent.open_directives(key),
                agent.all_schedules(),
                agent.letters(len(agent.dead)),
                tuple([handled_signal(id, entry) for id, entry in agent.handled.items()]),
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
        self._agents[key] = MemoryAgent.of(dump, max(dump.record.claim, self._highest_forgotten), self._positions)

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
            return agent.turns(after, limit)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def snapshot(self, key: AgentKey, *, until: int | datetime | None = None) -> Snapshot | None:
        """See `Storage.snapshot`."""
        await self._begin()
        agent = self._agents.get(key)
        try:
            return None if agent is None else agent.newest(until)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def handled(self, key: AgentKey, signal_id: str) -> Handled | None:
        """See `Storage.handled`."""
        await self._begin()
        agent = self._agents.get(key)
        found = None if agent is None else agent.handled.get(signal_id)
        if found is None:
            return None
        return handled_signal(signal_id, found)

    async def enqueue(self, key: AgentKey, *signals: Signal, now: datetime) -> tuple[bool, ...]:
        """See `Storage.enqueue`."""
        await self._begin()
        agent = self._agents.get(key)
        if agent is None:
            raise about(AgentNotFound(key.id), key)
        return tuple([agent.enqueue(id, body, now) for id, body in prepare_signals(signals)])

    async def take(self, key: AgentKey, claim: int, *, after: int = 0, limit: int = 100) -> tuple[StoredSignal, ...]:
        """See `Storage.take`."""
        await self._begin()
        agent = self._owned(key, claim)
        try:
            return agent.take(after, limit)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def open_directives(self, key: AgentKey) -> tuple[StoredDirective, ...]:
        """See `Storage.open_directives`."""
        await self._begin()
        agent = self._agents.get(key)
        try:
            return () if agent is None else agent.open_directives(key)
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
        try:
            return () if agent is None else agent.letters(limit)
        except RestoreFailed as error:
            raise about(error, key) from error.__cause__

    async def redrive(self, key: AgentKey, signal_id: str | None = None, *, now: datetime) -> int:
        """See `Storage.redrive`."""
        await self._begin()
        agent = self._agents.get(key)
        return 0 if agent is None else agent.redrive(signal_id, now)

    async def discard(self, key: AgentKey, signal_id: str | None = None) -> int:
        """See `Storage.discard`."""
        await self._begin()
        agent = self._agents.get(key)
        return 0 if agent is None else len(agent.taken_dead(signal_id))

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
        return 0 if agent is None else agent.trim(before, keep, handled_before)

    async def _begin(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._is_open:
            raise StorageUnavailable("the storage is not open: use `async with storage:`")

    def _owned(self, key: AgentKey, claim: int) -> MemoryAgent:
        agent = self._agents.get(key)
        if agent is None or agent.claim != claim:
            raise about(Fenced(), key)
        return agent

    def _record(self, key: AgentKey, agent: MemoryAgent) -> AgentRecord:
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

    def _append(self, write: Write) -> Outcome:
        try:
            ready = prepare(write)
            agent = self._owned(ready.key, ready.claim)
            agent.check(ready.turns)
        except (Fenced, StorageError) as error:
            return error
        agent.apply(ready, write.now)
        return None
