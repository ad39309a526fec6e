"""What a runtime with a storage has besides: its journal, and the agents that are stored and not in memory."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, final

import attrs

from ..agents import Address, Agent, AgentError, AgentNotFound, RestoreFailed
from ..agents._plain import named
from ..agents._turns import definition_of
from ..errors import InvalidArgument, PrunellaError
from ..signals import Signal, new_id
from ..storage import AgentKey, AgentRecord, DeadLetter, Outbox, Storage, agent_of, opened, restored_state, state_at
from ..supervision._core import Request, Verb
from ._delivery import Answer
from ._errors import EffectsRunning
from ._journal import Journal
from ._spec import AgentSpec
from ._spec_data import bond_of, spec_from_data, subscribed_by, with_bond

if TYPE_CHECKING:
    from ..supervision._life import HostedLife
    from ..supervision._service import Timer
    from ._durable_server import DurableServer
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["HIBERNATED", "Durability", "Sleeper"]

HIBERNATED = "hibernated"
"""The detail of the exit reason of an agent that leaves memory."""

_NEVER = datetime.max.replace(tzinfo=UTC)


@final
class Sleeper:
    """An agent that is stored, and can be woken.

    Attributes:
        agent: its class; None if it is not known yet.
        spec: how it is started; None if that is stored.
        subscribe: what it listens to, also while it sleeps.
        life: its last life, if a supervisor of the user's own keeps its place.
        quarantine: why it cannot be woken; None if it can, as far as is known.
        waking: who waits for it to be woken; None if nobody is waking it.
    """

    __slots__ = ("agent", "life", "quarantine", "spec", "subscribe", "waking")

    def __init__(
        self,
        agent: type[Agent] | None = None,
        spec: AgentSpec[Any] | None = None,
        subscribe: tuple[str, ...] = (),
    ) -> None:
        self.agent = agent
        self.spec = spec
        self.subscribe = subscribe if spec is None else spec.subscribe
        self.life: HostedLife | None = None
        self.quarantine: RestoreFailed | None = None
        self.waking: list[Answer] | None = None


@final
class Durability:
    """The storage of a runtime, and everything that hangs on it.

    Attributes:
        storage: where agents are kept.
        owner: the name under which this runtime owns them.
        gives_way: whether other owners that are alive keep what they have.
        journal: what writes.
        has_begun: whether it is known who is there and who can be woken. Before, nothing is sent to anybody: it would
            be lost.
    """

    def __init__(self, runtime: Runtime, storage: Storage, *, gives_way: bool, agents: Iterable[type[Agent]]) -> None:
        self._runtime = runtime
        self.storage = storage
        self.owner = f"{runtime.name}/{new_id()}"
        self.gives_way = gives_way
        self.journal = Journal(runtime, storage, self.owner)
        self.has_begun = False
        self._known = {definition_of(agent).name: agent for agent in agents}
        self._sleepers: dict[Address, Sleeper] = {}
        self._working: list[Address] = []
        self._due: list[tuple[datetime, int, Address]] = []
        self._numbers = count()
        self._timer: Timer | None = None
        self._stack = AsyncExitStack()

    # Opening and closing.

    async def open(self) -> None:
        """Opens the storage, and finds the agents that were started while an earlier runtime was running."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(opened(self.storage, exclusive=True))
            stack.enter_context(self._used())
            await self._find()
            self._stack = stack.pop_all()

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Two runtimes of one name that share a storage would take each other's agents. One that somebody else has
        written need not take note of it.
        """
        name, users = self._runtime.name, getattr(self.storage, "users", None)
        if not isinstance(users, set):
            yield
            return
        if name in users:
            raise InvalidArgument("open_runtime()", "name", "one that no other runtime on this storage has", name)
        users.add(name)
        try:
            yield
        finally:
            users.discard(name)

    async def _find(self) -> None:
        after = None
        while True:
            records = await self.storage.agents(self._runtime.name, after=after)
            for record in records:
                if record.spec is None and record.is_readable:
                    continue  # It is started by others, or has ended for good.
                address, spec = record.key.address, record.spec or {}
                self._sleeps(address, Sleeper(subscribe=subscribed_by(spec)))
                self._runtime.families.sleeps(address, bond_of(spec))
                if record.has_work:
                    self._working.append(address)
            if not records:
                break
            after = records[-1].key
        for due in await self.storage.due(self._runtime.name, until=_NEVER, limit=1_000_000):
            if due.key.address in self._sleepers:
                heapq.heappush(self._due, (due.due, next(self._numbers), due.key.address))

    async def close(self) -> None:
        """Lets go of it."""
        await self._stack.aclose()

    async def begin(self) -> None:
        """The tree has started: what it does not have, and has something to do, is started too."""
        for address in tuple(self._sleepers):
            if self._runtime.find(address) is not None:
                self.forgets(address)
        self.has_begun = True
        for server in self._runtime.durable_servers():
            server.begin_open()
        working, self._working = self._working, []
        for address in working:
            try:
                if self.can_wake(address):
                    await self.wake(address)
            except RestoreFailed:
                continue  # That was reported.
            except AgentError as error:
                self._runtime.reports.storage_trouble(f"agent {address} cannot be started", error)
        self._set_timer()

    # Sleepers.

    def can_wake(self, address: Address) -> bool:
        """Whether an agent that is not in memory comes back when it is asked for."""
        return address in self._sleepers

    def sleepers(self) -> tuple[tuple[Address, type[Agent]], ...]:
        """Those that can be woken, with their classes where these are known."""
        return tuple((address, sleeper.agent or Agent) for address, sleeper in self._sleepers.items())

    def _sleeps(self, address: Address, sleeper: Sleeper) -> None:
        self.forgets(address)
        self._sleepers[address] = sleeper
        if sleeper.subscribe:
            self._runtime.subscriptions.add_sleeper(address, sleeper.subscribe)

    def forgets(self, address: Address) -> None:
        """An agent is in memory again, or nowhere."""
        sleeper = self._sleepers.pop(address, None)
        if sleeper is not None and sleeper.subscribe:
            self._runtime.subscriptions.remove_sleeper(address, sleeper.subscribe)

    def quarantine_of(self, address: Address) -> RestoreFailed | None:
        """Why an agent that sleeps cannot be woken, if that is known."""
        sleeper = self._sleepers.get(address)
        return None if sleeper is None else sleeper.quarantine

    def lifts_quarantine(self, address: Address) -> None:
        """It is to be tried once more to wake an agent."""
        sleeper = self._sleepers.get(address)
        if sleeper is not None:
            sleeper.quarantine = None

    def knows(self, agent: type[Agent]) -> None:
        """A class of agents that may be stored. Those that could not be woken without it can be now."""
        if self._known.setdefault(definition_of(agent).name, agent) is agent:
            for address in self._sleepers:
                self.lifts_quarantine(address)

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
            sleeper = self._sleepers.get(address)
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

    async def _wake(self, address: Address, sleeper: Sleeper) -> None:
        sleeper.waking = []
        try:
            if sleeper.life is not None:
                await self._start_again(sleeper.life)
            else:
                spec = sleeper.spec or await self._stored_spec(address)
                await self._runtime.start_spec(spec)
        except RestoreFailed as error:
            sleeper.quarantine = error
            self._runtime.reports.quarantined_asleep(address, error)
            raise
        finally:
            waiting, sleeper.waking = sleeper.waking, None
            if self._sleepers.get(address) is sleeper and self._runtime.find(address) is not None:
                self.forgets(address)
            for answer in waiting:
                answer.give(None)

    def tell_sleeper(self, address: Address, type: str, data: dict[str, Any]) -> None:
        """Wakes an agent to tell it something, if it wants to hear that."""
        sleeper = self._sleepers.get(address)
        if sleeper is not None:
            agent = sleeper.agent
            if agent is None or definition_of(agent).hears(type):
                self.journal.soon(partial(self._tell_sleeper, address, self._runtime.signals.new(type, data)))

    async def _tell_sleeper(self, address: Address, signal: Signal) -> None:
        try:
            await self.storage.enqueue(self.key_of(address), signal, now=self._runtime.clock.wall_now())
            if not self._runtime.is_closing:
                await self._read_mail(address)
        except AgentError:  # It was deleted meanwhile, or cannot be read; what it is told is stored, or nothing to it.
            return

    async def _read_mail(self, address: Address) -> None:
        """Lets an agent handle what was put into its mailbox behind its back."""
        server: Any = await self._runtime.awake(address)
        stored = await self.storage.load(self.key_of(address))
        for each in () if stored is None else stored.waiting:
            server.take_mail(each.signal, each.deliveries)

    def stop_sleeper(self, address: Address, reason: Any) -> None:
        """Lets an agent that sleeps end for good."""
        if address in self._sleepers:
            self.journal.soon(partial(self._stop_sleeper, address, reason))

    async def _stop_sleeper(self, address: Address, reason: Any) -> None:
        try:
            self._runtime.begin_stop(await self.wake(address), reason)
        except AgentError:  # It is gone already, or cannot be read.
            return

    def family_changed(self, address: Address) -> None:
        """An agent has another parent, or none any more: that is stored, if it is."""
        if self._runtime.find(address) is not None or address in self._sleepers:
            self.journal.soon(partial(self._record_family, address))

    async def _record_family(self, address: Address) -> None:
        key = self.key_of(address)
        record = await self.storage.find(key)
        if record is not None and record.spec is not None and record.owner in (None, self.owner):
            bond = self._runtime.families.bond_of(address)
            await self.storage.record(key, record.claim, with_bond(record.spec, bond))

    async def _start_again(self, life: HostedLife) -> None:
        """Starts a child of a supervisor of the user's own again."""
        request = _Restart(Verb.RESTART, life.slot.spec.id)
        life.host.core.ask(request)
        if not request.answered:
            await request.answer_to_come.wait()
        if request.error is not None:
            raise request.error

    async def _stored_spec(self, address: Address) -> AgentSpec[Any]:
        key = self.key_of(address)
        record = await self.storage.find(key)
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
                stored = await self.storage.load(key)
                if stored is None:
                    raise
                state = agent_of(agent, *restored_state(stored.snapshot, stored.commits))
                return spec_from_data(agent, address, record.spec, state)
        except RestoreFailed as error:
            raise _about(error, address) from error.__cause__
        except (PrunellaError, ImportError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise _about(RestoreFailed(f"how it is to be started cannot be read: {error}"), address) from error

    def _class_of(self, record: AgentRecord) -> type[Agent]:
        """The class of a stored agent: one that the runtime was given, or has run, or that is found by its name."""
        code = record.code
        agent = self._known.get(code.name) or self._runtime.class_named(code.name)
        if agent is None:
            try:
                agent = named(code.reference)
            except (ImportError, AttributeError, ValueError) as error:
                problem = f"its class {code.reference!r} is not found: see open_runtime(agents=)"
                raise RestoreFailed(problem) from error
        if not (isinstance(agent, type) and issubclass(agent, Agent)) or definition_of(agent).name != code.name:
            raise RestoreFailed(f"{code.reference!r} is no class of agents named {code.name!r}")
        return agent

    def key_of(self, address: Address) -> AgentKey:
        """What an agent is called in the storage."""
        return AgentKey(self._runtime.name, address.partition, address.id)

    # Leaving memory.

    async def hibernate(self, server: DurableServer, *, force: bool) -> None:
        """Lets an agent leave memory.

        Raises:
            EffectsRunning: effects of it run, and `force` was not asked for.
            AgentStopped: it has ended meanwhile.
        """
        while not server.is_quiet:
            if server.effects and not force:
                raise server.about(EffectsRunning(server.effects))
            if not server.is_open:
                return
            await server.until_published()
        if server.effects and not force:
            raise server.about(EffectsRunning(server.effects))
        self.leave(server)
        await self._runtime.wait_gone(server)

    def leave(self, server: DurableServer) -> None:
        """It leaves memory now: everything of it is written."""
        sleeper = Sleeper(server.spec.agent, server.spec)
        life = server.life
        assert life is not None
        if life.host is not self._runtime.supervisor_of_later:
            sleeper.life = life
        self._sleeps(server.address, sleeper)
        due = server.alarms.next_due()
        if due is not None:
            heapq.heappush(self._due, (due, next(self._numbers), server.address))
            self._set_timer()
        server.leaves()
        had_effects = bool(server.effects)
        self._runtime.begin_stop(server, HIBERNATED)
        if had_effects:
            life.cut_off()

    # Schedules of those that sleep.

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
            if address in self._sleepers:
                self.journal.soon(_Wake(self, address))
        self._set_timer()

    # What can be asked of it.

    async def retry(self, server: DurableServer) -> None:
        """Tries once more to read the state of an agent that is quarantined.

        Raises:
            RestoreFailed: it still cannot be read.
        """
        from ._durable_life import open_stored

        if server.quarantine is None or server.life is None:
            return
        try:
            await open_stored(server, is_recorded=server.life.host is self._runtime.supervisor_of_later)
        except RestoreFailed as error:
            server.quarantine = server.about(error)
            raise
        server.released()

    async def forget(self, address: Address) -> None:
        """Deletes everything of an agent."""
        self.forgets(address)
        self._runtime.families.forgets(address)
        await self.storage.forget(self.key_of(address))
        self._runtime.forget_tombstone(address)

    async def dead_letters(self, address: Address) -> tuple[DeadLetter, ...]:
        """Signals that were put aside."""
        return await self.storage.dead_letters(self.key_of(address))

    async def redrive(self, address: Address, id: str | None) -> int:
        """Puts dead letters back into the mailbox."""
        key = self.key_of(address)
        number = await self.storage.redrive(key, id, now=self._runtime.clock.wall_now())
        if number:
            await self._read_mail(address)
        return number

    async def discard(self, address: Address, id: str | None) -> int:
        """Deletes dead letters."""
        return await self.storage.discard(self.key_of(address), id)

    async def state_at(self, agent: type[Any], address: Address, until: int | datetime | None) -> Any:
        """The state of an agent after a turn, or at a time."""
        return await state_at(
            self.storage, agent, address.id, partition=address.partition, runtime=self._runtime.name, until=until
        )

    async def class_of(self, address: Address) -> type[Agent]:
        """The class of a stored agent.

        Raises:
            AgentNotFound: no such agent is stored.
        """
        record = await self.storage.find(self.key_of(address))
        if record is None:
            raise _about(AgentNotFound(address.id), address)
        return self._class_of(record)

    async def outbox(self) -> Outbox:
        """How many directives are open, and since when."""
        return await self.storage.outbox(self._runtime.name)


@final
class _Restart(Request):
    """The restart of a child that somebody waits for."""

    __slots__ = ("answer_to_come",)

    def __init__(self, verb: Verb, subject: Any) -> None:
        super().__init__(verb, subject)
        self.answer_to_come = Answer()

    def wake(self) -> bool:
        return self.answered and self.answer_to_come.give(None)


@final
@attrs.frozen
class _Wake:
    """Brings an agent back because a schedule of it is due."""

    durability: Durability
    address: Address

    async def __call__(self) -> None:
        if self.durability.can_wake(self.address):
            await self.durability.wake(self.address)


def _about(error: Any, address: Address) -> Any:
    error.address = address
    return error
