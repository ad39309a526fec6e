"""The mailbox: bounded, and stopped and suspended past what waits in it."""

from __future__ import annotations

import math

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, settle

from prunella.agents import AgentStopped, MailboxFull
from prunella.runtime import AgentSpec, SignalDropped, open_runtime
from prunella.supervision import InvalidSpec, Shutdown


async def test_it_holds_as_many_as_the_spec_says() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=3)) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(3):
            ref.cast_nowait("note", value=number)
        assert ref.status().mailbox == 3
        with pytest.raises(MailboxFull, match="full with 3 signals"):
            ref.cast_nowait("note", value=3)
        await settle()
        ref.cast_nowait("note", value=4)
        await settle()
        assert ref.state().log == (0, 1, 2, 4)


async def test_it_may_be_without_a_bound() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=math.inf)) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for number in range(5000):
            ref.cast_nowait("note", value=number)
        assert ref.status().mailbox == 5000
        await ref.stop()


@pytest.mark.parametrize("mailbox", [0, -1, 1.5, "many", True, None])
def test_a_bound_that_is_none_is_refused(mailbox: object) -> None:
    with pytest.raises(InvalidSpec):
        AgentSpec(Puppet, "p", mailbox=mailbox)  # type: ignore[arg-type]


async def test_those_who_wait_for_room_get_it_in_their_order() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=1)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("note", value=0)
        for number in range(1, 6):
            Task(nursery, ref.cast, "note", value=number)
            await settle()
        await ref.resume()
        await settle()
        assert ref.state().log == tuple(range(6))


async def test_an_agent_with_a_full_mailbox_can_be_stopped(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=2), telemetry=[heard]) as runtime:
        async with trio.open_nursery() as nursery:
            ref = runtime.ref("p", Puppet)
            await ref.suspend()
            caller = Task(nursery, ref.call, "note", value=0)
            await settle()
            await ref.cast("note", value=1)
            waiting = [Task(nursery, verb, "note", value=2) for verb in (ref.cast, ref.call, ref.ask)]
            await settle()
            assert all(task.is_waiting for task in waiting)
            await ref.stop("enough")
            await settle()
            for task in (caller, *waiting):
                assert isinstance(task.error, AgentStopped)
                assert task.error.reason == Shutdown("enough")
        assert len(heard.of(SignalDropped)) == 1, "the cast that was accepted"


async def test_stopping_is_quick_whatever_waits() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        for _ in range(1000):
            ref.cast_nowait("note", value=1)
        await ref.stop()
        assert trio.current_time() < 1
        assert runtime.whereis("p") is None


async def test_suspending_comes_before_what_waits() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("note", value=1)
        await ref.suspend()
        await settle()
        assert (ref.state().log, ref.status().mailbox, ref.status().state) == ((), 1, "suspended")


async def test_signals_without_room_are_not_lost_over_a_crash() -> None:
    """Whoever waits for room goes on waiting over a restart."""
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=1)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("boom")
        late = [Task(nursery, ref.cast, "note", value=number) for number in (1,)]
        await settle()
        assert late[0].is_waiting
        await ref.resume()
        await settle()
        assert ref.status().restarts == 1
        assert ref.state().log == (1,)
