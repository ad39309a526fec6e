"""A life that really runs: the task of a worker, its end, and what can be done from inside it."""

from __future__ import annotations

import math
import traceback
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import CodeType, CoroutineType, TracebackType
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import disable_ki_protection, enable_ki_protection

from ._errors import NotInAChild, StaleLife
from ._policies import BRUTAL_KILL
from ._reasons import Crashed, Exit, ExitReason, Ignore, Killed, Normal, Shutdown, captured, unwrapped
from ._records import Life, Slot

if TYPE_CHECKING:
    from ._live import LiveSupervisor
    from ._registry import Registry
    from ._service import Timer
    from ._specs import Child
    from ._tree import Tree

__all__ = ["GRACE", "HostedLife", "TaskLife", "acting_life", "cleanup_scope", "current_life", "reading_life"]

GRACE = 1.0
"""Seconds between a kill and the declaration that its task is unresponsive."""

_current: ContextVar[TaskLife | None] = ContextVar("prunella_life", default=None)


def current_life() -> TaskLife | None:
    """The life in whose context the caller runs, tasks that it spawned included; None outside of children."""
    return _current.get()


def reading_life(what: str) -> TaskLife:
    """The life about which the caller asks: its own, be it declared unresponsive.

    Raises:
        NotInAChild: there is none.
    """
    life = _current.get()
    if life is None:
        raise NotInAChild(what)
    return life


def acting_life(what: str) -> TaskLife:
    """The life for which the caller acts.

    Raises:
        NotInAChild: there is none.
        StaleLife: it was declared unresponsive.
    """
    life = reading_life(what)
    life.check_fresh(what)
    return life


class HostedLife(Life):
    """What all lives share that really run: where they belong, and the protocol of their end."""

    __slots__ = ("host", "waiters")

    def __init__(self, host: LiveSupervisor, slot: Slot) -> None:
        super().__init__(slot, host.tree.next_life())
        self.host = host
        self.waiters: dict[object, Callable[[], object]] | None = None

    @property
    def path(self) -> str:
        """The child's path from the root of its tree."""
        return self.host.path_of(self.slot)

    def spawn(self) -> None:
        """Begins it."""
        raise NotImplementedError

    def stop(self) -> None:
        """Asks it to stop, by its spec's shutdown time."""
        raise NotImplementedError

    def kill(self) -> None:
        """Ends it, and whatever stands below it, without giving any time."""
        raise NotImplementedError

    def declare_unresponsive(self) -> None:
        """Lets it count as ended although it, or something below it, has not."""
        raise NotImplementedError

    def rest(self) -> None:
        """Its child has ended for good: no supervisor will start it again by itself."""

    def has_started(self, value: object = None) -> None:
        """Takes note that it has started, unless its start was cut off meanwhile."""
        if not (self.started or self.ended) and self.cut is None:
            self.started = True
            self.value = value
            self.born = trio.current_time()
            self.host.core.life_started(self)

    def _finish(self, reason: ExitReason) -> None:
        """The exit protocol. No checkpoint from the first line to the last.

        Names are free, and monitors know, before the supervisor decides.
        """
        if self.ended:
            return
        self.ended = True
        self.reason = reason
        self._release()
        if self.waiters is not None:
            for wake in self.waiters.values():
                wake()
            self.waiters = None
        self.host.core.life_ended(self)

    def _release(self) -> None:
        """Frees what it holds under its name."""

    def when_ended(self, who: object, callback: Callable[[], object]) -> None:
        """Calls back when it ends, before its supervisor decides what follows. It must not have ended yet."""
        if self.waiters is None:
            self.waiters = {}
        self.waiters[who] = callback

    @enable_ki_protection
    async def wait_ended(self) -> ExitReason:
        """Waits for its end."""
        if self.ended:
            await trio.lowlevel.checkpoint()
        else:
            task = trio.lowlevel.current_task()
            self.when_ended(task, partial(trio.lowlevel.reschedule, task))

            def abort(_: object) -> trio.lowlevel.Abort:
                if self.waiters is not None:
                    self.waiters.pop(task, None)
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        assert self.reason is not None
        return self.reason


