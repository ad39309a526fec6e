"""One life of a durable agent: the first begins when its state was read, and each ends when all of it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..agents import Fenced, RestoreFailed
from ..signals import Signal
from ..storage import (
    Commit,
    Storage,
    StorageError,
    StoredSignal,
    Write,
    agent_of,
    restored_state,
    snapshot_of,
)
from ..supervision import Crashed, ExitReason, Shutdown
from ..supervision._reasons import captured
from ._durable_server import DurableServer
from ._life import AgentLife, EffectTask

if TYPE_CHECKING:
    from ..agents import Agent
    from ..storage._turn_mark import TurnMark
    from ..supervision._live import LiveSupervisor
    from ..supervision._records import Slot
    from ..supervision._service import Timer

__all__ = ["DurableLife", "open_stored"]

_SECONDS_TO_SETTLE = 10.0
_SECONDS_BETWEEN_LOOKS = 0.5
_MOST_SUSPECTS = 64
"""So many turns may be decided and not written; what waits behind them cannot have been in a turn."""
_MOST_AT_ONCE = 1000
"""So many waiting signals a storage gives with all else of an agent."""


class DurableLife(AgentLife):
    """One life of a durable agent."""

    __slots__ = ("_opening", "_settle_timer", "_settles", "_suspects")

    server: DurableServer

    def __init__(self, host: LiveSupervisor, slot: Slot) -> None:
        super().__init__(host, slot)
        self._opening: EffectTask | None = None
        self._settles = False
        self._suspects: EffectTask | None = None
        self._settle_timer: Timer | None = None

    # Beginning.

    def _take_place(self) -> None:
        server = self.server
        if server.is_loaded:
            self._begin()
        else:
            self._opening = EffectTask(self, "restoring", self._open, is_work=False, on_cut=self._not_opened)
            self._opening.begin()

    async def _open(self) -> None:
        server = self.server
        try:
            await open_stored(server, is_recorded=self.host is server.runtime.supervisor_of_later)
        except RestoreFailed as error:
            server.quarantined(error)
        except Exception as error:
            self._not_opened(None, error)
            return
        if self._ending is not None:
            self._not_opened(self._ending, None)  # It was stopped at the last moment.
            return
        self._opening = None
        self._begin()

    def _not_opened(self, reason: ExitReason | None, failure: BaseException | None) -> None:
        self._opening = None
        self.error = failure
        if self._ending is None:
            self._ending = Shutdown() if failure is None else Crashed(captured(failure))
        self.server.never_began(failure)

    def begin_suspects(self) -> None:
        """Begins to handle what waited when the last owner died."""
        self._suspects = EffectTask(
            self, "what waited", self._take_suspects, is_work=True, on_cut=lambda reason, failure: None
        )
        self._suspects.begin()

    async def _take_suspects(self) -> None:
        """Handles what waited when the last owner died, one after another, each counted before."""
        server = self.server
        assert server.runtime.durability is not None
        storage = server.runtime.durability.storage
        while server.mail.suspects:
            if server.suspended:
                await trio.sleep(_SECONDS_BETWEEN_LOOKS)  # What is not tried is not counted.
                continue
            stored = server.mail.suspects[0]
            deliveries = stored.deliveries
            try:
                if deliveries < server.policy.max_deliveries:
                    taken = await storage.take(server.key, server.claim, after=stored.position - 1, limit=1)
                    if not taken or taken[0].position != stored.position:
                        server.mail.suspects.popleft()
                        continue
                    deliveries = taken[0].deliveries
                    server.take_mail(stored.signal, deliveries - 1, is_suspect=True)
                else:
                    server.bury(stored)
            except StorageError:
                await trio.sleep(_SECONDS_BETWEEN_LOOKS)
                continue
            except Fenced as error:
                server.fenced(error)
                return
            except RestoreFailed as error:
                server.lost(error)
                return
            server.mail.suspects.popleft()
            await server.until_handled(stored.signal.id)
        while not server.mail.is_all:
            await self._take_page(storage)
        server.cleared()

    async def _take_page(self, storage: Storage) -> None:
        """Handles more of what waited, without counting: it was in nobody's turn."""
        server = self.server
        try:
            stored = await storage.load(server.key)
        except StorageError:
            await trio.sleep(_SECONDS_BETWEEN_LOOKS)
            return
        except RestoreFailed as error:
            server.lost(error)
            return
        waiting = () if stored is None else stored.waiting
        server.take_page(waiting)
        server.mail.is_all = len(waiting) < _MOST_AT_ONCE
        for each in waiting:
            await server.until_handled(each.signal.id)

    # Ending.

    def stop(self) -> None:
        if self._opening is not None and not (self.ended or self.stopping):
            self.stopping = True
            self._ending = self.stop_reason
            self._opening.cancel(self._ending)
            return
        super().stop()

    def kill(self) -> None:
        self._settles = True  # It is not waited for.
        super().kill()

    def _finish_or_wait(self) -> None:
        if self._suspects is not None:
            self._suspects.cancel(self._ending)  # No turn will be taken for which it could wait.
            self._suspects = None
        super()._finish_or_wait()

    def _finish(self, reason: ExitReason) -> None:
        server = self.server
        if self.ended or self._settle_timer is not None:
            return
        if (
            self.started
            and not self._settles
            and not isinstance(reason, Crashed)
            and server.fence is None
            and server.ledger.has_unwritten
        ):
            self._settles = True
            self._ending = reason
            when = trio.current_time() + _SECONDS_TO_SETTLE
            self._settle_timer = self.host.tree.service.call_at(when, self._settled)
            server.ledger.when_settled(self._settled)
            return
        super()._finish(reason)

    def _settled(self) -> None:
        if self._settle_timer is None or self.ended:
            return
        self.host.tree.service.cancel(self._settle_timer)
        self._settle_timer = None
        self.server.ledger.forget_settled(self._settled)
        assert self._ending is not None
        if self._tasks or self._handing_over:
            # What was written meanwhile has begun effects: these have their time, and then it settles again.
            self._settles = False
            self._finish_or_wait()
        else:
            self._finish(self._ending)


