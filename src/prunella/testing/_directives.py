"""Assertions about the directives that a turn returned. Pure: they need neither Trio nor pytest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeVar

from ..agents import Directive, Emit, Reply, Run

__all__ = ["assert_emits", "assert_replies", "assert_runs", "only"]

D = TypeVar("D", bound=Directive)


class _Anything:
    """The default of what a test need not say; `None` is a value that it may expect."""

    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final = _Anything()


def only(directives: Iterable[Directive], kind: type[D]) -> D:
    """The only directive of its kind; directives of other kinds may stand beside it.

    Args:
        directives: what `cmd` returned.
        kind: the class of the directive.

    Raises:
        AssertionError: there is none, or more than one; it shows what there is.
    """
    __tracebackhide__ = True
    directives = tuple(directives)
    found = [directive for directive in directives if isinstance(directive, kind)]
    if len(found) != 1:
        raise AssertionError(f"expected exactly one {kind.__name__}, got {len(found)} among {_listed(directives)}")
    return found[0]


def assert_emits(
    directives: Iterable[Directive],
    type: str,
    data: Any = ANYTHING,
    *,
    to: Any = ANYTHING,
    subject: str | _Anything | None = ANYTHING,
) -> Emit:
    """Asserts that a signal is emitted; others may be too.

    Args:
        directives: what `cmd` returned.
        type: the type of the signal.
        data: all of its data; left out, it may have any.
        to: its target, `None` for a published one; left out, it may have any.
        subject: what it is about; left out, that may be anything.

    Returns:
        The first such `Emit`.

    Raises:
        AssertionError: there is none; it shows what there is.
    """
    __tracebackhide__ = True
    directives = tuple(directives)
    for directive in directives:
        if (
            isinstance(directive, Emit)
            and directive.type == type
            and _fits(data, directive.data)
            and _fits(to, directive.to)
            and _fits(subject, directive.subject if directive.signal is None else directive.signal.subject)
        ):
            return directive
    wanted = _described(f"an Emit of {type!r}", data=data, to=to, subject=subject)
    raise AssertionError(f"expected {wanted}, got {_listed(directives)}")


def assert_runs(
    directives: Iterable[Directive], action: Callable[..., Any], params: Mapping[str, Any] | _Anything = ANYTHING
) -> Run:
    """Asserts that an action is run; others may be too.

    Args:
        directives: what `cmd` returned.
        action: the function.
        params: all of its arguments; left out, it may have any.

    Returns:
        The first such `Run`; its `then`, `catch`, `carry` and so on are there to be looked at.

    Raises:
        AssertionError: there is none; it shows what there is.
    """
    __tracebackhide__ = True
    directives = tuple(directives)
    for directive in directives:
        # A bound method is equal to another look at it, never the same object.
        if isinstance(directive, Run) and directive.action == action and _fits(params, directive.params):
            return directive
    wanted = _described(f"a Run of {getattr(action, '__qualname__', action)}", params=params)
    raise AssertionError(f"expected {wanted}, got {_listed(directives)}")


def assert_replies(directives: Iterable[Directive], value: Any) -> Reply:
    """Asserts that there is exactly one reply, and which.

    Args:
        directives: what `cmd` returned.
        value: what is replied.

    Returns:
        The `Reply`.

    Raises:
        AssertionError: there is none, more than one, or another.
    """
    __tracebackhide__ = True
    directives = tuple(directives)
    reply = only(directives, Reply)
    if reply.value != value:
        raise AssertionError(f"expected a reply of {value!r}, got {_listed(directives)}")
    return reply


def _fits(wanted: Any, value: Any) -> bool:
    return wanted is ANYTHING or bool(wanted == value)


def _described(what: str, **wanted: Any) -> str:
    said = [f"{name} {value!r}" for name, value in wanted.items() if value is not ANYTHING]
    return f"{what} with {', '.join(said)}" if said else what


def _listed(directives: tuple[Directive, ...]) -> str:
    if not directives:
        return "no directives"
    return "these directives:" + "".join(f"\n  {directive!r}" for directive in directives)
