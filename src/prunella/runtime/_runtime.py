"""The runtime: one instance of everything around agents. Two of them in one process never meet."""

from __future__ import annotations

import inspect
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, final

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Address, Agent, AgentError, AgentNotFound, AgentStopped, Context, Directive
from ..agents._strictness import strict_by_environment
from ..agents._turns import visible
from ..conversion import Map
from ..dispatch import Dispatcher, open_dispatcher
from ..dispatch._wall_clock import WallClock
from ..errors import InvalidArgument
from ..signals import Signal, Trace, new_id
from ..supervision import (
    AlreadyStarted,
    Child,
    Crashed,
    DynamicSupervisor,
    ExitReason,
    InvalidSpec,
    Shutdown,
    StartFailed,
    Supervisor,
    SupervisorStopped,
    TreeNode,
    tree,
)
from ..supervision._core import Request, Verb
from ..supervision._opening import Block
from ..telemetry import ErrorInfo, Event, Listener, Listeners
from ._delivery import Answer
from ._events import (
    AgentEnded,
    AgentRestarted,
    AgentStarted,
    EffectException,
    EffectStart,
    EffectStop,
    ReplyDropped,
    SignalDropped,
    SignalPoisoned,
    TurnEvent,
)
from ._family import Families
from ._ref import AgentRef
from ._scheduler import Pace, Scheduler
from ._schedules import Schedules
from ._server import AgentServer
from ._spec import AgentSpec
from ._subscriptions import Subscriptions

if TYPE_CHECKING:
    from ..supervision import SupervisorHandle
    from ..supervision._opening import Tree
    from ..supervision._service import Service

__all__ = ["EffectContext", "Runtime", "open_runtime"]

A = TypeVar("A", bound=Agent)
logger = logging.getLogger("prunella.runtime")

