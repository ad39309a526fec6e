"""That it opens and closes, and keeps what it was given."""

from __future__ import annotations

from typing import Final

from ...errors import InvalidArgument
from ...storage import (
    StorageUnavailable,
    Write,
    opened,
)
from ._terms import (
    KEY,
    NOW,
    Check,
    Factory,
    a_signal,
    a_turn,
    claim_agent,
    expect,
    expect_raised,
    waiting_of,
    write_agent,
)

__all__ = ["CHECKS"]


async def content_outlives_a_closing(factory: Factory) -> None:
    """What was acknowledged is there when it is opened again."""
    async with opened(factory()) as storage:
        claim = await claim_agent(storage)
        await write_agent(storage, commits=(a_turn(1),), enqueued=(a_signal("w"),))
    async with opened(factory()) as storage:
        stored = await storage.load(KEY)
        expect("commits", stored and stored.commits, (a_turn(1),))
        expect("waiting", await waiting_of(storage), [("w", 0)])
        expect("the next claim", await claim_agent(storage), claim + 1)


async def a_closed_storage_is_unavailable(factory: Factory) -> None:
    """Calls on a storage that is not open raise `StorageUnavailable`."""
    storage = factory()
    for _ in range(2):
        async with expect_raised("find", StorageUnavailable):
            await storage.find(KEY)
        async with expect_raised("append", StorageUnavailable):
            await storage.append(Write(KEY, 1, NOW))
        async with expect_raised("claim", StorageUnavailable):
            await claim_agent(storage)
        await storage.open()
        await storage.find(KEY)
        await storage.close()
        await storage.close()


async def an_open_storage_is_not_opened_twice(factory: Factory) -> None:
    """A second opening is refused, and a second only user too."""
    storage = factory()
    async with opened(storage, exclusive=True):
        expect("is_open", (storage.is_open, storage.is_exclusive), (True, True))
        async with expect_raised("open", InvalidArgument):
            await storage.open()
        async with expect_raised("a second only user", InvalidArgument), opened(storage, exclusive=True):
            pass
        async with opened(storage):
            await storage.find(KEY)
        expect("still open", storage.is_open, True)
    expect("closed", (storage.is_open, storage.is_exclusive), (False, False))
    async with storage:
        async with opened(storage, exclusive=True), opened(storage, exclusive=True):
            await storage.find(KEY)
        expect("open as it was", storage.is_open, True)


CHECKS: Final[tuple[Check, ...]] = (
    content_outlives_a_closing,
    a_closed_storage_is_unavailable,
    an_open_storage_is_not_opened_twice,
)
