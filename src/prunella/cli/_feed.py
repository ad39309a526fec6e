"""Events from the input to the agents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import trio

from ..agents import Agent, AgentError
from ..runtime import AgentEnded, AgentRef, AgentStarted, Runtime
from ..signals import Signal, SignalError, decode
from ..telemetry import Event
from ._input import LONGEST_LINE, Input, InputError
from ._tally import Tally

__all__ = ["Feed"]

_MOST_COMPLAINTS = 20
_MOST_TYPES = 20
_MOST_REMEMBERED = 1_000
_SHORTEST_PAUSE = 0.02
_OF_THE_RUNTIME = "prunella."  # types that nobody else may send


class Feed:
    """Delivers every event of the input to all agents that have a handler for its type, and keeps count.

    Args:
        input: where events come from.
        rate: at most so many events in a second; None for as many as the agents handle.
        complain: takes a line about each of the first bad lines.
        tally: is told of every delivery.

    Attributes:
        events: how many events came.
        not_taken: how many no agent took, by type; the types beyond the first few are counted as "other types".
        bad_lines: how many lines were no events.
        finished: whether the input was read to its end.
        error: why it could not be, if it could not.
    """

    def __init__(self, input: Input, rate: float | None, complain: Callable[[str], object], tally: Tally) -> None:
        self.input = input
        self.rate = rate
        self.events = 0
        self.not_taken: Counter[str] = Counter()
        self.bad_lines = 0
        self.finished = False
        self.error: str | None = None
        self._complain = complain
        self._tally = tally
        self._takers: dict[str, tuple[AgentRef[Any], ...]] = {}

    def hear(self, event: Event) -> None:
        """Takes note of agents that come and go."""
        if isinstance(event, AgentStarted | AgentEnded):
            self._takers.clear()

    async def run(self, runtime: Runtime) -> None:
        """Reads to the end. An agent whose mailbox is full makes it wait."""
        began = trio.current_time()
        try:
            async for number, line in self.input.lines():
                await self._take(runtime, number, line)
                if self.rate is not None:
                    due = began + self.events / self.rate
                    if due - trio.current_time() > _SHORTEST_PAUSE:
                        await trio.sleep_until(due)
            self.finished = True
        except InputError as error:
            self.error = str(error)
            self._complain(self.error)
        finally:
            if self.bad_lines > _MOST_COMPLAINTS:
                more = self.bad_lines - _MOST_COMPLAINTS
                self._complain(f"{self.input.name}: … and {more} more lines like these")

    async def _take(self, runtime: Runtime, number: int, line: bytes | None) -> None:
        try:
            if line is None:
                raise SignalError(f"the line is longer than {LONGEST_LINE} bytes")
            signal = decode(line)
        except SignalError as error:
            self.bad_lines += 1
            if self.bad_lines <= _MOST_COMPLAINTS:
                self._complain(f"{self.input.name}:{number}: {error}")
            await trio.lowlevel.checkpoint()
            return
        taken = False
        for agent in self._takers_of(runtime, signal.type):
            taken = await self._deliver(signal, agent) or taken
        if not taken:
            await trio.lowlevel.checkpoint()
            known = signal.type in self.not_taken or len(self.not_taken) < _MOST_TYPES
            self.not_taken[signal.type if known else "other types"] += 1
        self.events += 1

    async def _deliver(self, signal: Signal, agent: AgentRef[Any]) -> bool:
        address = str(agent.address)
        self._tally.deliver(address, signal.id)
        try:
            await agent.cast(signal)
        except BaseException as error:
            self._tally.withdraw(address, signal.id)
            if isinstance(error, AgentError):  # it has ended for good
                return False
            raise
        return True

    def _takers_of(self, runtime: Runtime, type: str) -> tuple[AgentRef[Any], ...]:
        takers = self._takers.get(type)
        if takers is None:
            takers = ()
            if not type.startswith(_OF_THE_RUNTIME):
                takers = tuple(agent for agent in runtime.agents(Agent) if _handles(agent, type))
            if len(self._takers) >= _MOST_REMEMBERED:
                self._takers.clear()
            self._takers[type] = takers
        return takers


def _handles(agent: AgentRef[Any], type: str) -> bool:
    try:
        return agent.handles(type)
    except AgentError:  # it is about to end
        return False
