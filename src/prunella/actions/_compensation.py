"""Undoing: each function once, shielded, in a time of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable

import trio

from ._action import Action
from ._errors import ActionError, Compensated
from ._threads import in_thread
from ._undo import Undo, arguments_of

__all__ = ["undo", "undo_all", "worse"]

_ORDER: tuple[Compensated | None, ...] = (None, "completed", "timed_out", "failed")


def worse(one: Compensated | None, other: Compensated | None) -> Compensated | None:
    """Of two outcomes the one that matters more."""
    return max(one, other, key=_ORDER.index)


async def undo(
    step: Undo, error: ActionError, limiter: trio.CapacityLimiter, unresponsive: Callable[[], None]
) -> Compensated:
    """Calls the function that undoes a step. What it raises is noted on the error, and nothing else comes of it."""
    function = step.function.function if isinstance(step.function, Action) else step.function
    with trio.CancelScope(shield=True, deadline=trio.current_time() + step.timeout):
        try:
            arguments = arguments_of(function, step.values, error, step.result)
            if step.in_thread and not inspect.iscoroutinefunction(function):
                returned = await in_thread(function, arguments, limiter, unresponsive)
            else:
                returned = function(**arguments)
            if inspect.isawaitable(returned):
                await returned
        except Exception as raised:
            error.add_note(f"undoing {step.name} failed: {type(raised).__name__}: {raised!s:.200}")
            return "failed"
        else:
            return "completed"
    error.add_note(f"undoing {step.name} took longer than {step.timeout} s")
    return "timed_out"


async def undo_all(
    steps: Iterable[Undo], error: ActionError, limiter: trio.CapacityLimiter, unresponsive: Callable[[], None]
) -> Compensated | None:
    """Undoes steps one after another; gives the worst outcome, None if there was nothing to undo."""
    outcome: Compensated | None = None
    for step in steps:
        outcome = worse(outcome, await undo(step, error, limiter, unresponsive))
    return outcome
