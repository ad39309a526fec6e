"""Targets in directives that are written as data: durable agents keep what they have decided to send."""

from __future__ import annotations

import json
import logging

import pytest
import trio

from prunella import Directive, Emit
from prunella.agents import NotSerialisable, directive_from_data, directive_to_data
from prunella.dispatch import (
    ChannelTarget,
    ConsoleTarget,
    FunctionTarget,
    HTTPTarget,
    LoggerTarget,
    NoopTarget,
    WebhookTarget,
)
from prunella.signals import Signal


def take(signal: Signal) -> None:
    """A function that is found by its name."""


def written(directive: Directive) -> Directive:
    return directive_from_data(json.loads(json.dumps(directive_to_data(directive))))


@pytest.mark.parametrize(
    "target",
    [
        HTTPTarget("https://example.org/hook?key=1"),
        HTTPTarget("http://localhost:8000", method="PUT", headers={"X-A": "b"}, timeout=2, retries=0, mode="binary"),
        WebhookTarget("https://example.org", secret="of-the-shop", events={"order.placed": "order"}),
        FunctionTarget(take),
        LoggerTarget(level="warning", include_data=True),
        ConsoleTarget(),
        NoopTarget(),
    ],
    ids=lambda target: type(target).__name__,
)
def test_targets_of_plain_data_come_back_equal(target: object) -> None:
    directive = Emit("order.placed", {"amount": 3}, to=target)
    assert written(directive) == directive


def test_they_are_written_under_the_name_that_users_know() -> None:
    data = directive_to_data(Emit("a", to=HTTPTarget("https://example.org")))
    assert data["to"]["$target"]["class"] == "prunella.dispatch:HTTPTarget"


def test_a_key_itself_is_not_written() -> None:
    directive = Emit("a", to=WebhookTarget("https://example.org", secret=b"very secret"))
    with pytest.raises(NotSerialisable, match=r"to\.secret .* name") as caught:
        directive_to_data(directive)
    assert "very" not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [ChannelTarget(trio.open_memory_channel[Signal](1)[0]), FunctionTarget(lambda signal: None), logging.getLogger()],
    ids=["a channel", "a function without a name", "something else"],
)
def test_what_ends_with_the_process_is_not_written(target: object) -> None:
    with pytest.raises(NotSerialisable, match="to"):
        directive_to_data(Emit("a", to=target))
