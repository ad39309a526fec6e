"""What a durable agent sends over HTTP: its receiver can tell what comes again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from tests.dispatch.http_server import Answer, HTTPServer

from prunella import Agent, AgentSpec, Emit, on, open_runtime
from prunella.dispatch import HTTPTarget
from prunella.storage import MemoryStorage


class Sender(Agent, name="sender", durable=True):
    @on("send")
    def send(self, url: str, key: str | None = None) -> Emit:
        headers = {} if key is None else {"Idempotency-Key": key}
        return Emit("order.placed", {"amount": 3}, to=HTTPTarget(url, retries=0, headers=headers))


@asynccontextmanager
async def serving(*answers: Answer) -> AsyncIterator[HTTPServer]:
    async with trio.open_nursery() as nursery:
        server = HTTPServer(*answers)
        await nursery.start(server.run)
        yield server
        nursery.cancel_scope.cancel()


async def test_the_id_of_the_directive_goes_with_the_request() -> None:
    async with (
        serving() as server,
        open_runtime(AgentSpec(Sender, "s/1", partition="north"), storage=MemoryStorage(), name="shop") as runtime,
    ):
        await runtime.ref("s/1", Sender, partition="north").call_settled("send", url=server.url)
    assert [each.headers["idempotency-key"] for each in server.requests] == ["shop/north/s%2F1/1/0"]


async def test_what_the_agent_says_itself_counts() -> None:
    async with serving() as server, open_runtime(AgentSpec(Sender, "s"), storage=MemoryStorage()) as runtime:
        await runtime.ref("s", Sender).call_settled("send", url=server.url, key="mine")
    assert [each.headers["idempotency-key"] for each in server.requests] == ["mine"]


async def test_sent_again_by_the_next_process_it_is_the_same_request() -> None:
    storage = MemoryStorage()
    async with serving(Answer(ending="silence"), Answer()) as server:
        async with open_runtime(AgentSpec(Sender, "s", shutdown="brutal_kill"), storage=storage) as runtime:
            await runtime.ref("s", Sender).call("send", url=server.url)
            await server.wait_for(1)  # It has come, and is never answered.
        async with open_runtime(AgentSpec(Sender, "s"), storage=storage) as runtime:
            await server.wait_for(2)
        async with open_runtime(AgentSpec(Sender, "s"), storage=storage) as runtime:
            assert (await runtime.outbox()).count == 0
    first, second = server.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "default/-/s/1/0"
    assert json.loads(first.body)["id"] == json.loads(second.body)["id"]
