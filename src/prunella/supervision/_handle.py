"""The handle of a running supervisor: OTP's management calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ._core import Core, Request, Verb
from ._dynamic_core import DynamicCore
from ._errors import ChildNotFound, InvalidSpec, SupervisionError, SupervisorStopped
from ._info import ChildCounts, ChildInfo, count, picture
from ._life import TaskLife, current_life
from ._live import LiveSupervisor, SupervisorLife
from ._ordered_core import OrderedCore
from ._policies import ChildKind
from ._reasons import ExitReason, Normal, Shutdown
from ._records import Slot
from ._specs import AsChild, as_spec

__all__ = ["DynamicHandle", "SupervisorHandle"]


class SupervisorHandle:
    """The handle of a running supervisor, as `open_supervisor` gives it.

    A child is named by its id, or by a `ChildInfo`.
    """

    __slots__ = ("__weakref__", "_live_", "_resolve")

    def __init__(self, live: LiveSupervisor, resolve: Callable[[], LiveSupervisor] | None = None) -> None:
        self._live_ = live
        self._resolve = resolve

    @property
    def _live(self) -> LiveSupervisor:
        return self._live_ if self._resolve is None else self._resolve()

    @property
    def id(self) -> str:
        """The supervisor's id."""
        return str(self._live_.spec.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"

    # Looking.

    def which_children(self) -> tuple[ChildInfo, ...]:
        """The children, in start order.

        Raises:
            SupervisorStopped: the supervisor has ended.
        """
        live = self._running()
        return tuple(picture(slot) for slot in live.core.slots())

    def count_children(self) -> ChildCounts:
        """How many children there are, and how many of them run.

        Raises:
            SupervisorStopped: the supervisor has ended.
        """
        return count(tuple(self._running().core.slots()))

    def get_child(self, child: str | ChildInfo) -> ChildInfo:
        """One child; its `spec` has every default filled in.

        Args:
            child: what names it.

        Raises:
            ChildNotFound: there is none of that name.
            SupervisorStopped: the supervisor has ended.
        """
        live = self._running()
        return picture(self._find(live, child))

    # Changing.

    async def start_child(self, child: AsChild) -> ChildInfo:
        """Starts a new child, behind those that are there, and waits until it has started.

        A child that declines (`Ignore`) has been started successfully: the info says that it is stopped. Cancelling
        the caller before the child has started cancels the start; nothing of it is kept.

        Args:
            child: its spec.

        Returns:
            A picture of the life that was started.

        Raises:
            InvalidSpec: it is no spec.
            AlreadyStarted: a child of that id runs.
            AlreadyPresent: a child of that id is there and does not run.
            TooManyChildren: a dynamic supervisor has all the children that it may have.
            StartFailed: it ended before it had started; it is not kept, and that counts as no restart.
            SupervisionError: called by a child of this supervisor that is itself being started.
            SupervisorStopped: the supervisor has ended.
        """
        spec = as_spec("start_child()", child)
        info = await self._ask(Verb.START, spec)
        assert info is not None
        return info

    async def terminate_child(self, child: str | ChildInfo) -> None:
        """Stops a child, within its shutdown time, and calls off its restart if one is pending.

        Its siblings are not touched, whatever the strategy. The spec stays (that of a temporary child does not);
        for a child that does not run nothing happens. If its start is in progress, that is cut off. Cancelling the
        caller ends the waiting, not the work.

        Args:
            child: what names it.

        Raises:
            ChildNotFound: there is none of that name.
            SupervisionError: called by a child of this supervisor that is itself being started.
            SupervisorStopped: the supervisor has ended.
        """
        await self._ask(Verb.TERMINATE, child)

    async def restart_child(self, child: str | ChildInfo) -> ChildInfo:
        """Starts a child again that is there and does not run. Counts as no restart.

        Args:
            child: what names it.

        Returns:
            A picture of the life that was started.

        Raises:
            ChildNotFound: there is none of that name.
            ChildRunning: it runs.
            ChildRestarting: its supervisor is about to restart it.
            StartFailed: it ended before it had started; it stays stopped.
            SupervisionError: called by a child of this supervisor that is itself being started.
            SupervisorStopped: the supervisor has ended.
        """
        info = await self._ask(Verb.RESTART, child)
        assert info is not None
        return info

    async def delete_child(self, child: str | ChildInfo) -> None:
        """Forgets a child that does not run.

        Args:
            child: what names it.

        Raises:
            ChildNotFound: there is none of that name.
            ChildRunning: it runs; terminate it first.
            ChildRestarting: its supervisor is about to restart it; terminate it first.
            SupervisionError: called by a child of this supervisor that is itself being started.
            SupervisorStopped: the supervisor has ended.
        """
        await self._ask(Verb.DELETE, child)

    @enable_ki_protection
    async def stop(self, reason: Normal | Shutdown = Shutdown()) -> None:  # noqa: B008 - a frozen value
        """Stops the supervisor, all its children first, and returns when it has ended.

        Called again, or when it has ended, it returns at once when there is nothing left to wait for. A child may
        call it for its own supervisor: it is cancelled while it waits. Cancelling the caller ends the waiting, not
        the work.

        Args:
            reason: what its exit reason is to be.

        Raises:
            InvalidSpec: the reason is neither `Normal` nor `Shutdown`.
        """
        if not isinstance(reason, Normal | Shutdown):
            raise InvalidSpec("stop()", "reason", "Normal() or Shutdown(...)", reason)
        try:
            live = self._live
        except SupervisorStopped:
            await trio.lowlevel.checkpoint()
            return
        life = current_life()
        if life is not None:
            life.check_fresh("stop()")
        had_ended = live.ending is not None
        live.core.stop(reason)
        if live.ending is not None and not had_ended:
            # It has ended on the spot, and with it the block, if this is in one; the call returns all the same.
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            await live.wait_over()

    @enable_ki_protection
    async def wait_stopped(self) -> ExitReason:
        """Waits until the supervisor has ended.

        Returns:
            Its exit reason. Giving up is no error here: it is a `Shutdown`, as in OTP.
        """
        try:
            live = self._live
        except SupervisorStopped:
            await trio.lowlevel.checkpoint()
            ending = self._live_.ending
            return Shutdown("noproc") if ending is None else ending.reason
        await live.wait_over()
        assert live.ending is not None
        return live.ending.reason

    def supervisor(self, id: str) -> SupervisorHandle:
        """A handle of a supervisor among the children that follows its restarts.

        Unlike ``get_child(id).started``, which ends with that one life.

        Args:
            id: the id of the child.

        Raises:
            ChildNotFound: there is no such child.
            InvalidSpec: that child is no supervisor.
            SupervisorStopped: this supervisor has ended, or that one has no life at present.
        """

        def find() -> LiveSupervisor:
            slot = self._find(self._running(), id)
            if slot.spec.kind is not ChildKind.SUPERVISOR:
                raise InvalidSpec("supervisor()", "id", "the id of a supervisor", id)
            life = slot.present
            if not isinstance(life, SupervisorLife) or life.ended:
                raise SupervisorStopped(id)
            return life.live

        def resolve() -> LiveSupervisor:
            try:
                return find()
            except ChildNotFound:
                raise SupervisorStopped(id) from None

        live = find()
        handle: SupervisorHandle = type(live.handle)(live, resolve)
        return handle

    # Details.

    def _find(self, live: LiveSupervisor, child: str | ChildInfo) -> Slot:
        core = live.core
        assert isinstance(core, OrderedCore | DynamicCore)
        return core.find(child)

    def _running(self) -> LiveSupervisor:
        live = self._live
        if live.ending is not None:
            raise SupervisorStopped(live.spec.id)
        return live

    @enable_ki_protection
    async def _ask(self, verb: Verb, subject: Any) -> ChildInfo | None:
        life = current_life()
        if life is not None:
            life.check_fresh(_CALLS[verb])
        live = self._running()
        if life is not None:
            _refuse_from_a_start(life, live, verb)
        await trio.lowlevel.checkpoint_if_cancelled()
        core = live.core
        call = _Call(verb, subject, core)
        core.ask(call)
        if call.answered:
            await trio.lowlevel.cancel_shielded_checkpoint()
        while not call.answered:
            call.is_parked = True
            await trio.lowlevel.wait_task_rescheduled(call.abort)
            live.tree.service.do_chores()
        if call.raise_cancelled is not None:
            call.raise_cancelled()
        if call.error is not None:
            raise call.error
        return call.value


class DynamicHandle(SupervisorHandle):
    """The handle of a running `DynamicSupervisor`.

    A child is named by its `ChildInfo`, or by an id that occurs once. As no child is ever stopped and kept,
    `restart_child` and `delete_child` find none.
    """

    __slots__ = ()


class _Call(Request):
    """A request, and the task that waits for its answer."""

    __slots__ = ("_core", "_task", "is_parked", "raise_cancelled")

    is_awaited = True

    def __init__(self, verb: Verb, subject: Any, core: Core) -> None:
        super().__init__(verb, subject)
        self._core = core
        self._task = trio.lowlevel.current_task()
        self.is_parked = False
        self.raise_cancelled: Callable[[], Any] | None = None

    def wake(self) -> bool:
        if not self.is_parked:
            return False
        self.is_parked = False
        trio.lowlevel.reschedule(self._task)
        return True

    def abort(self, raise_cancelled: Callable[[], Any]) -> trio.lowlevel.Abort:
        """Its caller is cancelled while it waits."""
        if self._core.withdraw(self):
            self.is_parked = False
            return trio.lowlevel.Abort.SUCCEEDED
        # A start is in progress. It is being cut off, and the answer comes when nothing of it is left.
        self.raise_cancelled = raise_cancelled
        return trio.lowlevel.Abort.FAILED


_CALLS = {verb: f"{verb.name.lower()}_child()" for verb in Verb}


def _refuse_from_a_start(life: TaskLife, live: LiveSupervisor, verb: Verb) -> None:
    """A child that is being started must not wait for the supervisor that waits for it."""
    if not life.started:
        # One that cannot say so has started with its first step, which it is taking or has taken.
        life.host.tree.service.do_chores()
    above: Any = life
    while above is not None and not (above.started or above.ended):
        if above.host is live:
            raise SupervisionError(
                f"child {above.slot.spec.id!r} called {_CALLS[verb]} of its own supervisor {live.spec.id!r} while it "
                f"was being started: each would wait for the other. Call it after started()"
            )
        above = above.host.life if above.host.life is not None else above.host.tree.parent
