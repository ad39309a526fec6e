"""Error policies: asked about refusals and failed directives, and about nothing else."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Puppet, Task, settle

from prunella.agents import AgentCrashed, AgentStopped, Emit, Fail, Rejected, Run, Stop, UnhandledSignal
from prunella.runtime import AgentSpec, emit, max_errors, open_runtime
from prunella.supervision import InvalidSpec, Shutdown


async def fail(text: str = "no") -> None:
    raise OSError(text)


async def three_errors(ref: Any) -> None:
    """One refusal of a call, one of a cast, one failed directive."""
    with pytest.raises(Rejected):
        await ref.call("refuse")
    await ref.cast("no.such")
    await ref.cast("do", it=Run(fail))
    await settle()


async def test_log_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        await three_errors(runtime.ref("p"))
        texts = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert len(texts) == 3
        assert [name in text for name, text in zip(("Rejected", "Unhandled", "OSError"), texts, strict=True)] == [
            True
        ] * 3


@pytest.mark.parametrize("signal", ["refuse", "no.such", "number"])
async def test_stop_ends_the_agent_and_a_transient_one_stays_down(signal: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p", error_policy="stop")) as runtime:
        ref = runtime.ref("p")
        with pytest.raises((Rejected, UnhandledSignal, ValueError)) as caught:
            await ref.call(signal)
        reason = await ref.wait_stopped()
        assert reason == Shutdown(caught.value)


async def test_stop_answers_those_who_wait() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", error_policy="stop")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p")
        await ref.cast("refuse")
        caller = Task(nursery, ref.call, "note")
        await settle()
        assert isinstance(caller.error, AgentStopped)


async def test_stop_lets_the_directives_of_the_turn_be_handed_over() -> None:
    async with open_runtime(AgentSpec(Puppet, "other")) as runtime:
        ref = await runtime.start_agent(Puppet, "p", error_policy="stop")
        await ref.call(
            "do",
            it=[Emit("note", to="nobody"), Emit("note", {"value": 1}, to="other"), Run(trio.sleep, {"seconds": 1})],
        )
        began = trio.current_time()
        assert isinstance(await ref.wait_stopped(), Shutdown)
        assert trio.current_time() - began == pytest.approx(1, abs=0.1)
        assert runtime.ref("other", Puppet).state().log == (1,)


async def test_max_errors_counts_and_successes_do_not_set_it_back() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", error_policy=max_errors(3))) as runtime:
        ref = runtime.ref("p")
        for _ in range(2):
            await ref.cast("refuse")
            await ref.call("note")
        assert ref.status().state == "running"
        await ref.cast("refuse")
        await settle()
        assert ref.status().state == "stopped"


async def test_max_errors_begins_anew_with_each_life() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", error_policy=max_errors(2))) as runtime:
        ref = runtime.ref("p")
        for _ in range(3):
            await ref.cast("refuse")
            await ref.cast("boom")
            await settle()
        assert ref.status().state == "running"


async def test_emit_publishes_what_happened() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", error_policy=emit("trouble"))) as runtime:
        async with runtime.subscribe("trouble") as stream:
            await three_errors(runtime.ref("p"))
            heard = [stream.receive_nowait() for _ in range(3)]
        assert [signal.data["error"]["type"] for signal in heard] == ["Rejected", "UnhandledSignal", "OSError"]
        assert heard[0].data == {
            "agent": "p",
            "error": {"type": "Rejected", "message": "not today"},
            "signal_type": "refuse",
        }


async def test_a_function_decides_like_a_handler() -> None:
    def policy(agent: Puppet, error: Exception) -> Any:
        return agent.set(log=(*agent.log, type(error).__name__)), Emit("note", {"value": "told"}, to="other")

    async with open_runtime(AgentSpec(Puppet, "other")) as runtime:
        ref = await runtime.start_agent(Puppet, "p", error_policy=policy)
        await three_errors(ref)
        assert ref.state().log == ("Rejected", "UnhandledSignal", "OSError")
        assert runtime.ref("other", Puppet).state().log == ("told",) * 3


@pytest.mark.parametrize("result", [None, Stop(), "nonsense", ValueError("no")], ids=repr)
async def test_what_a_function_says_or_raises(result: Any, caplog: pytest.LogCaptureFixture) -> None:
    def policy(agent: Puppet, error: Exception) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    async with open_runtime(AgentSpec(Puppet, "p", error_policy=policy)) as runtime:
        ref = runtime.ref("p")
        await ref.cast("refuse")
        await settle()
        assert ref.status().state == ("stopped" if isinstance(result, Stop) else "running")
        is_wrong = isinstance(result, str | Exception)
        assert ("the error policy of agent p failed" in caplog.text) == is_wrong
        assert ref.status().restarts == 0


async def test_a_function_whose_directives_fail_is_not_asked_about_them(caplog: pytest.LogCaptureFixture) -> None:
    asked = 0

    def policy(agent: Puppet, error: Exception) -> Any:
        nonlocal asked
        asked += 1
        return Emit("note", to="nobody")

    async with open_runtime(AgentSpec(Puppet, "p", error_policy=policy)) as runtime:
        ref = runtime.ref("p")
        await ref.cast("refuse")
        await settle()
        assert (asked, ref.status().restarts, ref.status().state) == (1, 0, "running")
        assert "AgentNotFound" in caplog.text


async def test_no_policy_is_asked_about_crashes() -> None:
    asked: list[Exception] = []
    policy: Any = lambda agent, error: asked.append(error)  # noqa: E731
    async with open_runtime(AgentSpec(Puppet, "p", error_policy=policy)) as runtime:
        with pytest.raises(AgentCrashed):
            await runtime.ref("p").call("boom")
        await settle()
    assert asked == []


async def test_no_policy_is_asked_about_what_the_logic_hears_of() -> None:
    asked: list[Exception] = []
    policy: Any = lambda agent, error: asked.append(error)  # noqa: E731
    async with open_runtime(AgentSpec(Puppet, "p", error_policy=policy)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("do", it=Run(fail, catch="failed"))
        await settle()
        assert len(ref.state().log) == 1
        await ref.call("do", it=Fail("to nobody"))
    assert [type(error) for error in asked] == [Rejected]


@pytest.mark.parametrize("policy", ["explode", 1, None, b"log"], ids=repr)
def test_what_is_no_policy_is_refused_when_the_spec_is_made(policy: Any) -> None:
    with pytest.raises(InvalidSpec, match="error_policy"):
        AgentSpec(Puppet, "p", error_policy=policy)


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "3"])
def test_max_errors_wants_a_number_of_at_least_one(number: Any) -> None:
    with pytest.raises(InvalidSpec):
        max_errors(number)


@pytest.mark.parametrize("type", ["", "prunella.trouble", None, 1])
def test_emit_wants_a_type_of_ones_own(type: Any) -> None:
    with pytest.raises(InvalidSpec):
        emit(type)
