"""Waiting until nothing happens any more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from ..agents import Agent
    from ..runtime import AgentRef, AgentStatus, Runtime

__all__ = ["settle"]


async def settle(runtime: Runtime) -> None:
    """Waits until nothing waits or runs any more in a runtime: no signal, no effect, no restart.

    Of durable agents all is written then. Schedules and cron jobs that are armed do not count, for they are about
    later; nor do signals that wait for a suspended agent, or for one that is quarantined. All other tasks of the
    program are let run, too, until all of them wait.

    Work that never ends is never settled: for that there are `AgentRef.wait_for` and the fixture `signals`.

    Args:
        runtime: the runtime.
    """
    while True:
        await wait_all_tasks_blocked()
        if _is_quiet(runtime):
            return
        # An effect waits for the clock, for a thread or for a connection, or a restart for its delay.
        await _until_another_task_steps()


def _is_quiet(runtime: Runtime) -> bool:
    agents: tuple[AgentRef[Agent], ...] = runtime.agents()
    return all(_rests(agent.status()) and not _is_being_written(runtime, agent) for agent in agents)


def _rests(status: AgentStatus) -> bool:
    if status.effects:
        return False
    return status.state in ("suspended", "quarantined") or (status.state == "running" and not status.mailbox)


def _is_being_written(runtime: Runtime, agent: AgentRef[Agent]) -> bool:
    """Whether a turn of a durable agent is decided, or an effect done, and the storage has not got it yet."""
    server: Any = runtime.find(agent.address)
    return server is not None and server.is_durable and server.quarantine is None and server.ledger.has_unwritten


async def _until_another_task_steps() -> None:
    step = _Step(trio.lowlevel.current_task())
    trio.lowlevel.add_instrument(step)
    try:
        await step.taken.wait()
    finally:
        trio.lowlevel.remove_instrument(step)


class _Step(trio.abc.Instrument):
    """Sees the next step of any other task. No polling: that would drag a jumping clock along in small steps."""

    def __init__(self, waiting: trio.lowlevel.Task) -> None:
        self.taken = trio.Event()
        self._waiting = waiting

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is not self._waiting:
            self.taken.set()
