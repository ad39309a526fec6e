"""Strict mode: each handler runs twice, on the same state, signal and context, and must do the same."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import attrs

from ..signals import Signal
from ._context import Context, chance_of, rewind
from ._directive import Directive
from ._equality import same
from ._errors import ImpureHandler
from ._handlers import Handler
from ._results import settled

__all__ = ["run_twice"]


def run_twice(
    handler: Handler, agent: Any, signal: Signal, make_context: Callable[[], Context]
) -> tuple[Any, tuple[Directive, ...]]:
    """The agent after a handler, and its directives.

    Raises:
        ImpureHandler: two runs differ, or something that was handed in was changed.
        Exception: what the handler raises, if it does so twice.
    """
    data, state = _Copy(signal.data), _Copy(agent.__dict__)
    context = make_context() if handler.takes_context else None
    chance = None if context is None else chance_of(context)

    def the_context() -> Context:
        assert context is not None
        return context

    first = _run(handler, agent, signal, the_context)
    if context is not None:
        rewind(context, chance)
    second = _run(handler, agent, signal, the_context)
    _check_unchanged(handler, data, state, signal, agent)
    _compare(handler, first, second)
    if first.error is not None:
        raise first.error
    return first.agent, first.directives


@attrs.frozen
class _Result:
    agent: Any = None
    directives: tuple[Directive, ...] = ()
    error: Exception | None = None


class _Copy:
    """A copy of a value, to see later whether it has been changed in place.

    Only of what can be copied, and is equal to its copy; of the rest nothing can be told.
    """

    def __init__(self, value: Any) -> None:
        self.copy: Any = None
        self.tells = False
        try:
            self.copy = deepcopy(value)
            self.tells = same(value, self.copy)
        except Exception:
            pass

    def differs(self, value: Any) -> bool:
        return self.tells and not same(value, self.copy)


def _run(handler: Handler, agent: Any, signal: Signal, make_context: Callable[[], Context]) -> _Result:
    try:
        after, directives = settled(agent, handler.call(agent, signal, make_context), handler.title)
    except Exception as error:
        return _Result(error=error)
    return _Result(after, directives)


def _check_unchanged(handler: Handler, data: _Copy, state: _Copy, signal: Signal, agent: Any) -> None:
    if data.differs(signal.data):
        kind = type(data.copy).__name__
        raise ImpureHandler(handler.title, "the signal's data, which it changed,", kind, type(signal.data).__name__)
    if state.differs(agent.__dict__):
        for name, value in agent.__dict__.items():
            if not same(value, state.copy.get(name)):
                before = type(state.copy.get(name)).__name__
                raise ImpureHandler(
                    handler.title, f"field {name!r}, which it changed in place,", before, type(value).__name__
                )


def _compare(handler: Handler, first: _Result, second: _Result) -> None:
    ours, theirs = first.error, second.error
    if ours is not None or theirs is not None:
        if type(ours) is not type(theirs) or str(ours) != str(theirs):
            raise ImpureHandler(handler.title, "what it raises", _kind(ours), _kind(theirs)) from (ours or theirs)
        return
    for name, value in first.agent.__dict__.items():
        other = second.agent.__dict__[name]
        if not same(value, other):
            raise ImpureHandler(handler.title, f"field {name!r}", _kind(value), _kind(other))
    for number, (directive, other) in enumerate(zip(first.directives, second.directives, strict=False), 1):
        if not same(directive, other):
            subject = f"directive {number} ({_kind(directive)}{_differing(directive, other)})"
            raise ImpureHandler(handler.title, subject, _kind(directive), _kind(other))
    if len(first.directives) != len(second.directives):
        counts = [f"{len(directives)} directives" for directives in (first.directives, second.directives)]
        shorter, longer = sorted((first.directives, second.directives), key=len)
        alone = f"directive {len(shorter) + 1} ({_kind(longer[len(shorter)])}), which came of one run only: the number"
        raise ImpureHandler(handler.title, alone, *counts)


def _differing(first: Directive, second: Directive) -> str:
    """The field in which two directives of one class differ, if they have fields that can be looked at."""
    cls: Any = type(first)
    if cls is type(second) and attrs.has(cls):
        for field in attrs.fields(cls):
            if not same(getattr(first, field.name), getattr(second, field.name)):
                return f", field {field.name!r}"
    return ""


def _kind(value: object) -> str:
    return "nothing" if value is None else type(value).__name__
