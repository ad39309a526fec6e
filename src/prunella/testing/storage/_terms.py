"""What the checks are said in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from ...signals import Signal
from ...storage import (
    AgentKey,
    Code,
    Commit,
    Storage,
    Write,
)

__all__ = [
    "CODE",
    "KEY",
    "NOW",
    "Check",
    "Factory",
    "a_signal",
    "a_turn",
    "claim_agent",
    "expect",
    "expect_kind",
    "expect_raised",
    "expect_refused",
    "ids_of",
    "in_seconds",
    "waiting_of",
    "write_agent",
]

Factory: TypeAlias = Callable[[], Storage]
Check: TypeAlias = Callable[[Factory], Awaitable[None]]

NOW: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
CODE: Final = Code("desk", 1, "0123", "app:Desk")
KEY: Final = AgentKey("default", None, "desk")


def expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


def expect_kind(what: str, got: object, kind: type) -> None:
    if not isinstance(got, kind):
        raise AssertionError(f"{what}: expected {kind.__name__}, got {got!r}")


@asynccontextmanager
async def expect_raised(what: str, kind: type[Exception]) -> AsyncIterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{what}: {kind.__name__} was not raised")


def in_seconds(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_signal(id: str) -> Signal:
    return Signal("ticket.opened", {"ticket": id}, id=id, time=NOW)


def a_turn(sequence: int, claim: int = 1, id: str | None = None, **more: Any) -> Commit:
    signal = a_signal(f"s{sequence}" if id is None else id)
    now = more.pop("now", in_seconds(sequence))
    return Commit(sequence, claim, signal, now, sequence * 7, CODE, **{"changes": {"last": sequence}, **more})


async def claim_agent(storage: Storage, key: AgentKey = KEY, owner: str = "me", **more: Any) -> int:
    return (await storage.claim(key, CODE, owner=owner, now=NOW, **more)).claim


async def write_agent(storage: Storage, key: AgentKey = KEY, claim: int = 1, **more: Any) -> None:
    (outcome,) = await storage.append(Write(key, claim, NOW, **more))
    expect("the outcome of a write", outcome, None)


async def expect_refused(storage: Storage, kind: type, key: AgentKey = KEY, claim: int = 1, **more: Any) -> Any:
    (outcome,) = await storage.append(Write(key, claim, NOW, **more))
    expect_kind("the outcome of a write", outcome, kind)
    return outcome


async def waiting_of(storage: Storage, key: AgentKey = KEY) -> list[tuple[str, int]]:
    stored = await storage.load(key)
    return [] if stored is None else [(one.signal.id, one.deliveries) for one in stored.waiting]


def ids_of(directives: Iterable[Any]) -> list[str]:
    return [directive.id for directive in directives]
