from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Unpack, final

import trio

from ..conversion import Map
from ..errors import InvalidArgument
from ..telemetry import Listener, Listeners
from ..telemetry._enclosing import enclosing
from ._action import Action
from ._catalog import Catalog
from ._errors import ActionError, InvalidAction
from ._execution import Execution, current_run
from ._instruction import Instruction
from ._options import OVERRIDES, Options, Overrides, check_option, unknown_option
from ._policy import Policy
from ._preparation import prepare
from ._processes import Processes
from ._results import Failure, Success
from ._signature import Kind
from ._stream import Values, streaming
from ._tools import ToolResult, answer

__all__ = ["Runner", "open_runner"]

_THREADS: Final = 40
_EMPTY: Final[Mapping[str, Any]] = Map()
_DEFAULT_POLICY: Final = Policy()

logger = logging.getLogger("prunella.actions")


def _now() -> datetime:
    return datetime.now(UTC)


@final
class Runner:
    """Runs actions within limits that all its runs share; made by `open_runner`.

    Its methods have the signatures of the functions of the same names.
    """

    def __init__(
        self,
        threads: int = _THREADS,
        processes: int | None = None,
        telemetry: Iterable[Listener] = (),
        now: Callable[[], datetime] | None = None,
        *,
        payloads: bool = False,
    ) -> None:
        self._most_threads = threads
        self._most_processes = processes
        self._threads: trio.CapacityLimiter | None = None
        self._processes: Processes | None = None
        self._places: dict[Action[..., Any], tuple[trio.CapacityLimiter, int]] = {}
        around = enclosing()
        self.listeners: tuple[Listeners, ...] = () if around is None else (around,)
        if telemetry:
            self.listeners = (Listeners(telemetry), *self.listeners)
        self.now = now or _now
        self.payloads = payloads
        self.closed = False

    async def run(
        self,
        action: Action[..., Any] | Instruction,
        params: Mapping[str, Any] = _EMPTY,
        *,
        context: Mapping[str, Any] | None = None,
        telemetry: Iterable[Listener] = (),
        **overrides: Unpack[Overrides],
    ) -> Any:
        """As the function `run`."""
        return (await self.execution(action, params, context, telemetry, overrides).complete()).value

    async def try_run(
        self,
        action: Action[..., Any] | Instruction,
        params: Mapping[str, Any] = _EMPTY,
        *,
        context: Mapping[str, Any] | None = None,
        telemetry: Iterable[Listener] = (),
        **overrides: Unpack[Overrides],
    ) -> Success[Any] | Failure:
        """As the function `try_run`."""
        try:
            completed = await self.execution(action, params, context, telemetry, overrides).complete()
        except ActionError as error:
            return Failure(error)
        return Success(completed.value, completed.directives, completed.attempts)

    def stream(
        self,
        action: Action[..., Any] | Instruction,
        params: Mapping[str, Any] = _EMPTY,
        *,
        context: Mapping[str, Any] | None = None,
        telemetry: Iterable[Listener] = (),
        **overrides: Unpack[Overrides],
    ) -> AbstractAsyncContextManager[Values]:
        """As the function `stream`."""
        return streaming(lambda: self.execution(action, params, context, telemetry, overrides, stream=True))

    async def call_tool(
        self,
        catalog: Catalog,
        name: str,
        arguments: str | bytes | Mapping[str, Any],
        *,
        policy: Policy = _DEFAULT_POLICY,
        context: Mapping[str, Any] | None = None,
        telemetry: Iterable[Listener] = (),
    ) -> ToolResult:
        """As the function `call_tool`."""
        return await answer(self, catalog, name, arguments, policy, context, telemetry)

    def execution(
        self,
        action: Action[..., Any] | Instruction,
        params: object,
        context: Mapping[str, Any] | None,
        telemetry: Iterable[Listener],
        overrides: Mapping[str, Any],
        *,
        stream: bool = False,
        handed: Mapping[str, Any] | None = None,
    ) -> Execution:
        """A run, ready to begin: everything about it that can be wrong beforehand is not."""
        if self.closed:
            raise ActionError("the runner is closed")
        if type(action) is Instruction:
            action, params, context, overrides = action.laid_under(params, context, overrides)
        if not isinstance(action, Action):
            raise InvalidAction(f"{action!r:.80} is no action: put @action above the function")
        if stream is not (action.kind is Kind.STREAM):
            how = "is no stream: use run" if stream else "streams: use stream"
            raise InvalidAction(f"{action.name} {how}")
        if context is None:
            context = _EMPTY
        elif not isinstance(context, Mapping):
            raise InvalidArgument(f"run of {action.name}", "context", "a mapping", context)
        options = action.options
        if overrides:
            options = _overridden(action, overrides)
        outer = current_run.get()
        listeners = self.listeners
        parent = None
        if outer is not None:
            handed = outer.handed if handed is None else handed
            if outer.listeners:
                parent = None if outer.span is None else outer.span.id
                listeners = (*listeners, *(one for one in outer.listeners if one not in listeners))
        if telemetry:
            listeners = (*listeners, Listeners(telemetry))
        return Execution(self, action, prepare(action, params), options, context, listeners, None, parent, None, handed)

    @property
    def threads(self) -> trio.CapacityLimiter:
        """The limit of its threads."""
        if self._threads is None:
            self._threads = trio.CapacityLimiter(self._most_threads)
        return self._threads

    @property
    def processes(self) -> Processes:
        """Its worker processes."""
        if self._processes is None:
            self._processes = Processes(self._most_processes or os.cpu_count() or 1)
        return self._processes

    @contextmanager
    def place_of(self, action: Action[..., Any]) -> Iterator[trio.CapacityLimiter]:
        """The limit of the runs of one action; it is kept while there are any."""
        assert action.max_concurrency is not None
        limiter, users = self._places.get(action) or (trio.CapacityLimiter(action.max_concurrency), 0)
        self._places[action] = limiter, users + 1
        try:
            yield limiter
        finally:
            users = self._places[action][1] - 1
            if users:
                self._places[action] = limiter, users
            else:
                del self._places[action]

    def report_unresponsive(self, name: str) -> None:
        """Tells the log that a thread goes on after its run was cancelled."""
        logger.warning(
            "action %s was cancelled, but its thread goes on: call trio.from_thread.check_cancelled() now and then",
            name,
        )

    def close(self) -> bool:
        """Refuses further runs; says whether there is more to close, with `aclose`."""
        self.closed = True
        return self._processes is not None

    async def aclose(self) -> None:
        """Refuses further runs, and ends the worker processes."""
        self.closed = True
        if self._processes is not None:
            await self._processes.aclose()


