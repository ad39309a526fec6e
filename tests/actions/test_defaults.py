"""Parameters that the caller left at their defaults: the function has them, and so has what undoes it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import attrs
import pytest

from prunella.actions import Failure, InvalidAction, Plan, Step, Success, action, chain, param, result_of, run, try_run

Made = list[int]
NEW: Any = attrs.Factory(list)
OF_SELF: Any = attrs.Factory(lambda self: self, takes_self=True)


def remembering(log: list[Any]) -> Callable[..., None]:
    def undo(b: int, error: Exception) -> None:
        log.append(b)

    return undo


async def test_undoing_gets_the_default_that_the_function_had() -> None:
    undone: list[Any] = []

    @action(compensate=remembering(undone))
    async def work(a: int = 1, b: int = 2) -> None:
        raise ValueError

    outcome = await try_run(work)
    assert isinstance(outcome, Failure)
    assert outcome.error.compensation == "completed"
    assert undone == [2]
    await try_run(work, {"b": 3})
    assert undone == [2, 3]


async def test_the_default_of_the_action_wins_over_that_of_the_function_that_undoes() -> None:
    undone = []

    def undo(b: int = 7) -> None:
        undone.append(b)

    @action(compensate=undo)
    async def work(b: int = 2) -> None:
        raise ValueError

    await try_run(work)
    assert undone == [2]


async def test_undoing_that_takes_everything_gets_the_defaults() -> None:
    undone: list[Any] = []

    @action(compensate=lambda **all: undone.append({name: all[name] for name in ("a", "b")}))
    async def work(a: int, b: int = 2) -> None:
        raise ValueError

    await try_run(work, {"a": 1})
    assert undone == [{"a": 1, "b": 2}]


async def test_a_default_that_is_text_is_what_the_function_had() -> None:
    undone: list[Any] = []

    @action(compensate=lambda day: undone.append(day))
    async def work(day: date = "2020-02-29") -> None:  # type: ignore[assignment]  # converted when it is defined
        undone.append(day)
        raise ValueError

    await try_run(work)
    assert undone == [date(2020, 2, 29)] * 2


async def test_a_default_that_is_made_anew_is_one_object_for_the_run() -> None:
    seen: list[Made] = []

    @action(compensate=lambda found: seen.append(found))
    async def work(found: Made = NEW) -> None:
        seen.append(found)
        raise ValueError

    await try_run(work)
    await try_run(work)
    assert seen == [[]] * 4
    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert seen[0] is not seen[2]
    assert work.input_schema["properties"]["found"]["default"] == []
    plan = Plan([Step("work", work, {"found": param("found")})])
    await try_run(plan)
    assert seen[4] == []


async def test_a_default_that_cannot_be_made_is_a_failure() -> None:
    def make() -> int:
        raise LookupError("empty")

    broken: Any = attrs.Factory(make)

    @action
    async def work(number: int = broken) -> None: ...

    outcome = await try_run(work)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error.__cause__, LookupError)
    assert await run(work, {"number": 1}) is None
    with pytest.raises(InvalidAction, match="the default of 'number' is made of an object"):

        @action
        async def other(number: int = OF_SELF) -> None: ...


@pytest.mark.parametrize("kind", ["plan", "chain"])
async def test_steps_are_undone_with_their_defaults(kind: str) -> None:
    undone: list[Any] = []

    @action(compensate=remembering(undone))
    async def first(b: int = 2) -> int:
        return b

    @action
    async def second(first: int) -> None:
        raise ValueError

    if kind == "chain":
        whole: Any = chain(first, second)
    else:
        whole = Plan([Step("first", first), Step("second", second, {"first": result_of("first")})])
    outcome = await try_run(whole)
    assert isinstance(outcome, Failure)
    assert outcome.error.compensation == "completed"
    assert undone == [2]


@pytest.mark.parametrize("kind", ["plan", "chain"])
async def test_what_undoes_a_whole_gets_its_defaults(kind: str) -> None:
    undone: list[Any] = []

    @action
    async def first(b: int = 2) -> None:
        raise ValueError

    undo = remembering(undone)
    if kind == "chain":
        whole: Any = chain(first, compensate=undo)
    else:
        whole = Plan([Step("first", first, {"b": param("b")})], compensate=undo)
    outcome = await try_run(whole)
    assert isinstance(outcome, Failure)
    assert outcome.error.compensation == "completed"
    assert undone == [2]


async def test_a_run_without_undoing_gets_only_what_was_given() -> None:
    @action(open=True)
    async def work(a: int = 1, **rest: int) -> dict[str, int]:
        return {"a": a, **rest}

    assert await try_run(work, {"c": 3}) == Success({"a": 1, "c": 3})
