"""What is wrong with an argument is said by an error of the library, which names it."""

from __future__ import annotations

from typing import Any

import pytest

from prunella import InvalidArgument, Signal
from prunella.dispatch import DispatchError, NoopTarget, open_dispatcher, verify
from prunella.dispatch._signature import SIGNATURE, TIMESTAMP, signature

SIGNAL = Signal("a.b")
SIGNED = {TIMESTAMP: "100", SIGNATURE: signature(b"k", "100", b"text")}


@pytest.mark.parametrize("wrong", [5, None, NoopTarget(), print])
async def test_many_targets_are_an_iterable_of_targets(wrong: Any) -> None:
    async with open_dispatcher() as dispatcher:
        with pytest.raises(InvalidArgument, match="dispatch_all: targets must be an iterable of targets, got "):
            await dispatcher.dispatch_all(SIGNAL, wrong)


@pytest.mark.parametrize("wrong", [5, None, print])
def test_listeners_are_an_iterable_of_functions(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="listeners must be an iterable of plain functions of one event, got "):
        open_dispatcher(telemetry=wrong)


@pytest.mark.parametrize("wrong", [5, None, list(SIGNED.items()), "x-webhook-timestamp"])
def test_headers_that_are_verified_are_a_mapping(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="verify: headers must be a mapping of names to values"):
        verify(b"k", wrong, b"text", at=100)


@pytest.mark.parametrize("wrong", [5, None, "text", {}])
def test_a_body_that_is_verified_is_bytes(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="verify: body must be bytes, got "):
        verify(b"k", SIGNED, wrong, at=100)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_kind_of_bytes_can_be_verified(kind: Any) -> None:
    verify(b"k", SIGNED, kind(b"text"), at=100)


@pytest.mark.parametrize("wrong", ["tired", None, 5, []])
def test_an_error_has_one_of_the_known_reasons(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="DispatchError: reason must be one of closed, raised, unreachable, "):
        DispatchError(NoopTarget(), wrong)
