from __future__ import annotations

import functools
import logging
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from prunella import InvalidArgument, Signal
from prunella.dispatch import (
    ChannelTarget,
    ConsoleTarget,
    DispatchError,
    FunctionTarget,
    HTTPTarget,
    LoggerTarget,
    LogLevel,
    NamedTarget,
    NoopTarget,
    Reason,
    Target,
    WebhookTarget,
    deliver,
)
from prunella.dispatch._targets import as_target
from prunella.supervision import Child, Registry, Supervisor, open_supervisor

SIGNAL = Signal("ticket.opened", {"password": "hunter2"}, subject="T-1")


class Custom:
    def __init__(self) -> None:
        self.got: list[Signal] = []

    async def deliver(self, signal: Signal) -> None:
        self.got.append(signal)


class Callable_:
    def __init__(self) -> None:
        self.got: list[Signal] = []

    def __call__(self, signal: Signal) -> None:
        self.got.append(signal)


# What stands for itself.


async def test_a_sync_function_is_called() -> None:
    got: list[Signal] = []
    await deliver(SIGNAL, got.append)
    assert got == [SIGNAL]


async def test_an_async_function_is_awaited() -> None:
    got: list[Signal] = []

    async def function(signal: Signal) -> None:
        await trio.lowlevel.checkpoint()
        got.append(signal)

    await deliver(SIGNAL, function)
    await deliver(SIGNAL, lambda signal: function(signal))
    await deliver(SIGNAL, functools.partial(function))
    assert got == [SIGNAL] * 3


async def test_an_object_that_can_be_called_is_called() -> None:
    function = Callable_()
    await deliver(SIGNAL, function)
    assert function.got == [SIGNAL]


async def test_a_send_channel_gets_the_signal() -> None:
    send, receive = trio.open_memory_channel[Signal](1)
    await deliver(SIGNAL, send)
    assert receive.receive_nowait() == SIGNAL


async def test_any_object_with_an_async_deliver_is_a_target() -> None:
    custom = Custom()
    assert isinstance(custom, Target)
    await deliver(SIGNAL, custom)
    await deliver(SIGNAL, SimpleNamespace(deliver=custom.deliver))  # type: ignore[arg-type]
    assert custom.got == [SIGNAL] * 2


async def test_deliver_goes_before_being_callable() -> None:
    class Both(Custom):
        def __call__(self, signal: Signal) -> None:
            assert False

    both = Both()
    await deliver(SIGNAL, both)
    assert both.got == [SIGNAL]


class SyncDeliver:
    def deliver(self, signal: Signal) -> None: ...


def generator(signal: Signal) -> Any:
    yield signal


async def async_generator(signal: Signal) -> Any:
    yield signal


@pytest.mark.parametrize(
    "wrong",
    [None, 42, "https://example.org", SyncDeliver(), Custom, Signal, HTTPTarget, generator, async_generator, SIGNAL],
)
def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument):
        as_target(wrong)


@pytest.mark.parametrize("wrong", [None, 42, dict, generator, async_generator, functools.partial(dict).func])
def test_a_function_target_wants_something_that_does_something_when_called(wrong: Any) -> None:
    with pytest.raises(InvalidArgument):
        FunctionTarget(wrong)


def test_a_channel_target_wants_a_sending_side() -> None:
    _, receive = trio.open_memory_channel[Signal](0)
    with pytest.raises(InvalidArgument):
        ChannelTarget(receive)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", list(LogLevel))
