from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella import Signal
from prunella.dispatch import (
    AttemptFailed,
    CircuitBreaker,
    CircuitChanged,
    DispatchError,
    DispatchEvent,
    DispatchFailed,
    DispatchStarted,
    DispatchStopped,
    HTTPTarget,
    WebhookTarget,
    open_dispatcher,
)
from prunella.signals import Trace
from prunella.telemetry import Event, Listeners

from .scripted import ScriptedClient

SIGNAL = Signal("ticket.opened", {"password": "hunter2"})


def broken(signal: Signal) -> None:
    raise ValueError("hunter2")


async def test_a_delivery_has_a_start_and_a_stop() -> None:
    events: list[Any] = []
    async with open_dispatcher(telemetry=[events.append]) as dispatcher:
        await dispatcher.dispatch(SIGNAL, print)
    start, stop = events
    assert isinstance(start, DispatchStarted)
    assert isinstance(stop, DispatchStopped)
    assert (start.name, stop.name) == ("dispatch.start", "dispatch.stop")
    assert start.span_id == stop.span_id != ""
    assert (stop.signal_id, stop.signal_type, stop.kind, stop.attempts) == (SIGNAL.id, SIGNAL.type, "function", 1)
    assert (start.target, start.parent_span_id) == ("function print", None)


async def test_its_parent_is_the_span_that_the_signal_carries() -> None:
    events: list[Event] = []
    trace = Trace.root()
    async with open_dispatcher(telemetry=[events.append]) as dispatcher:
        await dispatcher.dispatch(trace.on(SIGNAL), lambda signal: None)
    assert {event.parent_span_id for event in events} == {trace.span_id}


async def test_a_failure_is_told_by_type_only() -> None:
    events: list[Any] = []
    async with open_dispatcher(telemetry=[events.append]) as dispatcher:
        with pytest.raises(DispatchError):
            await dispatcher.dispatch(SIGNAL, broken)
    _, end = events
    assert isinstance(end, DispatchFailed)
    assert (end.name, end.reason, end.attempts, end.retryable) == ("dispatch.exception", "raised", 1, False)
    assert end.error is not None
    assert "ValueError" in end.error.message
    assert "hunter2" not in f"{events} {[dict(event.attributes) for event in events]}"


async def test_retries_and_circuits_are_told(autojump_clock: MockClock) -> None:
    events: list[Any] = []
    async with open_dispatcher(telemetry=[events.append], breaker=CircuitBreaker(2, 10, 30)) as dispatcher:
        ScriptedClient(503, 503, 200).put_into(dispatcher)
        target = WebhookTarget("http://example.org/hook?token=hunter2", secret=b"hunter2")
        with pytest.raises(DispatchError):
            await dispatcher.dispatch(SIGNAL, target)
        await trio.sleep(30)
        await dispatcher.dispatch(SIGNAL, target)
    assert [event.name for event in events] == [
        "dispatch.start",
        "dispatch.retry",
        "dispatch.circuit",
        "dispatch.exception",
        "dispatch.start",
        "dispatch.circuit",
        "dispatch.circuit",
        "dispatch.stop",
    ]
    retry = events[1]
    assert isinstance(retry, AttemptFailed)
    assert (retry.attempt, retry.reason, retry.status, retry.span_id) == (1, "status", 503, events[0].span_id)
    circuits = [event for event in events if isinstance(event, CircuitChanged)]
    assert [(c.origin, str(c.state)) for c in circuits] == [
        ("http://example.org:80", "open"),
        ("http://example.org:80", "half_open"),
        ("http://example.org:80", "closed"),
    ]
    assert events[3].status == 503
    assert events[0].target == "webhook POST http://example.org/hook?…"
    assert "hunter2" not in str(events)


