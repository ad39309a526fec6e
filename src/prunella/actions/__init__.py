"""Actions: work that is validated, bounded in time, tried again with care, and undone when it fails.

An action is an ordinary function with annotations. Called directly it stays one; `run` validates what goes in and comes
out, keeps its deadlines, and never leaves anything running behind:

.. code-block:: python

    from typing import Literal

    import trio
    from prunella.actions import InvalidInput, action, run, try_run

    @action(timeout=10.0, retries=2, idempotent=True)
    async def weather(city: str, *, unit: Literal["c", "f"] = "c") -> str:
        \"\"\"Current weather of a city.\"\"\"
        return f"21 °{unit.upper()} in {city}"

    async def main():
        assert await run(weather, {"city": "Oslo"}) == "21 °C in Oslo"
        assert await weather("Oslo") == "21 °C in Oslo"                 # the plain function

        try:
            await run(weather, {"city": "Oslo", "units": "f"})
        except InvalidInput as error:                                   # nothing was done
            assert error.path == "units"

        outcome = await try_run(weather, {"city": 7})                   # the outcome as a value
        assert not outcome.error.retryable

    trio.run(main)

Async functions run in the task of the caller, sync ones in a thread, those with `cpu=True` in a worker process that is
killed on cancel; async generators are read with `stream`. A run that fails raises an `ActionError` that says whether
another may succeed, and what became of the undoing. `open_runner` shares threads, processes and limits among many runs.
"""

from ._action import Action, action
from ._basic import basic_actions
from ._catalog import Catalog, Entry, Hit, Risk, Visibility
from ._chain import chain
from ._composite import Composite, Labels
from ._context import ActionContext, IdempotencyKey
from ._errors import (
    ActionError,
    ActionFailed,
    ActionNotAllowed,
    ActionTimeout,
    ChainFailed,
    InvalidAction,
    InvalidInput,
    InvalidOutput,
    InvalidPlan,
    PlanFailed,
)
from ._events import (
    ActionEvent,
    ActionFailedEvent,
    ActionStarted,
    ActionStopped,
    ActionUnresponsive,
    AttemptFailed,
    AttemptStarted,
    AttemptStopped,
    StepSkipped,
)
from ._files import file_actions
from ._http import HTTPResponse, http_actions
from ._instruction import Instruction, check_allowed
from ._options import Overrides
from ._plan import Plan
from ._policy import Policy
from ._references import param, result_of
from ._results import Failure, Result, Success
from ._run import call_tool, run, stream, try_run
from ._runner import Runner, open_runner
from ._shell import CommandResult, shell_actions
from ._side_by_side import branch, converge, parallel
from ._signature import Kind
from ._step import Step
from ._stream import Values
from ._tool_schema import ToolFormat, tool_schema
from ._tools import ToolResult, UnknownTool

__all__ = [
    "Action",
    "ActionContext",
    "ActionError",
    "ActionEvent",
    "ActionFailed",
    "ActionFailedEvent",
    "ActionNotAllowed",
    "ActionStarted",
    "ActionStopped",
    "ActionTimeout",
    "ActionUnresponsive",
    "AttemptFailed",
    "AttemptStarted",
    "AttemptStopped",
    "Catalog",
    "ChainFailed",
    "CommandResult",
    "Composite",
    "Entry",
    "Failure",
    "HTTPResponse",
    "Hit",
    "IdempotencyKey",
    "Instruction",
    "InvalidAction",
    "InvalidInput",
    "InvalidOutput",
    "InvalidPlan",
    "Kind",
    "Labels",
    "Overrides",
    "Plan",
    "PlanFailed",
    "Policy",
    "Result",
    "Risk",
    "Runner",
    "Step",
    "StepSkipped",
    "Success",
    "ToolFormat",
    "ToolResult",
    "UnknownTool",
    "Values",
    "Visibility",
    "action",
    "basic_actions",
    "branch",
    "call_tool",
    "chain",
    "check_allowed",
    "converge",
    "file_actions",
    "http_actions",
    "open_runner",
    "parallel",
    "param",
    "result_of",
    "run",
    "shell_actions",
    "stream",
    "tool_schema",
    "try_run",
]
