"""Functions in worker processes, which are killed when their run is cancelled."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import reduce
from typing import Any, Final, final

import trio

from ._action import Action
from ._errors import ActionError, ActionFailed, InvalidAction
from ._preparation import failed

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

    async def call(self, action: Action[..., Any], values: Mapping[str, Any]) -> Any:
        """Calls the function of an action in a process, which a cancellation kills.

        Raises:
            InvalidAction: trio-parallel is not installed.
            ActionError: the process died, or what goes there or comes back cannot be pickled.
            ActionFailed: what the function raised cannot be pickled.
            Exception: what the function raised.
        """
        try:
            import trio_parallel  # type: ignore[import-untyped,unused-ignore]  # no stubs, and not always here
        except ImportError as error:
            raise InvalidAction("cpu=True needs trio-parallel; install prunella[actions]") from error
        function = action.function
        if self._opened is None:
            # It owns no task, only processes: it may be closed by another task than the one that opened it.
            self._opened = await self._exits.enter_async_context(
                trio_parallel.open_worker_context(grace_period=_SECONDS_TO_END)
            )
        with trio.CancelScope() as scope:
            self._under_way.add(scope)
            try:
                return await self._opened.run_sync(
                    *(_call, action.name, function.__module__, function.__qualname__, dict(values)),
                    kill_on_cancel=True,
                    limiter=self._limiter,
                )
            except trio_parallel.BrokenWorkerError as error:
                raise ActionError(f"{action.name}: its worker process died{_exit_code(error)}") from error
            finally:
                self._under_way.discard(scope)
        raise ActionError(f"{action.name}: its runner was closed")

    async def aclose(self) -> None:
        """Kills the processes that work, and ends those that do not."""
        for scope in self._under_way:
            scope.cancel()
        await self._exits.aclose()


def _exit_code(error: BaseException) -> str:
    code = getattr(error.args[-1] if error.args else None, "exitcode", None)
    return "" if code is None else f" (exit code {code})"


def _call(name: str, module: str, qualname: str, values: dict[str, Any]) -> Any:
    found: Any = reduce(getattr, qualname.split("."), importlib.import_module(module))
    function = found.function if isinstance(found, Action) else found
    try:
        return function(**values)
    except Exception as raised:
        error = _sendable(name, raised)
    raise error  # not in the handler: there it would be tied to the one that cannot leave


def _sendable(name: str, raised: Exception) -> Exception:
    """What can leave the process of what was raised there."""
    obstacle = _obstacle(raised)
    if obstacle is None:
        return raised
    error = failed(name, raised)
    # The cause stays here, and with it goes what says whether another attempt may succeed.
    told = ActionFailed(str(error), retryable=error.retryable)
    raised.__cause__ = raised.__context__ = None
    sent, what = (told, "what was raised") if _obstacle(raised) else (raised, "the cause of it")
    sent.add_note(f"{what} stayed in its worker process: {obstacle}")
    return sent


def _obstacle(raised: Exception) -> str | None:
    """Why an exception cannot leave the process, if it cannot: it is tried as trio-parallel does it."""
    from tblib.pickling_support import install  # type: ignore[import-untyped,unused-ignore]  # trio-parallel brings it

    try:
        from cloudpickle import dumps, loads  # type: ignore[import-not-found,unused-ignore]  # if it is here
    except ImportError:
        from pickle import dumps, loads
    try:
        install(raised)
        loads(dumps(raised))
    except Exception as error:
        return f"{type(error).__name__}: {error!s:.200}"
    return None
