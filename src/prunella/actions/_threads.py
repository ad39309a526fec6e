"""Sync functions in threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio

__all__ = ["in_thread"]

T = TypeVar("T")

_GRACE: Final = 0.05
"""Seconds a thread gets to notice a cancellation before it is said not to; the caller waits no longer than this."""


async def in_thread(
    function: Callable[..., T],
    values: Mapping[str, Any],
    limiter: trio.CapacityLimiter,
    unresponsive: Callable[[], None],
) -> T:
    """Calls a sync function in a thread.

    When it is cancelled it goes on within a moment; if the thread still runs then, which it can be seen to do if the
    function never calls `trio.from_thread.check_cancelled`, `unresponsive` is called. The thread counts against the
    limiter until it ends.
    """
    token = trio.lowlevel.current_trio_token()
    ended = trio.Event()
    begun = threading.Event()

    def call() -> T:
        begun.set()
        try:
            return function(**values)
        finally:
            with suppress(trio.RunFinishedError):  # so late that nobody is there any more
                token.run_sync_soon(ended.set)

    try:
        return await trio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=limiter)
    except trio.Cancelled:
        if begun.is_set():
            with trio.CancelScope(shield=True, deadline=trio.current_time() + _GRACE):
                await ended.wait()
            if not ended.is_set():
                unresponsive()
        raise
