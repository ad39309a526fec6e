"""A storage that fails at any call, in any way: the state is right, whoever waits is told, and the agents go on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import hypothesis.strategies as st
import pytest
import trio
from hypothesis import given
from tests.durability.agents import run
from tests.durability.counting import Counter

from prunella.agents import AgentCrashed, AgentError
from prunella.runtime import AgentSpec, Runtime, open_runtime
from prunella.storage import CommitFailed, MemoryStorage, StorageError, StorageUnavailable
from prunella.supervision import StartFailed, Supervisor
from prunella.testing.storage import Fault, FaultKind, FaultyStorage

METHODS = ("append", "claim", "load", "find", "agents", "due", "take", "commits", "release", "record", "renew")
MOST_CALLS = {"append": 30}
DELAY = 15.0


class Client:
    """Does what can be asked of two agents, and takes note of what it is told.

    Attributes:
        tried: what was asked for, with what has to follow from it.
        told: of which it was told that it is done.
        errors: what it was told else.
    """

    def __init__(self) -> None:
        self.tried: dict[str, dict[str, Any]] = {}
        self.told: set[str] = set()
        self.errors: list[Exception] = []

    async def ask(self, verb: Callable[..., Awaitable[Any]], name: str, **data: Any) -> None:
        self.tried[name] = data
        with trio.fail_after(120):  # Nobody waits for ever.
            try:
                await verb("count", name=name, **data)
            except (AgentError, StorageError) as error:
                self.errors.append(error)
            else:
                self.told.add(name)

    async def spend_a_day(self, runtime: Runtime) -> None:
        """Everything that agents do."""
        a, b = runtime.ref("a", Counter), runtime.ref("b", Counter)
        await self.ask(a.call, "called")
        await self.ask(a.cast, "cast", works=True)
        await self.ask(a.ask, "asked", works=True)
        await self.ask(a.call, "emitting", to="b")
        await self.ask(b.call, "ticking", ticks=True)
        with trio.fail_after(120):
            try:
                await a.call("boom", name="x")
                assert False, "it must crash"
            except AgentCrashed:
                pass
            except (AgentError, StorageError) as error:
                self.errors.append(error)
        await self.ask(a.call, "after a crash")
        with trio.fail_after(120):
            try:
                await runtime.hibernate("b", force=True)
            except (AgentError, StorageError) as error:
                self.errors.append(error)
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(self.ask, b.call, f"at once {number}")
                nursery.start_soon(self.ask, a.cast, f"thrown {number}")
        await self.ask(b.call, "emitting back", to="a", works=True)

    async def spend_a_good_day(self, runtime: Runtime) -> None:
        """The faults are over: all of it works."""
        errors, self.errors = self.errors, []
        a, b = runtime.ref("a", Counter), runtime.ref("b", Counter)
        for ref in (a, b):
            await self.ask(ref.call, f"good {ref.id} {len(self.tried)}", works=True)
        assert self.errors == []
        self.errors = errors
        await trio.sleep(60)
        assert (await runtime.outbox()).count == 0

    def check(self, a: Counter, b: Counter) -> None:
        counted = (*a.counted, *b.counted)
        assert len(set(counted)) == len(counted), "something was counted twice"
        assert self.told <= set(counted) <= set(self.tried)
        assert sorted((*a.noted, *b.noted)) == sorted(name for name in counted if self.tried[name].get("to"))
        for agent in (a, b):
            assert sorted(agent.worked) == sorted(name for name in agent.counted if self.tried[name].get("works"))
            assert sorted(agent.ticked) == sorted(name for name in agent.counted if self.tried[name].get("ticks"))


def opened(storage: Any) -> Any:
    return open_runtime(Supervisor([AgentSpec(Counter, "a"), AgentSpec(Counter, "b")]), storage=storage)


async def spend_a_day_with(*faults: Fault) -> tuple[Client, FaultyStorage]:
    """A day with these faults, a good one, and a further one in the next process."""
    kept = MemoryStorage()
    storage = FaultyStorage(kept, faults)
    client = Client()
    try:
        async with opened(storage) as runtime:
            await client.spend_a_day(runtime)
            storage.faults.clear()
            await trio.sleep(60)  # It may have found out that all is well by a try only.
            await client.spend_a_good_day(runtime)
            a, b = (runtime.ref(id, Counter).state() for id in ("a", "b"))
            client.check(a, b)
    except (StartFailed, StorageError):
        assert storage.faults, "it could be opened"  # or even closed
        storage.faults.clear()
    async with opened(kept) as runtime:
        await client.spend_a_good_day(runtime)
        client.check(*(runtime.ref(id, Counter).state() for id in ("a", "b")))
    return client, storage


async def test_a_day_without_faults() -> None:
    client, _ = await spend_a_day_with()
    assert client.told == set(client.tried)
    assert client.errors == []


async def days_with(method: str, fault: Callable[[int], Fault]) -> None:
    """Days in each of which another call of the method fails; the client is told what a storage has to raise."""
    for call in range(1, MOST_CALLS.get(method, 5) + 1):
        client, storage = await spend_a_day_with(fault(call))
        for error in client.errors:
            assert isinstance(error, StorageUnavailable | CommitFailed), f"call {call}: {error!r}"
        if storage.calls.count(method) < call:
            break


@pytest.mark.parametrize("kind", FaultKind)
@pytest.mark.parametrize("method", METHODS)
async def test_any_call_may_fail_in_any_way(method: str, kind: FaultKind) -> None:
    await days_with(method, lambda call: Fault(method, kind, call=call, delay=DELAY))


FOREIGN = (OSError(28, "no space left on device"), StorageError("something else"), RuntimeError("what is this?"))


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.ERROR_AFTER])
@pytest.mark.parametrize("method", METHODS)
async def test_any_call_may_fail_with_any_error(method: str, kind: FaultKind, error: Exception) -> None:
    await days_with(method, lambda call: Fault(method, kind, call=call, error=error))


faults = st.builds(
    Fault,
    st.sampled_from(METHODS) | st.just("append"),
    st.sampled_from(FaultKind),
    st.integers(1, 25),
    st.sampled_from([0.01, 1.0, DELAY]),
    st.none() | st.sampled_from(FOREIGN),
)


@given(st.lists(faults, min_size=2, max_size=8))
def test_much_may_fail_at_once(several: list[Fault]) -> None:
    run(partial(spend_a_day_with, *several))


async def test_while_the_storage_is_away_all_are_told_so_and_afterwards_all_is_well() -> None:
    storage = FaultyStorage(MemoryStorage())
    client = Client()
    async with opened(storage) as runtime:
        a, b = runtime.ref("a", Counter), runtime.ref("b", Counter)
        await client.ask(a.call, "before", to="b", works=True)
        storage.faults.append(Fault("*", FaultKind.UNAVAILABLE, call=None))
        for ref, verbs in ((a, (a.call, a.cast, a.ask)), (b, (b.cast, b.call, b.ask))):
            for verb in verbs:
                with pytest.raises(StorageUnavailable), trio.fail_after(10):
                    await verb("count", name="lost")
            # What is known to be down is told at once.
            begin = trio.current_time()
            with pytest.raises(StorageUnavailable):
                await ref.call("count", name="lost")
            with pytest.raises(StorageUnavailable):
                await ref.cast("count", name="lost")
            assert trio.current_time() - begin < 0.1
            assert "lost" not in ref.state().counted
            assert ref.status().restarts == 0
        await trio.sleep(600)
        storage.faults.clear()
        await trio.sleep(60)
        assert ref.status().restarts == 0
        await client.spend_a_good_day(runtime)
        client.tried["lost"] = {}
        for ref in (a, b):
            assert ref.state().counted.count("lost") <= 2  # two of them were in doubt
        assert [name for name in a.state().counted if name != "lost"] == ["before", "good a 1"]
        assert b.state().noted == ("before",)


@pytest.mark.parametrize("kind", [FaultKind.LOST_REQUEST, FaultKind.LOST_ANSWER])
async def test_whoever_waits_for_a_commit_in_doubt_is_told_what_the_storage_says(kind: FaultKind) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        ref = runtime.ref("a", Counter)
        storage.faults.append(Fault("append", kind))
        if kind is FaultKind.LOST_ANSWER:
            assert (await ref.call("count", name="x")).counted == ("x",)
        else:
            with pytest.raises(CommitFailed) as caught:
                await ref.call("count", name="x")
            assert caught.value.in_doubt
            assert ref.state().counted == ()


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
async def test_whatever_a_write_raises_leaves_it_in_doubt(error: Exception) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        ref = runtime.ref("a", Counter)
        storage.faults.append(Fault("append", FaultKind.UNAVAILABLE, error=error))
        with pytest.raises(CommitFailed) as caught:
            await ref.call("count", name="x")
        assert caught.value.in_doubt
        assert caught.value.__cause__ is error
        storage.faults[:] = [Fault("append", FaultKind.ERROR_AFTER, error=error, call=2)]
        assert (await ref.call("count", name="y")).counted == ("y",)
        assert (await ref.call("count", name="z")).counted == ("y", "z")  # it was written, which is seen


async def test_a_storage_all_of_whose_answers_are_lost_is_slow_and_no_more() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        a, b = runtime.ref("a", Counter), runtime.ref("b", Counter)
        storage.faults.append(Fault("append", FaultKind.LOST_ANSWER, call=None))
        for number in range(5):
            assert len((await a.call("count", name=f"x{number}")).counted) == number + 1
            await b.cast("count", name=f"y{number}")
        await b.wait_for(lambda state: len(state.counted) == 5)


async def test_what_is_no_error_of_a_storage_is_told_as_its_being_away() -> None:
    problem = OSError("no route to host")
    storage = FaultyStorage(MemoryStorage(), [Fault("find", FaultKind.UNAVAILABLE, call=None, error=problem)])
    async with open_runtime(storage=storage) as runtime:
        with pytest.raises(StorageUnavailable) as caught:
            await runtime.start_agent(Counter, id="a")
        assert caught.value.__cause__ is problem
    storage.faults[:] = [Fault("open", FaultKind.UNAVAILABLE, call=None, error=problem)]
    with pytest.raises(StorageUnavailable):
        async with open_runtime(storage=storage):
            pass


@pytest.mark.parametrize("error", FOREIGN, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [FaultKind.UNAVAILABLE, FaultKind.ERROR_AFTER])
@pytest.mark.parametrize("method", ["find", "claim", "load", "append"])
async def test_no_emit_is_lost_when_its_receiver_cannot_be_woken(
    method: str, kind: FaultKind, error: Exception
) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(AgentSpec(Counter, "a"), storage=storage) as runtime:
        a, b = runtime.ref("a", Counter), await runtime.start_agent(Counter, id="b")
        await runtime.hibernate(b)
        is_of_b = Fault(method, kind, error=error, call=None, when=lambda args, _: _key_of(args[0]).id == "b")
        storage.faults.append(is_of_b)
        await a.call("count", name="x", to="b")
        await trio.sleep(30)
        storage.faults.clear()
        await trio.sleep(30)
        await runtime.thaw(b)
        assert b.state().noted == ("x",)
        assert (await runtime.outbox()).count == 0


def _key_of(what: Any) -> Any:
    return getattr(what, "key", what)


async def test_a_storage_that_stays_broken_is_not_asked_without_a_pause() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        ref = runtime.ref("a", Counter)
        storage.faults.append(Fault("*", FaultKind.UNAVAILABLE, call=None, error=OSError("broken")))
        before = len(storage.calls)
        with pytest.raises(StorageError):
            await ref.call("count", name="x")
        await trio.sleep(60)
        assert len(storage.calls) - before < 60
        assert ref.status().restarts == 0
        storage.faults.clear()
        await trio.sleep(10)
        assert (await ref.call("count", name="y")).counted == ("y",)


async def test_after_an_error_nothing_is_handled_until_the_storage_was_read() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with opened(storage) as runtime:
        ref = runtime.ref("a", Counter)
        storage.faults += [Fault("append", FaultKind.LOST_ANSWER), Fault("load", FaultKind.UNAVAILABLE, call=None)]
        with pytest.raises(CommitFailed) as caught:
            await ref.call("count", name="x")
        assert caught.value.in_doubt  # nobody has shown whether it was written
        assert ref.state().counted == ()
        writes = storage.calls.count("append")
        with pytest.raises(StorageUnavailable):
            await ref.call("count", name="y")
        await trio.sleep(30)
        assert storage.calls.count("append") == writes
        storage.faults.clear()
        await trio.sleep(30)
        assert ref.state().counted == ("x",)
        assert (await ref.call("count", name="z")).counted == ("x", "z")
