"""Plans: every step once, each after what it depends on, and what was done undone when one fails."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from prunella.actions import (
    ActionFailed,
    ActionTimeout,
    Failure,
    IdempotencyKey,
    Instruction,
    InvalidInput,
    InvalidPlan,
    Plan,
    PlanFailed,
    Result,
    Step,
    Success,
    action,
    chain,
    param,
    result_of,
    run,
    try_run,
)
from prunella.actions._graph import Progress, ancestors, cycle_in, drawn, phases_of
from prunella.errors import DefinitionError
from prunella.supervision import Backoff
from prunella.telemetry import Event


@action
async def nothing() -> None: ...


@action
async def number(value: int) -> int:
    """Gives it back.

    Args:
        value: what to give.
    """
    return value


@action
async def add(a: int, b: int = 1) -> int:
    return a + b


@action
async def fail(message: str = "no") -> None:
    raise ConnectionError(message)


@action
async def wait(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds


def test_phases_and_their_order() -> None:
    plan = Plan(
        [
            Step("a", nothing),
            Step("b", nothing, depends_on="a"),
            Step("c", nothing, depends_on=["a"]),
            Step("d", nothing, depends_on=("b", "c")),
            Step("e", nothing, depends_on="d"),
            Step("solo", nothing),
        ]
    )
    assert plan.phases == (("a", "solo"), ("b", "c"), ("d",), ("e",))
    assert Plan([]).phases == ()


async def test_results_go_from_step_to_step() -> None:
    plan = Plan(
        [
            Step("sum", add, {"a": result_of("one"), "b": result_of("two")}),
            Step("one", number, {"value": param("first")}),
            Step("two", number, {"value": 2}),
        ],
        name="sums",
    )
    assert await run(plan, {"first": 1}) == {"sum": 3, "one": 1, "two": 2}
    assert await plan(first=5) == {"sum": 7, "one": 5, "two": 2}
    assert await run(Plan([])) == {}


async def test_results_may_stand_inside_of_values() -> None:
    @action
    async def collect(items: tuple[int, ...], named: Mapping[str, int]) -> list[Any]:
        return [items, dict(named)]

    plan = Plan(
        [
            Step("a", number, {"value": 1}),
            Step("all", collect, {"items": [result_of("a"), param("b")], "named": {"a": result_of("a")}}),
        ]
    )
    assert (await run(plan, {"b": 2}))["all"] == [(1, 2), {"a": 1}]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([Step("a", nothing), Step("a", nothing)], "two steps 'a'"),
        ([Step("a", nothing, depends_on="z")], "'a' on 'z'; there are 'a'"),
        ([Step("a", number, {"value": result_of("z")})], "'a' on 'z'"),
        ([Step("a", nothing, depends_on="a")], "a -> a"),
        ([Step("a", number)], "needs 'value'"),
        ([Step("a", number, {"value": 1, "other": 1})], "no parameter 'other'"),
        ([Step("a", number, {"value": "1"})], "'value' does not fit"),
        ([Step("a", number, {"value": param("x")}), Step("b", wait, {"seconds": param("x")})], "two types"),
        ([nothing], "must be Step"),
    ],
)
def test_steps_that_do_not_fit_are_refused(steps: list[Any], said: str) -> None:
    with pytest.raises(InvalidPlan, match=said) as caught:
        Plan(steps)
    assert isinstance(caught.value, DefinitionError)


def test_a_cycle_is_named() -> None:
    with pytest.raises(InvalidPlan, match="a -> b -> c -> a") as caught:
        Plan(
            [
                Step("x", nothing),
                Step("a", nothing, depends_on=["c", "x"]),
                Step("b", nothing, depends_on="a"),
                Step("c", nothing, depends_on="b"),
            ]
        )
    assert caught.value.cycle == ("a", "b", "c", "a")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Step("a b", nothing),
        lambda: Step("a", print),  # type: ignore[arg-type]
        lambda: Step("a", nothing, [1]),  # type: ignore[arg-type]
        lambda: Step("a", nothing, when=3),  # type: ignore[arg-type]
        lambda: Step("a", nothing, depends_on=[1]),  # type: ignore[list-item]
        lambda: Step("a", nothing, retries=-1),
        lambda: Step("a", nothing, compensate=lambda other: None),
        lambda: Step("a", streaming),
        lambda: Plan([], on_failure="other"),  # type: ignore[arg-type]
        lambda: Plan([], max_concurrency=0),
        lambda: Plan([], timeout=-1),
        lambda: Plan([], name="a b"),
        lambda: Plan([], compensate=lambda other: None),
    ],
)
def test_other_mistakes_are_refused_when_it_is_made(make: Any) -> None:
    with pytest.raises(InvalidPlan):
        make()


def test_a_misspelt_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="for one run"):
        Plan([], idempotency_key="k")
    with pytest.raises(TypeError, match="'retry'"):
        Step("a", nothing, retry=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="'open'"):
        Plan([], open=True)  # type: ignore[call-arg]


@action
async def streaming() -> AsyncIterator[int]:
    yield 1


async def test_the_parameters_of_a_plan_have_the_types_of_what_they_stand_for() -> None:
    plan = Plan([Step("a", number, {"value": param("x")}), Step("b", add, {"a": result_of("a"), "b": param("y")})])
    assert plan.input_schema["properties"]["x"] == {"type": "integer", "description": "what to give."}
    assert plan.input_schema["required"] == ["x"]
    assert await run(plan, {"x": 1}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidInput) as caught:
        await run(plan, {"x": "1"})
    assert (caught.value.path, caught.value.expected) == ("x", "int")
    with pytest.raises(InvalidInput):
        await run(plan, {"x": 1, "z": 1})


async def test_steps_run_side_by_side_up_to_a_limit(autojump_clock: trio.testing.MockClock) -> None:
    steps = [Step(f"s{number}", wait, {"seconds": 1.0}) for number in range(6)]
    for limit, seconds in ((None, 1), (2, 3), (1, 6)):
        begun = trio.current_time()
        await run(Plan(steps, max_concurrency=limit))
        assert trio.current_time() - begun == pytest.approx(seconds)


async def test_a_step_waits_for_its_own_dependencies_only(autojump_clock: trio.testing.MockClock) -> None:
    plan = Plan(
        [
            Step("slow", wait, {"seconds": 5.0}),
            Step("fast", wait, {"seconds": 1.0}),
            Step("after", wait, {"seconds": 1.0}, depends_on="fast"),
        ]
    )
    begun = trio.current_time()
    await run(plan)
    assert trio.current_time() - begun == pytest.approx(5.0)


async def test_a_step_whose_condition_does_not_hold_is_left_out_with_what_depends_on_it() -> None:
    events: list[Event] = []
    seen: list[Any] = []
    plan = Plan(
        [
            Step("one", number, {"value": 1}),
            Step("two", number, {"value": 2}, depends_on="one", when=lambda results: seen.append(dict(results))),
            Step("three", add, {"a": result_of("two")}),
            Step("four", add, {"a": result_of("three")}),
            Step("five", number, {"value": 5}, when=lambda results: True),
        ]
    )
    assert await run(plan, telemetry=[events.append]) == {"one": 1, "five": 5}
    assert seen == [{"one": 1}]
    left_out = [event.attributes["step"] for event in events if event.name == "action.step.skipped"]
    assert left_out == ["two", "three", "four"]


async def test_a_condition_that_raises_fails_its_step() -> None:
    plan = Plan([Step("a", nothing, when=lambda results: results["zzz"])])
    with pytest.raises(PlanFailed) as caught:
        await run(plan)
    assert caught.value.failed == "a"
    assert isinstance(caught.value.__cause__, ActionFailed)
    assert isinstance(caught.value.__cause__.__cause__, KeyError)


@pytest.mark.parametrize(("on_failure", "kept"), [("cancel", {"first": 0.5}), ("finish", {"first": 0.5, "slow": 3.0})])
async def test_a_failure_cancels_siblings_or_lets_them_end(
    autojump_clock: trio.testing.MockClock, on_failure: Any, kept: dict[str, float]
) -> None:
    plan = Plan(
        [
            Step("slow", wait, {"seconds": 3.0}),
            Step("first", wait, {"seconds": 0.5}),
            Step("broken", fail, depends_on="first"),
            Step("never", nothing, depends_on="slow"),
        ],
        on_failure=on_failure,
    )
    with pytest.raises(PlanFailed) as caught:
        await run(plan)
    assert caught.value.failed == "broken"
    assert caught.value.results == kept
    assert isinstance(caught.value.__cause__, ActionFailed)
    assert caught.value.retryable
    assert caught.value.action == "plan"


def keeping(log: list[Any], name: str, *, error: bool = False) -> Any:
    async def undo(value: int, error: Any, result: Any = None) -> None:
        log.append((f"undo {name}", value, result))

    @action(name=name, compensate=undo)
    async def work(value: int) -> int:
        log.append(name)
        if error:
            raise ValueError(name)
        return value * 10

    return work


async def test_what_was_done_is_undone_the_last_one_first() -> None:
    log: list[Any] = []
    plan = Plan(
        [
            Step("a", keeping(log, "a"), {"value": 1}),
            Step("b", keeping(log, "b"), {"value": result_of("a")}),
            Step("plain", nothing, depends_on="b"),
            Step("c", keeping(log, "c", error=True), {"value": 3}, depends_on="plain"),
        ]
    )
    with pytest.raises(PlanFailed) as caught:
        await run(plan)
    assert log == ["a", "b", "c", ("undo c", 3, None), ("undo b", 10, 100), ("undo a", 1, 10)]
    assert caught.value.compensation == "completed"


async def test_a_plan_may_have_an_undoing_of_its_own() -> None:
    log: list[Any] = []

    async def undo(x: int, error: Any) -> None:
        log.append(("plan", x, error.failed))

    plan = Plan([Step("a", keeping(log, "a"), {"value": param("x")}), Step("b", fail, depends_on="a")], compensate=undo)
    with pytest.raises(PlanFailed) as caught:
        await run(plan, {"x": 1})
    assert log == ["a", ("undo a", 1, 10), ("plan", 1, "b")]
    assert caught.value.compensation == "completed"


async def test_undoing_that_fails_does_not_keep_others_from_it() -> None:
    log: list[Any] = []

    @action(compensate=lambda: 1 / 0)
    async def bad() -> None: ...

    plan = Plan(
        [
            Step("a", keeping(log, "a"), {"value": 1}),
            Step("bad", bad, depends_on="a"),
            Step("broken", fail, depends_on="bad"),
        ]
    )
    with pytest.raises(PlanFailed) as caught:
        await run(plan)
    assert log == ["a", ("undo a", 1, 10)]
    assert caught.value.compensation == "failed"
    assert "ZeroDivisionError" in caught.value.__notes__[0]


async def test_the_undoing_of_the_step_that_failed_counts_too() -> None:
    with pytest.raises(PlanFailed) as caught:
        await run(Plan([Step("a", keeping([], "a", error=True), {"value": 1})]))
    assert caught.value.compensation == "completed"


async def test_a_plan_inside_a_plan_is_undone_too() -> None:
    log: list[Any] = []
    inner = Plan(
        [Step("x", keeping(log, "x"), {"value": 1}), Step("y", keeping(log, "y"), {"value": 2}, depends_on="x")]
    )
    outer = Plan([Step("inner", inner), Step("broken", fail, depends_on="inner")])
    assert isinstance(await try_run(outer), Failure)
    assert log == ["x", "y", ("undo y", 2, 20), ("undo x", 1, 10)]


async def test_a_plan_that_takes_too_long_or_is_cancelled_is_undone(autojump_clock: trio.testing.MockClock) -> None:
    log: list[Any] = []
    plan = Plan([Step("a", keeping(log, "a"), {"value": 1}), Step("slow", wait, {"seconds": 9.0}, depends_on="a")])
    with pytest.raises(ActionTimeout) as caught:
        await run(plan, timeout=2.0)
    assert log == ["a", ("undo a", 1, 10)]
    assert caught.value.compensation == "completed"
    log.clear()
    with trio.move_on_after(1) as scope:
        await run(plan)
    assert scope.cancelled_caught
    assert log == ["a", ("undo a", 1, 10)]


async def test_a_plan_tries_nothing_again_unless_it_says_so(autojump_clock: trio.testing.MockClock) -> None:
    calls: list[int] = []

    @action
    async def flaky() -> None:
        calls.append(1)
        raise ConnectionError

    steady = Backoff(1.0, 1.0, 1.0, jitter=0.0)
    assert isinstance(await try_run(Plan([Step("a", flaky)])), Failure)
    assert len(calls) == 1
    assert isinstance(await try_run(Plan([Step("a", flaky)], retries=1, backoff=steady)), Failure)
    assert len(calls) == 3
    assert isinstance(await try_run(Plan([Step("a", flaky, retries=1, backoff=steady)], retries=5)), Failure)
    assert len(calls) == 5  # the innermost declaration counts


async def test_options_of_steps_are_honoured(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(PlanFailed) as caught:
        await run(Plan([Step("a", wait, {"seconds": 5.0}, timeout=1.0)]))
    assert isinstance(caught.value.__cause__, ActionTimeout)


async def test_an_instruction_may_be_a_step() -> None:
    plan = Plan([Step("a", Instruction(add, {"a": 1, "b": 1}), {"b": 5})])
    assert await run(plan) == {"a": 6}


async def test_directives_and_keys_of_steps() -> None:
    keys: list[str] = []

    @action
    async def work(key: IdempotencyKey) -> Result[int]:
        keys.append(key)
        return Result(1, ["directive"])

    plan = Plan([Step("a", work), Step("b", work, depends_on="a")])
    assert await try_run(plan, idempotency_key="k") == Success({"a": 1, "b": 1}, ("directive", "directive"), 1)
    assert keys == ["k/a", "k/b"]


async def test_each_step_is_a_span_of_the_plan() -> None:
    events: list[Event] = []
    await run(Plan([Step("a", nothing)], name="outer"), telemetry=[events.append])
    [outer, inner] = [event for event in events if event.name == "action.start"]
    assert (outer.attributes["action"], inner.attributes["step"]) == ("outer", "a")
    assert inner.parent_span_id == outer.span_id


def test_the_graph_as_text() -> None:
    plan = Plan([Step("a", nothing), Step("end", number, {"value": 1}, depends_on="a", when=lambda results: True)])
    assert plan.mermaid() == 'flowchart TD\n    s0["a: nothing"]\n    s1{{"end: number"}}\n    s0 --> s1\n'


def test_the_graph_as_a_picture() -> None:
    plan = Plan(
        [
            Step("nothing", nothing),
            Step("left", nothing, depends_on="nothing"),
            Step("right", nothing, depends_on="nothing", when=lambda results: True),
            Step("end", nothing, depends_on=["left", "right"]),
            Step("alone", nothing),
        ],
        name="publish",
    )
    assert plan.picture().splitlines() == [
        "publish",
        "├─ nothing",
        "│  ├─ left: nothing",
        "│  └─ right: nothing ?",
        "│     └─ end: nothing (and after left)",
        "└─ alone: nothing",
    ]
    assert Plan([]).picture() == "plan\n"


async def test_a_failing_plan_wraps_no_exception_in_a_group() -> None:
    steps = [Step(f"s{index}", fail) for index in range(3)]
    with pytest.raises(PlanFailed):
        await run(Plan(steps))


def test_an_interrupt_in_a_step_comes_out_bare_and_what_was_done_is_undone() -> None:
    log: list[Any] = []

    @action
    async def interrupt() -> None:
        raise KeyboardInterrupt

    plan = Plan([Step("a", keeping(log, "a"), {"value": 1}), Step("b", interrupt, depends_on="a")])
    with pytest.raises(KeyboardInterrupt):
        trio.run(run, plan)
    assert log == ["a", ("undo a", 1, 10)]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    size = draw(st.integers(0, 9))
    names = draw(st.permutations([f"s{number}" for number in range(size)]))
    edges = {
        name: tuple(draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3))) if place else ()
        for place, name in enumerate(names)
    }
    return {name: edges[name] for name in draw(st.permutations(names))}


@given(graphs())
def test_a_picture_has_a_line_for_each_step_below_all_that_it_waits_for(edges: dict[str, tuple[str, ...]]) -> None:
    lines = [line.split("─ ")[1] for line in drawn("plan", edges, {name: name for name in edges}).splitlines()[1:]]
    places = {line.split(" ")[0]: place for place, line in enumerate(lines)}
    assert sorted(places) == sorted(edges)
    assert len(lines) == len(edges)
    for name, others in edges.items():
        said = lines[places[name]].partition("(and after ")[2].rstrip(")").split(", ")
        above = [other for other in others if other not in said]
        assert len(above) == bool(others)
        assert all(places[other] < places[name] for other in above)


def test_a_picture_of_a_long_plan() -> None:
    edges = {f"s{number}": (f"s{number - 1}",) if number else () for number in range(2_000)}
    assert drawn("plan", edges, {name: name for name in edges}).count("\n") == 2_001


@given(graphs(), st.none() | st.integers(1, 3), st.data())
def test_a_plan_runs_every_step_once_and_respects_its_edges(
    edges: dict[str, tuple[str, ...]], limit: int | None, data: st.DataObject
) -> None:
    begun: list[str] = []
    ended: list[str] = []
    seconds = {name: data.draw(st.sampled_from([0.0, 1.0, 2.0])) for name in edges}

    @action
    async def work(name: str) -> str:
        begun.append(name)
        assert all(other in ended for other in edges[name])
        assert limit is None or len(begun) - len(ended) <= limit
        await trio.sleep(seconds[name])
        ended.append(name)
        return name

    plan = Plan(
        [Step(name, work, {"name": name}, depends_on=others) for name, others in edges.items()], max_concurrency=limit
    )
    results = trio.run(run, plan, clock=trio.testing.MockClock(autojump_threshold=0))
    assert results == {name: name for name in edges}
    assert list(results) == list(edges)
    assert sorted(begun) == sorted(ended) == sorted(edges)


@given(graphs(), st.none() | st.integers(1, 3), st.randoms(use_true_random=False))
def test_the_order_is_decided_without_a_loop(edges: dict[str, tuple[str, ...]], limit: int | None, chance: Any) -> None:
    assert cycle_in(edges) == ()
    before = ancestors(edges)
    progress = Progress(edges, limit)
    running: set[str] = set()
    done: set[str] = set()
    out: set[str] = set()
    while True:
        begun, skipped = progress.next()
        out |= set(skipped)
        for name in begun:
            assert set(edges[name]) <= done
            assert before[name] <= done
            running.add(name)
        assert limit is None or len(running) <= limit
        if not running:
            break
        name = chance.choice(sorted(running))
        running.remove(name)
        if chance.random() < 0.2:
            out.add(name)
            progress.leave_out(name)
        else:
            done.add(name)
            progress.done(name)
    assert done | out == set(edges)
    for name in done:
        assert not out & before[name]
    depth = {name: level for level, names in enumerate(phases_of(edges)) for name in names}
    assert all(depth[other] < depth[name] for name, others in edges.items() for other in others)


@given(st.integers(0, 30))
def test_nothing_is_left_and_all_is_undone_wherever_a_plan_is_cancelled(checkpoints: int) -> None:
    held: set[str] = set()

    async def give_back(name: str) -> None:
        held.discard(name)

    @action(compensate=give_back)
    async def take(name: str) -> None:
        held.add(name)
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()

    plan = Plan(
        [
            Step("a", take, {"name": "a"}),
            Step("b", take, {"name": "b"}),
            Step("c", take, {"name": "c"}, depends_on=["a", "b"]),
            Step("d", fail, depends_on="c"),
        ]
    )

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(try_run, plan)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert not held

    trio.run(main)


@given(graphs(), st.floats(0.1, 6.0), st.integers(0, 2), st.data())
def test_a_plan_never_takes_longer_than_its_total(
    edges: dict[str, tuple[str, ...]], total: float, retries: int, data: st.DataObject
) -> None:
    seconds = {name: data.draw(st.sampled_from([0.0, 0.7, 2.0])) for name in edges}
    fails = data.draw(st.sets(st.sampled_from(sorted(edges)))) if edges else set()

    @action
    async def work(name: str) -> None:
        await trio.sleep(seconds[name])
        if name in fails:
            raise ConnectionError

    steps = [Step(name, work, {"name": name}, depends_on=others) for name, others in edges.items()]
    plan = Plan(steps, total_timeout=total, retries=retries)

    async def main() -> None:
        begun = trio.current_time()
        await try_run(plan)
        assert trio.current_time() - begun <= total + 1e-9

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_plan_may_be_a_step_of_a_chain() -> None:
    plan = Plan([Step("doubled", add, {"a": param("v"), "b": param("v")})])
    assert await run(chain(plan), {"v": 3}) == {"v": 3, "doubled": 6}
