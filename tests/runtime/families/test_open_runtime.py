"""Opening a runtime: the block, starts that fail, giving up, exceptions, and the order of the end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Child, Counter, Heard, Log, do, settle

from prunella.agents import Agent, AgentStopped, Directive, Run, SpawnAgent, on
from prunella.errors import InvalidArgument
from prunella.runtime import AgentEnded, AgentSpec, Runtime, open_runtime
from prunella.supervision import Child as Task
from prunella.supervision import (
    ChildExited,
    ChildStarted,
    Crashed,
    InvalidSpec,
    Shutdown,
    StartFailed,
    Supervisor,
    SupervisorFailed,
    SupervisorStopped,
)


async def forever() -> None:
    await trio.sleep_forever()


async def fails(*, task_status: trio.TaskStatus[None]) -> None:
    raise OSError("no")


class Farewell(Agent, name="farewell"):
    @on("prunella.stopping")
    def stopping(self) -> Any:
        return Run(trio.sleep, {"seconds": 1})


async def test_the_block_begins_when_all_of_the_tree_has_started() -> None:
    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(5)
        task_status.started()
        await trio.sleep_forever()

    begin = trio.current_time()
    async with open_runtime(Supervisor([AgentSpec(Counter, "a"), Task(slow), AgentSpec(Counter, "b")])) as runtime:
        assert trio.current_time() - begin == 5
        assert [ref.id for ref in runtime.agents()] == ["a", "b"]


@pytest.mark.parametrize("tree", [None, AgentSpec(Counter, "c"), Task(forever), Supervisor([AgentSpec(Counter, "c")])])
async def test_what_runs_from_the_beginning_is_nothing_an_agent_a_task_or_a_tree(tree: Any) -> None:
    async with open_runtime(tree) as runtime:
        assert runtime.count() == (0 if tree is None or isinstance(tree, Task) else 1)
        await runtime.start_agent(Log)


async def test_a_start_that_fails_raises_and_what_had_started_is_stopped(heard: Heard) -> None:
    tree = Supervisor([AgentSpec(Counter, "a"), AgentSpec(Counter, "b"), Task(fails, id="bad"), AgentSpec(Log, "c")])
    opened = open_runtime(tree, telemetry=[heard])
    with pytest.raises(StartFailed) as raised:
        async with opened:
            assert False
    assert isinstance(raised.value.__cause__, OSError)
    exits = [event.child for event in heard.of(ChildExited) if "/" in event.child]
    assert exits == [f"{tree.id}/b", f"{tree.id}/a", "prunella/scheduler"]
    assert sorted(event.agent or "" for event in heard.of(AgentEnded)) == ["a", "b"]


async def test_the_block_is_cancelled_when_the_root_gives_up() -> None:
    with pytest.raises(SupervisorFailed) as raised:
        async with open_runtime(AgentSpec(Counter, "c")) as runtime:
            for _ in range(4):
                await runtime.ref("c").cast("boom")
            await trio.sleep_forever()
    assert isinstance(raised.value.reason, Crashed)
    assert raised.value.reason.type is ValueError


async def test_how_many_restarts_the_root_allows_can_be_said() -> None:
    async with open_runtime(AgentSpec(Counter, "c"), max_restarts=100, max_seconds=1.0) as runtime:
        ref = runtime.ref("c")
        for _ in range(100):
            await ref.cast("boom")
        await settle()
        assert ref.status().restarts == 100
    with pytest.raises(SupervisorFailed):
        async with open_runtime(AgentSpec(Counter, "c"), max_restarts=0) as runtime:
            await runtime.ref("c").cast("boom")
            await trio.sleep_forever()


async def test_an_agent_that_was_started_later_and_crashes_for_good_does_not_end_the_runtime() -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        later = await runtime.start_agent(Counter, "later")
        for _ in range(4):
            await later.cast("boom")
        assert isinstance(await later.wait_stopped(), Crashed)
        assert (await runtime.ref("c", Counter).call("add")).count == 1
        await runtime.start_agent(Counter, "later")


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3), BaseException("odd")])
async def test_what_the_block_raises_comes_out_as_it_is_after_the_agents_have_stopped(
    error: BaseException, heard: Heard
) -> None:
    with pytest.raises(BaseException) as raised:  # noqa: PT011
        async with open_runtime(Supervisor([AgentSpec(Counter, "a"), AgentSpec(Counter, "b")]), telemetry=[heard]):
            raise error
    assert raised.value is error
    assert [event.agent for event in heard.of(AgentEnded)] == ["b", "a"]


async def test_also_if_the_caller_is_cancelled_meanwhile() -> None:
    error = ValueError("mine")
    with trio.CancelScope() as scope:
        with pytest.raises(ValueError, match="mine"):
            async with open_runtime(AgentSpec(Counter, "c")):
                scope.cancel()
                raise error


async def test_a_caller_that_is_cancelled_stops_the_runtime_in_order_and_goes_on_being_cancelled(heard: Heard) -> None:
    with trio.move_on_after(5) as scope:
        async with open_runtime(AgentSpec(Farewell, "f"), telemetry=[heard]):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert [(event.agent, event.reason) for event in heard.of(AgentEnded)] == [("f", "shutdown")]


async def test_agents_started_later_stop_before_those_of_the_tree(heard: Heard) -> None:
    async with open_runtime(
        Supervisor([AgentSpec(Farewell, "tree-1"), AgentSpec(Farewell, "tree-2")]), telemetry=[heard]
    ) as runtime:
        later = await runtime.start_agent(Farewell, "later")
        assert later.state()
    ended = [(event.agent, event.time) for event in heard.of(AgentEnded)]
    assert [agent for agent, _ in ended] == ["later", "tree-2", "tree-1"]
    assert ended[2][1] - ended[0][1] == 2.0, "each has its time, one after the other"


async def test_agents_started_later_stop_all_at_once(heard: Heard) -> None:
    begin = trio.current_time()
    async with open_runtime(telemetry=[heard]) as runtime:
        for number in range(20):
            await runtime.start_agent(Farewell, str(number))
    assert trio.current_time() - begin == 1.0
    assert len(heard.of(AgentEnded)) == 20


async def test_when_it_has_been_left_everybody_hears_that_its_agents_have_stopped() -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        ref = runtime.ref("c", Counter)
        await ref.call("add")
    assert runtime.count() == 0
    for verb in (lambda: ref.call("add"), lambda: ref.cast("add"), lambda: ref.ask("add"), ref.suspend):
        with pytest.raises(AgentStopped) as raised:
            await verb()
        assert raised.value.reason == Shutdown()
    with pytest.raises(SupervisorStopped):
        await runtime.start_agent(Counter)


async def test_whoever_waits_when_it_is_left_hears_at_once() -> None:
    outcomes: list[Any] = []

    async def outcome(verb: Callable[[], Any]) -> None:
        try:
            outcomes.append(await verb())
        except AgentStopped:
            outcomes.append("stopped")

    async with trio.open_nursery() as nursery:
        async with open_runtime(AgentSpec(Counter, "c")) as runtime:
            ref = runtime.ref("c", Counter)
            await ref.suspend()
            for verb in (
                lambda: ref.call("add"),
                lambda: ref.ask("add"),
                lambda: ref.wait_for(lambda state: False),
            ):
                nursery.start_soon(outcome, verb)
            nursery.start_soon(outcome, ref.wait_stopped)
            await settle()
    assert sorted(map(str, outcomes)) == sorted(["stopped"] * 3 + [str(Shutdown())])


async def test_an_agent_outside_of_a_runtime_cannot_be_started() -> None:
    from prunella.supervision import open_supervisor

    with pytest.raises(StartFailed) as raised:
        async with open_supervisor(Supervisor([AgentSpec(Counter, "c")])):
            assert False
    assert isinstance(raised.value.__cause__, InvalidSpec)
    assert "open_runtime" in str(raised.value.__cause__)


async def test_a_user_s_supervisor_inside_gives_up_and_is_restarted_with_its_agents() -> None:
    inner = Supervisor([AgentSpec(Counter, "a"), AgentSpec(Counter, "b")], id="inner", max_restarts=0)
    async with open_runtime(Supervisor([inner])) as runtime:
        a, b = runtime.ref("a", Counter), runtime.ref("b", Counter)
        await b.call("add")
        await a.cast("boom")
        await settle()
        assert (a.status().restarts, b.status().restarts) == (1, 1)
        assert b.state().count == 0


async def test_several_runtimes_in_one_process_have_nothing_in_common() -> None:
    async with open_runtime(AgentSpec(Counter, "c"), name="a") as one:
        with pytest.raises(SupervisorFailed):
            async with open_runtime(AgentSpec(Counter, "c"), name="b") as other:
                await other.ref("c", Counter).call("add")
                assert one.ref("c", Counter).state().count == 0
                for _ in range(4):
                    await other.ref("c").cast("boom")
                await trio.sleep_forever()
        assert one.ref("c").status().restarts == 0
        assert (await one.ref("c", Counter).call("add")).count == 1


async def test_a_runtime_may_be_opened_inside_a_child_of_another() -> None:
    counts: list[int] = []

    async def inner(*, task_status: trio.TaskStatus[None]) -> None:
        async with open_runtime(AgentSpec(Counter, "c"), name="inner") as runtime:
            counts.append((await runtime.ref("c", Counter).call("add")).count)
            task_status.started()
            await trio.sleep_forever()

    async with open_runtime(Supervisor([Task(inner), AgentSpec(Counter, "c")]), name="outer") as runtime:
        assert runtime.ref("c", Counter).state().count == 0
        assert counts == [1]
        assert runtime.count() == 1


async def test_handlers_see_the_context_variables_of_the_opening_and_not_their_callers() -> None:
    from contextvars import ContextVar

    variable: ContextVar[str] = ContextVar("variable", default="none")

    class Reader(Agent, name="reader"):
        seen: str = ""

        @on("read")
        def read(self) -> Any:
            return self.set(seen=variable.get())

    variable.set("opener")
    async with open_runtime(AgentSpec(Reader)) as runtime:
        variable.set("caller")
        assert (await runtime.ref("reader", Reader).call("read")).seen == "opener"


async def test_the_tree_shows_the_parts_of_the_runtime_too() -> None:
    async with open_runtime(Supervisor([AgentSpec(Counter, "c")], id="mine"), name="shop") as runtime:
        await runtime.start_agent(Log, "later")
        picture = runtime.tree()
        assert picture.id == "shop"
        assert [child.id for child in picture.children] == ["prunella", "mine", "prunella.agents"]
        assert [child.id for child in picture.children[1].children] == ["c"]
        assert [child.id for child in picture.children[2].children] == ["later"]


async def test_reports_of_supervision_go_to_the_same_listeners(heard: Heard) -> None:
    later: list[Any] = []
    async with open_runtime(Supervisor([AgentSpec(Counter, "c")], id="mine"), telemetry=[heard]) as runtime:
        assert "mine/c" in [event.child for event in heard.of(ChildStarted)]
        with runtime.telemetry.subscribe(later.append):
            await runtime.ref("c").cast("boom")
            await settle()
        before = len(later)
        assert "mine/c" in [event.child for event in later if isinstance(event, ChildExited)]
        await runtime.start_agent(Log, "log")
        assert len(later) == before
        assert "prunella.agents/log" in [event.child for event in heard.of(ChildStarted)]


class Ring(Directive):
    pass


async def ring(directive: Ring, context: Any) -> None:
    pass


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("name", {"name": ""}),
        ("name", {"name": 7}),
        ("recorder", {"recorder": -1}),
        ("recorder", {"recorder": True}),
        ("recorder", {"recorder": 1.5}),
        ("storage", {"storage": object()}),
        ("claim", {"claim": "perhaps"}),
        ("agents", {"agents": [7]}),
        ("agents", {"agents": Counter}),
        ("epoch", {"epoch": datetime(2030, 1, 1)}),
        ("executors", {"executors": [Ring]}),
        ("executors", {"executors": {int: ring}}),
        ("executors", {"executors": {Ring: 7}}),
        ("secrets", {"secrets": 7}),
        ("secrets", {"secrets": {"hook": "text"}}),
        ("abandon_after", {"abandon_after": -1.0}),
        ("max_restarts", {"max_restarts": -1}),
        ("max_seconds", {"max_seconds": 0}),
        ("telemetry", {"telemetry": ring}),
        ("telemetry", {"telemetry": 7, "recorder": 1}),
        ("listener", {"telemetry": [7]}),
        ("listener", {"telemetry": [ring]}),
    ],
)
def test_what_is_wrong_is_said_at_once_and_names_the_argument(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as raised:
        open_runtime(**options)
    assert raised.value.field == field


def test_a_tree_that_is_none_is_refused_at_once() -> None:
    for tree in (7, Counter, "counter", [AgentSpec(Counter)]):
        with pytest.raises(InvalidSpec):
            open_runtime(tree)


async def test_all_arguments_that_are_right_are_taken() -> None:
    async with open_runtime(
        AgentSpec(Counter, "c"),
        name="n",
        storage=None,
        telemetry=[lambda event: None],
        executors={Ring: ring},
        strict=True,
        epoch=datetime(2030, 1, 1, tzinfo=UTC),
        max_restarts=1,
        max_seconds=1.0,
        agents=[Counter],
        claim="refuse",
        handle_os_signals=False,
        abandon_after=100.0,
        secrets={"hook": b"between us"},
        recorder=10,
    ) as runtime:
        assert isinstance(runtime, Runtime)
        assert runtime.name == "n"


async def test_many_children_of_an_agent_that_ends_while_the_runtime_closes() -> None:
    async with open_runtime(AgentSpec(Log, "p")) as runtime:
        await do(runtime.ref("p"), *(SpawnAgent(Child, tag=str(n), restart="permanent") for n in range(50)))
        assert runtime.count() == 51
    assert runtime.count() == 0
