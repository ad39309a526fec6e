"""Ctrl-C and `SystemExit` in a turn or in an effect: the runtime stops in order, and they are raised bare."""

from __future__ import annotations

import signal
from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, settle

from prunella.agents import AgentStopped, Run
from prunella.runtime import AgentEnded, AgentSpec, open_runtime
from prunella.supervision import ChildExited
from prunella.telemetry import ErrorInfo

kinds = pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])


def raising(kind: type[BaseException]) -> Any:
    def handler(self: Puppet) -> Any:
        raise kind

    return handler


@kinds
async def test_in_a_turn_of_the_callers_task(kind: type[BaseException], heard: Heard) -> None:
    with pytest.raises(kind):
        async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
            ref = runtime.ref("p", Puppet)
            await ref.call("note", value=1)
            await ref.call("do", it=raising(kind))
    assert [event.reason for event in heard.of(AgentEnded)] == ["shutdown"]


@kinds
async def test_in_a_turn_that_had_to_wait(kind: type[BaseException], heard: Heard) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(kind):
            async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
                ref = runtime.ref("p", Puppet)
                await ref.suspend()
                callers = [Task(nursery, ref.call, "do", it=raising(kind))]
                await settle()
                callers.append(Task(nursery, ref.call, "note"))
                await settle()
                await ref.resume()
                await trio.sleep_forever()
        await settle()
        assert [type(caller.error) for caller in callers] == [AgentStopped, AgentStopped]
    assert [event.reason for event in heard.of(AgentEnded)] == ["shutdown"]
    (exited,) = [event for event in heard.of(ChildExited) if event.child == "prunella/scheduler"]
    assert exited.error == ErrorInfo(kind.__name__, "in a turn of agent p, on signal do")


@kinds
async def test_in_an_effect(kind: type[BaseException], heard: Heard) -> None:
    async def work() -> None:
        await trio.sleep(1)
        raise kind

    async with trio.open_nursery() as nursery:
        with pytest.raises(kind):
            async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
                asker = Task(nursery, runtime.ref("p").ask, "do", it=Run(work, then="answered"))
                await trio.sleep_forever()
        await settle()
        assert isinstance(asker.error, AgentStopped)
    assert [event.reason for event in heard.of(AgentEnded)] == ["shutdown"]


async def test_a_real_one_reaches_a_handler_that_does_not_come_back() -> None:
    """A handler with an endless loop can be interrupted; nothing of the turn is committed."""
    committed: list[Any] = []

    def endless(self: Puppet) -> Any:
        signal.raise_signal(signal.SIGINT)
        while True:
            pass

    with pytest.raises(KeyboardInterrupt):
        async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
            ref = runtime.ref("p", Puppet)
            try:
                await ref.call("do", it=endless)
            finally:
                committed.append(ref.state().log)
    assert committed == [()]
