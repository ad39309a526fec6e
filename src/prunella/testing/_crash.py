"""Crashing an agent on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..errors import InvalidArgument
from ..runtime import AgentEnded, AgentRestarted, AgentStarted, AgentStatus
from ..runtime._delivery import Delivery
from ..runtime._server import REFUSALS
from ..telemetry import Event

if TYPE_CHECKING:
    from ..runtime import AgentRef
    from ..runtime._server import AgentServer

__all__ = ["InducedCrash", "crash"]


class InducedCrash(Exception):
    """What `crash` lets an agent crash with unless it is told otherwise."""

    def __str__(self) -> str:
        return "crashed on purpose, by a test"


async def crash(agent: AgentRef[Any], *, error: Exception | type[Exception] = InducedCrash) -> AgentStatus:
    """Crashes an agent, as an error in one of its handlers would, and waits until its supervisor has dealt with that.

    Signals that wait are not lost; the crash comes before them. An agent that is between two lives is crashed when
    it is back. If it is never restarted because its whole tree gives up, the block of the runtime is cancelled.

    Args:
        agent: its ref.
        error: what it crashes with; an error or a class of errors, as after `raise`.

    Returns:
        How it stands afterwards: it runs again, with one restart more, or has ended for good.

    Raises:
        AgentNotFound, AgentStopped: there never was such an agent, or it has ended.
        Hibernated: it is not in memory.
        InvalidArgument: the error is none, or one that is no crash, such as `Rejected`.
    """
    made = error() if isinstance(error, type) and issubclass(error, Exception) else error
    if not isinstance(made, Exception) or isinstance(made, REFUSALS):
        raise InvalidArgument("crash()", "error", "an error that is a crash", error)
    runtime = agent._runtime
    about = str(agent.address)
    news = trio.Event()

    def listen(event: Event) -> None:
        if isinstance(event, AgentStarted | AgentRestarted | AgentEnded) and event.agent == about:
            news.set()

    await trio.lowlevel.checkpoint_if_cancelled()
    with runtime.telemetry.subscribe(listen):
        server = agent._server()
        while server.life is None or server.life.is_ending:
            await news.wait()
            news = trio.Event()
            server = agent._server()
        _crash_now(server, made)
        await news.wait()
    return agent.status()


def _crash_now(server: AgentServer, error: Exception) -> None:
    """Does what the server does when a turn has crashed."""
    signal = server.runtime.signals.new("prunella.crash", {})
    reports = server.runtime.reports
    span = reports.turn_begins(server)
    try:
        raise error
    except Exception:  # raised here, so that it has a traceback to be reported
        reports.turn_ended(server, signal, span, "crashed", error)
        server._crashed(Delivery(signal), error)
