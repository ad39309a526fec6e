"""The running side of a supervisor: it carries out what its decision core decides."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ._life import HostedLife
from ._policies import BRUTAL_KILL, ChildState
from ._reasons import ExitReason, Killed, Shutdown
from ._records import Ending, Failure, Life, Slot
from ._reports import (
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    ShutdownError,
    SupervisionEvent,
    Unresponsive,
    error_of,
    without,
)

if TYPE_CHECKING:
    from ._core import Core
    from ._service import Timer
    from ._tree import Tree

__all__ = ["LiveSupervisor", "SupervisorLife"]


class LiveSupervisor:
    """One life of a supervisor: its decision core, and the nursery in which its children run.

    Attributes:
        tree: the tree that it belongs to.
        spec: what it is.
        path: its path from the root; empty for the root.
        life: its life as a child; None for the root.
        core: what decides.
        nursery: where its children run.
        extra_arguments: put before every child's own.
        ending: why it ended, when it has.
        unresponsive: lives of it that were declared so, and whose tasks still run.
    """

    __slots__ = (
        "_over_waiters", "core", "ending", "extra_arguments", "former", "handle", "life", "nursery", "path",
        "root_slot", "spec", "tree", "unresponsive",
    )  # fmt: skip

    nursery: trio.Nursery
    core: Core

    def __init__(self, tree: Tree, spec: Any, path: str, life: SupervisorLife | None) -> None:
        self.tree = tree
        self.spec = spec
        self.path = path
        self.life = life
        self.root_slot = Slot(spec, trio.current_time())
        self.root_slot.state = ChildState.RUNNING
        self.extra_arguments: tuple[Any, ...] = getattr(spec, "extra_arguments", ())
        self.ending: Ending | None = None
        self.unresponsive: dict[HostedLife, None] = {}
        self.former: list[LiveSupervisor] = []
        self._over_waiters: dict[trio.lowlevel.Task, None] = {}
        self.core = spec._core(self)
        self.handle = spec._handle(self)

    # What the core asks for.

    def now(self) -> float:
        return trio.current_time()

    def chance(self) -> float:
        return self.tree.random.uniform(-1, 1)

    def start(self, slot: Slot) -> None:
        life: HostedLife = slot.spec._life(self, slot)  # type: ignore[attr-defined]  # no concern of the core
        slot.life = life
        life.spawn()

    def stop(self, life: Life) -> None:
        assert isinstance(life, HostedLife)
        life.stop()

    def kill(self, life: Life) -> None:
        assert isinstance(life, HostedLife)
        life.kill()

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        self.tree.service.call_at(trio.current_time() + delay, callback)

    def rest(self, slot: Slot) -> None:
        life = slot.life
        if isinstance(life, HostedLife):
            life.rest()

    def booted(self) -> None:
        if self.life is not None:
            self.life.has_started(self.handle)
        else:
            self.tree.has_booted()

    def over(self, ending: Ending) -> None:
        self.ending = ending
        declared = {id(spec) for spec in getattr(self.spec, "children", ())}
        for slot in reversed(self.core.slots()):
            # A restart of this supervisor brings back what its spec lists, and nothing that came later.
            if id(slot.spec) not in declared:
                self.rest(slot)
        for task in self._over_waiters:
            trio.lowlevel.reschedule(task)
        self._over_waiters.clear()
        if self.life is not None:
            host = self.life.host
            if self.unresponsive or self.former:
                host.former = [former for former in host.former if former.left_over()]
                host.former.append(self)
            self.life.concluded(ending)
        else:
            self.rest_all()
            self.tree.changed()

    def left_over(self) -> list[HostedLife]:
        """Its unresponsive lives, and those of supervisors below it that have ended."""
        return [*self.unresponsive, *(life for former in self.former for life in former.left_over())]

    def rest_all(self) -> None:
        """It has ended for good, and so has everything that its spec lists, last things first."""
        for slot in reversed(self.core.slots()):
            self.rest(slot)

    # What its handle, and what stands above it, ask for.

    def path_of(self, slot: Slot) -> str:
        """The path of one of its children."""
        return f"{self.path}/{slot.spec.id}" if self.path else slot.spec.id

    @enable_ki_protection
    async def wait_over(self) -> None:
        """Waits for its logical end."""
        if self.ending is not None:
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._over_waiters[task] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            self._over_waiters.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def kill_all(self) -> None:
        """Kills all lives below it, at any depth, at once, and ends it when they have ended."""
        self.core.stop(Shutdown())
        for life in self.core.lives():
            self.kill(life)

    def give_up_waiting(self) -> None:
        """Declares what still runs below it unresponsive, at any depth."""
        for life in self.core.lives():
            assert isinstance(life, HostedLife)
            life.declare_unresponsive()

    # Reports.

    def report_start(self, slot: Slot, life: Life, *, restart: bool) -> None:
        if not self.tree.reporter.hears(logging.INFO):
            return
        if restart:
            self._report(ChildRestarted, slot, life, slot.reason, logging.INFO, restarts=slot.restarts)
        else:
            self._report(ChildStarted, slot, life, None, logging.INFO)

    def report_exit(self, slot: Slot, life: Life, *, expected: bool) -> None:
        self._report(ChildExited, slot, life, life.reason, None if expected else logging.ERROR, expected=expected)

    def report_failed_start(self, slot: Slot, failure: Failure) -> None:
        assert slot.life is not None
        self._report(ChildStartFailed, slot, slot.life, failure.reason, logging.ERROR)

    def report_shutdown_error(self, slot: Slot, life: Life) -> None:
        if life in self.unresponsive:
            return  # That was said, with its stack.
        self._report(ShutdownError, slot, life, life.reason, logging.ERROR)

    def report_giving_up(self, slot: Slot, failure: Failure, *, on_child: bool) -> None:
        assert slot.life is not None
        self._report(GaveUp, slot, slot.life, failure.reason, logging.ERROR, supervisor=self.path)

    def report_unresponsive(self, life: HostedLife, stack: str) -> None:
        self.unresponsive[life] = None
        self._report(Unresponsive, life.slot, life, Killed(), logging.ERROR, stack=stack)

    def _report(
        self,
        kind: type[SupervisionEvent],
        slot: Slot,
        life: Life,
        reason: ExitReason | None,
        level: int | None,
        **fields: Any,
    ) -> None:
        """Makes an event, if anybody is going to see it, and hands it out."""
        reporter = self.tree.reporter
        if not reporter.hears(level):
            return
        now, child = trio.current_time(), self.path_of(slot)
        if level is not None and not reporter.log.wants(child, level, now):
            level = None
        if level is None and not reporter.listeners:
            return
        reason = without(reason, slot.payload)
        event = kind(
            time=now,
            span_id=f"life-{life.number}",
            parent_span_id=None if self.life is None else f"life-{self.life.number}",
            error=None if kind is ChildRestarted else error_of(reason),
            child=child,
            life=life.number,
            reason=reason,
            **fields,
        )
        reporter.report(event, level)


class SupervisorLife(HostedLife):
    """The life of a supervisor as a child of another: a small task that keeps its nursery open.

    Its end is logical. When its children have ended, or no longer count, it has ended, and its parent may restart it
    with a new task and a new nursery; the old task stays for as long as an unresponsive one keeps its nursery open.
    """

    __slots__ = ("_killed", "_timer", "live")

    def __init__(self, host: LiveSupervisor, slot: Slot) -> None:
        super().__init__(host, slot)
        self._killed = False
        self._timer: Timer | None = None
        self.live = LiveSupervisor(host.tree, slot.spec, host.path_of(slot), self)

    def spawn(self) -> None:
        self.host.tree.context.copy().run(self._spawn)

    def _spawn(self) -> None:
        self.host.tree.task_begins()
        self.host.nursery.start_soon(self._keep, name=f"supervisor {self.slot.spec.id}")

    @enable_ki_protection
    async def _keep(self) -> None:
        try:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    self.live.nursery = nursery
                    self.live.core.boot()
                    await self.live.wait_over()
        finally:
            self.host.tree.task_ends()

    def concluded(self, ending: Ending) -> None:
        """Its supervisor has ended."""
        if self._timer is not None:
            self.host.tree.service.cancel(self._timer)
        if not self.started:
            self.failure = ending.start_failure
        self._finish(Killed() if self._killed else ending.reason)

    def stop(self) -> None:
        if self.ended or self.stopping:
            return
        shutdown = self.slot.spec.shutdown
        if shutdown == BRUTAL_KILL:
            self.kill()
            return
        self.stopping = True
        if shutdown != math.inf:
            when = trio.current_time() + float(shutdown)
            self._timer = self.host.tree.service.call_at(when, self.kill)
        self.live.core.stop(Shutdown())

    def kill(self) -> None:
        if not self.ended and not self._killed:
            self._killed = True
            self.stopping = True
            self.live.kill_all()

    def declare_unresponsive(self) -> None:
        self.live.give_up_waiting()

    def rest(self) -> None:
        self.live.rest_all()
