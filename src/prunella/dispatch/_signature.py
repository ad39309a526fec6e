"""Signing webhooks, and verifying them."""

from __future__ import annotations

import hmac
import math
import re
import time
from collections.abc import Mapping
from typing import Final

from ..errors import InvalidArgument
from ._errors import InvalidSignature

__all__ = ["EVENT", "SIGNATURE", "TIMESTAMP", "signature", "verify"]

EVENT: Final = "x-webhook-event"
SIGNATURE: Final = "x-webhook-signature"
TIMESTAMP: Final = "x-webhook-timestamp"

_UNIX_SECONDS = re.compile("[0-9]{1,12}")
_HEX_DIGITS = re.compile("[0-9a-f]{64}")


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The HMAC-SHA256 over timestamp, dot and body, in hexadecimal digits."""
    return hmac.digest(secret, timestamp.encode("ascii") + b"." + body, "sha256").hex()


def verify(
    secret: bytes,
    headers: Mapping[str, str],
    body: bytes,
    *,
    tolerance: float = 300.0,
    at: float | None = None,
) -> None:
    """Returns if a webhook was signed with this secret, and lately; raises otherwise.

    Call it with the body as it came, before anything reads it. Whoever can listen can send the same message again
    within `tolerance`: remember the ids of signals for so long if that matters.

    Args:
        secret: the key that sender and receiver share.
        headers: of the request; their names in any case.
        body: of the request, all of it.
        tolerance: how many seconds the timestamp may lie in the past or in the future.
        at: the time in Unix seconds; now, if left out.

    Raises:
        InvalidSignature: it was not, or a header is missing, malformed or there twice.
        InvalidArgument: an argument is not of its kind.
    """
    if not isinstance(secret, bytes) or not secret:
        raise InvalidArgument("verify", "secret", "bytes, not empty", type(secret))
    if not isinstance(headers, Mapping):
        raise InvalidArgument("verify", "headers", "a mapping of names to values", type(headers))
    if not isinstance(body, bytes | bytearray | memoryview):
        raise InvalidArgument("verify", "body", "bytes", type(body))
    if not _is_number(tolerance) or tolerance < 0:
        raise InvalidArgument("verify", "tolerance", "a number of seconds", tolerance)
    if at is None:
        at = time.time()
    elif not _is_number(at):
        raise InvalidArgument("verify", "at", "Unix seconds", at)
    timestamp = _header(headers, TIMESTAMP, _UNIX_SECONDS)
    given = _header(headers, SIGNATURE, _HEX_DIGITS)
    if not abs(at - int(timestamp)) <= tolerance:
        raise InvalidSignature(f"{TIMESTAMP} is too far from now")
    if not hmac.compare_digest(signature(secret, timestamp, body), given):
        raise InvalidSignature(f"{SIGNATURE} is not that of this body")


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    found = [value for key, value in headers.items() if isinstance(key, str) and key.lower() == name]
    if not found:
        raise InvalidSignature(f"{name} is missing")
    if len(found) > 1:
        raise InvalidSignature(f"{name} is there twice")
    if not isinstance(found[0], str) or not form.fullmatch(found[0]):
        raise InvalidSignature(f"{name} is malformed")
    return found[0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
