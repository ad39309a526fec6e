"""A look at what is decided and not done, now and then: somebody should hear of it when it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

import trio

from ..storage import Outbox, StorageError

if TYPE_CHECKING:
    from ._durability import Durability
    from ._runtime import Runtime

__all__ = ["OutboxWatch", "watch_outbox"]

_SECONDS_BETWEEN_LOOKS: Final = 60.0
_MANY: Final = 1000
"""As many as one agent may have open before callers from outside have to wait."""


@final
class OutboxWatch:
    """Decides when the number of open directives is worth a warning: when it is large, and each time it doubles."""

    def __init__(self) -> None:
        self._warn_at = _MANY

    def wants_warning(self, outbox: Outbox) -> bool:
        """Takes note of a look; tells whether somebody should hear of it.

        Args:
            outbox: what was seen.
        """
        if outbox.count >= self._warn_at:
            self._warn_at = 2 * outbox.count
            return True
        if outbox.count < _MANY:
            self._warn_at = _MANY
        return False


async def watch_outbox(runtime: Runtime, durability: Durability) -> None:
    """The task that looks once a minute, tells telemetry, and warns."""
    watch = OutboxWatch()
    while True:
        await trio.sleep(_SECONDS_BETWEEN_LOOKS)
        try:
            outbox = await durability.outbox()
        except StorageError as error:
            runtime.reports.storage_trouble("open directives could not be counted", error)
            continue
        age = 0.0 if outbox.oldest is None else (runtime.clock.wall_now() - outbox.oldest).total_seconds()
        runtime.reports.outbox(outbox.count, max(0.0, age), warns=watch.wants_warning(outbox))
