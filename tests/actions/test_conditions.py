"""Conditions are plain functions: what answers later would hold whatever it says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from prunella.actions import Failure, InvalidPlan, Plan, PlanFailed, Step, action, branch, run, try_run

ran: list[str] = []


@action
async def note() -> None:
    ran.append("note")


async def no(results: Mapping[str, Any]) -> bool:
    return False


class No:
    async def __call__(self, results: Mapping[str, Any]) -> bool:
        return False


async def one_after_another(results: Mapping[str, Any]) -> AsyncIterator[bool]:
    yield False


def slowly(results: Mapping[str, Any]) -> Iterator[bool]:
    yield False


LATER: list[Any] = [no, No(), No().__call__, partial(no), action(name="no")(no), one_after_another, slowly]


@pytest.mark.parametrize("condition", LATER)
def test_what_answers_later_is_no_condition(condition: Any) -> None:
    with pytest.raises(InvalidPlan, match="step 'a': when must be a plain function of the results, got one that"):
        Step("a", note, when=condition)
    with pytest.raises(InvalidPlan, match="branch: condition must be a plain function of the parameters, got one that"):
        branch(condition, note)


def test_what_cannot_be_called_is_no_condition() -> None:
    with pytest.raises(InvalidPlan, match="when must be a plain function of the results, got a bool"):
        Step("a", note, when=True)  # type: ignore[arg-type]
    with pytest.raises(InvalidPlan, match="condition must be a plain function of the parameters, got a bool"):
        branch(True, note)  # type: ignore[arg-type]


def test_other_things_that_can_be_called_are_conditions() -> None:
    class Yes:
        def __call__(self, results: Mapping[str, Any]) -> bool:
            return True

    @action
    def always(results: dict[str, Any]) -> bool:
        return True

    for condition in (Yes(), Yes().__call__, always, bool, partial(lambda yes, results: yes, True)):
        Step("a", note, when=condition)


def promise(results: Mapping[str, Any]) -> Awaitable[bool]:
    return no(results)


def generator(results: Mapping[str, Any]) -> Iterator[bool]:
    return slowly(results)


@pytest.mark.parametrize("condition", [promise, generator, lambda results: one_after_another(results)])
async def test_a_promise_is_no_answer(condition: Any) -> None:
    ran.clear()
    with pytest.raises(PlanFailed) as caught:
        await run(Plan([Step("a", note, when=condition)]))
    assert isinstance(caught.value.__cause__, InvalidPlan)
    assert "step 'a': when must be a plain function, and it returned a " in str(caught.value)
    assert not caught.value.retryable
    outcome = await try_run(branch(condition, note), {})
    assert isinstance(outcome, Failure)
    assert "branch: condition must be a plain function, and it returned a " in str(outcome.error)
    assert ran == []
