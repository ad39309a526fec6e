"""Durable agents that run actions: what they have asked for is found again, in its order, under the same keys."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from prunella.actions import IdempotencyKey, Instruction, Plan, Step, action, param, result_of
from prunella.agents import Agent, Run, on
from prunella.runtime import AgentSpec, open_runtime
from prunella.storage import MemoryStorage


class World:
    """What the actions do, and whether they come to an end."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.is_stuck = True


world = World()


@pytest.fixture(autouse=True)
def a_new_world() -> None:
    world.__init__()  # type: ignore[misc]


@action
async def reserve(item: str, key: IdempotencyKey) -> str:
    world.calls.append(("reserve", key))
    return f"{item} is yours"


@action
async def send(text: str, key: IdempotencyKey) -> str:
    world.calls.append(("send", key))
    if world.is_stuck:
        await trio.sleep_forever()
    return text.upper()


order = Plan(
    [Step("reserve", reserve, {"item": param("item")}), Step("send", send, {"text": result_of("reserve")})],
    name="order",
)


@action
async def one(name: str) -> None:
    world.calls.append(("one", name))
    if world.is_stuck:
        await trio.sleep_forever()


async def give_back(item: str) -> None:
    world.calls.append(("give back", item))


@action(compensate=give_back)
async def take(item: str, key: IdempotencyKey) -> str:
    world.calls.append(("take", key))
    if world.is_stuck:
        await trio.sleep_forever()
    return item


class Keeper(Agent, name="actions.keeper", durable=True):
    results: tuple[Any, ...] = ()

    @on("order")
    def order(self, item: str) -> Any:
        return Run(order, {"item": item}, then="done")

    @on("instruction")
    def instruction(self, item: str) -> Any:
        return Run(Instruction(order, {"item": "a pen"}, options={"total_timeout": 60.0}), {"item": item}, then="done")

    @on("several")
    def several(self, names: tuple[str, ...]) -> Any:
        return tuple(Run(one, {"name": name}) for name in names)

    @on("nowhere")
    def nowhere(self) -> Any:
        return Run(Plan([Step("one", one, {"name": "x"})], name="nowhere"))

    @on("take")
    def take(self, item: str) -> Any:
        return Run(take, {"item": item}, then="taken")

    @on("taken")
    def taken(self, result: str) -> Any:
        return self.set(results=(*self.results, result))

    @on("boom")
    def boom(self) -> Any:
        world.is_stuck = False
        raise ValueError("boom")

    @on("done")
    def done(self, result: Any) -> Any:
        return self.set(results=(*self.results, result["send"]))


@pytest.mark.parametrize("what", ["order", "instruction"])
async def test_a_plan_is_begun_again_after_the_process_with_the_same_keys(what: str) -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Keeper, "k", shutdown=0.0), storage=storage) as runtime:
        await runtime.ref("k").call(what, item="a book")
        await trio.sleep(1)
        assert [name for name, _ in world.calls] == ["reserve", "send"]
    world.is_stuck = False
    async with open_runtime(AgentSpec(Keeper, "k"), storage=storage) as runtime:
        state = await runtime.ref("k", Keeper).wait_for(lambda state: bool(state.results))
        assert state.results == ("A BOOK IS YOURS",)
    first = "default/-/k/1/0"
    assert world.calls == [("reserve", f"{first}/reserve"), ("send", f"{first}/send")] * 2


async def test_runs_that_wait_for_their_turn_keep_their_order_over_the_process() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Keeper, "k", runs=1, shutdown=0.0), storage=storage) as runtime:
        await runtime.ref("k").call("several", names=["a", "b", "c"])
        await trio.sleep(1)
    assert [name for _, name in world.calls] == ["a"]
    world.is_stuck = False
    async with open_runtime(AgentSpec(Keeper, "k", runs=1), storage=storage):
        await trio.sleep(1)
    assert [name for _, name in world.calls] == ["a", "a", "b", "c"]


async def test_a_run_that_a_crash_cuts_off_is_undone_and_then_begun_again() -> None:
    async with open_runtime(AgentSpec(Keeper, "k"), storage=MemoryStorage()) as runtime:
        keeper = runtime.ref("k", Keeper)
        await keeper.call("take", item="a pen")
        await trio.sleep(1)
        await keeper.cast("boom")
        assert (await keeper.wait_for(lambda state: bool(state.results))).results == ("a pen",)
    key = "default/-/k/1/0"
    assert world.calls == [("take", key), ("give back", "a pen"), ("take", key)]


async def test_a_plan_without_an_address_is_a_crash_before_the_commit_and_says_what_to_do() -> None:
    async with open_runtime(AgentSpec(Keeper, "k"), storage=MemoryStorage()) as runtime:
        with pytest.raises(Exception, match=r"nowhere.*define it at the top of a module"):
            await runtime.ref("k").call("nowhere")
        assert world.calls == []
