"""The runtime: one instance of everything around agents. Two of them in one process never meet."""

from __future__ import annotations

import contextvars
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, final, overload

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ..agents import (
    Address,
    Agent,
    AgentError,
    AgentNotFound,
    AgentStopped,
    Context,
    Directive,
    Fenced,
    RestoreFailed,
)
from ..agents._turns import definition_of, visible
from ..conversion import Map
from ..dispatch import Dispatcher
from ..errors import InvalidArgument, PrunellaError
from ..signals import Signal, new_id
from ..supervision import (
    AlreadyStarted,
    ExitReason,
    InvalidSpec,
    Shutdown,
    SupervisorStopped,
    TreeNode,
    tree,
)
from ..supervision._core import Request, Verb
from ..supervision._info import picture
from ..telemetry import Event, Listeners
from ._actions import Actions
from ._delivery import Answer, Delivery
from ._errors import error_of_start
from ._family import Families
from ._recorder import Recorder
from ._ref import AgentRef
from ._reports import Reports
from ._scheduler import Pace, Scheduler
from ._schedules import Schedules
from ._server import AgentServer
from ._spec import AgentSpec, check_durability
from ._stored_agents import StoredAgents
from ._subscriptions import Subscriptions

if TYPE_CHECKING:
    from ..supervision import SupervisorHandle
    from ..supervision._live import LiveSupervisor
    from ..supervision._service import Service
    from ..supervision._tree import Tree
    from ._clock import RuntimeClock
    from ._durability import Durability
    from ._durable_server import DurableServer
    from ._keyed import Keyed
    from ._signals import SignalMaker

__all__ = ["EffectContext", "Runtime"]

A = TypeVar("A", bound=Agent)

STARTED_LATER = "prunella.agents"
"""The id of the supervisor of the agents that are started later."""

_MOST_TOMBSTONES = 10_000
_SECONDS_TO_WITHDRAW = 10.0


@final
@attrs.frozen
class EffectContext:
    """What an executor of directives is told.

    Attributes:
        agent: the address of the agent.
        partition: its partition.
        directive_id: unique for this directive, for idempotence.
        signal: the signal of the turn that made it.
        runtime: the runtime.
    """

    agent: Address
    partition: str | None
    directive_id: str
    signal: Signal
    runtime: Runtime


