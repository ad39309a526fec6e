"""Agents that run actions: what a `Run` adds to a run, and that it is the same run."""

from __future__ import annotations

import datetime
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, settle
from trio.testing import MockClock

from prunella.actions import (
    ActionContext,
    ActionError,
    ActionFailedEvent,
    ActionStarted,
    AttemptStarted,
    IdempotencyKey,
    Instruction,
    Plan,
    Step,
    action,
    basic_actions,
    chain,
    param,
    result_of,
    run,
)
from prunella.agents import Cancel, Run, on
from prunella.runtime import AgentRef, AgentSpec, EffectStart, Runtime, open_runtime
from prunella.supervision import Backoff

STEADY = Backoff(1.0, 30.0, 2.0, jitter=0.0)


@action
async def double(value: int) -> int:
    return 2 * value


@action
async def half(value: int) -> float:
    return value / 2


async def failure_of(directive: Run) -> dict[str, Any]:
    """What an agent is told when this fails."""
    told: list[dict[str, Any]] = []

    class Listening(Puppet, name="listening"):
        @on("failed")
        def failed(self, error: Any, **rest: Any) -> Any:
            told.append({**rest, "error": error})

    async with open_runtime(AgentSpec(Listening, "p")) as runtime:
        await runtime.ref("p").call("do", it=directive)
        await trio.sleep(1_000)
    [data] = told
    return data


async def result_in(runtime: Runtime, directive: Run) -> Any:
    """What comes back to the agent `p` of a runtime."""
    ref = runtime.ref("p", Puppet)
    before = len(ref.state().log)
    await ref.call_settled("do", it=directive)
    await ref.call("note")
    [(_, value, _)] = ref.state().log[before:-1]
    return value


async def result_of_run(directive: Run) -> Any:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        return await result_in(runtime, directive)


async def test_an_action_is_validated_on_its_way_in_and_out() -> None:
    @action
    async def wrong(value: int) -> str:
        return value  # type: ignore[return-value]

    assert await result_of_run(Run(double, {"value": 2}, then="got")) == 4
    ran = await failure_of(Run(double, {"value": "2"}, catch="failed", carry={"who": "me"}))
    assert (ran["attempts"], ran["who"]) == (0, "me")
    told = ran["error"]
    assert (told["type"], told["retryable"]) == ("InvalidInput", False)
    assert "value" in told["message"]
    assert (await failure_of(Run(wrong, {"value": 1}, catch="failed")))["error"]["type"] == "InvalidOutput"


async def test_a_failure_tells_type_message_and_whether_to_try_again_of_any_error() -> None:
    @action
    async def refused() -> None:
        raise ActionError("no", retryable=True, details={"seat": 7, "token": "abc"})

    told = await failure_of(Run(refused, catch="failed", retries=2, carry={"who": "me"}))
    error = {"type": "ActionError", "message": "no", "retryable": True}
    assert told == {"error": error, "attempts": 3, "who": "me"}


async def test_an_action_is_tried_again_only_where_that_may_help_and_after_its_waits() -> None:
    times: list[float] = []

    @action(backoff=STEADY)
    async def unreachable(error: str) -> None:
        times.append(trio.current_time())
        raise ConnectionError if error == "connection" else ValueError

    ran = await failure_of(Run(unreachable, {"error": "connection"}, catch="failed", retries=2))
    assert (ran["attempts"], ran["error"]["retryable"]) == (3, True)
    assert [time - times[0] for time in times] == pytest.approx([0, 1, 3])
    ran = await failure_of(Run(unreachable, {"error": "value"}, catch="failed", retries=2))
    assert (ran["attempts"], ran["error"]["retryable"]) == (1, False)


@pytest.mark.parametrize(("said", "attempts"), [({}, 2), ({"retries": 0}, 1), ({"retries": 3}, 4)])
async def test_what_the_directive_says_wins_over_the_action(said: dict[str, Any], attempts: int) -> None:
    @action(retries=1, timeout=2.0, idempotent=True, backoff=STEADY)
    async def slow() -> None:
        await trio.sleep_forever()

    ran = await failure_of(Run(slow, catch="failed", timeout=5.0, **said))
    assert ran["attempts"] == attempts
    assert ran["error"]["type"] == "ActionTimeout"
    assert "5.0 s" in ran["error"]["message"]


