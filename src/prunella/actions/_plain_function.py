"""Functions that were not made actions, run as if they were: nothing is declared of them, so nothing is checked."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final, final

from ..conversion import Fields
from ..supervision import Backoff
from ._action import Action
from ._errors import ActionFailed
from ._execution import Execution
from ._options import Options
from ._results import Completed
from ._signature import Kind, Signature, handed_in
from ._threads import in_thread

__all__ = ["FunctionFailed", "PlainFunction"]

# Nobody has said which failures are worth another attempt, so whoever asks for attempts means all; and no waits.
_OPTIONS: Final = Options(backoff=Backoff(0.0, 0.0), idempotent=True)


@final
class FunctionFailed(ActionFailed):
    """A plain function raised; what it raised is the `__cause__`, also if that is an `ActionError`."""


@final
class PlainFunction(Action[..., Any]):
    """A function of whatever kind as an action: sync ones run in a thread, what they return is waited for.

    Args:
        function: anything that can be called.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        name = str(getattr(function, "__name__", type(function).__name__))
        fields = Fields(name, {}, closed=False, rest=Any)
        signature = Signature(fields, {}, True, handed_in(function), {}, None, Any)
        super().__init__(name, function, Kind.COMPOSITE, signature, _OPTIONS)
        self._in_loop = inspect.isasyncgenfunction(function) or _is_async(function)

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        """Calls it.

        Raises:
            FunctionFailed: it raised.
        """
        try:
            if self._in_loop:
                value = self.function(**values)
            else:
                value = await in_thread(self.function, values, run.runner.threads, run.unresponsive)
            if inspect.isasyncgen(value):
                assert run.pump is not None
                value = await run.pump(run, value)
            elif inspect.isawaitable(value):
                value = await value
        except Exception as raised:
            raise FunctionFailed(f"{self.name}: {type(raised).__name__}", retryable=True) from raised
        return Completed(value, (), run.attempts)


def _is_async(function: Callable[..., Any]) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 - the attribute is wanted, not whether there is one
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)
