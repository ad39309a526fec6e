from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar, final

import trio

from ..errors import InvalidArgument
from ._errors import StorageUnavailable
from ._storage import Storage

__all__ = ["opened", "opened_to_read"]

S = TypeVar("S", bound=Storage)

_USE: Final = "_use_of_opened"


@final
class _Use:
    """Who uses a storage that was opened for them. It hangs on the storage, as long as anybody does.

    Attributes:
        users: how many.
        is_exclusive: whether one of them is to be the only one that asks for that.
        lock: held while it is opened, or closed.
    """

    __slots__ = ("is_exclusive", "lock", "users")

    def __init__(self) -> None:
        self.users = 0
        self.is_exclusive = False
        self.lock = trio.Lock()

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # A copy of a storage has users of its own.


@asynccontextmanager
async def opened(storage: S, *, exclusive: bool = False) -> AsyncIterator[S]:
    """A storage that is open for a block: the first of several blocks opens it, and the last that ends closes it.

    One that somebody has opened otherwise, with ``async with storage:`` around all of them, is used as it is.

    Args:
        storage: the storage.
        exclusive: whether the block is to be its only user of this kind, unless it was opened around several: what a
            runtime asks for. Another block that asks for the same is refused.

    Raises:
        InvalidArgument: somebody else is its only user.
        StorageError: it cannot be opened.
    """
    use = getattr(storage, _USE, None)
    if not isinstance(use, _Use):
        if storage.is_open:
            if exclusive and storage.is_exclusive:
                raise _in_use(storage)
            yield storage
            return
        use = _Use()
        with suppress(AttributeError, TypeError):  # One that takes no attributes is as if it had a single user.
            setattr(storage, _USE, use)
    elif exclusive and use.is_exclusive:
        raise _in_use(storage)
    use.users += 1
    use.is_exclusive = use.is_exclusive or exclusive
    try:
        async with use.lock:
            if not storage.is_open:
                await storage.open(exclusive=exclusive)
        yield storage
    finally:
        use.users -= 1
        if exclusive:
            use.is_exclusive = False
        # If it is locked, the last user but this one is closing it, and this one did not want to wait for that.
        if not use.users and not use.lock.locked():
            await _close(storage, use)


async def _close(storage: Storage, use: _Use) -> None:
    """Nobody uses it any more. Who comes meanwhile waits, and opens it again."""
    use.lock.acquire_nowait()
    try:
        if storage.is_open:
            await storage.close()
    finally:
        use.lock.release()
        if not use.users:
            with suppress(AttributeError):
                delattr(storage, _USE)


@asynccontextmanager
async def opened_to_read(storage: S) -> AsyncIterator[S]:
    """The same, for somebody who only reads: nothing is made where nothing is.

    Raises:
        StorageUnavailable: it is closed, and keeps things in a file that is not there.
        StorageError: it cannot be opened.
    """
    path = getattr(storage, "path", None)
    if isinstance(path, Path) and not storage.is_open and not path.exists():
        raise StorageUnavailable(f"there is no database {path}")
    async with opened(storage):
        yield storage


def _in_use(storage: Storage) -> InvalidArgument:
    return InvalidArgument(
        "open_runtime",
        "storage",
        "one that no other runtime uses, or that is opened around them with `async with storage:`",
        storage,
    )
