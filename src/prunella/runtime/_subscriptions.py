"""Who hears what is published in a runtime: streams, and agents whose specs subscribe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import trio

from ..agents import Address
from ..errors import InvalidArgument
from ..signals import Route, Router, Signal

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["Stream", "Subscriptions"]


class Stream:
    """One subscription that reads from a bounded channel. Whoever publishes waits for it while it is full."""

    __slots__ = ("_send",)

    def __init__(self, send: trio.MemorySendChannel[Signal]) -> None:
        self._send = send

    def __repr__(self) -> str:
        return "a subscriber"

    def offer(self, signal: Signal) -> bool:
        """Gives it a signal; tells whether there was room, or nobody who wants it any more."""
        try:
            self._send.send_nowait(signal)
        except trio.WouldBlock:
            return False
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        return True

    async def send(self, signal: Signal) -> None:
        """Gives it a signal, and waits for room."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # It has left: that is no failure.
            await self._send.send(signal)

    def close(self) -> None:
        """Nothing more will come."""
        self._send.close()


class Subscriptions:
    """The subscriptions of a runtime, on the one router."""

    def __init__(self) -> None:
        self._router: Router[Any] = Router()

    def matching(self, signal: Signal) -> tuple[list[Stream], list[AgentServer], list[Address]]:
        """The streams, the agents, and the addresses of agents that sleep, that want a signal, each once."""
        streams: list[Stream] = []
        agents: list[AgentServer] = []
        asleep: list[Address] = []
        if self._router.routes:
            for target in dict.fromkeys(self._router.route(signal)):
                if isinstance(target, Stream):
                    streams.append(target)
                elif isinstance(target, Address):
                    asleep.append(target)
                elif not target.is_leaving:
                    agents.append(target)
        if asleep:
            awake = {server.address for server in agents}  # they are just being woken
            asleep = [address for address in asleep if address not in awake]
        return streams, agents, asleep

    def close(self) -> None:
        """The runtime has ended: what is read after what has come is the end of the stream."""
        for route in self._router.routes:
            if isinstance(route.target, Stream):
                route.target.close()

    def add_agent(self, server: AgentServer) -> None:
        """Subscribes an agent to the patterns of its spec."""
        self._router = self._router.add(*(Route(pattern, server) for pattern in server.spec.subscribe))

    def remove_agent(self, server: AgentServer) -> None:
        """Ends that."""
        self._router = self._router.remove(*(Route(pattern, server) for pattern in server.spec.subscribe))

    def add_sleeper(self, address: Address, patterns: Iterable[str]) -> None:
        """Subscribes an agent that is not in memory."""
        self._router = self._router.add(*(Route(pattern, address) for pattern in patterns))

    def remove_sleeper(self, address: Address, patterns: Iterable[str]) -> None:
        """Ends that."""
        self._router = self._router.remove(*(Route(pattern, address) for pattern in patterns))

    def open(self, pattern: str, buffer: int) -> AbstractAsyncContextManager[trio.MemoryReceiveChannel[Signal]]:
        """A stream of the signals whose type matches, for as long as the block lasts.

        Raises:
            InvalidPattern: the pattern is none.
            InvalidArgument: `buffer` is no whole number of at least 0.
        """
        if not isinstance(buffer, int) or isinstance(buffer, bool) or buffer < 0:
            raise InvalidArgument("subscribe()", "buffer", "a whole number of at least 0", buffer)
        send, receive = trio.open_memory_channel[Signal](buffer)
        return self._opened(Route(pattern, Stream(send)), send, receive)

    @asynccontextmanager
    async def _opened(
        self,
        route: Route[Any],
        send: trio.MemorySendChannel[Signal],
        receive: trio.MemoryReceiveChannel[Signal],
    ) -> AsyncIterator[trio.MemoryReceiveChannel[Signal]]:
        self._router = self._router.add(route)
        try:
            yield receive
        finally:
            self._router = self._router.remove(route)
            send.close()
            receive.close()
