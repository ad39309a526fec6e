"""What a storage is.

A storage keeps *commits*: for every agent a row of turns without a gap, and beside it what follows from them, which is
the signals that wait, the directives that are open, and the schedules. The design, in short:

* **One write, one agent, all or nothing.** A `Write` holds everything that changes of one agent at one time: turns, a
  snapshot, marks, its own mailbox. It is atomic. There are no transactions over several agents, hence no transaction
  objects: `append` takes several writes only so that they can share a round trip, or an `fsync`, and each has an
  outcome of its own. A backend may group what several callers wait for.
* **Durable on return.** What has returned without an error survives a crash of the process, and of the machine where
  the backend says so. What raised `CommitFailed(in_doubt=True)` may have been written; whoever wrote it looks before it
  writes again. After any other error nothing was written.
* **Fencing is compare-and-set.** `claim` raises the claim number of an agent by one and waits for nobody. Each write
  names the number it knows and the sequence it expects; a backend compares both in the same step that writes. A lease
  only tells others that an owner seems to be alive. No guarantee stands on a clock.
* **Order.** Turns are read in the order of their sequences, waiting signals in the order in which `enqueue` returned,
  open directives in the order in which they were asked for.
* **Once.** The id of the signal of each turn is remembered, so a signal that comes again is left out by `enqueue` and
  refused, as `Duplicate`, by `append`; but not one that died, for that may be redriven.
* **Values, not rows.** A storage takes and gives frozen values of plain data and signals, and knows no agent class.
  How it lays them out is its own affair; `encode_commit` and its like serve those that keep bytes. Bytes that cannot be
  read are `RestoreFailed`, and stay as they are.
* **No clock.** Who calls says what time it is, so tests and simulations decide it.

Coroutine methods only, arguments and results are values, so a proxy around a storage is a storage.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from inspect import iscoroutinefunction
from types import TracebackType
from typing import Any, Protocol, Self, runtime_checkable

from ..agents import AgentError
from ..errors import InvalidArgument
from ..signals import Signal
from ._commit import Code, Commit, DeadLetter, Snapshot, Write
from ._dump import AgentDump
from ._errors import StorageError
from ._key import AgentKey
from ._records import AgentRecord, DueSchedule, Handled, Outbox, StoredAgent, StoredDirective, StoredSignal

__all__ = ["METHODS", "Outcome", "Storage", "check_storage"]

Outcome = AgentError | StorageError | None
"""What became of one write of several: `None` if it was written."""


@runtime_checkable
class Storage(Protocol):
    """What durable agents stand on. Every method may raise `StorageUnavailable`, and then nothing was changed."""

    # Its life.

    @property
    def is_open(self) -> bool:
        """Whether it can be used."""
        ...

    @property
    def is_exclusive(self) -> bool:
        """Whether who opened it wants to be its only user."""
        ...

    async def open(self, *, exclusive: bool = False) -> None:
        """Makes it usable; after `close` it may be opened again.

        Args:
            exclusive: whether no other runtime of this process may use the object meanwhile; `opened` keeps to it.

        Raises:
            InvalidArgument: it is open.
            StorageError: what is stored was made by a newer release.
        """
        ...

    async def close(self) -> None:
        """Finishes what has begun, and lets go. Nothing happens if it is closed."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    # Agents.

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
        """Makes `owner` the owner of an agent: from now on writes of earlier owners are refused.

        An agent that is not known is made. Nothing of what is stored is read, so this works on unreadable state too.

        Args:
            key: the agent.
            code: which code will run it. Its name must be the one that is stored.
            owner: who claims, a name that no one else has.
            now: the time.
            lease: for how many seconds the owner counts as alive; `renew` prolongs it.
            refuse: whether to give way to another owner whose lease is alive.
            spec: how the agent is to be started, as plain data; `None` leaves what is stored.

        Returns:
            The record, with the claim number that writes have to name.

        Raises:
            Fenced: another owner is alive, and `refuse` was asked for.
            RestoreFailed: an agent of another type is stored under the key. Nothing was changed.
            CommitFailed: it was not acknowledged.
        """
        ...

    async def renew(self, owner: str, *, now: datetime, lease: float = 10.0) -> tuple[AgentKey, ...]:
        """Prolongs the lease on everything that an owner has.

        Returns:
            What others have claimed from this owner while its lease was alive. This is a hint, so that an idle owner
            hears of it; what keeps writes apart is the claim number.
        """
        ...

    async def release(self, key: AgentKey, claim: int) -> None:
        """Gives up an agent, so that others find it without an owner. Nothing happens if it has another by now."""
        ...

    async def record(self, key: AgentKey, claim: int, spec: Mapping[str, Any] | None) -> None:
        """Stores how an agent is to be started, or with `None` that it is not: it has ended for good.

        Raises:
            Fenced: another owner has claimed it.
        """
        ...

    async def find(self, key: AgentKey) -> AgentRecord | None:
        """What is known of an agent."""
        ...

    async def agents(
        self, runtime: str, *, after: AgentKey | None = None, limit: int = 1000
    ) -> tuple[AgentRecord, ...]:
        """The agents of a runtime, ordered by partition (none is first) and id, from the one that follows `after`."""
        ...

    async def load(self, key: AgentKey) -> StoredAgent | None:
        """All that an agent needs to go on, at one instant.

        Raises:
            RestoreFailed: something of it cannot be read; it stays as it is.
        """
        ...

    async def forget(self, key: AgentKey) -> bool:
        """Deletes everything of an agent. Whoever owned it can write nothing more, not even if it is made again.

        Returns:
            Whether there was such an agent.
        """
        ...

    # Moving.

    async def runtimes(self) -> tuple[str, ...]:
        """The names of the runtimes that have agents here, in order."""
        ...

    async def dump(self, key: AgentKey) -> AgentDump | None:
        """Everything of an agent, at one instant; nothing is claimed.

        Raises:
            RestoreFailed: something of it cannot be read.
        """
        ...

    async def insert(self, dump: AgentDump) -> None:
        """Stores an agent as it was elsewhere, all of it or nothing; without an owner.

        Its claim number is that of the dump, or the highest that was forgotten here if that is higher.

        Raises:
            AlreadyStored: an agent is stored under the key.
            StorageError: this cannot be everything of an agent, or something in it is no plain data.
            CommitFailed: it was not acknowledged.
        """
        ...

    # Turns.

    async def append(self, *writes: Write) -> tuple[Outcome, ...]:
        """Writes what changed of some agents, each atomically and by itself.

        A write that has begun is finished, also if its caller is cancelled meanwhile; then the cancellation goes on.

        Returns:
            For each write `None`, or what kept it from being written: `Fenced` (or unknown, which is the same to an
            owner), `CommitFailed` with `found` (another sequence is the last), `Duplicate`, or a `StorageError`
            (something in it is no plain data).

        Raises:
            CommitFailed: they were not acknowledged.
            StorageUnavailable: none was written.
            InvalidArgument: what should be the id of a directive is none; none was written.
        """
        ...

    async def commits(self, key: AgentKey, *, after: int = 0, limit: int = 1000) -> tuple[Commit, ...]:
        """Turns in order, from the one that follows `after`.

        Raises:
            HistoryGone: they were kept no longer.
            RestoreFailed: one of them cannot be read.
        """
        ...

    async def snapshot(self, key: AgentKey, *, until: int | datetime | None = None) -> Snapshot | None:
        """The newest snapshot, or the newest that is not later than a turn or a time.

        Raises:
            RestoreFailed: it cannot be read.
        """
        ...

    async def handled(self, key: AgentKey, signal_id: str) -> Handled | None:
        """Whether a signal of this id was handled, in which turn, and what was replied."""
        ...

    # Signals.

    async def enqueue(self, key: AgentKey, *signals: Signal, now: datetime) -> tuple[bool, ...]:
        """Puts signals into the mailbox of an agent, behind those that wait. Anybody may, without a claim.

        Returns:
            For each whether it is new. One that waits, or was handled, is left out.

        Raises:
            AgentNotFound: no such agent is stored.
            StorageError: data of a signal cannot be written; none was.
            CommitFailed: they were not acknowledged. They may be enqueued again.
        """
        ...

    async def take(self, key: AgentKey, claim: int, *, after: int = 0, limit: int = 100) -> tuple[StoredSignal, ...]:
        """The signals that wait behind a position, in order, each with one more delivery counted.

        They stay until a write names them as finished, postponed or dead.

        Raises:
            Fenced: another owner has claimed the agent.
            RestoreFailed: one of them cannot be read. Nothing was counted.
        """
        ...

    # What was decided and is not done.

    async def open_directives(self, key: AgentKey) -> tuple[StoredDirective, ...]:
        """The directives of an agent that are not done, in the order in which they were asked for."""
        ...

    async def outbox(self, runtime: str) -> Outbox:
        """How many directives of a runtime are open, and since when."""
        ...

    async def due(self, runtime: str, *, until: datetime, limit: int = 100) -> tuple[DueSchedule, ...]:
        """The schedules that are due at a time or before, the earliest first. They stay until a commit changes them."""
        ...

    # Dead letters.

    async def dead_letters(self, key: AgentKey, *, limit: int = 1000) -> tuple[DeadLetter, ...]:
        """The newest dead letters of an agent, in the order in which they were put aside."""
        ...

    async def redrive(self, key: AgentKey, signal_id: str | None = None, *, now: datetime) -> int:
        """Puts one dead letter, or all, back into the mailbox, as if it had never been delivered.

        Returns:
            How many.
        """
        ...

    async def discard(self, key: AgentKey, signal_id: str | None = None) -> int:
        """Deletes one dead letter, or all.

        Returns:
            How many.
        """
        ...

    # Retention.

    async def trim(
        self,
        key: AgentKey,
        *,
        before: datetime | None = None,
        keep: int | None = None,
        handled_before: datetime | None = None,
    ) -> int:
        """Deletes turns that are older than `before`, and all but the newest `keep`; never what a restore needs.

        The turns after some snapshot always stay, and so do waiting signals, open directives and schedules.

        Args:
            key: the agent.
            before, keep: the bounds; each by itself.
            handled_before: ids of signals that were handled earlier are forgotten, with what was replied; up to the
                first turn that is not earlier, should a clock have gone back.

        Returns:
            How many turns are gone.
        """
        ...


def check_storage(owner: str, storage: object) -> None:
    """Refuses what is no storage. A proxy that finds its methods when it is asked for them is one.

    Raises:
        InvalidArgument: it lacks something that a storage has.
    """
    if storage is None or isinstance(storage, type):
        raise InvalidArgument(owner, "storage", "a Storage", storage)
    for name in _PROPERTIES:
        if not hasattr(storage, name):
            raise InvalidArgument(owner, "storage", f"a Storage; this has no {name!r}", storage)
    for name in METHODS:
        if not callable(getattr(storage, name, None)):
            raise InvalidArgument(owner, "storage", f"a Storage; this has no coroutine method {name!r}", storage)


_PUBLIC = {name: value for name, value in vars(Storage).items() if not name.startswith("_")}
_PROPERTIES = tuple(name for name, value in _PUBLIC.items() if isinstance(value, property))
METHODS = tuple(name for name, value in _PUBLIC.items() if iscoroutinefunction(value))
"""The names of the methods that every storage has."""
