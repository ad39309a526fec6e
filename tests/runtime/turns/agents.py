"""Agents for the tests of turns, and the few moves that most of these tests make."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import trio
from trio.abc import Clock, Instrument
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.agents import Agent, Emit, Rejected, Reply, on
from prunella.runtime import AgentRef
from prunella.telemetry import Event

E = TypeVar("E", bound=Event)

_FOR_EVER = 1e7


class Puppet(Agent, name="puppet"):
    """Does what its signals say."""

    log: tuple[Any, ...] = ()

    @on("do")
    def do(self, it: Any) -> Any:
        """Returns what it is given, or what a function makes of it."""
        return it(self) if callable(it) else it

    @on("note")
    def note(self, value: Any = None) -> Any:
        return self.set(log=(*self.log, value))

    @on("echo")
    def echo(self, value: Any = None) -> Any:
        return Reply(value)

    @on("forward")
    def forward(self, to: str, value: Any = None) -> Any:
        """Lets another one answer."""
        return Emit("echo", {"value": value}, to=to)

    @on("got")
    def got(self, result: Any = None, **rest: Any) -> Any:
        """Takes a result."""
        return self.set(log=(*self.log, ("got", result, rest)))

    @on("item")
    def item(self, value: Any, index: int, **rest: Any) -> Any:
        """Takes a part of a result."""
        return self.set(log=(*self.log, ("item", index, value, rest)))

    @on("failed")
    def failed(self, error: Any, **rest: Any) -> Any:
        """Takes a failure."""
        return self.set(log=(*self.log, ("failed", error["type"], error["message"], rest)))

    @on("answered")
    def answered(self, result: Any = None) -> Any:
        """Takes a result and passes it on to whoever asked."""
        return Reply(result)

    @on("refuse")
    def refuse(self) -> Any:
        raise Rejected("not today", code=7)

    @on("number")
    def number(self, number: int) -> Any:
        return self.set(log=(*self.log, number))

    @on("boom")
    def boom(self, text: str = "boom") -> Any:
        raise ValueError(text)


class Heard(list[Event]):
    """A listener that keeps what it hears."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


def run(
    main: Callable[[], Awaitable[object]],
    *,
    clock: Clock | None = None,
    instruments: Sequence[Instrument] = (),
) -> None:
    """Runs a test on a mocked clock, and lets it fail if it would wait for ever."""

    async def guarded() -> None:
        with trio.move_on_after(_FOR_EVER) as scope:
            await main()
        assert not scope.cancelled_caught, "the test waits for what does not come"

    trio.run(guarded, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)


async def settle() -> None:
    """Returns when every task waits for something."""
    await wait_all_tasks_blocked()


async def busy(ref: AgentRef[Any]) -> None:
    """Lets a signal wait in the mailbox, so that what comes next has to wait behind it."""
    await ref.cast("note", value="before")


class Task:
    """Something that goes on beside a test."""

    def __init__(self, nursery: trio.Nursery, function: Callable[..., Any], *args: Any, **keywords: Any) -> None:
        self.scope = trio.CancelScope()
        self.value: Any = None
        self.error: BaseException | None = None
        self.ended_at: float | None = None
        nursery.start_soon(self._run, function, args, keywords)

    async def _run(self, function: Callable[..., Any], args: Any, keywords: Any) -> None:
        with self.scope:
            try:
                self.value = await function(*args, **keywords)
            except Exception as error:
                self.error = error
        self.ended_at = trio.current_time()

    @property
    def is_waiting(self) -> bool:
        return self.ended_at is None
