"""Effects of one agent to one target keep the order of its turns; a slow target holds up nobody but itself."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import attrs
import pytest
import trio
from tests.runtime.turns.agents import Puppet, settle

from prunella.agents import Address, AgentNotFound, AgentStopped, Directive, Emit
from prunella.dispatch import FunctionTarget
from prunella.runtime import AgentSpec, DirectiveFailed, EffectContext, open_runtime


async def test_emits_to_one_target_are_handled_in_order_whether_it_had_room_or_not() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        slow = await runtime.start_agent(Puppet, "slow", mailbox=2)
        ref = runtime.ref("a")
        await slow.suspend()
        for number in range(10):
            await ref.call("do", it=Emit("note", {"value": number}, to="slow"))
        assert ref.status().effects == 8
        await slow.resume()
        for number in range(10, 20):
            await ref.call("do", it=Emit("note", {"value": number}, to="slow"))
        await settle()
        assert slow.state().log == tuple(range(20))
        assert ref.status().effects == 0


async def test_a_slow_target_holds_up_neither_the_agent_nor_other_targets() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        slow = await runtime.start_agent(Puppet, "slow", mailbox=1)
        quick = await runtime.start_agent(Puppet, "quick")
        await slow.suspend()
        ref = runtime.ref("a", Puppet)
        both = [Emit("note", {"value": 1}, to="slow"), Emit("note", {"value": 1}, to="quick")]
        for _ in range(3):
            await ref.call("do", it=both)
        await settle()
        assert quick.state().log == (1, 1, 1)
        assert (await ref.call("note", value=2)).log == (2,)


async def test_several_emits_of_one_turn_keep_their_order() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        b = await runtime.start_agent(Puppet, "b")
        await runtime.ref("a").call("do", it=[Emit("note", {"value": number}, to="b") for number in range(5)])
        await settle()
        assert b.state().log == tuple(range(5))


async def test_emits_to_oneself_come_after_the_turn_and_in_order() -> None:
    async with open_runtime(AgentSpec(Puppet, "a", mailbox=1)) as runtime:
        ref = runtime.ref("a", Puppet)
        emits = [Emit("note", {"value": number}, to="a") for number in range(5)]
        await ref.call("do", it=lambda self: (self.set(log=("turn",)), *emits))
        await settle()
        assert ref.state().log == ("turn", *range(5))


async def test_a_target_may_be_an_id_a_ref_or_an_address() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        b = await runtime.start_agent(Puppet, "b")
        north = await runtime.start_agent(Puppet, "b", partition="north")
        targets: list[Any] = ["b", b, b.address, Address("b", "north"), north]
        await runtime.ref("a").call("do", it=[Emit("note", {"value": n}, to=t) for n, t in enumerate(targets)])
        await settle()
        assert (b.state().log, north.state().log) == ((0, 1, 2), (3, 4))


async def test_an_id_is_meant_in_the_senders_partition() -> None:
    async with open_runtime(AgentSpec(Puppet, "b")) as runtime:
        sender = await runtime.start_agent(Puppet, "a", partition="north")
        b = await runtime.start_agent(Puppet, "b", partition="north")
        await sender.call("do", it=Emit("note", {"value": 1}, to="b"))
        await settle()
        assert (b.state().log, runtime.ref("b", Puppet).state().log) == ((1,), ())


async def test_a_target_that_is_not_there_is_a_failed_directive() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        b = await runtime.start_agent(Puppet, "b")
        await b.stop()
        ref = runtime.ref("a")
        for to, kind in [("nobody", AgentNotFound), ("b", AgentStopped)]:
            with pytest.raises(DirectiveFailed) as caught:
                await ref.call_settled("do", it=Emit("note", to=to))
            assert [type(error) for _, error in caught.value.failures] == [kind]


async def test_what_waits_for_a_target_that_ends_has_failed() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime, trio.open_nursery():
        slow = await runtime.start_agent(Puppet, "slow", mailbox=1)
        await slow.suspend()
        errors: list[Exception] = []
        ref = await runtime.start_agent(Puppet, "b", error_policy=lambda agent, error: errors.append(error))
        for number in range(4):
            await ref.call("do", it=Emit("note", {"value": number}, to="slow"))
        await settle()
        await slow.stop()
        await settle()
        assert [type(error) for error in errors] == [AgentStopped] * 3
        assert ref.status().effects == 0


async def test_targets_outside_keep_their_order_too() -> None:
    got: list[Any] = []

    async def take(signal: Any) -> None:
        await trio.sleep(1 if signal.data["value"] == 0 else 0)
        got.append(signal.data["value"])

    target = FunctionTarget(take)
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a")
        for number in range(4):
            await ref.call("do", it=Emit("note", {"value": number}, to=target))
        await ref.call_settled("do", it=Emit("note", {"value": 4}, to=target))
    assert got == list(range(5))


@attrs.frozen
class Ring(Directive):
    """Rings a bell."""

    times: int


async def test_directives_of_one_kind_are_executed_in_order() -> None:
    rung: list[int] = []

    async def ring(directive: Ring, context: EffectContext) -> None:
        await trio.sleep(10 - directive.times)
        rung.append(directive.times)

    async with open_runtime(AgentSpec(Puppet, "a"), executors={Ring: ring}) as runtime:
        await runtime.ref("a").call_settled("do", it=[Ring(1), Ring(2), Ring(3)])
    assert rung == [1, 2, 3]


async def test_a_failure_does_not_hold_up_what_comes_after_it() -> None:
    done: list[int] = []

    def ring(directive: Ring, context: EffectContext) -> Awaitable[None]:
        if directive.times == 1:
            raise ValueError("no")

        async def really() -> None:
            done.append(directive.times)

        return really()

    async with open_runtime(AgentSpec(Puppet, "a"), executors={Ring: ring}) as runtime:
        with pytest.raises(DirectiveFailed):
            await runtime.ref("a").call_settled("do", it=[Ring(1), Ring(2)])
        await settle()
    assert done == [2]


async def test_order_is_kept_over_a_crash_of_the_sender_and_of_the_target() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        target = await runtime.start_agent(Puppet, "target", mailbox=2, restore="last")
        await target.suspend()
        ref = runtime.ref("a")
        for number in range(6):
            await ref.call("do", it=Emit("note", {"value": number}, to="target"))
        await ref.cast("boom")
        await ref.cast("do", it=Emit("boom", to="target"))
        await ref.cast("do", it=Emit("note", {"value": 6}, to="target"))
        await settle()
        await target.resume()
        await settle()
        assert target.state().log == tuple(range(7))
        assert (ref.status().restarts, target.status().restarts) == (1, 1)
