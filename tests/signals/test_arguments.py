"""What is wrong with an argument is said by an error of the library, which names it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from prunella.errors import InvalidArgument
from prunella.signals import InvalidSignal, PayloadTooLarge, Router, Signal, Trace, decode, encode, encode_batch

SIGNAL = Signal("a.b")


@pytest.mark.parametrize("wrong", [5, None, object()])
def test_a_router_wants_an_iterable_of_routes(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="Router: routes must be an iterable of routes, got "):
        Router(wrong)


def test_a_batch_wants_an_iterable_of_signals() -> None:
    with pytest.raises(InvalidArgument, match="encode_batch: signals must be an iterable of signals, got 5"):
        encode_batch(5)  # type: ignore[arg-type]


def test_a_batch_asks_for_no_more_signals_than_it_has_room_for() -> None:
    with pytest.raises(PayloadTooLarge):
        encode_batch(itertools.repeat(SIGNAL), limit=1_000)


@pytest.mark.parametrize("wrong", [5, None, "a.b", {}])
def test_a_trace_wants_a_signal(wrong: Any) -> None:
    with pytest.raises(InvalidSignal, match=r"Trace\.of: signal must be a Signal"):
        Trace.of(wrong)
    with pytest.raises(InvalidSignal, match=r"Trace\.on: signal must be a Signal"):
        Trace.root().on(wrong)


@pytest.mark.parametrize("wrong", [5, True, b"id", [SIGNAL]])
def test_the_cause_on_a_trace_is_a_signal_or_an_id(wrong: Any) -> None:
    with pytest.raises(InvalidSignal, match=r"Trace\.on: cause must be a Signal, or the id of one"):
        Trace.root().on(SIGNAL, cause=wrong)


@pytest.mark.parametrize("wrong", [5, None, [], {}])
def test_a_format_is_one_of_two_names(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="encode: format must be 'json' or 'msgpack'"):
        encode(SIGNAL, format=wrong)
    with pytest.raises(InvalidArgument, match="decode: format must be 'json' or 'msgpack'"):
        decode(b"{}", format=wrong)
