"""One path for every turn: taken at once or after a wait in the mailbox, it comes out the same, and in order."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, busy, settle
from trio.testing import MockClock

from prunella.agents import Agent, AgentCrashed, AgentError, Context, Emit, Rejected, on
from prunella.runtime import AgentRef, AgentSpec, TurnEvent, open_runtime

anyhow = pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])


@anyhow
async def test_turns_of_one_caller_keep_its_order_whichever_verbs_it_uses(is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        await ref.cast("note", value=1)
        ref.cast_nowait("note", value=2)
        assert (await ref.call("note", value=3)).log[-3:] == (1, 2, 3)
        await ref.cast("note", value=4)
        await ref.call_settled("note", value=5)
        await ref.cast("note", value=6)
        await ref.ask("echo")
        assert ref.state().log[-3:] == (4, 5, 6)


async def test_several_calls_in_flight_each_get_the_state_after_their_own_turn() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        callers = []
        for number in range(5):
            callers.append(Task(nursery, ref.call, "note", value=number))
            await settle()
        await ref.resume()
        await settle()
        assert [caller.value.log for caller in callers] == [tuple(range(n + 1)) for n in range(5)]


@anyhow
async def test_a_turn_is_committed_whole_or_not_at_all(is_busy: bool) -> None:
    """All handlers of a signal are one turn: what the first did is taken back when the second refuses."""

    class Two(Agent, name="two"):
        first: bool = False

        @on("go", priority=1)
        def one(self) -> Any:
            return self.set(first=True), Emit("note", {"value": 1}, to="p")

        @on("go")
        def two(self) -> Any:
            raise Rejected("no")

        @on("wait")
        def wait(self) -> None: ...

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = await runtime.start_agent(Two, "two")
        if is_busy:
            await ref.cast("wait")
        with pytest.raises(Rejected):
            await ref.call("go")
        await settle()
        assert not ref.state().first
        assert runtime.ref("p", Puppet).state().log == ()


@anyhow
async def test_the_committed_state_is_seen_before_anything_else_runs(is_busy: bool) -> None:
    """Whoever hears of a turn finds its state in place."""
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        a = runtime.ref("a", Puppet)
        seen = []

        class Watcher(Agent, name="watcher"):
            @on("look")
            def look(self) -> None:
                seen.append(a.state().log)

        await runtime.start_agent(Watcher, "w")
        if is_busy:
            await busy(a)
        await a.call("do", it=lambda self: (self.set(log=(1,)), Emit("look", to="w")))
        await settle()
        assert seen == [(1,)]


async def test_a_caller_in_a_loop_lets_others_run() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        steps = 0

        async def other() -> None:
            nonlocal steps
            while True:
                await trio.lowlevel.checkpoint()
                steps += 1

        nursery.start_soon(other)
        for verb in (ref.call, ref.call_settled, ref.cast):
            before = steps
            for _ in range(640):
                await verb("do", it=None)
            assert steps - before >= 8
        nursery.cancel_scope.cancel()


async def test_callers_in_turn_never_hold_others_up_for_long() -> None:
    """However many tasks call in loops, each of them yields at every 64th call of all of them."""
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        gaps: list[int] = []

        async def watch() -> None:
            last = turns
            while True:
                await trio.lowlevel.checkpoint()
                gaps.append(turns - last)
                last = turns

        async def call() -> None:
            nonlocal turns
            for _ in range(500):
                await ref.call("do", it=None)
                turns += 1
            done.release()

        turns = 0
        done = trio.Semaphore(0)
        nursery.start_soon(watch)
        for _ in range(4):
            nursery.start_soon(call)
        for _ in range(4):
            await done.acquire()
        nursery.cancel_scope.cancel()
        # The watcher may be the first of one round of the loop and the last of the next.
        assert max(gaps) <= 2 * 4 * 64


async def test_slow_handlers_hold_nobody_up_for_long() -> None:
    """Turns that take long are fewer between two checkpoints."""
    import time

    def slow(_: Puppet) -> None:
        end = time.perf_counter() + 0.002
        while time.perf_counter() < end:
            pass

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        steps = 0

        async def other() -> None:
            nonlocal steps
            while True:
                await trio.lowlevel.checkpoint()
                steps += 1

        nursery.start_soon(other)
        for _ in range(20):
            await ref.call("do", it=slow)
        assert steps >= 8
        for _ in range(20):
            await ref.cast("do", it=slow)
        before = steps
        await ref.call("do", it=None)
        assert steps - before >= 8
        nursery.cancel_scope.cancel()


async def test_a_flood_at_one_agent_does_not_starve_another() -> None:
    async with open_runtime(AgentSpec(Puppet, "flooded")) as runtime:
        other = await runtime.start_agent(Puppet, "other")
        flooded = runtime.ref("flooded", Puppet)
        for number in range(1000):
            flooded.cast_nowait("note", value=number)
        await other.cast("note", value=1)
        await other.call("note", value=2)
        assert len(flooded.state().log) < 1000
        assert other.state().log == (1, 2)


async def test_signals_of_others_and_of_ones_own_take_turns() -> None:
    """An agent that sends itself signals without end still hears others, and the other way round."""

    def again(self: Puppet) -> Any:
        return self.set(log=(*self.log, "self")), Emit("do", {"it": again}, to="p")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("do", it=again)
        for number in range(10):
            await ref.cast("note", value=number)
        state = await ref.call("note", value=10)
        assert [item for item in state.log if item != "self"] == list(range(11))
        assert state.log.count("self") >= 5


async def test_a_queue_does_not_hold_up_a_caller_of_another_agent_for_long() -> None:
    """A mailbox that is long is worked off in portions."""
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(900):
            ref.cast_nowait("note", value=number)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        assert 0 < len(ref.state().log) < 900


mood: ContextVar[str] = ContextVar("mood", default="none")


@anyhow
@pytest.mark.parametrize("verb", ["call", "ask", "cast"])
async def test_a_handler_sees_the_runtimes_context_and_never_its_callers(verb: str, is_busy: bool) -> None:
    moods: list[str] = []

    def look(_: Puppet) -> Any:
        from prunella.agents import Reply

        moods.append(mood.get())
        return Reply(None)

    token = mood.set("of the opener")
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        mood.reset(token)
        ref: AgentRef[Puppet] = runtime.ref("p", Puppet)
        mood.set("of the caller")
        if is_busy:
            await busy(ref)
        await getattr(ref, verb)("do", it=look)
        await settle()
    assert moods == ["of the opener"]


async def test_an_effect_sees_the_runtimes_context_too(thread_clock: MockClock) -> None:
    from prunella.agents import Run

    moods: list[str] = []

    async def look() -> None:
        moods.append(mood.get())

    def look_in_a_thread() -> None:
        moods.append(mood.get())

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        mood.set("of the caller")
        ref = runtime.ref("p")
        await ref.call_settled("do", it=Run(look))
        await ref.call_settled("do", it=Run(look_in_a_thread))
    assert moods == ["none", "none"]


@anyhow
async def test_a_crash_has_the_same_traceback_wherever_the_turn_was_taken(is_busy: bool) -> None:
    """It begins in the handler: whose task the turn was taken in is nobody's business."""
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        with pytest.raises(AgentCrashed) as caught:
            await ref.call("boom")
        places = caught.value.reason.error.places
        assert places[-1].code is Puppet.boom.__code__
        assert not any("runtime" in place.code.co_filename.split("/")[-2:-1] for place in places)


