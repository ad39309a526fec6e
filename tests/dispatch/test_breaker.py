from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella import InvalidArgument
from prunella.dispatch import CircuitBreaker, CircuitState
from prunella.dispatch._breaker import Admission, Breaker, Breakers

SPEC = CircuitBreaker(max_failures=3, window=10.0, reset_after=30.0)


def fail(breaker: Breaker, now: float) -> None:
    admission = breaker.admit(now)
    assert admission is not None
    breaker.failed(admission, now)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(SPEC)
    for _ in range(3):
        fail(breaker, at)
    assert breaker.state is CircuitState.OPEN
    return breaker


def admitted(breaker: Breaker, now: float) -> Admission:
    admission = breaker.admit(now)
    assert admission is not None
    return admission


def test_it_opens_with_the_last_failure_that_the_window_allows() -> None:
    breaker = Breaker(SPEC)
    fail(breaker, 0.0)
    fail(breaker, 5.0)
    assert breaker.state is CircuitState.CLOSED
    fail(breaker, 10.0)  # the boundary is inside
    assert breaker.state is CircuitState.OPEN


def test_failures_that_are_too_far_apart_do_not_open_it() -> None:
    breaker = Breaker(SPEC)
    for now in (0.0, 5.0, 10.1, 15.2, 20.3):
        fail(breaker, now)
    assert breaker.state is CircuitState.CLOSED


def test_successes_do_not_make_failures_forgotten() -> None:
    breaker = Breaker(SPEC)
    for now in (0.0, 1.0, 2.0):
        breaker.succeeded(admitted(breaker, now))
        fail(breaker, now)
    assert breaker.state is CircuitState.OPEN


def test_while_open_it_admits_nobody() -> None:
    breaker = opened()
    assert breaker.admit(29.9) is None
    assert breaker.seconds_left(20.0) == 10.0


def test_after_its_time_it_admits_one_probe_and_no_more() -> None:
    breaker = opened()
    assert admitted(breaker, 30.0).probe
    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.admit(30.0) is None
    assert breaker.admit(1_000.0) is None


def test_a_probe_that_succeeds_closes_it_and_the_count_begins_anew() -> None:
    breaker = opened()
    breaker.succeeded(admitted(breaker, 30.0))
    assert breaker.state is CircuitState.CLOSED
    fail(breaker, 31.0)
    fail(breaker, 31.0)
    assert breaker.state is CircuitState.CLOSED
    fail(breaker, 31.0)
    assert breaker.state is CircuitState.OPEN


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    breaker = opened()
    breaker.failed(admitted(breaker, 30.0), 35.0)
    assert breaker.state is CircuitState.OPEN
    assert breaker.admit(64.9) is None
    assert admitted(breaker, 65.0).probe


def test_a_probe_that_was_given_up_leaves_its_place_to_the_next_call() -> None:
    breaker = opened()
    breaker.abandoned(admitted(breaker, 30.0))
    assert admitted(breaker, 30.0).probe


def test_what_was_under_way_when_it_opened_has_no_say_afterwards() -> None:
    breaker = Breaker(SPEC)
    late_success, late_failure, late_nothing = (admitted(breaker, 0.0) for _ in range(3))
    for _ in range(3):
        fail(breaker, 0.0)
    breaker.succeeded(late_success)
    assert breaker.state is CircuitState.OPEN
    probe = admitted(breaker, 30.0)
    breaker.failed(late_failure, 31.0)
    breaker.abandoned(late_nothing)
    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.admit(31.0) is None
    breaker.succeeded(probe)
    assert breaker.state is CircuitState.CLOSED


@given(st.lists(st.tuples(st.floats(0, 12), st.sampled_from(["admit", "fail", "succeed", "abandon"]))))
def test_there_is_never_more_than_one_probe_and_never_a_dead_end(steps: list[tuple[float, str]]) -> None:
    breaker, now, under_way = Breaker(SPEC), 0.0, list[Admission]()
    for seconds, step in steps:
        now += seconds
        if step == "admit":
            admission = breaker.admit(now)
            if admission is not None:
                under_way.append(admission)
        elif under_way:
            admission = under_way.pop(0)
            if step == "fail":
                breaker.failed(admission, now)
            elif step == "succeed":
                breaker.succeeded(admission)
            else:
                breaker.abandoned(admission)
        probes = [a for a in under_way if a.probe and a.openings == breaker.openings]
        assert len(probes) <= (breaker.state is CircuitState.HALF_OPEN)
    for admission in under_way:
        breaker.abandoned(admission)
    assert breaker.admit(now + SPEC.reset_after) is not None


def test_every_origin_has_a_circuit_of_its_own() -> None:
    breakers: Breakers[str] = Breakers(SPEC)
    for _ in range(3):
        fail(breakers.of("a", 0.0), 0.0)
    assert breakers.of("a", 0.0).state is CircuitState.OPEN
    assert breakers.of("b", 0.0).state is CircuitState.CLOSED


def test_of_very_many_origins_those_are_forgotten_that_have_nothing_to_remember() -> None:
    breakers: Breakers[object] = Breakers(SPEC)
    for _ in range(3):
        fail(breakers.of("bad", 0.0), 0.0)
    for number in range(5_000):
        breakers.of(number, 0.0)
    assert len(breakers) <= 1_000
    assert breakers.of("bad", 0.0).state is CircuitState.OPEN


def test_of_very_many_failing_origins_the_oldest_go_but_none_in_use() -> None:
    breakers: Breakers[object] = Breakers(SPEC)
    used = breakers.of("used", 0.0)
    admitted(used, 0.0)
    for number in range(2_000):
        fail(breakers.of(number, 0.0), 0.0)
    assert len(breakers) <= 1_000
    assert breakers.of("used", 0.0) is used


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_failures": 0},
        {"max_failures": 1.5},
        {"max_failures": True},
        {"window": 0},
        {"window": float("nan")},
        {"reset_after": float("inf")},
        {"reset_after": "30"},
    ],
)
def test_a_breaker_with_a_wrong_number_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        CircuitBreaker(**arguments)  # type: ignore[arg-type]
    assert caught.value.field in arguments
