"""A storage that is filmed: what a kill after any of its changes leaves behind."""

from __future__ import annotations

from typing import Any

from tests.durability.agents import copied

from prunella.storage import MemoryStorage
from prunella.testing.storage import Fault, FaultyStorage

_CHANGES = ("claim", "release", "record", "append", "enqueue", "take", "redrive", "discard", "insert", "forget")


def filmed() -> tuple[FaultyStorage, list[MemoryStorage]]:
    """A storage, and the copies of it that are taken before each call that changes something."""
    kept = MemoryStorage()
    copies: list[MemoryStorage] = []

    def film(args: Any, keywords: Any) -> bool:
        copies.append(copied(kept))
        return False  # nothing goes wrong

    return FaultyStorage(kept, [Fault(name, "delay", call=None, when=film) for name in _CHANGES]), copies