async def test_what_the_directive_leaves_open_the_action_says() -> None:
    began = []

    @action(timeout=2.0)
    async def slow() -> None:
        began.append(trio.current_time())
        try:
            await trio.sleep_forever()
        finally:
            began.append(trio.current_time())

    assert (await failure_of(Run(slow, catch="failed")))["error"]["type"] == "ActionTimeout"
    assert began[1] - began[0] == pytest.approx(2.0)


async def test_instructions_chains_and_plans_run_as_functions_do() -> None:
    plan = Plan([Step("first", double, {"value": param("value")}), Step("then", double, {"value": result_of("first")})])
    assert await result_of_run(Run(plan, {"value": 3}, then="got")) == {"first": 6, "then": 12}
    assert await result_of_run(Run(chain(double, half), {"value": 3}, then="got")) == {
        "value": 3,
        "double": 6,
        "half": 1.5,
    }
    assert await result_of_run(Run(Instruction(double, {"value": 4}), then="got")) == 8
    assert await result_of_run(Run(Instruction(double, {"value": 4}), {"value": 5}, then="got")) == 10


async def test_options_and_context_of_an_instruction_count_and_the_directive_wins() -> None:
    seen: list[Any] = []

    @action(backoff=STEADY)
    async def asked(context: ActionContext, key: IdempotencyKey) -> None:
        seen.append((dict(context.values), str(key)))
        raise ConnectionError

    order = Instruction(asked, context={"who": "me"}, options={"retries": 1, "idempotency_key": "mine"})
    assert (await failure_of(Run(order, catch="failed")))["attempts"] == 2
    assert (await failure_of(Run(order, catch="failed", retries=0)))["attempts"] == 1
    assert seen == [({"who": "me"}, "mine")] * 3


async def test_a_plan_that_fails_tells_its_step_and_undoes_what_was_done() -> None:
    undone: list[int] = []

    async def undo(value: int) -> None:
        undone.append(value)

    @action(compensate=undo)
    async def book(value: int) -> int:
        return value

    @action
    async def fail() -> None:
        raise ValueError("sold out")

    plan = Plan([Step("book", book, {"value": 7}), Step("fail", fail, depends_on="book")], name="trip")
    told = (await failure_of(Run(plan, catch="failed")))["error"]
    assert told["type"] == "PlanFailed"
    assert "fail" in told["message"]
    assert undone == [7]


async def test_a_run_that_is_cancelled_is_undone_before_the_key_counts_as_done() -> None:
    undone: list[float] = []

    async def undo() -> None:
        await trio.sleep(2)
        undone.append(trio.current_time())

    @action(compensate=undo)
    async def wait() -> None:
        await trio.sleep_forever()

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(wait, key="k", then="got", catch="failed"))
        await settle()
        await ref.call("do", it=Cancel("k"))
        assert (undone, ref.status().effects) == ([], 1)
        await trio.sleep(3)
        assert (len(undone), ref.status().effects, ref.state().log) == (1, 0, ())


async def test_a_stream_is_begun_again_only_before_its_first_value() -> None:
    begun: list[int] = []

    @action(retries=3, backoff=STEADY)
    async def numbers(most: int) -> AsyncIterator[int]:
        begun.append(most)
        if len(begun) == 1:
            raise ConnectionError
        for number in range(most):
            yield number
        raise ConnectionError

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(numbers, {"most": 3}, each="item", then="got", catch="failed"))
        await trio.sleep(10)
        log = ref.state().log
    assert [entry[:3] for entry in log[:3]] == [("item", 0, 0), ("item", 1, 1), ("item", 2, 2)]
    assert log[3][:2] == ("failed", "ActionFailed")
    assert begun == [3, 3]


async def test_each_value_of_a_stream_is_validated() -> None:
    @action
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield "two"  # type: ignore[misc]

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(numbers, each="item", then="got", catch="failed"))
        await trio.sleep(1)
        assert [entry[:2] for entry in ref.state().log] == [("item", 0), ("failed", "InvalidOutput")]


async def test_a_plain_stream_is_begun_again_from_its_first_value() -> None:
    begun: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        begun.append(1)
        yield len(begun)
        if len(begun) == 1:
            raise ValueError

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(numbers, each="item", then="got", catch="failed", retries=1))
        await trio.sleep(10)
        assert ref.state().log == (("item", 0, 1, {}), ("item", 0, 2, {}), ("got", 1, {}))


