"""What became of the events that were delivered, told by the runtime's telemetry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from typing import final

import attrs

from ..agents import SpawnTask
from ..runtime import AgentEvent, EffectException, EffectStart, EffectStop, SignalDropped, SignalRepeated, TurnEvent
from ..telemetry import ErrorInfo, Event

__all__ = ["Account", "Tally", "Trouble"]

_MOST_AGENTS = 1_000
_MOST_TROUBLES = 20
_OTHERS = "(other agents)"
_TASK = SpawnTask.__name__


@attrs.frozen
class Trouble:
    """An event that an agent refused or crashed on.

    Attributes:
        type: of the event.
        id: of the event.
        error: what was raised, in one line, without what the event brought.
    """

    type: str
    id: str
    error: str


@attrs.define
class Account:
    """The events that were delivered to one agent, and what became of them.

    Attributes:
        delivered: how many it accepted.
        handled: how many turns on them were committed.
        refused: how many it refused: rejected, or with data that does not fit.
        crashed_on: how many it crashed on.
        left_waiting: how many were still waiting when it ended for good.
        known: how many it had handled before, or had waiting: it is durable, and each counts once.
        refusals: the first few that it refused.
        crashes: the first few that it crashed on.
        turns: how many turns were committed in all, those on signals from elsewhere included.
    """

    delivered: int = 0
    handled: int = 0
    refused: int = 0
    crashed_on: int = 0
    left_waiting: int = 0
    known: int = 0
    refusals: list[Trouble] = attrs.field(factory=list)
    crashes: list[Trouble] = attrs.field(factory=list)
    turns: int = 0

    @property
    def unsettled(self) -> int:
        """How many wait, or were lost in an interrupted turn."""
        return self.delivered - self.handled - self.refused - self.crashed_on - self.left_waiting - self.known


@final
class Tally:
    """Keeps account for each agent.

    Attributes:
        accounts: by the agent's address; those beyond the first thousand share one.
        durable: the agents whose events are stored: what waits for them is not lost.
        tasks: how many tasks each agent has spawned that still run. They may stay for as long as it does.
    """

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.durable: set[str] = set()
        self.tasks: Counter[str] = Counter()
        # What was delivered and has not been settled yet. An agent hears other signals too.
        self._open: Counter[tuple[str, str]] = Counter()

    def account(self, agent: str) -> Account:
        """The account of an agent."""
        found = self.accounts.get(agent)
        if found is None:
            name = agent if len(self.accounts) < _MOST_AGENTS else _OTHERS
            found = self.accounts.setdefault(name, Account())
        return found

    @property
    def unsettled(self) -> int:
        """How many events were delivered, and nothing has become of them yet."""
        return self._open.total()

    def is_waiting(self, but: Set[str]) -> bool:
        """Whether anything may still become of an event that was delivered.

        Args:
            but: agents that nothing is to be expected of.
        """
        return any(agent not in but for agent, _ in self._open)

    def deliver(self, agent: str, signal_id: str) -> None:
        """An event is about to be delivered. That must be known before: its turn may come at once."""
        self.account(agent).delivered += 1
        self._open[agent, signal_id] += 1

    def withdraw(self, agent: str, signal_id: str) -> None:
        """It was not accepted after all."""
        self.account(agent).delivered -= 1
        self._close(agent, signal_id)

    def hear(self, event: Event) -> None:
        """Takes note of what the runtime reports."""
        if not isinstance(event, AgentEvent) or event.agent is None:
            return
        if isinstance(event, TurnEvent):
            if event.outcome == "interrupted":
                return  # as if the turn had never begun: the event waits again
            account = self.account(event.agent)
            account.turns += event.outcome == "committed"
            if self._close(event.agent, event.signal_id):
                _settle(account, event)
        elif isinstance(event, SignalRepeated):
            if self._close(event.agent, event.signal_id):
                self.account(event.agent).known += 1
        elif isinstance(event, SignalDropped):
            if self._close(event.agent, event.signal_id):
                self.account(event.agent).left_waiting += 1
        elif isinstance(event, EffectStart | EffectStop | EffectException) and event.directive == _TASK:
            self.tasks[event.agent] += 1 if isinstance(event, EffectStart) else -1
            if not self.tasks[event.agent]:
                del self.tasks[event.agent]

    def _close(self, agent: str, signal_id: str) -> bool:
        key = agent, signal_id
        if key not in self._open:
            return False
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]
        return True


def _settle(account: Account, event: TurnEvent) -> None:
    if event.outcome == "committed":
        account.handled += 1
        return
    if event.outcome == "crashed":
        account.crashed_on += 1
        troubles = account.crashes
    else:
        account.refused += 1
        troubles = account.refusals
    if len(troubles) < _MOST_TROUBLES:
        troubles.append(Trouble(event.signal_type, event.signal_id, _told(event.error)))


def _told(error: ErrorInfo | None) -> str:
    if error is None:
        return ""
    return f"{error.type}: {error.message}" if error.message else error.type
