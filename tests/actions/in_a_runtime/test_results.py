"""Directives that an action hands out beside its value: the agent executes them, and the run is not done before."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Puppet, settle

from prunella.actions import IdempotencyKey, Plan, Result, Step, action, chain
from prunella.agents import Agent, Cancel, Cron, Directive, Emit, Fail, Reply, Run, Schedule, Stop, on
from prunella.runtime import AgentSpec, DirectiveFailed, EffectContext, open_runtime
from prunella.signals import Signal
from prunella.storage import MemoryStorage

directives: list[Any] = []


@action
async def hand_out() -> Result[str]:
    return Result("value", directives)


class Keeper(Agent, name="results.keeper", durable=True):
    """A durable agent that runs the action, and keeps what comes of it."""

    log: tuple[Any, ...] = ()

    @on("go")
    def go(self) -> Any:
        return Run(hand_out, then="note", catch="failed")

    @on("note")
    def note(self, result: Any = None) -> Any:
        return self.set(log=(*self.log, result))

    @on("failed")
    def failed(self, error: Any) -> Any:
        return self.set(log=(*self.log, (error["type"], error["message"])))


@pytest.fixture(autouse=True)
def nothing_to_hand_out() -> None:
    directives.clear()


async def log_after(*asked: Any, spec: AgentSpec[Any] | None = None) -> Any:
    """What an agent has noted after an action came with these."""
    directives.extend(asked)
    async with open_runtime(spec or AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(hand_out, then="got", catch="failed"))
        await trio.sleep(10)
        return ref.state().log


async def test_they_are_executed_and_begun_before_the_result_arrives() -> None:
    log = await log_after(
        Emit("note", {"value": "first"}, to="p"), Schedule(5, "note", {"value": "later"}), Emit("note", {}, to="p")
    )
    assert log == ("first", None, ("got", "value", {}), "later")


async def test_those_of_a_plan_and_a_chain_are_executed_too() -> None:
    directives.append(Emit("note", {"value": 1}, to="p"))
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(Plan([Step("a", hand_out), Step("b", chain(hand_out))])))
        await settle()
        assert ref.state().log == (1, 1)


async def test_a_plain_function_may_hand_them_out() -> None:
    async def plain() -> Result[int]:
        return Result(7, [Emit("note", {"value": "plain"}, to="p")])

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call_settled("do", it=Run(plain, then="got"))
        await settle()
        assert ref.state().log == ("plain", ("got", 7, {}))


async def test_a_reply_answers_whoever_asked_and_a_fail_refuses() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        directives[:] = [Reply(42)]
        assert await ref.ask("do", it=Run(hand_out)) == 42
        directives[:] = [Fail("closed")]
        with pytest.raises(Exception, match="closed"):
            await ref.ask("do", it=Run(hand_out))


async def test_whoever_waits_for_the_turn_waits_for_them_and_hears_of_their_failure() -> None:
    ended: list[float] = []

    @action
    async def slow() -> None:
        await trio.sleep(3)
        ended.append(trio.current_time())

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        directives[:] = [Run(slow)]
        await ref.call_settled("do", it=Run(hand_out))
        assert len(ended) == 1
        directives[:] = [Emit("note", {}, to="nobody")]
        with pytest.raises(DirectiveFailed):
            await ref.call_settled("do", it=Run(hand_out))


async def test_a_run_may_cancel_and_replace_what_has_its_key() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        directives[:] = [Cancel("k"), Schedule(1, "note", {"value": "armed"}, key="k")]
        await ref.call_settled("do", it=Run(hand_out, key="k", then="got"))
        await trio.sleep(2)
        assert ref.state().log == (("got", "value", {}), "armed")


async def test_a_stop_ends_the_agent_when_what_stands_before_it_was_begun() -> None:
    async with open_runtime(AgentSpec(Puppet, "other")) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        directives[:] = [Emit("note", {"value": "bye"}, to="other"), Stop("done")]
        await ref.call("do", it=Run(hand_out))
        reason = await ref.wait_stopped()
        await settle()
        assert "done" in str(reason)
        assert runtime.ref("other", Puppet).state().log == ("bye",)
        assert runtime.whereis("p") is None


class Ring(Directive):
    """A directive that nobody executes."""


@pytest.mark.parametrize(
    "asked",
    [[Emit("note", {}, to="p"), Ring()], ["text"], [None], [Stop(), Emit("note", {}, to="p")]],
    ids=["without executor", "no directive", "None", "behind a Stop"],
)
async def test_what_cannot_be_executed_fails_the_run_and_nothing_of_it_is_done(asked: list[Any]) -> None:
    [(what, kind, message, _)] = await log_after(*asked)
    assert (what, kind) == ("failed", "InvalidOutput")
    assert "directives[" in message


async def test_each_has_an_id_of_its_own() -> None:
    ids: list[str] = []

    @action
    async def inner(key: IdempotencyKey) -> None:
        ids.append(key)

    async def ring(directive: Ring, context: EffectContext) -> Signal | None:
        ids.append(context.directive_id)
        return None

    directives[:] = [Run(inner), Ring(), Run(inner)]
    async with open_runtime(AgentSpec(Puppet, "p"), executors={Ring: ring}) as runtime:
        await runtime.ref("p").call_settled("do", it=[Emit("x", {}), Run(hand_out)])
    assert sorted(ids) == [f"default/-/p/1/1.{number}" for number in range(3)]


async def test_those_of_a_run_that_was_given_up_are_not_executed() -> None:
    release = trio.Event()

    @action
    async def stubborn() -> Result[None]:
        with trio.CancelScope(shield=True):
            await release.wait()
        return Result(None, [Emit("note", {"value": "late"}, to="p")])

    async with open_runtime(AgentSpec(Puppet, "p", shutdown=2.0)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(stubborn))
        await settle()
        await ref.cast("boom")
        await trio.sleep(10)
        release.set()
        await settle()
        assert ref.state().log == ()


# Of durable agents.


async def test_a_durable_agent_gets_each_signal_of_a_result_once() -> None:
    directives[:] = [Emit("note", {"result": number}, to="p") for number in range(3)]
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Keeper, "p"), storage=storage) as runtime:
        await runtime.ref("p").call_settled("go")
        await trio.sleep(1)
        assert runtime.ref("p", Keeper).state().log == (0, 1, 2, "value")
    async with open_runtime(AgentSpec(Keeper, "p"), storage=storage) as runtime:
        await trio.sleep(1)
        assert runtime.ref("p", Keeper).state().log == (0, 1, 2, "value")


blocked = trio.Event()


@action
async def block() -> str:
    await blocked.wait()
    return "blocked no more"


async def test_a_run_is_begun_again_when_the_process_dies_before_its_directives_are_done() -> None:
    global blocked
    blocked = trio.Event()
    directives[:] = [Run(block, then="note")]
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Keeper, "p", shutdown=0.0), storage=storage) as runtime:
        await runtime.ref("p").call("go")
        await trio.sleep(1)
        assert runtime.ref("p", Keeper).state().log == ("value",)
    blocked.set()
    async with open_runtime(AgentSpec(Keeper, "p"), storage=storage) as runtime:
        await trio.sleep(1)
        # What the first run has sent is known already: it has the same id.
        assert runtime.ref("p", Keeper).state().log == ("value", "blocked no more")


@pytest.mark.parametrize("asked", [Schedule(1, "note"), Cron("* * * * *", "note", key="k")])
async def test_a_durable_agent_takes_no_schedules_from_there_and_says_why(asked: Any) -> None:
    directives[:] = [asked]
    async with open_runtime(AgentSpec(Keeper, "p"), storage=MemoryStorage()) as runtime:
        await runtime.ref("p").call("go")
        await trio.sleep(5)
        [(kind, message)] = runtime.ref("p", Keeper).state().log
        assert kind == "InvalidOutput"
        assert "a handler returns them" in message