@final
class Runtime(StoredAgents):
    """Agents, and everything around them; `open_runtime` makes one.

    Attributes:
        name: the first part of every address.
        telemetry: its listeners; ``telemetry.subscribe(listener)`` adds one for a block.
    """

    def __init__(
        self,
        *,
        name: str,
        telemetry: Listeners,
        executors: Mapping[type[Directive], Callable[..., Awaitable[Signal | None]]],
        strict: bool,
        recorder: Recorder,
        recorder_listens: bool,
    ) -> None:
        self.name = name
        self.telemetry = telemetry
        self.executors = dict(executors)
        self.strict = strict
        self.recorder = recorder
        self.reports = Reports(telemetry, recorder, listens=recorder_listens)
        self.scheduler = Scheduler()
        self.subscriptions = Subscriptions()
        self.schedules = Schedules(self)
        self.families = Families(self)
        self.actions = Actions(self)
        self.clock: RuntimeClock
        self.signals: SignalMaker
        self.dispatcher: Dispatcher
        self.turn_context: contextvars.Context
        self._tree: Tree
        self._servers: dict[tuple[str | None, str], AgentServer] = {}
        self._tombstones: OrderedDict[tuple[str | None, str], ExitReason] = OrderedDict()
        self._classes: dict[str, type[Agent]] = {}
        self._pace = Pace()
        self._room: dict[AgentServer, trio.Event] = {}
        self._end_waiters: dict[AgentServer, list[Answer]] = {}
        self.durability: Durability | None = None
        self.keys: dict[str, Keyed[Any]] = {}

    # Agents.

    @enable_ki_protection
    async def start_agent(self, agent: type[A], id: str | None = None, **options: Any) -> AgentRef[A]:
        """Starts an agent under the runtime's own supervisor, with a restart budget of its own.

        Args:
            agent: its class.
            id: its id; by default a new UUIDv7.
            **options: as of `AgentSpec`.

        Returns:
            Its ref.

        Raises:
            AlreadyStarted: the id is in use; `child` is the ref of the agent that has it.
            InvalidSpec: an option is wrong.
            StartFailed: it could not be started.
        """
        spec = AgentSpec(agent, new_id() if id is None else id, **options)
        await self.pause()
        if spec.durability is None:
            return self.start_at_once(spec)
        return await self._start_durable(spec)

    async def _start_durable(self, spec: AgentSpec[A]) -> AgentRef[A]:
        await self.start_spec(spec)
        server: Any = self.find(spec.address)
        if server is None:  # It has started, has handled what waited, and has ended of it.
            return self.ref(spec.id, spec.agent, partition=spec.partition)
        if server.quarantine is not None:
            assert self.durability is not None
            error = server.quarantine
            self.durability.sleepers.leave(server)  # What is stored stays as it is.
            await self.wait_gone(server)
            raise error
        return self.ref_to(server)

    @enable_ki_protection
    async def start_spec(self, spec: AgentSpec[Any]) -> None:
        """Starts an agent, and returns when it has started.

        If the caller is cancelled meanwhile, nothing is left of it.

        Raises:
            AlreadyStarted, InvalidSpec, StartFailed: as of `start_agent`.
            AgentError, StorageError: it could not be restored.
        """
        answer = Answer()

        def ended(error: Exception | None) -> None:
            if error is None:
                answer.give(None)
            else:
                answer.fail(error)

        request = self.begin_start(spec, ended)
        try:
            await answer.wait()
        except trio.Cancelled:
            if request is not None and not request.answered:
                await self._withdraw(request)
            raise

    async def _withdraw(self, request: _StartRequest) -> None:
        """Cuts off a start, and waits until nothing is left of it."""
        gone = trio.Event()
        request.ended = lambda error: gone.set()
        if not self._started_later.core.withdraw(request):
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _SECONDS_TO_WITHDRAW):
                await gone.wait()

    def start_at_once(self, spec: AgentSpec[A]) -> AgentRef[A]:
        """Starts an agent without waiting; an agent's start never waits."""
        server = self._servers.get((spec.partition, spec.id))
        if server is not None:
            raise AlreadyStarted(spec.id, self.ref_to(server))  # type: ignore[arg-type]  # here a ref
        request = Request(Verb.START, spec)
        self._started_later.core.ask(request)
        error = error_of_start(request.error)
        if error is not None:
            raise error
        assert request.slot is not None
        assert request.slot.life is not None
        ref: AgentRef[A] = request.slot.life.value
        return ref

    def begin_start(self, spec: AgentSpec[Any], ended: Callable[[Exception | None], object]) -> _StartRequest | None:
        """Begins to start an agent.

        Args:
            spec: what it is.
            ended: called when it has started, or with the error. That is at once, unless its supervisor is in the
                middle of a decision, or the agent is durable: then it is later.

        Returns:
            What was asked of the supervisor, if it was.
        """
        server = self._servers.get((spec.partition, spec.id))
        if server is not None:
            ended(AlreadyStarted(spec.id, self.ref_to(server)))  # type: ignore[arg-type]  # here a ref
            return None
        request = _StartRequest(spec)
        try:
            self._started_later.core.ask(request)
        except SupervisorStopped as error:
            ended(error)
            return None
        if request.answered:
            ended(error_of_start(request.error))
        else:
            request.ended = ended
        return request

    @enable_ki_protection
    async def stop_agent(self, agent: AgentRef[Any] | Address | str, reason: Any = None) -> None:
        """Stops an agent for good; see `AgentRef.stop`.

        Args:
            agent: its ref, its address, or its id.
            reason: the detail of its exit reason.

        Raises:
            AgentNotFound: there never was such an agent.
            InvalidArgument: it is an agent of another runtime, or none.
        """
        address = self.address_here(agent, None)
        server = self.find(address)
        if self.sleeps(address):
            server = await self.awake(address)  # so that it ends as others do, and its family hears of it
        if server is None:
            if self.gone(address) is None:
                raise self.absent(address)
            await trio.lowlevel.checkpoint()
            return
        self.begin_stop(server, reason)
        await self.wait_ended(address)

    def begin_stop(self, server: AgentServer, reason: Any = None) -> None:
        """Begins to stop an agent for good."""
        why = Shutdown(reason)
        server.close(why)
        last = server.last_life
        if server.life is None:
            # It is between two lives: nothing of it runs that could take its time.
            server.end_for_good(why)
        elif reason is not None:
            server.life.stop_reason = why
        if last is not None:
            last.host.core.ask(Request(Verb.TERMINATE, picture(last.slot)))

    @overload
    def whereis(self, id: str, *, partition: str | None = None) -> AgentRef[Agent] | None: ...
    @overload
    def whereis(self, id: str, agent: type[A], *, partition: str | None = None) -> AgentRef[A] | None: ...
    def whereis(self, id: str, agent: type[Any] = Agent, *, partition: str | None = None) -> AgentRef[Any] | None:
        """The ref of an agent that is there, or None.

        Args:
            id: its id.
            agent: the class that it is to be of.
            partition: its partition.

        Raises:
            InvalidArgument: another class is there.
        """
        server = self._servers.get((partition, id))
        if server is None:
            return None
        if not issubclass(server.spec.agent, agent):
            raise InvalidArgument("whereis()", "agent", f"{server.spec.agent.__name__} or a base of it", agent)
        return self.ref_to(server)

    @overload
    def ref(self, id: str, *, partition: str | None = None) -> AgentRef[Agent]: ...
    @overload
    def ref(self, id: str, agent: type[A], *, partition: str | None = None) -> AgentRef[A]: ...
    def ref(self, id: str, agent: type[Any] = Agent, *, partition: str | None = None) -> AgentRef[Any]:
        """A ref of an address, whether there is an agent or not.

        Args:
            id: its id.
            agent: its class, for type checkers.
            partition: its partition.
        """
        return AgentRef(self, Address(id, partition), agent)

    @overload
    def agents(self, *, partition: Any = ..., hibernated: bool = False) -> tuple[AgentRef[Agent], ...]: ...
    @overload
    def agents(self, agent: type[A], *, partition: Any = ..., hibernated: bool = False) -> tuple[AgentRef[A], ...]: ...
    def agents(
        self, agent: type[Any] = Agent, *, partition: Any = ..., hibernated: bool = False
    ) -> tuple[AgentRef[Any], ...]:
        """The refs of the agents that are there, in the order in which they were started.

        Args:
            agent: only those of this class.
            partition: only those of this partition; all, if left out.
            hibernated: whether those are given that are stored, and not in memory. Of one that has not been in
                memory since the runtime was opened the class is not known; it counts as an `Agent`.
        """
        if hibernated:
            return (
                ()
                if self.durability is None
                else tuple(
                    AgentRef(self, address, its_class)
                    for address, its_class in self.durability.sleepers.classes()
                    if issubclass(its_class, agent) and (partition is ... or address.partition == partition)
                )
            )
        return tuple(
            self.ref_to(server)
            for server in self._servers.values()
            if issubclass(server.spec.agent, agent) and (partition is ... or server.address.partition == partition)
        )

    def count(self, *, partition: Any = ...) -> int:
        """How many agents are there."""
        if partition is ...:
            return len(self._servers)
        return sum(server.address.partition == partition for server in self._servers.values())

    def subscribe(
        self, pattern: str, *, buffer: int = 100
    ) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Signal]]:
        """A stream of the signals that agents publish, for the length of a block.

        Args:
            pattern: which types.
            buffer: how many may wait; whoever publishes waits for more room.

        Raises:
            InvalidPattern: the pattern is none.
            InvalidArgument: `buffer` is no whole number of at least 0.
        """
        return self.subscriptions.open(pattern, buffer)

    def tree(self) -> TreeNode:
        """A picture of the supervision tree, the runtime's own parts included."""
        return tree(self._handle)

    @property
    def supervisor(self) -> SupervisorHandle:
        """The handle of the runtime's root supervisor."""
        return self._handle

    def recent_events(self) -> tuple[Event, ...]:
        """The last events of all agents, oldest first; needs ``open_runtime(recorder=n)``."""
        return self.recorder.events()

    # For the parts of the runtime.

    def opens(self, tree: Tree) -> None:
        """Its supervision tree is being made."""
        self._tree = tree
        self.reports.begins(lambda chore: tree.service.soon(chore))

    @property
    def _handle(self) -> SupervisorHandle:
        handle: SupervisorHandle = self._tree.root.handle
        return handle

    @property
    def supervisor_of_later(self) -> LiveSupervisor | None:
        """The running side of the supervisor of the agents that are started later; None if there is none now."""
        try:
            return self._started_later
        except SupervisorStopped:
            return None

    @property
    def is_closing(self) -> bool:
        """Whether all of it is being stopped."""
        return self._tree.root.core.stopping

    @property
    def _started_later(self) -> LiveSupervisor:
        """The running side of the supervisor of the agents that are started later."""
        life = self._tree.root.core.find(STARTED_LATER).present  # type: ignore[attr-defined]  # an ordered core
        if life is None or life.ended:
            raise SupervisorStopped(STARTED_LATER)
        live: LiveSupervisor = life.live
        return live

    def find(self, address: Address) -> AgentServer | None:
        """The server of an address."""
        return self._servers.get((address.partition, address.id))

    def durable_servers(self) -> tuple[DurableServer, ...]:
        """The servers of agents that are durable."""
        durable = (server for server in self._servers.values() if server.is_durable)
        return tuple(durable)  # type: ignore[arg-type]  # that is what `is_durable` says

    def gone(self, address: Address) -> ExitReason | None:
        """How the agent of an address ended, if that is still known."""
        return self._tombstones.get((address.partition, address.id))

    # Agents that come back when they are asked for.

    def can_wake(self, address: Address) -> bool:
        """Whether an agent that is not in memory comes back when it is asked for."""
        return self.sleeps(address) or (bool(self.keys) and self._keyed(address) is not None)

    def sleeps(self, address: Address) -> bool:
        """Whether an agent is stored that is not in memory."""
        return self.durability is not None and address in self.durability.sleepers

    def quarantine_of(self, address: Address) -> RestoreFailed | None:
        """Why an agent that is not in memory cannot come back, if that is known."""
        return None if self.durability is None else self.durability.sleepers.quarantine_of(address)

    def _keyed(self, address: Address) -> Keyed[Any] | None:
        name, slash, key = address.id.partition("/")
        return self.keys.get(name) if slash and key else None

    async def awake(self, address: Address) -> AgentServer:
        """The server of an agent, which comes back if it can.

        Raises:
            AgentNotFound, AgentStopped: there is none.
            AgentError, StorageError: it could not be brought back.
        """
        while True:
            server = self.find(address)
            if server is not None and server.is_open:
                return server
            if self.sleeps(address):
                assert self.durability is not None
                return await self.durability.sleepers.wake(address)
            keyed = self._keyed(address) if self.keys else None
            if keyed is None:
                absent = self.absent(address) if server is None else server.stopped_error()
                if not (isinstance(absent, AgentNotFound) and await self._was_started_elsewhere(address)):
                    raise absent
            elif server is not None:
                if not server.is_leaving:
                    raise server.stopped_error()
                await self.wait_gone(server)
            else:
                await keyed.wake(address)

    async def _was_started_elsewhere(self, address: Address) -> bool:
        return self.durability is not None and await self.durability.sleepers.look_for(address)

    async def accept_awake(self, address: Address, delivery: Delivery) -> None:
        """Puts a signal into the mailbox of an agent, which comes back for it."""
        while True:
            server = await self.awake(address)
            try:
                await server.accept(delivery)
            except AgentStopped:
                if not server.is_leaving:
                    raise
            else:
                return

    def class_named(self, name: str) -> type[Agent] | None:
        """The class of that name which runs here, if one does."""
        return self._classes.get(name)

    def unborn(self, server: AgentServer) -> None:
        """An agent could not be started: there is none."""
        server.is_leaving = True
        server.end_for_good(Shutdown())

    def forget_tombstone(self, address: Address) -> None:
        """There never was such an agent."""
        self._tombstones.pop((address.partition, address.id), None)

    def absent(self, address: Address) -> AgentError:
        """The error about an agent that is not there."""
        server = self.find(address)
        if server is not None:
            return server.stopped_error()
        reason = self.gone(address)
        if isinstance(reason, Shutdown) and isinstance(reason.detail, Fenced):
            return reason.detail
        error: AgentError = AgentNotFound(address.id) if reason is None else AgentStopped(reason)
        error.address = address
        return error

    def ref_to(self, server: AgentServer) -> AgentRef[Any]:
        """A ref to an agent."""
        return AgentRef(self, server.address, server.spec.agent, server)

    def server_for(self, spec: AgentSpec[Any]) -> AgentServer:
        """The server for a new life: the one that its address has, or a new one.

        Raises:
            AlreadyStarted: the address is in use.
            InvalidSpec: another class of that name runs here, or the agent is durable and there is no storage.
        """
        key = spec.partition, spec.id
        server = self._servers.get(key)
        if server is not None:
            if server.life is not None or server.spec != spec:
                raise AlreadyStarted(spec.id, self.ref_to(server))  # type: ignore[arg-type]  # here a ref
            server.spec = spec
            return server
        if spec.durability is not None and self.durability is None:
            check_durability(spec)
        name = definition_of(spec.agent).name
        known = self._classes.setdefault(name, spec.agent)
        if known is not spec.agent:
            raise InvalidSpec(
                f"AgentSpec {spec.id!r}", "agent", f"the class {known!r}, which has that name", spec.agent
            )
        address = Address(spec.id, spec.partition)
        if spec.durability is None:
            server = AgentServer(self, spec, address)
        else:
            from ._durable_server import DurableServer

            server = DurableServer(self, spec, address)
        self.families.born(server)
        self._servers[key] = server
        self._tombstones.pop(key, None)
        if spec.subscribe:
            self.subscriptions.add_agent(server)
        return server

    def agent_began(self, server: AgentServer) -> None:
        """A life of an agent has begun."""
        assert server.life is not None
        if server.definition.schedules and not server.is_durable:
            self.schedules.arm_declared(server, server.life)
        if server.family is not None:
            self.families.started(server)
        if self.keys and (keyed := self._keyed(server.address)) is not None:
            keyed.watch(server)
        if self.durability is not None and server.is_durable:
            self.durability.sleepers.remove(server.address)  # whoever has started it
        self.reports.life_began(server)

    def forget_server(self, server: AgentServer) -> None:
        """An agent has ended for good."""
        key = server.address.partition, server.address.id
        assert server.ended is not None
        if self._servers.get(key) is server:
            del self._servers[key]
            if not server.is_leaving:
                self._tombstones[key] = server.ended
                if len(self._tombstones) > _MOST_TOMBSTONES:
                    self._tombstones.popitem(last=False)
        if server.spec.subscribe:
            self.subscriptions.remove_agent(server)
        for answer in self._end_waiters.pop(server, ()):
            answer.give(server.ended)
        room = self._room.pop(server, None)
        if room is not None:
            room.set()
        self.families.ended(server, server.ended)
        self.reports.ended(server, server.ended)

    @enable_ki_protection
    async def wait_ended(self, address: Address) -> ExitReason:
        """Waits until an agent has ended for good."""
        server = self.find(address)
        if server is None:
            reason = self.gone(address)
            if reason is None:
                raise self.absent(address)
            await trio.lowlevel.checkpoint()
            return reason
        return await self.wait_gone(server)

    @enable_ki_protection
    async def wait_gone(self, server: AgentServer) -> ExitReason:
        """Waits until the running side of an agent has ended; it may come back."""
        if server.ended is not None:
            await trio.lowlevel.checkpoint()
            return server.ended
        answer = Answer()
        self._end_waiters.setdefault(server, []).append(answer)
        try:
            ended: ExitReason = await answer.wait()
        finally:
            waiters = self._end_waiters.get(server)
            if waiters is not None and answer in waiters:
                waiters.remove(answer)
                if not waiters:
                    del self._end_waiters[server]
        return ended

    def agent_address(self, target: Any, partition: str | None) -> Address | None:
        """The address that a target names; None if it is no agent, or one of another runtime."""
        if isinstance(target, str):
            return Address(target, partition)
        if isinstance(target, Address):
            return target
        if isinstance(target, AgentRef) and target._runtime is not self:
            return None
        address = getattr(target, "address", None)
        return address if isinstance(address, Address) else None

    def address_here(self, target: Any, partition: str | None) -> Address:
        """The address of an agent of this runtime that a target names.

        Raises:
            InvalidArgument: it is the ref of an agent of another runtime, or no agent.
        """
        address = self.agent_address(target, partition)
        if address is None:
            raise InvalidArgument(f"runtime {self.name!r}", "agent", "an agent of this runtime, or its id", target)
        return address

    def context_of(self, server: AgentServer, signal: Signal) -> Context:
        """What a turn's handlers may know."""
        family = server.family
        parent = None if family is None or family.bond is None else family.bond.parent
        children: Map[str, Address] = Map() if family is None else family.children
        return Context(
            server.address.id, server.address.partition, self.clock.wall_now(), None, parent, children, visible(signal)
        )

    def effect_context(self, server: AgentServer, signal: Signal, directive_id: str) -> EffectContext:
        """What an executor is told.

        Args:
            server: the agent.
            signal: of its last turn.
            directive_id: what the directive is called in every life.
        """
        address = server.address
        return EffectContext(address, address.partition, directive_id, signal, self)

    @property
    def service(self) -> Service:
        """The keeper of deadlines."""
        return self._tree.service

    # Signals to others.

    async def dispatch(self, signal: Signal, target: Any) -> None:
        """Sends a signal to a target that is no agent of this runtime."""
        if isinstance(target, AgentRef):
            await target.cast(signal)
        else:
            await self.dispatcher.dispatch(signal, target)

    def publish(self, signal: Signal) -> None:
        """Publishes a signal of the runtime's own."""
        streams, agents, asleep = self.subscriptions.matching(signal)
        for stream in streams:
            if not stream.offer(signal):
                self.reports.subscriber_full(signal)
        if self.durability is not None:
            for address in asleep:
                self.durability.journal.soon(partial(self.accept_awake, address, Delivery(signal)))
        for server in agents:
            if not (server.is_open and _is_taken(server, signal)):
                self.reports.dropped(server, signal)

    # Pace.

    def pause(self) -> Awaitable[None]:
        """To be awaited: checks for cancellation, and lets others run now and then."""
        stop = trio.lowlevel.checkpoint if self._pace.due() else trio.lowlevel.checkpoint_if_cancelled
        return stop()

    async def outbox_has_room(self, server: AgentServer) -> None:
        """Waits until an agent's effects have caught up, or it takes no more signals."""
        while server.is_open and server.effects >= server.spec.effects:
            await self._room.setdefault(server, trio.Event()).wait()

    def room_in_outbox(self, server: AgentServer) -> None:
        """An effect has ended, or the agent is about to."""
        if server in self._room and (server.effects < server.spec.effects or not server.is_open):
            self._room.pop(server).set()

    # Its end.

    def stop(self, reason: Shutdown) -> None:
        """Begins to stop all of it in order, and leaves the block in which it was opened."""
        self._tree.root.core.stop(reason)

    def close(self) -> None:
        """Its supervision tree has ended: nobody will answer any more."""
        for server in tuple(self._servers.values()):
            server.end_for_good(server.reason or Shutdown())
        self.subscriptions.close()
        self.reports.close()


class _StartRequest(Request):
    """The start of an agent, for somebody who does not wait in a task."""

    __slots__ = ("ended",)

    def __init__(self, spec: AgentSpec[Any]) -> None:
        super().__init__(Verb.START, spec)
        self.ended: Callable[[Exception | None], object] | None = None

    def wake(self) -> bool:
        if self.answered and self.ended is not None:
            self.ended(error_of_start(self.error))
        return False


def _is_taken(server: AgentServer, signal: Signal) -> bool:
    try:
        return server.offer_nowait(Delivery(signal))
    except PrunellaError:  # of one that is durable, and cannot be reached now
        return False
