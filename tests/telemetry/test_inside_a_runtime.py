"""What is opened inside a runtime reports to the runtime's listeners too, each event once."""

from __future__ import annotations

import contextvars
import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from prunella import Agent, AgentSpec, Child, Signal, Supervisor, on, open_runtime
from prunella.actions import action, open_runner, run
from prunella.agents import Emit, Run
from prunella.dispatch import NoopTarget, open_dispatcher
from prunella.supervision import StartFailed, open_supervisor
from prunella.telemetry import Event, Listeners
from prunella.telemetry._enclosing import Enclosing, enclosing

SIGNAL = Signal("a.b")
DISPATCHED = ["dispatch.start", "dispatch.stop"]
RAN = ["action.start", "action.stop"]


class Heard(list[Event]):
    """A listener that keeps what it hears, but for the attempts of actions."""

    def __call__(self, event: Event) -> None:
        if not event.name.startswith("action.attempt"):
            self.append(event)

    def names(self, prefix: str) -> list[str]:
        return [event.name for event in self if event.name.startswith(prefix)]


@action
async def work() -> int:
    return 1


@action
async def work_that_dispatches() -> None:
    await dispatch()


@action
async def work_that_runs() -> None:
    await run(work)


async def dispatch() -> None:
    async with open_dispatcher() as dispatcher:
        await dispatcher.dispatch(SIGNAL, NoopTarget())


async def run_alone() -> None:
    await run(work)


async def run_in_a_runner() -> None:
    async with open_runner() as runner:
        await runner.run(work)


async def supervise() -> None:
    async with open_supervisor(Supervisor([Child(trio.sleep_forever, id="inner")], id="inside")):
        pass


EVERYTHING: dict[str, tuple[Callable[[], Any], str, list[str]]] = {
    "a dispatcher": (dispatch, "dispatch.", DISPATCHED),
    "a run": (run_alone, "action.", RAN),
    "a runner": (run_in_a_runner, "action.", RAN),
}
each = pytest.mark.parametrize(("use", "prefix", "names"), EVERYTHING.values(), ids=EVERYTHING)


# In the block.


@each
async def test_what_is_opened_in_the_block_is_heard_once(use: Any, prefix: str, names: list[str]) -> None:
    heard = Heard()
    async with open_runtime(telemetry=[heard]):
        await use()
    assert heard.names(prefix) == names


async def test_a_tree_that_is_opened_in_the_block_is_heard_once() -> None:
    heard, own = Heard(), Heard()
    async with open_runtime(telemetry=[heard]):
        async with open_supervisor(Supervisor([Child(trio.sleep_forever)], id="inside"), telemetry=[own]):
            pass
    assert own
    assert [event for event in heard if event in own] == own


async def test_listeners_of_its_own_hear_the_same() -> None:
    heard, own = Heard(), Heard()
    async with open_runtime(telemetry=[heard]):
        async with open_dispatcher(telemetry=[own]) as dispatcher:
            await dispatcher.dispatch(SIGNAL, NoopTarget())
        await run(work, telemetry=[own])
        async with open_runner(telemetry=[own]) as runner:
            await runner.run(work)
    assert [event.name for event in own] == [*DISPATCHED, *RAN, *RAN]
    assert [event for event in heard if event in own] == own


async def test_one_who_listens_to_the_runtime_later_hears_it_too() -> None:
    heard = Heard()
    async with open_runtime() as runtime, open_dispatcher() as dispatcher:
        with runtime.telemetry.subscribe(heard):
            await dispatcher.dispatch(SIGNAL, NoopTarget())
        await dispatcher.dispatch(SIGNAL, NoopTarget())
    assert heard.names("dispatch.") == DISPATCHED


async def test_one_who_listens_to_the_dispatcher_hears_nothing_of_the_runtime() -> None:
    heard = Heard()
    async with open_runtime() as runtime, open_dispatcher() as dispatcher:
        with dispatcher.telemetry.subscribe(heard):
            await runtime.dispatcher.dispatch(SIGNAL, NoopTarget())
    assert heard == []


@each
async def test_what_is_opened_by_a_task_that_the_block_began_is_heard(
    use: Any, prefix: str, names: list[str], nursery: trio.Nursery
) -> None:
    heard = Heard()
    async with open_runtime(telemetry=[heard]):
        nursery.start_soon(use)
        await wait_all_tasks_blocked()
    assert heard.names(prefix) == names


# In its tree.


@each
async def test_what_is_opened_by_a_child_of_the_tree_is_heard_once(use: Any, prefix: str, names: list[str]) -> None:
    heard = Heard()
    async with open_runtime(Child(use, restart="temporary"), telemetry=[heard]):
        await wait_all_tasks_blocked()
    assert heard.names(prefix) == names


async def test_a_tree_that_is_opened_by_a_child_of_the_tree_is_heard() -> None:
    heard = Heard()
    async with open_runtime(Child(supervise, restart="temporary"), telemetry=[heard]):
        await wait_all_tasks_blocked()
    begun = [event for event in heard if "inner" in str(dict(event.attributes))]
    assert begun
    assert max(Counter(map(repr, begun)).values()) == 1


