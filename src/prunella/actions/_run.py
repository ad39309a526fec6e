from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar, Unpack, overload

from ..conversion import Map
from ..telemetry import Listener
from ._action import Action
from ._catalog import Catalog
from ._errors import ActionError
from ._execution import current_run
from ._instruction import Instruction
from ._options import Overrides
from ._policy import Policy
from ._results import Completed, Failure, Result, Success
from ._runner import Runner
from ._stream import Values
from ._tools import ToolResult, answer

__all__ = ["call_tool", "run", "stream", "try_run"]

T = TypeVar("T")

_EMPTY: Final[Mapping[str, Any]] = Map()
_DEFAULT_POLICY: Final = Policy()


@overload
async def run(
    action: Action[..., Coroutine[Any, Any, Result[T]]],
    params: Mapping[str, Any] = ...,
    *,
    context: Mapping[str, Any] | None = ...,
    telemetry: Iterable[Listener] = ...,
    **overrides: Unpack[Overrides],
) -> T: ...
@overload
async def run(
    action: Action[..., Coroutine[Any, Any, T]],
    params: Mapping[str, Any] = ...,
    *,
    context: Mapping[str, Any] | None = ...,
    telemetry: Iterable[Listener] = ...,
    **overrides: Unpack[Overrides],
) -> T: ...
@overload
async def run(
    action: Action[..., Result[T]],
    params: Mapping[str, Any] = ...,
    *,
    context: Mapping[str, Any] | None = ...,
    telemetry: Iterable[Listener] = ...,
    **overrides: Unpack[Overrides],
) -> T: ...
@overload
async def run(
    action: Action[..., T],
    params: Mapping[str, Any] = ...,
    *,
    context: Mapping[str, Any] | None = ...,
    telemetry: Iterable[Listener] = ...,
    **overrides: Unpack[Overrides],
) -> T: ...
@overload
async def run(
    action: Instruction,
    params: Mapping[str, Any] = ...,
    *,
    context: Mapping[str, Any] | None = ...,
    telemetry: Iterable[Listener] = ...,
    **overrides: Unpack[Overrides],
) -> Any: ...
async def run(
    action: Action[..., Any] | Instruction,
    params: Mapping[str, Any] = _EMPTY,
    *,
    context: Mapping[str, Any] | None = None,
    telemetry: Iterable[Listener] = (),
    **overrides: Unpack[Overrides],
) -> Any:
    """Runs an action: validates what goes in and comes out, keeps its deadlines, tries again, undoes what failed.

    Inside of another run it shares that one's limits and listeners.

    Args:
        action: what to run; an `Instruction` brings parameters, context and options of its own.
        params: its parameters by name; they are laid over those of an instruction.
        context: values for its `ActionContext`.
        telemetry: listeners, which hear of this run.
        overrides: options of `action` that are different this time: `timeout`, `total_timeout`, `retries`, `backoff`,
            `idempotent`, `compensate`, `compensate_timeout`; and `idempotency_key`.

    Returns:
        The validated value.

    Raises:
        InvalidInput: the parameters do not fit; nothing was done.
        ActionTimeout: it took too long.
        ActionError: it failed otherwise; what the function raised is the `__cause__`.
        InvalidAction: it is no action, or one that streams.
        InvalidArgument: context, or an option, is of another kind.
        TypeError: there is no option of that name.
    """
    return (await _complete(action, params, context, telemetry, overrides)).value


async def try_run(
    action: Action[..., Any] | Instruction,
    params: Mapping[str, Any] = _EMPTY,
    *,
    context: Mapping[str, Any] | None = None,
    telemetry: Iterable[Listener] = (),
    **overrides: Unpack[Overrides],
) -> Success[Any] | Failure:
    """As `run`, but gives the outcome as a value and raises no `ActionError`.

    Returns:
        `Success` with value and directives, or `Failure` with the error.

    Raises:
        InvalidArgument: context, or an option, is of another kind.
        TypeError: there is no option of that name.
    """
    try:
        completed = await _complete(action, params, context, telemetry, overrides)
    except ActionError as error:
        return Failure(error)
    return Success(completed.value, completed.directives, completed.attempts)


@asynccontextmanager
async def stream(
    action: Action[..., Any] | Instruction,
    params: Mapping[str, Any] = _EMPTY,
    *,
    context: Mapping[str, Any] | None = None,
    telemetry: Iterable[Listener] = (),
    **overrides: Unpack[Overrides],
) -> AsyncIterator[Values]:
    """Runs an action that is an async generator, in a task that ends with the block.

    The generator goes on when a value is taken, so it is never ahead by more than one. Its failure is raised where
    the values are received. It is tried again only as long as it has not given a value.

    Args:
        action: an action that yields.
        params: as of `run`, like the rest.
        context: as of `run`.
        telemetry: as of `run`.
        overrides: as of `run`.

    Returns:
        A receive channel of the validated values.

    Raises:
        InvalidInput: the parameters do not fit; nothing was done.
        InvalidAction: it does not yield.
    """
    async with (
        _sharing() as runner,
        runner.stream(action, params, context=context, telemetry=telemetry, **overrides) as values,
    ):
        yield values


async def call_tool(
    catalog: Catalog,
    name: str,
    arguments: str | bytes | Mapping[str, Any],
    *,
    policy: Policy = _DEFAULT_POLICY,
    context: Mapping[str, Any] | None = None,
    telemetry: Iterable[Listener] = (),
) -> ToolResult:
    """Runs the action that a model asks for, and says what came of it in words that the model can use.

    Whatever the model does wrong is an answer, never an exception: a name that is not there, arguments that are no JSON
    or do not fit, what the policy refuses, an action that fails. An action that streams answers with the list of all
    that it yields.

    Args:
        catalog: what there is to call; only public entries are.
        name: the name of the tool.
        arguments: JSON text, or its data.
        policy: what may be called.
        context: as of `run`.
        telemetry: as of `run`.

    Raises:
        InvalidArgument: catalog or policy is something else.
    """
    async with _sharing() as runner:
        return await answer(runner, catalog, name, arguments, policy, context, telemetry)


async def _complete(
    action: Action[..., Any] | Instruction,
    params: object,
    context: Mapping[str, Any] | None,
    telemetry: Iterable[Listener],
    overrides: Mapping[str, Any],
) -> Completed:
    outer = current_run.get()
    if outer is not None and not outer.runner.closed:
        return await outer.runner.execution(action, params, context, telemetry, overrides).complete()
    runner = Runner()
    try:
        return await runner.execution(action, params, context, telemetry, overrides).complete()
    finally:
        if runner.close():
            await runner.aclose()


@asynccontextmanager
async def _sharing() -> AsyncIterator[Runner]:
    """The runner of the run that the task is inside of, or one of its own."""
    outer = current_run.get()
    if outer is not None and not outer.runner.closed:
        yield outer.runner
        return
    runner = Runner()
    try:
        yield runner
    finally:
        await runner.aclose()
