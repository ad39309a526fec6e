"""Running actions and tasks of agents. Until there is a package for actions, an action is any function."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..supervision._policies import RestartWindow

if TYPE_CHECKING:
    from ..agents import Run, SpawnTask
    from ._effect import Effect
    from ._server import AgentServer

__all__ = ["Attempts", "perform", "stay"]


class Attempts:
    """How many attempts an action has had."""

    __slots__ = ("made",)

    def __init__(self) -> None:
        self.made = 0


async def perform(server: AgentServer, directive: Run, effect: Effect, attempts: Attempts) -> Exception | None:
    """Runs an action, each attempt under its deadline; its results go to the agent as signals.

    Returns:
        Why it failed, if it did.
    """
    keywords = _keywords(server, directive.action, directive.params)
    most = 1 + (directive.retries or 0)
    while True:
        attempts.made += 1
        try:
            with nullcontext() if directive.timeout is None else _time_limit(directive.timeout):
                value = await _call(server, directive, effect, keywords)
        except Exception as error:
            if attempts.made >= most:
                return error
            await trio.lowlevel.checkpoint()  # It may have failed without one.
        else:
            if directive.then is not None:
                effect.send_back(directive.then, {"result": value, **directive.carry})
            return None


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """As `trio.fail_after`, but says what the limit was."""
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise trio.TooSlowError(f"not done within {seconds:g} s")


async def _call(server: AgentServer, directive: Run, effect: Effect, keywords: dict[str, Any]) -> Any:
    action = directive.action
    if inspect.isasyncgenfunction(action):
        return await _stream(server, directive, effect, action(**keywords))
    if inspect.iscoroutinefunction(action) or inspect.iscoroutinefunction(getattr(action, "__call__", None)):  # noqa: B004
        return await action(**keywords)
    result = await trio.to_thread.run_sync(
        partial(action, **keywords), abandon_on_cancel=True, limiter=server.runtime.thread_limiter
    )
    if inspect.isasyncgen(result):
        return await _stream(server, directive, effect, result)
    if inspect.isawaitable(result):
        return await result
    return result


async def _stream(server: AgentServer, directive: Run, effect: Effect, values: AsyncIterator[Any]) -> int:
    """Turns what an async generator yields into signals; returns how many there were."""
    number = 0
    async with aclosing(values) as open_values:  # type: ignore[type-var]
        async for value in open_values:
            if directive.each is not None:
                effect.send_back(directive.each, {"value": value, "index": number, **directive.carry})
                await server.inner_has_room()
            else:
                await trio.lowlevel.checkpoint()
            number += 1
    return number


async def stay(server: AgentServer, directive: SpawnTask) -> Exception | None:
    """Runs a task of an agent, again and again as its restart type says.

    Returns:
        Why it failed for good, if it did.
    """
    window = RestartWindow(3, 5.0)
    while True:
        error: Exception | None = None
        try:
            await directive.function(**_keywords(server, directive.function, directive.params))
        except Exception as caught:
            error = caught
        again = directive.restart == "permanent" or (directive.restart == "transient" and error is not None)
        if not again or not window.admit(trio.current_time()):
            return error
        if error is not None:
            server.runtime.reports.error(server, error, None)
        await trio.lowlevel.checkpoint()


def _keywords(server: AgentServer, function: Callable[..., Any], params: Any) -> dict[str, Any]:
    """What a function is called with: its parameters, and the runtime or its agent's ref where it asks for one."""
    keywords = dict(params)
    for name, wanted in server.runtime.wanted_by(function):
        keywords[name] = server.runtime if wanted == "Runtime" else server.runtime.ref_to(server)
    return keywords
