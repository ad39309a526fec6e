"""What may stand in the place of a parameter of a step: a result, or a parameter of the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import attrs

from ..errors import InvalidArgument

__all__ = ["Param", "ResultOf", "param", "references", "resolved", "result_of"]


@final
@attrs.frozen
class ResultOf:
    """Stands for the result of a step; made by `result_of`."""

    step: str


@final
@attrs.frozen
class Param:
    """Stands for a parameter of the plan; made by `param`."""

    name: str


def result_of(step: str) -> Any:
    """Stands for the result of another step, as a parameter or anywhere inside of one. The step waits for that one.

    Args:
        step: the name of the other step.

    Raises:
        InvalidArgument: it is no text.
    """
    if not isinstance(step, str):
        raise InvalidArgument("result_of", "step", "the name of a step", step)
    return ResultOf(step)


def param(name: str) -> Any:
    """Stands for a parameter of the plan, as a parameter of a step or anywhere inside of one.

    Args:
        name: the name of the parameter.

    Raises:
        InvalidArgument: it is no text.
    """
    if not isinstance(name, str):
        raise InvalidArgument("param", "name", "the name of a parameter", name)
    return Param(name)


def references(value: Any) -> Iterator[ResultOf | Param]:
    """All that stands for something else in a value."""
    if isinstance(value, ResultOf | Param):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from references(item)


def resolved(value: Any, look_up: Callable[[ResultOf | Param], Any]) -> Any:
    """The value with what is meant in the place of what stands for it."""
    if isinstance(value, ResultOf | Param):
        return look_up(value)
    if isinstance(value, Mapping):
        return {key: resolved(item, look_up) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([resolved(item, look_up) for item in value])
    return value
