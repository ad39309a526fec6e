"""The stable address of an agent, and everything that can be asked of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, final

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Address, Agent, AgentNotFound, AgentStopped, MailboxFull, RestoreFailed
from ..agents._turns import definition_of
from ..dispatch import DispatchError, Reason
from ..signals import Signal
from ..supervision import ExitReason
from ._delivery import Answer, Delivery, OpenAsk
from ._errors import Hibernated
from ._schedules import ScheduleInfo
from ._sending import check_predicate, signal_to_send
from ._server import AgentServer, Waiter

if TYPE_CHECKING:
    from ..agents import Turn
    from ..telemetry import Event
    from ._runtime import Runtime

__all__ = ["AgentRef", "AgentStatus"]

A = TypeVar("A", bound=Agent)


@final
@attrs.frozen
class AgentStatus:
    """Where an agent stands.

    Attributes:
        state: ``starting``, ``running``, ``suspended``, ``restarting``, ``hibernated``, ``quarantined`` or
            ``stopped``.
        mailbox: how many signals wait.
        effects: how many of its effects wait or run.
        restarts: how often it was restarted.
        reason: how its last life ended, or why its state cannot be read; None if neither is so.
    """

    state: str
    mailbox: int
    effects: int
    restarts: int
    reason: ExitReason | RestoreFailed | None


@final
class AgentRef(Generic[A]):
    """The address of an agent in a runtime. It stays valid when the agent is restarted.

    Refs are equal if their addresses are. A ref is also a target of `prunella.dispatch`: what goes there is cast.
    Keywords of `cast`, `call` and `ask` are the signal's data, all of them; deadlines are the caller's own cancel
    scopes, as everywhere in Trio. These verbs check for cancellation before the signal is accepted and never after;
    they let other tasks run at least every 64th time, not every time: a turn of an idle agent is taken in the caller's
    own task.

    Of a durable agent, `cast` returns when the signal is stored, `call` and `ask` when the turn is. A signal with an id
    that it has handled is not handled again: `call` gives the present state, `ask` the recorded reply, else it raises
    `Duplicate`. One that sleeps is woken. Besides what is named below, these verbs raise `StorageUnavailable` and
    `CommitFailed` if it could not be written, `Fenced` when another process has the agent, and `RestoreFailed` when
    what is stored of it cannot be read.
    """

    _dispatch_kind: ClassVar[str] = "agent"

    __slots__ = ("__weakref__", "_agent", "_cached", "_runtime", "address")

    def __init__(self, runtime: Runtime, address: Address, agent: type[A], server: AgentServer | None = None) -> None:
        self._runtime = runtime
        self._agent = agent
        self._cached = server
        self.address = address

    @property
    def id(self) -> str:
        """The agent's id."""
        return self.address.id

    @property
    def partition(self) -> str | None:
        """The partition in which the id is unique."""
        return self.address.partition

    def __repr__(self) -> str:
        return f"<AgentRef {str(self.address)!r} of runtime {self._runtime.name!r}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AgentRef):
            return NotImplemented
        return self.address == other.address and self._runtime.name == other._runtime.name

    def __hash__(self) -> int:
        return hash((self._runtime.name, self.address))

    # Sending.

    @enable_ki_protection
    async def cast(self, signal_or_type: Any, data: Any = None, /, **more_data: Any) -> None:
        """Sends a signal, and returns when it was accepted; waits while the mailbox is full.

        Raises:
            AgentNotFound: there never was such an agent.
            AgentStopped: it has ended.
            InvalidArgument: the signal is none, or has data twice.
        """
        delivery = Delivery(signal_to_send(self._runtime, signal_or_type, data, more_data))
        await self._runtime.pause()
        server = self._open_server() or await self._awake()
        if server.effects >= server.spec.effects or not server.offer(delivery):
            await self._accept(server, delivery)

    @enable_ki_protection
    def cast_nowait(self, signal_or_type: Any, data: Any = None, /, **more_data: Any) -> None:
        """Sends a signal without waiting. One that has left memory comes back for it meanwhile.

        Raises:
            MailboxFull: there is no room.
            RestoreFailed: what is stored of it cannot be read.
            AgentNotFound: there never was such an agent.
            AgentStopped: it has ended.
            InvalidArgument: the signal is none, or has data twice.
        """
        delivery = Delivery(signal_to_send(self._runtime, signal_or_type, data, more_data))
        server = self._open_server() or self._runtime.wakes_at_once(self.address)
        if server is None and self._runtime.sleeps(self.address):
            assert self._runtime.durability is not None
            self._runtime.durability.sleepers.offer_nowait(self.address, delivery)
            return
        server = server or self._server()
        if server.effects >= server.spec.effects or not server.offer_nowait(delivery):
            raise server.about(MailboxFull(server.waiting))

    async def deliver(self, signal: Signal) -> None:
        """Casts a signal as a target does; this is what a dispatcher calls.

        Raises:
            DispatchError: the agent has stopped (`closed`), or never was (`unreachable`).
            PrunellaError: else as `cast`.
        """
        try:
            await self.cast(signal)
        except AgentStopped as error:
            raise DispatchError(self, Reason.CLOSED) from error
        except AgentNotFound as error:
            raise DispatchError(self, Reason.UNREACHABLE) from error

    @enable_ki_protection
    async def call(self, signal_or_type: Any, data: Any = None, /, **more_data: Any) -> A:
        """Sends a signal and waits for its turn.

        Returns:
            The committed state after this turn.

        Raises:
            Rejected: a handler refused it; nothing was committed.
            UnhandledSignal, InvalidSignalData: nobody takes it, or its data does not fit.
            AgentCrashed: this turn crashed.
            AgentNotFound, AgentStopped: there never was such an agent, or it has ended.
            Overflow: the agent's effects do not keep up.
            InvalidArgument: the signal is none, or has data twice.
        """
        signal = signal_to_send(self._runtime, signal_or_type, data, more_data)
        await self._runtime.pause()
        server = self._cached
        if server is None or not server.is_idle():
            server = await self._awake()
        if server.is_idle():
            state: A = server.call(signal)  # type: ignore[assignment]  # the ref knows its class
            return state
        answer = Answer()
        return await self._deliver(server, Delivery(signal, answer, keep=False), answer)

    @enable_ki_protection
    async def call_settled(self, signal_or_type: Any, data: Any = None, /, **more_data: Any) -> A:
        """Like `call`, but returns when each directive of the turn has been executed.

        An emit has been accepted by its target, a run has ended, a child has started; a schedule is armed.

        Raises:
            DirectiveFailed: directives failed; it carries all failures.
            AgentError: as `call`.
        """
        answer = Answer()
        delivery = Delivery(
            signal_to_send(self._runtime, signal_or_type, data, more_data), answer, settle=True, keep=False
        )
        await self._runtime.pause()
        server = self._open_server() or await self._awake()
        if server.is_idle():
            server.handle(delivery)
            state: A = await answer.wait()
            return state
        return await self._deliver(server, delivery, answer)

    @enable_ki_protection
    async def ask(self, signal_or_type: Any, data: Any = None, /, **more_data: Any) -> Any:
        """Sends a signal and waits for the first `Reply` of any turn that it causes, of whatever agent.

        It ends at once when no reply can come any more.

        Returns:
            The value of the reply.

        Raises:
            NoReply: everything that it caused has ended, and nobody replied.
            Rejected: a handler refused it, or a `Fail` answered it.
            AgentError: else as `call`, for the last turn that failed.
        """
        answer = Answer()

        def ended(value: Any, error: BaseException | None) -> None:
            if error is None:
                answer.give(value)
            else:
                answer.fail(error)

        signal = signal_to_send(self._runtime, signal_or_type, data, more_data)
        ask = OpenAsk(ended, self.address, signal)
        delivery = Delivery(signal, ask=ask, keep=False)
        await self._runtime.pause()
        server = self._open_server() or await self._awake()
        if server.is_idle():
            ask.hold()
            server.handle(delivery)
            ask.release()
        else:
            server = await self._accept(server, delivery)
        server.askers += 1
        try:
            return await answer.wait()
        except BaseException:
            delivery.withdrawn = True
            ask.over = True
            raise
        finally:
            server.askers -= 1

    async def _accept(self, server: AgentServer, delivery: Delivery) -> AgentServer:
        while True:
            try:
                await server.accept_from_outside(delivery)
            except AgentStopped:
                if not server.is_leaving:
                    raise
                server = await self._awake()  # It has left memory while this waited for room.
            else:
                return server

    async def _deliver(self, server: AgentServer, delivery: Delivery, answer: Answer) -> A:
        await self._accept(server, delivery)
        try:
            state: A = await answer.wait()
        except BaseException:
            delivery.withdrawn = True
            raise
        return state

    # Looking.

    def state(self) -> A:
        """The last committed state.

        Raises:
            AgentNotFound, AgentStopped: there never was such an agent, or it has ended.
            Hibernated: it is not in memory; see `Runtime.state_at`.
            RestoreFailed: what is stored of it cannot be read.
        """
        server = self._server()
        if server.is_durable and server.quarantine is not None:  # type: ignore[attr-defined]  # it is durable
            raise server.quarantine.with_traceback(None)  # type: ignore[attr-defined]  # the same for many
        state: A = server.agent  # type: ignore[assignment]  # the ref names its class
        return state

    def status(self) -> AgentStatus:
        """Where the agent stands; also of one that has stopped.

        Raises:
            AgentNotFound: there never was such an agent.
        """
        server = self._runtime.find(self.address)
        if self._runtime.sleeps(self.address) and (server is None or server.is_leaving):
            quarantine = self._runtime.quarantine_of(self.address)
            return AgentStatus("hibernated" if quarantine is None else "quarantined", 0, 0, 0, quarantine)
        if server is None:
            reason = self._runtime.gone(self.address)
            if reason is None and self._runtime.has_left(self.address):
                return AgentStatus("hibernated", 0, 0, 0, None)
            if reason is None:
                raise self._runtime.absent(self.address)
            return AgentStatus("stopped", 0, 0, 0, reason)
        why: ExitReason | RestoreFailed | None = server.reason
        if server.is_durable and server.quarantine is not None:  # type: ignore[attr-defined]  # it is durable
            state, why = "quarantined", server.quarantine  # type: ignore[attr-defined]
        elif server.suspended:
            state = "suspended"
        elif server.life is None:
            state = "restarting" if server.restarts >= 0 else "starting"
        else:
            state = "running"
        return AgentStatus(state, server.waiting, server.effects, max(0, server.restarts), why)

    def handles(self, signal_type: str) -> bool:
        """Whether the agent has a handler for signals of a type.

        Raises:
            AgentNotFound, AgentStopped: there never was such an agent, or it has ended.
            Hibernated: it is not in memory, and its class is not known.
        """
        if self._open_server() is None and self._runtime.has_left(self.address):
            agent = self._runtime.class_asleep(self.address)
            if agent is not None and agent is not Agent:
                return definition_of(agent).hears(signal_type)
        return self._server().definition.hears(signal_type)

    def schedules(self) -> tuple[ScheduleInfo, ...]:
        """The schedules and cron jobs that are armed, by time."""
        server = self._server()
        if server.is_durable:
            infos: tuple[ScheduleInfo, ...] = server.alarms.infos()  # type: ignore[attr-defined]  # it is durable
            return infos
        return self._runtime.schedules.of(server.life)

    def recent_events(self) -> tuple[Event, ...]:
        """The last 500 events of the agent, oldest first, without payloads.

        Empty without ``debug=True`` in its spec or ``open_runtime(recorder=n)``.
        """
        return self._runtime.recorder.events_of(str(self.address))

    def recent_turns(self) -> tuple[Turn, ...]:
        """The last 500 turns of the agent, oldest first, with the signals and everything that `replay` needs.

        Empty without ``debug=True`` in its spec. They begin anew with each life that begins with a fresh state.
        """
        return self._runtime.recorder.turns_of(str(self.address))

    async def wait_for(self, predicate: Callable[[A], object]) -> A:
        """Waits for a state. Sees every committed one, also those between two checkpoints; goes through restarts.

        Args:
            predicate: of one state.

        Returns:
            The first state that fulfils it; the present one, if it does.

        Raises:
            AgentNotFound, AgentStopped: there never was such an agent, or it ends.
            Hibernated: it is durable and not in memory. One by key that is not durable comes back for this.
            TooManyWaiters: 10 000 wait for it already.
            InvalidArgument: `predicate` is no plain function.
            Exception: what the predicate raises.
        """
        check_predicate("wait_for()", predicate)
        await trio.lowlevel.checkpoint_if_cancelled()
        server = await self._server_to_watch()
        state = self.state()
        if predicate(state):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return state
        answer = Answer()

        def notify(value: Any, error: BaseException | None) -> None:
            if error is None:
                answer.give(value)
            else:
                answer.fail(error)

        waiter = Waiter(predicate, notify)
        server.add_waiter(waiter)
        try:
            found: A = await answer.wait()
        finally:
            server.remove_waiter(waiter)
        return found

    async def wait_stopped(self) -> ExitReason:
        """Waits until the agent has ended for good.

        Returns:
            Its exit reason.

        Raises:
            AgentNotFound: there never was such an agent.
        """
        return await self._runtime.wait_ended(self.address)

    # Steering.

    async def stop(self, reason: Any = None) -> None:
        """Stops the agent for good, also a permanent one, and returns when nothing of it is left.

        New signals are refused from now on, waiting ones answered `AgentStopped`; what was handed over may end
        within the agent's shutdown time. Harmless if it has stopped.

        Args:
            reason: the detail of its exit reason.

        Raises:
            AgentNotFound: there never was such an agent.
        """
        await self._runtime.stop_agent(self, reason)

    async def suspend(self) -> None:
        """Lets its signals wait. Running effects go on; what they send waits too. One that has left comes back."""
        server = await self._awake() if self._runtime.has_left(self.address) else self._server()
        server.suspend()
        await trio.lowlevel.checkpoint()

    async def resume(self) -> None:
        """Lets its signals be handled again."""
        if self._open_server() is not None or not self._runtime.has_left(self.address):
            self._server().resume()
        await trio.lowlevel.checkpoint()

    # Details.

    def _open_server(self) -> AgentServer | None:
        server = self._cached
        return server if server is not None and server.is_open else None

    async def _server_to_watch(self) -> AgentServer:
        """The server, which comes back for this if it needs no storage."""
        runtime = self._runtime
        if runtime.has_left(self.address) and not runtime.sleeps(self.address):
            return await self._awake()
        return self._server()

    async def _awake(self) -> AgentServer:
        """The server, which comes back for this if it can."""
        server = self._open_server() or self._runtime.find(self.address)
        if server is None or not server.is_open:
            if not self._runtime.can_wake(self.address):
                return self._server()
            server = await self._runtime.awake(self.address)
        self._cached = server
        return server

    def _server(self) -> AgentServer:
        server = self._cached
        if server is not None and server.is_open:
            return server
        server = self._runtime.find(self.address)
        if (server is None or not server.is_open) and self._runtime.sleeps(self.address):
            quarantine = self._runtime.quarantine_of(self.address)
            if quarantine is not None:
                raise quarantine.with_traceback(None)  # the same for many
            raise self._hibernated()
        if (server is None or not server.is_open) and self._runtime.has_left(self.address):
            raise self._hibernated()
        if server is None:
            raise self._runtime.absent(self.address)
        if not server.is_open:
            raise server.stopped_error()
        self._cached = server
        return server

    def _hibernated(self) -> Hibernated:
        error = Hibernated()
        error.address = self.address
        return error

    def _watched_life(self) -> Any:
        server = self._runtime.find(self.address)
        return None if server is None else server.life
