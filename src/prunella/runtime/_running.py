"""Work of an agent, each in a task of its own: what a `Run` runs, and tasks that stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..agents import Run, SpawnTask
from ..supervision import ExitReason
from ._delivery import Delivery, Settling
from ._effect import Effect, as_error
from ._lanes import keep
from ._life import AgentLife, EffectTask
from ._work import Attempts, perform, stay

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["begin_run", "begin_task"]


def begin_run(
    server: AgentServer, life: AgentLife, directive: Run, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    """Begins the work of a `Run`."""
    effect = Effect(server, directive, delivery, settling, index)
    attempts = Attempts()

    async def work() -> None:
        error = await perform(server, directive, effect, attempts)
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch, directive.carry, attempts.made)
        if directive.key is not None and life.keyed is not None and life.keyed.get(directive.key) is task:
            del life.keyed[directive.key]

    def cut(reason: ExitReason | None, failure: BaseException | None) -> None:
        if failure is None:
            effect.cut(reason)
        else:
            effect.failed(as_error(failure), directive.catch, directive.carry, attempts.made)

    task = EffectTask(life, f"run {_name(directive.action)}", work, is_work=True, on_cut=cut)
    if directive.key is not None:
        keep(life, directive.key, task)
    task.begin()


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
    effect = Effect(server, directive, Delivery(delivery.signal), None, index)

    async def work() -> None:
        error = await stay(server, directive)
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch)

    def cut(reason: ExitReason | None, failure: BaseException | None) -> None:
        if failure is None:
            effect.cut(reason)
        else:
            effect.failed(as_error(failure), directive.catch)

    EffectTask(life, f"task {_name(directive.function)}", work, is_work=True, on_cut=cut).begin()


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))
