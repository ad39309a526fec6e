"""Chains, and steps side by side or one of two."""

from __future__ import annotations

import pickle
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from prunella.actions import (
    ActionError,
    ActionFailed,
    ChainFailed,
    Failure,
    InvalidInput,
    InvalidPlan,
    PlanFailed,
    Result,
    Step,
    Success,
    action,
    branch,
    chain,
    converge,
    parallel,
    result_of,
    run,
    try_run,
)


@action
async def add_one(v: int) -> dict[str, int]:
    return {"v": v + 1}


@action
async def double(v: int) -> dict[str, int]:
    return {"v": v * 2}


@action
async def square(v: int) -> int:
    return v * v


@action
async def broken(v: int) -> None:
    raise ConnectionError("gone")


async def test_a_chain_passes_on_what_it_gathers() -> None:
    assert await run(chain(add_one, double), {"v": 3}) == {"v": 8}
    assert await run(chain(add_one, double), {"v": 3, "other": "kept"}) == {"v": 8, "other": "kept"}
    assert await run(chain(), {"v": 3}) == {"v": 3}
    assert await run(chain(square, add_one), {"v": 3}) == {"v": 4, "square": 9}


async def test_parameters_of_a_step_win_and_names_are_told_apart() -> None:
    assert await run(chain((add_one, {"v": 10}), double), {"v": 3}) == {"v": 22}
    assert await run(chain(square, (square, {"v": 5}), Step("last", square)), {"v": 2}) == {
        "v": 2,
        "square": 4,
        "square_2": 25,
        "last": 4,
    }


async def test_a_result_that_is_no_mapping_stands_under_the_name() -> None:
    @attrs.frozen
    class Point:
        v: int

    @action
    async def point(v: int) -> Point:
        return Point(v)

    assert await run(chain(point), {"v": 1}) == {"v": 1, "point": Point(1)}


async def test_a_chain_that_fails_keeps_its_progress_and_runs_no_more() -> None:
    ran: list[int] = []

    @action
    async def never(v: int) -> None:
        ran.append(v)

    with pytest.raises(ChainFailed) as caught:
        await run(chain(add_one, broken, never), {"v": 3})
    error = caught.value
    assert error.completed == {"add_one": {"v": 4}}
    assert error.failed == "broken"
    assert isinstance(error.__cause__, ActionFailed)
    assert error.retryable
    assert not ran


async def test_a_chain_undoes_what_was_done() -> None:
    undone: list[Any] = []

    @action(compensate=lambda v, result: undone.append((v, result)))
    async def take(v: int) -> dict[str, int]:
        return {"v": v + 1}

    with pytest.raises(ChainFailed) as caught:
        await run(chain(take, take, broken), {"v": 1})
    assert undone == [(2, {"v": 3}), (1, {"v": 2})]
    assert caught.value.compensation == "completed"


async def test_a_cancelled_chain_undoes_what_was_done(autojump_clock: trio.testing.MockClock) -> None:
    undone: list[int] = []

    @action(compensate=lambda v: undone.append(v))
    async def take(v: int) -> None: ...

    @action
    async def slow() -> None:
        await trio.sleep(10)

    with trio.move_on_after(1):
        await run(chain(take, slow), {"v": 1})
    assert undone == [1]


async def test_directives_of_a_chain_are_carried() -> None:
    @action
    async def work(v: int) -> Result[int]:
        return Result(v, [f"d{v}"])

    outcome = await try_run(chain(work, (work, {"v": 2})), {"v": 1})
    assert isinstance(outcome, Success)
    assert outcome.directives == ("d1", "d2")


async def test_a_chain_says_what_its_first_step_needs() -> None:
    made = chain(add_one, double)
    assert made.input_schema["required"] == ["v"]
    with pytest.raises(InvalidInput):
        await run(made, {"v": "3"})


@pytest.mark.parametrize(
    "make",
    [
        lambda: chain(print),
        lambda: chain([add_one]),
        lambda: chain(None),
        lambda: chain(Step("a", square, {"v": result_of("b")})),
        lambda: chain(Step("a", square, when=lambda results: True)),
        lambda: chain(Step("a", square), Step("a", square)),
        lambda: parallel(square, on_failure="other"),  # type: ignore[arg-type]
        lambda: parallel(square, max_concurrency=0),
        lambda: branch(3, square),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_a_step_is_refused(make: Any) -> None:
    with pytest.raises(InvalidPlan):
        make()


async def test_steps_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    @action
    async def slow(v: int) -> int:
        await trio.sleep(1)
        return v

    begun = trio.current_time()
    assert await run(parallel(slow, (slow, {"v": 2}), square), {"v": 3}) == {"slow": 3, "slow_2": 2, "square": 9}
    assert trio.current_time() - begun == pytest.approx(1.0)


async def test_a_failure_side_by_side_fails_all_or_is_collected() -> None:
    with pytest.raises(PlanFailed) as caught:
        await run(parallel(square, broken), {"v": 3})
    assert caught.value.failed == "broken"

    @action
    async def looks_wrong(v: int) -> dict[str, str]:
        return {"error": "is a value"}

    results = await run(parallel(looks_wrong, broken, on_failure="collect"), {"v": 3})
    assert list(results) == ["looks_wrong", "broken"]
    assert results["looks_wrong"] == Success({"error": "is a value"})
    assert isinstance(results["broken"], Failure)


async def test_one_of_two() -> None:
    either = branch(lambda params: params["v"] > 2, square, (square, {"v": 1}))
    assert await run(either, {"v": 3}) == 9
    assert await run(either, {"v": 2}) == 1
    assert await run(branch(lambda params: False, square), {"v": 1}) is None
    with pytest.raises(ActionError, match="True or False"):
        await run(branch(lambda params: params["v"], square), {"v": 1})


async def test_results_converge() -> None:
    @action
    async def join(square: int, other: int, v: int) -> int:
        return square + other + v

    assert await run(converge(square, Step("other", square, {"v": 2}), into=join), {"v": 3}) == 16


async def test_a_composite_is_an_action() -> None:
    made = parallel(square, name="both", description="Does both.", tags=("x",), timeout=3)
    assert (made.name, made.description, made.tags, made.options.timeout) == ("both", "Does both.", ("x",), 3)
    assert await made(v=2) == {"square": 4}
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(made)