_MOST_TOMBSTONES = 10_000
_MOST_EVENTS = 500
_THREADS = 40


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
class Runtime:
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
        strict: bool | None,
        recorder: int,
    ) -> None:
        self.name = name
        self.telemetry = telemetry
        self.executors = dict(executors)
        self.strict = strict
        self.scheduler = Scheduler()
        self.subscriptions = Subscriptions()
        self.schedules = Schedules(self)
        self.families = Families(self)
        self.thread_limiter = trio.CapacityLimiter(_THREADS)
        self.dispatcher: Dispatcher
        self._servers: dict[tuple[str | None, str], AgentServer] = {}
        self._tombstones: OrderedDict[tuple[str | None, str], ExitReason] = OrderedDict()
        self._classes: dict[str, type[Agent]] = {}
        self._wanted: dict[Any, tuple[tuple[str, str], ...]] = {}
        self._pace = Pace()
        self._room: dict[AgentServer, trio.Event] = {}
        self._end_waiters: dict[AgentServer, list[Answer]] = {}
        self._recorder_size = recorder
        self._recorder: deque[Event] | None = deque(maxlen=recorder) if recorder else None
        self._recorded: OrderedDict[Address, deque[Event]] = OrderedDict()
        self._tree: Tree
        self._wall: WallClock
        self._own_time = True
        self.turn_context: Any = None

    # Agents.

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
        await self.let_others_run()
        return self.start_at_once(spec)

    def start_at_once(self, spec: AgentSpec[A], *, meta: Map[str, Any] | None = None) -> AgentRef[A]:
        """Starts an agent without waiting; an agent's start never waits."""
        key = spec.partition, spec.id
        if key in self._servers:
            raise AlreadyStarted(spec.id, self.ref_to(self._servers[key]))  # type: ignore[arg-type]
        self._meta = meta
        request = Request(Verb.START, spec, None)
        try:
            self._dynamic.core.ask(request)
        finally:
            self._meta = None
        if request.error is not None:
            cause = request.error.__cause__
            if isinstance(request.error, StartFailed) and isinstance(cause, AgentError | InvalidSpec):
                raise cause
            raise request.error
        return self.ref_to(self._servers[key])

    async def stop_agent(self, agent: AgentRef[Any] | Address | str, reason: Any = None) -> None:
        """Stops an agent for good; see `AgentRef.stop`.

        Args:
            agent: its ref, its address, or its id.
            reason: the detail of its exit reason.

        Raises:
            AgentNotFound: there never was such an agent.
        """
        address = self._address(agent)
        server = self.find(address)
        if server is None:
            if self.gone(address) is None:
                raise self.absent(address)
            await trio.lowlevel.checkpoint()
            return
        self.begin_stop(server, reason)
        await self.wait_ended(address)

    def begin_stop(self, server: AgentServer, reason: Any = None) -> None:
        """Begins to stop an agent for good."""
        server.close()
        life = server.life
        slot = self._slot_of(server)
        if life is not None and reason is not None:
            life.stop_reason = Shutdown(reason)
        if slot is None:
            server.end_for_good(server.reason or Shutdown())
            return
        host, info = slot
        host.core.ask(Request(Verb.TERMINATE, info, None))

    def _slot_of(self, server: AgentServer) -> Any:
        last = server.last_life
        if last is None:
            return None
        return last.host, last.host.info(last.slot)

    def whereis(self, id: str, agent: type[A] = Agent, *, partition: str | None = None) -> AgentRef[A] | None:  # type: ignore[assignment]
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

    def ref(self, id: str, agent: type[A] = Agent, *, partition: str | None = None) -> AgentRef[A]:  # type: ignore[assignment]
        """A ref of an address, whether there is an agent or not.

        Args:
            id: its id.
            agent: its class, for type checkers.
            partition: its partition.
        """
        return AgentRef(self, Address(id, partition), agent)

    def agents(self, agent: type[A] = Agent, *, partition: Any = ...) -> tuple[AgentRef[A], ...]:  # type: ignore[assignment]
        """The refs of the agents that are there, in the order in which they were started.

        Args:
            agent: only those of this class.
            partition: only those of this partition; all, if left out.
        """
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
        return tuple(self._recorder or ())

    # For the parts of the runtime.

    def opens(self, tree: Tree) -> None:
        """Its supervision tree is being made."""
        self._tree = tree

    @property
    def _handle(self) -> SupervisorHandle:
        handle: SupervisorHandle = self._tree.root.handle
        return handle

    @property
    def _dynamic(self) -> Any:
        """The running side of the supervisor of the agents that were started later."""
        life = self._tree.root.core.find("agents").present  # type: ignore[attr-defined]
        if life is None or life.ended:
            raise SupervisorStopped("agents")
        return life.live

    def find(self, address: Address) -> AgentServer | None:
        """The server of an address."""
        return self._servers.get((address.partition, address.id))

    def gone(self, address: Address) -> ExitReason | None:
        """How the agent of an address ended, if that is still known."""
        return self._tombstones.get((address.partition, address.id))

    def absent(self, address: Address) -> AgentError:
        """The error about an agent that is not there."""
        server = self.find(address)
        reason = self.gone(address) if server is None else server.ended
        known = server is not None or reason is not None
        error: AgentError = AgentStopped(reason) if known else AgentNotFound(address.id)
        error.address = address
        return error

    def ref_to(self, server: AgentServer) -> AgentRef[Any]:
        """A ref to an agent."""
        return AgentRef(self, server.address, server.spec.agent, server)

    def server_for(self, spec: AgentSpec[Any]) -> AgentServer:
        """The server for a new life: the one that its address has, or a new one.

        Raises:
            AlreadyStarted: the address is in use.
            InvalidSpec: another class of that name runs here.
        """
        key = spec.partition, spec.id
        server = self._servers.get(key)
        if server is not None:
            if server.life is not None or server.spec != spec:
                raise AlreadyStarted(spec.id, self.ref_to(server))  # type: ignore[arg-type]
            server.spec = spec
            return server
        name = _name_of(spec)
        known = self._classes.setdefault(name, spec.agent)
        if known is not spec.agent:
            raise InvalidSpec(
                f"AgentSpec {spec.id!r}", "agent", f"the class {known!r}, which has that name", spec.agent
            )
        server = AgentServer(self, spec, Address(spec.id, spec.partition))
        self.families.born(server, self._meta)
        self._servers[key] = server
        self._tombstones.pop(key, None)
        if spec.subscribe:
            self.subscriptions.add_agent(server)
        return server

    _meta: Map[str, Any] | None = None

    def agent_began(self, server: AgentServer) -> None:
        """A life of an agent has begun."""
        assert server.life is not None
        if server.definition.schedules:
            self.schedules.arm_declared(server, server.life)
        if server.family is not None:
            self.families.started(server)
        if self._hears(server):
            event: Event
            if server.restarts:
                event = AgentRestarted(time=self.now(), agent=str(server.address), restarts=server.restarts)
            else:
                event = AgentStarted(time=self.now(), agent=str(server.address))
            self._emit(server, event)

    def forget_server(self, server: AgentServer) -> None:
        """An agent has ended for good."""
        key = server.address.partition, server.address.id
        assert server.ended is not None
        if self._servers.get(key) is server:
            del self._servers[key]
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
        if self._hears(server):
            kind = type(server.ended).__name__.lower()
            error = _error_info(server.ended)
            self._emit(server, AgentEnded(time=self.now(), agent=str(server.address), reason=kind, error=error))

    async def wait_ended(self, address: Address) -> ExitReason:
        """Waits until an agent has ended for good."""
        server = self.find(address)
        if server is None:
            reason = self.gone(address)
            if reason is None:
                raise self.absent(address)
            await trio.lowlevel.checkpoint()
            return reason
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
        """The address that a target names; None if it is no agent."""
        if isinstance(target, str):
            return Address(target, partition)
        if isinstance(target, Address):
            return target
        address = getattr(target, "address", None)
        return address if isinstance(address, Address) else None

    def _address(self, agent: AgentRef[Any] | Address | str) -> Address:
        address = self.agent_address(agent, None)
        if address is None:
            raise InvalidArgument("stop_agent()", "agent", "an AgentRef, an Address or an id", agent)
        return address

    def context_of(self, server: AgentServer, signal: Signal) -> Context:
        """What a turn's handlers may know."""
        family = server.family
        parent = None if family is None or family.bond is None else family.bond.parent
        children: Map[str, Address] = Map() if family is None else family.children
        return Context(
            server.address.id, server.address.partition, self.wall_now(), None, parent, children, visible(signal)
        )

    def effect_context(self, server: AgentServer, signal: Signal) -> EffectContext:
        """What an executor is told."""
        directive_id = f"{self.name}/{server.address.partition or '-'}/{server.address.id}/{server.sequence}"
        return EffectContext(server.address, server.address.partition, directive_id, signal, self)

    def wanted_by(self, function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
        """The parameters of a function that ask for the runtime, or for the ref of its agent."""
        try:
            known = self._wanted.get(function)
        except TypeError:
            return _wanted(function)
        if known is None:
            if len(self._wanted) >= 1_024:
                self._wanted.clear()
            known = self._wanted[function] = _wanted(function)
        return known

    # Time and signals.

    @property
    def service(self) -> Service:
        """The keeper of deadlines."""
        return self._tree.service

    def now(self) -> float:
        """Trio's time."""
        return trio.current_time()

    def wall_now(self) -> datetime:
        """The runtime's wall clock."""
        return self._wall.now(trio.current_time())

    def signal(self, type: str, data: Any) -> Signal:
        """A new signal, at the runtime's time."""
        if self._own_time:
            return Signal(type, data, time=self.wall_now())
        return Signal(type, data)

    def caused(self, type: str, data: Any, server: AgentServer, cause: Signal | None) -> Signal:
        """A signal that a turn has caused: it carries on the trace of its cause, if that has one."""
        signal = self.signal(type, data)
        return signal if cause is None else self._traced(signal, cause)

    def _traced(self, signal: Signal, cause: Signal) -> Signal:
        if "traceparent" not in cause.extensions:
            return signal
        trace = Trace.of(cause)
        return signal if trace is None else trace.child().on(signal, cause=cause)

    def emitted(self, directive: Any, server: AgentServer, cause: Signal) -> Signal:
        """The signal of an `Emit` or `Ask`."""
        if directive.signal is not None:
            return self._traced(directive.signal, cause)
        subject = getattr(directive, "subject", None)
        source = f"/agents/{server.address.id}"
        if self._own_time:
            signal = Signal(directive.type, directive.data, source=source, subject=subject, time=self.wall_now())
        else:
            signal = Signal(directive.type, directive.data, source=source, subject=subject)
        return self._traced(signal, cause)

    def scheduled(self, directive: Any, data: Any, server: AgentServer, cause: Signal | None) -> Signal:
        """The signal of a schedule or a tick: each has an id of its own."""
        return self.caused(directive.type, {} if data is None else data, server, cause)

    async def dispatch(self, signal: Signal, target: Any) -> None:
        """Sends a signal to a target that is no agent."""
        await self.dispatcher.dispatch(signal, target)

    def publish(self, signal: Signal, source: Any) -> None:
        """Publishes a signal of the runtime's own."""
        streams, agents = self.subscriptions.matching(signal)
        from ._delivery import Delivery

        for stream in streams:
            if not stream.offer(signal):
                logger.warning("a subscriber of %s is full and misses one", signal.type)
        for server in agents:
            server.put(Delivery(signal))

    # Pace.

    async def let_others_run(self) -> None:
        """Checks for cancellation; yields now and then."""
        if self._pace.due():
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.checkpoint_if_cancelled()

    async def outbox_has_room(self, server: AgentServer, *, inner: bool = False) -> None:
        """Waits until an agent's effects have caught up."""
        while server.ended is None and (server.waiting if inner else server.effects) >= server.spec.effects:
            event = self._room.setdefault(server, trio.Event())
            if inner:
                with trio.move_on_after(0.01):
                    await event.wait()
            else:
                await event.wait()

    def room_in_outbox(self, server: AgentServer) -> None:
        """An effect has ended."""
        if server in self._room and server.effects < server.spec.effects:
            self._room.pop(server).set()

    # Reports.

    def _hears(self, server: AgentServer) -> bool:
        return bool(self.telemetry) or self._recorder is not None or server.spec.debug

    def _emit(self, server: AgentServer, event: Event) -> None:
        self.telemetry.emit(event)
        if self._recorder is not None:
            self._recorder.append(event)
        if self._recorder is not None or server.spec.debug:
            events = self._recorded.get(server.address)
            if events is None:
                events = self._recorded[server.address] = deque(maxlen=_MOST_EVENTS)
                if len(self._recorded) > _MOST_TOMBSTONES:
                    self._recorded.popitem(last=False)
            events.append(event)

    def recorded(self, address: Address) -> tuple[Event, ...]:
        """The last events of an agent."""
        return tuple(self._recorded.get(address, ()))

    def turn_begins(self) -> float:
        """When a turn begins, if anybody wants to know."""
        return time.perf_counter() if self.telemetry else 0.0

    def turn_ended(
        self, server: AgentServer, signal: Signal, began: float, outcome: str, error: BaseException | None = None
    ) -> None:
        """A turn has ended."""
        if self._hears(server):
            duration = time.perf_counter() - began if began else 0.0
            info = None if error is None else ErrorInfo(type(error).__name__, str(error)[:200])
            trace = Trace.of(signal) if "traceparent" in signal.extensions else None
            self._emit(
                server,
                TurnEvent(
                    time=self.now(),
                    agent=str(server.address),
                    span_id=signal.id if trace is None else trace.span_id,
                    parent_span_id=None if trace is None else trace.parent_span_id,
                    signal_type=signal.type,
                    signal_id=signal.id,
                    outcome=outcome,
                    duration=duration,
                    mailbox=server.waiting,
                    error=info,
                ),
            )

    def effect_begins(self, server: AgentServer, directive: Directive, signal: Signal) -> Any:
        """A directive begins."""
        if not self._hears(server):
            return None
        name, span = type(directive).__name__, new_id()
        self._emit(
            server,
            EffectStart(
                time=self.now(),
                agent=str(server.address),
                span_id=span,
                parent_span_id=signal.id,
                directive=name,
                signal_type=signal.type,
            ),
        )
        return name, span, signal.id, time.perf_counter()

    def effect_ended(self, server: AgentServer, span: Any, error: BaseException | None) -> None:
        """It has ended."""
        if span is None:
            return
        name, span_id, parent, began = span
        common: dict[str, Any] = {
            "time": self.now(),
            "agent": str(server.address),
            "span_id": span_id,
            "parent_span_id": parent,
            "directive": name,
            "duration": time.perf_counter() - began,
        }
        if error is None:
            self._emit(server, EffectStop(**common))
        else:
            info = ErrorInfo(type(error).__name__, str(error)[:200])
            self._emit(server, EffectException(**common, error=info))

    def effect_was_instant(self, server: AgentServer, directive: Directive, signal: Signal) -> None:
        """A directive that did not have to wait for anything."""
        if self._hears(server):
            self.effect_ended(server, self.effect_begins(server, directive, signal), None)

    def report_poison(self, server: AgentServer, signal: Signal, reason: Crashed) -> None:
        """A signal has crashed its agent; its data is not shown."""
        logger.error(
            "agent %s crashed on signal %s (%s): %s", server.address, signal.type, signal.id, reason.error.summary
        )
        if self._hears(server):
            self._emit(
                server,
                SignalPoisoned(
                    time=self.now(),
                    agent=str(server.address),
                    signal_type=signal.type,
                    signal_id=signal.id,
                    error=_error_info(reason),
                ),
            )

    def report_error(self, server: AgentServer, error: Exception, signal: Signal | None) -> None:
        """A refusal or a failed directive that nobody catches."""
        about = "" if signal is None else f" on signal {signal.type}"
        logger.warning("agent %s%s: %s: %s", server.address, about, type(error).__name__, error)

    def report_policy_failure(self, server: AgentServer) -> None:
        """An error policy has failed; it is ignored."""
        logger.exception("the error policy of agent %s failed", server.address)

    def report_dropped(self, server: AgentServer, signal: Signal) -> None:
        """A signal that will not be handled."""
        if self._hears(server):
            self._emit(
                server,
                SignalDropped(time=self.now(), agent=str(server.address), signal_type=signal.type, signal_id=signal.id),
            )

    def report_dropped_reply(self, server: AgentServer, signal: Signal) -> None:
        """A reply that nobody waits for."""
        if self._hears(server):
            self._emit(server, ReplyDropped(time=self.now(), agent=str(server.address), signal_type=signal.type))


class _OpenRuntime:
    """What `open_runtime` gives."""

    __slots__ = ("_abandon_after", "_block", "_dispatcher", "_epoch", "_runtime", "_spec", "_telemetry")

    def __init__(self, runtime: Runtime, spec: Supervisor, epoch: datetime | None, abandon_after: float | None) -> None:
        self._runtime = runtime
        self._spec = spec
        self._epoch = epoch
        self._abandon_after = abandon_after

    @enable_ki_protection
    async def __aenter__(self) -> Runtime:
        runtime = self._runtime
        opened = trio.current_time()
        own_clock = type(trio.lowlevel.current_clock()).__module__.startswith("trio._core")
        real = own_clock and not type(trio.lowlevel.current_clock()).__name__.startswith("Mock")
        runtime._wall = WallClock(self._epoch, opened, follow=real)
        runtime._own_time = not real or self._epoch is not None
        runtime.turn_context = _copied_context()
        self._dispatcher = open_dispatcher(epoch=self._epoch)
        runtime.dispatcher = await self._dispatcher.__aenter__()
        self._block = Block(self._spec, (), self._abandon_after, owner=runtime, listeners=runtime.telemetry)
        try:
            await self._block.__aenter__()
        except BaseException as error:
            await self._dispatcher.__aexit__(type(error), error, error.__traceback__)
            raise
        return runtime

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        swallowed = False
        try:
            swallowed = bool(await self._block.__aexit__(kind, error, traceback))
        finally:
            for server in list(self._runtime._servers.values()):
                server.end_for_good(server.reason or Shutdown())
            await self._dispatcher.__aexit__(None, None, None)
        return swallowed


def open_runtime(
    tree: Any = None,
    *,
    name: str = "default",
    storage: Any = None,
    telemetry: Iterable[Listener] = (),
    executors: Mapping[type[Directive], Callable[..., Awaitable[Signal | None]]] = Map(),
    strict: bool | None = None,
    epoch: datetime | None = None,
    max_restarts: int = 3,
    max_seconds: float = 5.0,
    agents: Iterable[type[Agent]] = (),
    claim: str = "take",
    handle_os_signals: bool = False,
    abandon_after: float | None = None,
    recorder: int = 0,
) -> AbstractAsyncContextManager[Runtime]:
    """Opens a runtime for the length of a block::

        async with open_runtime(AgentSpec(Support, "support")) as runtime:
            await runtime.ref("support", Support).cast("ticket.opened", ticket="T-1")

    The block begins when every agent of the tree has started. When it is left, agents that were started later are
    stopped first, then those of the tree, in reverse order. If the root gives up, the block is cancelled. What the
    block raises is raised as it is.

    Args:
        tree: a supervisor, an agent's spec or any other child: what is to run from the beginning.
        name: the first part of every address.
        storage: where durable agents are kept.
        telemetry: listeners of everything that the runtime and its supervisors report.
        executors: for directives of your own: ``async (directive, EffectContext) -> Signal | None``.
        strict: whether handlers are run twice to find impure ones; by default the environment says.
        epoch: what time it is when the runtime is opened; by default the system's time.
        max_restarts: restarts allowed at the root within `max_seconds`.
        max_seconds: the window, in seconds.
        agents: classes of agents that a storage may bring back.
        claim: ``take`` or ``refuse``: what is done about another owner of durable agents.
        handle_os_signals: whether SIGTERM stops the runtime in order.
        abandon_after: seconds after which the process is ended if tasks do not end; see `open_supervisor`.
        recorder: how many events are kept for `Runtime.recent_events`.

    Returns:
        An asynchronous context manager that gives the runtime.

    Raises:
        InvalidArgument, InvalidSpec: an argument is wrong.
        StartFailed: an agent or child failed to start.
        SupervisorFailed: the root gave up.
    """
    if not isinstance(name, str) or not name:
        raise InvalidArgument("open_runtime()", "name", "a non-empty string", name)
    if storage is not None:
        raise InvalidArgument("open_runtime()", "storage", "None: storages come with durable agents", storage)
    if not isinstance(recorder, int) or isinstance(recorder, bool) or recorder < 0:
        raise InvalidArgument("open_runtime()", "recorder", "a whole number of at least 0", recorder)
    for directive, executor in executors.items():
        if not (isinstance(directive, type) and issubclass(directive, Directive)):
            raise InvalidArgument("open_runtime()", "executors", "classes of directives", directive)
        if not callable(executor):
            raise InvalidArgument("open_runtime()", "executors", "async functions", executor)
    runtime = Runtime(
        name=name,
        telemetry=Listeners(telemetry),
        executors=executors,
        strict=strict_by_environment() if strict is None else strict,
        recorder=recorder,
    )
    system = Supervisor(
        [
            Child(runtime.scheduler.run, id="scheduler"),
            *([Child(partial(_stop_on_sigterm, runtime), id="signals")] if handle_os_signals else []),
        ],
        id="prunella",
        max_restarts=1_000,
        max_seconds=1.0,
    )
    dynamic = DynamicSupervisor(id="agents", budget="per_child")
    children = [system, *([] if tree is None else [tree]), dynamic]
    spec = Supervisor(children, id=name, max_restarts=max_restarts, max_seconds=max_seconds)
    return _OpenRuntime(runtime, spec, epoch, abandon_after)


async def _stop_on_sigterm(runtime: Runtime) -> None:
    import signal

    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            runtime._tree.root.core.stop(Shutdown("SIGTERM"))


def _copied_context() -> Any:
    import contextvars

    return contextvars.copy_context()


def _name_of(spec: AgentSpec[Any]) -> str:
    from ..agents._turns import definition_of

    return definition_of(spec.agent).name


def _error_info(reason: ExitReason) -> ErrorInfo | None:
    return ErrorInfo(reason.type.__name__, reason.message) if isinstance(reason, Crashed) else None


def _wanted(function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return ()
    wanted = []
    for name, parameter in parameters.items():
        annotation = parameter.annotation
        origin = getattr(annotation, "__origin__", annotation)
        if origin is Runtime or annotation == "Runtime":
            wanted.append((name, "Runtime"))
        elif origin is AgentRef or (isinstance(annotation, str) and annotation.startswith("AgentRef")):
            wanted.append((name, "AgentRef"))
    return tuple(wanted)