class Worker(Agent, name="worker"):
    @on("dispatch")
    def dispatch(self):
        return Run(work_that_dispatches)

    @on("run")
    def run(self):
        return Run(work_that_runs)

    @on("emit")
    def emit(self):
        return Emit("sent", to=NoopTarget())


async def test_what_an_action_of_an_agent_opens_is_heard_once() -> None:
    heard = Heard()
    async with open_runtime(AgentSpec(Worker), telemetry=[heard]) as runtime:
        await runtime.ref("worker").call_settled("dispatch")
        assert (heard.names("dispatch."), heard.names("action.")) == (DISPATCHED, RAN)
        heard.clear()
        await runtime.ref("worker").call_settled("run")
    ran = [(event.name, event.action) for event in heard if event.name.startswith("action.")]
    assert ran == [
        ("action.start", "work_that_runs"),
        ("action.start", "work"),
        ("action.stop", "work"),
        ("action.stop", "work_that_runs"),
    ]


async def test_what_the_runtime_itself_dispatches_is_heard_once() -> None:
    heard = Heard()
    async with open_runtime(AgentSpec(Worker), telemetry=[heard]) as runtime:
        await runtime.ref("worker").call_settled("emit")
    assert heard.names("dispatch.") == DISPATCHED


# Around it.


@each
async def test_nothing_is_heard_of_what_is_opened_after_the_block(use: Any, prefix: str, names: list[str]) -> None:
    heard = Heard()
    async with open_runtime(telemetry=[heard]):
        pass
    await use()
    assert heard.names(prefix) == []


async def test_nothing_is_heard_of_what_a_task_opens_that_outlives_the_block(nursery: trio.Nursery) -> None:
    heard = Heard()
    over = trio.Event()

    async def later() -> None:
        await over.wait()
        await dispatch()

    async with open_runtime(telemetry=[heard]):
        nursery.start_soon(later)
    over.set()
    await wait_all_tasks_blocked()
    assert heard.names("dispatch.") == []


async def test_a_task_that_outlives_the_inner_of_two_blocks_is_inside_of_the_outer(nursery: trio.Nursery) -> None:
    outer, inner = Heard(), Heard()
    over = trio.Event()

    async def later() -> None:
        await over.wait()
        await dispatch()

    async with open_runtime(telemetry=[outer]):
        async with open_runtime(telemetry=[inner]):
            nursery.start_soon(later)
        over.set()
        await wait_all_tasks_blocked()
    assert (outer.names("dispatch."), inner.names("dispatch.")) == (DISPATCHED, [])


async def fail(*, task_status: trio.TaskStatus[None]) -> None:
    raise ValueError


async def test_nothing_is_heard_of_what_is_opened_after_a_block_that_did_not_begin() -> None:
    heard = Heard()
    with pytest.raises(StartFailed):
        async with open_runtime(Child(fail), telemetry=[heard]):
            pass
    await dispatch()
    assert heard.names("dispatch.") == []


async def test_the_inner_one_of_two_runtimes_does_not_report_to_the_outer() -> None:
    outer, inner = Heard(), Heard()
    async with open_runtime(telemetry=[outer]):
        before = len(outer)
        async with open_runtime(AgentSpec(Worker), telemetry=[inner]) as runtime:
            await runtime.ref("worker").call_settled("dispatch")
            await dispatch()
            await run(work)
        assert len(outer) == before
        assert inner.names("dispatch.") == DISPATCHED * 2
        await dispatch()
    assert outer.names("dispatch.") == DISPATCHED
    assert inner.names("dispatch.") == DISPATCHED * 2


def test_blocks_may_be_left_in_any_order() -> None:
    first, second = Listeners(), Listeners()
    blocks = Enclosing(first), Enclosing(second)

    def in_any_order() -> None:
        for block in blocks:
            block.enter()
        assert enclosing() is second
        blocks[0].leave()
        assert enclosing() is second
        blocks[1].leave()
        assert enclosing() is None

    contextvars.copy_context().run(in_any_order)


def test_blocks_that_were_left_are_not_kept() -> None:
    def one_after_another() -> None:
        last = Enclosing(Listeners())
        last.enter()
        for _ in range(100):
            block = Enclosing(Listeners())
            block.enter()
            last.leave()
            last = block

    before = number_of_blocks()
    context = contextvars.copy_context()
    context.run(one_after_another)
    assert number_of_blocks() - before <= 2


def number_of_blocks() -> int:
    gc.collect()
    return sum(isinstance(each, Enclosing) for each in gc.get_objects())


@pytest.fixture
async def heard_by_fixture() -> AsyncIterator[Heard]:
    heard = Heard()
    async with open_runtime(telemetry=[heard]):
        yield heard


async def test_a_test_is_inside_of_the_block_that_its_fixture_opened(heard_by_fixture: Heard) -> None:
    await dispatch()
    assert heard_by_fixture.names("dispatch.") == DISPATCHED
