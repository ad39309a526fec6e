"""Durable agents for these tests, the world outside that their effects change, and the few moves most tests make."""

from __future__ import annotations

import copy
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import trio
from trio.abc import Clock, Instrument
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.actions import IdempotencyKey, action
from prunella.agents import (
    Agent,
    Context,
    Directive,
    Emit,
    Fail,
    Rejected,
    Reply,
    Run,
    directive_from_data,
    directive_to_data,
    on,
)
from prunella.runtime import AgentRef, AgentSpec, Runtime
from prunella.signals import Signal
from prunella.storage import HistoryEntry, MemoryStorage, history
from prunella.telemetry import Event
from prunella.testing.storage import FaultyStorage

A = TypeVar("A", bound=Agent)
E = TypeVar("E", bound=Event)
T = TypeVar("T")

_FOR_EVER = 1e5

EPOCH = datetime(2026, 3, 2, 12, tzinfo=UTC)
"""When runtimes of these tests are opened, where that matters."""


def later(**duration: float) -> datetime:
    """So long after the epoch of these tests."""
    return EPOCH + timedelta(**duration)


class World:
    """What is outside: the effects that were done there, and what goes wrong there at present."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Nothing was done, nothing goes wrong."""
        self.done: list[Any] = []
        self.keys: list[str] = []
        self.broken: set[str] = set()
        self.seconds = 0.0


world = World()


# What agents have done there. These are found by their names, so they stand in a module.


@action()
async def pay(amount: int, key: IdempotencyKey) -> int:
    """Takes `world.seconds`, then is done."""
    world.keys.append(str(key))
    await trio.sleep(world.seconds)
    if "bank" in world.broken:
        raise ValueError("the bank is closed")
    world.done.append(amount)
    return amount


@action()
async def letters(text: str) -> AsyncIterator[str]:
    """One letter a second."""
    for letter in text:
        await trio.sleep(1)
        yield letter


async def stroll(seconds: float) -> None:
    """A task: is counted at its beginning and at its end."""
    world.done.append("out")
    await trio.sleep(seconds)
    world.done.append("back")


@action(retries=2)
async def stubborn(amount: int, key: IdempotencyKey) -> int:
    """Succeeds at the third attempt."""
    world.keys.append(str(key))
    if len(world.keys) < 3:
        raise ConnectionError("not yet")
    return amount


@action()
async def own(runtime: Runtime, ref: AgentRef[Any], word: str) -> str:
    """Wants its agent and its runtime."""
    return f"{word} {runtime.name} {ref.id}"


def forgiving(agent: Puppet, error: Exception) -> Any:
    """An error policy that takes note of errors."""
    return agent.set(log=(*agent.log, f"policy {type(error).__name__}"))


class Puppet(Agent, name="puppet", durable=True):
    """Does what its signals say."""

    log: tuple[str, ...] = ()

    @on("do")
    def do(self, it: Sequence[Any], note: str | None = None) -> Any:
        """Returns these directives, written as plain data."""
        directives = [directive_from_data(each) for each in it]
        return (self if note is None else self.set(log=(*self.log, note)), *directives)

    @on("note", "note.**")
    def note(self, value: str) -> Any:
        return self.set(log=(*self.log, value))

    @on("tick")
    def tick(self, context: Context, scheduled_for: str | None = None, name: str = "tick") -> Any:
        """A schedule was due; cron says for when."""
        when = context.now if scheduled_for is None else datetime.fromisoformat(scheduled_for)
        return self.set(log=(*self.log, f"{name} {when.astimezone(UTC):%d %H:%M:%S}"))

    @on("echo")
    def echo(self, value: Any = None) -> Any:
        return self.set(log=(*self.log, f"echo {value}")), Reply(value)

    @on("pay")
    def pay(self, amount: int) -> Any:
        """Has it done in the world outside."""
        return (
            self.set(log=(*self.log, f"pay {amount}")),
            Run(pay, {"amount": amount}, then="paid", catch="unpaid"),
        )

    @on("paid")
    def paid(self, result: int) -> Any:
        return self.set(log=(*self.log, f"paid {result}")), Reply(result)

    @on("unpaid")
    def unpaid(self, error: Mapping[str, Any]) -> Any:
        return self.set(log=(*self.log, f"unpaid {error['message']}")), Fail(error["message"])

    @on("item")
    def item(self, value: str, index: int) -> Any:
        return self.set(log=(*self.log, f"{index} {value}"))

    @on("failed")
    def failed(self, error: Mapping[str, Any]) -> Any:
        return self.set(log=(*self.log, f"failed {error['type']}"))

    @on("got")
    def got(self, result: Any = None) -> Any:
        return self.set(log=(*self.log, f"got {result}"))

    @on("answered")
    def answered(self, result: Any = None) -> Any:
        return self.set(log=(*self.log, f"answered {result}")), Reply(result)

    @on("refuse")
    def refuse(self) -> Any:
        raise Rejected("not today", code=7)

    @on("number")
    def number(self, number: int) -> Any:
        return self.set(log=(*self.log, str(number)))

    @on("fragile")
    def fragile(self, value: str) -> Any:
        """Crashes as long as it is broken."""
        if value in world.broken:
            raise ValueError(f"{value} is broken")
        return self.set(log=(*self.log, value))

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")

    @on("look")
    def look(self, context: Context) -> Any:
        """Takes note of its family."""
        parent = None if context.parent is None else context.parent.id
        return self.set(log=(*self.log, f"{parent} {sorted(context.children)}"))

    @on("draw")
    def draw(self, context: Context) -> Any:
        """Uses everything that may be used: chance, time and ids."""
        return self.set(log=(*self.log, f"{context.random.random()} {context.now} {context.new_id()}"))


