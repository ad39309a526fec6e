"""Where actions are found again: what a durable agent writes down about the work it asks for."""

from __future__ import annotations

import json
import pickle
import sys
from types import ModuleType
from typing import Any

import pytest

from prunella.actions import (
    Composite,
    Instruction,
    Plan,
    Step,
    action,
    branch,
    chain,
    converge,
    parallel,
    param,
)
from prunella.agents import NotSerialisable, Run, directive_from_data, directive_to_data
from prunella.supervision import Backoff


async def undo(value: int) -> None: ...


@action
async def keep(value: int) -> int:
    return value


def made_elsewhere() -> Plan:
    return Plan([Step("keep", keep, {"value": 1})])


trip = Plan([Step("keep", keep, {"value": param("value")})], name="trip")
unnamed = Plan([Step("keep", keep, {"value": 1})])
by_a_function = made_elsewhere()
one_by_one = chain(keep, name="some-chain")
together = parallel(keep)
either = branch(lambda values: True, keep, keep)
gathered = converge(keep, into=keep)

ALL = [trip, unnamed, by_a_function, one_by_one, together, either, gathered]


@pytest.mark.parametrize("work", ALL, ids=lambda work: work.name)
def test_what_is_a_variable_of_a_module_is_found_again_by_its_name(work: Composite) -> None:
    directive = Run(work, {"value": 1}, then="done")
    data = directive_to_data(directive)
    assert directive_from_data(json.loads(json.dumps(data))) == directive
    assert pickle.loads(pickle.dumps(work)) is work


def test_the_address_names_module_and_variable() -> None:
    assert directive_to_data(Run(one_by_one))["action"] == f"{__name__}:one_by_one"
    assert directive_to_data(Run(trip))["action"] == f"{__name__}:trip"


def test_the_name_of_a_plan_is_tried_before_others(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan([], name="second")
    monkeypatch.setattr(sys.modules[__name__], "first", plan, raising=False)
    monkeypatch.setattr(sys.modules[__name__], "second", plan, raising=False)
    assert directive_to_data(Run(plan))["action"] == f"{__name__}:second"


def test_a_module_that_lets_another_make_its_plan_is_where_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("travel")
    monkeypatch.setitem(sys.modules, "travel", module)
    monkeypatch.setitem(vars(module), "made_elsewhere", made_elsewhere)
    exec(compile("plan = made_elsewhere()", "travel.py", "exec"), vars(module))
    assert directive_to_data(Run(module.plan))["action"] == "travel:plan"


def test_what_stands_in_no_module_cannot_be_written_and_the_error_says_so() -> None:
    local = Plan([Step("keep", keep, {"value": 1})], name="local")
    with pytest.raises(NotSerialisable, match=r"action.*local.*define it at the top of a module"):
        directive_to_data(Run(local))
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(local)


def test_a_name_that_means_something_else_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    local = Plan([Step("keep", keep, {"value": 1})], name="keep")
    with pytest.raises(NotSerialisable, match="keep"):
        directive_to_data(Run(local))
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(local)


@pytest.mark.parametrize(
    "order",
    [
        Instruction(keep),
        Instruction(keep, {"value": (1, 2)}, {"who": "me"}, {"timeout": 2.0, "retries": 1}),
        Instruction(keep, options={"compensate": undo, "idempotency_key": "k"}),
        Instruction(trip, {"value": 1}),
    ],
)
def test_an_instruction_is_written_with_all_that_it_says(order: Instruction) -> None:
    directive = Run(order, {"value": 3}, then="done", timeout=1.0)
    again = directive_from_data(json.loads(json.dumps(directive_to_data(directive))))
    assert again == directive
    assert type(again.action) is Instruction  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Instruction(keep, {"value": object()}), r"params\.value"),
        (Instruction(keep, context={"lock": object()}), r"context\.lock"),
        (Instruction(keep, options={"compensate": lambda value: None}), r"options\.compensate"),
        (Instruction(keep, options={"backoff": Backoff()}), r"options\.backoff"),
        (Instruction(made_elsewhere()), "plan"),
    ],
)
def test_an_instruction_that_cannot_be_written_says_what_it_is_about(order: Any, said: str) -> None:
    with pytest.raises(NotSerialisable, match=said):
        directive_to_data(Run(order))


@pytest.mark.parametrize("unfit", [None, 7, "keep", ("keep", {})])
def test_other_things_are_no_work(unfit: Any) -> None:
    with pytest.raises(ValueError, match="action"):
        Run(unfit)
