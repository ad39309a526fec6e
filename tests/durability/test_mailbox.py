"""A durable mailbox: what was accepted is handled once, whatever happens in between."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.durability.agents import (
    Puppet,
    Task,
    World,
    copied,
    forgiving,
    heard_types,
    past,
    puppets,
    quiet,
    settle,
)
from tests.durability.filmed import filmed

from prunella.agents import (
    AgentCrashed,
    AgentStopped,
    Durable,
    InvalidSignalData,
    MailboxFull,
    Rejected,
    UnhandledSignal,
)
from prunella.runtime import AgentSpec, open_runtime
from prunella.signals import Signal
from prunella.storage import AgentKey, CommitFailed, Duplicate, MemoryStorage, StorageUnavailable
from prunella.supervision import AlreadyStarted, Backoff, Supervisor
from prunella.testing.storage import Fault, FaultyStorage

# `cast` returns after the signal is stored.


async def test_a_cast_returns_when_the_signal_is_stored() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        storage.faults.append(Fault("append", "delay", delay=5.0))
        before = trio.current_time()
        await ref.cast("note", value="a")
        assert trio.current_time() - before >= 5
        killed = copied(storage)
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).state().log == ("a",)


async def test_a_cast_that_could_not_be_stored_is_told() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        storage.faults.append(Fault("append", "full_disk"))
        with pytest.raises(CommitFailed):
            await ref.cast("note", value="a")
        await ref.cast("note", value="b")
        await quiet(ref)
        assert ref.state().log == ("b",)


async def test_waiting_signals_are_handled_in_order_after_a_restart_of_the_process() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for number in range(200):
            await ref.cast("note", value=str(number))
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert ref.state().log == tuple(str(number) for number in range(200))


async def test_more_than_a_thousand_waiting_signals_come_back() -> None:
    storage = MemoryStorage()
    numbers = tuple(str(number) for number in range(2500))
    async with open_runtime(Supervisor(puppets("p", mailbox=5000)), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        async with storage_of(runtime) as kept:
            signals = [Signal("note", {"value": number}) for number in numbers]
            await kept.enqueue(AgentKey("default", None, "p"), *signals, now=runtime.clock.wall_now())
        killed = copied(storage)
    for kept in (storage, killed):
        async with open_runtime(Supervisor(puppets("p", mailbox=5000)), storage=kept) as runtime:
            ref = runtime.ref("p", Puppet)
            await quiet(ref)
            assert ref.state().log == numbers


class storage_of:
    """The storage of a runtime."""

    def __init__(self, runtime: Any) -> None:
        self._storage = runtime.durability.storage

    async def __aenter__(self) -> Any:
        return self._storage

    async def __aexit__(self, *_: object) -> None: ...


async def test_calls_that_wait_end_with_their_process() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        async with trio.open_nursery() as nursery:
            call = Task(nursery, ref.call, "note", value="called")
            await settle()
            killed = copied(storage)
            await ref.stop()
        assert isinstance(call.error, AgentStopped)
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).state().log == ()


async def test_every_accepted_signal_is_counted_once_whenever_the_process_is_killed() -> None:
    storage, copies = filmed()
    accepted: list[tuple[int, str]] = []
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(8):
            await ref.cast("note", value=str(number))
            accepted.append((len(copies), str(number)))
            if number % 3 == 0:
                with pytest.raises(AgentCrashed):
                    await ref.call("boom")
        await quiet(ref)
    assert len(copies) > 10
    for place, killed in enumerate(copies):
        async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
            ref = runtime.ref("p", Puppet)
            await quiet(ref)
            log = ref.state().log
        assert len(set(log)) == len(log)
        assert log == tuple(str(number) for number in range(len(log)))
        # What was accepted before this copy was taken is there; each copy is taken before a change.
        assert [number for when, number in accepted if when <= place] == list(log)[
            : sum(w <= place for w, _ in accepted)
        ]


# Duplicates, D20.


async def test_a_cast_with_an_id_that_was_handled_is_left_out() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for _ in range(3):
            await ref.cast(Signal("note", {"value": "a"}, id="s-1"))
        await quiet(ref)
        await ref.cast(Signal("note", {"value": "a"}, id="s-1"))
        await quiet(ref)
        assert ref.state().log == ("a",)
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast(Signal("note", {"value": "a"}, id="s-1"))
        await quiet(ref)
        assert ref.state().log == ("a",)


async def test_a_cast_with_an_id_that_waits_is_left_out() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for _ in range(3):
            await ref.cast(Signal("note", {"value": "a"}, id="s-1"))
        assert ref.status().mailbox == 1
        await ref.resume()
        await quiet(ref)
        assert ref.state().log == ("a",)


async def test_a_call_with_an_id_that_was_handled_returns_the_present_state() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(Signal("note", {"value": "a"}, id="s-1"))
        await ref.call("note", value="b")
        assert (await ref.call(Signal("note", {"value": "a"}, id="s-1"))).log == ("a", "b")
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        assert (await ref.call(Signal("note", {"value": "a"}, id="s-1"))).log == ("a", "b")
        assert (await ref.call_settled(Signal("note", {"value": "a"}, id="s-1"))).log == ("a", "b")
    assert await heard_types(storage, Puppet, "p") == ["note", "note"]


async def test_calls_with_one_id_at_the_same_time_are_one_turn() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        signal = Signal("note", {"value": "a"}, id="s-1")
        async with trio.open_nursery() as nursery:
            calls = [Task(nursery, ref.call, signal) for _ in range(5)]
            casts = [Task(nursery, ref.cast, signal) for _ in range(5)]
        assert [call.error for call in (*calls, *casts)] == [None] * 10
        assert {call.value.log for call in calls} == {("a",)}
        await quiet(ref)
        assert (await ref.call("note", value="b")).log == ("a", "b")
    assert await heard_types(storage, Puppet, "p") == ["note", "note"]


async def test_an_ask_with_an_id_that_was_handled_gets_the_recorded_reply() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        assert await ref.ask(Signal("echo", {"value": [1, "x"]}, id="s-1")) == [1, "x"]
        assert await ref.ask(Signal("echo", {"value": 2}, id="s-1")) == [1, "x"]
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        assert await runtime.ref("p", Puppet).ask(Signal("echo", {"value": 2}, id="s-1")) == [1, "x"]
    assert await heard_types(storage, Puppet, "p") == ["echo"]


async def test_a_reply_turns_later_is_recorded_too(outside: World) -> None:
    outside.seconds = 5
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        assert await ref.ask(Signal("pay", {"amount": 3}, id="s-1")) == 3
        assert await ref.ask(Signal("pay", {"amount": 3}, id="s-1")) == 3
        assert outside.done == [3]


async def test_an_ask_without_a_recorded_reply_is_a_duplicate() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(Signal("note", {"value": "a"}, id="s-1"))
        with pytest.raises(Duplicate):
            await ref.ask(Signal("note", {"value": "a"}, id="s-1"))


async def test_ids_are_remembered_for_some_time_only() -> None:
    durable = Durable(dedupe_for=100.0, snapshot_every=2)
    async with open_runtime(AgentSpec(Puppet, "p", durable=durable), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(Signal("note", {"value": "a"}, id="s-1"))
        await trio.sleep(50)
        await ref.call(Signal("note", {"value": "a"}, id="s-1"))
        assert ref.state().log == ("a",)
        for _ in range(10):
            await trio.sleep(100)
            await ref.call("note", value="b")
        assert (await ref.call(Signal("note", {"value": "c"}, id="s-1"))).log[-1] == "c"


# Room.


async def test_a_full_mailbox_lets_casts_wait_and_refuses_those_that_do_not() -> None:
    async with open_runtime(Supervisor(puppets("p", mailbox=3)), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        for number in range(3):
            await ref.cast("note", value=str(number))
        with pytest.raises(MailboxFull):
            ref.cast_nowait("note", value="x")
        async with trio.open_nursery() as nursery:
            waiting = Task(nursery, ref.cast, "note", value="3")
            await trio.sleep(1)
            assert waiting.is_waiting
            await ref.resume()
        await quiet(ref)
        assert ref.state().log == ("0", "1", "2", "3")


async def test_a_cast_that_was_cancelled_while_it_waits_for_room_is_not_handled() -> None:
    async with open_runtime(Supervisor(puppets("p", mailbox=1)), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("note", value="a")
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await ref.cast("note", value="b")
        await ref.resume()
        await quiet(ref)
        assert ref.state().log == ("a",)


async def test_a_cast_that_does_not_wait_is_stored_and_handled() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(10):
            ref.cast_nowait("note", value=str(number))
        await quiet(ref)
        assert ref.state().log == tuple(str(number) for number in range(10))


# Callers that are cancelled, D19 and R5.


async def test_a_caller_who_is_cancelled_while_the_turn_is_being_written_leaves_it_whole() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="first")
        storage.faults.append(Fault("append", "delay", delay=5.0))
        before = trio.current_time()
        with trio.move_on_after(1) as scope:
            await ref.call("note", value="a")
        assert scope.cancelled_caught
        assert trio.current_time() - before == pytest.approx(5, abs=0.1)
        assert ref.state().log == ("first", "a")


async def test_a_caller_who_is_cancelled_waits_ten_seconds_at_most() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="first")
        storage.faults.append(Fault("append", "delay", delay=60.0))
        before = trio.current_time()
        with trio.move_on_after(1) as scope:
            await ref.call("note", value="a")
        assert scope.cancelled_caught
        assert trio.current_time() - before == pytest.approx(11, abs=0.1)
        await trio.sleep(60)
        assert ref.state().log == ("first", "a")


async def test_a_caller_who_is_cancelled_before_its_turn_is_withdrawn() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        with trio.move_on_after(1):
            await ref.call("note", value="a")
        with trio.move_on_after(1):
            await ref.ask("echo", value="a")
        await ref.resume()
        await quiet(ref)
        assert ref.state().log == ()
    assert await past(storage, Puppet, "p") == []


# D18: a storage that is away.


async def test_while_the_storage_is_down_everybody_is_told() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        storage.faults += [Fault(name, "unavailable", call=None) for name in ("append", "load")]
        with pytest.raises((StorageUnavailable, CommitFailed)):
            await ref.call("note", value="lost")
        await trio.sleep(1)
        with trio.fail_after(30):
            with pytest.raises(StorageUnavailable):
                await ref.call("note", value="lost")
            with pytest.raises(StorageUnavailable):
                await ref.cast("note", value="lost")
        await trio.sleep(100)
        assert ref.status().restarts == 0
        storage.faults.clear()
        await trio.sleep(30)
        assert (await ref.call("note", value="b")).log == ("a", "b")


@pytest.mark.parametrize("kind", ["lost_answer", "lost_request"])
async def test_a_call_in_doubt_is_read_again(kind: str) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        storage.faults.append(Fault("append", kind))
        if kind == "lost_answer":
            assert (await ref.call("note", value="b")).log == ("a", "b")
        else:
            with pytest.raises(CommitFailed) as failed:
                await ref.call("note", value="b")
            assert failed.value.in_doubt
        expected = ("a", "b", "c") if kind == "lost_answer" else ("a", "c")
        assert (await ref.call("note", value="c")).log == expected
        assert ref.status().restarts == 0


# R5: what a caller gets.


@pytest.mark.parametrize("verb", ["call", "ask", "call_settled"])
@pytest.mark.parametrize(
    ("type", "data", "error"),
    [
        ("refuse", {}, Rejected),
        ("nobody.hears", {}, UnhandledSignal),
        ("number", {"number": "x"}, InvalidSignalData),
        ("boom", {}, AgentCrashed),
    ],
)
async def test_whoever_waits_hears_at_once_what_became_of_its_turn(
    verb: str, type: str, data: dict[str, Any], error: type[Exception]
) -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        before = trio.current_time()
        with pytest.raises(error):
            await getattr(ref, verb)(type, data)
        assert trio.current_time() - before < 0.1
        assert ref.state() == Puppet()
        assert (await ref.call("note", value="a")).log == ("a",)


@pytest.mark.parametrize("type", ["refuse", "nobody.hears", "number"])
async def test_a_cast_does_not_look_and_the_error_policy_is_asked(type: str) -> None:
    tree = Supervisor(puppets("p", error_policy=forgiving))
    async with open_runtime(tree, storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast(type, {"number": "x"})
        await quiet(ref)
        assert [entry.split()[0] for entry in ref.state().log] == ["policy"]
        assert ref.status().restarts == 0


async def test_whoever_waits_behind_a_crash_goes_on_waiting() -> None:
    async with open_runtime(Supervisor(puppets("p", backoff=Backoff(5, 5))), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        async with trio.open_nursery() as nursery:
            crash = Task(nursery, ref.call, "boom")
            await settle()
            call = Task(nursery, ref.call, "note", value="a")
            await settle()
            ask = Task(nursery, ref.ask, "echo", value=1)
            await settle()
            await ref.cast("note", value="b")
            await ref.resume()
            await trio.sleep(1)
            assert isinstance(crash.error, AgentCrashed)
            assert call.is_waiting
        assert call.value.log == ("a",)
        assert ask.value == 1
        await quiet(ref)
        assert ref.state().log == ("a", "echo 1", "b")


async def test_calls_and_casts_are_handled_in_the_order_in_which_they_were_accepted() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            for number in range(30):
                if number % 3:
                    await ref.cast("note", value=str(number))
                else:
                    nursery.start_soon(ref.call, "note", {"value": str(number)})
                    await settle()
        await quiet(ref)
        assert ref.state().log == tuple(str(number) for number in range(30))


async def test_an_id_that_is_in_use_is_refused_with_its_ref() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        await runtime.ref("p", Puppet).call("note", value="a")
        with pytest.raises(AlreadyStarted) as refused:
            await runtime.start_agent(Puppet, "p")
        assert refused.value.child == runtime.ref("p", Puppet)
        assert runtime.ref("p", Puppet).state().log == ("a",)