class NotAwaitable(TypeError):
    """The child's function did not return an awaitable, so there was nothing to start."""


class TaskLife(HostedLife):
    """The life of a worker: one task under one shielded cancel scope.

    Attributes:
        stale: whether it was declared unresponsive: its task may still run, but acts for nobody.
        registrations: the registries that hold entries of it.
        subtrees: the trees that were opened inside it.
    """

    __slots__ = (
        "_cleanup_cut", "_cleanup_deadline", "_cleanups", "_deadline", "_forced", "_scope", "_stopped_at", "_task",
        "_timer", "registrations", "stale", "subtrees",
    )  # fmt: skip

    def __init__(self, host: LiveSupervisor, slot: Slot) -> None:
        super().__init__(host, slot)
        self._scope = trio.CancelScope(shield=True)
        self._task: trio.lowlevel.Task | None = None
        self._timer: Timer | None = None
        self._stopped_at = math.inf
        self._deadline = math.inf
        self._forced = False
        self._cleanups: list[trio.CancelScope] | None = None
        self._cleanup_deadline: float | None = None
        self._cleanup_cut = False
        self.stale = False
        self.registrations: dict[Registry[Any], None] | None = None
        self.subtrees: dict[Tree, None] | None = None

    def check_fresh(self, what: str) -> None:
        """Raises:
        StaleLife: it was declared unresponsive.
        """
        if self.stale:
            raise StaleLife(self.slot.spec.id, what)

    # Running.

    def spawn(self) -> None:
        spec: Child = self.slot.spec  # type: ignore[assignment]  # the core knows less of it
        tree = self.host.tree
        tree.task_begins()
        # A task begins with a copy of the context in which it is spawned.
        context = tree.context if spec._context is None else spec._context
        start_soon: Callable[..., None] = self.host.nursery.start_soon
        context.run(start_soon, self._run, name=spec.id)
        if spec.start_timeout is not None:
            self._timer = tree.service.call_at(trio.current_time() + spec.start_timeout, self._start_timed_out)

    @enable_ki_protection
    async def _run(self) -> None:
        spec: Child = self.slot.spec  # type: ignore[assignment]  # the core knows less of it
        _current.set(self)
        self._task = trio.lowlevel.current_task()
        error: BaseException | None = None
        returned = False
        try:
            with self._scope:
                if not self.stopping:
                    if spec._takes_task_status:
                        await _call(spec.function, self.arguments(), {"task_status": _TaskStatus(self)})
                    else:
                        self.host.tree.service.soon(self.has_started, self.slot.starter)
                        await _call(spec.function, self.arguments(), {})
                    returned = True
        except trio.TrioInternalError:
            raise
        except BaseException as caught:
            if isinstance(caught, GeneratorExit) and not self._runs_now():
                raise  # The coroutine is being thrown away: nobody is left to hear of it.
            # The one place where anything that a child raises is caught: from here on it is an exit reason.
            error = caught
        finally:
            if self.stale:
                self.host.unresponsive.pop(self, None)
            self.host.tree.task_ends()
        self._ended(returned, error)

    def _runs_now(self) -> bool:
        return trio.lowlevel.in_trio_task() and trio.lowlevel.current_task() is self._task

    def arguments(self) -> tuple[Any, ...]:
        """What the function is called with."""
        spec: Child = self.slot.spec  # type: ignore[assignment]  # the core knows less of it
        return (*self.host.extra_arguments, *spec.args)

    def has_started(self, value: object = None) -> None:
        if self._timer is not None and not self.stopping:
            self.host.tree.service.cancel(self._timer)
            self._timer = None
        super().has_started(value)

    # Its end.

    def _ended(self, returned: bool, error: BaseException | None) -> None:
        self._task = None
        if error is not None:
            error = unwrapped(error)
            interrupt = interrupt_in(error)
            if interrupt is not None:
                self.interrupted = True
                self.host.tree.interrupted(interrupt)
        if self.ended:
            return  # It was declared unresponsive long ago.
        if self._timer is not None:
            self.host.tree.service.cancel(self._timer)
            self._timer = None
        takes_status = self.slot.spec._takes_task_status  # type: ignore[attr-defined]  # the same
        if not self.started and self.cut is None and not self.stopping:
            if isinstance(error, Ignore):
                self.ignored = True
            elif not takes_status and not isinstance(error, NotAwaitable):
                # It ended within its first step, and so has taken it.
                self.has_started()
        reason = self._reason(returned, error)
        if not self.started:
            self.error = error
        self._finish(reason)

    def _reason(self, returned: bool, error: BaseException | None) -> ExitReason:
        if error is None:
            if returned:
                return Normal()
            late = self._forced or self._cleanup_cut or (
                self._timer_has_killed and trio.current_time() > self._stopped_at
            )  # fmt: skip
            return Killed() if late else Shutdown()
        if isinstance(error, BaseExceptionGroup):
            error = _without_cancelled(error)
        if isinstance(error, Exit):
            return error.reason
        if isinstance(error, Ignore) and self.ignored:
            return Normal()
        return Crashed(captured(error, skip=_OUR_CODE))

    @property
    def _timer_has_killed(self) -> bool:
        return self._deadline == -math.inf

    def _release(self) -> None:
        if self.registrations is not None:
            for registry in self.registrations:
                registry._release(self)
            self.registrations = None

    # Stopping.

    def stop(self) -> None:
        if self.ended or self.stopping:
            return
        if self.slot.spec.shutdown == BRUTAL_KILL:
            self.kill()
            return
        now = trio.current_time()
        self.stopping = True
        self._stopped_at = now
        self._deadline = now + float(self.slot.spec.shutdown)
        if self._cleanups:
            for scope in self._cleanups:
                scope.deadline = min(scope.deadline, self._deadline)
        else:
            self._cleanup_deadline = None  # Scopes that were used in mid-life take nothing from its time.
        if self._timer is not None:
            self.host.tree.service.cancel(self._timer)
        self._timer = self.host.tree.service.call_at(self._deadline, self._time_is_up)
        self._scope.cancel(reason=f"child {self.slot.spec.id!r} was asked to stop")

    def kill(self) -> None:
        if not self.ended and not self._forced:
            self._forced = True
            self._kill()

    def _time_is_up(self) -> None:
        if not self.ended:
            self._kill()

    def _kill(self) -> None:
        now = trio.current_time()
        self._stopped_at = min(self._stopped_at, now)
        self.stopping = True
        self._deadline = -math.inf
        if self._cleanups is not None:
            for scope in self._cleanups:
                scope.cancel(reason="the shutdown time is over")
        if self._timer is not None:
            self.host.tree.service.cancel(self._timer)
        self._timer = self.host.tree.service.call_at(now + GRACE, self.declare_unresponsive)
        self._scope.cancel(reason=f"child {self.slot.spec.id!r} was killed")
        if self.subtrees is not None:
            for tree in tuple(self.subtrees):
                tree.kill()

    def declare_unresponsive(self) -> None:
        if self.ended:
            return
        self.stale = True
        self.host.report_unresponsive(self, self._stack())
        if self.subtrees is not None:
            for tree in tuple(self.subtrees):
                tree.give_up_waiting()
        self._finish(Killed())

    def _stack(self) -> str:
        if self._task is None:
            return ""
        frames = traceback.StackSummary.extract(self._task.iter_await_frames(), limit=50)
        return "".join(frames.format())

    def cut_start(self, reason: ExitReason) -> None:
        """Cuts off its start; it is stopped like one that runs."""
        if not (self.started or self.ended) and self.cut is None:
            self.cut = reason
            self.stop()

    def _start_timed_out(self) -> None:
        self._timer = None
        self.cut_start(Killed())

    # Cleaning up.

    def begin_cleanup(self) -> trio.CancelScope:
        """Makes a shielded scope that ends with the life's shutdown time."""
        scope = trio.CancelScope(shield=True, deadline=self._time_to_clean_up())
        if self._cleanups is None:
            self._cleanups = []
        self._cleanups.append(scope)
        return scope

    def end_cleanup(self, scope: trio.CancelScope) -> None:
        """Takes note that such a scope has been left."""
        if self._cleanups is not None:
            self._cleanups.remove(scope)
        if scope.cancelled_caught and (self._timer_has_killed or trio.current_time() >= scope.deadline):
            self._cleanup_cut = True

    def _time_to_clean_up(self) -> float:
        if self._cleanup_deadline is None:
            # It ends by itself: the time counts from now.
            shutdown = self.slot.spec.shutdown
            self._cleanup_deadline = -math.inf if shutdown == BRUTAL_KILL else trio.current_time() + float(shutdown)
        return min(self._cleanup_deadline, self._deadline)


