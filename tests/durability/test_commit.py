"""A turn counts, and is seen, when it is written: all of it or nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import trio
from tests.durability.agents import (
    EPOCH,
    Heard,
    Puppet,
    Task,
    World,
    doing,
    emit,
    forgiving,
    heard_types,
    past,
    pay,
    puppets,
    quiet,
    settle,
)

from prunella.agents import (
    AgentCrashed,
    Cancel,
    Emit,
    InvalidSignalData,
    NotSerialisable,
    Rejected,
    Reply,
    Run,
    Schedule,
    Stop,
    UnhandledSignal,
    on,
    replay,
)
from prunella.runtime import AgentSpec, TurnEvent, open_runtime
from prunella.signals import Signal
from prunella.storage import AgentKey, MemoryStorage, state_at
from prunella.supervision import InvalidSpec, Supervisor
from prunella.testing.storage import Fault, FaultyStorage

# D1: what is stored of a turn.


async def test_a_turn_is_stored_with_all_that_its_handlers_could_read() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(Signal("note", {"value": "a"}, id="s-1"))
        await ref.call("draw")
        await quiet(ref)
        state = ref.state()
    entries = await past(storage, Puppet, "p")
    assert [entry.turn.sequence for entry in entries] == [1, 2]
    assert entries[0].turn.signal.id == "s-1"
    assert entries[0].turn.now == EPOCH
    assert entries[0].turn.changes == {"log": ("a",)}
    assert entries[0].turn.outcome == "committed"
    assert entries[1].before == entries[0].after == Puppet(log=("a",))
    assert entries[1].after == state


async def test_the_stored_turns_come_out_the_same_when_they_are_run_again() -> None:
    storage = MemoryStorage()
    async with open_runtime(
        Supervisor([*puppets("p"), *puppets("q", error_policy=forgiving)]), storage=storage, epoch=EPOCH
    ) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("draw")
        await ref.call(doing(emit("q", "x"), Schedule(1, "tick", key="t"), note="n"))
        await ref.call("pay", amount=3)
        with pytest.raises(Rejected):
            await ref.call("refuse")
        await trio.sleep(3)
        await ref.call("draw")
        await quiet(ref)
        state = ref.state()
    entries = await past(storage, Puppet, "p")
    assert list(replay(Puppet, [entry.turn for entry in entries]))[-1] == state
    assert [entry.turn.signal.type for entry in entries] == ["draw", "do", "pay", "refuse", "paid", "tick", "draw"]


async def test_the_state_in_the_storage_is_never_behind_what_a_caller_was_told() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(20):
            state = await ref.call("note", value=str(number))
            assert await state_at(storage, Puppet, "p") == state


async def test_the_past_is_what_happened() -> None:
    storage = MemoryStorage()
    spec = AgentSpec(Puppet, "p", debug=True)
    async with open_runtime(spec, storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(5):
            await ref.call("note", value=str(number))
        await ref.cast("echo", value=1)
        with pytest.raises(Rejected):
            await ref.call("refuse")
        await quiet(ref)
        turns = ref.recent_turns()
        state = ref.state()
    stored = [entry.turn for entry in await past(storage, Puppet, "p")]
    assert [turn.sequence for turn in turns] == [turn.sequence for turn in stored]
    assert [turn.signal.id for turn in turns] == [turn.signal.id for turn in stored]
    assert [turn.now for turn in turns] == [turn.now for turn in stored]
    assert [turn.outcome for turn in turns] == [turn.outcome for turn in stored]
    assert [turn.directives for turn in turns] == [turn.directives for turn in stored]
    assert list(replay(Puppet, turns))[-1] == list(replay(Puppet, stored))[-1] == state


# D26, P11: what is refused is stored, and changes nothing.


@pytest.mark.parametrize(
    ("type", "data", "error", "outcome"),
    [
        ("refuse", {}, Rejected, "rejected"),
        ("number", {"number": "one"}, InvalidSignalData, "rejected"),
        ("nobody.hears", {}, UnhandledSignal, "unhandled"),
    ],
)
async def test_a_refused_turn_is_stored_and_changes_nothing(
    type: str, data: dict[str, Any], error: type[Exception], outcome: str
) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        before = await ref.call("note", value="a")
        with pytest.raises(error) as refused:
            await ref.call(type, data)
        assert refused.value.address.id == "p"
        assert ref.state() == before
        assert (await ref.call("note", value="b")).log == ("a", "b")
    entries = await past(storage, Puppet, "p")
    assert [entry.turn.outcome for entry in entries] == ["committed", outcome, "committed"]
    assert entries[1].turn.changes == {}
    assert entries[1].before == entries[1].after


async def test_a_crashed_turn_is_not_stored() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        assert (await ref.call("note", value="b")).log == ("a", "b")
        assert ref.status().restarts == 1
    assert await heard_types(storage, Puppet, "p") == ["note", "note"]


async def test_a_signal_of_the_runtime_without_handler_leaves_no_turn() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("note", value="a")
    assert await heard_types(storage, Puppet, "p") == ["note"]


# D1b: what an error policy changes is a turn of its own.


async def test_what_an_error_policy_changes_is_a_turn_of_its_own() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", error_policy=forgiving)), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("note", value="a")
        await ref.cast("refuse")
        await ref.cast("note", value="b")
        await quiet(ref)
        assert ref.state().log == ("a", "policy Rejected", "b")
    assert await heard_types(storage, Puppet, "p") == ["note", "refuse", "prunella.policy", "note"]
    async with open_runtime(Supervisor(puppets("p", error_policy=forgiving)), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("a", "policy Rejected", "b")


async def test_an_error_policy_is_asked_about_a_directive_that_failed() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", error_policy=forgiving)), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(emit("nobody", "x")))
        await quiet(ref)
        assert ref.state().log == ("policy AgentNotFound",)
    assert await heard_types(storage, Puppet, "p") == ["do", "prunella.policy"]


async def test_a_policy_that_stops_leaves_what_was_stored() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", error_policy="stop")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        await ref.cast("refuse")
        reason = await ref.wait_stopped()
        assert isinstance(reason.detail, Rejected)  # type: ignore[union-attr]
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("a",)


# Commit before effects.


async def test_no_effect_begins_before_its_turn_is_written(outside: World) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref, other = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        storage.faults.append(Fault("append", "delay", delay=5.0))
        async with trio.open_nursery() as nursery:
            call = Task(nursery, ref.call, doing(emit("q", "x"), Run(pay, {"amount": 1})))
            await trio.sleep(4)
            assert call.is_waiting
            assert ref.state() == Puppet()
            assert other.state() == Puppet()
            assert outside.done == []
        await quiet(ref, other)
        assert other.state().log == ("x",)
        assert outside.done == [1]


async def test_nothing_of_a_turn_is_done_if_its_write_fails(outside: World) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref, other = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        storage.faults.append(Fault("append", "full_disk"))
        with pytest.raises(Exception, match="the disk is full"):
            await ref.call(doing(emit("q", "x"), note="lost"))
        assert (await ref.call("note", value="a")).log == ("a",)
        await quiet(ref, other)
        assert other.state() == Puppet()


# D25: turns run ahead of the disk.


async def test_many_turns_go_into_one_write(heard: Heard) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage, telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="first")
        before = storage.calls.count("append")
        seen = []
        async with trio.open_nursery() as nursery:
            tasks = [Task(nursery, ref.call, "note", value=str(number)) for number in range(50)]
        seen = [len(task.value.log) for task in tasks]
        assert sorted(seen) == list(range(2, 52))
        assert storage.calls.count("append") - before <= 5
    assert len(await past(storage, Puppet, "p")) == 51


async def test_nothing_of_the_turns_ahead_is_seen_before_they_are_written() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref, other = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        storage.faults.append(Fault("append", "delay", delay=1.0, call=None))
        async with trio.open_nursery() as nursery:
            tasks = [Task(nursery, ref.call, doing(emit("q", str(n)), note=str(n))) for n in range(10)]
            await trio.sleep(0.5)
            assert all(task.is_waiting for task in tasks)
            assert ref.state().log == ()
            assert other.state().log == ()
        storage.faults.clear()
        await quiet(ref, other)
        assert ref.state().log == other.state().log
        assert sorted(ref.state().log) == [str(n) for n in range(10)]


async def test_a_batch_that_fails_is_decided_anew_or_its_callers_are_told() -> None:
    """What the callers were told is what is in the end."""
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="first")
        storage.faults.append(Fault("append", "full_disk"))
        async with trio.open_nursery() as nursery:
            tasks = [Task(nursery, ref.call, "note", value=str(n)) for n in range(10)]
        kept = tuple(str(n) for n, task in enumerate(tasks) if task.error is None)
        await quiet(ref)
        assert set(ref.state().log) == {"first", *kept}
    assert sorted((await state_at(storage, Puppet, "p")).log) == sorted(("first", *kept))


# P15: what cannot be written is a crash before its commit.


def _nowhere() -> Any:
    async def nowhere() -> None: ...

    return nowhere


nowhere = _nowhere()
unwritable = object()


class Secretive(Puppet, name="secretive", durable=True):
    """Returns what cannot be written."""

    @on("hide")
    def hide(self) -> Any:
        return self.set(log=(*self.log, "hidden")), Run(nowhere)

    @on("hold")
    def hold(self) -> Any:
        return Emit("note", {"value": unwritable}, to="q")


@pytest.mark.parametrize("type", ["hide", "hold"])
async def test_a_turn_that_returns_what_cannot_be_written_crashes_before_its_commit(type: str) -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Secretive, "p"), storage=storage) as runtime:
        ref = runtime.ref("p", Secretive)
        with pytest.raises(AgentCrashed) as crashed:
            await ref.call(type)
        assert crashed.value.reason.type is NotSerialisable
        assert (await ref.call("note", value="a")).log == ("a",)
    assert await heard_types(storage, Secretive, "p") == ["note"]


class Fleeting(Puppet, name="fleeting"):
    """Not durable: may return anything."""

    @on("hide")
    def hide(self) -> Any:
        return Run(nowhere)


async def test_an_agent_that_is_not_durable_may_return_it_beside_a_storage() -> None:
    async with open_runtime(AgentSpec(Fleeting, "p", durable=False), storage=MemoryStorage()) as runtime:
        await runtime.ref("p", Fleeting).call_settled("hide")


# P23: the spec wins.


async def test_a_spec_may_say_that_an_agent_is_not_durable_here() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Puppet, "p", durable=False), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("note", value="a")
    async with storage:
        assert await storage.find(AgentKey("default", None, "p")) is None


async def test_durable_agents_without_a_storage_are_refused() -> None:
    with pytest.raises(InvalidSpec, match="storage"):
        open_runtime(Supervisor(puppets("p")))
    async with open_runtime() as runtime:
        with pytest.raises(InvalidSpec, match="storage"):
            await runtime.start_agent(Puppet, "p")


# D16: retention.


async def test_a_snapshot_is_stored_every_so_many_turns_and_old_turns_go() -> None:
    from prunella.agents import Durable
    from prunella.storage import HistoryGone

    storage = MemoryStorage()
    durable = Durable(snapshot_every=5, keep_turns=10)
    async with open_runtime(AgentSpec(Puppet, "p", durable=durable), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(1000):
            await ref.call("note", value=str(number)) if number < 10 else await ref.call("draw")
            if number == 100:
                break
        await trio.sleep(1)
    entries = await past(storage, Puppet, "p")
    assert 10 <= len(entries) <= 30
    assert entries[-1].turn.sequence == 101
    with pytest.raises(HistoryGone):
        await state_at(storage, Puppet, "p", until=3)
    async with open_runtime(AgentSpec(Puppet, "p", durable=durable), storage=storage) as runtime:
        assert len(runtime.ref("p", Puppet).state().log) == 101


async def test_retention_by_age_keeps_what_is_open(outside: World) -> None:
    from prunella.agents import Durable

    storage = MemoryStorage()
    durable = Durable(snapshot_every=2, keep=60.0)
    outside.seconds = 10_000.0
    async with open_runtime(AgentSpec(Puppet, "p", durable=durable), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("pay", amount=1)
        await ref.call(doing(Schedule(9_000, "tick", key="t")))
        for _ in range(20):
            await ref.call("note", value="x")
            await trio.sleep(30)
    assert (await past(storage, Puppet, "p"))[0].turn.sequence > 5
    outside.seconds = 0
    async with open_runtime(
        AgentSpec(Puppet, "p", durable=durable), storage=storage, epoch=EPOCH + timedelta(seconds=10_000)
    ) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert outside.done == [1]
        assert sum(entry == "paid 1" for entry in ref.state().log) == 1
        assert sum(entry.startswith("tick") for entry in ref.state().log) == 1


# R22 and rule 8: one event a turn.


async def test_a_turn_is_one_event(heard: Heard) -> None:
    storage = MemoryStorage()
    async with open_runtime(
        Supervisor(puppets("p", "q", error_policy=forgiving)), storage=storage, telemetry=[heard]
    ) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            for number in range(70):
                nursery.start_soon(ref.call, Signal("note", {"value": "x"}, id=f"s-{number}"))
        await ref.cast(Signal("refuse", id="refused"))
        with pytest.raises(AgentCrashed):
            await ref.call(Signal("boom", {}, id="crashed"))
        await ref.call(Signal("echo", {}, id="after"))
        await quiet(ref)
    turns = [event for event in heard.of(TurnEvent) if event.agent == "p" and event.signal_type != "prunella.policy"]
    expected = {**{f"s-{n}": "committed" for n in range(70)}, "refused": "Rejected", "crashed": "crashed"}
    expected["after"] = "committed"
    assert sorted(event.signal_id for event in turns) == sorted(expected)
    assert {event.signal_id: event.outcome for event in turns} == expected
    assert len({event.span_id for event in turns}) == len(turns)


async def test_a_turn_that_was_taken_back_and_decided_anew_is_one_event(heard: Heard) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage, telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="first")
        await ref.suspend()
        for number in range(5):
            await ref.cast(Signal("note", {"value": str(number)}, id=f"s-{number}"))
        storage.faults.append(Fault("append", "full_disk"))
        await ref.resume()
        await quiet(ref)
        assert ref.state().log == ("first", "0", "1", "2", "3", "4")
    turns = [event for event in heard.of(TurnEvent) if event.signal_id.startswith("s-")]
    assert sorted(event.signal_id for event in turns if event.outcome == "committed") == [f"s-{n}" for n in range(5)]


# Reply, Cancel, Stop.


async def test_a_directive_that_is_done_with_its_turn_is_not_open_afterwards() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.ask(doing(Reply(1), Schedule(1000, "tick", key="t"), Cancel("t")))
        assert (await runtime.outbox()).count == 0


async def test_a_stop_is_done_once() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(emit("q", "x"), Stop()))
        await ref.wait_stopped()
        await quiet(runtime.ref("q", Puppet))
        assert runtime.ref("q", Puppet).state().log == ("x",)
        assert (await runtime.outbox()).count == 0
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        await settle()
        assert runtime.ref("p", Puppet).status().state == "running"
        assert runtime.ref("q", Puppet).state().log == ("x",)


# Strict mode.


async def test_strict_mode_runs_handlers_twice_and_commits_once() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage, strict=True) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("draw")
        await ref.call(doing(emit("q", "x"), note="n"))
        await quiet(ref)
        assert len(ref.state().log) == 2
        assert runtime.ref("q", Puppet).state().log == ("x",)
    assert await heard_types(storage, Puppet, "p") == ["draw", "do"]
