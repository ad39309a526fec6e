"""The runtime: one instance of everything around agents. Two of them in one process never meet."""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, final, overload

import attrs
import trio

from ..agents import (
    Address,
    Agent,
    Context,
    Directive,
)
from ..agents._turns import visible
from ..conversion import Map
from ..dispatch import Dispatcher
from ..errors import InvalidArgument, PrunellaError
from ..signals import Signal
from ..supervision import (
    Shutdown,
    TreeNode,
    tree,
)
from ..telemetry import Event, Listeners
from ._actions import Actions
from ._delivery import Delivery
from ._family import Families
from ._recorder import Recorder
from ._ref import AgentRef
from ._reports import Reports
from ._scheduler import Pace, Scheduler
from ._schedules import Schedules
from ._sending import check_class
from ._server import AgentServer
from ._stored_agents import StoredAgents
from ._subscriptions import Subscriptions

if TYPE_CHECKING:
    from ..supervision import SupervisorHandle
    from ..supervision._service import Service
    from ..supervision._tree import Tree
    from ._clock import RuntimeClock
    from ._signals import SignalMaker

__all__ = ["EffectContext", "Runtime"]

A = TypeVar("A", bound=Agent)


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
        super().__init__()
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
        self._pace = Pace()

    # Agents.

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
            InvalidArgument: another class is there, the id is no text, or `agent` no class of agents.
        """
        check_class("whereis()", agent)
        server = self._servers.get((partition, id)) if isinstance(id, str) else None
        if server is None:
            Address(id, partition)  # which says what is wrong with it
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

        Raises:
            InvalidArgument: the id is no text, or `agent` no class of agents.
        """
        check_class("ref()", agent)
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

        Raises:
            InvalidArgument: `agent` is no class of agents, or `partition` no text.
        """
        check_class("agents()", agent)
        _check_partition("agents()", partition)
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
        """How many agents are there.

        Raises:
            InvalidArgument: `partition` is no text.
        """
        _check_partition("count()", partition)
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
        for answers in tuple(self._waiters_asleep.values()):
            for answer in answers:
                answer.give(Shutdown())
        self.subscriptions.close()
        self.reports.close()


def _check_partition(owner: str, partition: Any) -> None:
    if partition is not ... and partition is not None and not isinstance(partition, str):
        raise InvalidArgument(owner, "partition", "a string, None, or left out", partition)


def _is_taken(server: AgentServer, signal: Signal) -> bool:
    try:
        return server.offer_nowait(Delivery(signal))
    except PrunellaError:  # of one that is durable, and cannot be reached now
        return False
