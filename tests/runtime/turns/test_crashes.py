"""A crash and what follows: what the next life begins with, what goes on, and what is taken along."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, settle

from prunella.agents import (
    Agent,
    AgentCrashed,
    Cron,
    Directive,
    Emit,
    ImpureHandler,
    InvalidResult,
    Rejected,
    Run,
    Schedule,
    on,
)
from prunella.runtime import AgentSpec, DirectiveFailed, EffectContext, SignalPoisoned, open_runtime
from prunella.signals import InvalidSignal
from prunella.supervision import Backoff, Crashed
from prunella.testing import crash


async def test_fresh_begins_with_the_spec_again() -> None:
    spec = AgentSpec(Puppet, "p", state={"log": ("first",)})
    async with open_runtime(spec) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value=1)
        await crash(ref)
        assert ref.state().log == ("first",)


async def test_last_begins_with_what_was_committed_last() -> None:
    spec = AgentSpec(Puppet, "p", state={"log": ("first",)}, restore="last")
    async with open_runtime(spec) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value=1)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        assert ref.state().log == ("first", 1)
        await ref.call("note", value=2)
        await crash(ref)
        assert ref.state().log == ("first", 1, 2)


async def test_last_ends_with_the_agent() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", restore="last")
        await ref.call("note", value=1)
        await ref.stop()
        again = await runtime.start_agent(Puppet, "p", restore="last")
        assert again.state().log == ()


async def test_a_state_that_is_the_fault_costs_one_restart_a_signal_until_the_agent_ends() -> None:
    """Nothing falls back to `fresh` by itself."""

    class Broken(Agent, name="broken"):
        bad: bool = False

        @on("spoil")
        def spoil(self) -> Any:
            return self.set(bad=True)

        @on("use")
        def use(self) -> None:
            assert not self.bad

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Broken, "b", restore="last", max_restarts=2)
        await ref.call("spoil")
        for _ in range(3):
            with pytest.raises(AgentCrashed):
                await ref.call("use")
        assert isinstance(await ref.wait_stopped(), Crashed)


@pytest.mark.parametrize("result", [b"bytes", (Puppet(), Puppet()), "text", 1], ids=repr)
async def test_what_is_no_result_is_a_crash(result: Any) -> None:
    async with open_runtime(AgentSpec(Puppet, "p", restore="last")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value=1)
        with pytest.raises(AgentCrashed) as caught:
            await ref.call("do", it=result)
        assert caught.value.reason.type is InvalidResult
        assert ref.state().log == (1,)


class Odd(BaseException):
    """What a handler should not raise either."""


@pytest.mark.parametrize("error", [Odd("odd"), GeneratorExit(), MemoryError()], ids=repr)
@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
async def test_whatever_a_handler_raises_stays_in_its_agent(error: BaseException, is_busy: bool) -> None:
    def odd(_: Puppet) -> None:
        raise error

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await ref.cast("note")
        with pytest.raises(AgentCrashed) as caught:
            await ref.call("do", it=odd)
        assert caught.value.reason.type is type(error)
        assert (await ref.call("note", value=1)).log == (1,)


async def test_a_handler_that_changes_its_agent_by_force_before_it_crashes_is_undone_with_it() -> None:
    """A crash in the middle of several handlers commits nothing."""

    class Half(Agent, name="half"):
        done: int = 0

        @on("go", priority=1)
        def one(self) -> Any:
            return self.set(done=1), Emit("note", {"value": 1}, to="p")

        @on("go")
        def two(self) -> Any:
            raise ValueError("second")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = await runtime.start_agent(Half, "half", restore="last")
        with pytest.raises(AgentCrashed, match="second"):
            await ref.call("go")
        await settle()
        assert ref.state().done == 0
        assert runtime.ref("p", Puppet).state().log == ()


# What goes on.


async def test_signals_that_wait_are_handled_after_the_restart_and_the_crashing_one_is_not() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", restore="last")) as runtime:
        ref = runtime.ref("p", Puppet)
        for item in ("a", "boom", "b", "boom", "c"):
            ref.cast_nowait(*(("boom",) if item == "boom" else ("note", {"value": item})))
        await settle()
        assert ref.state().log == ("a", "b", "c")
        assert ref.status().restarts == 2


async def test_a_ref_stays_valid() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await crash(ref)
        assert (await ref.call("note", value=1)).log == (1,)
        assert runtime.whereis("p") == ref


async def test_a_crash_touches_no_other_agent() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        other = await runtime.start_agent(Puppet, "other")
        await other.call("note", value=1)
        await crash(runtime.ref("p"))
        assert (other.state().log, other.status().restarts) == ((1,), 0)


async def test_emits_that_wait_for_their_target_are_handed_over_before_the_restart() -> None:
    order: list[str] = []
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        slow = await runtime.start_agent(Puppet, "slow", mailbox=1)
        await slow.suspend()
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Emit("note", {"value": number}, to="slow") for number in range(3)])
        await settle()
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        Task(nursery, ref.call, "do", it=lambda _: order.append("new life"))
        await trio.sleep(1)
        assert (ref.status().restarts, order) == (0, [])
        await slow.resume()
        await settle()
        assert slow.state().log == (0, 1, 2)
        assert (ref.status().restarts, order) == (1, ["new life"])


async def test_what_cannot_be_handed_over_within_the_shutdown_time_is_reported() -> None:
    errors: list[Exception] = []
    policy: Any = lambda agent, error: errors.append(error)  # noqa: E731
    async with open_runtime(AgentSpec(Puppet, "p", shutdown=2.0, error_policy=policy)) as runtime:
        slow = await runtime.start_agent(Puppet, "slow", mailbox=1)
        await slow.suspend()
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Emit("note", {"value": number}, to="slow") for number in range(3)])
        await settle()
        await ref.cast("boom")
        await trio.sleep(5)
        assert (await ref.call("note", value=1)).log == (1,)
        assert [type(error) for error in errors] == [AgentCrashed, AgentCrashed]
        await slow.resume()
        await settle()
        assert slow.state().log == (0,)


async def test_schedules_made_by_directives_end_with_the_life_and_declared_ones_begin_anew() -> None:
    class Ticking(Agent, name="ticking", schedules=(Schedule(30, "tick", {"who": "declared"}, key="declared"),)):
        log: tuple[str, ...] = ()

        @on("tick")
        def tick(self, who: str = "cron") -> Any:
            return self.set(log=(*self.log, who))

        @on("arm")
        def arm(self) -> Any:
            return Schedule(30, "tick", {"who": "armed"}), Cron("* * * * *", "tick", key="cron")

        @on("boom")
        def boom(self) -> None:
            raise ValueError("boom")

    async with open_runtime(AgentSpec(Ticking, "t")) as runtime:
        ref = runtime.ref("t", Ticking)
        await ref.call("arm")
        assert len(ref.schedules()) == 3
        await trio.sleep(20)
        await ref.cast("boom")
        await trio.sleep(20)
        assert [schedule.key for schedule in ref.schedules()] == ["declared"]
        assert ref.state().log == ()
        await trio.sleep(200)
        assert ref.state().log == ("declared",)


async def test_a_backoff_delays_the_restart_and_callers_wait() -> None:
    backoff = Backoff(10, 10, 1, jitter=0)
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", backoff=backoff)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        began = trio.current_time()
        assert ref.status().state == "restarting"
        assert isinstance(ref.status().reason, Crashed)
        assert ref.state().log == ()
        assert (await ref.call("note", value=1)).log == (1,)
        assert trio.current_time() - began == pytest.approx(10, abs=0.1)


async def test_an_agent_that_waits_for_its_restart_can_be_stopped() -> None:
    backoff = Backoff(1000, 1000, 1, jitter=0)
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Puppet, "p", backoff=backoff)
        await ref.cast("boom")
        await settle()
        caller = Task(nursery, ref.call, "note")
        await settle()
        await ref.stop()
        await settle()
        assert type(caller.error).__name__ == "AgentStopped"
        assert trio.current_time() < 100


# Reports.


async def test_a_poisonous_signal_is_reported_without_its_data(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    def poisoned(self: Puppet) -> None:
        raise ValueError("cannot use hunter2secret")

    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("boom", text="hunter2secret")
        await settle()
        [event] = heard.of(SignalPoisoned)
        assert (event.agent, event.signal_type) == ("p", "boom")
        assert event.error is not None
        assert "hunter2secret" not in repr([item for item in heard if item.agent == "p"])
        lines = [record.getMessage() for record in caplog.records if record.name == "prunella.runtime"]
        assert any("boom" in line for line in lines)
        assert not any("hunter2secret" in line for line in lines)


async def test_a_crash_loop_is_no_logging_loop(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", max_restarts=1000)
        for _ in range(200):
            await ref.cast("boom")
        await settle()
        assert ref.status().restarts == 200
        assert len([record for record in caplog.records if record.name == "prunella.runtime"]) < 20


@attrs.frozen
class Unknown(Directive):
    """One that nobody executes."""


async def test_a_directive_that_nobody_executes_is_a_crash_before_the_commit() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", restore="last")) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(AgentCrashed, match="Unknown"):
            await ref.call("do", it=lambda self: (self.set(log=(1,)), Emit("note", to="p"), Unknown()))
        await settle()
        assert ref.state().log == ()


async def test_a_directive_that_cannot_be_begun_has_failed_and_the_agent_goes_on() -> None:
    """No signal can be made in the name of such an id."""
    async with open_runtime(AgentSpec(Puppet, "two\nlines")) as runtime:
        ref = runtime.ref("two\nlines", Puppet)
        with pytest.raises(DirectiveFailed) as caught:
            await ref.call_settled("do", it=lambda self: (self.set(log=(1,)), Emit("note", to="p")))
        assert isinstance(caught.value.failures[0][1], InvalidSignal)
        assert (ref.state().log, ref.status().effects, ref.status().restarts) == ((1,), 0, 0)


@pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
async def test_strict_mode_finds_a_handler_that_changes_what_it_was_handed(is_busy: bool) -> None:
    class Careless(Agent, name="careless"):
        @on("change")
        def change(self, items: Any) -> None:
            items.append(1)

        @on("look")
        def look(self) -> None: ...

    async with open_runtime(AgentSpec(Careless, "c"), strict=True) as runtime:
        ref = runtime.ref("c")
        if is_busy:
            await ref.cast("look")
        with pytest.raises(AgentCrashed) as caught:
            await ref.call("change", items=[])
        assert caught.value.reason.type is ImpureHandler


async def test_a_refusal_is_no_crash_and_counts_no_restart() -> None:
    def refuse(_: Puppet) -> None:
        raise Rejected("no")

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", max_restarts=0)
        for _ in range(10):
            with pytest.raises(Rejected):
                await ref.call("do", it=refuse)
        assert (ref.status().restarts, ref.status().state) == (0, "running")


async def test_an_executor_goes_on_over_a_crash() -> None:
    """It hands over what a committed turn asked for."""
    done: list[str] = []

    async def execute(directive: Unknown, context: EffectContext) -> None:
        await trio.sleep(1)
        done.append("done")

    async with open_runtime(AgentSpec(Puppet, "p"), executors={Unknown: execute}) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=[Unknown(), Run(trio.sleep_forever)])
        await ref.cast("boom")
        await ref.call("note", value=1)
        assert done == ["done"]
