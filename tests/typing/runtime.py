"""What type checkers see of the runtime. Nothing here is run.

A `# type: ignore[...]` marks a line that must be an error; a checker that finds none there complains of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, assert_type

from prunella import AgentSpec, Supervisor, open_runtime
from prunella.agents import Agent, Directive, Turn, on
from prunella.runtime import (
    AgentRef,
    AgentStatus,
    EffectContext,
    Runtime,
    ScheduleInfo,
    emit,
    max_errors,
    wait_all,
    wait_any,
)
from prunella.signals import Signal
from prunella.supervision import ExitReason


class Counter(Agent, name="counter"):
    count: int = 0

    @on("add")
    def add(self, amount: int = 1) -> Counter:
        return self.set(count=self.count + amount)


class Ring(Directive):
    pass


async def ring(directive: Ring, context: EffectContext) -> Signal | None:
    assert_type(context.runtime, Runtime)
    return None


def policy(agent: Counter, error: Exception) -> Counter:
    return agent.set(count=0)


async def refs_have_the_type_of_their_agent(runtime: Runtime) -> None:
    ref = runtime.ref("c", Counter)
    assert_type(ref, AgentRef[Counter])
    assert_type(runtime.whereis("c", Counter), AgentRef[Counter] | None)
    assert_type(runtime.agents(Counter), tuple[AgentRef[Counter], ...])
    assert_type(await runtime.start_agent(Counter, "c"), AgentRef[Counter])
    assert_type(await ref.call("add", amount=1), Counter)
    assert_type(await ref.call_settled("add"), Counter)
    assert_type(await ref.ask("add"), Any)
    assert_type(ref.state(), Counter)
    assert_type(ref.status(), AgentStatus)
    assert_type(ref.schedules(), tuple[ScheduleInfo, ...])
    assert_type(ref.recent_turns(), tuple[Turn, ...])
    assert_type(await ref.wait_for(lambda state: state.count > 1), Counter)
    assert_type(await wait_all([ref], lambda state: state.count > 1), dict[AgentRef[Counter], Counter])
    assert_type(await wait_any([ref], lambda state: state.count > 1), tuple[AgentRef[Counter], Counter])
    assert_type(await ref.wait_stopped(), ExitReason)
    (await ref.call("add")).nothing  # type: ignore[attr-defined]


async def a_ref_without_a_class_is_that_of_any_agent(runtime: Runtime) -> None:
    ref = runtime.ref("c")
    assert_type(ref, AgentRef[Agent])
    assert_type(runtime.whereis("c", partition="p"), AgentRef[Agent] | None)
    assert_type(runtime.agents(), tuple[AgentRef[Agent], ...])
    assert_type(runtime.agents(partition=None), tuple[AgentRef[Agent], ...])
    await runtime.stop_agent(ref)
    await runtime.stop_agent("c", "enough")
    await runtime.stop_agent(ref.address)
    await runtime.stop_agent(7)  # type: ignore[arg-type]


async def what_a_runtime_is_opened_with(now: datetime) -> None:
    tree = Supervisor([AgentSpec(Counter, "a", error_policy=policy), AgentSpec(Counter, error_policy=max_errors(3))])
    async with open_runtime(tree, executors={Ring: ring}, epoch=now, telemetry=[print]) as runtime:
        assert_type(runtime, Runtime)
        async with runtime.subscribe("ticket.**") as stream:
            assert_type(await stream.receive(), Signal)
    AgentSpec(Counter, error_policy=emit("trouble"), restore="last", state={"count": 1})
    AgentSpec(Counter, mailbox="many")  # type: ignore[arg-type]