async def test_the_idempotency_key_is_the_id_of_the_directive_and_steps_have_their_own() -> None:
    keys: list[str] = []

    @action(backoff=STEADY)
    async def pay(key: IdempotencyKey) -> None:
        keys.append(key)
        if len(keys) == 1:
            raise ConnectionError

    async def plain(key: IdempotencyKey) -> None:
        keys.append(key)

    async with open_runtime(AgentSpec(Puppet, "a/b", partition="x"), name="shop 1") as runtime:
        ref = runtime.ref("a/b", Puppet, partition="x")
        await ref.call_settled("do", it=(Run(double, {"value": 1}), Run(pay, retries=1)))
        await ref.call_settled("do", it=Run(plain))
        await ref.call_settled("do", it=Run(chain(pay, (pay,))))
    first = "shop%201/x/a%2Fb/1/1"
    assert keys[:2] == [first, first]
    assert keys[2] == "shop%201/x/a%2Fb/2/0"
    assert keys[3:] == ["shop%201/x/a%2Fb/3/0/pay", "shop%201/x/a%2Fb/3/0/pay_2"]


async def test_steps_and_runs_inside_of_a_run_are_given_the_runtime_and_the_agent_too() -> None:
    seen: list[Any] = []

    @action
    async def curious(agent: AgentRef[Any], runtime: Runtime) -> None:
        seen.extend((agent, runtime))

    @action
    async def outer() -> None:
        await run(curious)

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(curious))
        await ref.call_settled("do", it=Run(Plan([Step("one", curious)])))
        await ref.call_settled("do", it=Run(outer))
        assert seen == [ref, runtime] * 3


async def test_the_spans_of_a_run_hang_below_its_effect_and_name_the_agent(heard: Heard) -> None:
    async def fail() -> None:
        raise ValueError("secret")

    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(double, {"value": 1}))
        await ref.call("do", it=Run(fail, catch="failed"))
        await settle()
    effects = {event.span_id for event in heard.of(EffectStart)}
    runs = heard.of(ActionStarted)
    assert [(event.action, event.agent) for event in runs] == [("double", "p"), ("fail", "p")]
    assert {event.parent_span_id for event in runs} <= effects
    assert [event.parent_span_id for event in heard.of(AttemptStarted)] == [event.span_id for event in runs]
    [failed] = heard.of(ActionFailedEvent)
    assert "secret" not in str(failed)


async def test_the_time_of_day_is_that_of_the_runtime() -> None:
    epoch = datetime.datetime(1999, 12, 31, tzinfo=datetime.UTC)
    async with open_runtime(AgentSpec(Puppet, "p"), epoch=epoch) as runtime:
        await trio.sleep(60)
        now = await result_in(runtime, Run(basic_actions()["current_time"], then="got"))
        assert now - epoch == datetime.timedelta(minutes=1)


async def test_threads_of_all_agents_share_one_limit(thread_clock: MockClock) -> None:
    release, running, most = threading.Event(), [], []
    lock = threading.Lock()

    @action
    def block() -> None:
        with lock:
            running.append(1)
            most.append(len(running))
        release.wait(30)
        with lock:
            running.pop()

    agents = [AgentSpec(Puppet, f"p{number}") for number in range(3)]
    async with open_runtime() as runtime:
        refs = [await runtime.start_agent(Puppet, spec.id) for spec in agents]
        async with trio.open_nursery() as nursery:
            for ref in refs:
                nursery.start_soon(lambda ref=ref: ref.call_settled("do", it=[Run(block)] * 20))
            while len(most) < 40:
                await trio.lowlevel.checkpoint()
            release.set()
    assert (len(most), max(most)) == (60, 40)


async def test_the_limit_of_an_action_counts_in_the_whole_runtime() -> None:
    running: list[int] = []
    most: list[int] = []

    @action(max_concurrency=2)
    async def narrow() -> None:
        running.append(1)
        most.append(len(running))
        await trio.sleep(1)
        running.pop()

    async with open_runtime() as runtime:
        for number in range(3):
            ref = await runtime.start_agent(Puppet, f"p{number}")
            await ref.call("do", it=[Run(narrow)] * 2)
        await trio.sleep(2.5)
        assert (len(most), max(most)) == (6, 2)
