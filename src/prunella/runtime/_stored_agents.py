"""What can be asked of a runtime about agents that are stored."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

import trio

from ..agents import Address, Agent
from ..errors import InvalidArgument
from ..storage import DeadLetter, Outbox
from ._keyed import Keyed, checked_keyed
from ._ref import AgentRef
from ._starts import Starts

if TYPE_CHECKING:
    from ._durability import Durability

__all__ = ["StoredAgents"]

A = TypeVar("A", bound=Agent)


class StoredAgents(Starts):
    """The part of a runtime that is about its storage, and about agents that come and go."""

    async def hibernate(self, agent: AgentRef[Any] | Address | str, *, force: bool = False) -> None:
        """Lets a durable agent leave memory; the next signal, or a schedule that is due, brings it back.

        Returns when everything of it is written and it has left. Harmless if it has left already.

        Args:
            agent: its ref, its address, or its id.
            force: whether its running effects are cut off; they begin again when it comes back.

        Raises:
            EffectsRunning: effects of it run.
            AgentNotFound, AgentStopped: there is no such agent.
            InvalidArgument: it is not durable.
        """
        durability = self._durable("hibernate()")
        address = self.address_here(agent, None)
        server: Any = self.find(address)
        if server is None or not server.is_open:
            if address not in durability.sleepers:
                raise self.absent(address)
            await trio.lowlevel.checkpoint()
            return
        if not server.is_durable:
            raise InvalidArgument("hibernate()", "agent", "a durable agent", address)
        await durability.hibernate(server, force=force)

    async def thaw(self, agent: AgentRef[Any] | Address | str) -> AgentRef[Any]:
        """Brings an agent back into memory; harmless if it is there.

        Args:
            agent: its ref, its address, or its id.

        Returns:
            Its ref.

        Raises:
            AgentNotFound, AgentStopped: there is no such agent.
            RestoreFailed: its state cannot be read.
        """
        self._durable("thaw()")
        server: Any = await self.awake(self.address_here(agent, None))
        await trio.lowlevel.checkpoint()
        if server.is_durable and server.quarantine is not None:
            raise server.quarantine.with_traceback(None)
        ref: AgentRef[Any] = server.runtime.ref_to(server)
        return ref

    def keyed(
        self, agent: type[A], *, idle_timeout: float = float("inf"), name: str | None = None, **spec: Any
    ) -> Keyed[A]:
        """Agents that come and go: one for each key, started when it is asked for.

        Args:
            agent: their class.
            idle_timeout: after how many seconds without anything to do one leaves memory.
            name: the first part of their ids, `name/key`; by default the agent's name.
            **spec: as of `AgentSpec`, for all of them.

        Returns:
            What gives them by their keys. Nothing is started yet.

        Raises:
            InvalidArgument, InvalidSpec: an argument is wrong, or the name is in use for other agents.
        """
        return checked_keyed(self, agent, idle_timeout, name, spec)  # type: ignore[arg-type]  # it checks the class

    async def retry(self, agent: AgentRef[Any] | Address | str) -> None:
        """Tries once more to read the state of an agent that is quarantined, after it was repaired.

        Raises:
            RestoreFailed: it still cannot be read.
            AgentNotFound, AgentStopped: there is no such agent.
        """
        durability = self._durable("retry()")
        address = self.address_here(agent, None)
        durability.sleepers.lift_quarantine(address)
        server: Any = await self.awake(address)
        if server.is_durable:
            await durability.retry(server)

    async def forget(self, agent: AgentRef[Any] | Address | str) -> None:
        """Stops an agent, and deletes everything that is stored of it. It never was."""
        durability = self._durable("forget()")
        address = self.address_here(agent, None)
        durability.sleepers.remove(address)
        if self.find(address) is not None:
            await self.stop_agent(address)
        await durability.forget(address)

    async def dead_letters(self, agent: AgentRef[Any] | Address | str) -> tuple[DeadLetter, ...]:
        """The signals that were put aside because an agent could not handle them, oldest first."""
        return await self._durable("dead_letters()").dead_letters(self.address_here(agent, None))

    async def redrive(self, agent: AgentRef[Any] | Address | str, id: str | None = None) -> int:
        """Puts dead letters back into the mailbox of an agent, as if they had never been delivered.

        Args:
            agent: its ref, its address, or its id.
            id: of one signal; by default all are.

        Returns:
            How many.
        """
        return await self._durable("redrive()").redrive(self.address_here(agent, None), id)

    async def discard(self, agent: AgentRef[Any] | Address | str, id: str | None = None) -> int:
        """Deletes dead letters of an agent.

        Args:
            agent: its ref, its address, or its id.
            id: of one signal; by default all are.

        Returns:
            How many.
        """
        return await self._durable("discard()").discard(self.address_here(agent, None), id)

    @overload
    async def state_at(
        self, agent: AgentRef[A], /, *, until: int | datetime | None = None, partition: str | None = None
    ) -> A: ...
    @overload
    async def state_at(
        self, agent: Address | str, /, *, until: int | datetime | None = None, partition: str | None = None
    ) -> Agent: ...
    async def state_at(
        self,
        agent: AgentRef[Any] | Address | str,
        /,
        *,
        until: int | datetime | None = None,
        partition: str | None = None,
    ) -> Agent:
        """The stored state of an agent, also of one that is not in memory. No handler is run.

        Args:
            agent: its ref, its address, or its id.
            until: the last turn that counts, the first being 1, or an aware time; by default all do.
            partition: its partition, where an id is given.

        Raises:
            AgentNotFound: no such agent is stored.
            HistoryGone: that is kept no longer.
            RestoreFailed: what is stored cannot be read.
        """
        durability = self._durable("state_at()")
        address = self.address_here(agent, partition)
        state: Agent = await durability.state_at(await durability.sleepers.class_of(address), address, until)
        return state

    async def outbox(self) -> Outbox:
        """How many directives of all durable agents are decided and not done, and since when the oldest waits."""
        return await self._durable("outbox()").outbox()

    def _durable(self, what: str) -> Durability:
        if self.durability is None:
            raise InvalidArgument(what, "storage", "a runtime with a storage: open_runtime(storage=)", None)
        return self.durability
