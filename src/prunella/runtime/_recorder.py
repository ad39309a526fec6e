"""The recorder: the last events of a runtime and of each agent, and the last turns of agents that are debugged."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import final

from ..agents import Turn
from ..telemetry import Event

__all__ = ["Recorder"]

_MOST_EVENTS = 500
_MOST_TURNS = 500
_MOST_AGENTS = 10_000


@final
class Recorder:
    """Keeps the last events, all together and by agent. It is a listener.

    Args:
        size: how many are kept all together; by agent it is 500, of the last 10 000 agents.

    Attributes:
        keeps_durable: whether the turns of durable agents are kept, too.
    """

    __slots__ = ("_all", "_by_agent", "_turns", "keeps_durable")

    def __init__(self, size: int) -> None:
        self._all: deque[Event] = deque(maxlen=size)
        self._by_agent: OrderedDict[str, deque[Event]] = OrderedDict()
        self._turns: OrderedDict[str, deque[Turn]] = OrderedDict()
        self.keeps_durable = False

    def __call__(self, event: Event) -> None:
        self._all.append(event)
        if event.agent is not None:
            self.keep(event.agent, event)

    def keep(self, agent: str, event: Event) -> None:
        """Keeps an event of one agent."""
        _of(self._by_agent, agent, _MOST_EVENTS).append(event)

    def keep_turn(self, agent: str, turn: Turn) -> None:
        """Keeps a turn of an agent, with all that its handlers could read."""
        _of(self._turns, agent, _MOST_TURNS).append(turn)

    def forget_turns(self, agent: str) -> None:
        """Its state begins anew: what came before cannot be replayed from there."""
        self._turns.pop(agent, None)

    def events(self) -> tuple[Event, ...]:
        """The last events, oldest first."""
        return tuple(self._all)

    def events_of(self, agent: str) -> tuple[Event, ...]:
        """The last events of an agent, oldest first."""
        return tuple(self._by_agent.get(agent, ()))

    def agents(self) -> tuple[str, ...]:
        """Those of which turns are kept."""
        return tuple(self._turns)

    def turns_of(self, agent: str) -> tuple[Turn, ...]:
        """Its last turns, oldest first."""
        return tuple(self._turns.get(agent, ()))


def _of(kept: OrderedDict[str, deque[Event]] | OrderedDict[str, deque[Turn]], agent: str, most: int) -> deque[object]:
    items = kept.get(agent)
    if items is None:
        if len(kept) >= _MOST_AGENTS:
            kept.popitem(last=False)
        items = kept[agent] = deque(maxlen=most)
    return items  # type: ignore[return-value]  # of the kind that `kept` keeps
