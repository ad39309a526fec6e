"""Work orders: the shapes in which they are written down, and lists of what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from prunella.actions import ActionNotAllowed, Instruction, InvalidAction, InvalidInput, action, check_allowed
from prunella.errors import InvalidArgument


@action
async def one(a: int = 0) -> None: ...


@action
async def two() -> None: ...


def test_it_is_a_value() -> None:
    order = Instruction(one, {"a": 1}, {"user": "u"}, {"timeout": 3})
    assert order == Instruction(one, {"a": 1}, {"user": "u"}, {"timeout": 3}) != Instruction(one)
    with pytest.raises(AttributeError):
        order.params = {}  # type: ignore[misc,assignment]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        (one, [Instruction(one)]),
        (Instruction(one, {"a": 1}), [Instruction(one, {"a": 1})]),
        ((one,), [Instruction(one)]),
        ((one, {"a": 1}), [Instruction(one, {"a": 1})]),
        ((one, None), [Instruction(one)]),
        ((one, {"a": 1}, {"u": 1}), [Instruction(one, {"a": 1}, {"u": 1})]),
        ((one, {}, {}, {"retries": 2}), [Instruction(one, options={"retries": 2})]),
        ([], []),
        ([two, (one, {"a": 1})], [Instruction(two), Instruction(one, {"a": 1})]),
    ],
)
def test_shapes(items: Any, expected: list[Instruction]) -> None:
    assert Instruction.normalize(items) == tuple(expected)


def test_what_an_item_says_wins_over_what_is_shared() -> None:
    [first, second] = Instruction.normalize(
        [(one, {}, {"user": "mine"}, {"retries": 2}), two],
        context={"user": "shared", "more": 1},
        options={"retries": 0, "timeout": 5},
    )
    assert first.context == {"user": "mine", "more": 1}
    assert first.options == {"retries": 2, "timeout": 5}
    assert second.context == {"user": "shared", "more": 1}


@pytest.mark.parametrize(
    ("items", "path", "got"),
    [
        (None, "", "None"),
        ("one", "", "str"),
        ([one, [two]], "[1]", "list"),
        ([None], "[0]", "None"),
        ((one, 3), "params", "int"),
        ((one, {1: 2}), "params", "int"),
        ((one, {}, [1]), "context", "list"),
        ((one, {}, {}, {}, {}), "", "tuple"),
    ],
)
def test_other_shapes_are_refused(items: Any, path: str, got: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Instruction.normalize(items)
    assert (caught.value.path, caught.value.got) == (path, got)


def test_what_is_no_action_or_option_is_refused_at_once() -> None:
    with pytest.raises(InvalidAction, match="no action"):
        Instruction(print)  # type: ignore[arg-type]
    with pytest.raises(InvalidAction, match="timeout"):
        Instruction(one, options={"timeout": -1})
    with pytest.raises(TypeError, match="'retry'"):
        Instruction(one, options={"retry": 1})


def test_lists_of_what_is_allowed() -> None:
    check_allowed(one, [one])
    check_allowed([one, (two, {})], ["one", two])
    check_allowed((one, {"a": 1}), [one])
    check_allowed((Instruction(one), Instruction(two)), [one, two])
    with pytest.raises(ActionNotAllowed, match="actions not allowed: two") as caught:
        check_allowed([two, one, two], [one])
    assert not caught.value.retryable
    with pytest.raises(ActionNotAllowed):
        check_allowed(one, [])
    with pytest.raises(InvalidArgument, match="allowed"):
        check_allowed(one, [3])  # type: ignore[list-item]
