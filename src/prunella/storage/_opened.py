from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from ..errors import InvalidArgument
from ._storage import Storage

__all__ = ["opened"]

S = TypeVar("S", bound=Storage)


@asynccontextmanager
async def opened(storage: S, *, exclusive: bool = False) -> AsyncIterator[S]:
    """A storage that is open for a block: it is opened and closed, unless somebody has opened it already.

    Args:
        storage: the storage.
        exclusive: whether the block is to be its only user, unless it was opened around several: what a runtime asks
            for. Another block that asks for the same is refused.

    Raises:
        InvalidArgument: somebody else is its only user.
        StorageError: it cannot be opened.
    """
    if storage.is_open:
        if exclusive and storage.is_exclusive:
            raise InvalidArgument(
                "open_runtime",
                "storage",
                "one that no other runtime uses, or that is opened around them with `async with storage:`",
                storage,
            )
        yield storage
        return
    await storage.open(exclusive=exclusive)
    try:
        yield storage
    finally:
        await storage.close()
