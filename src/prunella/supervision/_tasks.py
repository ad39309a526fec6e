"""One-off work under supervision (Elixir's ``Task.Supervisor``): a crash stays with the task, or with who awaits it."""

from __future__ import annotations

import contextvars
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, TypeVarTuple, final

import attrs
import outcome
import trio
from trio.lowlevel import enable_ki_protection

from ._core import Request, Verb
from ._dynamic_core import DynamicCore
from ._errors import InvalidSpec, SupervisionError, SupervisorStopped
from ._handle import DynamicHandle
from ._info import ChildInfo, picture
from ._life import HostedLife, TaskLife, current_life
from ._live import LiveSupervisor
from ._policies import (
    Backoff,
    Budget,
    ChildKind,
    Restart,
    ShutdownTime,
    check_choice,
    check_count,
    check_id,
    check_shutdown,
)
from ._specs import Supervised, name_of

if TYPE_CHECKING:
    from ._core import Core, Host
    from ._reasons import ExitReason
    from ._records import Slot

__all__ = ["TaskHandle", "TaskResults", "TaskSupervisor"]

Result = TypeVar("Result")
Item = TypeVar("Item")
Args = TypeVarTuple("Args")


@final
@attrs.frozen(init=False)
class TaskSupervisor(Supervised):
    """A supervisor of one-off tasks.

    Open it like any supervisor; its handle has `TaskHandle.start_soon`, `TaskHandle.run` and `TaskHandle.map`. Tasks
    are temporary: none is restarted, and the crash of one touches nobody but who awaits it. Each runs in a copy of
    its caller's context.

    Args:
        id: its name, in its own supervisor and in messages.
        max_children: how many tasks may run at once.
        task_shutdown: how long a task may clean up when it is cancelled: seconds, `math.inf` or ``"brutal_kill"``.
        restart: as a child: when it is restarted.
        shutdown: as a child: how long all its tasks may take to stop.

    Raises:
        InvalidSpec: an argument is wrong.
    """

    id: str
    max_children: float
    task_shutdown: ShutdownTime
    restart: Restart
    shutdown: ShutdownTime

    significant: ClassVar[bool] = False
    backoff: ClassVar[Backoff | None] = None
    budget: ClassVar[Budget] = Budget.SHARED
    max_restarts: ClassVar[int] = 0
    max_seconds: ClassVar[float] = 1.0

    def __init__(
        self,
        *,
        id: str = "tasks",
        max_children: float = math.inf,
        task_shutdown: ShutdownTime = 5.0,
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownTime = math.inf,
    ) -> None:
        owner = f"TaskSupervisor {check_id('TaskSupervisor', id)!r}"
        self.__attrs_init__(
            id,
            check_count(owner, "max_children", max_children, or_infinite=True),
            check_shutdown(owner, task_shutdown),
            check_choice(owner, "restart", restart, Restart),
            check_shutdown(owner, shutdown),
        )

    def as_child(self) -> TaskSupervisor:
        """Itself."""
        return self

    def _core(self, host: Host) -> Core:
        return DynamicCore(self, host)

    def _handle(self, live: LiveSupervisor) -> TaskHandle:
        return TaskHandle(live)


class _Job:
    """One task: the spec of its only life, and what came out of it."""

    __slots__ = (
        "_context",
        "args",
        "error",
        "function",
        "id",
        "info",
        "returned",
        "shutdown",
        "value",
        "work",
    )

    kind: ClassVar[ChildKind] = ChildKind.WORKER
    restart: ClassVar[Restart] = Restart.TEMPORARY
    start_timeout: ClassVar[float | None] = None
    significant: ClassVar[bool] = False
    backoff: ClassVar[Backoff | None] = None
    _takes_task_status: ClassVar[bool] = False

    def __init__(self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...], shutdown: ShutdownTime) -> None:
        if not callable(function):
            raise InvalidSpec("task", "function", "an async function", function)
        self.id = name_of(function)
        self.work = function
        self.function = self._run
        self.args = args
        self.shutdown = shutdown
        self._context = contextvars.copy_context()
        self.returned = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.info: ChildInfo | None = None

    def _life(self, host: LiveSupervisor, slot: Slot) -> HostedLife:
        return TaskLife(host, slot)

    async def _run(self, *args: Any) -> None:
        try:
            self.value = await self.work(*args)
        except trio.Cancelled:
            raise
        except BaseException as error:
            self.error = error
            raise
        self.returned = True

    def outcome(self, id: str, reason: ExitReason, *, stopped: bool) -> outcome.Outcome[Any]:
        """What came out of it; taken once."""
        if self.returned:
            return outcome.Value(self.value)
        error, self.error = self.error, None
        if error is None:
            error = SupervisorStopped(id) if stopped else SupervisionError(f"task {self.id!r} was stopped: {reason}")
        return outcome.Error(error)


