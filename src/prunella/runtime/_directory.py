"""Which agents of a runtime are there, which were, and which come back when they are asked for."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Address, Agent, AgentError, AgentNotFound, AgentStopped, Fenced, RestoreFailed
from ..errors import InvalidArgument
from ..supervision import AlreadyStarted, ExitReason, Shutdown
from ._delivery import Answer, Delivery
from ._ref import AgentRef
from ._server import AgentServer
from ._spec import AgentSpec, check_durability, check_name

if TYPE_CHECKING:
    from ._durability import Durability
    from ._durable_server import DurableServer
    from ._family import Families
    from ._keyed import Keyed
    from ._reports import Reports
    from ._schedules import Schedules
    from ._subscriptions import Subscriptions

__all__ = ["Directory"]

_MOST_TOMBSTONES = 10_000


class Directory:
    """The part of a runtime that knows its agents by their addresses.

    Attributes:
        durability: its storage, and everything that hangs on it; None without one.
        keys: agents that come and go, by the first part of their ids.
    """

    if TYPE_CHECKING:  # of the other part
        name: str
        families: Families
        reports: Reports
        schedules: Schedules
        subscriptions: Subscriptions

        @property
        def is_closing(self) -> bool: ...

    def __init__(self) -> None:
        self.durability: Durability | None = None
        self.keys: dict[str, Keyed[Any]] = {}
        self._servers: dict[tuple[str | None, str], AgentServer] = {}
        self._tombstones: OrderedDict[tuple[str | None, str], ExitReason] = OrderedDict()
        self._classes: dict[str, type[Agent]] = {}
        self._room: dict[AgentServer, trio.Event] = {}
        self._end_waiters: dict[AgentServer, list[Answer]] = {}
        self._waiters_asleep: dict[Address, list[Answer]] = {}

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

    def has_left(self, address: Address) -> bool:
        """Whether an agent is not in memory, has not ended for good, and comes back when it is asked for."""
        server = self.find(address)
        if server is None:
            return self.gone(address) is None and self.can_wake(address)
        return server.is_leaving and self.can_wake(address)

    def class_asleep(self, address: Address) -> type[Agent] | None:
        """The class of an agent that has left, if it is known."""
        if self.durability is not None and address in self.durability.sleepers:
            return dict(self.durability.sleepers.classes()).get(address)
        keyed = self._keyed(address)
        return None if keyed is None else keyed.agent

    def wakes_at_once(self, address: Address) -> AgentServer | None:
        """The server of an agent that comes back without waiting: nothing is stored of it. Else None."""
        keyed = self._keyed(address) if self.keys else None
        if keyed is None or self.find(address) is not None or self.sleeps(address):
            return None
        return keyed.wakes_at_once(address)

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
        for answer in self._waiters_asleep.pop(address, ()):
            answer.fail(self.absent(address))

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
        return AgentRef(server.runtime, server.address, server.spec.agent, server)

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
        check_name(spec, self._classes)
        address = Address(spec.id, spec.partition)
        if spec.durability is None:
            server = AgentServer(self, spec, address)  # type: ignore[arg-type]  # the whole is a runtime
        else:
            from ._durable_server import DurableServer

            server = DurableServer(self, spec, address)  # type: ignore[arg-type]  # the same
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
                self.ended_for_good(server.address, server.ended)
        if server.spec.subscribe:
            self.subscriptions.remove_agent(server)
        for answer in self._end_waiters.pop(server, ()):
            answer.give(server.ended)
        room = self._room.pop(server, None)
        if room is not None:
            room.set()
        self.families.ended(server, server.ended)
        self.reports.ended(server, server.ended)

    def ended_for_good(self, address: Address, reason: ExitReason) -> None:
        """An agent, in memory or not, does not come back by itself any more."""
        self._tombstones[address.partition, address.id] = reason
        if len(self._tombstones) > _MOST_TOMBSTONES:
            self._tombstones.popitem(last=False)
        for answer in self._waiters_asleep.pop(address, ()):
            answer.give(reason)

    @enable_ki_protection
    async def wait_ended(self, address: Address) -> ExitReason:
        """Waits until an agent has ended for good, however often it leaves memory and comes back before."""
        while (server := self.find(address)) is not None:
            reason: ExitReason | None = await self.wait_gone(server)
            if reason is not None and (not server.is_leaving or self.is_closing):
                return reason
        reason = self.gone(address)
        if reason is None:
            if not self.can_wake(address):
                raise self.absent(address)
            if self.is_closing:
                reason = Shutdown()
        if reason is not None:
            await trio.lowlevel.checkpoint()
            return reason
        answer = Answer()
        self._waiters_asleep.setdefault(address, []).append(answer)
        try:
            ended: ExitReason = await answer.wait()
        finally:
            _without(self._waiters_asleep, address, answer)
        return ended

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
            _without(self._end_waiters, server, answer)
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


def _without(waiters: dict[Any, list[Answer]], key: Any, answer: Answer) -> None:
    """One of them waits no more."""
    left = waiters.get(key)
    if left is not None and answer in left:
        left.remove(answer)
        if not left:
            del waiters[key]
