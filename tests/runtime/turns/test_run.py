"""`Run` and `SpawnTask`: work beside the agent, whose results come back as signals."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, settle
from trio.testing import MockClock

from prunella.agents import Cancel, Run, Schedule, SpawnTask
from prunella.runtime import AgentRef, AgentSpec, EffectStart, EffectStop, Runtime, open_runtime
from prunella.runtime import EffectException as Failed


async def double(value: int) -> int:
    await trio.sleep(1)
    return 2 * value


async def fail(text: str = "no") -> None:
    raise ValueError(text)


async def letters(text: str) -> AsyncIterator[str]:
    for letter in text:
        await trio.sleep(1)
        yield letter


async def test_a_result_comes_back_as_a_signal_with_what_was_carried() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(double, {"value": 2}, then="got", carry={"who": "me"}))
        await settle()
        assert ref.state().log == (("got", 4, {"who": "me"}),)


async def test_a_result_that_is_a_mapping_is_a_result_too() -> None:
    async def mapping() -> dict[str, int]:
        return {"value": 1}

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(mapping, then="got"))
        await settle()
        assert ref.state().log == (("got", {"value": 1}, {}),)


async def test_a_sync_function_runs_in_a_thread(thread_clock: MockClock) -> None:
    threads = []

    def work(value: int) -> int:
        threads.append(threading.current_thread())
        return value + 1

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(work, {"value": 2}, then="got"))
        await settle()
        assert ref.state().log == (("got", 3, {}),)
    assert threads != [threading.main_thread()]


async def test_an_async_generator_streams() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        streaming = Run(letters, {"text": "abc"}, each="item", then="got", carry={"who": "me"})
        await ref.call("do", it=streaming)
        await trio.sleep(2.5)
        assert [entry[:3] for entry in ref.state().log] == [("item", 0, "a"), ("item", 1, "b")]
        await trio.sleep(5)
        assert [entry[1] for entry in ref.state().log[:3]] == [0, 1, 2]
        assert ref.state().log[3][0] == "got"
        assert all(entry[-1] == {"who": "me"} for entry in ref.state().log)


async def test_a_stream_waits_while_the_agent_does_not_keep_up() -> None:
    made = 0

    async def numbers() -> AsyncIterator[int]:
        nonlocal made
        for made in range(1, 1001):
            yield made

    async with open_runtime(AgentSpec(Puppet, "p", effects=10)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(numbers, each="item"))
        await ref.suspend()
        await trio.sleep(100)
        assert made <= 20
        await ref.resume()
        await trio.sleep(100)
        assert [entry[1] for entry in ref.state().log] == list(range(1000))


async def test_a_stream_that_never_waits_lets_others_run() -> None:
    async def numbers() -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(numbers, key="k"))
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        await ref.call("do", it=Run(numbers, each="item", key="k"))
        for _ in range(10):
            await trio.lowlevel.checkpoint()
        await ref.call("do", it=Cancel("k"))


async def test_a_failure_comes_as_a_signal_when_asked_for_and_to_the_policy_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(fail, {"text": "sad"}, catch="failed", carry={"who": "me"}))
        await settle()
        assert ref.state().log == (("failed", "ValueError", "sad", {"who": "me", "attempts": 1}),)
        assert "ValueError" not in caplog.text
        await ref.call("do", it=Run(fail, {"text": "sad"}))
        await settle()
        assert "ValueError" in caplog.text
        assert ref.status().restarts == 0


async def test_each_attempt_has_the_deadline_and_all_are_counted() -> None:
    began = []

    async def slow() -> None:
        began.append(trio.current_time())
        await trio.sleep(100)

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(slow, catch="failed", timeout=3, retries=2))
        await trio.sleep(50)
        assert [moment - began[0] for moment in began] == pytest.approx([0, 3, 6], abs=0.01)
        [(_, name, message, rest)] = ref.state().log
        assert (name, message, rest) == ("TooSlowError", "not done within 3 s", {"attempts": 3})


async def test_a_deadline_of_the_actions_own_is_told_as_it_is() -> None:
    async def impatient() -> None:
        with trio.fail_after(1):
            await trio.sleep(10)

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(impatient, catch="failed", timeout=5))
        await trio.sleep(2)
        assert ref.state().log[0][1:3] == ("TooSlowError", "")


async def test_a_retry_that_succeeds_is_a_success() -> None:
    attempts = 0

    async def third_time() -> str:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise OSError("not yet")
        return "well"

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(third_time, then="got", catch="failed", retries=5))
        await settle()
        assert ref.state().log == (("got", "well", {}),)
        assert attempts == 3


async def test_works_run_beside_each_other_and_beside_turns() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        for value in range(5):
            await ref.call("do", it=Run(double, {"value": value}, then="got"))
        assert (ref.status().effects, ref.state().log) == (5, ())
        await trio.sleep(1.5)
        assert sorted(entry[1] for entry in ref.state().log) == [0, 2, 4, 6, 8]


async def test_cancel_ends_work_and_nothing_comes_of_it() -> None:
    ended = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(work, then="got", catch="failed", key="k"))
        await trio.sleep(5)
        await ref.call("do", it=Cancel("k"))
        await ref.call("do", it=Cancel("k"))
        await settle()
        assert len(ended) == 1
        assert (ref.state().log, ref.status().effects) == ((), 0)


async def test_a_second_directive_with_a_key_cancels_the_work_that_has_it() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(double, {"value": 1}, then="got", key="k"))
        await ref.call("do", it=Run(double, {"value": 2}, then="got", key="k"))
        await trio.sleep(5)
        assert ref.state().log == (("got", 4, {}),)
        await ref.call("do", it=Run(double, {"value": 1}, then="got", key="k"))
        await ref.call("do", it=Schedule(1, "note", {"value": "later"}, key="k"))
        await trio.sleep(5)
        assert ref.state().log[1:] == ("later",)
        await ref.call("do", it=Schedule(1, "note", {"value": "never"}, key="k"))
        await ref.call("do", it=Run(double, {"value": 3}, then="got", key="k"))
        await trio.sleep(5)
        assert ref.state().log[2:] == (("got", 6, {}),)


async def test_a_key_is_free_when_the_work_has_ended() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        for value in (1, 2):
            await ref.call_settled("do", it=Run(double, {"value": value}, then="got", key="k"))
        await settle()
        assert [entry[1] for entry in ref.state().log] == [2, 4]


async def test_a_crash_cancels_work_before_the_restart() -> None:
    order: list[str] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(2)
            order.append("work ended")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(work, then="got", catch="failed"))
        await settle()
        await ref.cast("boom")
        await ref.call("do", it=lambda _: order.append("new life"))
        assert order == ["work ended", "new life"]
        assert ref.state().log == ()


async def test_work_of_a_life_that_is_over_does_not_begin() -> None:
    ran = []

    async def work() -> None:
        ran.append(1)

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("do", it=Run(work))
        await ref.cast("boom")
        await settle()
        assert ref.status().restarts == 1
    assert ran == []


async def test_work_that_does_not_end_is_given_up_and_says_nothing_any_more() -> None:
    release = trio.Event()

    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await release.wait()
        return "late"

    async with open_runtime(AgentSpec(Puppet, "p", shutdown=2.0)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(stubborn, then="got"))
        await settle()
        await ref.cast("boom")
        await trio.sleep(10)
        assert (await ref.call("note", value=1)).log == (1,)
        assert ref.status().effects == 0
        release.set()
        await settle()
        assert (ref.state().log, ref.status().effects) == ((1,), 0)


class Strange(BaseException):
    """What no function should raise."""


async def test_what_no_function_should_raise_is_a_failure_too() -> None:
    async def strange() -> None:
        raise Strange("odd")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(strange, catch="failed"))
        await settle()
        [(kind, _, message, _)] = ref.state().log
        assert kind == "failed"
        assert "Strange" in message
        assert ref.status().restarts == 0


async def test_an_action_that_wants_its_agent_or_runtime_is_given_it() -> None:
    seen: list[Any] = []

    async def curious(agent: AgentRef[Any], runtime: Runtime, value: int) -> None:
        seen.extend((agent, runtime, value))

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(curious, {"value": 1}))
        assert seen == [ref, runtime, 1]


async def test_an_action_may_call_its_own_agent() -> None:
    async def work(agent: AgentRef[Puppet]) -> None:
        await agent.call("note", value="inside")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(work))
        assert ref.state().log == ("inside",)


async def test_each_work_has_one_start_and_one_end(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(double, {"value": 1}, then="got"))
        await ref.call("do", it=Run(fail, catch="failed"))
        await ref.call("do", it=Run(fail))
        await ref.call("do", it=Run(trio.sleep_forever, key="k"))
        await ref.call("do", it=Run(trio.sleep_forever))
        await settle()
        await ref.call("do", it=Cancel("k"))
        await ref.cast("boom")
        await trio.sleep(2)
    starts = [event.span_id for event in heard.of(EffectStart)]
    ends = [event.span_id for event in [*heard.of(EffectStop), *heard.of(Failed)]]
    assert len(starts) == len(set(starts)) >= 5
    assert sorted(starts) == sorted(ends)


# Tasks of an agent's own.


async def test_a_task_lives_as_long_as_its_agent_and_is_no_part_of_an_ask() -> None:
    ended = []

    async def task() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(1)

    async with open_runtime(AgentSpec(Puppet, "p", shutdown=1.0)) as runtime:
        ref = runtime.ref("p")
        await ref.call("do", it=SpawnTask(task))
        await trio.sleep(100)
        assert ended == []
        await ref.stop()
        assert ended == [1]


@pytest.mark.parametrize(("restart", "runs"), [("temporary", 1), ("transient", 2), ("permanent", 4)])
async def test_a_task_is_started_again_as_its_restart_says(restart: Any, runs: int) -> None:
    ran = 0

    async def task() -> None:
        nonlocal ran
        ran += 1
        await trio.sleep(1)
        if ran == 1:
            raise ValueError("once")

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=SpawnTask(task, restart=restart, catch="failed"))
        await trio.sleep(3.5)
        assert ran == runs
        assert ref.state().log == ((("failed", "ValueError", "once", {"attempts": 1}),) if runs == 1 else ())
        assert ref.status().restarts == 0
