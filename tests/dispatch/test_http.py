"""Real HTTP on loopback: what a server can do to a client."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from prunella import Signal
from prunella.dispatch import (
    CircuitBreaker,
    Dispatcher,
    DispatchError,
    HTTPTarget,
    MissingExtra,
    WebhookTarget,
    open_dispatcher,
    verify,
)
from prunella.signals import from_http

from .http_server import Answer, HTTPServer

SIGNAL = Signal("ticket.opened", {"ticket": "T-1"})

Serve = Callable[..., Awaitable[HTTPServer]]

pytestmark = pytest.mark.usefixtures("quick_retries")


async def failure(dispatcher: Dispatcher, target: HTTPTarget) -> DispatchError:
    with pytest.raises(DispatchError) as caught:
        await dispatcher.dispatch(SIGNAL, target)
    return caught.value


async def closed_port() -> int:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listener.socket.getsockname()[1]
    await listener.aclose()
    return port


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_signal_arrives_as_it_was(serve: Serve, mode: str) -> None:
    server = await serve()
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, HTTPTarget(f"{server.url}/in?x=1", mode=mode))
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/in?x=1")
    assert from_http(request.headers, request.body) == SIGNAL


async def test_a_webhook_can_be_verified(serve: Serve) -> None:
    server = await serve()
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, WebhookTarget(server.url, secret=b"s3cret"))
    [request] = server.requests
    verify(b"s3cret", request.headers, request.body)


async def test_connections_are_used_again(serve: Serve) -> None:
    server = await serve()
    async with open_dispatcher() as dispatcher:
        for _ in range(10):
            await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url))
    assert (len(server.requests), server.connections) == (10, 1)


@pytest.mark.parametrize("ending", ["half head", "nothing"])
async def test_half_an_answer_is_unreachable_and_tried_again(serve: Serve, ending: str) -> None:
    server = await serve(Answer(ending=ending), Answer())
    async with open_dispatcher() as dispatcher:
        [result] = await dispatcher.dispatch_all(SIGNAL, [HTTPTarget(server.url)])
        assert (result.ok, result.attempts) == (True, 2)
        server.answers = [Answer(ending=ending)]
        error = await failure(dispatcher, HTTPTarget(server.url, retries=1))
    assert (error.reason, error.attempts) == ("unreachable", 2)


async def test_once_the_status_is_there_half_a_body_does_not_matter(serve: Serve) -> None:
    server = await serve(Answer(202, ending="half body"))
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url, retries=0))
        await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url, retries=0))
    assert len(server.requests) == 2


async def test_a_very_long_body_is_not_read(serve: Serve) -> None:
    server = await serve(Answer(200, body=b"x" * 20_000_000))
    async with open_dispatcher() as dispatcher:
        for _ in range(2):
            await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url, retries=0))
    assert server.connections == 2


async def test_silence_is_a_timeout(serve: Serve) -> None:
    server = await serve(Answer(ending="silence"))
    async with open_dispatcher() as dispatcher:
        error = await failure(dispatcher, HTTPTarget(server.url, timeout=0.05, retries=1))
    assert (error.reason, error.attempts) == ("timeout", 2)
    assert isinstance(error, TimeoutError)


async def test_a_slow_answer_within_the_timeout_is_a_delivery(serve: Serve) -> None:
    server = await serve(Answer(after=0.1))
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url, timeout=30))


async def test_a_refused_connection_is_unreachable() -> None:
    target = HTTPTarget(f"http://127.0.0.1:{await closed_port()}")
    async with open_dispatcher() as dispatcher:
        error = await failure(dispatcher, target)
    assert (error.reason, error.attempts, error.retryable) == ("unreachable", 3, True)
    assert not isinstance(error, TimeoutError)
    assert error.__cause__ is not None


async def test_what_speaks_no_http_is_unreachable(nursery: trio.Nursery) -> None:
    async def babble(stream: trio.SocketStream) -> None:
        await stream.send_all(b"220 mail.example.org ESMTP\r\n")
        await stream.receive_some()

    [listener] = await nursery.start(partial(trio.serve_tcp, babble, 0, host="127.0.0.1"))
    async with open_dispatcher() as dispatcher:
        target = HTTPTarget(f"http://127.0.0.1:{listener.socket.getsockname()[1]}", retries=0)
        assert (await failure(dispatcher, target)).reason == "unreachable"


async def test_a_server_without_tls_is_unreachable_by_https(serve: Serve) -> None:
    server = await serve()
    async with open_dispatcher() as dispatcher:
        target = HTTPTarget(server.url.replace("http:", "https:"), retries=0, timeout=30)
        assert (await failure(dispatcher, target)).reason == "unreachable"


@pytest.mark.parametrize("status", [404, 400, 500, 429])
async def test_an_error_status_stands_in_the_error(serve: Serve, status: int) -> None:
    server = await serve(Answer(status))
    async with open_dispatcher() as dispatcher:
        error = await failure(dispatcher, HTTPTarget(server.url, retries=1))
    assert (error.reason, error.status) == ("status", status)
    assert len(server.requests) == (2 if status in (500, 429) else 1)


async def test_redirects_are_not_followed(serve: Serve) -> None:
    other = await serve()
    server = await serve(Answer(307, {"location": other.url}))
    async with open_dispatcher() as dispatcher:
        error = await failure(dispatcher, HTTPTarget(server.url))
    assert (error.reason, error.status, error.attempts) == ("status", 307, 1)
    assert other.requests == []


async def test_retry_after_is_read(serve: Serve) -> None:
    server = await serve(Answer(503, {"Retry-After": "90"}))
    async with open_dispatcher() as dispatcher:
        error = await failure(dispatcher, HTTPTarget(server.url))
    assert (error.attempts, error.retry_after) == (1, 90.0)


async def test_the_circuit_opens_on_real_failures() -> None:
    target = HTTPTarget(f"http://127.0.0.1:{await closed_port()}", retries=0)
    async with open_dispatcher(breaker=CircuitBreaker(2, 60, 60)) as dispatcher:
        reasons = [(await failure(dispatcher, target)).reason for _ in range(3)]
    assert reasons == ["unreachable", "unreachable", "circuit_open"]


async def test_cookies_do_not_travel_from_one_answer_to_the_next_request(serve: Serve) -> None:
    server = await serve(Answer(200, {"set-cookie": "a=b"}))
    async with open_dispatcher() as dispatcher:
        for _ in range(2):
            await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url))
    assert "cookie" not in server.requests[1].headers


async def test_the_environment_has_no_say(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{await closed_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{await closed_port()}")
    server = await serve()
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, HTTPTarget(server.url))


async def test_no_log_of_a_library_below_shows_the_query(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    server = await serve()
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, HTTPTarget(f"{server.url}/?token=hunter2"))
    assert "hunter2" not in caplog.text


async def test_many_at_once_are_all_delivered(serve: Serve) -> None:
    server = await serve(Answer(after=0.01))
    targets = [HTTPTarget(f"{server.url}/{n}") for n in range(40)]
    async with open_dispatcher() as dispatcher:
        results = await dispatcher.dispatch_all(SIGNAL, targets, max_concurrency=20)
    assert all(result.ok for result in results)
    assert sorted(request.path for request in server.requests) == sorted(f"/{n}" for n in range(40))
    assert server.connections <= 20


async def test_a_deadline_in_the_middle_of_an_attempt_leaves_a_client_that_works(serve: Serve) -> None:
    server = await serve(Answer(ending="silence"), Answer())
    target = HTTPTarget(server.url, timeout=60)
    async with open_dispatcher() as dispatcher:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(dispatcher.dispatch, SIGNAL, target)
                await server.wait_for(1)
                scope.cancel()
        await dispatcher.dispatch(SIGNAL, target)
    assert len(server.requests) == 2


async def test_leaving_the_block_ends_what_is_under_way(serve: Serve) -> None:
    server = await serve(Answer(ending="silence"))
    errors: list[DispatchError] = []

    async def one(dispatcher: Dispatcher) -> None:
        errors.append(await failure(dispatcher, HTTPTarget(server.url, timeout=60)))

    async with trio.open_nursery() as nursery:
        async with open_dispatcher() as dispatcher:
            nursery.start_soon(one, dispatcher)
            await server.wait_for(1)
    assert [error.reason for error in errors] == ["closed"]


async def test_without_httpx_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    async with open_dispatcher() as dispatcher:
        error = await failure(dispatcher, HTTPTarget("http://127.0.0.1"))
    assert isinstance(error, MissingExtra)
    assert isinstance(error, ImportError)
    assert "prunella[http]" in str(error)
    assert (error.attempts, error.retryable) == (0, False)


def test_importing_the_package_does_not_import_httpx() -> None:
    code = "import prunella.dispatch, sys; assert not {'httpx', 'httpcore'} & set(sys.modules)"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