@anyhow
async def test_each_turn_is_one_event_with_its_outcome(is_busy: bool, heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        await ref.call("note", value=1)
        for type in ("refuse", "no.such", "boom"):
            if is_busy:
                await busy(ref)
            with pytest.raises(AgentError):
                await ref.call(type)
        turns = [(event.signal_type, event.outcome) for event in heard.of(TurnEvent) if event.signal_type != "note"]
        assert turns == [("refuse", "Rejected"), ("no.such", "UnhandledSignal"), ("boom", "crashed")]


async def test_turns_of_one_agent_never_overlap_even_if_a_turn_reaches_back_to_its_agent() -> None:
    """An emit to oneself, or to one that answers at once, is handled after the turn."""
    order: list[str] = []

    def outer(_: Puppet) -> Any:
        order.append("outer begins")
        order.append("outer ends")
        return Emit("do", {"it": lambda _: order.append("inner")}, to="p")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        await runtime.ref("p").call("do", it=outer)
        await settle()
    assert order == ["outer begins", "outer ends", "inner"]


async def test_the_context_of_a_turn_tells_of_its_agent() -> None:
    seen: list[Context] = []

    class Curious(Agent, name="curious"):
        @on("look")
        def look(self, context: Context) -> None:
            seen.append(context)

    async with open_runtime(AgentSpec(Curious, "c", partition="north")) as runtime:
        ref = runtime.ref("c", partition="north")
        await ref.call("look")
        await ref.call("look")
    first, second = seen
    assert (first.agent_id, first.partition, first.parent, dict(first.children)) == ("c", "north", None, {})
    assert first.signal is not None
    assert first.signal.type == "look"
    assert first.seed != second.seed
