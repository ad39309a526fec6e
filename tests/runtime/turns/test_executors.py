"""Directives of one's own, and whoever executes them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from tests.runtime.turns.agents import Puppet, settle

from prunella.agents import Directive
from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, DirectiveFailed, EffectContext, open_runtime
from prunella.signals import Signal


@attrs.frozen
class Ring(Directive):
    """Rings a bell."""

    times: int = 1


async def test_an_executor_is_told_whose_directive_it_is() -> None:
    seen: list[EffectContext] = []

    async def ring(directive: Ring, context: EffectContext) -> None:
        seen.append(context)

    async with open_runtime(AgentSpec(Puppet, "p", partition="north"), executors={Ring: ring}, name="home") as runtime:
        ref = runtime.ref("p", partition="north")
        await ref.call_settled("do", it=[Ring(1), Ring(2)])
        await ref.call_settled("do", it=[Ring(3)])
        [first, second, third] = seen
        assert (first.agent, first.partition, first.runtime) == (ref.address, "north", runtime)
        assert first.signal.type == "do"
        assert [context.directive_id for context in seen] == [
            "home/north/p/1/0",
            "home/north/p/1/1",
            "home/north/p/2/0",
        ]
        assert second.signal is first.signal
        assert third.signal is not first.signal


async def test_an_id_is_that_of_its_turn_however_late_it_is_executed() -> None:
    ids: list[str] = []

    async def ring(directive: Ring, context: EffectContext) -> None:
        await trio.sleep(1)
        ids.append(context.directive_id)

    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: ring}) as runtime:
        ref = runtime.ref("p")
        for number in range(3):
            await ref.call("do", it=Ring(number))
        await ref.call_settled("do", it=Ring(9))
    assert ids == [f"default/-/p/{turn}/0" for turn in (1, 2, 3, 4)]


async def test_the_signal_that_an_executor_returns_goes_to_the_agent_and_carries_the_ask() -> None:
    async def ring(directive: Ring, context: EffectContext) -> Signal:
        await trio.sleep(1)
        return Signal("echo", {"value": directive.times})

    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: ring}) as runtime:
        assert await runtime.ref("p").ask("do", it=Ring(3)) == 3


@pytest.mark.parametrize("result", ["text", 1, Signal("prunella.started")], ids=lambda value: type(value).__name__)
async def test_what_an_executor_must_not_return_is_a_failed_directive(result: Any) -> None:
    async def ring(directive: Ring, context: EffectContext) -> Any:
        return result

    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: ring}) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(DirectiveFailed):
            await ref.call_settled("do", it=Ring())
        await settle()
        assert ref.status().restarts == 0


async def test_an_executor_that_raises_is_a_failed_directive() -> None:
    async def ring(directive: Ring, context: EffectContext) -> None:
        raise OSError("no bell")

    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: ring}) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(DirectiveFailed, match="no bell"):
            await ref.call_settled("do", it=Ring())
        assert ref.status().restarts == 0


class Strange(BaseException):
    """What no function should raise."""


async def test_what_no_executor_should_raise_spoils_only_its_own_directive() -> None:
    rung: list[int] = []

    async def ring(directive: Ring, context: EffectContext) -> None:
        await trio.sleep(1)
        if directive.times == 1:
            raise Strange("odd")
        rung.append(directive.times)

    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: ring}) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(DirectiveFailed, match="Strange") as caught:
            await ref.call_settled("do", it=[Ring(1), Ring(2), Ring(3)])
        assert len(caught.value.failures) == 1
        assert rung == [2, 3]


@pytest.mark.parametrize("executors", [{"ring": print}, {int: print}, {Ring: "ring"}], ids=repr)
async def test_what_is_no_executor_is_refused(executors: Any) -> None:
    with pytest.raises(InvalidArgument, match="executors"):
        open_runtime(executors=executors)


async def test_an_executor_that_cannot_be_awaited_is_told_what_it_should_be() -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: lambda directive, context: None}) as runtime:
        with pytest.raises(DirectiveFailed) as caught:
            await runtime.ref("p").call_settled("do", it=Ring())
        [(_, error)] = caught.value.failures
        assert "executor of Ring: result must be awaitable: it is an async function" in str(error)