def _overridden(action: Action[..., Any], overrides: Mapping[str, Any]) -> Options:
    """The options of one run.

    Raises:
        InvalidArgument: one is of another kind.
        TypeError: there is no option of that name.
    """
    owner = f"run of {action.name}"
    for name, value in overrides.items():
        if name not in OVERRIDES:
            said = unknown_option(name)
            if name in action.signature.parameters or action.signature.open:
                said += f"; parameters go into a mapping: run({action.name}, {{{name!r}: ...}})"
            raise TypeError(f"{owner}: {said}")
        check_option(owner, name, value)
    options = action.options.replaced(overrides)
    try:
        action.check_options(options)
    except InvalidAction as error:
        expected = "a function of parameters of the action, error and result"
        raise InvalidArgument(owner, "compensate", expected, options.compensate) from error
    return options


@asynccontextmanager
async def open_runner(
    *,
    threads: int = _THREADS,
    processes: int | None = None,
    telemetry: Iterable[Listener] = (),
    payloads: bool = False,
) -> AsyncIterator[Runner]:
    """Opens a runner: many runs share its threads, its worker processes and the limits of each action.

    Args:
        threads: how many sync functions may run at a time.
        processes: how many functions with `cpu=True` may run at a time; None for as many as there are processors.
        telemetry: listeners, which hear of every run. Inside a runtime its listeners hear of them too.
        payloads: whether they see parameters and results, too. These may hold what belongs into no log.

    Raises:
        InvalidArgument: a limit is no whole number of at least 1, or another argument is of another kind.
    """
    for name, value in (("threads", threads), ("processes", processes)):
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise InvalidArgument("open_runner", name, "a whole number of at least 1", value)
    if not isinstance(payloads, bool):
        raise InvalidArgument("open_runner", "payloads", "True or False", payloads)
    runner = Runner(threads, processes, telemetry, payloads=payloads)
    try:
        yield runner
    finally:
        await runner.aclose()
