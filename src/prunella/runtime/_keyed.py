"""Agents by key: started when they are asked for, and gone when nobody has asked for a while."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar, final

from ..agents import Address, Agent, RestoreFailed
from ..agents._turns import definition_of
from ..errors import InvalidArgument
from ..supervision import AlreadyStarted
from ..supervision._policies import check_seconds
from ._ref import AgentRef
from ._spec import AgentSpec, check_durability

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Keyed", "checked_keyed"]

A = TypeVar("A", bound=Agent)

_IDLE = "idle"


@final
class Keyed(Generic[A]):
    """Agents of one class, one for each key; `Runtime.keyed` gives it."""

    def __init__(
        self, runtime: Runtime, agent: type[A], name: str, idle_timeout: float, options: dict[str, Any]
    ) -> None:
        self._runtime = runtime
        self._agent = agent
        self._name = name
        self._idle_timeout = idle_timeout
        self._options = options

    def __repr__(self) -> str:
        return f"<agents {self._name!r} by key>"

    def _is_like(self, other: Keyed[Any]) -> bool:
        mine = self._agent, self._idle_timeout, self._options
        return mine == (other._agent, other._idle_timeout, other._options)

    async def get(self, key: str, partition: str | None = None, state: Any = None) -> AgentRef[A]:
        """The agent of a key, started if it is not there.

        Args:
            key: which one; its id is `name/key`.
            partition: its partition.
            state: its first state, if it was never there.

        Raises:
            InvalidArgument, InvalidSpec: the key is no text, or the state does not fit.
            RestoreFailed: its stored state cannot be read; see `Runtime.retry`.
            StorageError: the storage does not do what it is asked for.
        """
        address = Address(self._id(key), partition)
        while True:
            server = self._runtime.find(address)
            if server is not None and server.is_open:
                await self._runtime.pause()
                quarantine = _quarantine_of(server)
                if quarantine is not None:
                    raise quarantine.with_traceback(None)  # the same for many
                return self._runtime.ref_to(server)
            if server is not None:
                await self._runtime.wait_gone(server)
            elif self._runtime.sleeps(address):
                await self._runtime.awake(address)
            else:
                try:
                    await self._runtime.start_spec(self._spec(address, state))
                except AlreadyStarted:
                    continue  # Somebody else was faster.

    async def stop(self, key: str, *, partition: str | None = None) -> None:
        """Stops the agent of a key for good; harmless if it is not there."""
        await self._runtime.stop_agent(Address(self._id(key), partition))

    def keys(self, *, partition: str | None = None) -> tuple[str, ...]:
        """The keys of the agents that are in memory, in the order in which they were started.

        Those whose state cannot be read are not among them.
        """
        prefix, found = f"{self._name}/", []
        for ref in self._runtime.agents(partition=partition):
            server = self._runtime.find(ref.address) if ref.id.startswith(prefix) else None
            if server is not None and _quarantine_of(server) is None:
                found.append(ref.id[len(prefix) :])
        return tuple(found)

    # For the runtime.

    @property
    def agent(self) -> type[A]:
        """Their class."""
        return self._agent

    def _id(self, key: str) -> str:
        if not isinstance(key, str) or not key:
            raise InvalidArgument(f"keyed agents {self._name!r}", "key", "a non-empty string", key)
        return f"{self._name}/{key}"

    def _spec(self, address: Address, state: Any = None) -> AgentSpec[A]:
        return AgentSpec(self._agent, address.id, partition=address.partition, state=state, **self._options)

    async def wake(self, address: Address) -> None:
        """Starts one that has left, because its ref is used."""
        try:
            await self._runtime.start_spec(self._spec(address))
        except AlreadyStarted:
            return

    def wakes_at_once(self, address: Address) -> AgentServer | None:
        """The server of one that has left and is not durable, started now; None if that cannot be now."""
        spec = self._spec(address)
        if spec.durability is None:
            self._runtime.begin_start(spec, lambda error: None)
        return self._runtime.find(address)

    def watch(self, server: AgentServer) -> None:
        """One of them has begun: it leaves when it has had nothing to do for long enough."""
        if self._idle_timeout < math.inf:
            server.active_at = self._runtime.clock.now()
            self._look_again(server, server.active_at + self._idle_timeout)

    def _look_again(self, server: AgentServer, when: float) -> None:
        self._runtime.service.call_at(when, lambda: self._look(server))

    def _look(self, server: AgentServer) -> None:
        if not server.is_open or self._runtime.is_closing:
            return
        now = self._runtime.clock.now()
        if not server.is_quiet or server.effects or server.suspended or server.is_attached:
            server.active_at = now
        active = server.active_at
        assert active is not None
        idle_at = active + self._idle_timeout
        if now < idle_at:
            self._look_again(server, idle_at)
        elif server.is_durable:
            assert self._runtime.durability is not None
            self._runtime.durability.sleepers.leave(server)  # type: ignore[arg-type]  # it is durable
        else:
            server.is_leaving = True
            self._runtime.begin_stop(server, _IDLE)


def _quarantine_of(server: AgentServer) -> RestoreFailed | None:
    """Why its state cannot be read, if it cannot."""
    return server.quarantine if server.is_durable else None  # type: ignore[attr-defined]  # it is durable


def _any_state(agent: type[A]) -> A:
    """A value of the class, which stands for those that come later."""
    state = definition_of(agent).state
    value: A = state.build(dict.fromkeys(state.names))
    return value


def checked_keyed(
    runtime: Runtime, agent: type[A], idle_timeout: float, name: str | None, options: dict[str, Any]
) -> Keyed[A]:
    """Agents by key, if they can be.

    Raises:
        InvalidArgument, InvalidSpec: they cannot.
    """
    if not isinstance(agent, type) or not issubclass(agent, Agent) or agent is Agent:
        raise InvalidArgument("keyed()", "agent", "a class derived from Agent", agent)
    name = definition_of(agent).name if name is None else name
    if not isinstance(name, str) or not name or "/" in name:
        raise InvalidArgument("keyed()", "name", "a non-empty string without '/'", name)
    for option in ("id", "partition", "state"):
        if option in options:
            raise InvalidArgument("keyed()", option, "given to get()", options[option])
    if idle_timeout != math.inf:
        check_seconds("keyed()", "idle_timeout", idle_timeout, above_zero=True)
    # What the options are is said now; their states come with the keys.
    spec = AgentSpec(agent, f"{name}/*", state=_any_state(agent), **options)
    if runtime.durability is None:
        check_durability(spec)
    keyed = Keyed(runtime, agent, name, idle_timeout, options)
    there = runtime.keys.setdefault(name, keyed)
    if runtime.durability is not None:
        runtime.durability.sleepers.knows(agent)
    if not there._is_like(keyed):
        raise InvalidArgument("keyed()", "name", f"another than {name!r}, which is in use for others", name)
    return there
