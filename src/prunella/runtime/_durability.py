"""What a runtime with a storage has besides: its journal, its sleepers, and what can be asked of the storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, final

import trio

from ..agents import Address, Agent, RestoreFailed
from ..errors import InvalidArgument
from ..signals import new_id
from ..storage import Code, DeadLetter, Outbox, Storage, code_of, opened
from ..storage._history import past_state
from ._errors import EffectsRunning
from ._guarded_storage import guarded, told_as_unavailable
from ._journal import Journal
from ._sleepers import Sleepers
from ._spec_data import with_bond

if TYPE_CHECKING:
    from ..storage._turn_mark import TurnMark
    from ._durable_server import DurableServer
    from ._runtime import Runtime

__all__ = ["Durability"]

_SECONDS_BETWEEN_LOOKS = 0.1


@final
class Durability:
    """The storage of a runtime, and everything that hangs on it.

    Attributes:
        storage: where agents are kept; whatever it raises is an error of a storage.
        owner: the name under which this runtime owns them.
        gives_way: whether other owners that are alive keep what they have.
        journal: what writes.
        sleepers: the agents that are stored and not in memory.
        mark: what tells the next process in whose turn this one was killed; None where the storage has no such thing.
        has_begun: whether it is known who is there and who can be woken. Before, nothing is sent to anybody: it would
            be lost.
    """

    def __init__(self, runtime: Runtime, storage: Storage, *, gives_way: bool, agents: Iterable[type[Agent]]) -> None:
        self._runtime = runtime
        self._given = storage
        self.storage = storage = guarded(storage)
        self.owner = f"{runtime.name}/{new_id()}"
        self.gives_way = gives_way
        self.journal = Journal(runtime, storage, self.owner)
        self.has_begun = False
        self.sleepers = Sleepers(runtime, storage, self.journal, agents)
        self.mark: TurnMark | None = None
        self._stack = AsyncExitStack()
        self._codes: dict[type[Agent], Code] = {}

    # Opening and closing.

    async def open(self) -> None:
        """Opens the storage, and finds the agents that were started while an earlier runtime was running."""
        async with AsyncExitStack() as stack:
            with told_as_unavailable():
                await stack.enter_async_context(opened(self._given, exclusive=True))
            stack.enter_context(self._used())
            turn_mark = getattr(self._given, "turn_mark", None)
            self.mark = None if turn_mark is None else await turn_mark(self._runtime.name)
            if self.mark is not None:
                stack.callback(self.mark.close)
            await self.sleepers.find()
            self._stack = stack.pop_all()

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Two runtimes of one name that share a storage would take each other's agents. One that somebody else has
        written need not take note of it.
        """
        name, users = self._runtime.name, getattr(self._given, "users", None)
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

    async def close(self) -> None:
        """Lets go of it."""
        with told_as_unavailable():
            await self._stack.aclose()

    async def begin(self) -> None:
        """The tree has started: it is known who is there, and who can be woken."""
        self.sleepers.leave_to_the_tree()
        self.has_begun = True
        for server in self._runtime.durable_servers():
            server.begin_open()
        await self.sleepers.begin()

    def code_of(self, agent: type[Agent]) -> Code:
        """Which code a class is. That takes its source to be read, once."""
        code = self._codes.get(agent)
        if code is None:
            code = self._codes[agent] = code_of(agent)
        return code

    # What changes of agents.

    def family_changed(self, address: Address) -> None:
        """An agent has another parent, or none any more: that is stored, if it is."""
        if self._runtime.find(address) is not None or address in self.sleepers:
            self.journal.soon(partial(self._record_family, address))

    async def _record_family(self, address: Address) -> None:
        key = self.sleepers.key_of(address)
        record = await self.storage.find(key)
        if record is not None and record.spec is not None and record.owner in (None, self.owner):
            bond = self._runtime.families.bond_of(address)
            await self.storage.record(key, record.claim, with_bond(record.spec, bond))

    async def hibernate(self, server: DurableServer, *, force: bool) -> None:
        """Lets an agent leave memory.

        Raises:
            EffectsRunning: effects of it run, and `force` was not asked for.
            RestoreFailed: its state cannot be read; it stays where that is seen.
        """
        if server.quarantine is not None:
            raise server.quarantine.with_traceback(None)  # the same for many
        while not server.is_quiet:
            if server.effects and not force:
                raise server.about(EffectsRunning(server.effects))
            if not server.is_open:
                return
            with trio.move_on_after(_SECONDS_BETWEEN_LOOKS):  # not all that ends comes with a write: a wait for a state
                await server.until_published()
        if server.effects and not force:
            raise server.about(EffectsRunning(server.effects))
        self.sleepers.leave(server)
        await self._runtime.wait_gone(server)

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
        self.sleepers.remove(address)
        self._runtime.families.forgets(address)
        await self.storage.forget(self.sleepers.key_of(address))
        self._runtime.forget_tombstone(address)

    # What can be asked of it.

    async def dead_letters(self, address: Address) -> tuple[DeadLetter, ...]:
        """Signals that were put aside."""
        return await self.storage.dead_letters(self.sleepers.key_of(address))

    async def redrive(self, address: Address, id: str | None) -> int:
        """Puts dead letters back into the mailbox."""
        key = self.sleepers.key_of(address)
        number = await self.storage.redrive(key, id, now=self._runtime.clock.wall_now())
        if number:
            await self.sleepers.read_mail(address)
        return number

    async def discard(self, address: Address, id: str | None) -> int:
        """Deletes dead letters."""
        return await self.storage.discard(self.sleepers.key_of(address), id)

    async def state_at(self, agent: type[Any], address: Address, until: int | datetime | None) -> Any:
        """The state of an agent after a turn, or at a time."""
        return await past_state(self.storage, agent, self.sleepers.key_of(address), until)

    async def outbox(self) -> Outbox:
        """How many directives are open, and since when."""
        return await self.storage.outbox(self._runtime.name)
