"""Functions that undo: what they take, checked when the action is defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, final

import attrs

from ._errors import ActionError, InvalidAction

__all__ = ["Undo", "arguments_of", "check_compensation"]

_ERROR: Final = "error"
_RESULT: Final = "result"


@final
@attrs.frozen(eq=False)
class Undo:
    """A step that is done and can be undone.

    Attributes:
        name: of the step.
        function: its `compensate`.
        values: its parameters.
        result: what it returned.
        timeout: seconds for undoing it.
        in_thread: whether a sync function is called in a thread, as the one was that it undoes.
    """

    name: str
    function: Callable[..., Any]
    values: Mapping[str, Any]
    result: Any
    timeout: float
    in_thread: bool = False


def check_compensation(owner: str, function: Callable[..., Any], parameters: Iterable[str]) -> None:
    """Refuses a function that asks for what it cannot get.

    Raises:
        InvalidAction: it has other parameters than those of the action, `error` and `result`.
    """
    if not callable(function):
        raise InvalidAction(f"{owner}: compensate must be a function, got a {type(function).__name__}")
    known = {*parameters, _ERROR, _RESULT}
    try:
        wanted = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        raise InvalidAction(f"{owner}: the parameters of compensate cannot be found out: {error}") from error
    for parameter in wanted:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise InvalidAction(f"{owner}: compensate is called with keywords, it cannot take {parameter}")
        if parameter.name not in known and parameter.default is inspect.Parameter.empty:
            raise InvalidAction(
                f"{owner}: compensate asks for {parameter.name!r}; it can have the parameters of the action, "
                "error and result"
            )


def arguments_of(
    function: Callable[..., Any], values: Mapping[str, Any], error: ActionError, result: Any
) -> dict[str, Any]:
    """The keywords to call it with: those that it names, of what there is."""
    offered = {**values, _ERROR: error, _RESULT: result}
    parameters = inspect.signature(function).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return offered
    return {name: offered[name] for name in parameters if name in offered}
