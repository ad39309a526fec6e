"""Several runtimes want the same agents: the one that claimed last has them, and the others learn of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given
from tests.durability.agents import EPOCH, Heard, World, copied, later, pay, run
from tests.durability.counting import Counter

from prunella.agents import Agent, AgentError, Fenced, Run, on
from prunella.runtime import AgentFenced, AgentRef, AgentSpec, Runtime, open_runtime
from prunella.storage import AgentKey, MemoryStorage, StorageError, history
from prunella.supervision import AlreadyStarted, Restart, Shutdown, Supervisor
from prunella.testing.storage import Fault, FaultKind, FaultyStorage


class Payer(Agent, name="payer", durable=True):
    """Pays."""

    paid: tuple[int, ...] = ()

    @on("pay")
    def begin(self, amount: int) -> Any:
        return Run(pay, {"amount": amount}, then="paid")

    @on("paid")
    def end(self, result: int) -> Any:
        return self.set(paid=(*self.paid, result))


async def linger() -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 0.5):
            await trio.sleep_forever()


class Lingering(Counter, name="lingering"):
    """Takes its time to end."""

    @on("linger")
    def begin(self) -> Any:
        return Run(linger)


@asynccontextmanager
async def process(storage: MemoryStorage, *specs: AgentSpec[Any], **options: Any) -> AsyncIterator[Runtime]:
    """A runtime with a view of the storage of its own, as in another process."""
    async with open_runtime(Supervisor(specs), storage=FaultyStorage(storage), **options) as runtime:
        yield runtime


@pytest.mark.parametrize("restart", Restart)
async def test_the_loser_is_fenced_and_not_restarted_whatever_its_restart_type(restart: Restart, heard: Heard) -> None:
    async with MemoryStorage() as storage:
        spec = AgentSpec(Counter, "a", restart=restart)
        async with process(storage, spec, telemetry=[heard]) as first, process(storage, spec) as second:
            loser, winner = first.ref("a", Counter), second.ref("a", Counter)
            await winner.call("count", name="x")
            with pytest.raises(Fenced) as caught:
                await loser.call("count", name="y")
            assert caught.value.address == loser.address
            with trio.fail_after(1):
                reason = await loser.wait_stopped()
            assert isinstance(reason, Shutdown)
            assert isinstance(reason.detail, Fenced)
            await trio.sleep(100)
            assert loser.status().state == "stopped"
            assert loser.status().restarts == 0
            for verb in (loser.call, loser.cast, loser.ask):
                with pytest.raises(Fenced):
                    await verb("count", name="z")
            assert (await winner.call("count", name="w")).counted == ("x", "w")
            assert [event.agent for event in heard.of(AgentFenced)] == ["a"]


async def test_other_agents_of_the_loser_go_on() -> None:
    async with MemoryStorage() as storage:
        async with (
            process(storage, AgentSpec(Counter, "a"), AgentSpec(Counter, "b")) as first,
            process(storage, AgentSpec(Counter, "b")),
        ):
            with pytest.raises(Fenced):
                await first.ref("b").call("count", name="x")
            assert (await first.ref("a", Counter).call("count", name="x")).counted == ("x",)


async def test_an_owner_that_does_nothing_hears_of_it_when_it_renews_its_lease() -> None:
    async with MemoryStorage() as storage:
        async with process(storage, AgentSpec(Counter, "a")) as first, process(storage, AgentSpec(Counter, "a")):
            await trio.sleep(3.5)
            assert first.ref("a").status().state == "stopped"


async def test_callers_that_wait_are_told() -> None:
    async with MemoryStorage() as storage:
        told: list[str] = []
        async with process(storage, AgentSpec(Counter, "a")) as first:
            ref = first.ref("a", Counter)

            async def waits(verb: Any, name: str, **data: Any) -> None:
                try:
                    await verb("count", name=name, **data)
                except Fenced:
                    told.append(name)

            await ref.suspend()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(waits, ref.call, "call")
                nursery.start_soon(waits, ref.call_settled, "settled")
                nursery.start_soon(waits, ref.ask, "ask")
                await trio.sleep(0.1)
                async with process(storage, AgentSpec(Counter, "a")) as second:
                    await trio.sleep(3.5)
                    assert sorted(told) == ["ask", "call", "settled"]
                    assert second.ref("a", Counter).state().counted == ()


@pytest.mark.parametrize("end", ["stop", "close"])
async def test_an_agent_that_is_fenced_while_its_end_waits_for_a_write_ends_at_once(end: str) -> None:
    slow = FaultyStorage(kept := MemoryStorage())
    leave = trio.Event()
    ended: list[float] = []
    errors: list[Exception] = []

    async def lose(task_status: trio.TaskStatus[AgentRef[Counter]]) -> None:
        async with open_runtime(AgentSpec(Counter, "a"), storage=slow) as runtime:
            task_status.started(runtime.ref("a", Counter))
            await leave.wait()
            if end == "stop":
                await runtime.ref("a").stop()
                ended.append(trio.current_time())
        ended.append(trio.current_time())

    async def call(ref: AgentRef[Counter]) -> None:
        try:
            await ref.call("count", name="x")
        except AgentError as error:
            errors.append(error)

    async with kept, trio.open_nursery() as nursery:
        ref = await nursery.start(lose)
        slow.faults.append(Fault("append", FaultKind.DELAY, call=None, delay=1))
        nursery.start_soon(call, ref)
        await trio.sleep(0.1)
        begin = trio.current_time()
        leave.set()
        async with process(kept, AgentSpec(Counter, "a")) as winner:
            await trio.sleep(15)
            assert (await winner.ref("a", Counter).call("count", name="y")).counted == ("y",)
    assert ended[0] - begin < 2
    assert [type(error) for error in errors] == [Fenced]


async def test_effects_of_the_loser_are_cut_off_and_begin_again_under_the_same_id(outside: World) -> None:
    outside.seconds = 60
    async with MemoryStorage() as storage:
        async with process(storage, AgentSpec(Payer, "p")) as first:
            await first.ref("p").call("pay", amount=5)
            await trio.sleep(10)
            async with process(storage, AgentSpec(Payer, "p")) as second:
                await trio.sleep(200)
                assert second.ref("p", Payer).state().paid == (5,)
                assert outside.done == [5]
                assert outside.keys == ["default/-/p/1/0"] * 2


async def test_who_gives_way_waits_for_the_lease_of_a_process_that_was_killed() -> None:
    storage = MemoryStorage()
    async with process(storage, AgentSpec(Counter, "a"), epoch=EPOCH) as first:
        await first.ref("a").call("count", name="x")
        await trio.sleep(7)  # The lease was renewed after 6 s.
        killed = copied(storage)
    for seconds in (7, 15.9):
        with pytest.raises(Fenced):
            async with process(killed, AgentSpec(Counter, "a"), epoch=later(seconds=seconds), claim="refuse"):
                assert False, "the other one may be alive"
    async with process(killed, AgentSpec(Counter, "a"), epoch=later(seconds=16.1), claim="refuse") as second:
        assert (await second.ref("a", Counter).call("count", name="y")).counted == ("x", "y")


async def test_who_gives_way_does_so_as_long_as_the_owner_is_alive_and_need_not_wait_when_it_has_stopped() -> None:
    async with MemoryStorage() as storage:
        async with process(storage, AgentSpec(Counter, "a"), epoch=EPOCH) as first:
            await trio.sleep(100)
            with pytest.raises(Fenced):
                async with process(storage, AgentSpec(Counter, "a"), epoch=later(seconds=100), claim="refuse"):
                    assert False, "the other one is alive"
            assert (await first.ref("a", Counter).call("count", name="x")).counted == ("x",)
        async with process(storage, AgentSpec(Counter, "a"), epoch=later(seconds=100), claim="refuse") as second:
            assert second.ref("a", Counter).state().counted == ("x",)


async def test_who_cannot_reach_the_storage_has_lost_its_agents_to_whoever_can() -> None:
    """The lease has ended, and it does not know: its first write is refused, and what it was told before counts."""
    async with MemoryStorage() as kept:
        storage = FaultyStorage(kept)
        async with open_runtime(AgentSpec(Counter, "a"), storage=storage, epoch=EPOCH) as first:
            ref = first.ref("a", Counter)
            await ref.call("count", name="x")
            storage.faults.append(Fault("*", FaultKind.UNAVAILABLE, call=None))
            with pytest.raises(StorageError):
                await ref.call("count", name="lost")
            await trio.sleep(20)
            async with process(kept, AgentSpec(Counter, "a"), epoch=later(seconds=20), claim="refuse") as second:
                await second.ref("a").call("count", name="y")
                storage.faults.clear()
                await trio.sleep(30)
                with pytest.raises(Fenced):
                    await ref.call("count", name="z")
                assert second.ref("a", Counter).state().counted == ("x", "y")


async def test_what_was_sent_to_an_agent_that_another_process_has_started_is_sent_by_whoever_takes_over() -> None:
    async with MemoryStorage() as storage:
        async with process(storage, AgentSpec(Counter, "a"), agents=[Counter]) as second:
            async with process(storage, AgentSpec(Counter, "a")) as first:
                await first.start_agent(Counter, "b")
                await first.ref("b").suspend()
                for number in range(3):
                    await first.ref("a").call("count", name=str(number), to="b")
                await second.ref("a").wait_stopped()
                # The second one takes it back, and has never heard of b.
                await second.start_agent(Counter, "a")
                state = await second.ref("a", Counter).call("count", name="3", to="b")
                await trio.sleep(10)
                assert state.counted == ("0", "1", "2", "3")
                assert (await second.state_at("b")).noted == state.counted


async def test_what_was_sent_to_one_that_is_about_to_end_here_is_sent_by_whoever_takes_over() -> None:
    a, b = AgentSpec(Counter, "a"), AgentSpec(Lingering, "b")
    async with MemoryStorage() as storage:
        async with process(storage, a, b) as first:
            await first.ref("b").call("linger")
            async with process(storage, b):
                with pytest.raises(Fenced):
                    await first.ref("b").call("count", name="x")
                assert first.ref("b").status().state != "stopped"
                await first.ref("a").call("count", name="y", to="b")
                await trio.sleep(5)
        async with process(storage, a, b) as third:
            await trio.sleep(5)
            assert third.ref("b", Lingering).state().noted == ("y",)


MOVES = st.tuples(st.integers(0, 2), st.sampled_from(["start", "call", "call", "cast", "cast", "wait", "hibernate"]))


@given(st.lists(MOVES, min_size=3, max_size=25), st.booleans())
def test_whoever_fights_what_is_acknowledged_counts_once(moves: list[tuple[int, str]], at_once: bool) -> None:
    told: list[str] = []
    tried: list[str] = []

    async def move(runtime: Runtime, what: str, name: str) -> None:
        try:
            with trio.fail_after(60):
                if what == "start":
                    await runtime.start_agent(Counter, "a")
                elif what == "hibernate":
                    await runtime.hibernate("a", force=True)
                elif what == "wait":
                    await trio.sleep(4)
                else:
                    tried.append(name)
                    await getattr(runtime.ref("a", Counter), what)("count", name=name)
                    told.append(name)
        except (AgentError, AlreadyStarted, StorageError):
            pass

    async def main() -> None:
        async with MemoryStorage() as storage, AsyncExitStack() as stack:
            runtimes = [await stack.enter_async_context(process(storage)) for _ in range(3)]
            async with trio.open_nursery() as nursery:
                for number, (which, what) in enumerate([(0, "start"), *moves]):
                    if at_once:
                        nursery.start_soon(move, runtimes[which], what, str(number))
                        await trio.lowlevel.checkpoint()
                    else:
                        await move(runtimes[which], what, str(number))
            await stack.aclose()
            async with process(storage, AgentSpec(Counter, "a")) as last:
                await trio.sleep(5)
                counted = last.ref("a", Counter).state().counted
            assert len(set(counted)) == len(counted)
            assert set(told) <= set(counted) <= set(tried)
            commits = await storage.commits(AgentKey("default", None, "a"), limit=10_000)
            assert [commit.sequence for commit in commits] == list(range(1, len(commits) + 1))
            claims = [commit.claim for commit in commits]
            assert claims == sorted(claims), "an earlier owner has written after a later one"
            assert [entry.after.counted async for entry in history(storage, Counter, "a")][-1:] in ([], [counted])

    run(main)
