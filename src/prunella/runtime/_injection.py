"""What an action gets without being given it: the runtime, or the ref of its own agent, where its annotations ask."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, final

__all__ = ["Injections"]

_MOST_FUNCTIONS = 1_024
_WANTED = ("Runtime", "AgentRef")


@final
class Injections:
    """Knows the parameters of functions that are annotated with `Runtime` or `AgentRef`."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Any, tuple[tuple[str, str], ...]] = {}

    def of(self, function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
        """The names of such parameters, each with the name of the class that it asks for."""
        try:
            known = self._known.get(function)
        except TypeError:  # it cannot be hashed
            return _wanted(function)
        if known is None:
            if len(self._known) >= _MOST_FUNCTIONS:
                self._known.clear()
            known = self._known[function] = _wanted(function)
        return known


def _wanted(function: Callable[..., Any]) -> tuple[tuple[str, str], ...]:
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return ()
    asked = ((name, _asked_for(parameter.annotation)) for name, parameter in parameters.items())
    return tuple((name, wanted) for name, wanted in asked if wanted is not None)


def _asked_for(annotation: Any) -> str | None:
    from ._ref import AgentRef
    from ._runtime import Runtime

    origin = getattr(annotation, "__origin__", annotation)
    if origin is Runtime:
        return "Runtime"
    if origin is AgentRef:
        return "AgentRef"
    if isinstance(annotation, str):
        # It could not be resolved; what it begins with says enough.
        return next((name for name in _WANTED if annotation == name or annotation.startswith(f"{name}[")), None)
    return None
