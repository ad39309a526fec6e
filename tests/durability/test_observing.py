"""What can be seen of durable agents from outside: states, statuses, events."""

from __future__ import annotations

import pytest
import trio
from tests.durability.agents import (
    Heard,
    Puppet,
    Task,
    World,
    copied,
    doing,
    emit,
    forgiving,
    puppets,
    quiet,
)

from prunella.agents import AgentCrashed, AgentStopped
from prunella.runtime import (
    AgentEnded,
    AgentRestarted,
    AgentSpec,
    AgentStarted,
    OutboxMeasured,
    Overflow,
    SignalPoisoned,
    TurnEvent,
    max_errors,
    open_runtime,
    wait_all,
    wait_any,
)
from prunella.runtime import emit as emit_errors
from prunella.runtime._outbox import OutboxWatch
from prunella.signals import Signal
from prunella.storage import MemoryStorage, Outbox
from prunella.supervision import Shutdown, Supervisor
from prunella.testing.storage import Fault, FaultyStorage

# R23: wait_for sees every committed state.


async def test_every_committed_state_is_seen_also_of_turns_in_one_write() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            waiting = [Task(nursery, ref.wait_for, lambda state, n=number: len(state.log) == n) for number in range(40)]
            await trio.sleep(1)
            for number in range(40):
                nursery.start_soon(ref.cast, "note", {"value": str(number)})
        assert [len(task.value.log) for task in waiting] == list(range(40))


async def test_no_state_is_seen_that_is_not_written() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        storage.faults.append(Fault("append", "full_disk"))
        async with trio.open_nursery() as nursery:
            waiting = Task(nursery, ref.wait_for, lambda state: "lost" in state.log)
            with pytest.raises(Exception, match="full"):
                await ref.call("note", value="lost")
            await ref.call("note", value="a")
            await trio.sleep(1)
            assert waiting.is_waiting
            waiting.scope.cancel()


async def test_waiting_goes_through_restarts_and_ends_with_the_agent() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            good = Task(nursery, ref.wait_for, lambda state: "a" in state.log)
            never = Task(nursery, ref.wait_for, lambda state: "never" in state.log)
            await trio.sleep(1)
            with pytest.raises(AgentCrashed):
                await ref.call("boom")
            await ref.call("note", value="a")
            await ref.stop()
        assert good.error is None
        assert isinstance(never.error, AgentStopped)


async def test_waiting_for_several() -> None:
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage()) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        async with trio.open_nursery() as nursery:
            everyone = Task(nursery, wait_all, [p, q], lambda state: "a" in state.log)
            anyone = Task(nursery, wait_any, [p, q], lambda state: "a" in state.log)
            await trio.sleep(1)
            await q.call("note", value="a")
            await trio.sleep(1)
            assert not anyone.is_waiting
            assert everyone.is_waiting
            await p.call("note", value="a")
        assert anyone.value[0] == q
        assert set(everyone.value) == {p, q}


# R24: addresses.


async def test_refs_are_equal_by_address_over_runtimes() -> None:
    async with MemoryStorage() as storage:
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
            before = runtime.ref("p", Puppet)
        async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
            assert runtime.ref("p", Puppet) == before
        async with open_runtime(Supervisor(puppets("p")), storage=storage, name="other") as runtime:
            assert runtime.ref("p", Puppet) != before


# R29: suspension.


async def test_a_suspension_outlives_crashes_and_not_the_runtime(outside: World) -> None:
    outside.seconds = 5
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("pay", amount=1)
        await ref.suspend()
        await trio.sleep(20)
        assert outside.done == [1]
        assert ref.status().state == "suspended"
        assert ref.state().log == ("pay 1",)
        await ref.cast("note", value="a")
        killed = copied(storage)
    for kept in (storage, killed):
        async with open_runtime(Supervisor(puppets("p")), storage=kept) as runtime:
            ref = runtime.ref("p", Puppet)
            await quiet(ref)
            assert ref.state().log == ("pay 1", "paid 1", "a")


# Events.


async def test_a_life_is_seen(heard: Heard) -> None:
    storage = MemoryStorage()
    for _ in range(2):
        heard.clear()
        async with open_runtime(Supervisor(puppets("p")), storage=storage, telemetry=[heard]) as runtime:
            ref = runtime.ref("p", Puppet)
            with pytest.raises(AgentCrashed):
                await ref.call("boom")
            await quiet(ref)
        assert [event.agent for event in heard.of(AgentStarted)] == ["p"]
        assert [event.restarts for event in heard.of(AgentRestarted)] == [1]
        assert len(heard.of(AgentEnded)) == 1
        assert len(heard.of(SignalPoisoned)) == 1