class _TaskStatus:
    """What a child says `started` to."""

    __slots__ = ("_life", "_told")

    def __init__(self, life: TaskLife) -> None:
        self._life = life
        self._told = False

    def __repr__(self) -> str:
        return f"<task status of child {self._life.slot.spec.id!r}>"

    def started(self, value: object = None) -> None:
        if self._told:
            raise RuntimeError(f"child {self._life.slot.spec.id!r} called started() twice")
        self._told = True
        _say_started(self._life, value)


@enable_ki_protection
def _say_started(life: TaskLife, value: object) -> None:
    life.has_started(value)


@disable_ki_protection
async def _call(function: Callable[..., Awaitable[object]], args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    result = function(*args, **keywords)
    try:
        if not hasattr(result, "__await__"):
            raise NotAwaitable(
                f"a child's function must be async; {getattr(function, '__qualname__', function)!r} "
                f"returned {type(result).__name__}, which cannot be awaited"
            )
        await result
    finally:
        if isinstance(result, CoroutineType):
            result.close()  # It has not even begun, if Ctrl-C came just before.


_OUR_CODE: frozenset[CodeType] = frozenset({TaskLife._run.__code__, _call.__code__})


def interrupt_in(error: BaseException) -> KeyboardInterrupt | SystemExit | None:
    """The interrupt that an error is or holds: it goes to the root, whatever came with it."""
    while isinstance(error, BaseExceptionGroup):
        interrupts = error.subgroup((KeyboardInterrupt, SystemExit))
        if interrupts is None:
            return None
        error = interrupts.exceptions[0]
    return error if isinstance(error, KeyboardInterrupt | SystemExit) else None


def _without_cancelled(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What is left of a group when the `Cancelled`s are dropped; the group itself if nothing is."""
    _, rest = group.split(trio.Cancelled)
    return group if rest is None else unwrapped(rest)


class cleanup_scope:
    """A shielded scope for the cleanup of a child: it may wait for as long as its shutdown time lasts.

    Use it in a ``finally``, where a cancelled child could not wait for anything::

        try:
            await serve(connection)
        finally:
            with cleanup_scope():
                await connection.say_goodbye()

    Its deadline is the end of the child's shutdown time: counted from the request to stop, or, if the child ends by
    itself, from the first cleanup scope of this life; a request that comes meanwhile can only shorten it. When it
    expires, the rest of the block is skipped and no error is raised, as with `trio.move_on_at`. With ``brutal_kill``
    it is expired from the start; with `math.inf` it has no deadline. It also works in tasks that the child spawned.

    It is the counterpart of OTP's ``terminate``.

    Raises:
        NotInAChild: the caller runs in no child.
        StaleLife: the child's life was declared unresponsive.
    """

    __slots__ = ("_life", "_scope")

    def __init__(self) -> None:
        self._life = acting_life("cleanup_scope()")

    @enable_ki_protection
    def __enter__(self) -> trio.CancelScope:
        self._scope = self._life.begin_cleanup()
        return self._scope.__enter__()

    @enable_ki_protection
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            return self._scope.__exit__(kind, error, traceback)
        finally:
            self._life.end_cleanup(self._scope)
