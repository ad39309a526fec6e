"""Places that are held, and whether whoever waits for one waits for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from ._errors import InvalidAction

if TYPE_CHECKING:
    from ._execution import Execution

__all__ = ["Held", "check_place"]


@final
class Held:
    """A place of an action that a run holds, made in the task of the run when it gets it.

    Args:
        limiter: whose place it is.
    """

    __slots__ = ("_depth", "_task", "limiter")

    def __init__(self, limiter: trio.CapacityLimiter) -> None:
        self.limiter = limiter
        self._task = trio.lowlevel.current_task()
        self._depth = len(self._task.child_nurseries)

    def outlasts_this_task(self) -> bool:
        """Whether the run cannot end, and give the place back, before the current task goes on.

        So it is in the task of the run itself, and in those of nurseries that were opened in the run; a task that the
        run has started in a nursery from elsewhere it does not wait for.
        """
        task: trio.lowlevel.Task | None = trio.lowlevel.current_task()
        while task is not None and task is not self._task:
            nursery = task.parent_nursery
            if nursery is not None and nursery.parent_task is self._task:
                return nursery in self._task.child_nurseries[self._depth :]
            task = None if nursery is None else nursery.parent_task
        return task is not None


def check_place(run: Execution, limiter: trio.CapacityLimiter) -> None:
    """Refuses to wait for a place when all are held by runs that wait for this one.

    Raises:
        InvalidAction: they are.
    """
    if limiter.available_tokens >= 1:
        return
    held, outer = 0, run.outer
    while outer is not None:
        held += outer.held is not None and outer.held.limiter is limiter and outer.held.outlasts_this_task()
        outer = outer.outer
    if held >= limiter.total_tokens:
        raise InvalidAction(
            f"{run.action.name}: it runs inside of itself, and its max_concurrency of {held} leaves no place for that: "
            "it would wait for ever"
        )
