"""Waiting for states of several agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import trio

from ..agents import Agent, AgentNotFound, AgentStopped
from ..errors import InvalidArgument, check_iterable
from ._delivery import Answer
from ._ref import AgentRef
from ._sending import check_predicate
from ._server import AgentServer, Waiter

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
        AgentStopped: one of them has ended, or ends before it has had such a state.
        AgentNotFound: one of them never was.
        TooManyWaiters: 10 000 wait for one of them already.
        InvalidArgument: something else is among them, or `predicate` is no plain function.
        Exception: what the predicate raises.
    """
    all_refs = _checked("wait_all()", refs, predicate)
    states: dict[AgentRef[A], A] = {}
    outcome = Answer()

    def heard(ref: AgentRef[A], state: Any, error: BaseException | None) -> None:
        if error is not None:
            outcome.fail(error)
        else:
            states[ref] = state
            if len(states) == len(all_refs):
                outcome.give(None)

    if all_refs:
        await _heard_of(all_refs, predicate, heard, outcome)
    else:
        await trio.lowlevel.checkpoint()
    return {ref: states[ref] for ref in all_refs}


async def wait_any(refs: Iterable[AgentRef[A]], predicate: Callable[[A], object]) -> tuple[AgentRef[A], A]:
    """Waits until one of some agents has a state that fulfils a predicate.

    An agent that ends spoils nothing as long as another is left.

    Args:
        refs: the agents.
        predicate: of one state.

    Returns:
        The agent, and the state.

    Raises:
        AgentStopped, AgentNotFound: all have ended, or never were; it is about the last.
        TooManyWaiters: 10 000 wait for one of them already.
        InvalidArgument: there are none, or something else is among them; or `predicate` is no plain function.
        Exception: what the predicate raises.
    """
    all_refs = _checked("wait_any()", refs, predicate)
    if not all_refs:
        raise InvalidArgument("wait_any()", "refs", "at least one agent", all_refs)
    left = len(all_refs)
    outcome = Answer()

    def heard(ref: AgentRef[A], state: Any, error: BaseException | None) -> None:
        nonlocal left
        if error is None:
            outcome.give((ref, state))
            return
        left -= 1
        if left == 0 or not isinstance(error, AgentStopped | AgentNotFound):
            outcome.fail(error)

    found: tuple[AgentRef[A], A] = await _heard_of(all_refs, predicate, heard, outcome)
    return found


def _checked(owner: str, refs: Iterable[AgentRef[A]], predicate: object) -> tuple[AgentRef[A], ...]:
    given = check_iterable(owner, "refs", refs, "refs")
    for ref in given:
        if not isinstance(ref, AgentRef):
            raise InvalidArgument(owner, "refs", "refs of agents", ref)
    check_predicate(owner, predicate)
    return tuple(dict.fromkeys(given))


async def _heard_of(
    refs: tuple[AgentRef[A], ...],
    predicate: Callable[[A], object],
    heard: Callable[[AgentRef[A], Any, BaseException | None], None],
    outcome: Answer,
) -> Any:
    """Waits at each of some agents, until it is decided what comes of that.

    Args:
        refs: the agents.
        predicate: of one state.
        heard: told once of each: the state that fulfils the predicate, or why there is none.
        outcome: given by `heard`.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    added: list[tuple[AgentServer, Waiter]] = []
    try:
        for ref in refs:
            if outcome.given:
                break
            try:
                server = await ref._server_to_watch()
                if predicate(ref.state()):
                    heard(ref, server.agent, None)
                    continue
                waiter = Waiter(predicate, partial(heard, ref))
                server.add_waiter(waiter)
            except Exception as error:
                heard(ref, None, error)
            else:
                added.append((server, waiter))
        if outcome.given:
            await trio.lowlevel.cancel_shielded_checkpoint()
        return await outcome.wait()
    finally:
        for server, waiter in added:
            server.remove_waiter(waiter)
