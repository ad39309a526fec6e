"""What writes the turns of durable agents: many agents' turns in one write, and many chores beside it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, final

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Fenced, RestoreFailed
from ..storage import AgentKey, CommitFailed, Duplicate, Storage, StorageError, StorageUnavailable
from ..storage._retention import Retention, Trim
from ..supervision import cleanup_scope

if TYPE_CHECKING:
    from ..supervision._service import Timer
    from ._delivery import Delivery
    from ._durable_server import DurableServer
    from ._runtime import Runtime

__all__ = ["Journal"]

_SECONDS_MARKS_WAIT = 0.05
_SECONDS_TO_FINISH = 10.0
_SECONDS_BETWEEN_RENEWALS = 3.0
_MOST_ROUNDS = 4
_TRIES = 5


class _Parked:
    """A task that waits for something to do."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    def wake(self) -> None:
        """Lets it look for something to do."""
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None

    async def park(self) -> None:
        """Waits to be woken."""
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED


@final
class Journal:
    """Writes what durable agents have decided.

    One write is under way at a time; what is decided meanwhile goes into the next. What it keeps is no part of its
    tasks: if one of them should crash, its supervisor starts it again, and nothing is lost.

    Args:
        runtime: whose it is.
        storage: where it writes.
        owner: in whose name.
    """

    def __init__(self, runtime: Runtime, storage: Storage, owner: str) -> None:
        self._runtime = runtime
        self._storage = storage
        self._owner = owner
        self._urgent: dict[DurableServer, None] = {}
        self._later: dict[DurableServer, None] = {}
        self._timer: Timer | None = None
        self._writer = _Parked()
        self._scope: trio.CancelScope | None = None
        self._last = 0
        self._chores: deque[Callable[[], Awaitable[None]]] = deque()
        self._worker = _Parked()
        self._ill: dict[DurableServer, None] = {}
        self._failures = 0
        self._healer = _Parked()
        self._retention: dict[AgentKey, Retention] = {}
        self._leaving: dict[AgentKey, DurableServer] = {}

    # Writing.

    def add(self, server: DurableServer, *, now: bool = False) -> None:
        """An agent has something to be written: at once, or if nobody waits for it, within 50 ms.

        Args:
            server: the agent.
            now: whether somebody waits for it in any case.
        """
        if now or server.ledger.is_urgent:
            if server not in self._urgent:
                self._urgent[server] = None
                self._writer.wake()
        elif server not in self._later:
            self._later[server] = None
            if self._timer is None:
                when = self._runtime.clock.now() + _SECONDS_MARKS_WAIT
                self._timer = self._runtime.service.call_at(when, self._it_is_time)

    def _it_is_time(self) -> None:
        self._timer = None
        self._urgent.update(self._later)
        self._later.clear()
        self._writer.wake()

    @enable_ki_protection
    async def write(self) -> None:
        """The task that writes; a child of the runtime's own supervisor."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._limit)
            try:
                while True:
                    while self._urgent:
                        await self._gather()
                        await self._write()
                    await self._writer.park()
            finally:
                self._it_is_time()
                with cleanup_scope():
                    while self._urgent and not self._ill:
                        await self._write()

    async def _limit(self) -> None:
        """When the task is to end, what is being written has ten more seconds."""
        try:
            await trio.sleep_forever()
        finally:
            if self._scope is not None:
                self._scope.deadline = trio.current_time() + _SECONDS_TO_FINISH

    async def _gather(self) -> None:
        """Lets those who are about to decide something do so: it goes into the same write."""
        if self._last == 1:
            return  # There was nobody else the last time.
        for _ in range(_MOST_ROUNDS):
            number = len(self._urgent)
            await trio.lowlevel.checkpoint()
            if len(self._urgent) == number:
                return

    async def _write(self) -> None:
        servers = []
        writes = []
        urgent, self._urgent = self._urgent, {}
        now = self._runtime.clock.wall_now()
        for server in urgent:
            write = server.ledger.take(now)
            if write is not None:
                servers.append(server)
                writes.append(write)
        if not writes:
            return
        self._last = len(writes)
        outcomes: tuple[Exception | None, ...] = ()
        failure: Exception = CommitFailed(f"the storage has not answered for {_SECONDS_TO_FINISH:g} s", in_doubt=True)
        with trio.CancelScope(shield=True) as self._scope:
            try:
                outcomes = await self._storage.append(*writes)
            except Exception as error:
                failure = error
        self._scope = None
        if len(outcomes) == len(writes):
            self._failures = 0
        else:
            self._failures += 1
            outcomes = (failure,) * len(writes)
        for server, outcome in zip(servers, outcomes, strict=True):
            try:
                server.ledger.written(outcome)
            except Exception as error:
                # A fault of ours must not keep others from what is theirs; and what is unclear is not gone on with.
                server.lost(RestoreFailed(f"what was written could not be carried out: {error!r}"))
                self._runtime.reports.fault(server, error)

    # Healing.

    def heal(self, server: DurableServer) -> None:
        """It is not known what of an agent was written: it has to be read before anything is handled."""
        self._ill[server] = None
        self._healer.wake()

    @enable_ki_protection
    async def healing(self) -> None:
        """The task that reads what was written of agents of which that is not known."""
        while True:
            if not self._ill:
                await self._healer.park()
                continue
            if self._failures > 1:
                # It was read, and written, and failed again: what was not written all the same is not tried at once.
                for server in tuple(self._ill):
                    await self._look(server, if_written=True)
                if not self._ill:
                    continue
                for server in self._ill:
                    server.ledger.storage_is_down(StorageUnavailable("the storage takes nothing now"))
                await trio.sleep(_pause(self._failures))
            for server in tuple(self._ill):
                await self._look(server)
            if self._ill:
                self._failures += 1

    async def _look(self, server: DurableServer, *, if_written: bool = False) -> None:
        """Reads what was written of an agent, and lets it go on.

        Args:
            server: the agent.
            if_written: whether it goes on only if all was written.
        """
        try:
            stored = await self._storage.load(server.key)
        except RestoreFailed as error:
            self._ill.pop(server, None)
            server.lost(error)
        except StorageError as error:
            server.ledger.storage_is_down(error)
            self._runtime.reports.storage_trouble("the storage cannot be read", error)
        else:
            if server.ledger.is_written(stored):
                self._failures = 0
            elif if_written:
                return
            self._ill.pop(server, None)
            server.ledger.reconcile(stored)

    # Chores: what nobody waits for.

    def soon(self, chore: Callable[[], Awaitable[None]]) -> None:
        """Does something with the storage beside the writing, after what was asked for before."""
        self._chores.append(chore)
        self._worker.wake()

    @enable_ki_protection
    async def work(self) -> None:
        """The task that does the chores."""
        try:
            while True:
                while self._chores:
                    await self._do(self._chores[0])
                    self._chores.popleft()
                await self._worker.park()
        finally:
            with cleanup_scope():
                while self._chores:
                    await self._do(self._chores.popleft(), tries=1)

    async def _do(self, chore: Callable[[], Awaitable[None]], tries: int = _TRIES) -> None:
        for number in range(1, tries + 1):
            try:
                await chore()
                return
            except (Fenced, RestoreFailed):
                return  # It is another's affair now.
            except Exception as error:
                self._runtime.reports.storage_trouble("the storage does not do what it is asked for", error)
            if number < tries:
                await trio.sleep(_pause(number))

    def ended(self, server: DurableServer, *, is_final: bool) -> None:
        """An agent has ended: others may have it.

        Args:
            server: the agent.
            is_final: whether it is not to be started again by itself.
        """
        self._retention.pop(server.key, None)
        if server.claim and server.fence is None:
            self._leaving[server.key] = server
            self.soon(partial(self._give_up, server, is_final=is_final))

    async def _give_up(self, server: DurableServer, *, is_final: bool) -> None:
        await self.settled(server)
        if self._leaving.get(server.key) is server:
            del self._leaving[server.key]
        if is_final and server.is_recorded:
            await self._storage.record(server.key, server.claim, None)
        await self._storage.release(server.key, server.claim)

    async def until_left(self, key: AgentKey) -> None:
        """Waits until everything is written of an agent that has ended here and may be about to be claimed anew."""
        server = self._leaving.get(key)
        if server is not None:
            await self.settled(server)

    def start_failed(self, server: DurableServer) -> None:
        """An agent could not be started, or is not to be any more: what its start has stored is taken back."""
        self.soon(partial(self._take_back_start, server))

    async def _take_back_start(self, server: DurableServer) -> None:
        # Whether its claim was stored may be unknown.
        key = server.key
        record = await self._storage.find(key)
        if record is None or record.owner != self._owner or self._runtime.find(key.address) is not None:
            return
        if record.spec is not None and not server.was_recorded:
            await self._storage.record(key, record.claim, None)
        await self._storage.release(key, record.claim)

    async def settled(self, server: DurableServer) -> None:
        """Waits until everything of an agent is written, for ten seconds at most."""
        if server.ledger.has_unwritten and server.fence is None:
            done = trio.Event()
            server.ledger.when_settled(done.set)
            with trio.move_on_after(_SECONDS_TO_FINISH):
                await done.wait()
            server.ledger.forget_settled(done.set)

    def trim(self, server: DurableServer) -> None:
        """A snapshot of an agent was written: what is older may have to go."""
        key = server.key
        retention = self._retention.get(key)
        if retention is None:
            retention = self._retention[key] = Retention(server.policy)
        trim, self._retention[key] = retention.after(server.sequence, self._runtime.clock.wall_now())
        if trim is not None:
            self.soon(partial(self._trim, key, trim))

    async def _trim(self, key: AgentKey, trim: Trim) -> None:
        await trim.apply(self._storage, key)

    def answer_again(self, server: DurableServer, delivery: Delivery, error: Duplicate) -> None:
        """An ask has come again: what was replied is told again, if it is kept."""
        ask = delivery.ask
        if ask is not None:
            ask.hold()
            self.soon(partial(self._answer_again, server.key, delivery, error))

    async def _answer_again(self, key: AgentKey, delivery: Delivery, error: Duplicate) -> None:
        ask = delivery.ask
        assert ask is not None
        handled = await self._storage.handled(key, delivery.signal.id)
        if handled is not None and handled.is_answered:
            ask.end(handled.answer, None)
        else:
            ask.end(None, error)
        ask.release()

    # The lease.

    @enable_ki_protection
    async def renew(self) -> None:
        """The task that says that the owner is alive, and hears of what others have taken."""
        while True:
            await trio.sleep(_SECONDS_BETWEEN_RENEWALS)
            try:
                taken = await self._storage.renew(self._owner, now=self._runtime.clock.wall_now())
                for key in taken:
                    await self._check(key)
            except StorageError as error:
                self._runtime.reports.storage_trouble("the lease could not be renewed", error)

    async def _check(self, key: AgentKey) -> None:
        server: Any = self._runtime.find(key.address)
        if server is not None and server.is_durable and server.claim:
            record = await self._storage.find(key)
            if record is None or record.claim != server.claim:
                server.fenced(Fenced())


def _pause(number: int) -> float:
    """Seconds to wait before a further try."""
    return float(min(5.0, 0.05 * 2**number))
