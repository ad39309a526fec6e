"""Waiting for states of several agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ..agents import Agent
from ._delivery import Answer
from ._server import Waiter

if TYPE_CHECKING:
    from ._ref import AgentRef

__all__ = ["wait_all", "wait_any"]

A = TypeVar("A", bound=Agent)


async def wait_all(refs: Iterable[AgentRef[A]], predicate: Callable[[A], object]) -> dict[AgentRef[A], A]:
    """Waits until each of some agents has had a state that fulfils a predicate.

    Args:
        refs: the agents.
        predicate: of one state.

    Returns:
        The first such state of each.

    Raises:
        AgentStopped: one of them has ended.
        AgentNotFound: one of them never was.
    """
    states: dict[AgentRef[A], A] = {}
    with_waiters = _Waiters(tuple(refs), predicate)
    with with_waiters:
        for ref in with_waiters.refs:
            answer = with_waiters.answers[ref]
            states[ref] = await answer.wait()
    return states


async def wait_any(refs: Iterable[AgentRef[A]], predicate: Callable[[A], object]) -> tuple[AgentRef[A], A]:
    """Waits until one of some agents has a state that fulfils a predicate.

    An agent that ends spoils nothing as long as another is left.

    Args:
        refs: the agents.
        predicate: of one state.

    Returns:
        The agent, and the state.

    Raises:
        AgentStopped: all have ended; it is about the last.
        ValueError: there are none.
    """
    first = Answer()
    all_refs = tuple(refs)
    if not all_refs:
        raise ValueError("wait_any() needs at least one agent")
    left = len(all_refs)

    def heard(ref: AgentRef[A], state: Any, error: BaseException | None) -> None:
        nonlocal left
        if error is None:
            first.give((ref, state))
        else:
            left -= 1
            if left == 0:
                first.fail(error)

    with _Waiters(all_refs, predicate, heard):
        found: tuple[AgentRef[A], A] = await first.wait()
    return found


class _Waiters:
    """A waiter at each of some agents, for the length of a block."""

    def __init__(self, refs: tuple[Any, ...], predicate: Callable[[Any], object], heard: Any = None) -> None:
        self.refs = refs
        self.answers: dict[Any, Answer] = {}
        self._predicate = predicate
        self._heard = heard
        self._added: list[tuple[Any, Waiter]] = []

    def __enter__(self) -> None:
        for ref in self.refs:
            answer = self.answers[ref] = Answer()

            def notify(state: Any, error: BaseException | None, ref: Any = ref, answer: Answer = answer) -> None:
                if self._heard is not None:
                    self._heard(ref, state, error)
                elif error is None:
                    answer.give(state)
                else:
                    answer.fail(error)

            waiter = Waiter(self._predicate, notify)
            try:
                server = ref._server()
                state = ref.state()
                fulfilled = self._predicate(state)
            except Exception as error:
                notify(None, error)
                continue
            if fulfilled:
                notify(state, None)
            else:
                server.add_waiter(waiter)
                self._added.append((server, waiter))

    def __exit__(self, *_: object) -> None:
        for server, waiter in self._added:
            server.remove_waiter(waiter)
