"""Where agents live: mailboxes, turns, effects, families and schedules, on supervision.

Open a runtime with a tree of agents, and talk to them by their refs::

    from prunella import Agent, AgentSpec, on, open_runtime

    class Counter(Agent, name="counter"):
        count: int = 0

        @on("add")
        def add(self, amount: int = 1):
            return self.set(count=self.count + amount)

    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        state = await runtime.ref("c", Counter).call("add", amount=2)
        assert state.count == 2
"""

from ._errors import DirectiveFailed, EffectsRunning, Hibernated, Overflow, TooManyWaiters
from ._events import (
    AgentEnded,
    AgentEvent,
    AgentFenced,
    AgentQuarantined,
    AgentRestarted,
    AgentStarted,
    EffectException,
    EffectStart,
    EffectStop,
    OutboxMeasured,
    ReplyDropped,
    SignalDropped,
    SignalPoisoned,
    SignalRepeated,
    TurnEvent,
)
from ._family import FamilyError
from ._keyed import Keyed
from ._opening import open_runtime
from ._policy import emit, max_errors
from ._ref import AgentRef, AgentStatus
from ._runtime import EffectContext, Runtime
from ._schedules import ScheduleInfo
from ._spec import AgentSpec
from ._waiting import wait_all, wait_any

__all__ = [
    "AgentEnded",
    "AgentEvent",
    "AgentFenced",
    "AgentQuarantined",
    "AgentRef",
    "AgentRestarted",
    "AgentSpec",
    "AgentStarted",
    "AgentStatus",
    "DirectiveFailed",
    "EffectContext",
    "EffectException",
    "EffectStart",
    "EffectStop",
    "EffectsRunning",
    "FamilyError",
    "Hibernated",
    "Keyed",
    "OutboxMeasured",
    "Overflow",
    "ReplyDropped",
    "Runtime",
    "ScheduleInfo",
    "SignalDropped",
    "SignalPoisoned",
    "SignalRepeated",
    "TooManyWaiters",
    "TurnEvent",
    "emit",
    "max_errors",
    "open_runtime",
    "wait_all",
    "wait_any",
]