async def open_stored(server: DurableServer, *, is_recorded: bool) -> None:
    """Claims what is stored of an agent, and reads it.

    Args:
        server: the agent.
        is_recorded: whether its spec is stored, so that it is started again by itself.

    Raises:
        Fenced: another owner is alive, and this one gives way.
        RestoreFailed: it cannot be read.
        StorageError: the storage does not do what it is asked for.
    """
    from ._spec_data import spec_to_data

    durability = server.runtime.durability
    assert durability is not None
    storage, key = durability.storage, server.key
    clock = server.runtime.clock
    await server.journal.until_left(key)
    before = await storage.find(key)
    server.was_recorded = before is not None and before.spec is not None
    record = await storage.claim(
        key,
        server.code,
        owner=durability.owner,
        now=clock.wall_now(),
        refuse=durability.gives_way,
        spec=spec_to_data(server.spec, server.runtime.families.bond_of(server.address)) if is_recorded else None,
    )
    server.claim = record.claim
    server.is_recorded = is_recorded or record.spec is not None
    stored = await storage.load(key)
    if stored is None:
        raise RestoreFailed("it was deleted meanwhile")
    sequence = stored.record.sequence
    if not sequence and stored.snapshot is None:
        now = clock.wall_now()
        await _written(server, Write(key, server.claim, now, snapshot=snapshot_of(server.spec._initial, 0, now)))
        server.begins_first()
    else:
        version, state = restored_state(stored.snapshot, stored.commits)
        agent = agent_of(server.spec.agent, version, state)
        if version != server.definition.version:
            sequence += 1
            await _written(server, _migrated(server, agent, sequence))
        server.restore(agent, sequence, stored)
        for turn in server.open.causes():
            commits = await _kept(server, turn)
            if commits:
                server.open.cause_found(turn, commits[0].signal)
    waiting = stored.waiting
    number = 0
    if durability.mark is not None:
        waiting = await _with_the_killer_counted(server, durability.mark, waiting)
    elif before is not None and before.owner is not None:
        number = _MOST_SUSPECTS
    if len(waiting) < _MOST_AT_ONCE:
        server.mail.restore(waiting[:number], waiting[number:])
    else:
        server.mail.restore(waiting[:number], (), is_all=False)
    server.is_loaded = True


async def _with_the_killer_counted(
    server: DurableServer, mark: TurnMark, waiting: tuple[StoredSignal, ...]
) -> tuple[StoredSignal, ...]:
    """Counts the turn in which the last process was killed, if it was one of this agent."""
    key = server.key
    if mark.left is None or mark.left[:2] != (key.partition, key.id):
        return waiting
    assert server.runtime.durability is not None
    storage, id = server.runtime.durability.storage, mark.left[2]
    for place, stored in enumerate(waiting):
        if stored.signal.id == id:
            (counted,) = await storage.take(key, server.claim, after=stored.position - 1, limit=1)
            if counted.deliveries >= server.policy.max_deliveries:
                server.killer = id
            waiting = (*waiting[:place], counted, *waiting[place + 1 :])
            break
    mark.left = None
    return waiting


async def _kept(server: DurableServer, turn: int) -> tuple[Commit, ...]:
    from ..storage import HistoryGone

    assert server.runtime.durability is not None
    try:
        return await server.runtime.durability.storage.commits(server.key, after=turn - 1, limit=1)
    except (HistoryGone, RestoreFailed):
        return ()


async def _written(server: DurableServer, write: Write) -> None:
    assert server.runtime.durability is not None
    (outcome,) = await server.runtime.durability.storage.append(write)
    if outcome is not None:
        raise outcome


def _migrated(server: DurableServer, agent: Agent, sequence: int) -> Write:
    """The turn that stores what migrations have made of a state."""
    now = server.runtime.clock.wall_now()
    signal = Signal("prunella.migrated", {}, time=now)
    commit = Commit(sequence, server.claim, signal, now, 0, server.code, changes=agent.to_data())
    return Write(server.key, server.claim, now, (commit,))
