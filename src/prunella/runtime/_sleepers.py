"""The agents of a runtime that are stored and not in memory, and how they come back."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, final

from ..agents import Address, Agent, AgentError, AgentNotFound, MailboxFull, RestoreFailed
from ..agents._plain import named
from ..agents._turns import definition_of
from ..errors import InvalidArgument, PrunellaError
from ..signals import Signal
from ..storage import (
    AgentKey,
    AgentRecord,
    Storage,
    StorageError,
    agent_of,
    restored_state,
)
from ..supervision import AlreadyStarted
from ..supervision._core import Request, Verb
from ._delivery import Answer
from ._errors import error_of_start
from ._journal import Journal
from ._spec import AgentSpec
from ._spec_data import bond_of, spec_from_data, subscribed_by
from ._unstored import Unstored

if TYPE_CHECKING:
    from ..supervision._life import HostedLife
    from ..supervision._service import Timer
    from ._delivery import Delivery
    from ._durable_server import DurableServer
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Sleepers"]

_HIBERNATED = "hibernated"
"""The detail of the exit reason of an agent that leaves memory."""

_NEVER = datetime.max.replace(tzinfo=UTC)
_TRY_AGAIN = timedelta(seconds=5)
_MOST_UNSTORED = 1000
"""So many signals wait to be stored for one whose spec is not known, which says how large its mailbox is."""


@final
class _Sleeper:
    """An agent that is stored, and can be woken.

    Attributes:
        agent: its class; None if it is not known yet.
        spec: how it is started; None if that is stored.
        subscribe: what it listens to, also while it sleeps.
        unstored: signals that were sent to it by those who cannot wait; None if none were.
        life: its last life, if a supervisor of the user's own keeps its place.
        quarantine: why it cannot be woken; None if it can, as far as is known.
        waking: who waits for it to be woken; None if nobody is waking it.
    """

    __slots__ = ("agent", "life", "quarantine", "spec", "subscribe", "unstored", "waking")

    def __init__(
        self,
        agent: type[Agent] | None = None,
        spec: AgentSpec[Any] | None = None,
        subscribe: tuple[str, ...] = (),
    ) -> None:
        self.agent = agent
        self.spec = spec
        self.subscribe = subscribe if spec is None else spec.subscribe
        self.unstored: Unstored | None = None
        self.life: HostedLife | None = None
        self.quarantine: RestoreFailed | None = None
        self.waking: list[Answer] | None = None


@final
class Sleepers:
    """Those that can be woken: by a signal, by a schedule that is due, or because somebody wants to look at them.

    Args:
        runtime: whose they are.
        storage: where they are kept.
        journal: what does chores with it.
        agents: classes that may be found there.
    """

    def __init__(self, runtime: Runtime, storage: Storage, journal: Journal, agents: Iterable[type[Agent]]) -> None:
        self._runtime = runtime
        self._storage = storage
        self._journal = journal
        self._classes = {definition_of(agent).name: agent for agent in agents}
        self._by_address: dict[Address, _Sleeper] = {}
        self._working: list[Address] = []
        self._due: list[tuple[datetime, int, Address]] = []
        self._numbers = count()
        self._timer: Timer | None = None

    def __contains__(self, address: Address) -> bool:
        return address in self._by_address

    def classes(self) -> tuple[tuple[Address, type[Agent]], ...]:
        """Their addresses, with their classes where these are known."""
        return tuple((address, sleeper.agent or Agent) for address, sleeper in self._by_address.items())

    def key_of(self, address: Address) -> AgentKey:
        """What an agent is called in the storage."""
        return AgentKey(self._runtime.name, address.partition, address.id)

    # Those of an earlier runtime.

    async def find(self) -> None:
        """Finds the agents that were started while an earlier runtime was running, and have not ended for good."""
        after = None
        while True:
            records = await self._storage.agents(self._runtime.name, after=after)
            for record in records:
                if record.spec is None and record.is_readable:
                    continue  # It is started by others, or has ended for good.
                address, spec = record.key.address, record.spec or {}
                self._add(address, _Sleeper(subscribe=subscribed_by(spec)))
                self._runtime.families.sleeps(address, bond_of(spec))
                if record.has_work:
                    self._working.append(address)
            if not records:
                break
            after = records[-1].key
        for due in await self._storage.due(self._runtime.name, until=_NEVER, limit=1_000_000):
            if due.key.address in self:
                heapq.heappush(self._due, (due.due, next(self._numbers), due.key.address))

    async def look_for(self, address: Address) -> bool:
        """Whether another runtime of the name has started such an agent since this one was opened."""
        record = await self._storage.find(self.key_of(address))
        if record is None or record.spec is None:
            return False
        if address not in self and self._runtime.find(address) is None:
            self._add(address, _Sleeper(subscribe=subscribed_by(record.spec)))
            self._runtime.families.sleeps(address, bond_of(record.spec))
        return True

    async def begin(self) -> None:
        """The tree has started: what it does not have, and has something to do, is started too."""
        working, self._working = self._working, []
        for address in working:
            try:
                if address in self:
                    await self.wake(address)
            except RestoreFailed:
                continue  # That was reported.
            except AgentError as error:
                self._runtime.reports.storage_trouble(f"agent {address} cannot be started", error)
        self._set_timer()

    def leave_to_the_tree(self) -> None:
        """What the tree has started sleeps no more."""
        for address in tuple(self._by_address):
            if self._runtime.find(address) is not None:
                self.remove(address)

    # Going to sleep.

    def _add(self, address: Address, sleeper: _Sleeper) -> None:
        self.remove(address)
        self._by_address[address] = sleeper
        if sleeper.subscribe:
            self._runtime.subscriptions.add_sleeper(address, sleeper.subscribe)

    def remove(self, address: Address) -> None:
        """An agent is in memory again, or nowhere."""
        sleeper = self._by_address.pop(address, None)
        if sleeper is None:
            return
        if sleeper.subscribe:
            self._runtime.subscriptions.remove_sleeper(address, sleeper.subscribe)
        if sleeper.unstored is not None:
            server: Any = self._runtime.find(address)
            if server is not None and server.is_durable:
                server.take_over(sleeper.unstored.signals)
            else:
                self._lose(address, sleeper, self._runtime.absent(address))

    def leave(self, server: DurableServer) -> None:
        """It leaves memory now: everything of it is written."""
        sleeper = _Sleeper(server.spec.agent, server.spec)
        life = server.life
        assert life is not None
        if life.host is not self._runtime.supervisor_of_later:
            sleeper.life = life
        self._add(server.address, sleeper)
        due = server.alarms.next_due()
        if due is not None:
            self._is_due(due, server.address)
        server.leaves()
        had_effects = bool(server.effects)
        self._runtime.begin_stop(server, _HIBERNATED)
        if had_effects:
            life.cut_off()

    # Coming back.

    async def wake(self, address: Address) -> AgentServer:
        """Brings an agent back into memory.

        Raises:
            AgentNotFound: there is no such agent.
            AgentError, StorageError: it cannot be brought back.
        """
        while True:
            server = self._runtime.find(address)
            if server is not None and server.is_open:
                return server
            sleeper = self._by_address.get(address)
            if sleeper is None:
                raise self._runtime.absent(address)
            if sleeper.quarantine is not None:
                raise sleeper.quarantine.with_traceback(None)  # the same for many
            if server is not None:
                await self._runtime.wait_gone(server)  # It is still leaving.
            elif sleeper.waking is not None:
                answer = Answer()
                sleeper.waking.append(answer)
                await answer.wait()
            else:
                await self._wake(address, sleeper)

    async def _wake(self, address: Address, sleeper: _Sleeper) -> None:
        sleeper.waking = []
        answer = Answer()

        def over(error: Exception | None) -> None:
            self._has_woken(address, sleeper, error)
            answer.give(error)

        try:
            spec = sleeper.spec or await self._stored_spec(address)
            await self._store_unstored(address, sleeper)
        except BaseException as error:
            self._has_woken(address, sleeper, error)
            raise
        # Whoever asked for it may be cancelled meanwhile; it is woken all the same.
        if sleeper.life is None:
            self._runtime.begin_start(spec, over)
        else:
            request = Request(Verb.RESTART, sleeper.life.slot.spec.id, lambda: over(error_of_start(request.error)))
            sleeper.life.host.core.ask(request)
        failure: Exception | None = await answer.wait()
        if failure is not None and not isinstance(failure, AlreadyStarted):  # somebody else was faster
            raise failure

    def _has_woken(self, address: Address, sleeper: _Sleeper, error: BaseException | None) -> None:
        waiting, sleeper.waking = sleeper.waking, None
        if isinstance(error, RestoreFailed):
            sleeper.quarantine = error
            self._runtime.reports.quarantined_asleep(address, error)
        for answer in waiting or ():
            answer.give(None)

    async def _stored_spec(self, address: Address) -> AgentSpec[Any]:
        key = self.key_of(address)
        record = await self._storage.find(key)
        if record is None:
            raise self._runtime.absent(address)
        if record.spec is None:
            raise _about(RestoreFailed("how it is to be started cannot be read"), address)
        try:
            agent = self._class_of(record)
            try:
                return spec_from_data(agent, address, record.spec)
            except InvalidArgument:
                # A field without default: what is stored has it.
                stored = await self._storage.load(key)
                if stored is None:
                    raise
                state = agent_of(agent, *restored_state(stored.snapshot, stored.commits))
                return spec_from_data(agent, address, record.spec, state)
        except RestoreFailed as error:
            raise _about(error, address) from error.__cause__
        except (PrunellaError, ImportError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise _about(RestoreFailed(f"how it is to be started cannot be read: {error}"), address) from error

    async def class_of(self, address: Address) -> type[Agent]:
        """The class of a stored agent.

        Raises:
            AgentNotFound: no such agent is stored.
        """
        record = await self._storage.find(self.key_of(address))
        if record is None:
            raise _about(AgentNotFound(address.id), address)
        return self._class_of(record)

    def _class_of(self, record: AgentRecord) -> type[Agent]:
        """The class of a stored agent: one that the runtime was given, or has run, or that is found by its name."""
        code = record.code
        agent = self._classes.get(code.name) or self._runtime.class_named(code.name)
        if agent is None:
            try:
                agent = named(code.reference)
            except (ImportError, AttributeError, ValueError) as error:
                problem = f"its class {code.reference!r} is not found: see open_runtime(agents=)"
                raise RestoreFailed(problem) from error
        if not (isinstance(agent, type) and issubclass(agent, Agent)) or definition_of(agent).name != code.name:
            raise RestoreFailed(f"{code.reference!r} is no class of agents named {code.name!r}")
        return agent

    # Those that cannot be read.

    def quarantine_of(self, address: Address) -> RestoreFailed | None:
        """Why an agent that sleeps cannot be woken, if that is known."""
        sleeper = self._by_address.get(address)
        return None if sleeper is None else sleeper.quarantine

    def lift_quarantine(self, address: Address) -> None:
        """It is to be tried once more to wake an agent."""
        sleeper = self._by_address.get(address)
        if sleeper is not None:
            sleeper.quarantine = None

    def knows(self, agent: type[Agent]) -> None:
        """A class of agents that may be stored. Those that could not be woken without it can be now."""
        if self._classes.setdefault(definition_of(agent).name, agent) is agent:
            for address in self._by_address:
                self.lift_quarantine(address)

    # What is sent to them by those who cannot wait.

    def offer_nowait(self, address: Address, delivery: Delivery) -> None:
        """Keeps a signal for one of them, which is woken for it.

        Raises:
            MailboxFull: so many wait already as have room in its mailbox.
            RestoreFailed: it cannot be woken.
        """
        sleeper = self._by_address[address]
        if sleeper.quarantine is not None:
            raise sleeper.quarantine.with_traceback(None)  # the same for many
        if sleeper.unstored is None:
            sleeper.unstored = Unstored()
        try:
            is_first = sleeper.unstored.add(delivery, _MOST_UNSTORED if sleeper.spec is None else sleeper.spec.mailbox)
        except MailboxFull as error:
            raise _about(error, address) from None
        if is_first:
            self._journal.soon(partial(self._wake_due, address))

    async def _store_unstored(self, address: Address, sleeper: _Sleeper) -> None:
        if sleeper.unstored is not None:
            key, trouble = self.key_of(address), self._runtime.reports.storage_trouble
            lost = partial(trouble, f"a signal to agent {address} is lost")
            await sleeper.unstored.store(self._storage, key, self._runtime.clock.wall_now, lost)
            sleeper.unstored = None

    def _lose(self, address: Address, sleeper: _Sleeper, error: Exception) -> None:
        if sleeper.unstored is not None:
            sleeper.unstored = None
            self._runtime.reports.storage_trouble(f"signals to agent {address} are lost", error)

    # What is to be done to them.

    def tell(self, address: Address, type: str, data: dict[str, Any]) -> None:
        """Puts something into the stored mailbox of an agent, which is woken for it, if it wants to hear that."""
        server, sleeper = self._runtime.find(address), self._by_address.get(address)
        if server is not None:
            hears = server.hears(type)
        elif sleeper is not None:
            hears = sleeper.agent is None or definition_of(sleeper.agent).hears(type)
        else:
            return
        if hears:
            self._journal.soon(partial(self._tell, address, self._runtime.signals.new(type, data)))

    async def _tell(self, address: Address, signal: Signal) -> None:
        try:
            await self._storage.enqueue(self.key_of(address), signal, now=self._runtime.clock.wall_now())
            server: Any = self._runtime.find(address)
            if server is not None and server.is_open:
                server.take_mail(signal, 0)
            elif not self._runtime.is_closing:
                await self.read_mail(address)
        except AgentError:  # It was deleted meanwhile, or cannot be read; what it is told is stored, or nothing to it.
            return

    async def read_mail(self, address: Address) -> None:
        """Lets an agent handle what was put into its mailbox behind its back."""
        server: Any = await self._runtime.awake(address)
        stored = await self._storage.load(self.key_of(address))
        for each in () if stored is None else stored.waiting:
            server.take_mail(each.signal, each.deliveries)

    def stop(self, address: Address, reason: Any) -> None:
        """Lets an agent that sleeps end for good."""
        if address in self:
            self._journal.soon(partial(self._stop, address, reason))

    async def _stop(self, address: Address, reason: Any) -> None:
        try:
            self._runtime.begin_stop(await self.wake(address), reason)
        except AgentError:  # It is gone already, or cannot be read.
            return

    # Schedules.

    def _set_timer(self) -> None:
        service, clock = self._runtime.service, self._runtime.clock
        if self._timer is not None:
            service.cancel(self._timer)
            self._timer = None
        if self._due and not self._runtime.is_closing:
            delay = max(0.0, min(60.0, (self._due[0][0] - clock.wall_now()).total_seconds()))
            self._timer = service.call_at(clock.now() + delay, self._wake_the_due)

    def _wake_the_due(self) -> None:
        self._timer = None
        now = self._runtime.clock.wall_now()
        while self._due and self._due[0][0] <= now:
            _, _, address = heapq.heappop(self._due)
            if address in self:
                self._journal.soon(partial(self._wake_due, address))
        self._set_timer()

    async def _wake_due(self, address: Address) -> None:
        sleeper = self._by_address.get(address)
        if sleeper is None:
            return
        try:
            if not self._runtime.is_closing:
                await self.wake(address)
            elif sleeper.waking is None:
                await self._store_unstored(address, sleeper)
        except StorageError:
            if self._runtime.is_closing:
                raise
            self._is_due(self._runtime.clock.wall_now() + _TRY_AGAIN, address)
        except AgentError as error:  # It has another owner, or is gone, or cannot be read.
            self._lose(address, sleeper, error)

    def _is_due(self, due: datetime, address: Address) -> None:
        heapq.heappush(self._due, (due, next(self._numbers), address))
        self._set_timer()


def _about(error: Any, address: Address) -> Any:
    error.address = address
    return error
