"""Work of an agent, each in a task of its own: what a `Run` runs, and tasks that stay."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import trio

from ..actions import ActionTimeout, Instruction
from ..actions._execution import Execution
from ..actions._plain_function import FunctionFailed, PlainFunction
from ..actions._results import Completed
from ..agents import Run, SpawnTask
from ..conversion import ConversionError
from ..supervision import ExitReason
from ..supervision._policies import RestartWindow
from ._delivery import Delivery, Settling
from ._effect import Effect, as_error
from ._lanes import keep
from ._life import AgentLife, EffectTask
from ._places import Places
from ._results import begin_results, check_results

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["begin_run", "begin_task"]


def begin_run(
    server: AgentServer, life: AgentLife, directive: Run, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    """Begins the work of a `Run`, or lets it wait for its turn."""
    _Work(life, Effect(server, directive, delivery, settling, index), directive, settling).begin()


class _Work:
    """The work of one `Run`, from its place in the queue to what it sends back."""

    __slots__ = ("_directive", "_effect", "_execution", "_life", "_place", "_settling", "_task")

    def __init__(self, life: AgentLife, effect: Effect, directive: Run, settling: Settling | None) -> None:
        if life.runs is None:
            life.runs = Places(effect.server.spec.runs)
        self._life = life
        self._effect = effect
        self._directive = directive
        self._settling = settling
        self._place = life.runs.take()
        self._execution: Execution | None = None
        self._task = EffectTask(life, f"run {_name(directive.action)}", self._perform, is_work=True, on_cut=self._cut)

    def begin(self) -> None:
        if self._directive.key is not None:
            keep(self._life, self._directive.key, self._task)
        self._task.begin()

    async def _perform(self) -> None:
        effect, directive = self._effect, self._directive
        try:
            if self._place.reached is not None:
                await self._place.reached.wait()
            self._execution = run = effect.server.runtime.actions.execution(effect.server, directive)
            run.pump = self._pump
            run.new_key = lambda: effect.directive_id
            if effect.span_id is not None:
                run.parent = effect.span_id
            completed = await run.complete()
            if completed.directives:
                check_results(effect, completed.directives)
        except Exception as error:
            self._leave()
            self._failed(self._told(error))
        else:
            self._leave()
            self._succeeded(completed)
        finally:
            self._place.leave()

    def _leave(self) -> None:
        """The place and the key are free for others."""
        self._place.leave()
        key, keyed = self._directive.key, self._life.keyed
        if key is not None and keyed is not None and keyed.get(key) is self._task:
            del keyed[key]

    def _succeeded(self, completed: Completed) -> None:
        if completed.directives and not self._life.ended:
            begin_results(self._effect, self._life, self._settling, completed.directives)
        if self._directive.then is not None:
            try:
                self._effect.send_back(self._directive.then, {"result": completed.value, **self._directive.carry})
            except ConversionError as error:
                self._failed(error)
                return
        self._effect.done()

    def _failed(self, error: Exception) -> None:
        attempts = 0 if self._execution is None else self._execution.attempts
        self._effect.failed(error, self._directive.catch, self._directive.carry, attempts)

    def _told(self, error: Exception) -> Exception:
        """What the agent hears: of a plain function what that raised, or what Trio says of deadlines."""
        if isinstance(error, FunctionFailed):
            assert isinstance(error.__cause__, Exception)
            return error.__cause__
        action = None if self._execution is None else self._execution.action
        if isinstance(action, PlainFunction) and isinstance(error, ActionTimeout):
            return trio.TooSlowError(f"not done within {self._directive.timeout:g} s")
        return error

    def _cut(self, reason: ExitReason | None, failure: BaseException | None) -> None:
        self._place.leave()
        if failure is None:
            self._effect.cut(reason)
        else:
            self._failed(as_error(failure))

    async def _pump(self, run: Execution, values: AsyncGenerator[Any, None]) -> int:
        """Turns what an async generator yields into signals; returns how many there were."""
        effect, each = self._effect, self._directive.each
        number = 0
        is_plain = isinstance(run.action, PlainFunction)
        async with aclosing(values) as opened:
            async for value in opened:
                run.begun = not is_plain  # of that everything is tried again, and the index begins again with it
                converted = run.converted(value)
                if each is not None:
                    effect.send_back(each, {"value": converted, "index": number, **self._directive.carry})
                    await effect.server.inner_has_room()
                else:
                    await trio.lowlevel.checkpoint()
                number += 1
        return number


def begin_task(
    server: AgentServer,
    life: AgentLife,
    directive: SpawnTask,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Begins a task of the agent."""
    # It has been carried out when it has started: it may stay for as long as the agent, and nobody waits for its end.
    effect = Effect(server, directive, delivery.without_ask(), None, index)
    if settling is not None:
        settling.begin()

    def has_started() -> None:
        nonlocal settling
        if settling is not None:
            settling.end()
            settling = None

    async def work() -> None:
        has_started()  # Whoever waits for that goes on after what is done before the first checkpoint.
        error = await _stay(server, directive)
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch)

    def cut(reason: ExitReason | None, failure: BaseException | None) -> None:
        has_started()  # It may never come to that.
        if failure is None:
            effect.cut(reason)
        else:
            effect.failed(as_error(failure), directive.catch)

    EffectTask(life, f"task {_name(directive.function)}", work, is_work=True, on_cut=cut).begin()


async def _stay(server: AgentServer, directive: SpawnTask) -> Exception | None:
    """Runs a task of an agent, again and again as its restart type says.

    Returns:
        Why it failed for good, if it did.
    """
    window = RestartWindow(3, 5.0)
    while True:
        error: Exception | None = None
        try:
            await directive.function(**server.runtime.actions.keywords(server, directive.function, directive.params))
        except Exception as caught:
            error = caught
        again = directive.restart == "permanent" or (directive.restart == "transient" and error is not None)
        if not again or not window.admit(trio.current_time()):
            return error
        if error is not None:
            server.runtime.reports.error(server, error, None)
        await trio.lowlevel.checkpoint()


def _name(work: Any) -> str:
    if isinstance(work, Instruction):
        work = work.action
    return str(getattr(work, "__qualname__", work))
