"""Waiting for states: each committed one is seen, through restarts, until the agent ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Counter, settle

from prunella.agents import AgentNotFound, AgentStopped
from prunella.errors import InvalidArgument
from prunella.runtime import AgentRef, Runtime, TooManyWaiters, _server, open_runtime, wait_all, wait_any
from prunella.supervision import Shutdown


class Waiting:
    """Somebody who waits beside a test."""

    def __init__(self, nursery: trio.Nursery, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.over = False
        nursery.start_soon(self._run, function, args)

    async def _run(self, function: Callable[..., Awaitable[Any]], args: Any) -> None:
        try:
            self.value = await function(*args)
        except Exception as error:
            self.error = error
        self.over = True


def waiters(runtime: Runtime, ref: AgentRef[Any]) -> int:
    server = runtime.find(ref.address)
    assert server is not None
    return len(server._waiters or ())


async def test_the_present_state_will_do() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter)
        state = await ref.wait_for(lambda state: state.count == 0)
        assert state is ref.state()


async def test_it_returns_the_state_that_fulfilled_the_predicate() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Counter)
        waiting = Waiting(nursery, ref.wait_for, lambda state: state.count == 3)
        await settle()
        for _ in range(10):
            ref.cast_nowait("add")
        await settle()
        assert ref.state().count == 10
        assert waiting.value.count == 3, "it was seen although nobody else ran meanwhile"
        assert waiters(runtime, ref) == 0


async def test_every_committed_state_is_seen_in_order() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Counter)
        seen: list[int] = []

        def look(state: Counter) -> bool:
            seen.append(state.count)
            return state.count == 50

        waiting = Waiting(nursery, ref.wait_for, look)
        await settle()
        for number in range(50):
            await (ref.call if number % 2 else ref.cast)("add")
        await settle()
        assert waiting.over
        assert seen == list(range(51))


async def test_a_refused_or_crashed_turn_shows_no_state() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Counter, restore="last")
        seen: list[int] = []

        def look(state: Counter) -> bool:
            seen.append(state.count)
            return False

        Waiting(nursery, ref.wait_for, look)
        await settle()
        await ref.cast("unknown")
        await ref.cast("add", amount="wrong")
        await ref.cast("add")
        await settle()
        assert seen == [0, 1]
        nursery.cancel_scope.cancel()


async def test_it_goes_on_through_restarts() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Counter)
        await ref.call("add", amount=5)
        fresh = Waiting(nursery, ref.wait_for, lambda state: state.count == 0)
        later = Waiting(nursery, ref.wait_for, lambda state: state.count == 2)
        await settle()
        await ref.cast("boom")
        await settle()
        assert fresh.over, "the state that the new life begins with is one"
        await ref.call("add", amount=2)
        await settle()
        assert later.over


async def test_it_fails_at_once_when_the_agent_ends() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Counter)
        waiting = Waiting(nursery, ref.wait_for, lambda state: False)
        await settle()
        await ref.stop("enough")
        await settle()
        assert isinstance(waiting.error, AgentStopped)
        assert waiting.error.reason == Shutdown("enough")
        assert waiting.error.address == ref.address


async def test_it_fails_when_the_runtime_is_left() -> None:
    async with trio.open_nursery() as nursery:
        async with open_runtime() as runtime:
            ref = await runtime.start_agent(Counter)
            waiting = Waiting(nursery, ref.wait_for, lambda state: False)
            await settle()
        await settle()
        assert isinstance(waiting.error, AgentStopped)


async def test_one_that_has_ended_or_never_was() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter)
        await ref.stop()
        with pytest.raises(AgentStopped):
            await ref.wait_for(lambda state: True)
        with pytest.raises(AgentNotFound):
            await runtime.ref("nobody", Counter).wait_for(lambda state: True)


async def test_what_a_predicate_raises_goes_to_whoever_waits_and_to_nobody_else() -> None:
    def fails_at(number: int) -> Callable[[Counter], bool]:
        def predicate(state: Counter) -> bool:
            if state.count == number:
                raise KeyError("mine")
            return False

        return predicate

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Counter)
        with pytest.raises(KeyError):
            await ref.wait_for(fails_at(0))
        one = Waiting(nursery, ref.wait_for, fails_at(1))
        other = Waiting(nursery, ref.wait_for, lambda state: state.count == 1)
        await settle()
        assert (await ref.call("add")).count == 1
        await settle()
        assert isinstance(one.error, KeyError)
        assert other.value.count == 1
        assert ref.status().restarts == 0
        assert waiters(runtime, ref) == 0


async def test_whoever_gives_up_is_forgotten() -> None:
    async with open_runtime() as runtime:
        ref, other = await runtime.start_agent(Counter), await runtime.start_agent(Counter)
        with trio.move_on_after(1):
            await ref.wait_for(lambda state: False)
        with trio.move_on_after(1):
            await wait_all([ref, other], lambda state: False)
        with trio.move_on_after(1):
            await wait_any([ref, other], lambda state: False)
        assert (waiters(runtime, ref), waiters(runtime, other)) == (0, 0)


async def test_only_so_many_may_wait_for_one_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _server._MOST_WAITERS == 10_000
    monkeypatch.setattr(_server, "_MOST_WAITERS", 3)
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref, other = await runtime.start_agent(Counter), await runtime.start_agent(Counter)
        for _ in range(3):
            Waiting(nursery, ref.wait_for, lambda state: False)
        await settle()
        with pytest.raises(TooManyWaiters) as raised:
            await ref.wait_for(lambda state: False)
        assert raised.value.address == ref.address
        for wait in (wait_all, wait_any):
            with pytest.raises(TooManyWaiters):
                await wait([other, ref], lambda state: False)
            assert waiters(runtime, other) == 0, "who was asked before is not left with a waiter"
        assert (await ref.wait_for(lambda state: True)).count == 0, "whoever need not wait is no waiter"
        nursery.cancel_scope.cancel()


# Several agents.


async def test_wait_all_gives_the_first_such_state_of_each() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        refs = [await runtime.start_agent(Counter) for _ in range(3)]
        await refs[0].call("add", amount=7)
        waiting = Waiting(nursery, wait_all, refs, lambda state: state.count > 0)
        await settle()
        await refs[2].call("add", amount=3)
        await refs[2].call("add", amount=3)
        await settle()
        assert not waiting.over
        await refs[1].call("add")
        await settle()
        assert {ref: state.count for ref, state in waiting.value.items()} == {refs[0]: 7, refs[1]: 1, refs[2]: 3}
        assert list(waiting.value) == refs


async def test_wait_all_fails_at_once_when_one_of_them_ends() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        refs = [await runtime.start_agent(Counter) for _ in range(3)]
        waiting = Waiting(nursery, wait_all, refs, lambda state: state.count)
        await settle()
        await refs[2].stop()
        await settle()
        assert isinstance(waiting.error, AgentStopped)
        assert waiting.error.address == refs[2].address
        assert [waiters(runtime, ref) for ref in refs[:2]] == [0, 0]
        with pytest.raises(AgentStopped):
            await wait_all(refs, lambda state: state.count)
        with pytest.raises(AgentNotFound):
            await wait_all([refs[0], runtime.ref("nobody", Counter)], lambda state: state.count)


async def test_wait_all_of_none_and_of_one_named_twice() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter)
        assert await wait_all([], lambda state: False) == {}
        assert await wait_all([ref, ref], lambda state: True) == {ref: ref.state()}


async def test_wait_any_gives_the_first_success() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        refs = [await runtime.start_agent(Counter) for _ in range(3)]
        waiting = Waiting(nursery, wait_any, refs, lambda state: state.count > 1)
        await settle()
        await refs[0].stop()
        await refs[1].call("add")
        await settle()
        assert not waiting.over, "one that ends spoils nothing"
        await refs[2].call("add", amount=2)
        await settle()
        assert waiting.value == (refs[2], refs[2].state())
        assert [waiters(runtime, ref) for ref in refs[1:]] == [0, 0]


async def test_wait_any_fails_when_the_last_has_ended() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        refs = [await runtime.start_agent(Counter) for _ in range(3)]
        waiting = Waiting(nursery, wait_any, [*refs, runtime.ref("nobody", Counter)], lambda state: False)
        await settle()
        for ref in refs:
            assert not waiting.over
            await ref.stop()
            await settle()
        assert isinstance(waiting.error, AgentStopped)
        assert waiting.error.address == refs[2].address


async def test_wait_any_raises_what_a_predicate_raises_although_others_are_left() -> None:
    def predicate(state: Counter) -> bool:
        if state.count:
            raise KeyError("mine")
        return False

    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        refs = [await runtime.start_agent(Counter) for _ in range(2)]
        waiting = Waiting(nursery, wait_any, refs, predicate)
        await settle()
        await refs[1].call("add")
        await settle()
        assert isinstance(waiting.error, KeyError)
        with pytest.raises(KeyError):
            await wait_any(refs, predicate)


async def test_wait_any_of_none_is_a_mistake() -> None:
    with pytest.raises(InvalidArgument) as raised:
        await wait_any([], lambda state: True)
    assert raised.value.field == "refs"


async def test_agents_of_two_runtimes_can_be_waited_for_together() -> None:
    async with open_runtime(name="a") as one, open_runtime(name="b") as other:
        refs = [await one.start_agent(Counter, "c"), await other.start_agent(Counter, "c")]
        states = await wait_all(refs, lambda state: state.count == 0)
        assert set(states) == set(refs)
        assert len(states) == 2


async def test_waiting_is_a_checkpoint_also_when_there_is_nothing_to_wait_for() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Counter)
        for wait in (
            lambda: ref.wait_for(lambda state: True),
            lambda: wait_all([ref], lambda state: True),
            lambda: wait_all([], lambda state: True),
            lambda: wait_any([ref], lambda state: True),
        ):
            with trio.testing.assert_checkpoints():
                await wait()
            with trio.CancelScope() as scope:
                scope.cancel()
                await wait()
                assert False
