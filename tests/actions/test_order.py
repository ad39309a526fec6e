"""What comes out has one order, in whatever process: hashes of texts differ from one to the next."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap

import pytest

from prunella.actions import ActionError, InvalidPlan, Step, action

PROGRAM = """
import json
import trio
from prunella.actions import (
    ActionError, Catalog, Entry, Instruction, Plan, Step, action, branch, chain, converge, parallel, param, result_of,
    run, tool_schema, try_run,
)
from prunella.telemetry import Event

@action
async def wide(zeta: int, alpha: int = 1, mid: int = 2, beta: int = 3, omega: int = 4) -> int:
    "Takes much."
    return zeta

@action(open=True)
async def anything(**rest: object) -> list[str]:
    return list(rest)

@action(open=True)
async def more(first: object = None, second: object = None, **rest: object) -> list[str]:
    return list(rest)

@action
async def fail() -> None:
    details = {name: 1 for name in ("one", "two", "three", "four", "five")}
    raise ActionError("no", details={**details, "inner": details})

names = ("zeta", "alpha", "mid", "beta", "omega")
wanted = {name: param(f"the_{name}") for name in reversed(names)}
plan = Plan([Step("wide", wide, wanted), Step("after", more, {name: result_of("wide") for name in names})])
tree = Plan([
    *(Step(name, wide, {"zeta": 1}) for name in names),
    Step("end", wide, {name: result_of(name) for name in reversed(names)}),
])

out = {}
out["plan"] = tool_schema(plan)
out["openai"] = tool_schema(plan, format="openai", strict=True)
out["catalog"] = Catalog([plan, wide, Entry(fail, scopes=("b", "a"))]).tools()
out["others"] = [
    tool_schema(one)
    for one in (chain(wide), parallel(wide, more), branch(bool, more, wide), converge(wide, into=more))
]
out["tree"] = [tree.mermaid(), tree.picture(), tree.phases]
out["hits"] = [hit.entry.name for hit in Catalog([plan, wide, fail, anything, more]).search("takes zeta")]
unknown = {name: 1 for name in ("this", "that", "other", "else")}
messages = out["messages"] = []
for make in (
    lambda: Plan([Step("a", wide, {"zeta": 1, **unknown})]),
    lambda: Plan([Step("a", wide, {name: "x" for name in names})]),
    lambda: Plan([Step("a", wide, {"zeta": 1, **{name: result_of(name) for name in unknown}})]),
):
    try:
        make()
    except ActionError as error:
        messages.append(str(error))

async def main():
    error = (await try_run(fail)).error
    out["details"] = [list(error.details), error.to_dict()]
    out["unknown"] = str((await try_run(Instruction(wide, {"zeta": 1, **unknown}))).error)
    out["rest"] = [
        await run(Instruction(anything, unknown)),
        await run(Plan([Step("a", more, unknown)])),
        await run(Plan([Step("a", more, {name: param(name) for name in unknown})]), unknown),
        await run(chain((more, unknown))),
        await run(parallel((more, unknown))),
    ]

trio.run(main)
print(json.dumps(out))
"""


def test_nothing_depends_on_the_hashes_of_the_process() -> None:
    outputs = set()
    for seed in ("0", "1", "2", "3"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        outputs.add(done.stdout)
    assert len(outputs) == 1


@action(open=True)
async def takes(zeta: int, alpha: int = 1, **rest: int) -> None: ...


def test_the_parameters_of_a_step_stand_as_the_action_declares_them() -> None:
    step = Step("a", takes, {"other": 1, "alpha": 2, "another": 3, "zeta": 4})
    assert list(step.given) == ["zeta", "alpha", "another", "other"]
    assert step.given == step.params
    with pytest.raises(InvalidPlan, match="params must have keys of type str, got a int"):
        Step("a", takes, {1: 2})  # type: ignore[dict-item]


def test_details_stand_as_they_were_given_and_cannot_be_changed() -> None:
    given = {"zeta": 1, "alpha": 2}
    error = ActionError("no", details=given)
    given["more"] = 3
    assert list(error.details.items()) == [("zeta", 1), ("alpha", 2)]
    assert list(error.to_dict()["details"]) == ["zeta", "alpha"]
    with pytest.raises(TypeError):
        error.details["more"] = 3  # type: ignore[index]
    with pytest.raises(AttributeError):
        error.details = {}  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(error)).details == error.details
