"""Signals that crash their agent again and again are put aside, not round and round."""

from __future__ import annotations

import pytest
import trio
from tests.durability.agents import Heard, Puppet, World, copied, past, puppets, quiet

from prunella.agents import AgentCrashed, AgentNotFound, Durable
from prunella.runtime import AgentSpec, SignalPoisoned, TurnEvent, open_runtime
from prunella.signals import Signal
from prunella.storage import MemoryStorage
from prunella.supervision import Supervisor
from prunella.telemetry import Event
from prunella.testing.storage import Fault, FaultyStorage


async def test_a_signal_that_crashes_is_put_behind_those_that_wait_and_tried_again(outside: World) -> None:
    storage = MemoryStorage()
    outside.broken.add("x")
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("fragile", value="x")
        await ref.cast("note", value="a")
        await ref.cast("note", value="b")
        await ref.resume()
        await ref.wait_for(lambda state: state.log == ("a", "b"))
        await quiet(ref)
        assert ref.status().restarts == 2
        assert ref.state().log == ("a", "b")
        (letter,) = await runtime.dead_letters(ref)
        assert letter.signal.type == "fragile"
        assert letter.deliveries == 2
        assert "ValueError" in letter.reason
    entries = await past(storage, Puppet, "p")
    assert [(entry.turn.signal.type, entry.turn.outcome) for entry in entries] == [
        ("note", "committed"),
        ("note", "committed"),
        ("fragile", "dead"),
    ]


async def test_one_that_crashes_its_agent_for_good_is_counted_before_the_next_start(outside: World) -> None:
    """The agent has no restart left, and is started again at once, while its last count is still being written."""
    outside.broken.add("x")
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        for crashes in (1, 2):
            ref = await runtime.start_agent(Puppet, "p", durable=Durable(max_deliveries=2), max_restarts=0)
            storage.faults[:] = [Fault("append", "delay", call=None, delay=1.0)]
            if crashes == 1:
                await ref.cast("fragile", value="x")
            await ref.wait_stopped()
        ref = await runtime.start_agent(Puppet, "p", durable=Durable(max_deliveries=2), max_restarts=0)
        await quiet(ref)
        (letter,) = await runtime.dead_letters(ref)
        assert letter.deliveries == 2


async def test_one_that_is_mended_between_two_tries_is_handled(outside: World) -> None:
    outside.broken.add("x")

    def mend(event: Event) -> None:
        if isinstance(event, SignalPoisoned):
            outside.broken.clear()

    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage(), telemetry=[mend]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("fragile", value="x")
        await ref.cast("note", value="a")
        await ref.resume()
        await ref.wait_for(lambda state: state.log == ("a", "x"))
        assert ref.status().restarts == 1
        assert await runtime.dead_letters(ref) == ()