class Listening(Puppet, name="listening", durable=True):
    """Hears what the runtime has to say, too."""

    @on("prunella.started")
    def started(self, restarts: int, restored: bool) -> Any:
        return self.set(log=(*self.log, f"started {restarts} {restored}"))

    @on("prunella.stopping")
    def stopping(self) -> Any:
        return self.set(log=(*self.log, "stopping"))

    @on("prunella.child.started")
    def child_started(self, tag: str, meta: Mapping[str, Any], restarts: int) -> Any:
        return self.set(log=(*self.log, f"child {tag} {dict(meta)} {restarts}"))

    @on("prunella.child.exited")
    def child_exited(self, tag: str, reason: Mapping[str, Any], context: Context) -> Any:
        return self.set(log=(*self.log, f"exited {tag} {reason['kind']} {sorted(context.children)}"))

    @on("prunella.orphaned")
    def orphaned(self, parent: str, tag: str, context: Context) -> Any:
        return self.set(log=(*self.log, f"orphaned {parent} {tag} {context.parent}"))


class Heard(list[Event]):
    """A listener that keeps what it hears."""

    def __call__(self, event: Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


# Moves.


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


def doing(*directives: Directive, note: str | None = None) -> Signal:
    """A signal that lets a puppet return these directives."""
    data: dict[str, Any] = {"it": [directive_to_data(each) for each in directives]}
    return Signal("do", data if note is None else {**data, "note": note})


def emit(to: Any, value: str) -> Emit:
    """A note to another puppet."""
    return Emit("note", {"value": value}, to=to)


async def settle() -> None:
    """Returns when every task waits for something."""
    await wait_all_tasks_blocked()


async def quiet(*refs: AgentRef[Any]) -> None:
    """Lets time pass until marks are written and nothing waits."""
    while True:
        await trio.sleep(0.2)
        states = [ref.status() for ref in refs]
        if all(state.state == "running" and not (state.mailbox or state.effects) for state in states):
            return


def puppets(*ids: str, **options: Any) -> list[AgentSpec[Puppet]]:
    """Specs of puppets."""
    return [AgentSpec(Puppet, id, **options) for id in ids]


def copied(storage: MemoryStorage | FaultyStorage) -> MemoryStorage:
    """What a storage holds at this instant, as a process that is killed now leaves it behind: not in order."""
    kept = storage.storage if isinstance(storage, FaultyStorage) else storage
    assert isinstance(kept, MemoryStorage)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # counters cannot be copied for ever
        copy_of = copy.deepcopy(kept)
    copy_of._is_open = copy_of._is_exclusive = False
    copy_of.users.clear()
    return copy_of


async def past(storage: Any, agent: type[A], id: str, **options: Any) -> list[HistoryEntry[A]]:
    """All turns that are kept of an agent."""
    return [entry async for entry in history(storage, agent, id, **options)]


async def heard_types(storage: Any, agent: type[Agent], id: str) -> list[str]:
    """The types of the signals that an agent has handled."""
    return [entry.turn.signal.type for entry in await past(storage, agent, id)]


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