class TaskHandle(DynamicHandle):
    """The handle of a running `TaskSupervisor`."""

    __slots__ = ()

    def start_soon(self, function: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Starts a task and forgets it; if it crashes, that is reported, and nothing else happens.

        Args:
            function: an async function.
            *args: its arguments.

        Raises:
            TooManyChildren: as many tasks run as may.
            SupervisorStopped: the supervisor has ended.
            InvalidSpec: the function is none.
        """
        self._begin(function, args)

    @enable_ki_protection
    async def run(self, function: Callable[[*Args], Awaitable[Result]], *args: *Args) -> Result:
        """Runs a task and waits for it. Cancelling the caller cancels the task, and waits for its end.

        Args:
            function: an async function.
            *args: its arguments.

        Returns:
            What the function returns.

        Raises:
            Exception: whatever the function raises, as it is.
            TooManyChildren: as many tasks run as may.
            SupervisorStopped: the supervisor has ended, or ended while the task ran.
            SupervisionError: the task was terminated by somebody else.
            InvalidSpec: the function is none.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        live, job, life = self._begin(function, args)
        try:
            reason = await life.wait_ended()
        except BaseException:
            _cancel(live, life)
            with trio.CancelScope(shield=True):  # The task has its own shutdown time, and a grace second.
                await life.wait_ended()
            raise
        result: Result = job.outcome(live.spec.id, reason, stopped=live.core.stopping).unwrap()
        return result

    @asynccontextmanager
    async def map(
        self,
        function: Callable[[Item], Awaitable[Result]],
        items: Iterable[Item],
        *,
        max_concurrency: int,
        ordered: bool = True,
    ) -> AsyncIterator[TaskResults[Item, Result]]:
        """Applies a function to many items, so many at a time::

            async with tasks.map(fetch, urls, max_concurrency=10) as results:
                async for result in results:
                    print(result)  # outcome.Value or outcome.Error

        An item is drawn only when there is room: results that nobody has taken yet count as well. Leaving the block
        cancels what still runs, and waits for it.

        Args:
            function: an async function of one item.
            items: the items.
            max_concurrency: how many results may be under way or waiting, at least 1.
            ordered: whether results come in the order of the items, or as they are done.

        Returns:
            An asynchronous iterator of outcomes: the crash of one item is its `outcome.Error`, and touches no other.

        Raises:
            InvalidSpec: `max_concurrency` is not a whole number of at least 1.
            TooManyChildren: as many tasks run as may.
            SupervisorStopped: the supervisor has ended.
        """
        if check_count("map()", "max_concurrency", max_concurrency) == 0:
            raise InvalidSpec("map()", "max_concurrency", "a whole number of at least 1", max_concurrency)
        await trio.lowlevel.checkpoint()
        results: TaskResults[Item, Result] = TaskResults(self, function, iter(items), max_concurrency, ordered)
        try:
            results._fill()
            yield results
        finally:
            await results._cancel()

    @enable_ki_protection
    def _begin(
        self, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> tuple[LiveSupervisor, _Job, HostedLife]:
        life = current_life()
        if life is not None:
            life.check_fresh("a task's start")
        live = self._running()
        job = _Job(function, args, live.spec.task_shutdown)
        request = Request(Verb.START, job)
        live.core.ask(request)
        if request.error is not None:
            raise request.error
        assert request.slot is not None
        started = request.slot.life
        assert isinstance(started, HostedLife)
        return live, job, started


class TaskResults(Generic[Item, Result]):
    """The outcomes of `TaskHandle.map`, as an asynchronous iterator."""

    __slots__ = ("_done", "_function", "_handle", "_items", "_most", "_ordered", "_running", "_waiter")

    def __init__(
        self,
        handle: TaskHandle,
        function: Callable[[Item], Awaitable[Result]],
        items: Iterator[Item],
        most: int,
        ordered: bool,
    ) -> None:
        self._handle = handle
        self._function = function
        self._items: Iterator[Item] | None = items
        self._most = most
        self._ordered = ordered
        # All that was started and not taken yet, in the order of the items.
        self._running: dict[_Job, tuple[LiveSupervisor, HostedLife]] = {}
        self._done: dict[_Job, None] = {}
        self._waiter: trio.Event | None = None

    def __aiter__(self) -> TaskResults[Item, Result]:
        return self

    async def __anext__(self) -> outcome.Outcome[Result]:
        self._fill()
        while self._running:
            job = next(iter(self._running if self._ordered else self._done), None)
            if job in self._done:
                assert job is not None
                live, life = self._running.pop(job)
                del self._done[job]
                self._fill()
                await trio.lowlevel.checkpoint()
                assert life.reason is not None
                return job.outcome(live.spec.id, life.reason, stopped=live.core.stopping)
            self._waiter = trio.Event()
            await self._waiter.wait()
        raise StopAsyncIteration

    def _fill(self) -> None:
        """Draws items and starts their tasks, for as long as there is room."""
        while self._items is not None and len(self._running) < self._most:
            try:
                item = next(self._items)
            except StopIteration:
                self._items = None
                return
            live, job, life = self._handle._begin(self._function, (item,))
            self._running[job] = (live, life)
            life.when_ended(self, partial(self._ended, job))

    def _ended(self, job: _Job) -> None:
        if job in self._running:
            self._done[job] = None
        if self._waiter is not None:
            self._waiter.set()

    async def _cancel(self) -> None:
        self._items = None
        running, self._running = self._running, {}
        for live, life in running.values():
            _cancel(live, life)
        with trio.CancelScope(shield=True):  # Each task has its own shutdown time, and a grace second.
            for _, life in running.values():
                await life.wait_ended()


def _cancel(live: LiveSupervisor, life: HostedLife) -> None:
    if not life.ended:
        live.core.ask(Request(Verb.TERMINATE, picture(life.slot)))
