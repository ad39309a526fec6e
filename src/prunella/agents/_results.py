"""What a handler returns, brought into one form: the agent after it, and a tuple of directives."""

from __future__ import annotations

import inspect
from typing import Any

from ._directive import Directive
from ._errors import InvalidResult
from ._family import Stop

__all__ = ["settled"]


def settled(agent: Any, result: Any, title: str) -> tuple[Any, tuple[Directive, ...]]:
    """The agent after a handler, and its directives.

    Results are: `None`, an agent of the same class, a directive, or a tuple or list of these in which an agent is
    the first item and a `Stop` the last. `None` items are skipped.

    Args:
        agent: the agent before it.
        result: what came.
        title: whose result it is, for messages: `Support.opened`.

    Raises:
        InvalidResult: it is none of these.
    """
    if result is None:
        return agent, ()
    cls = agent.__class__
    if result.__class__ is cls:
        return result, ()
    if isinstance(result, Directive):
        return agent, (result,)
    if not isinstance(result, (tuple, list)):
        raise InvalidResult(title, f"returned {_described(result, cls)}")
    directives: list[Directive] = []
    stopped = False
    first = True
    for item in result:
        if item is None:
            continue
        if isinstance(item, Directive):
            if stopped:
                raise InvalidResult(title, f"returned a directive ({type(item).__name__}) after a Stop")
            directives.append(item)
            stopped = item.__class__ is Stop
        elif item.__class__ is cls:
            if not first:
                raise InvalidResult(title, "returned an agent that is not the first item of the result")
            agent = item
        else:
            raise InvalidResult(title, f"returned {_described(item, cls)} in its result")
        first = False
    return agent, tuple(directives)


def _described(value: Any, cls: type) -> str:
    if inspect.iscoroutine(value):
        value.close()  # else Python complains of it later, and elsewhere
    name = type(value).__name__
    if hasattr(type(value), "_prunella_definition"):
        return f"an agent of another class ({name} instead of {cls.__name__})"
    return f"a value of type {name}, which is no agent and no directive"
