"""Assertions about directives: what they let pass, and what they say about the rest."""

from __future__ import annotations

import subprocess
import sys

import pytest

from prunella import Emit, Reply, Run, Signal
from prunella.agents import Address
from prunella.testing import assert_emits, assert_replies, assert_runs, only


async def fetch(url: str) -> str:
    return url


class Client:
    async def fetch(self) -> str:
        return ""


ACCEPTED = Emit("ticket.accepted", {"ticket": "T-1"})
DIRECTIVES = (ACCEPTED, Emit("audit", {"ticket": "T-1"}, to="auditor", subject="T-1"), Reply("fine"))


def test_only_returns_the_one_of_its_kind_among_others() -> None:
    assert only(DIRECTIVES, Reply) == Reply("fine")


def test_only_takes_anything_that_can_be_gone_through() -> None:
    assert only(iter([ACCEPTED]), Emit) is ACCEPTED


@pytest.mark.parametrize(
    ("kind", "number"),
    [(Run, "exactly one Run, got 0"), (Emit, "exactly one Emit, got 2")],
)
def test_only_refuses_none_and_several_and_shows_what_there_is(kind: type, number: str) -> None:
    with pytest.raises(AssertionError) as caught:
        only(DIRECTIVES, kind)
    assert number in str(caught.value)
    assert all(repr(directive) in str(caught.value) for directive in DIRECTIVES)


def test_an_emit_is_found_by_its_type_alone() -> None:
    assert assert_emits(DIRECTIVES, "ticket.accepted") is ACCEPTED


def test_an_emit_is_found_by_all_that_is_said_of_it() -> None:
    found = assert_emits(DIRECTIVES, "audit", {"ticket": "T-1"}, to="auditor", subject="T-1")
    assert found is DIRECTIVES[1]


def test_of_several_emits_of_a_type_the_one_that_fits_is_found() -> None:
    several = (Emit("a", {"n": 1}), Emit("a", {"n": 2}, to="b"), Emit("a", {"n": 2}))
    assert assert_emits(several, "a", {"n": 2}) is several[1]
    assert assert_emits(several, "a", {"n": 2}, to=None) is several[2]


def test_an_emit_of_a_whole_signal_is_found() -> None:
    whole = Emit(Signal("audit", {"n": 1}, subject="x"), to=Address("auditor"))
    assert assert_emits([whole], "audit", {"n": 1}, to=Address("auditor"), subject="x") is whole


@pytest.mark.parametrize(
    ("type", "expected"),
    [
        ("ticket.opened", {}),
        ("ticket.accepted", {"data": {"ticket": "T-2"}}),
        ("ticket.accepted", {"data": {}}),
        ("ticket.accepted", {"data": None}),
        ("ticket.accepted", {"to": "auditor"}),
        ("audit", {"to": None}),
        ("audit", {"subject": "T-2"}),
        ("audit", {"subject": None}),
    ],
)
def test_an_emit_that_is_not_there_fails_and_shows_what_is(type: str, expected: dict) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_emits(DIRECTIVES, type, **expected)
    message = str(caught.value)
    assert message.startswith(f"expected an Emit of {type!r}")
    assert all(f"{name} {value!r}" in message for name, value in expected.items())
    assert repr(ACCEPTED) in message


def test_where_nothing_was_returned_the_failure_says_so() -> None:
    with pytest.raises(AssertionError, match=r"^expected an Emit of 'a', got no directives$"):
        assert_emits((), "a")


def test_a_run_is_found_by_its_action() -> None:
    run = Run(fetch, {"url": "a"}, then="fetched", timeout=5)
    assert assert_runs([ACCEPTED, run], fetch) is run
    assert assert_runs([ACCEPTED, run], fetch, {"url": "a"}) is run


def test_a_run_of_a_method_is_found() -> None:
    client = Client()
    assert_runs([Run(client.fetch)], client.fetch)


@pytest.mark.parametrize("params", [{}, {"url": "b"}, {"url": "a", "more": 1}])
def test_a_run_with_other_arguments_is_not_it(params: dict) -> None:
    with pytest.raises(AssertionError, match="expected a Run of fetch with params"):
        assert_runs([Run(fetch, {"url": "a"})], fetch, params)


def test_a_run_of_another_action_is_not_it() -> None:
    with pytest.raises(AssertionError, match="expected a Run of fetch, got"):
        assert_runs([Run(print)], fetch)


def test_a_reply_is_compared() -> None:
    assert assert_replies(DIRECTIVES, "fine") == Reply("fine")
    with pytest.raises(AssertionError, match="expected a reply of 'bad'"):
        assert_replies(DIRECTIVES, "bad")


def test_no_reply_and_two_replies_fail() -> None:
    with pytest.raises(AssertionError, match="exactly one Reply, got 0"):
        assert_replies([ACCEPTED], "fine")
    with pytest.raises(AssertionError, match="exactly one Reply, got 2"):
        assert_replies([Reply("fine"), Reply("fine")], "fine")


def test_the_assertions_need_neither_trio_nor_pytest() -> None:
    code = (
        "import sys; from prunella import Emit; from prunella.testing import assert_emits, assert_runs, only; "
        "assert_emits([Emit('a')], 'a'); assert not {'trio', 'pytest', '_pytest'} & set(sys.modules)"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
