from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella import InvalidArgument
from prunella.dispatch import InvalidSignature, verify

SECRET = b"k" * 32
NOW = 1_800_000_000.0


def signed(body: bytes, at: int = int(NOW), secret: bytes = SECRET) -> dict[str, str]:
    digest = hmac.new(secret, str(at).encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Webhook-Timestamp": str(at), "X-Webhook-Signature": digest}


@given(st.binary(), st.binary(min_size=1))
def test_what_is_signed_by_the_secret_is_accepted(body: bytes, secret: bytes) -> None:
    verify(secret, signed(body, secret=secret), body, at=NOW)


def test_header_names_may_have_any_case() -> None:
    headers = {name.upper(): value for name, value in signed(b"x").items()}
    verify(SECRET, headers, b"x", at=NOW)


@given(st.binary(), st.binary())
def test_another_body_is_refused(body: bytes, other: bytes) -> None:
    if body != other:
        with pytest.raises(InvalidSignature):
            verify(SECRET, signed(body), other, at=NOW)


def test_another_secret_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        verify(b"other", signed(b"x"), b"x", at=NOW)


@pytest.mark.parametrize("name", ["X-Webhook-Timestamp", "X-Webhook-Signature"])
def test_a_missing_header_is_refused(name: str) -> None:
    headers = signed(b"x")
    del headers[name]
    with pytest.raises(InvalidSignature, match="missing"):
        verify(SECRET, headers, b"x", at=NOW)


@pytest.mark.parametrize("name", ["X-Webhook-Timestamp", "X-Webhook-Signature"])
def test_a_header_that_is_there_twice_is_refused(name: str) -> None:
    headers = signed(b"x")
    headers[name.lower()] = headers[name]
    with pytest.raises(InvalidSignature, match="twice"):
        verify(SECRET, headers, b"x", at=NOW)


@pytest.mark.parametrize("text", ["", "now", "-1", "1e9", " 1800000000", "1800000000.0", "١٨٠٠٠٠٠٠٠٠", "9" * 5_000])
def test_a_malformed_timestamp_is_refused(text: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, signed(b"x") | {"X-Webhook-Timestamp": text}, b"x", at=NOW)


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "é" * 64, "Z" * 64])
def test_a_malformed_signature_is_refused(text: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, signed(b"x") | {"X-Webhook-Signature": text}, b"x", at=NOW)


@pytest.mark.parametrize("seconds", [-301, 301, -10_000_000, 10_000_000])
def test_a_stale_or_future_timestamp_is_refused_though_rightly_signed(seconds: int) -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, signed(b"x", int(NOW) + seconds), b"x", at=NOW)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_within_the_tolerance_it_is_accepted(seconds: int) -> None:
    verify(SECRET, signed(b"x", int(NOW) + seconds), b"x", at=NOW)


def test_without_a_time_it_is_now() -> None:
    with pytest.raises(InvalidSignature):
        verify(SECRET, signed(b"x", 1_000), b"x")
    verify(SECRET, signed(b"x", 1_000), b"x", tolerance=float("inf"))


def test_an_invalid_signature_is_a_value_error() -> None:
    assert issubclass(InvalidSignature, ValueError)


@pytest.mark.parametrize("secret", ["text", b"", None, bytearray(b"x")])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        verify(secret, signed(b"x"), b"x", at=NOW)  # type: ignore[arg-type]
    assert "text" not in str(caught.value)


@pytest.mark.parametrize("arguments", [{"tolerance": -1}, {"tolerance": "5"}, {"at": "now"}, {"at": float("nan")}])
def test_numbers_that_are_none_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        verify(SECRET, signed(b"x"), b"x", **arguments)  # type: ignore[arg-type]
