"""Children that do as a test tells them, and a journal of what they did."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from typing import Any, TypeAlias, TypeVar

import trio
from trio.testing import wait_all_tasks_blocked

from prunella.supervision import Child, ChildInfo, Crashed, ExitReason, SupervisorHandle
from prunella.telemetry import Event

E = TypeVar("E", bound=Event)

# What one start is to do: None just starts; an error is raised instead; an event is awaited first, and what stands
# behind it in a pair is raised then.
Step: TypeAlias = BaseException | trio.Event | tuple[trio.Event, BaseException] | None


class Part:
    """One life of a child of the troupe: what it was told to do."""

    def __init__(self) -> None:
        self.told = trio.Event()
        self.error: BaseException | None = None


class Troupe:
    """Children that do as the test tells them.

    Attributes:
        journal: what they did, in order: "start c1" when one begins, "fail c1" when its start fails, "stop c1" when
            it is cancelled, "end c1" when it ends as it was told.
        events: for ``telemetry=[troupe.events.append]``.
        starts: how often each of them was begun.
    """

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.events: list[Event] = []
        self.starts: Counter[str] = Counter()
        self._plans: defaultdict[str, deque[Step]] = defaultdict(deque)
        self._parts: dict[str, Part] = {}

    def child(self, id: str, **options: Any) -> Child:
        """A child that starts by its plan, and then waits to be told how to end."""
        return Child(self._play, id, id=id, **options)

    def children(self, *ids: str, **options: Any) -> list[Child]:
        """Several of them, with the same options."""
        return [self.child(id, **options) for id in ids]

    def plan(self, id: str, *steps: Step) -> None:
        """Says what the next starts of a child are to do, one step each. Without a plan it just starts."""
        self._plans[id].extend(steps)

    def tell(self, id: str, error: BaseException | None = None) -> None:
        """Tells a running child to return, or to raise."""
        part = self._parts[id]
        part.error = error
        part.told.set()

    async def end(self, id: str, error: BaseException | None = None) -> None:
        """Tells it, and waits until everything that follows from that is done."""
        self.tell(id, error)
        await wait_all_tasks_blocked()

    async def crash(self, id: str) -> None:
        """Has it crash, as `crashed` says, and waits until everything that follows from that is done."""
        await self.end(id, error_of(id))

    def clear(self) -> None:
        """Forgets what is in the journal and what was reported."""
        self.journal.clear()
        self.events.clear()

    def heard(self, kind: type[E]) -> list[E]:
        """The events of one kind, in order."""
        return [event for event in self.events if isinstance(event, kind)]

    async def _play(self, id: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        self.starts[id] += 1
        self.journal.append(f"start {id}")
        part = self._parts[id] = Part()
        step = self._plans[id].popleft() if self._plans[id] else None
        gate, error = step if isinstance(step, tuple) else (step, None)
        if isinstance(gate, BaseException):
            gate, error = None, gate
        try:
            if gate is not None:
                await gate.wait()
            if error is not None:
                self.journal.append(f"fail {id}")
                raise error
            task_status.started(f"{id}, life {self.starts[id]}")
            await part.told.wait()
        except trio.Cancelled:
            self.journal.append(f"stop {id}")
            raise
        self.journal.append(f"end {id}")
        if part.error is not None:
            raise part.error


def error_of(id: str) -> RuntimeError:
    """The error by which a child of the troupe crashes."""
    return RuntimeError(f"{id} crashed")


def crashed(id: str) -> ExitReason:
    """The exit reason of a child of the troupe that crashed."""
    return Crashed(error_of(id))


def lives(supervisor: SupervisorHandle) -> dict[str, int]:
    """The present life of each child, by id."""
    return {info.id: info.life for info in supervisor.which_children()}


def states(supervisor: SupervisorHandle) -> dict[str, str]:
    """The state of each child, by id, in start order."""
    return {info.id: str(info.state) for info in supervisor.which_children()}


def ids(infos: Iterable[ChildInfo]) -> list[str]:
    """The ids of children, in the order in which they come."""
    return [info.id for info in infos]