async def test_a_circuit_that_opens_is_told_once_whoever_else_was_under_way(autojump_clock: MockClock) -> None:
    events: list[Any] = []
    async with open_dispatcher(telemetry=[events.append], breaker=CircuitBreaker(1, 10, 30)) as dispatcher:
        ScriptedClient(100.0).put_into(dispatcher)
        targets = [HTTPTarget(f"http://example.org/{n}", timeout=n + 1, retries=0) for n in range(3)]
        await dispatcher.dispatch_all(SIGNAL, targets)
    assert [str(event.state) for event in events if isinstance(event, CircuitChanged)] == ["open"]


async def test_every_start_has_exactly_one_end_whatever_happens(autojump_clock: MockClock) -> None:
    events: list[Any] = []

    async def slow(signal: Signal) -> None:
        await trio.sleep(10)

    async def cancelled(deadline: float, call: Any) -> None:
        with trio.move_on_after(deadline):
            await call()

    async with open_dispatcher(telemetry=[events.append], allow_hosts=["good.org"]) as dispatcher:
        ScriptedClient(100.0).put_into(dispatcher)
        targets = [slow, broken, HTTPTarget("http://evil.org"), HTTPTarget("http://good.org"), slow, 42]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancelled, 3, lambda: dispatcher.dispatch(SIGNAL, slow))
            await wait_all_tasks_blocked(0.001)
            nursery.start_soon(cancelled, 1, lambda: dispatcher.dispatch(SIGNAL, slow))
            nursery.start_soon(
                cancelled,
                6,
                lambda: dispatcher.dispatch_all(SIGNAL, targets, max_concurrency=2),  # type: ignore[arg-type]
            )
        with trio.CancelScope() as scope:
            scope.cancel()
            await dispatcher.dispatch(SIGNAL, slow)
    with pytest.raises(DispatchError):
        await dispatcher.dispatch(SIGNAL, slow)
    starts = [event.span_id for event in events if isinstance(event, DispatchStarted)]
    ends = [event.span_id for event in events if isinstance(event, DispatchStopped | DispatchFailed)]
    assert len(starts) == len(set(starts)) == 9
    assert sorted(ends) == sorted(starts)
    assert any(e.error.type == "Cancelled" for e in events if isinstance(e, DispatchFailed) and e.error)


async def test_one_that_finds_no_room_has_its_two_events_too(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prunella.dispatch._lanes.MOST_WAITING", 1)
    events: list[Any] = []

    async def slow(signal: Signal) -> None:
        await trio.sleep(10)

    async with open_dispatcher(telemetry=[events.append]) as dispatcher:
        results = await dispatcher.dispatch_all(SIGNAL, [slow] * 3)
    assert [result.ok for result in results] == [True, True, False]
    assert [event.reason for event in events if isinstance(event, DispatchFailed)] == ["overloaded"]


async def test_a_listener_may_come_and_go() -> None:
    events: list[Event] = []
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, lambda signal: None)
        with dispatcher.telemetry.subscribe(events.append):
            await dispatcher.dispatch(SIGNAL, lambda signal: None)
        await dispatcher.dispatch(SIGNAL, lambda signal: None)
    assert len(events) == 2


async def test_what_belongs_together_can_share_its_listeners() -> None:
    events: list[Event] = []
    listeners = Listeners([events.append])
    async with open_dispatcher(telemetry=listeners) as dispatcher:
        await dispatcher.dispatch(SIGNAL, lambda signal: None)
        assert dispatcher.telemetry is listeners
    assert len(events) == 2


async def test_a_listener_that_raises_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    got: list[Signal] = []

    def bad(event: Event) -> None:
        raise RuntimeError

    async with open_dispatcher(telemetry=[bad]) as dispatcher:
        await dispatcher.dispatch(SIGNAL, got.append)
    assert got == [SIGNAL]
    assert len(caplog.records) == 1


async def test_nothing_is_made_when_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        assert False

    monkeypatch.setattr("prunella.dispatch._dispatcher.Span", never)
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, lambda signal: None)
    assert issubclass(DispatchStarted, DispatchEvent)
