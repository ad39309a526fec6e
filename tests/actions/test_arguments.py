"""A wrong argument is an error of ours that names it, and says what was expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from prunella import PrunellaError
from prunella.actions import (
    ActionError,
    Catalog,
    ChainFailed,
    Entry,
    InvalidAction,
    InvalidPlan,
    Plan,
    PlanFailed,
    Policy,
    Result,
    Step,
    action,
    check_allowed,
    file_actions,
    http_actions,
    open_runner,
    param,
    result_of,
    shell_actions,
    tool_schema,
)
from prunella.errors import InvalidArgument


@action
async def one(x: int = 1) -> int:
    return x


async def keen(**rest: int) -> None: ...


WRONG: Any = 5
TEXT: Any = "text"

CASES: list[tuple[Callable[[], object], type[PrunellaError], str]] = [
    (lambda: Plan(WRONG), InvalidPlan, "plan: steps must be an iterable, got 5"),
    (lambda: Step("a", one, depends_on=WRONG), InvalidPlan, "step 'a': depends_on must be an iterable, got 5"),
    (lambda: Catalog(WRONG), InvalidArgument, "Catalog: entries must be an iterable of entries or actions, got 5"),
    (lambda: Catalog(one), InvalidArgument, "Catalog: entries must be an iterable of .*, got <Action 'one'>"),  # type: ignore[arg-type]
    (lambda: Catalog().merge(WRONG), InvalidArgument, "Catalog.merge: other must be a Catalog, got 5"),
    (lambda: Catalog().without(WRONG), InvalidArgument, "Catalog.without: names must be names of actions, got 5"),
    (lambda: Catalog([one]).tools(strict=WRONG), InvalidArgument, "strict must be True or False, got 5"),
    (lambda: Policy(scopes=WRONG), InvalidArgument, "Policy: scopes must be an iterable of texts, got 5"),
    (lambda: Policy(scopes=TEXT), InvalidArgument, "Policy: scopes must be texts that are not empty, got 'text'"),
    (lambda: Entry(one, scopes=WRONG), InvalidArgument, "Entry: scopes must be an iterable of texts, got 5"),
    (lambda: Entry(one, scopes=TEXT), InvalidArgument, "Entry 'one': scopes must be texts that are not empty"),
    (lambda: check_allowed(one, WRONG), InvalidArgument, "check_allowed: allowed must be an iterable of actions"),
    (lambda: check_allowed(one, TEXT), InvalidArgument, "check_allowed: allowed must be an iterable .*, got 'text'"),
    (lambda: file_actions(roots=WRONG), InvalidArgument, "file_actions: roots must be an iterable of directories"),
    (lambda: file_actions(roots=TEXT), InvalidArgument, "roots must be an iterable of directories, got 'text'"),
    (lambda: http_actions(hosts=WRONG), InvalidArgument, "http_actions: hosts must be an iterable of names of hosts"),
    (lambda: shell_actions(commands=WRONG), InvalidArgument, "shell_actions: commands must be an iterable of commands"),
    (lambda: shell_actions(directory=WRONG), InvalidArgument, "directory must be a directory that is there, got 5"),
    (lambda: shell_actions(environment=WRONG), InvalidArgument, "environment must be a mapping of texts, got 5"),
    (lambda: Result(1, WRONG), InvalidArgument, "Result: directives must be an iterable of directives, got 5"),
    (lambda: Result(1, TEXT), InvalidArgument, "Result: directives must be an iterable of directives, got 'text'"),
    (lambda: action(open=WRONG)(keen), InvalidAction, "keen: open must be True or False, got 5"),
    (lambda: action(cpu=WRONG)(keen), InvalidAction, "keen: cpu must be True or False, got 5"),
    (lambda: tool_schema(one, strict=WRONG), InvalidArgument, "tool_schema: strict must be True or False, got 5"),
    (lambda: result_of(WRONG), InvalidArgument, "result_of: step must be the name of a step, got 5"),
    (lambda: param(WRONG), InvalidArgument, "param: name must be the name of a parameter, got 5"),
    (lambda: ActionError(WRONG), InvalidArgument, "ActionError: message must be a text, got 5"),
    (lambda: PlanFailed("no", WRONG), InvalidArgument, "PlanFailed: results must be a mapping of results"),
    (lambda: ChainFailed("no", WRONG), InvalidArgument, "ChainFailed: completed must be a mapping of results"),
]


@pytest.mark.parametrize(("make", "kind", "message"), CASES)
def test_a_wrong_argument_is_named(make: Callable[[], object], kind: type[PrunellaError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        make()
    assert isinstance(caught.value, ValueError | TypeError)


async def test_payloads_are_a_bool() -> None:
    with pytest.raises(InvalidArgument, match="open_runner: payloads must be True or False, got 5"):
        async with open_runner(payloads=WRONG):
            pass


@pytest.mark.parametrize("make", [Plan, Catalog, lambda many: Policy(scopes=many), lambda many: Result(1, many)])
def test_what_raises_while_it_is_read_is_not_hidden(make: Callable[[Any], object]) -> None:
    def many() -> Iterator[Any]:
        raise TypeError("broken")
        yield

    with pytest.raises(TypeError, match="broken"):
        make(many())


def test_any_iterable_will_do() -> None:
    assert list(Plan(iter([Step("a", one)])).steps) == ["a"]
    assert Step("a", one, depends_on={"b": 1}).depends_on == ("b",)
    assert Policy(scopes={"b"}).scopes == ("b",)  # type: ignore[arg-type]
    assert Result(1, iter([2])).directives == (2,)
    check_allowed(one, iter(["one"]))