async def test_a_turn_that_is_handled_twice_because_of_a_kill_is_one_event_in_each_process(heard: Heard) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage, telemetry=[heard]) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await p.call(doing(emit("q", "x")))
        killed = copied(storage)
        await quiet(p, q)
    assert len([event for event in heard.of(TurnEvent) if event.agent == "q"]) == 1
    heard.clear()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=killed, telemetry=[heard]) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await quiet(p, q)
        assert q.state().log == ("x",)
    assert len([event for event in heard.of(TurnEvent) if event.agent == "q"]) == 1


async def test_events_carry_no_payload(heard: Heard) -> None:
    async with open_runtime(
        Supervisor(puppets("p", error_policy="log")), storage=MemoryStorage(), telemetry=[heard]
    ) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="secret-1")
        await ref.cast(Signal("number", {"number": "secret-2"}))
        await ref.call(doing(emit("nobody", "secret-3")))
        await quiet(ref)
    assert "secret" not in repr(list(heard))


# The outbox.


async def test_the_outbox_is_measured_once_a_minute(outside: World, heard: Heard) -> None:
    outside.seconds = 100
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage(), telemetry=[heard]) as runtime:
        await trio.sleep(65)
        await runtime.ref("p", Puppet).call("pay", amount=1)
        await trio.sleep(180)
    assert [event.count for event in heard.of(OutboxMeasured)] == [0, 1, 0, 0]
    assert [event.age for event in heard.of(OutboxMeasured)] == [0, pytest.approx(55, abs=1), 0, 0]


async def test_an_outbox_that_grows_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    tree = Supervisor([AgentSpec(Puppet, "p", effects=10_000), AgentSpec(Puppet, "q", mailbox=1)])
    async with open_runtime(tree, storage=MemoryStorage()) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await q.suspend()
        await p.call(doing(*[emit("q", "x")] * 900))
        await trio.sleep(130)
        assert "not done" not in caplog.text
        await p.call(doing(*[emit("q", "x")] * 300))
        await trio.sleep(130)
        assert caplog.text.count("directives are decided and not done") == 1


def test_a_growing_outbox_is_warned_of_each_time_it_doubles() -> None:
    watch = OutboxWatch()
    counts = [0, 999, 1000, 1500, 2000, 2100, 4100, 3000, 999, 1200]
    warned = [count for count in counts if watch.wants_warning(Outbox(count, None))]
    assert warned == [1000, 2000, 4100, 1200]


# R11: error policies.


async def test_so_many_errors_of_a_life_end_it() -> None:
    async with open_runtime(Supervisor(puppets("p", error_policy=max_errors(2))), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("refuse")
        await ref.cast("note", value="a")
        await quiet(ref)
        assert ref.state().log == ("a",)
        await ref.cast("refuse")
        assert isinstance(await ref.wait_stopped(), Shutdown)


async def test_errors_are_emitted() -> None:
    tree = Supervisor(puppets("p", error_policy=emit_errors("went.wrong")))
    async with open_runtime(tree, storage=MemoryStorage()) as runtime:
        async with runtime.subscribe("went.wrong") as stream:
            await runtime.ref("p", Puppet).cast("refuse")
            signal = await stream.receive()
            assert signal.data["agent"] == "p"
            assert signal.data["error"]["type"] == "Rejected"
            assert signal.data["signal_type"] == "refuse"


async def test_a_policy_that_changes_the_state_comes_before_the_next_turn() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", error_policy=forgiving)), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for number in range(10):
            await ref.cast("note", value=str(number))
            await ref.cast("refuse")
        await ref.resume()
        await quiet(ref)
        expected = tuple(entry for number in range(10) for entry in (str(number), "policy Rejected"))
        assert ref.state().log == expected
        killed = copied(storage)
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        assert runtime.ref("p", Puppet).state().log == expected


# R28: bounds.


async def test_an_outbox_that_overflows_refuses_the_turn_that_would_exceed_it() -> None:
    tree = Supervisor([AgentSpec(Puppet, "p", effects=5), AgentSpec(Puppet, "q", mailbox=1)])
    async with open_runtime(tree, storage=MemoryStorage()) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await q.suspend()
        with pytest.raises(Overflow):
            await p.call(doing(*[emit("q", "x")] * 60))
        assert p.state().log == ()
        await p.call(doing(*[emit("q", "x")] * 10, note="a"))
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await p.call("note", value="b")
        await q.resume()
        await quiet(p, q)
        assert len(q.state().log) == 10
        assert (await p.call("note", value="c")).log == ("a", "c")


async def test_a_cycle_of_agents_does_not_come_to_a_standstill() -> None:
    tree = Supervisor(puppets("p", "q", mailbox=2, effects=3))
    async with open_runtime(tree, storage=MemoryStorage()) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        with trio.fail_after(60):
            for number in range(30):
                await p.call(doing(emit("q", str(number)), emit("p", str(number))))
                await q.call(doing(emit("p", str(number)), emit("q", str(number))))
        await quiet(p, q)
        assert len(p.state().log) == len(q.state().log) == 60
