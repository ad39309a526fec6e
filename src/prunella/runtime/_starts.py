"""How agents of a runtime are started and stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Address, Agent, AgentStopped
from ..signals import new_id
from ..supervision import AlreadyStarted, Shutdown, SupervisorStopped
from ..supervision._core import Request, Verb
from ..supervision._info import picture
from ._delivery import Answer
from ._directory import Directory
from ._errors import error_of_start
from ._ref import AgentRef
from ._server import AgentServer
from ._spec import AgentSpec

if TYPE_CHECKING:
    from ..supervision._live import LiveSupervisor
    from ..supervision._records import Slot
    from ..supervision._tree import Tree

__all__ = ["STARTED_LATER", "Starts"]

A = TypeVar("A", bound=Agent)

STARTED_LATER = "prunella.agents"
"""The id of the supervisor of the agents that are started later."""

_SECONDS_TO_WITHDRAW = 10.0


class Starts(Directory):
    """The part of a runtime that has its supervisors start and stop agents."""

    _tree: Tree

    def __init__(self) -> None:
        super().__init__()
        self._unwanted: dict[Slot, Shutdown] = {}

    if TYPE_CHECKING:  # of the other part

        def pause(self) -> Awaitable[None]: ...
        def ref(self, id: str, agent: type[A], *, partition: str | None = None) -> AgentRef[A]: ...

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
                if not self.can_wake(address):
                    raise self.absent(address)
                self.ended_for_good(address, Shutdown(reason))
            await trio.lowlevel.checkpoint()
            return
        self.begin_stop(server, reason)
        await self.wait_gone(server)
        if server.is_leaving and self.has_left(address):  # It was about to leave anyway.
            self.ended_for_good(address, Shutdown(reason))

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

    def begin_stop(self, server: AgentServer, reason: Any = None) -> None:
        """Begins to stop an agent for good."""
        why = Shutdown(reason)
        server.close(why)
        last = server.last_life
        is_between_lives = server.life is None
        if is_between_lives:
            # Nothing of it runs that could take its time.
            server.end_for_good(why)
        elif reason is not None and server.life is not None:
            server.life.stop_reason = why
        if last is None:
            return
        slot = last.slot
        if is_between_lives:
            # Its supervisor may be about to restart it, before it comes to this.
            self._unwanted[slot] = why
        last.host.core.ask(Request(Verb.TERMINATE, picture(slot), lambda: self._unwanted.pop(slot, None)))

    def check_wanted(self, slot: Slot) -> None:
        """Nobody has stopped the agent that a supervisor is about to start again.

        Raises:
            AgentStopped: somebody has.
        """
        why = self._unwanted.get(slot)
        if why is not None:
            raise AgentStopped(why)

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
