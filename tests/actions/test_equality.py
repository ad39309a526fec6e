"""Plans, chains and their steps are values: what is made in the same way is equal."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest

from prunella.actions import (
    Catalog,
    Instruction,
    Plan,
    Step,
    action,
    branch,
    chain,
    check_allowed,
    converge,
    parallel,
    param,
    result_of,
)


@action
async def one(x: int = 1) -> int:
    return x


@action
async def other(x: int = 1) -> int:
    return x


def yes(values: Any) -> bool:
    return True


def no(values: Any) -> bool:
    return False


DIFFERENT: list[Callable[[], Any]] = [
    lambda: Step("a", one),
    lambda: Step("b", one),
    lambda: Step("a", other),
    lambda: Step("a", one, {"x": 1}),
    lambda: Step("a", one, {"x": result_of("b")}),
    lambda: Step("a", one, depends_on="b"),
    lambda: Step("a", one, when=yes),
    lambda: Step("a", one, when=no),
    lambda: Step("a", one, retries=1),
    lambda: Step("a", Instruction(one, context={"k": 1})),
    lambda: Plan([]),
    lambda: Plan([], name="other"),
    lambda: Plan([], on_failure="finish"),
    lambda: Plan([], max_concurrency=1),
    lambda: Plan([], retries=1),
    lambda: Plan([], description="d"),
    lambda: Plan([], tags=("t",)),
    lambda: Plan([], category="c"),
    lambda: Plan([], version="1"),
    lambda: Plan([Step("a", one)]),
    lambda: Plan([Step("a", one, {"x": param("p")})]),
    lambda: Plan([Step("a", one), Step("b", one)]),
    lambda: Plan([Step("b", one), Step("a", one)]),
    lambda: Plan([Step("a", Plan([Step("a", one)]))]),
    lambda: chain(one),
    lambda: chain(one, other),
    lambda: chain(one, other, name="plan"),
    lambda: chain((one, {"x": 2})),
    lambda: parallel(one, other),
    lambda: parallel(one, other, on_failure="collect"),
    lambda: parallel(one, other, max_concurrency=1),
    lambda: branch(yes, one, other),
    lambda: branch(no, one, other),
    lambda: branch(yes, one),
    lambda: converge(one, into=other),
    lambda: converge(one, other, into=other),
    lambda: converge(one, into=one),
]


@pytest.mark.parametrize("number", range(len(DIFFERENT)))
def test_what_is_made_in_the_same_way_is_equal_and_nothing_else(number: int) -> None:
    made = DIFFERENT[number]()
    assert made == DIFFERENT[number]()
    assert hash(made) == hash(DIFFERENT[number]())
    assert [made == make() for make in DIFFERENT].count(True) == 1
    assert made != one
    assert one != made


def test_what_cannot_be_hashed_may_be_a_parameter() -> None:
    @action
    async def many(xs: list[int]) -> None: ...

    step = Step("a", many, {"xs": [1, 2]})
    assert {step: 1}[Step("a", many, {"xs": [1, 2]})] == 1
    assert {Plan([step]): 1}[Plan([Step("a", many, {"xs": [1, 2]})])] == 1
    assert step != Step("a", many, {"xs": [1]})


def test_equal_plans_stand_for_each_other() -> None:
    first, second = Plan([Step("a", one)]), Plan([Step("a", one)])
    assert Instruction(first) == Instruction(second)
    assert Catalog([first]).merge(Catalog([second])) == Catalog([first])
    check_allowed(first, [second])


def test_a_step_is_the_same_after_pickling() -> None:
    step = Step("a", one, {"x": result_of("b")}, depends_on="c")
    assert pickle.loads(pickle.dumps(step)) == step
    assert pickle.loads(pickle.dumps(step)).given == step.given
