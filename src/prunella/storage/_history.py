"""The past of an agent, read from a storage. Nothing is claimed, and nothing is changed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import Final, Generic, TypeVar, final

import attrs

from ..agents import Agent, AgentNotFound, RestoreFailed, Turn
from ..agents._turns import definition_of
from ..errors import InvalidArgument
from ._commit import Commit, Snapshot
from ._errors import HistoryGone
from ._key import AgentKey, about
from ._opened import opened_to_read
from ._recording import MIGRATED, agent_of, restored_state, turn_of
from ._storage import Storage, check_storage

__all__ = ["HistoryEntry", "history", "past_state", "state_at"]

A = TypeVar("A", bound=Agent)

_PAGE: Final = 500  # commits that are in memory at once


@final
@attrs.frozen
class HistoryEntry(Generic[A]):
    """One turn of the past.

    Attributes:
        turn: what was heard and decided.
        before, after: the agent, in the form that its class has today.
    """

    turn: Turn
    before: A
    after: A


async def state_at(
    storage: Storage,
    agent_class: type[A],
    id: str,
    *,
    partition: str | None = None,
    runtime: str = "default",
    until: int | datetime | None = None,
) -> A:
    """An agent as it was after a turn, or at a time. No handler is run.

    Args:
        storage: opened for this if it is not open.
        agent_class: its class, as it is today; older state is migrated.
        id, partition, runtime: which agent.
        until: the last turn that counts, the first being 1, or an aware time; by default all do.

    Raises:
        AgentNotFound: no such agent is stored, or there was none at that time.
        HistoryGone: that is kept no longer.
        RestoreFailed: what is stored cannot be read, or is of another type.
        StorageError: the storage cannot be opened. One that is not there is not made.
        InvalidArgument: `until` is neither, or `storage` is no storage.
    """
    check_storage("state_at", storage)
    _check("state_at", until)
    async with opened_to_read(storage):
        return await past_state(storage, agent_class, AgentKey(runtime, partition, id), until)


async def past_state(storage: Storage, agent_class: type[A], key: AgentKey, until: int | datetime | None) -> A:
    """See `state_at`; of a storage that is open."""
    _check("state_at", until)
    await _check_stored(storage, agent_class, key)
    snapshot = await storage.snapshot(key, until=until)
    was_there = snapshot is not None or not isinstance(until, datetime)
    if not was_there:  # or the clock was set back since its first start
        snapshot = await storage.snapshot(key, until=0)
    version, state = restored_state(snapshot, ())
    start = 0 if snapshot is None else snapshot.sequence
    async with aclosing(_commits(storage, key, start, until)) as commits:
        async for commit in commits:
            was_there = True
            version, state = _with(version, state, commit)
    if not was_there:
        raise about(AgentNotFound(key.id), key)
    return _agent(agent_class, key, version, state)


async def history(
    storage: Storage,
    agent_class: type[A],
    id: str,
    *,
    partition: str | None = None,
    runtime: str = "default",
    since: int | None = None,
    until: int | datetime | None = None,
) -> AsyncGenerator[HistoryEntry[A], None]:
    """The turns of an agent in order, each with the state before and after it. No handler is run.

    Whoever leaves the loop early closes it: ``async with contextlib.aclosing(history(...)) as entries``.

    Args:
        storage: opened for this if it is not open.
        agent_class: its class, as it is today; older state is migrated.
        id, partition, runtime: which agent.
        since: the first turn that is wanted; by default the oldest that is kept.
        until: the last, or an aware time; by default the newest.

    Raises:
        AgentNotFound: no such agent is stored.
        HistoryGone: `since` is kept no longer, or nothing up to `until` is.
        RestoreFailed: what is stored cannot be read, or is of another type.
        StorageError: the storage cannot be opened. One that is not there is not made.
        InvalidArgument: `since` or `until` is neither, or `storage` is no storage.
    """
    key = AgentKey(runtime, partition, id)
    check_storage("history", storage)
    _check("history", until)
    if since is not None and (not isinstance(since, int) or isinstance(since, bool) or since < 1):
        raise InvalidArgument("history", "since", "the number of a turn, or None", since)
    async with opened_to_read(storage):
        await _check_stored(storage, agent_class, key)
        base = await storage.snapshot(key, until=0 if since is None else since - 1)
        if base is None and since is None:
            try:
                await storage.commits(key, limit=1)
            except HistoryGone as gone:
                base = await storage.snapshot(key, until=gone.oldest)
                if base is not None and _is_later(base, until):
                    raise
        version, state = restored_state(base, ())
        after = _agent(agent_class, key, version, state)
        async with aclosing(_commits(storage, key, 0 if base is None else base.sequence, until)) as commits:
            async for commit in commits:
                before = after
                version, state = _with(version, state, commit)
                after = _agent(agent_class, key, version, state)
                if since is None or commit.sequence >= since:
                    yield HistoryEntry(_turn(key, commit, before, after), before, after)


def _turn(key: AgentKey, commit: Commit, before: Agent, after: Agent) -> Turn:
    try:
        return turn_of(commit, before, after)
    except RestoreFailed as error:
        raise about(error, key) from error.__cause__


def _with(version: int | None, state: dict[str, object], commit: Commit) -> tuple[int, dict[str, object]]:
    changes = dict(commit.changes)
    return commit.code.version, changes if commit.signal.type == MIGRATED else state | changes


def _is_later(base: Snapshot, until: int | datetime | None) -> bool:
    if until is None:
        return False
    return base.now > until if isinstance(until, datetime) else base.sequence > until


async def _commits(
    storage: Storage, key: AgentKey, after: int, until: int | datetime | None
) -> AsyncGenerator[Commit, None]:
    while True:
        page = await storage.commits(key, after=after, limit=_PAGE)
        for commit in page:
            if until is not None and (commit.now > until if isinstance(until, datetime) else commit.sequence > until):
                return
            yield commit
        if len(page) < _PAGE:
            return
        after = page[-1].sequence


async def _check_stored(storage: Storage, agent_class: type[Agent], key: AgentKey) -> None:
    name = definition_of(agent_class).name
    record = await storage.find(key)
    if record is None:
        raise about(AgentNotFound(key.id), key)
    if record.code.name != name:
        raise about(RestoreFailed(f"an agent of type {record.code.name!r} is stored, not {name!r}"), key)


def _agent(agent_class: type[A], key: AgentKey, version: int | None, state: dict[str, object]) -> A:
    try:
        return agent_of(agent_class, version, state)
    except RestoreFailed as error:
        raise about(error, key) from error.__cause__


def _check(owner: str, until: object) -> None:
    if isinstance(until, datetime):
        if until.utcoffset() is None:
            raise InvalidArgument(owner, "until", "an aware datetime", until)
    elif until is not None and (not isinstance(until, int) or isinstance(until, bool) or until < 0):
        raise InvalidArgument(owner, "until", "the number of a turn, an aware datetime, or None", until)
