"""The event gateway, with real HTTP on loopback on both of its sides."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from examples.event_gateway import run
from tests.dispatch.http_server import Answer, HTTPServer

from prunella import Signal
from prunella.signals import from_http, to_http

SECRET = b"between us"


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> HTTPServer:
    server = HTTPServer()
    await nursery.start(server.run)
    return server


@pytest.fixture
async def client(nursery: trio.Nursery, receiver: HTTPServer) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway that forwards to `receiver`."""
    stop = trio.Event()

    async def gateway(task_status: trio.TaskStatus[list[str]]) -> None:
        await run("127.0.0.1:0", f"{receiver.url}/hook", SECRET, shutdown=stop.wait, task_status=task_status)

    [url] = await nursery.start(gateway)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        yield client
    stop.set()


def signed(headers: dict[str, str], body: bytes) -> dict[str, str]:
    timestamp = str(int(time.time()))
    digest = hmac.new(SECRET, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return headers | {"x-webhook-timestamp": timestamp, "x-webhook-signature": digest}


async def post(client: httpx.AsyncClient, signal: Signal, mode: str = "structured") -> httpx.Response:
    headers, body = to_http(signal, mode=mode)
    return await client.post("/events", headers=signed(headers, body), content=body)


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_a_ticket_goes_out_as_a_signed_webhook(
    client: httpx.AsyncClient, receiver: HTTPServer, mode: str
) -> None:
    signal = Signal("ticket.opened", {"ticket": "T-1"}, source="/desk")
    answer = await post(client, signal, mode)
    assert (answer.status_code, answer.json()) == (202, {"id": signal.id, "targets": 2})
    [request] = receiver.requests
    assert (request.path, request.headers["x-webhook-event"]) == ("/hook", "opened")
    assert from_http(request.headers, request.body) == signal
    timestamp = request.headers["x-webhook-timestamp"]
    digest = hmac.new(SECRET, timestamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-webhook-signature"] == digest


async def test_other_events_go_to_the_log_only(
    client: httpx.AsyncClient, receiver: HTTPServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "prunella.dispatch")
    answer = await post(client, Signal("invoice.paid", {"amount": 5}))
    assert (answer.status_code, answer.json()["targets"]) == (202, 1)
    assert "invoice.paid" in caplog.text
    assert receiver.requests == []


async def test_an_event_that_is_not_signed_goes_nowhere(client: httpx.AsyncClient, receiver: HTTPServer) -> None:
    headers, body = to_http(Signal("ticket.opened"))
    for wrong in (headers, signed(headers, body + b" "), signed(headers, body) | {"x-webhook-timestamp": "1"}):
        answer = await client.post("/events", headers=wrong, content=body)
        assert answer.status_code == 401
    assert receiver.requests == []


@pytest.mark.parametrize("body", [b"", b"{", json.dumps({"specversion": "1.0"}).encode()])
async def test_what_is_no_cloudevent_is_refused(client: httpx.AsyncClient, receiver: HTTPServer, body: bytes) -> None:
    headers = signed({"content-type": "application/cloudevents+json"}, body)
    assert (await client.post("/events", headers=headers, content=body)).status_code == 400
    assert receiver.requests == []


async def test_what_is_too_large_is_refused(client: httpx.AsyncClient) -> None:
    body = b"x" * 1_000_001
    assert (await client.post("/events", headers=signed({}, body), content=body)).status_code == 413


async def test_when_the_webhook_is_not_taken_the_sender_is_told(
    client: httpx.AsyncClient, receiver: HTTPServer
) -> None:
    receiver.answers = [Answer(404)]
    assert (await post(client, Signal("ticket.opened"))).status_code == 502
    receiver.answers = [Answer()]
    assert (await post(client, Signal("ticket.opened"))).status_code == 202
