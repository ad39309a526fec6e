"""Steps that fail side by side: every failure can be seen, the first one is the cause."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import trio
import trio.testing

from prunella.actions import (
    ActionError,
    ActionFailed,
    Failure,
    InvalidInput,
    Plan,
    PlanFailed,
    Step,
    action,
    parallel,
    run,
    try_run,
)
from prunella.errors import InvalidArgument


@action
async def fail(after: float, message: str = "no") -> None:
    await trio.sleep(after)
    raise ActionError(message)


@action
async def crash(after: float) -> None:
    await trio.sleep(after)
    raise ValueError("token: Bearer abcdefghijkl")


@action
async def work(after: float) -> str:
    await trio.sleep(after)
    return "done"


@action
async def stubborn() -> None:
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("cleanup")


def both(kind: str, *steps: Step, **options: Any) -> Any:
    return Plan(steps, **options) if kind == "plan" else parallel(*steps, **options)


@pytest.mark.parametrize("kind", ["plan", "parallel"])
async def test_all_that_failed_are_told(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    whole = both(
        kind,
        Step("late", crash, {"after": 2.0}),
        Step("first", fail, {"after": 1.0}),
        Step("good", work, {"after": 3.0}),
        Step("wrong", fail, {"after": 2.5, "message": "wrong"}),
        on_failure="finish",
    )
    with pytest.raises(PlanFailed) as caught:
        await run(whole)
    error = caught.value
    assert error.failed == "first"
    assert error.results == {"good": "done"}
    assert list(error.errors) == ["first", "late", "wrong"]
    assert error.errors["first"] is error.__cause__
    assert isinstance(error.errors["late"], ActionFailed)
    assert isinstance(error.errors["late"].__cause__, ValueError)
    assert error.__notes__ == [
        "step 'late' failed too: crash: ValueError: token: Bearer [redacted]",
        "step 'wrong' failed too: wrong",
    ]


async def test_one_failure_needs_no_note(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(PlanFailed) as caught:
        await run(Plan([Step("a", fail, {"after": 1.0}), Step("b", work, {"after": 2.0})]))
    assert list(caught.value.errors) == ["a"]
    assert not hasattr(caught.value, "__notes__")


async def test_what_a_step_raises_when_it_is_cancelled_is_told_too(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(PlanFailed) as caught:
        await run(Plan([Step("a", fail, {"after": 1.0}), Step("b", stubborn)]))
    assert list(caught.value.errors) == ["a", "b"]
    assert isinstance(caught.value.errors["b"].__cause__, KeyError)


async def test_a_step_whose_parameters_do_not_fit_is_told() -> None:
    whole = parallel(Step("a", fail, {"after": 0.0}), Step("b", work, {"after": "x"}), on_failure="finish")
    with pytest.raises(PlanFailed) as caught:
        await run(whole)
    assert set(caught.value.errors) == {"a", "b"}
    assert isinstance(caught.value.errors["b"], InvalidInput)


async def test_undoing_that_failed_in_any_of_them_is_told(autojump_clock: trio.testing.MockClock) -> None:
    @action(compensate=lambda: 1 / 0)
    async def broken() -> None:
        await trio.sleep(2)
        raise ValueError

    @action(compensate=lambda: None)
    async def undone() -> None:
        await trio.sleep(1)
        raise ValueError

    outcome = await try_run(Plan([Step("a", undone), Step("b", broken)], on_failure="finish"))
    assert isinstance(outcome, Failure)
    assert outcome.error.compensation == "failed"


def test_an_error_keeps_all_failures_when_it_is_pickled() -> None:
    error = PlanFailed("plan: step 'a' failed: no", {"x": 1}, "a", {"a": ActionError("no"), "b": ActionError("nor")})
    loaded = pickle.loads(pickle.dumps(error))
    assert (loaded.results, loaded.failed, list(loaded.errors)) == ({"x": 1}, "a", ["a", "b"])
    assert loaded.__notes__ == ["step 'b' failed too: nor"]
    assert PlanFailed("no").errors == {}
    with pytest.raises(InvalidArgument, match="PlanFailed: errors must be a mapping of errors"):
        PlanFailed("no", {}, "a", 5)  # type: ignore[arg-type]
