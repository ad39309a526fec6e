"""What runs agents stands on: one turn, and what a class is. Below `Agent.cmd`; for the library's own packages.

`take_turn` decides one signal, and nothing else: it reads no clock, logs nothing, asks no policy. `definition_of`
gives what was compiled when the class was made. `normalised` brings what a policy function returns into the form of
a turn's result, and `changed_fields` tells what a turn changed. A Context that is made for a turn takes
`visible(signal)`, which lacks the extension `ASK` that a runtime keeps its asks in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ..signals import Signal
from ._context import Context
from ._definition import Conditional, Definition
from ._directive import Directive
from ._equality import same
from ._errors import UnhandledSignal
from ._family import Stop
from ._handlers import Handler
from ._hidden import ASK, visible
from ._results import settled
from ._strict import run_twice
from ._strictness import ENVIRONMENT, STRICT, in_turn

if TYPE_CHECKING:
    from ._agent import Agent

__all__ = ["ASK", "Definition", "changed_fields", "definition_of", "normalised", "take_turn", "visible"]

A = TypeVar("A", bound="Agent")


def definition_of(agent_class: type[Agent]) -> Definition:
    """What a class was compiled to.

    Raises:
        AttributeError: it is no class of agents, or `Agent` itself.
    """
    definition: Definition = agent_class._prunella_definition  # type: ignore[assignment]  # only `Agent` has none
    return definition


def take_turn(
    agent: A, signal: Signal, make_context: Callable[[], Context], strict: bool
) -> tuple[A, tuple[Directive, ...]]:
    """One turn: all handlers of the signal, each on the state that the one before left.

    A turn in which no handler changed anything gives the same object back.

    Args:
        agent: the agent before the turn.
        signal: what it hears.
        make_context: called at most once, and only if a handler asks for the Context; the Context has
            `visible(signal)`.
        strict: whether every handler runs twice and must do the same.

    Returns:
        The agent after it, and the directives in order; a `Stop` is the last.

    Raises:
        Rejected, UnhandledSignal, InvalidSignalData: the signal is refused; nothing of the turn counts.
        Exception: anything else is a crash, `InvalidResult` and `ImpureHandler` included.
    """
    definition: Definition = agent._prunella_definition  # type: ignore[assignment]  # the same
    try:
        entry = definition.found[signal.type]
    except KeyError:
        entry = definition.look_up(signal.type)
    if strict or STRICT in ENVIRONMENT:
        return _said(agent, entry, signal, make_context, strict=strict)
    if entry.__class__ is Handler:
        result = entry.call(agent, signal, make_context)
        if result.__class__ is agent.__class__:  # what comes most often, without a call
            return result, ()
        if result is None:
            return agent, ()
        return settled(agent, result, entry.title)
    return _joined(agent, entry, signal, make_context, strict=False)


def _said(
    agent: A,
    entry: Handler | tuple[Handler, ...] | Conditional,
    signal: Signal,
    make_context: Callable[[], Context],
    *,
    strict: bool,
) -> tuple[A, tuple[Directive, ...]]:
    """A turn for which it matters what `set` hears about strict mode."""
    token = in_turn.set(strict)
    try:
        return _joined(agent, entry, signal, make_context, strict=strict)
    finally:
        in_turn.reset(token)


def _joined(
    agent: A,
    entry: Handler | tuple[Handler, ...] | Conditional,
    signal: Signal,
    make_context: Callable[[], Context],
    *,
    strict: bool,
) -> tuple[A, tuple[Directive, ...]]:
    handlers = _handlers(entry, signal)
    if not handlers:
        if signal.type.startswith("prunella."):
            return agent, ()
        raise UnhandledSignal(_title(agent), signal.type)
    the_context = make_context if len(handlers) == 1 else _once(make_context)
    joined: list[Directive] = []
    for handler in handlers:
        if strict:
            agent, directives = run_twice(handler, agent, signal, the_context)
        else:
            agent, directives = settled(agent, handler.call(agent, signal, the_context), handler.title)
        joined += directives
    if len(handlers) > 1:
        # One handler's Stop must not keep the runtime from what a later one asked for.
        joined.sort(key=lambda directive: directive.__class__ is Stop)
    return agent, tuple(joined)


def _handlers(entry: Handler | tuple[Handler, ...] | Conditional, signal: Signal) -> tuple[Handler, ...]:
    if isinstance(entry, Handler):
        return (entry,)
    return entry.handlers(visible(signal)) if isinstance(entry, Conditional) else entry


def _once(make_context: Callable[[], Context]) -> Callable[[], Context]:
    made: list[Context] = []

    def the_context() -> Context:
        if not made:
            made.append(make_context())
        return made[0]

    return the_context


def _title(agent: Agent) -> str:
    return agent.__class__.__qualname__


def normalised(agent: A, result: Any, *, title: str) -> tuple[A, tuple[Directive, ...]]:
    """What a function returned that has the results of a handler, as agent and directives.

    Args:
        agent: the agent that it was given.
        result: what it returned.
        title: the function's name, for messages.

    Raises:
        InvalidResult: it is no result of a handler.
    """
    after, directives = settled(agent, result, title)
    return after, directives


def changed_fields(before: Agent, after: Agent) -> dict[str, Any]:
    """The fields that differ, with the values that they have after."""
    if before is after:
        return {}
    old = before.__dict__
    return {name: value for name, value in after.__dict__.items() if not same(old[name], value)}
