"""Ids that come out the same when something is done again, so that whoever hears of it twice counts it once."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from uuid import UUID

__all__ = ["derived_id"]


def derived_id(now: datetime, name: str) -> str:
    """A UUIDv8 (RFC 9562, section 5.8) made of a time, in its first 48 bits, and a name.

    Args:
        now: when it was decided; aware.
        name: what it is for, unique for ever.
    """
    milliseconds = int(now.timestamp() * 1000)
    value = int.from_bytes(sha256(name.encode("utf-8", "surrogatepass")).digest()[:10], "big")
    value |= (milliseconds & (1 << 48) - 1) << 80
    value = value & ~(0xF << 76) | 8 << 76  # version
    value = value & ~(0b11 << 62) | 0b10 << 62  # variant
    return str(UUID(int=value))
