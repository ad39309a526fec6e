"""What happens between attempts: retries, deadlines, circuits, order. On a mock clock, with a scripted client."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella import InvalidArgument, Signal
from prunella.dispatch import (
    CircuitBreaker,
    Dispatcher,
    DispatchError,
    DispatchTimeout,
    HTTPTarget,
    InvalidSignature,
    WebhookTarget,
    open_dispatcher,
    verify,
)
from prunella.signals import InvalidSignal, from_http

from .scripted import ScriptedClient

SIGNAL = Signal("ticket.opened", {"ticket": "T-1"})
TARGET = HTTPTarget("http://example.org/hook")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


async def failure(dispatcher: Dispatcher, target: Any = TARGET, signal: Signal = SIGNAL) -> DispatchError:
    with pytest.raises(DispatchError) as caught:
        await dispatcher.dispatch(signal, target)
    return caught.value


# Retries.


async def test_an_error_that_may_pass_is_tried_again_until_it_has_passed(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(500, 503, 200).put_into(dispatcher)
        [result] = await dispatcher.dispatch_all(SIGNAL, [TARGET])
        assert (result.ok, result.attempts) == (True, 3)
        first, second, third = client.times
        assert 0.25 <= second - first <= 0.5
        assert 0.5 <= third - second <= 1.0


async def test_it_is_not_tried_more_often_than_allowed(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(503).put_into(dispatcher)
        error = await failure(dispatcher)
        assert (error.reason, error.status, error.attempts, error.retryable) == ("status", 503, 3, True)
        assert len(client.attempts) == 3
        assert (await failure(dispatcher, HTTPTarget("http://other.org", retries=0))).attempts == 1


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 422])
async def test_an_error_that_will_not_pass_is_not_tried_again(autojump_clock: MockClock, status: int) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(status).put_into(dispatcher)
        error = await failure(dispatcher)
        assert (error.reason, error.status, error.attempts, error.retryable) == ("status", status, 1, False)
        assert len(client.attempts) == 1


async def test_a_refused_connection_is_unreachable(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        ScriptedClient("refused").put_into(dispatcher)
        error = await failure(dispatcher)
        assert (error.reason, error.status, error.attempts, error.retryable) == ("unreachable", None, 3, True)
        assert isinstance(error.__cause__, OSError)
        assert not isinstance(error, TimeoutError)


async def test_the_timeout_is_that_of_one_attempt(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(100.0).put_into(dispatcher)
        begin = trio.current_time()
        error = await failure(dispatcher, HTTPTarget("http://example.org", timeout=10, retries=1))
        assert (error.reason, error.attempts) == ("timeout", 2)
        assert isinstance(error, DispatchTimeout)
        assert isinstance(error, TimeoutError)
        assert 20 < trio.current_time() - begin < 21
        assert len(client.attempts) == 2


async def test_retry_after_in_seconds_is_waited_for(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient((503, "7"), 200).put_into(dispatcher)
        await dispatcher.dispatch(SIGNAL, TARGET)
        assert client.times[1] - client.times[0] == pytest.approx(7.0)


async def test_retry_after_as_a_date_is_waited_for_by_the_dispatchers_clock(autojump_clock: MockClock) -> None:
    async with open_dispatcher(epoch=datetime(2026, 10, 21, 7, 27, 30, tzinfo=UTC)) as dispatcher:
        await trio.sleep(10)
        client = ScriptedClient((429, "Wed, 21 Oct 2026 07:28:00 GMT"), 200).put_into(dispatcher)
        await dispatcher.dispatch(SIGNAL, TARGET)
        assert client.times[1] - client.times[0] == pytest.approx(20.0)


async def test_a_retry_after_of_more_than_a_minute_ends_it_and_stands_in_the_error(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient((503, "61")).put_into(dispatcher)
        error = await failure(dispatcher)
        assert (error.attempts, error.retry_after, error.retryable) == (1, 61.0, True)
        assert len(client.attempts) == 1


async def test_nothing_is_sent_after_the_callers_deadline(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient((503, "30")).put_into(dispatcher)
        with trio.move_on_after(20) as scope:
            await dispatcher.dispatch(SIGNAL, TARGET)
        assert scope.cancelled_caught
        await trio.sleep(100)
        assert len(client.attempts) == 1


async def test_retries_do_not_change_the_order(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(503, 503, 200, 503, 200).put_into(dispatcher)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(dispatcher.dispatch, Signal("a.b", number), TARGET)
                await wait_all_tasks_blocked(0.001)
        assert [json.loads(attempt.body)["data"] for attempt in client.attempts] == [0, 0, 0, 1, 1, 2]


async def test_other_targets_do_not_wait_for_one_that_is_tried_again(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher, trio.open_nursery() as nursery:
        ScriptedClient((503, "50"), 200).put_into(dispatcher)
        nursery.start_soon(dispatcher.dispatch, SIGNAL, TARGET)
        await wait_all_tasks_blocked(0.001)
        with trio.fail_after(1):
            await dispatcher.dispatch(SIGNAL, HTTPTarget("http://example.org/other"))


# The circuit.


async def test_the_circuit_really_opens_and_closes_again(autojump_clock: MockClock) -> None:
    target = HTTPTarget("http://example.org", retries=0)
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(500).put_into(dispatcher)
        for _ in range(5):
            assert (await failure(dispatcher, target)).reason == "status"
        error = await failure(dispatcher, target)
        assert (error.reason, error.attempts, error.retryable) == ("circuit_open", 0, True)
        assert error.retry_after == pytest.approx(30.0)
        assert len(client.attempts) == 5
        await trio.sleep(29.9)
        assert (await failure(dispatcher, target)).reason == "circuit_open"
        await trio.sleep(0.1)
        client.steps = [200]
        for _ in range(3):
            await dispatcher.dispatch(SIGNAL, target)
        assert len(client.attempts) == 8


async def test_a_probe_that_fails_opens_it_again(autojump_clock: MockClock) -> None:
    target = HTTPTarget("http://example.org", retries=0)
    async with open_dispatcher(breaker=CircuitBreaker(1, 10, 30)) as dispatcher:
        client = ScriptedClient("refused").put_into(dispatcher)
        await failure(dispatcher, target)
        await trio.sleep(30)
        assert (await failure(dispatcher, target)).reason == "unreachable"
        assert (await failure(dispatcher, target)).reason == "circuit_open"
        assert len(client.attempts) == 2


async def test_while_a_probe_is_out_the_others_fail_at_once(autojump_clock: MockClock) -> None:
    async with open_dispatcher(breaker=CircuitBreaker(1, 10, 30)) as dispatcher, trio.open_nursery() as nursery:
        client = ScriptedClient(500, 3.0).put_into(dispatcher)
        await failure(dispatcher)
        await trio.sleep(30)
        nursery.start_soon(dispatcher.dispatch, SIGNAL, TARGET)
        await wait_all_tasks_blocked(0.001)
        error = await failure(dispatcher, HTTPTarget("http://example.org/other"))
        assert (error.reason, error.attempts) == ("circuit_open", 0)
        await trio.sleep(5)
        await dispatcher.dispatch(SIGNAL, HTTPTarget("http://example.org/other"))
        assert len(client.attempts) == 3


async def test_a_probe_whose_caller_gave_up_leaves_its_place_to_the_next(autojump_clock: MockClock) -> None:
    async with open_dispatcher(breaker=CircuitBreaker(1, 10, 30)) as dispatcher:
        ScriptedClient(500, 3.0, 200).put_into(dispatcher)
        await failure(dispatcher)
        await trio.sleep(30)
        with trio.move_on_after(1):
            await dispatcher.dispatch(SIGNAL, TARGET)
        await dispatcher.dispatch(SIGNAL, TARGET)


async def test_all_urls_of_an_origin_share_a_circuit_and_others_have_their_own(autojump_clock: MockClock) -> None:
    async with open_dispatcher(breaker=CircuitBreaker(2, 10, 30)) as dispatcher:
        client = ScriptedClient(500, 500, 200).put_into(dispatcher)
        await failure(dispatcher, HTTPTarget("http://example.org/a", retries=0))
        await failure(dispatcher, WebhookTarget("http://EXAMPLE.org:80/b", secret=b"x", retries=0))
        assert (await failure(dispatcher, HTTPTarget("http://example.org/c"))).reason == "circuit_open"
        await dispatcher.dispatch(SIGNAL, HTTPTarget("http://example.org:81/a"))
        await dispatcher.dispatch(SIGNAL, HTTPTarget("https://example.org/a"))
        assert len(client.attempts) == 4


async def test_when_it_opens_between_attempts_the_rest_is_not_made(autojump_clock: MockClock) -> None:
    async with open_dispatcher(breaker=CircuitBreaker(2, 10, 30)) as dispatcher:
        client = ScriptedClient(503).put_into(dispatcher)
        begin = trio.current_time()
        error = await failure(dispatcher, HTTPTarget("http://example.org", retries=10))
        assert (error.reason, error.status, error.attempts, error.retryable) == ("status", 503, 2, True)
        assert trio.current_time() - begin < 1
        assert len(client.attempts) == 2


async def test_when_others_open_it_during_a_delay_the_rest_is_not_made(autojump_clock: MockClock) -> None:
    async with open_dispatcher(breaker=CircuitBreaker(2, 10, 5)) as dispatcher, trio.open_nursery() as nursery:
        client = ScriptedClient((503, "20"), 500).put_into(dispatcher)
        errors: list[DispatchError] = []

        async def one() -> None:
            errors.append(await failure(dispatcher))

        nursery.start_soon(one)
        await wait_all_tasks_blocked(0.001)
        await failure(dispatcher, HTTPTarget("http://example.org/other", retries=0))
        await trio.sleep(30)
        assert [(e.reason, e.status, e.attempts, e.retryable) for e in errors] == [("status", 503, 1, True)]
        assert len(client.attempts) == 2


@pytest.mark.parametrize("status", [404, 408, 425, 429])
async def test_answers_below_500_do_not_open_it(autojump_clock: MockClock, status: int) -> None:
    async with open_dispatcher(breaker=CircuitBreaker(1, 10, 30)) as dispatcher:
        ScriptedClient(status).put_into(dispatcher)
        for _ in range(10):
            assert (await failure(dispatcher, HTTPTarget("http://example.org", retries=0))).reason == "status"


async def test_attempts_count_one_by_one(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(500).put_into(dispatcher)
        assert (await failure(dispatcher)).attempts == 3
        assert (await failure(dispatcher)).attempts == 2
        assert (await failure(dispatcher)).reason == "circuit_open"
        assert len(client.attempts) == 5


# Who may be talked to.


@pytest.mark.parametrize("url", ["http://good.org", "https://GOOD.org:8443/x", "http://[::1]:80/"])
async def test_hosts_on_the_list_are_talked_to(autojump_clock: MockClock, url: str) -> None:
    async with open_dispatcher(allow_hosts=["Good.org", "::1"]) as dispatcher:
        ScriptedClient(200).put_into(dispatcher)
        await dispatcher.dispatch(SIGNAL, HTTPTarget(url))


@pytest.mark.parametrize(
    "url", ["http://evil.org", "http://sub.good.org", "http://good.org.evil.org", "http://127.0.0.1"]
)
async def test_others_are_not(autojump_clock: MockClock, url: str) -> None:
    async with open_dispatcher(allow_hosts=["good.org"]) as dispatcher:
        client = ScriptedClient(200).put_into(dispatcher)
        error = await failure(dispatcher, HTTPTarget(url))
        assert (error.reason, error.attempts, error.retryable) == ("not_allowed", 0, False)
        assert client.attempts == []


async def test_an_empty_list_allows_nobody(autojump_clock: MockClock) -> None:
    async with open_dispatcher(allow_hosts=[]) as dispatcher:
        assert (await failure(dispatcher)).reason == "not_allowed"


# What is sent.


@pytest.mark.parametrize("mode", ["structured", "binary"])
async def test_the_signal_is_a_cloudevent(autojump_clock: MockClock, mode: str) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(200).put_into(dispatcher)
        headers = {"Content-Type": "text/plain", "X-Mine": "yes", "ce-type": "forged"}
        await dispatcher.dispatch(SIGNAL, HTTPTarget("http://example.org", mode=mode, method="put", headers=headers))
        [attempt] = client.attempts
        assert attempt.method == "PUT"
        assert from_http({**attempt.headers, "ce-type": attempt.headers.get("ce-type", "x")}, attempt.body) == SIGNAL
        assert attempt.headers["x-mine"] == "yes"


async def test_data_that_cannot_be_written_is_an_error_and_makes_no_attempt(autojump_clock: MockClock) -> None:
    async with open_dispatcher() as dispatcher:
        client = ScriptedClient(200).put_into(dispatcher)
        error = await failure(dispatcher, signal=Signal("a.b", object()))
        assert (error.reason, error.attempts, error.retryable) == ("raised", 0, False)
        assert isinstance(error.__cause__, InvalidSignal)
        assert "Signal 'a.b': data must be a JSON value, got a value of type object" in str(error)
        assert client.attempts == []


async def test_a_webhook_is_signed_as_an_independent_receiver_expects(autojump_clock: MockClock) -> None:
    async with open_dispatcher(secrets={"hook": b"s3cret"}, epoch=EPOCH) as dispatcher:
        client = ScriptedClient(200).put_into(dispatcher)
        target = WebhookTarget(
            "http://example.org",
            secret="hook",
            events={"ticket.opened": "opened"},
            headers={"X-Webhook-Signature": "forged", "x-webhook-TIMESTAMP": "1", "x-webhook-event": "forged"},
        )
        await dispatcher.dispatch(SIGNAL, target)
        await dispatcher.dispatch(Signal("täst %", None), target)
        first, second = client.attempts
        timestamp = str(int(EPOCH.timestamp()))
        expected = hmac.new(b"s3cret", f"{timestamp}.".encode() + first.body, hashlib.sha256).hexdigest()
        assert first.headers["x-webhook-timestamp"] == timestamp
        assert first.headers["x-webhook-signature"] == expected
        assert first.headers["x-webhook-event"] == "opened"
        assert second.headers["x-webhook-event"] == "t%C3%A4st%20%25"
        verify(b"s3cret", first.headers, first.body, at=EPOCH.timestamp())
        with pytest.raises(InvalidSignature):
            verify(b"s3cret", first.headers, first.body + b" ", at=EPOCH.timestamp())


async def test_each_attempt_is_signed_with_its_own_time(autojump_clock: MockClock) -> None:
    async with open_dispatcher(epoch=EPOCH) as dispatcher:
        client = ScriptedClient((503, "30"), 200).put_into(dispatcher)
        await dispatcher.dispatch(SIGNAL, WebhookTarget("http://example.org", secret=b"x"))
        later = EPOCH + timedelta(seconds=30)
        verify(b"x", client.attempts[1].headers, client.attempts[1].body, at=later.timestamp(), tolerance=1)


async def test_a_secret_may_come_from_a_function(autojump_clock: MockClock) -> None:
    async with open_dispatcher(secrets=lambda name: name.upper().encode(), epoch=EPOCH) as dispatcher:
        client = ScriptedClient(200).put_into(dispatcher)
        await dispatcher.dispatch(SIGNAL, WebhookTarget("http://example.org", secret="hook"))
        verify(b"HOOK", client.attempts[0].headers, client.attempts[0].body, at=EPOCH.timestamp())


def no_secret(name: str) -> bytes:
    raise LookupError


@pytest.mark.parametrize("secrets", [{}, {"other": b"x"}, lambda name: None, lambda name: "text", no_secret])
async def test_a_secret_that_nobody_knows_is_never_shown(autojump_clock: MockClock, secrets: Any) -> None:
    async with open_dispatcher(secrets=secrets) as dispatcher:
        client = ScriptedClient(200).put_into(dispatcher)
        error = await failure(dispatcher, WebhookTarget("http://example.org", secret="hunter2"))
        assert (error.reason, error.attempts) == ("raised", 0)
        assert isinstance(error.__cause__, InvalidArgument | LookupError)
        assert "hunter2" not in f"{error} {error!r} {error.__cause__} {error.__cause__!r}"
        assert client.attempts == []
        assert "hunter2" not in repr(dispatcher._sender._secrets)


async def test_a_failure_for_want_of_a_secret_says_which_there_are(autojump_clock: MockClock) -> None:
    target = WebhookTarget("http://example.org", secret="hook")
    async with open_dispatcher(secrets={"b": b"x", "a": b"y"}) as dispatcher:
        assert "secret must be a name that secrets= has ('a', 'b'), got another" in str(
            await failure(dispatcher, target)
        )
    async with open_dispatcher() as dispatcher:
        assert "secret must be a name that secrets= has (none), got another" in str(await failure(dispatcher, target))


async def test_what_a_vault_raises_is_not_shown(autojump_clock: MockClock) -> None:
    def vault(name: str) -> bytes:
        raise InvalidArgument("vault", name, "another", "k3y")

    async with open_dispatcher(secrets=vault) as dispatcher:
        error = await failure(dispatcher, WebhookTarget("http://example.org", secret="hook"))
    assert str(error).endswith(": raised (InvalidArgument), after 0 attempts")


# Closing.


async def test_what_is_under_way_when_the_block_is_left_ends_as_closed(autojump_clock: MockClock) -> None:
    errors: list[DispatchError] = []

    async def one(dispatcher: Dispatcher, url: str) -> None:
        errors.append(await failure(dispatcher, HTTPTarget(url, timeout=60)))

    async with trio.open_nursery() as nursery:
        async with open_dispatcher() as dispatcher:
            ScriptedClient(50.0, (503, "50"), 200).put_into(dispatcher)
            nursery.start_soon(one, dispatcher, "http://a.org")
            await wait_all_tasks_blocked(0.001)
            nursery.start_soon(one, dispatcher, "http://b.org")
            await wait_all_tasks_blocked(0.001)
            nursery.start_soon(one, dispatcher, "http://b.org")
            await wait_all_tasks_blocked(0.001)
            left = trio.current_time()
        assert trio.current_time() - left < 1
        await wait_all_tasks_blocked(0.001)
        assert sorted((error.reason, error.attempts) for error in errors) == [
            ("closed", 0),
            ("closed", 1),
            ("closed", 1),
        ]


async def test_the_block_can_be_left_by_cancellation(autojump_clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        async with open_dispatcher() as dispatcher:
            ScriptedClient(50.0).put_into(dispatcher)
            await dispatcher.dispatch(SIGNAL, HTTPTarget("http://a.org", timeout=60))
    assert scope.cancelled_caught
