"""What is opened inside the block of a runtime, or by what runs in it, reports to the runtime's listeners."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import final

from ._events import Listener
from ._listeners import Listeners

__all__ = ["Enclosing", "enclosing", "listeners_here"]


@final
class Enclosing:
    """The block of one runtime, for what is opened inside it. A runtime within another's block hides that one.

    Fixtures of tests leave blocks in any order, and a task may outlive the block in which it was begun. So a block that
    has been left is passed over wherever it is still found.

    Args:
        listeners: those of the runtime.
    """

    __slots__ = ("_around", "_listeners")

    def __init__(self, listeners: Listeners) -> None:
        self._listeners: Listeners | None = listeners
        self._around: Enclosing | None = None

    def enter(self) -> None:
        """From now on it is what encloses this task, and those that it begins."""
        self._around = _open_one(_innermost.get())
        _innermost.set(self)

    def leave(self) -> None:
        """It encloses nothing any more."""
        self._listeners = None
        self._around = _open_one(self._around)
        if _innermost.get() is self:
            _innermost.set(self._around)


_innermost: ContextVar[Enclosing | None] = ContextVar("prunella.telemetry", default=None)


def enclosing() -> Listeners | None:
    """The listeners of the runtime whose block this is inside of, if it is inside of one."""
    block = _open_one(_innermost.get())
    return None if block is None else block._listeners


def listeners_here(telemetry: Iterable[Listener] | Listeners) -> Listeners:
    """What reports to the listeners that a caller gives, and to those of the runtime around it.

    Raises:
        InvalidArgument: `telemetry` is no iterable of plain functions of one event.
    """
    if isinstance(telemetry, Listeners):
        return telemetry
    return Listeners(telemetry, outer=enclosing())


def _open_one(block: Enclosing | None) -> Enclosing | None:
    while block is not None and block._listeners is None:
        block = block._around
    return block
