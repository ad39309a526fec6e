"""Opening a tree for the length of a block, and running one until it ends."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any, overload

import trio
from trio.lowlevel import enable_ki_protection

from ..telemetry import Listener, Listeners
from ..telemetry._enclosing import listeners_here
from ._errors import InvalidSpec
from ._policies import check_seconds
from ._reasons import ExitReason
from ._tree import RootSpec, Tree

if TYPE_CHECKING:
    from ._handle import DynamicHandle, SupervisorHandle
    from ._specs import DynamicSupervisor, Supervisor
    from ._tasks import TaskHandle, TaskSupervisor

__all__ = ["Block", "open_supervisor", "run"]


@overload
def open_supervisor(
    spec: Supervisor, *, telemetry: Iterable[Listener] = (), abandon_after: float | None = None
) -> AbstractAsyncContextManager[SupervisorHandle]: ...
@overload
def open_supervisor(
    spec: DynamicSupervisor, *, telemetry: Iterable[Listener] = (), abandon_after: float | None = None
) -> AbstractAsyncContextManager[DynamicHandle]: ...
@overload
def open_supervisor(
    spec: TaskSupervisor, *, telemetry: Iterable[Listener] = (), abandon_after: float | None = None
) -> AbstractAsyncContextManager[TaskHandle]: ...
def open_supervisor(spec: Any, *, telemetry: Iterable[Listener] = (), abandon_after: float | None = None) -> Any:
    """Opens a tree for the length of a block::

        async with open_supervisor(spec) as supervisor:
            print(supervisor.which_children())

    The block begins when all children have started, and is left when all have been stopped, in reverse order, each
    within its shutdown time. That also holds when the block is cancelled from outside, raises, or is interrupted by
    Ctrl-C: the children are shielded, the tree stops in order, and then what had come goes on, bare. If the
    supervisor ends while the block runs, the block is cancelled.

    Inside a child it opens a tree of that child's own.

    Args:
        spec: a `Supervisor`, `DynamicSupervisor` or `TaskSupervisor`.
        telemetry: listeners: functions that are called, at once, with every report of the tree. Inside a runtime its
            listeners hear them too.
        abandon_after: seconds, counted from when the block is being left, after which the process is ended
            (`os._exit` with status 70) if there are still tasks that do not end. None to wait for them, and to say so
            every ten seconds.

    Returns:
        An asynchronous context manager that gives the handle.

    Raises:
        InvalidSpec: `spec` is none, or another argument is wrong.
        StartFailed: a child failed to start; those that had started are stopped.
        SupervisorFailed: the supervisor gave up while the block ran.
    """
    if isinstance(spec, type) or not hasattr(spec, "_core"):
        raise InvalidSpec("open_supervisor", "spec", "a Supervisor, a DynamicSupervisor or a TaskSupervisor", spec)
    if abandon_after is not None:
        check_seconds("open_supervisor", "abandon_after", abandon_after)
    return Block(spec, telemetry, abandon_after)


class Block:
    """What `open_supervisor` gives. A class, since a Ctrl-C must find no line of it unprotected."""

    __slots__ = ("_abandon_after", "_listeners", "_owner", "_spec", "_tree")

    def __init__(
        self,
        spec: RootSpec,
        telemetry: Iterable[Listener],
        abandon_after: float | None,
        *,
        owner: Any = None,
        listeners: Listeners | None = None,
    ) -> None:
        self._spec = spec
        self._listeners = listeners_here(telemetry) if listeners is None else listeners
        self._abandon_after = abandon_after
        self._owner = owner

    @enable_ki_protection
    async def __aenter__(self) -> Any:
        tree = self._tree = Tree(self._spec, self._listeners, self._abandon_after, self._owner)
        await tree.open()
        error: BaseException | None = None
        try:
            await tree.boot()
        except BaseException as caught:
            # Kept until the tree has stopped, then raised as it is.
            error = caught
        if error is not None or tree.interrupt is not None or tree.failed() is not None:
            await tree.close(error)
            conclusion = tree.conclusion(error)
            assert conclusion is not None
            raise conclusion
        tree.block_scope.__enter__()
        return tree.root.handle

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        tree = self._tree
        error = raised
        try:
            if tree.block_scope.__exit__(kind, raised, traceback):
                error = None
        except BaseException as rest:
            error = rest
        await tree.close(error)
        conclusion = tree.conclusion(error)
        if conclusion is None:
            return True
        if conclusion is raised:
            return False
        context = conclusion.__context__
        try:
            raise conclusion
        finally:
            conclusion.__context__ = context  # Python has put the exception at hand there.


async def run(
    spec: Any,
    *,
    telemetry: Iterable[Listener] = (),
    abandon_after: float | None = None,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> ExitReason:
    """Runs a tree until it ends; see the specs' method of that name."""
    async with open_supervisor(spec, telemetry=telemetry, abandon_after=abandon_after) as handle:
        task_status.started(handle)
        await handle.wait_stopped()
    reason: ExitReason = handle._live.ending.reason
    return reason
