"""Children for the tests of the running side: what they do is in their names."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import trio
from trio.testing import MockClock

from prunella.supervision import cleanup_scope

Kind = TypeVar("Kind")


async def steady(journal: list[str], name: str) -> None:
    """Runs until it is stopped, and writes down its beginning and its end."""
    journal.append(f"+{name}")
    try:
        await trio.sleep_forever()
    finally:
        journal.append(f"-{name}")


async def tidy(journal: list[str], name: str, seconds: float) -> None:
    """As `steady`, but its cleanup takes a while; writes down when it was asked and when it had ended."""
    journal.append(f"+{name}")
    try:
        await trio.sleep_forever()
    finally:
        journal.append(f"?{name}")
        with cleanup_scope():
            await trio.sleep(seconds)
        journal.append(f"-{name}")


async def deaf(release: trio.Event, *, task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED) -> None:
    """Does not hear that it is cancelled, and ends only when it is released (or its test has long failed)."""
    task_status.started()
    with trio.move_on_after(1000, shield=True):
        await release.wait()


async def swallower(release: trio.Event) -> None:
    """Catches every `Cancelled` and goes on; it is never blocked once it is cancelled."""
    while not release.is_set():
        try:
            await release.wait()
        except trio.Cancelled:
            pass


async def crash(error: BaseException | None = None) -> None:
    """Crashes at its second step."""
    await trio.lowlevel.checkpoint()
    raise ValueError("crash") if error is None else error


async def crash_when(event: trio.Event, error: BaseException | None = None) -> None:
    """Crashes when it is told to."""
    await event.wait()
    raise ValueError("crash") if error is None else error


async def forever() -> None:
    """Runs until it is stopped."""
    await trio.sleep_forever()


async def finish() -> None:
    """Returns at its second step."""
    await trio.lowlevel.checkpoint()


async def finish_when(event: trio.Event) -> None:
    """Returns when it is told to."""
    await event.wait()


async def move(clock: MockClock, seconds: float, step: float = 0.25) -> None:
    """Moves a clock by hand, for trees with tasks that never block; everybody runs between the jumps."""
    for _ in range(round(seconds / step)):
        clock.jump(step)
        await some_steps()


async def some_steps(number: int = 20) -> None:
    """Lets everybody run for a while, without any time passing."""
    for _ in range(number):
        await trio.lowlevel.checkpoint()


async def until(condition: Callable[[], object], step: float = 0.01) -> None:
    """Waits, in mock time, until something holds; a minute at most."""
    for _ in range(round(60 / step)):
        if condition():
            return
        await trio.sleep(step)
    raise AssertionError("it has not come true within a minute")


def of(events: list[Any], kind: type[Kind]) -> list[Kind]:
    """The events of one kind."""
    return [event for event in events if type(event) is kind]


async def outcome_of(work: Callable[[], Awaitable[object]]) -> BaseException | object:
    """What some work returns or raises, `Cancelled` excepted."""
    try:
        return await work()
    except Exception as error:
        return error


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Ends a run that hangs, as a `TrioInternalError`. Real time: what hangs may hang in any way."""

    def hangs(*_: object) -> None:
        raise TimeoutError("it hangs")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)  # again, should somebody swallow it
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
