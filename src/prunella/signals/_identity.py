from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from uuid_utils import uuid7

from ..errors import InvalidArgument
from ._errors import InvalidSignal

__all__ = ["new_id", "new_ids", "time_of_id"]

_UUID7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def new_id() -> str:
    """A new id: a UUIDv7 (RFC 9562) in its text form.

    Ids are strictly increasing within one process, as text too, also within one millisecond and from several
    threads: they come from the library's default clock and its counter, never from a time that we hand it.
    """
    return str(uuid7())


def new_ids(n: int) -> tuple[str, ...]:
    """`n` new ids, in increasing order.

    Raises:
        InvalidArgument: `n` is negative or no int.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 0:
        raise InvalidArgument("new_ids", "n", "an int of at least 0", n)
    return tuple([str(uuid7()) for _ in range(n)])


def time_of_id(id: str) -> datetime:
    """When an id was made, to the millisecond, as an aware UTC datetime (RFC 9562, section 5.7).

    Raises:
        InvalidSignal: it is no UUIDv7 in text form.
    """
    match = _UUID7.fullmatch(id) if isinstance(id, str) else None
    if match is None:
        raise InvalidSignal("time_of_id", "id", "a UUIDv7 in its text form", id)
    try:
        return _EPOCH + timedelta(milliseconds=int(match[1] + match[2], 16))
    except OverflowError:
        raise InvalidSignal("time_of_id", "id", "a UUIDv7 whose time is before the year 10000", id) from None
