"""The runtime's log: few lines about each agent, outside of what happened."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Counter, settle

from prunella.runtime import AgentSpec, open_runtime

NAME = "prunella.runtime"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == NAME]


async def test_a_refusal_that_nobody_catches_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        await runtime.ref("c").cast("unknown")
        await settle()
        [line] = lines(caplog)
        assert line.startswith("agent c on signal unknown: UnhandledSignal: ")


async def test_a_crash_loop_is_no_logging_loop(caplog: pytest.LogCaptureFixture) -> None:
    async with open_runtime(AgentSpec(Counter, "c"), max_restarts=10_000, max_seconds=1.0) as runtime:
        ref = runtime.ref("c")
        for _ in range(500):
            await ref.cast("boom")
        await settle()
        assert len(lines(caplog)) == 10
    assert lines(caplog)[-1] == "agent c: left out 490 more lines about it"


async def test_one_noisy_agent_does_not_silence_another_nor_itself_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_runtime() as runtime:
        one, other = await runtime.start_agent(Counter, "1"), await runtime.start_agent(Counter, "2")
        for _ in range(20):
            await one.cast("unknown")
        await other.cast("unknown")
        await settle()
        assert len(lines(caplog)) == 11
        await trio.sleep(11)
        await one.cast("unknown")
        await settle()
        assert lines(caplog)[11] == "agent 1: left out 10 more lines about it"
        assert len(lines(caplog)) == 13


async def test_a_handler_of_the_log_that_raises_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    class Bad(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("handler")

    bad = Bad()
    logging.getLogger(NAME).addHandler(bad)
    try:
        async with open_runtime(AgentSpec(Counter, "c", restore="last")) as runtime:
            ref = runtime.ref("c", Counter)
            for type in ("add", "unknown", "boom", "add"):
                await ref.cast(type)
            await settle()
            assert ref.state().count == 2
            assert ref.status().restarts == 1
    finally:
        logging.getLogger(NAME).removeHandler(bad)
    assert "RuntimeError: handler" in capsys.readouterr().err


async def test_an_error_policy_that_fails_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def policy(agent: Counter, error: Exception) -> Any:
        raise ZeroDivisionError("policy")

    async with open_runtime(AgentSpec(Counter, "c", error_policy=policy)) as runtime:
        ref = runtime.ref("c", Counter)
        await ref.cast("unknown")
        assert (await ref.call("add")).count == 1
        await settle()
    [record] = [record for record in caplog.records if record.name == NAME]
    assert record.getMessage() == "the error policy of agent c failed"
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
