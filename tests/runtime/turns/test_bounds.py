"""Bounds: what an agent has not got rid of slows outsiders first, and is refused in the end. Nothing stands still."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Puppet, Task, settle

from prunella.agents import Emit, MailboxFull, Run
from prunella.runtime import AgentSpec, Overflow, emit, open_runtime

waits = Run(trio.sleep_forever)


async def test_outsiders_wait_while_the_outbox_is_full() -> None:
    async with open_runtime(AgentSpec(Puppet, "a", effects=2)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a", Puppet)
        for _ in range(2):
            await ref.call("do", it=Run(trio.sleep, {"seconds": 10}))
        callers = [Task(nursery, verb, "echo", value=1) for verb in (ref.call, ref.cast, ref.ask, ref.call_settled)]
        with pytest.raises(MailboxFull):
            ref.cast_nowait("note")
        await trio.sleep(5)
        assert all(caller.is_waiting for caller in callers)
        await trio.sleep(6)
        assert not any(caller.is_waiting for caller in callers)
        assert [caller.error for caller in callers] == [None] * 4


async def test_callers_who_wait_for_the_outbox_hear_of_the_agents_end() -> None:
    async with open_runtime(AgentSpec(Puppet, "a", effects=1, shutdown=3.0)) as runtime:
        async with trio.open_nursery() as nursery:
            ref = runtime.ref("a", Puppet)
            await ref.call("do", it=waits)
            callers = [Task(nursery, verb, "note") for verb in (ref.call, ref.cast, ref.ask)]
            await settle()
            began = trio.current_time()
            await ref.stop()
            await settle()
            assert [type(caller.error).__name__ for caller in callers] == ["AgentStopped"] * 3
            assert all(caller.ended_at is not None and caller.ended_at - began < 1 for caller in callers)


async def test_signals_of_agents_ticks_and_results_are_still_taken() -> None:
    async with open_runtime(AgentSpec(Puppet, "a", effects=1)) as runtime:
        ref = runtime.ref("a", Puppet)
        b = await runtime.start_agent(Puppet, "b")
        from prunella.agents import Schedule

        result = Run(trio.sleep, {"seconds": 1}, then="got")
        await ref.call("do", it=[waits, result, Schedule(1, "note", {"value": "tick"})])
        await b.call("do", it=Emit("note", {"value": "signal"}, to="a"))
        await trio.sleep(2)
        assert sorted(map(str, ref.state().log)) == [str(("got", None, {})), "signal", "tick"]


async def test_emits_to_oneself_do_not_count_against_the_mailbox() -> None:
    async with open_runtime(AgentSpec(Puppet, "a", mailbox=1)) as runtime:
        ref = runtime.ref("a", Puppet)
        await ref.call("do", it=[Emit("note", {"value": number}, to="a") for number in range(50)])
        await settle()
        assert ref.state().log == tuple(range(50))


@pytest.mark.parametrize("verb", ["call", "ask", "call_settled"])
async def test_a_turn_that_would_exceed_ten_times_the_bound_is_refused_whole(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "a", effects=2)) as runtime:
        ref = runtime.ref("a", Puppet)
        with pytest.raises(Overflow, match="21 effects would wait where 2 may") as caught:
            await getattr(ref, verb)("do", it=lambda self: (self.set(log=("no",)), *[waits] * 21))
        assert (caught.value.waiting, caught.value.limit) == (21, 2)
        assert caught.value.address == ref.address
        assert (ref.state().log, ref.status().effects, ref.status().restarts) == ((), 0, 0)
        await ref.call("do", it=[waits] * 20)
        assert ref.status().effects == 20


async def test_an_overflow_meets_the_error_policy() -> None:
    errors: list[Exception] = []
    spec = AgentSpec(Puppet, "a", effects=1, error_policy=lambda agent, error: errors.append(error))
    async with open_runtime(spec) as runtime:
        ref = runtime.ref("a", Puppet)
        await ref.cast("do", it=[waits] * 11)
        await settle()
        assert [type(error) for error in errors] == [Overflow]


async def test_two_agents_that_send_to_each_other_more_and_more_overflow_and_never_stand_still() -> None:
    """A cycle slows outsiders first, and ends in an error: never in a standstill or a silent loss."""
    errors: dict[str, list[Exception]] = {"a": [], "b": []}
    handled = 0

    def twice(to: str, back: str) -> Any:
        def handler(self: Puppet) -> Any:
            nonlocal handled
            handled += 1
            return [Emit("do", {"it": twice(back, to)}, to=to)] * 2

        return handler

    def spec(id: str) -> AgentSpec[Puppet]:
        policy = lambda agent, error: errors[id].append(error)  # noqa: E731
        return AgentSpec(Puppet, id, mailbox=5, effects=5, error_policy=policy)

    async with open_runtime(spec("a")) as runtime:
        a = runtime.ref("a", Puppet)
        b = await runtime.start_agent(Puppet, **_options(spec("b")))
        await a.cast("do", it=twice("b", "a"))
        with trio.move_on_after(5):
            for _ in range(20_000):
                await trio.lowlevel.checkpoint()
                if errors["a"] and errors["b"]:
                    break
        assert handled > 20
        assert {type(error) for error in errors["a"] + errors["b"]} == {Overflow}
        assert max(a.status().effects, b.status().effects) <= 50
        assert max(a.status().mailbox, b.status().mailbox) <= 5
        await b.stop()
        await a.stop()


def _options(spec: AgentSpec[Any]) -> dict[str, Any]:
    return {"id": spec.id, "mailbox": spec.mailbox, "effects": spec.effects, "error_policy": spec.error_policy}


async def test_a_cycle_with_full_mailboxes_and_full_outboxes_goes_on() -> None:
    """Each waits for room in the other's mailbox, and neither for the other's outbox."""
    async with open_runtime(AgentSpec(Puppet, "a", mailbox=1, effects=2)) as runtime:
        a = runtime.ref("a", Puppet)
        b = await runtime.start_agent(Puppet, "b", mailbox=1, effects=2)
        await a.suspend()
        await b.suspend()
        a.cast_nowait("do", it=[Emit("note", {"value": number}, to="b") for number in range(10)])
        b.cast_nowait("do", it=[Emit("note", {"value": number}, to="a") for number in range(10)])
        await a.resume()
        await b.resume()
        await settle()
        assert a.state().log == b.state().log == tuple(range(10))


async def test_an_endless_loop_to_oneself_lets_others_run_and_can_be_stopped() -> None:
    def again(self: Puppet) -> Any:
        return Emit("do", {"it": again}, to="a")

    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a", Puppet)
        await ref.cast("do", it=again)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        await ref.stop()


async def test_an_endless_loop_of_errors_about_errors_is_bounded() -> None:
    """An agent that hears of its own errors, and fails at that, fills its mailbox and nothing else."""

    spec = AgentSpec(Puppet, "a", mailbox=10, subscribe=["trouble"], error_policy=emit("trouble"))
    async with open_runtime(spec) as runtime:
        ref = runtime.ref("a", Puppet)
        await ref.cast("refuse")
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        assert ref.status().mailbox <= 10
        await ref.stop()
