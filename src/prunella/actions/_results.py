from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar, final

import attrs

from ..errors import InvalidArgument, check_iterable
from ._errors import ActionError
from ._undo import Undo

__all__ = ["Completed", "Failure", "Result", "Success"]

T = TypeVar("T")


@final
@attrs.frozen(init=False)
class Result(Generic[T]):
    """What an action returns that has directives to hand out beside its value.

    Args:
        value: the value; it is validated like any other.
        directives: what a `Run` directive is to execute. Its runtime decides which it can; here they are only carried.

    Raises:
        InvalidArgument: directives is no iterable, or a text.
    """

    value: T
    directives: tuple[Any, ...]

    def __init__(self, value: T, directives: Iterable[Any] = ()) -> None:
        if isinstance(directives, str | bytes):
            raise InvalidArgument("Result", "directives", "an iterable of directives", directives)
        self.__attrs_init__(value, check_iterable("Result", "directives", directives, "directives"))


@final
@attrs.frozen
class Success(Generic[T]):
    """The outcome of a run that did not fail.

    Attributes:
        value: the validated value.
        directives: those that came with it.
        attempts: how many attempts it took.
    """

    value: T
    directives: tuple[Any, ...] = ()
    attempts: int = 1


@final
@attrs.frozen
class Failure:
    """The outcome of a run that failed.

    Attributes:
        error: why.
    """

    error: ActionError


class Completed(NamedTuple):
    """What came of a run that succeeded; a named tuple, for one is made for every run.

    Attributes:
        value: the validated value.
        directives: those that came with it.
        attempts: how many attempts it took.
        undo: how to undo it, what was done last first.
    """

    value: Any
    directives: tuple[Any, ...] = ()
    attempts: int = 1
    undo: tuple[Undo, ...] = ()
