"""What type checkers make of actions. Nothing here is run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from typing import Any, assert_type

from prunella.actions import Action, Failure, Plan, Result, Step, Success, action, run, try_run


@action(timeout=10.0)
async def fetch(city: str, *, unit: str = "c") -> int:
    return 1


@action
def compute(x: int) -> str:
    return ""


@action
async def hand_out(x: int) -> Result[float]:
    return Result(1.0, ["directive"])


@action
async def count(n: int) -> AsyncIterator[int]:
    yield n


async def calls() -> None:
    assert_type(await fetch("Oslo", unit="f"), int)
    assert_type(compute(1), str)
    assert_type(await run(fetch, {"city": "Oslo"}, timeout=3), int)
    assert_type(await run(compute, {"x": 1}), str)
    assert_type(await run(hand_out, {"x": 1}), float)
    assert_type(await try_run(compute, {"x": 1}), Success[Any] | Failure)
    await fetch(1)  # type: ignore[arg-type]
    await run(fetch, {}, retry=3)  # type: ignore[call-overload]


def composites() -> tuple[Action[..., Any], Action[..., Coroutine[Any, Any, int]]]:
    return Plan([Step("a", fetch, {"city": "Oslo"}, retries=2)], timeout=5.0), fetch
