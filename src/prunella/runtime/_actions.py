"""What agents have done beside them: the runner of a runtime, and what a `Run` names as an action for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, final

import trio

from ..actions import Action, Instruction, Kind, Runner
from ..actions._execution import Execution
from ..actions._plain_function import PlainFunction
from ..actions._signature import HandedIn

if TYPE_CHECKING:
    from ..agents import Run
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Actions"]

_MOST_FUNCTIONS: Final = 1_024
_SECONDS_TO_END: Final = 6.0
"""For the worker processes: one more than they have to end by themselves."""


@final
class Actions:
    """The actions of one runtime.

    Attributes:
        runner: its limits hold for all of them together: 40 threads, as many worker processes as there are
            processors, and the `max_concurrency` of each action.
    """

    __slots__ = ("_known", "_runtime", "runner")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.runner = Runner(now=lambda: runtime.clock.wall_now())
        self.runner.listeners = (runtime.telemetry,)
        self._known: dict[Any, PlainFunction] = {}

    def execution(self, server: AgentServer, directive: Run) -> Execution:
        """The run that a directive asks for, ready to begin.

        Args:
            server: the agent that asks.
            directive: what it asks for; where that says nothing, the action does.

        Raises:
            ActionError: the parameters do not fit.
        """
        action: Any = directive.action
        if isinstance(action, Instruction):
            kind = action.action.kind
        else:
            if not isinstance(action, Action):
                action = self._as_action(action)
            kind = action.kind
        options: dict[str, Any] = {}
        if directive.timeout is not None:
            options["timeout"] = directive.timeout if directive.timeout < math.inf else None
        if directive.retries is not None:
            options["retries"] = directive.retries
        handed: dict[str, Any] = {HandedIn.RUNTIME: self._runtime, HandedIn.AGENT: self._runtime.ref_to(server)}
        is_stream = kind is Kind.STREAM
        return self.runner.execution(action, directive.params, None, (), options, stream=is_stream, handed=handed)

    def keywords(self, server: AgentServer, function: Callable[..., Any], params: Mapping[str, Any]) -> dict[str, Any]:
        """What a task is called with: its parameters, and the runtime or its agent's ref where it asks for one."""
        keywords = dict(params)
        for name, what in self._as_action(function).signature.handed_in.items():
            if what is HandedIn.RUNTIME:
                keywords[name] = self._runtime
            elif what is HandedIn.AGENT:
                keywords[name] = self._runtime.ref_to(server)
        return keywords

    async def aclose(self) -> None:
        """Nothing more is run: its worker processes are ended."""
        if self.runner.close():
            with trio.move_on_after(_SECONDS_TO_END, shield=True):
                await self.runner.aclose()

    def _as_action(self, function: Callable[..., Any]) -> PlainFunction:
        try:
            known = self._known.get(function)
        except TypeError:  # it cannot be hashed
            return PlainFunction(function)
        if known is None:
            if len(self._known) >= _MOST_FUNCTIONS:
                self._known.clear()
            known = self._known[function] = PlainFunction(function)
        return known
