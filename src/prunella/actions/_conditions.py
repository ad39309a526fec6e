"""Conditions of steps: plain functions, for one that waits would be true whatever it says in the end."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final

from ._action import Action
from ._errors import InvalidPlan

__all__ = ["check_condition", "said"]

_LATER: Final = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)


def check_condition(owner: str, field: str, condition: object, of: str) -> None:
    """Refuses what is no plain function.

    Raises:
        InvalidPlan: it cannot be called, or it would answer later.
    """
    if not callable(condition):
        got = f"a {type(condition).__name__}"
    elif _answers_later(condition):
        got = "one that answers later"
    else:
        return
    raise InvalidPlan(f"{owner}: {field} must be a plain function of {of}, got {got}")


def _answers_later(condition: Callable[..., Any]) -> bool:
    if isinstance(condition, Action):
        condition = condition.function
    call = getattr(condition, "__call__", None)  # noqa: B004 - the attribute is wanted, not whether there is one
    return any(later(one) for later in _LATER for one in (condition, call))


def said(owner: str, field: str, answer: Any) -> Any:
    """What a condition said, if it did say something.

    Raises:
        InvalidPlan: it has only promised to.
    """
    if inspect.isawaitable(answer) or inspect.isasyncgen(answer) or inspect.isgenerator(answer):
        if inspect.iscoroutine(answer):
            answer.close()  # nobody will wait for it, and Python should not complain of that as well
        raise InvalidPlan(f"{owner}: {field} must be a plain function, and it returned a {type(answer).__name__}")
    return answer
