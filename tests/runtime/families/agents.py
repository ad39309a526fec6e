"""Agents for the tests of families, schedules and of what can be seen from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import trio
import trio.testing
from trio.testing import MockClock

from prunella.agents import Agent, Context, Directive, Reply, Stop, on
from prunella.runtime import AgentRef
from prunella.signals import Signal
from prunella.telemetry import Event

T = TypeVar("T")
E = TypeVar("E", bound=Event)

_FOR_EVER = 1e8


class Counter(Agent, name="counter"):
    """Counts."""

    count: int = 0

    @on("add")
    def add(self, amount: int = 1) -> Any:
        return self.set(count=self.count + amount)

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")

    @on("stop")
    def stop(self, reason: str | None = None) -> Any:
        return Stop(reason)


class Member(Agent, name="member"):
    """One of a family: does what its signals say, and keeps what the runtime tells it."""

    heard: tuple[tuple[str, Any], ...] = ()
    seen: tuple[Any, ...] = ()

    @on("do")
    def do(self, it: Any) -> Any:
        """Returns what it is given, or what a function makes of it."""
        return it(self) if callable(it) else it

    @on("look")
    def look(self, context: Context) -> Any:
        """Keeps what it can know of its family."""
        return self.set(seen=(*self.seen, (context.parent, dict(context.children)))), Reply(context.parent)

    @on("prunella.child.**", "prunella.orphaned")
    def told(self, signal: Signal, context: Context) -> Any:
        family = (context.parent, tuple(sorted(context.children)))
        return self.set(heard=(*self.heard, (signal.type, signal.data)), seen=(*self.seen, family))

    @on("refused")
    def refused(self, error: Mapping[str, Any]) -> Any:
        return self.set(heard=(*self.heard, ("refused", error["type"])))

    @on("note")
    def note(self, signal: Signal) -> Any:
        return self.set(heard=(*self.heard, ("note", signal.data)))

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")

    @on("stop")
    def stop(self, reason: str | None = None) -> Any:
        return Stop(reason)


class Child(Agent, name="child"):
    """A child that hears nothing of its family."""

    count: int = 0

    @on("add")
    def add(self) -> Any:
        return self.set(count=self.count + 1)

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")

    @on("stop")
    def stop(self, reason: str | None = None) -> Any:
        return Stop(reason)


class Log(Agent, name="log"):
    """Keeps the signals that it hears."""

    signals: tuple[Signal, ...] = ()

    @on("do")
    def do(self, it: Any) -> Any:
        return it

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")

    @on("tick", "note.**")
    def tick(self, signal: Signal) -> Any:
        return self.set(signals=(*self.signals, signal))


class Heard(list[Event]):
    """A listener that keeps what it hears."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


def told(member: Member, type: str) -> list[Any]:
    """The data of what a member was told of a type."""
    return [data for kind, data in member.heard if kind == type]


async def do(ref: AgentRef[Any], *directives: Directive) -> Any:
    """Lets an agent return these directives; returns its state."""
    return await ref.call("do", it=list(directives))


async def settle() -> None:
    """Returns when every task waits for something."""
    await trio.testing.wait_all_tasks_blocked()


def run(main: Callable[[], Awaitable[T]], *, clock: Any = None, instruments: Sequence[Any] = ()) -> T:
    """Runs a test on a clock that jumps when everybody waits."""

    async def watched() -> T:
        with trio.fail_after(_FOR_EVER):
            return await main()

    clock = MockClock(autojump_threshold=0) if clock is None else clock
    return trio.run(watched, clock=clock, instruments=instruments)
