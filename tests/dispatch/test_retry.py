from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella.dispatch import Reason
from prunella.dispatch._retry import TIMED_OUT, UNREACHABLE, answered, delay_before_next, retry_after

NOW = datetime(2026, 10, 21, 7, 28, 0, tzinfo=UTC)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_a_delivery(status: int) -> None:
    assert answered(status, [], NOW).reason is None


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_succeed_later_is_tried_again(status: int) -> None:
    outcome = answered(status, [], NOW)
    assert (outcome.reason, outcome.status, outcome.retryable) == (Reason.STATUS, status, True)


@pytest.mark.parametrize("status", [100, 301, 302, 307, 308, 400, 401, 403, 404, 410, 413, 422])
def test_what_cannot_succeed_is_not_tried_again(status: int) -> None:
    outcome = answered(status, ["1"], NOW)
    assert (outcome.retryable, outcome.counts) == (False, False)
    assert delay_before_next(outcome, 1, 9, 0.5) is None


def test_only_failures_of_the_origin_count_for_its_circuit() -> None:
    assert UNREACHABLE.counts
    assert TIMED_OUT.counts
    assert answered(500, [], NOW).counts
    assert not answered(429, [], NOW).counts


@given(st.integers(1, 20), st.floats(0, 1))
def test_delays_double_with_jitter_up_to_a_limit(attempts: int, chance: float) -> None:
    delay = delay_before_next(UNREACHABLE, attempts, 100, chance)
    whole = min(0.5 * 2 ** (attempts - 1), 30.0)
    assert delay is not None
    assert whole / 2 <= delay <= whole


def test_jitter_spreads_the_delays() -> None:
    assert delay_before_next(UNREACHABLE, 1, 1, 0.0) != delay_before_next(UNREACHABLE, 1, 1, 1.0)


def test_there_are_as_many_retries_as_are_allowed() -> None:
    assert delay_before_next(TIMED_OUT, 2, 2, 0.5) is not None
    assert delay_before_next(TIMED_OUT, 3, 2, 0.5) is None
    assert delay_before_next(TIMED_OUT, 1, 0, 0.5) is None


def test_the_longer_of_backoff_and_retry_after_counts() -> None:
    assert delay_before_next(answered(503, ["7"], NOW), 1, 2, 0.5) == 7.0
    backoff = delay_before_next(answered(503, ["0"], NOW), 1, 2, 0.0)
    assert backoff == 0.5


def test_a_receiver_that_asks_for_more_than_a_minute_is_left_alone() -> None:
    assert delay_before_next(answered(429, ["60"], NOW), 1, 2, 0.5) == 60.0
    outcome = answered(429, ["61"], NOW)
    assert delay_before_next(outcome, 1, 2, 0.5) is None
    assert outcome.retry_after == 61.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Wed, 21 Oct 2026 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2026 07:28:30 -0000", 30.0),
        ("Wednesday, 21-Oct-26 07:29:00 GMT", 60.0),
        ("Wed Oct 21 07:28:10 2026", 10.0),
        ("Wed, 21 Oct 2020 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(text: str, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "+1", "1e3", "٣", "Wed, 99 Foo 2026 07:28:30 GMT"])
def test_what_cannot_be_read_counts_as_absent(text: str) -> None:
    assert retry_after(text, NOW) is None


def test_a_very_long_number_is_a_very_long_time() -> None:
    asked = retry_after("9" * 5_000, NOW)
    assert asked is not None
    assert asked > 1e300
    assert answered(503, ["3", "soon", "9"], NOW).retry_after == 9.0


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_no_text_makes_it_raise(text: str) -> None:
    asked = retry_after(text, NOW)
    assert asked is None or asked >= 0
