"""Schedules: once, after a while; by key; and what becomes of them when their agent restarts or ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Log, do, settle

from prunella.agents import (
    Agent,
    AgentCrashed,
    AgentStopped,
    Cancel,
    Cron,
    NoReply,
    Reply,
    Run,
    Schedule,
    Stop,
    on,
)
from prunella.runtime import AgentRef, AgentSpec, Runtime, open_runtime
from prunella.signals import Signal
from prunella.supervision import Crashed

EPOCH = datetime(2030, 1, 1, 12, 0, tzinfo=UTC)


async def log(runtime: Runtime, **options: Any) -> AgentRef[Log]:
    return await runtime.start_agent(Log, "log", **options)


def numbers(ref: AgentRef[Log]) -> list[Any]:
    """What the ticks that came said of themselves."""
    return [signal.data.get("n") for signal in ref.state().signals]


async def test_a_schedule_comes_once_after_its_delay() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, Schedule(5, "tick", {"n": 1}))
        await trio.sleep(4.9)
        assert numbers(ref) == []
        await trio.sleep(0.2)
        assert numbers(ref) == [1]
        await trio.sleep(100)
        assert numbers(ref) == [1]


async def test_a_delay_of_nothing_is_a_signal_of_its_own_turn() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        before = trio.current_time()
        await do(ref, Schedule(0, "tick", {"n": 1}))
        await ref.wait_for(lambda state: state.signals)
        assert trio.current_time() == before


async def test_schedules_come_in_the_order_of_their_times() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, *(Schedule(delay, "tick", {"n": delay}) for delay in (3, 1, 2)))
        await trio.sleep(10)
        assert numbers(ref) == [1, 2, 3]


async def test_without_a_key_each_comes() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        same = Schedule(1, "tick", {"n": 1})
        await do(ref, same, same)
        await do(ref, same)
        await trio.sleep(2)
        assert numbers(ref) == [1, 1, 1]


async def test_the_second_of_a_key_replaces_the_first() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, Schedule(5, "tick", {"n": 1}, key="k"))
        await trio.sleep(3)
        await do(ref, Schedule(5, "tick", {"n": 2}, key="k"))
        await trio.sleep(4)
        assert numbers(ref) == []
        await trio.sleep(2)
        assert numbers(ref) == [2]


async def test_cancel_calls_it_off_and_an_unknown_key_is_nothing() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, Schedule(5, "tick", {"n": 1}, key="k"), Cancel("unknown"))
        await do(ref, Cancel("k"))
        await do(ref, Cancel("k"))
        await trio.sleep(10)
        assert numbers(ref) == []
        assert ref.schedules() == ()


async def test_keys_of_two_agents_have_nothing_to_do_with_each_other() -> None:
    async with open_runtime() as runtime:
        one, other = await runtime.start_agent(Log, "1"), await runtime.start_agent(Log, "2")
        await do(one, Schedule(5, "tick", {"n": 1}, key="k"))
        await do(other, Schedule(5, "tick", {"n": 2}, key="k"))
        await do(one, Cancel("k"))
        await trio.sleep(6)
        assert (numbers(one), numbers(other)) == ([], [2])


async def test_schedules_cron_jobs_and_running_work_share_their_keys() -> None:
    cancelled = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            cancelled.append(trio.current_time())
            raise

    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await log(runtime)
        await do(ref, Run(work, key="k"))
        await settle()
        await do(ref, Cron("* * * * *", "tick", key="k"))
        await settle()
        assert len(cancelled) == 1
        await do(ref, Schedule(5, "tick", {"n": 1}, key="k"))
        assert [info.expression for info in ref.schedules()] == [None]
        await do(ref, Run(work, key="k"))
        assert ref.schedules() == ()
        await settle()
        await do(ref, Cancel("k"))
        await settle()
        assert len(cancelled) == 2
        await trio.sleep(120)
        assert ref.state().signals == ()


async def test_the_signal_is_a_new_one_each_time_and_comes_from_the_agent() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await log(runtime)
        template = Signal("tick", {"n": 1}, subject="S", source="/clock", extensions={"tenant": "t"})
        await do(ref, Schedule(1, template), Schedule(2, template), Schedule(3, "tick", {"n": 2}), Schedule(4, "tick"))
        opened = trio.current_time()
        await trio.sleep(5)
        one, other, plain, empty = ref.state().signals
        assert len({one.id, other.id, plain.id, template.id}) == 4
        assert (one.subject, one.source, one.extensions["tenant"], one.data) == ("S", "/clock", "t", {"n": 1})
        assert plain.source == "/agents/log"
        assert empty.data == {}
        assert [signal.time for signal in (one, other)] == [EPOCH + timedelta(seconds=n) for n in (1, 2)]
        assert opened == trio.current_time() - 5


async def test_what_is_armed_is_listed_by_time() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await log(runtime)
        await do(
            ref,
            Schedule(7200, "tick", key="late"),
            Schedule(60, "note.x"),
            Cron("0 13 * * *", "tick", key="daily"),
        )
        listed = [(info.key, info.type, info.due, info.expression) for info in ref.schedules()]
        assert listed == [
            (None, "note.x", EPOCH + timedelta(minutes=1), None),
            ("daily", "tick", EPOCH + timedelta(hours=1), "0 13 * * *"),
            ("late", "tick", EPOCH + timedelta(hours=2), None),
        ]
        await trio.sleep(3601)
        assert [(info.key, info.due) for info in ref.schedules()] == [
            ("late", EPOCH + timedelta(hours=2)),
            ("daily", EPOCH + timedelta(hours=25)),
        ]


# What a crash takes along, and what it does not.


async def test_a_crash_takes_along_what_directives_have_armed() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await log(runtime, restore="last")
        await do(ref, Schedule(5, "tick"), Schedule(5, "tick", key="k"), Cron("* * * * *", "tick", key="c"))
        await ref.cast("boom")
        await settle()
        assert ref.status().restarts == 1
        assert ref.schedules() == ()
        await trio.sleep(200)
        assert ref.state().signals == ()


class Declared(
    Agent,
    name="declared",
    schedules=(Schedule(10, "once", key="once"), Cron("*/5 * * * *", "again", key="again")),
):
    heard: tuple[str, ...] = ()

    @on("once", "again")
    def hear(self, signal: Signal) -> Any:
        return self.set(heard=(*self.heard, signal.type))

    @on("do")
    def do(self, it: Any) -> Any:
        return it

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")


async def test_declared_ones_are_armed_at_every_start() -> None:
    async with open_runtime(AgentSpec(Declared, restore="last"), epoch=EPOCH) as runtime:
        ref = runtime.ref("declared", Declared)
        assert [info.key for info in ref.schedules()] == ["once", "again"]
        await trio.sleep(8)
        await ref.cast("boom")
        await settle()
        assert [info.key for info in ref.schedules()] == ["once", "again"]
        await trio.sleep(9)
        assert ref.state().heard == (), "its ten seconds began anew"
        await trio.sleep(2)
        assert ref.state().heard == ("once",)
        await trio.sleep(300)
        assert ref.state().heard == ("once", "again")


async def test_a_declared_one_can_be_cancelled_and_is_back_in_the_next_life() -> None:
    async with open_runtime(AgentSpec(Declared), epoch=EPOCH) as runtime:
        ref = runtime.ref("declared", Declared)
        await do(ref, Cancel("again"), Cancel("once"))
        assert ref.schedules() == ()
        await trio.sleep(400)
        assert ref.state().heard == ()
        await ref.cast("boom")
        await settle()
        assert len(ref.schedules()) == 2


async def test_a_restart_of_another_child_does_not_touch_them() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        other = await runtime.start_agent(Log, "other")
        await do(ref, Schedule(5, "tick", {"n": 1}))
        await other.cast("boom")
        await trio.sleep(6)
        assert numbers(ref) == [1]


async def test_nothing_comes_when_the_agent_has_ended() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, Schedule(5, "tick"))
        await ref.stop()
        again = await log(runtime)
        await trio.sleep(10)
        assert again.state().signals == ()
        with pytest.raises(AgentStopped):
            await runtime.stop_agent("log")
            ref.schedules()


async def test_a_schedule_and_a_stop_of_one_turn() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, Schedule(5, "tick"), Stop())
        await ref.wait_stopped()
        await trio.sleep(10)
        assert runtime.count() == 0


async def test_while_an_agent_is_suspended_its_ticks_wait() -> None:
    async with open_runtime() as runtime:
        ref = await log(runtime)
        await do(ref, Schedule(5, "tick", {"n": 1}))
        await ref.suspend()
        await trio.sleep(10)
        assert numbers(ref) == []
        await ref.resume()
        await settle()
        assert numbers(ref) == [1]


async def test_no_ticks_pile_up_beyond_the_bound_of_the_mailbox() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await log(runtime, mailbox=10)
        await do(ref, Cron("* * * * *", "tick"))
        await ref.suspend()
        await trio.sleep(3600)
        assert ref.status().mailbox == 10
        await ref.resume()
        await trio.sleep(61)
        assert len(ref.state().signals) == 11


# An ask that waits for what a schedule brings.


class Later(Agent, name="later"):
    @on("ask")
    def ask(self, again: int = 0) -> Any:
        return Schedule(5, "tick", {"again": again}, key="k")

    @on("tick")
    def tick(self, again: int) -> Any:
        return Schedule(5, "tick", {"again": again - 1}, key="k") if again else Reply("now")

    @on("cancel")
    def cancel(self) -> Any:
        return Cancel("k")

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")

    @on("stop")
    def stop(self) -> Any:
        return Stop("enough")


async def ask_and_then(do_it: str | None, **data: Any) -> Any:
    """What an ask comes to, if this is sent to the agent a second later."""
    result: list[Any] = []

    async def ask(ref: AgentRef[Later]) -> None:
        try:
            with trio.fail_after(100):
                result.append(await ref.ask("ask", **data))
        except Exception as error:
            result.append(error)

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Later)
        nursery.start_soon(ask, ref)
        await trio.sleep(1)
        if do_it is not None:
            await ref.cast(do_it)
            await trio.sleep(1)
            assert result, "it is told at once"
    return result[0]


async def test_an_ask_waits_for_the_reply_of_a_scheduled_turn() -> None:
    assert await ask_and_then(None) == "now"


async def test_a_schedule_that_arms_its_own_key_again_does_not_carry_the_ask_on() -> None:
    assert isinstance(await ask_and_then(None, again=1), NoReply)


async def test_an_ask_hears_at_once_that_its_schedule_was_cancelled() -> None:
    assert isinstance(await ask_and_then("cancel"), NoReply)


async def test_an_ask_hears_at_once_that_its_schedule_went_with_a_crash() -> None:
    error = await ask_and_then("boom")
    assert isinstance(error, AgentCrashed)
    assert isinstance(error.reason, Crashed)
    assert error.reason.type is ValueError


async def test_an_ask_hears_at_once_that_its_agent_has_ended() -> None:
    assert isinstance(await ask_and_then("stop"), AgentStopped)