async def test_a_logger_target_is_as_loud_as_it_says(level: LogLevel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    await deliver(SIGNAL, LoggerTarget(level))
    assert [record.levelname for record in caplog.records] == [level.name]


def test_targets_are_values() -> None:
    assert FunctionTarget(print) == FunctionTarget(print)
    assert LoggerTarget("error") == LoggerTarget(LogLevel.ERROR) != LoggerTarget()
    assert {NoopTarget(), NoopTarget(), ConsoleTarget()} == {NoopTarget(), ConsoleTarget()}
    with pytest.raises(AttributeError):
        NoopTarget().x = 1  # type: ignore[attr-defined]


# Failures.


async def test_what_a_function_raises_is_the_cause() -> None:
    def broken(signal: Signal) -> None:
        raise KeyError("hunter2")

    with pytest.raises(DispatchError) as caught:
        await deliver(SIGNAL, broken)
    error = caught.value
    assert (error.reason, error.attempts, error.retryable, error.target) == (Reason.RAISED, 1, False, broken)
    assert isinstance(error.__cause__, KeyError)
    assert "hunter2" not in f"{error} {error!r}"


async def test_a_closed_channel_is_closed() -> None:
    send, receive = trio.open_memory_channel[Signal](1)
    receive.close()
    for _ in range(2):
        with pytest.raises(DispatchError) as caught:
            await deliver(SIGNAL, send)
        assert (caught.value.reason, caught.value.target) == ("closed", send)
        send.close()


async def test_a_custom_target_may_say_itself_what_is_wrong() -> None:
    class Busy:
        async def deliver(self, signal: Signal) -> None:
            raise DispatchError(self, "overloaded", retry_after=3.0, problem="the disk is full")

    busy = Busy()
    with pytest.raises(DispatchError) as caught:
        await deliver(SIGNAL, busy)
    assert (caught.value.reason, caught.value.retry_after, caught.value.retryable) == ("overloaded", 3.0, True)
    assert str(caught.value).endswith("Busy: overloaded (the disk is full), after 1 attempt")


async def test_an_error_about_another_target_is_a_cause_like_others() -> None:
    async def forward(signal: Signal) -> None:
        raise DispatchError("elsewhere", "unreachable")

    with pytest.raises(DispatchError) as caught:
        await deliver(SIGNAL, forward)
    assert (caught.value.reason, caught.value.target) == ("raised", forward)


async def test_targets_with_connections_need_a_dispatcher() -> None:
    with pytest.raises(InvalidArgument, match="open_dispatcher"):
        await deliver(SIGNAL, HTTPTarget("http://localhost"))


async def test_what_is_no_signal_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        await deliver({"type": "x"}, print)  # type: ignore[arg-type]


async def test_deliver_is_a_checkpoint() -> None:
    with trio.testing.assert_checkpoints():
        await deliver(SIGNAL, NoopTarget())
    with trio.CancelScope() as scope:
        scope.cancel()
        await deliver(SIGNAL, lambda signal: pytest.fail("called though cancelled"))
    assert scope.cancelled_caught


# Names.


async def holder(registry: Registry[str], value: Any, task_status: trio.TaskStatus[None]) -> None:
    registry.register("desk", value)
    task_status.started()
    await trio.sleep_forever()


async def test_a_name_is_whoever_holds_it_at_that_moment() -> None:
    registry: Registry[str] = Registry()
    target = NamedTarget(registry, "desk")
    got: list[Signal] = []
    with pytest.raises(DispatchError) as caught:
        await deliver(SIGNAL, target)
    assert (caught.value.reason, caught.value.retryable) == ("unreachable", True)
    async with open_supervisor(Supervisor([Child(holder, registry, got.append)])):
        await deliver(SIGNAL, target)
    assert got == [SIGNAL]
    with pytest.raises(DispatchError):
        await deliver(SIGNAL, target)


async def test_a_name_that_stands_for_a_closed_channel_is_closed() -> None:
    registry: Registry[str] = Registry()
    send, receive = trio.open_memory_channel[Signal](1)
    receive.close()
    target = NamedTarget(registry, "desk")
    async with open_supervisor(Supervisor([Child(holder, registry, send)])):
        with pytest.raises(DispatchError) as caught:
            await deliver(SIGNAL, target)
    assert (caught.value.reason, caught.value.target) == ("closed", target)


@pytest.mark.parametrize("value", [None, 42, HTTPTarget("http://localhost")])
async def test_a_name_that_stands_for_nothing_to_send_to_is_an_error(value: object) -> None:
    registry: Registry[str] = Registry()
    async with open_supervisor(Supervisor([Child(holder, registry, value)])):
        with pytest.raises(DispatchError) as caught:
            await deliver(SIGNAL, NamedTarget(registry, "desk"))
    assert caught.value.reason == "raised"
    assert isinstance(caught.value.__cause__, InvalidArgument)


def test_a_name_wants_a_registry_and_a_key() -> None:
    with pytest.raises(InvalidArgument):
        NamedTarget({}, "desk")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        NamedTarget(Registry(), [])


# Lines.


async def test_a_logger_writes_a_line_without_the_data(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "prunella.dispatch")
    await deliver(SIGNAL, LoggerTarget("warning"))
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "ticket.opened" in record.getMessage()
    assert SIGNAL.id in record.getMessage()
    assert "hunter2" not in record.getMessage()


async def test_the_data_comes_when_it_is_asked_for(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "prunella.dispatch")
    await deliver(SIGNAL, LoggerTarget("debug", include_data=True))
    await deliver(SIGNAL, ConsoleTarget(include_data=True))
    assert "hunter2" in caplog.records[0].getMessage()
    assert "hunter2" in capsys.readouterr().out


async def test_the_console_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    await deliver(Signal("a.b", "one\ntwo"), ConsoleTarget(include_data=True))
    await deliver(SIGNAL, ConsoleTarget())
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "hunter2" not in lines[1]


async def test_a_line_is_no_longer_than_it_need_be(capsys: pytest.CaptureFixture[str]) -> None:
    await deliver(Signal("a.b", "x" * 1_000_000), ConsoleTarget(include_data=True))
    assert len(capsys.readouterr().out) < 11_000


async def test_noop_takes_everything() -> None:
    await deliver(SIGNAL, NoopTarget())


def test_there_is_no_such_level() -> None:
    with pytest.raises(InvalidArgument):
        LoggerTarget("loud")


# HTTP targets as values.


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "HTTPS://Example.ORG:8443/a/b?c=d&e=%20",
        "http://[::1]:8080/x",
        "http://my_host/@user:x",
        "http://127.0.0.1?x@y",
    ],
)
def test_these_are_urls(url: str) -> None:
    assert HTTPTarget(url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org",
        "ftp://example.org",
        "http://",
        "http:///x",
        "http://user:hunter2@example.org/",
        "http://user@example.org/",
        "http://good.org\\@evil.org/",
        "http://good.org@evil.org",
        "http://exa mple.org",
        "http://example.org/a b",
        "http://example.org/#x",
        "http://example.org:0",
        "http://example.org:65536",
        "http://example.org:x",
        "http://exämple.org",
        "http://example.org/\nx",
        "http://example.org/\x00",
        "http://example.org/" + "a" * 9_000,
        " http://example.org",
        "http://example.org\n",
        b"http://example.org",
        None,
    ],
)
def test_these_are_none_and_are_not_shown(url: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        HTTPTarget(url)
    assert caught.value.field == "url"
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "GET"),
        ("method", "DELETE"),
        ("method", None),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", 60.001),
        ("timeout", 60_001),
        ("timeout", float("nan")),
        ("timeout", float("inf")),
        ("timeout", "5"),
        ("timeout", True),
        ("timeout", None),
        ("retries", -1),
        ("retries", 11),
        ("retries", 1.0),
        ("retries", True),
        ("mode", "batch"),
        ("mode", None),
        ("headers", [("a", "b")]),
        ("headers", {"a b": "c"}),
        ("headers", {"a": "b\r\nc: d"}),
        ("headers", {"a": "é"}),
        ("headers", {"a": 1}),
        ("headers", {1: "a"}),
        ("headers", {"Content-Length": "3"}),
        ("headers", {"transfer-encoding": "chunked"}),
        ("headers", {"Host": "evil.org"}),
        ("headers", {"a": "b", "A": "c"}),
    ],
)
def test_a_wrong_argument_is_refused_when_the_target_is_made(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        HTTPTarget("http://example.org", **{field: value})
    assert caught.value.field.startswith(field)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("secret", b""),
        ("secret", ""),
        ("secret", None),
        ("secret", 5),
        ("events", {"a": ""}),
        ("events", {"a": "b\n"}),
        ("events", {"a": 1}),
        ("events", ["a"]),
        ("retries", "many"),
    ],
)
def test_a_webhook_checks_its_own_arguments_too(field: str, value: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        WebhookTarget("http://example.org", **({"secret": b"x"} | {field: value}))
    assert caught.value.field == field


def test_a_webhook_without_secret_is_pythons_own_error() -> None:
    with pytest.raises(TypeError):
        WebhookTarget("http://example.org")  # type: ignore[call-arg]


def test_http_targets_are_values_too() -> None:
    target = WebhookTarget("http://example.org", secret=b"x", headers={"A": "b"}, events={"c": "d"}, method="post")
    assert target == WebhookTarget(
        "http://example.org", secret=b"x", headers={"a": "b"}, events={"c": "d"}, method="POST"
    )
    assert hash(target) == hash(WebhookTarget(**{"url": "http://example.org", "secret": b"x"} | same(target)))
    assert target != WebhookTarget("http://example.org", secret=b"y", headers={"A": "b"}, events={"c": "d"})
    assert HTTPTarget("http://example.org") != WebhookTarget("http://example.org", secret=b"x")


def same(target: WebhookTarget) -> dict[str, Any]:
    return {"headers": target.headers, "events": target.events}


def test_what_was_handed_over_can_be_changed_without_changing_the_target() -> None:
    headers = {"a": "b"}
    target = HTTPTarget("http://example.org", headers=headers)
    headers["a"] = "c"
    assert target.headers == {"a": "b"}


@pytest.mark.parametrize("secret", [b"hunter2", "hunter2"])
def test_no_repr_shows_a_secret(secret: bytes | str) -> None:
    target = WebhookTarget(
        "https://example.org/hook?token=hunter2", secret=secret, headers={"authorization": "Bearer hunter2"}
    )
    shown = f"{target!r} {target} {DispatchError(target, 'timeout')!r} {DispatchError(target, 'timeout')}"
    assert "hunter2" not in shown
    assert "example.org/hook" in shown
    assert "authorization" in shown


def test_the_origin_is_scheme_host_and_port() -> None:
    assert str(HTTPTarget("HTTP://Example.org/x").origin) == "http://example.org:80"
    assert HTTPTarget("https://example.org").origin == HTTPTarget("https://EXAMPLE.org:443/y?z").origin
    assert str(HTTPTarget("https://[::1]/").origin) == "https://[::1]:443"
