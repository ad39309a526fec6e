"""Secrets of webhooks that agents emit: the runtime's dispatcher resolves them by name."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from tests.dispatch.scripted import ScriptedClient

from prunella.agents import Agent, Durable, Emit, on
from prunella.dispatch import DispatchError, WebhookTarget, verify
from prunella.runtime import AgentSpec, DirectiveFailed, open_runtime
from prunella.storage import MemoryStorage

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
HOOK = WebhookTarget("http://example.org/hook", secret="hook")


class Bell(Agent, name="bell"):
    @on("ring")
    def ring(self) -> Any:
        return Emit("rung", {"times": 1}, to=HOOK)


class DurableBell(Agent, name="durable-bell", durable=Durable()):
    @on("ring")
    def ring(self) -> Any:
        return Emit("rung", {"times": 1}, to=HOOK)


@pytest.mark.parametrize("secrets", [{"hook": b"between us"}, lambda name: {"hook": b"between us"}[name]])
@pytest.mark.parametrize("bell", [Bell, DurableBell])
async def test_a_webhook_of_an_agent_is_signed_with_the_secret_that_it_names(bell: Any, secrets: Any) -> None:
    storage = MemoryStorage() if bell is DurableBell else None
    async with open_runtime(AgentSpec(bell, "bell"), storage=storage, epoch=EPOCH, secrets=secrets) as runtime:
        client = ScriptedClient(200).put_into(runtime.dispatcher)
        await runtime.ref("bell").call_settled("ring")
    [attempt] = client.attempts
    verify(b"between us", attempt.headers, attempt.body, at=EPOCH.timestamp())


async def test_without_the_secret_the_error_and_the_log_say_which_there_are(caplog: pytest.LogCaptureFixture) -> None:
    cause = "secret must be a name that secrets= has ('other'), got another"
    async with open_runtime(AgentSpec(Bell, "bell"), secrets={"other": b"between us"}) as runtime:
        with caplog.at_level(logging.WARNING, "prunella.runtime"):
            with pytest.raises(DirectiveFailed) as caught:
                await runtime.ref("bell").call_settled("ring")
            await trio.testing.wait_all_tasks_blocked()
    assert cause in str(caught.value)
    [(_, error)] = caught.value.failures
    assert isinstance(error, DispatchError)
    assert cause in caplog.text
