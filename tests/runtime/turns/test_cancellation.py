"""Callers that lose patience: before the turn the signal is withdrawn, in it the turn counts."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, settle

from prunella.agents import AgentStopped, Emit, Reply, Run, Schedule
from prunella.runtime import AgentSpec, ReplyDropped, open_runtime

waiting_verbs = pytest.mark.parametrize("verb", ["call", "call_settled", "ask"])
all_verbs = pytest.mark.parametrize("verb", ["call", "call_settled", "ask", "cast"])


@waiting_verbs
async def test_a_signal_whose_caller_has_gone_is_never_handled(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(2):
                await getattr(ref, verb)("note", value=1)
        assert trio.current_time() >= 2
        await ref.resume()
        assert (await ref.call("note", value=2)).log == (2,)


@all_verbs
async def test_a_caller_that_is_cancelled_already_sends_nothing(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        with trio.CancelScope() as scope:
            scope.cancel()
            await getattr(ref, verb)("note", value=1)
        assert scope.cancelled_caught
        await settle()
        assert ref.state().log == ()


@all_verbs
async def test_a_caller_who_waits_for_room_withdraws(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("note", value=1)
        with trio.move_on_after(1) as scope:
            await getattr(ref, verb)("note", value=2)
        assert scope.cancelled_caught
        await ref.resume()
        await settle()
        assert ref.state().log == (1,)


@waiting_verbs
async def test_after_the_turn_has_been_taken_a_cancellation_changes_nothing(verb: str) -> None:
    """A turn in the caller's own task, whose scope is cancelled in that very turn."""
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        with trio.CancelScope() as scope:

            def cancel(self: Puppet) -> Any:
                scope.cancel()
                return self.set(log=(1,)), Reply("answer")

            result = await getattr(ref, verb)("do", it=cancel)
        assert ref.state().log == (1,)
        assert result == "answer" if verb == "ask" else result.log == (1,)


async def test_a_caller_of_settled_who_goes_leaves_the_turn_and_its_effects() -> None:
    done = []

    async def work() -> None:
        await trio.sleep(5)
        done.append(trio.current_time())

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        with trio.move_on_after(1):
            await ref.call_settled("do", it=lambda self: (self.set(log=(1,)), Run(work)))
        assert ref.state().log == (1,)
        await trio.sleep(10)
    assert len(done) == 1


async def test_the_answer_to_an_ask_whose_caller_has_gone_is_dropped_and_reported(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        with trio.move_on_after(1) as scope:
            await ref.ask("do", it=lambda self: (self.set(log=(1,)), Schedule(5, "echo", {"value": 1})))
        assert scope.cancelled_caught
        await trio.sleep(10)
        assert ref.state().log == (1,)
        assert len(heard.of(ReplyDropped)) == 1


async def test_nothing_of_a_caller_who_went_is_left() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=3)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for _ in range(3):
            with trio.move_on_after(1):
                await ref.call("note", value=1)
        await ref.resume()
        await settle()
        assert ref.status().mailbox == 0
        assert ref.state().log == ()


async def test_a_deadline_that_comes_with_the_answer_is_met() -> None:
    """The answer was there first: a caller who got it does not lose it."""
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        caller = Task(nursery, ref.call, "note", value=1)
        await settle()
        await ref.resume()
        await settle()
        caller.scope.cancel()
        assert caller.value.log == (1,)


async def test_a_slow_caller_does_not_keep_the_agent_from_others() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        slow = Task(nursery, ref.call_settled, "do", it=Run(trio.sleep, {"seconds": 100}))
        await settle()
        began = trio.current_time()
        assert (await ref.call("note", value=1)).log == (1,)
        assert (ref.state().log, ref.status().effects) == ((1,), 1)
        assert trio.current_time() - began < 1
        assert slow.is_waiting


async def test_an_emit_of_a_cancelled_callers_turn_is_sent_all_the_same() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        other = await runtime.start_agent(Puppet, "other")
        ref = runtime.ref("p", Puppet)
        with trio.CancelScope() as scope:

            def cancel(_: Puppet) -> Any:
                scope.cancel()
                return Emit("note", {"value": 1}, to="other")

            await ref.call("do", it=cancel)
        assert (await other.call("note", value=2)).log == (1, 2)


async def test_a_caller_of_an_agent_that_ends_while_its_deadline_runs_hears_of_the_end() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()

        async def patient() -> None:
            with trio.fail_after(100):
                await ref.call("note")

        caller = Task(nursery, patient)
        await trio.sleep(1)
        await ref.stop("enough")
        await settle()
        assert isinstance(caller.error, AgentStopped)
        assert caller.ended_at is not None
        assert caller.ended_at < 50
