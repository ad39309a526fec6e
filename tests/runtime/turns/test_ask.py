"""`ask` and the `Ask` directive: an answer over any number of turns and agents, and an end when none can come."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, settle

from prunella.agents import (
    AgentCrashed,
    AgentNotFound,
    AgentStopped,
    Ask,
    Cancel,
    Cron,
    Emit,
    Fail,
    NoReply,
    Rejected,
    Reply,
    Run,
    Schedule,
    Stop,
)
from prunella.runtime import AgentSpec, ReplyDropped, open_runtime


async def double(value: int) -> int:
    await trio.sleep(1)
    return 2 * value


async def fail(text: str = "no") -> None:
    raise ValueError(text)


async def test_the_reply_may_come_from_another_agent() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        await runtime.start_agent(Puppet, "b")
        await runtime.start_agent(Puppet, "c")
        relay = Emit("do", {"it": Emit("echo", {"value": 3}, to="c")}, to="b")
        assert await runtime.ref("a").ask("do", it=relay) == 3


async def test_the_reply_may_come_turns_later() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a")
        assert await ref.ask("do", it=Run(double, {"value": 4}, then="answered")) == 8
        assert await ref.ask("do", it=Schedule(60, "echo", {"value": 5})) == 5
        assert await ref.ask("do", it=Schedule(60, "do", {"it": Run(double, {"value": 6}, then="answered")})) == 12
        assert trio.current_time() > 120


async def test_two_asks_of_one_agent_are_told_apart() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a")
        late = Task(nursery, ref.ask, "do", it=Schedule(9, "echo", {"value": "late"}))
        soon = Task(nursery, ref.ask, "do", it=Schedule(5, "echo", {"value": "soon"}))
        await trio.sleep(20)
        assert (late.value, soon.value) == ("late", "soon")


async def test_handlers_do_not_see_who_asks() -> None:
    """What a signal that an ask has caused carries is no different from that of others."""
    seen: list[Any] = []
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a")

        def look(it: Any) -> Any:
            return lambda self: seen.append(it) or Reply(None)

        await ref.ask("do", it=look(1))
        await ref.call("do", it=look(2))
    assert seen == [1, 2]


async def test_without_a_reply_it_ends_as_soon_as_nothing_is_open() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a")
        await runtime.start_agent(Puppet, "b")
        for it, seconds in [
            (None, 0),
            (Emit("note", to="b"), 0),
            (Emit("note", to="a"), 0),
            (Run(double, {"value": 1}), 1),
            (Run(double, {"value": 1}, then="got"), 1),
            (Schedule(7, "note"), 7),
            (Ask("b", "echo", then="got"), 0),
        ]:
            began = trio.current_time()
            with pytest.raises(NoReply, match="agent 'a' did not reply") as caught:
                await ref.ask("do", it=it)
            assert caught.value.address == ref.address
            assert trio.current_time() - began == pytest.approx(seconds, abs=0.01)


async def test_it_stays_open_for_the_longest_branch() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        both = [Emit("note", to="a"), Run(fail, catch="failed"), Schedule(5, "echo", {"value": 1})]
        assert await runtime.ref("a").ask("do", it=both) == 1


async def test_a_fail_ends_it_and_keeps_the_state() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a", Puppet)
        with pytest.raises(Rejected, match="sold out") as caught:
            await ref.ask("do", it=lambda self: (self.set(log=(1,)), Fail("sold out", left=0)))
        assert caught.value.details == {"left": 0}
        assert ref.state().log == (1,)


async def test_the_first_answer_counts_and_later_ones_are_dropped_and_reported(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "a"), telemetry=[heard]) as runtime:
        ref = runtime.ref("a")
        assert await ref.ask("do", it=[Reply(1), Reply(2), Schedule(1, "echo", {"value": 3})]) == 1
        await trio.sleep(5)
        assert len(heard.of(ReplyDropped)) == 2


async def test_a_reply_that_nobody_asked_for_is_dropped_and_reported(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "a"), telemetry=[heard]) as runtime:
        await runtime.ref("a").call("echo", value=1)
        await runtime.ref("a").cast("echo", value=1)
        await settle()
        assert [event.signal_type for event in heard.of(ReplyDropped)] == ["echo", "echo"]


async def test_a_refusal_or_a_crash_on_the_way_is_what_the_caller_hears() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a")
        await runtime.start_agent(Puppet, "b")
        with pytest.raises(Rejected, match="not today") as refused:
            await ref.ask("do", it=Emit("refuse", to="b"))
        assert str(refused.value.address) == "b"
        with pytest.raises(AgentCrashed, match="boom"):
            await ref.ask("do", it=Emit("boom", to="b"))
        with pytest.raises(AgentCrashed, match="second"):
            await ref.ask("do", it=[Emit("boom", {"text": "first"}, to="b"), Schedule(1, "boom", {"text": "second"})])


async def test_a_failure_on_one_branch_spoils_nothing_while_another_is_open() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        assert await runtime.ref("a").ask("do", it=[Emit("refuse", to="a"), Schedule(5, "echo", {"value": 1})]) == 1


async def test_a_target_that_is_not_there_or_ends_is_what_the_caller_hears() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a")
        with pytest.raises(AgentNotFound):
            await ref.ask("do", it=Emit("echo", to="nobody"))
        b = await runtime.start_agent(Puppet, "b")
        await b.suspend()
        async with trio.open_nursery() as nursery:
            caller = Task(nursery, ref.ask, "do", it=Emit("echo", to="b"))
            await settle()
            await b.stop()
            await settle()
            assert isinstance(caller.error, AgentStopped)
            assert caller.error.address == b.address


async def test_work_that_fails_unheard_is_why_there_is_no_reply() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        with pytest.raises(NoReply) as caught:
            await runtime.ref("a").ask("do", it=Run(fail, {"text": "so sad"}))
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.address == runtime.ref("a").address


async def test_a_crash_of_the_agent_ends_asks_that_waited_for_its_work() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a")
        working = Task(nursery, ref.ask, "do", it=Run(trio.sleep_forever, then="answered"))
        scheduled = Task(nursery, ref.ask, "do", it=Schedule(100, "echo"))
        await settle()
        await ref.cast("boom")
        await settle()
        assert isinstance(working.error, AgentCrashed)
        assert isinstance(scheduled.error, AgentCrashed)


async def test_a_crash_of_the_agent_leaves_signals_of_the_ask_that_wait() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a")
        await ref.suspend()
        await ref.cast("boom")
        caller = Task(nursery, ref.ask, "echo", value=1)
        await settle()
        await ref.resume()
        await settle()
        assert caller.value == 1


@pytest.mark.parametrize("shutdown", [1.0, "brutal_kill"])
async def test_the_end_of_the_agent_ends_asks_that_waited_for_its_work(shutdown: Any) -> None:
    async with open_runtime(AgentSpec(Puppet, "a", shutdown=shutdown)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a")
        caller = Task(nursery, ref.ask, "do", it=Run(trio.sleep_forever, then="answered"))
        await settle()
        await ref.stop()
        await settle()
        assert isinstance(caller.error, AgentStopped)


async def test_work_that_is_called_off_ends_the_ask() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("a")
        working = Task(nursery, ref.ask, "do", it=Run(trio.sleep_forever, then="answered", key="k"))
        scheduled = Task(nursery, ref.ask, "do", it=Schedule(100, "echo", key="s"))
        await settle()
        await ref.call("do", it=[Cancel("k"), Cancel("s")])
        await settle()
        assert isinstance(working.error, NoReply)
        assert isinstance(scheduled.error, NoReply)


async def test_cron_begins_a_chain_of_its_own() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        with pytest.raises(NoReply):
            await runtime.ref("a").ask("do", it=Cron("* * * * *", "echo", key="tick"))
        assert trio.current_time() < 1


async def test_a_schedule_that_arms_its_own_key_again_does_not_carry_the_ask_on() -> None:
    def tick(self: Puppet) -> Any:
        return self.set(log=(*self.log, "tick")), Schedule(10, "do", {"it": tick}, key="ticker")

    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        ref = runtime.ref("a", Puppet)
        with pytest.raises(NoReply):
            await ref.ask("do", it=tick)
        assert ref.state().log == ("tick", "tick")
        await trio.sleep(25)
        assert ref.state().log == ("tick",) * 4


# The directive.


async def test_the_answer_to_an_agents_ask_comes_as_a_signal() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        await runtime.start_agent(Puppet, "b")
        ref = runtime.ref("a", Puppet)
        await ref.call_settled("do", it=Ask("b", "echo", {"value": 1}, then="got", carry={"who": "me"}))
        await settle()
        assert ref.state().log == (("got", 1, {"who": "me"}),)


@pytest.mark.parametrize(
    ("type", "error"),
    [("refuse", "Rejected"), ("boom", "AgentCrashed"), ("no.such", "UnhandledSignal"), ("note", "NoReply")],
)
async def test_why_there_is_no_answer_comes_as_a_signal_too(type: str, error: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        await runtime.start_agent(Puppet, "b")
        ref = runtime.ref("a", Puppet)
        await ref.call("do", it=Ask("b", type, then="got", catch="failed", carry={"who": "me"}))
        await settle()
        [(kind, name, _, rest)] = ref.state().log
        assert (kind, name, rest["who"]) == ("failed", error, "me")


async def test_an_agents_ask_has_a_deadline() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        b = await runtime.start_agent(Puppet, "b")
        await b.suspend()
        ref = runtime.ref("a", Puppet)
        await ref.call("do", it=Ask("b", "echo", then="got", catch="failed", timeout=5))
        await trio.sleep(4.9)
        assert ref.state().log == ()
        await trio.sleep(0.2)
        assert ref.state().log[0][:3] == ("failed", "TimeoutError", "no reply within 5 s")
        await b.resume()
        await settle()
        assert len(ref.state().log) == 1


async def test_replies_behind_an_agents_ask_go_to_it_and_not_to_the_outer_caller() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        await runtime.start_agent(Puppet, "b")
        ref = runtime.ref("a", Puppet)
        with pytest.raises(NoReply):
            await ref.ask("do", it=Ask("b", "echo", {"value": "inner"}, then="got"))
        assert ref.state().log == (("got", "inner", {}),)
        assert await ref.ask("do", it=Ask("b", "echo", {"value": "inner"}, then="answered")) == "inner"


async def test_agents_that_ask_each_other_do_not_wait_for_each_other() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        await runtime.start_agent(Puppet, "b")
        back = Ask("a", "echo", {"value": "round"}, then="answered")
        question = Ask("b", "do", {"it": back}, then="answered")
        assert await runtime.ref("a").ask("do", it=question) == "round"


async def test_an_agent_may_ask_itself() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        assert await runtime.ref("a").ask("do", it=Ask("a", "echo", {"value": 1}, then="answered")) == 1


async def test_an_agents_ask_waits_for_room_and_hears_when_there_will_be_none() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        b = await runtime.start_agent(Puppet, "b", mailbox=1)
        await b.suspend()
        await b.cast("note", value=0)
        ref = runtime.ref("a", Puppet)
        await ref.call("do", it=Ask("b", "echo", {"value": 1}, then="got", catch="failed"))
        await ref.call("do", it=Emit("note", {"value": 2}, to="b"))
        await settle()
        assert ref.status().effects >= 1
        await b.resume()
        await settle()
        assert ref.state().log == (("got", 1, {}),)
        assert b.state().log == (0, 2)
        await b.suspend()
        await b.cast("note", value=0)
        await ref.call("do", it=Ask("b", "echo", {"value": 1}, then="got", catch="failed"))
        await settle()
        await b.stop()
        await settle()
        assert ref.state().log[-1][:2] == ("failed", "AgentStopped")
        assert ref.status().effects == 0


async def test_an_agents_ask_outlives_its_crash_and_not_its_end() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime, trio.open_nursery() as nursery:
        b = await runtime.start_agent(Puppet, "b")
        await b.suspend()
        ref = runtime.ref("a", Puppet)
        await ref.call("do", it=Ask("b", "echo", {"value": 1}, then="got"))
        await ref.cast("boom")
        await settle()
        await b.resume()
        await settle()
        assert ref.state().log == (("got", 1, {}),)
        await b.suspend()
        caller = Task(nursery, ref.ask, "do", it=Ask("b", "echo", then="answered"))
        await settle()
        await ref.stop()
        await settle()
        assert isinstance(caller.error, AgentStopped)


async def test_an_agent_that_stops_by_itself_answers_what_it_was_asked_before() -> None:
    async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
        assert await runtime.ref("a").ask("do", it=[Reply(1), Stop()]) == 1


async def test_a_lost_ask_does_not_hold_its_runtime_open() -> None:
    async with trio.open_nursery() as nursery:
        async with open_runtime(AgentSpec(Puppet, "a")) as runtime:
            caller = Task(nursery, runtime.ref("a").ask, "do", it=Schedule(1000, "echo"))
            await settle()
        await settle()
        assert isinstance(caller.error, AgentStopped)
