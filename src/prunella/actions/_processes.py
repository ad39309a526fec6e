"""Functions in worker processes, which are killed when their run is cancelled."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import reduce
from typing import Any, Final, final

import trio

from ._action import Action
from ._errors import ActionError, InvalidAction

__all__ = ["Processes"]


_SECONDS_TO_END: Final = 5.0
"""What an idle process gets to end by itself."""


@final
class Processes:
    """The worker processes of one runner; there are none until the first is needed.

    Args:
        limit: how many there may be at a time.
    """

    def __init__(self, limit: int) -> None:
        self._limiter = trio.CapacityLimiter(limit)
        self._opened: Any = None
        self._under_way: set[trio.CancelScope] = set()
        self._exits = AsyncExitStack()

    async def call(self, function: Callable[..., Any], values: Mapping[str, Any]) -> Any:
        """Calls a function of a module in a process, which a cancellation kills.

        Raises:
            InvalidAction: trio-parallel is not installed.
            ActionError: the process died, or what goes there or comes back cannot be pickled.
            Exception: what the function raises.
        """
        try:
            import trio_parallel  # type: ignore[import-untyped,unused-ignore]  # no stubs, and not always here
        except ImportError as error:
            raise InvalidAction("cpu=True needs trio-parallel; install prunella[actions]") from error
        if self._opened is None:
            # It owns no task, only processes: it may be closed by another task than the one that opened it.
            self._opened = await self._exits.enter_async_context(
                trio_parallel.open_worker_context(grace_period=_SECONDS_TO_END)
            )
        with trio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                return await self._opened.run_sync(
                    *(_call, function.__module__, function.__qualname__, dict(values)),
                    kill_on_cancel=True,
                    limiter=self._limiter,
                )
            except trio_parallel.BrokenWorkerError as error:
                raise ActionError("its worker process died") from error
            finally:
                self._under_way.discard(scope)
        raise ActionError("its runner was closed")

    async def aclose(self) -> None:
        """Kills the processes that work, and ends those that do not."""
        for scope in self._under_way:
            scope.cancel()
        await self._exits.aclose()


def _call(module: str, qualname: str, values: dict[str, Any]) -> Any:
    found: Any = reduce(getattr, qualname.split("."), importlib.import_module(module))
    function = found.function if isinstance(found, Action) else found
    return function(**values)