@pytest.mark.parametrize("deliveries", [1, 2, 4])
async def test_how_often_is_said_by_the_class(outside: World, heard: Heard, deliveries: int) -> None:
    outside.broken.add("x")
    spec = AgentSpec(Puppet, "p", durable=Durable(max_deliveries=deliveries))
    async with open_runtime(Supervisor([spec], max_restarts=10), storage=MemoryStorage(), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("fragile", value="x")
        await quiet(ref)
        (letter,) = await runtime.dead_letters(ref)
        assert letter.deliveries == deliveries
        assert len(heard.of(SignalPoisoned)) == deliveries
        crashed = [event for event in heard.of(TurnEvent) if event.outcome == "crashed"]
        assert len(crashed) == deliveries


async def test_signals_of_calls_and_asks_are_not_tried_again(outside: World) -> None:
    outside.broken.add("x")
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        for verb in (ref.call, ref.ask):
            with pytest.raises(AgentCrashed):
                await verb("fragile", value="x")
        await quiet(ref)
        assert ref.status().restarts == 2
        assert await runtime.dead_letters(ref) == ()


async def test_what_crashed_once_is_counted_over_a_restart_of_the_process(outside: World) -> None:
    storage = MemoryStorage()
    outside.broken.add("x")
    spec = AgentSpec(Puppet, "p", durable=Durable(max_deliveries=3), restart="temporary")
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", durable=Durable(max_deliveries=3), restart="temporary")
        await ref.cast("fragile", value="x")
        await ref.wait_stopped()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", durable=Durable(max_deliveries=3), restart="temporary")
        await ref.wait_stopped()
        assert await runtime.dead_letters("p") == ()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", durable=Durable(max_deliveries=3), restart="temporary")
        await ref.wait_stopped()
        await trio.sleep(0.1)
        (letter,) = await runtime.dead_letters("p")
        assert letter.deliveries == 3
    async with open_runtime(Supervisor([spec]), storage=storage) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert runtime.ref("p", Puppet).status().state == "running"


async def test_a_kill_in_the_middle_of_a_turn_counts_as_a_delivery(outside: World) -> None:
    """The process dies of the signal: whoever comes after it tries it as often as any other."""
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("fragile", value="x")
        await ref.cast("note", value="a")
        killed = copied(storage)
    tries = 0
    while True:
        # The film stops when the turn is about to be taken: it never gets further in this process.
        at_turn: list[MemoryStorage] = []
        now_killed = killed
        outside.broken = Killer("x", lambda now=now_killed, kept=at_turn: kept.append(copied(now)))  # type: ignore[assignment, misc]
        async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
            await quiet(runtime.ref("p", Puppet))
            letters = await runtime.dead_letters("p")
            log = runtime.ref("p", Puppet).state().log
        if not at_turn:
            break
        tries += 1
        killed = at_turn[0]
        assert tries < 10
    assert tries == 2
    assert [letter.signal.type for letter in letters] == ["fragile"]
    assert log == ("a",)


class Killer(set[str]):
    """Something that is broken; whoever looks kills the process."""

    def __init__(self, value: str, killed: object) -> None:
        super().__init__()
        self._value, self._killed = value, killed

    def __contains__(self, value: object) -> bool:
        if value == self._value:
            self._killed()  # type: ignore[operator]
        return False


# Redriving.


async def test_dead_letters_can_be_redriven(outside: World) -> None:
    outside.broken |= {"x", "y"}
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p"), max_restarts=10), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast(Signal("fragile", {"value": "x"}, id="s-x"))
        await ref.cast(Signal("fragile", {"value": "y"}, id="s-y"))
        await quiet(ref)
        assert [letter.signal.id for letter in await runtime.dead_letters(ref)] == ["s-x", "s-y"]
        outside.broken.clear()
        assert await runtime.redrive(ref, "s-y") == 1
        await quiet(ref)
        assert ref.state().log == ("y",)
        assert [letter.signal.id for letter in await runtime.dead_letters(ref)] == ["s-x"]
        assert await runtime.redrive(ref, "s-y") == 0
        assert await runtime.redrive(ref) == 1
        await quiet(ref)
        assert ref.state().log == ("y", "x")
        assert await runtime.dead_letters(ref) == ()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("y", "x")


async def test_a_redriven_signal_that_crashes_is_put_aside_again(outside: World) -> None:
    outside.broken.add("x")
    async with open_runtime(Supervisor(puppets("p"), max_restarts=10), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("fragile", value="x")
        await quiet(ref)
        await runtime.redrive(ref)
        await quiet(ref)
        (letter,) = await runtime.dead_letters(ref)
        assert letter.deliveries == 2
        assert ref.status().restarts == 4


async def test_dead_letters_can_be_discarded(outside: World) -> None:
    outside.broken |= {"x", "y", "z"}
    async with open_runtime(Supervisor(puppets("p"), max_restarts=10), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        for value in "xyz":
            await ref.cast(Signal("fragile", {"value": value}, id=f"s-{value}"))
        await quiet(ref)
        assert await runtime.discard(ref, "s-y") == 1
        assert [letter.signal.id for letter in await runtime.dead_letters(ref)] == ["s-x", "s-z"]
        assert await runtime.discard(ref) == 2
        assert await runtime.dead_letters(ref) == ()
        assert await runtime.redrive(ref) == 0


async def test_a_dead_letter_of_a_sleeper_wakes_it_when_it_is_redriven(outside: World) -> None:
    outside.broken.add("x")
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.cast("fragile", value="x")
        await quiet(ref)
        await runtime.hibernate(ref)
        assert len(await runtime.dead_letters(ref)) == 1
        assert ref.status().state == "hibernated"
        outside.broken.clear()
        assert await runtime.redrive(ref) == 1
        await quiet(ref)
        assert ref.state().log == ("x",)


async def test_an_agent_that_is_not_there_has_no_dead_letters() -> None:
    async with open_runtime(storage=MemoryStorage()) as runtime:
        assert await runtime.dead_letters("nobody") == ()
        assert await runtime.discard("nobody") == 0
        with pytest.raises(AgentNotFound):
            await runtime.thaw("nobody")


async def test_a_signal_sent_again_while_it_is_a_dead_letter_is_handled_as_the_storage_says(outside: World) -> None:
    """A dead signal may come again: its sender may have mended it."""
    outside.broken.add("x")
    async with open_runtime(Supervisor(puppets("p"), max_restarts=10), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast(Signal("fragile", {"value": "x"}, id="s-x"))
        await quiet(ref)
        outside.broken.clear()
        with trio.fail_after(10):
            await ref.cast(Signal("fragile", {"value": "x"}, id="s-x"))
        await quiet(ref)
        assert ref.state().log in ((), ("x",))
