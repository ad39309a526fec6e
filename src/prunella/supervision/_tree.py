"""One opened tree: its root, its nursery, and its end, however that comes."""

from __future__ import annotations

import contextvars
import logging
import os
import random
from typing import Any, Protocol

import trio
from trio.lowlevel import enable_ki_protection

from ..telemetry import Listeners
from ._core import start_failed
from ._errors import SupervisorFailed
from ._life import HostedLife, TaskLife, acting_life, current_life, interrupt_in
from ._live import LiveSupervisor, SupervisorLife
from ._reasons import Crashed, Shutdown
from ._reports import Reporter, StillStopping
from ._service import Service

__all__ = ["RootSpec", "Tree"]

_EX_SOFTWARE = 70  # sysexits.h: an internal error was detected; what a supervisor of processes sees.
_SECONDS_BETWEEN_WARNINGS = 10.0


class RootSpec(Protocol):
    """What can be opened."""

    @property
    def id(self) -> str: ...
    def _core(self, host: LiveSupervisor) -> Any: ...
    def _handle(self, live: LiveSupervisor) -> Any: ...


class Tree:
    """One opened tree. Everything that its supervisors and children share hangs here; there are no globals.

    Attributes:
        context: the context in which it was opened; every life runs in a fresh copy.
        service: its helper task.
        reporter: where its reports go.
        random: chance, for the jitter of backoffs.
        parent: the life inside which it was opened; None for an outermost tree.
        root: the running side of its root.
        owner: the runtime that it belongs to, or that of the child inside which it was opened; None without one.
        block_scope: around the user's block, which is cancelled when the supervisor ends by itself.
    """

    def __init__(self, spec: RootSpec, listeners: Listeners, abandon_after: float | None, owner: Any = None) -> None:
        life = current_life()
        self.owner: Any = owner if owner is not None or life is None else life.host.tree.owner
        if owner is not None:
            owner.opens(self)
        self.context = contextvars.copy_context()
        self.service = Service(on_end=self.changed)
        self.random = random.Random()
        self.parent: TaskLife | None = None
        self.block_scope = trio.CancelScope()
        self.reporter = Reporter(listeners, self.service.soon)
        self._abandon_after = abandon_after
        self._lives = 0
        self._tasks = 0
        self._booted = False
        self._interrupt: BaseException | None = None
        self._closing_since: float | None = None
        self._opener: trio.lowlevel.Task | None = None
        self._nursery_manager: Any = None
        self._done = trio.Event()
        self.inner: dict[Tree, None] = {}
        self.root = LiveSupervisor(self, spec, "", None)

    # What happens in the tree.

    def next_life(self) -> int:
        """The number of the next life."""
        self._lives += 1
        return self._lives

    def task_begins(self) -> None:
        """A task of the tree begins."""
        self._tasks += 1

    def task_ends(self) -> None:
        """A task of the tree has really ended."""
        self._tasks -= 1
        if self._tasks == 0 and self._closing_since is not None:
            self.changed()

    def has_booted(self) -> None:
        """All children of the root have started."""
        self._booted = True
        self.changed()

    def changed(self) -> None:
        """Something has happened that the opener may be waiting for; and the block has no point any more."""
        if self.root.ending is not None:
            self.block_scope.cancel(reason=f"supervisor {self.root.spec.id!r} has ended")
        if self._opener is not None:
            trio.lowlevel.reschedule(self._opener)
            self._opener = None

    def interrupted(self, error: BaseException) -> None:
        """Ctrl-C, or `SystemExit`: the first stops the tree in order, a second one kills what is left."""
        if self._interrupt is None:
            self._interrupt = error
            self.root.core.stop(Shutdown())
        else:
            self.root.kill_all()

    def kill(self) -> None:
        """The life inside which it was opened has no time left."""
        self.root.kill_all()

    def give_up_waiting(self) -> None:
        """The life inside which it was opened was declared unresponsive."""
        self.root.give_up_waiting()

    # Opening and closing, for the task that does it.

    async def open(self) -> None:
        """Opens the root's nursery: in this task for an outermost tree, in a task beside the child's for an inner one.

        So only the outermost block has to wait for tasks that do not end.
        """
        if current_life() is None:
            self._nursery_manager = trio.open_nursery()
            self.root.nursery = await self._nursery_manager.__aenter__()
            self.root.nursery.start_soon(self.service.run, name="prunella service")
            return
        parent = self.parent = acting_life("open_supervisor()")
        if parent.subtrees is None:
            parent.subtrees = {}
        parent.subtrees[self] = None
        parent.host.tree.task_begins()
        parent.host.tree.inner[self] = None
        opened = trio.Event()
        parent.host.nursery.start_soon(self._keep, opened, name=f"supervisor {self.root.spec.id}")
        with trio.CancelScope(shield=True):
            await opened.wait()

    @enable_ki_protection
    async def _keep(self, opened: trio.Event) -> None:
        assert self.parent is not None
        try:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as self.root.nursery:
                    self.root.nursery.start_soon(self.service.run, name="prunella service")
                    opened.set()
                    await self._done.wait()
        finally:
            self.parent.host.tree.inner.pop(self, None)
            self.parent.host.tree.task_ends()

    async def boot(self) -> None:
        """Starts the children of the root, and waits until all have started or the root has ended."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.root.core.boot()
        while not self._booted and self.root.ending is None:
            await self._until_something_changes()

    async def close(self, error: BaseException | None) -> None:
        """Stops the tree in order, whatever comes meanwhile, and waits for it.

        Args:
            error: what the block, or the boot, raised.
        """
        self._closing_since = trio.current_time()
        interrupt = None if error is None else interrupt_in(error)
        if interrupt is not None:
            self.interrupted(interrupt)
        else:
            self.root.core.stop(Shutdown())
        self.service.call_at(self._closing_since + _SECONDS_BETWEEN_WARNINGS, self._warn)
        if self._abandon_after is not None:
            self.service.call_at(self._closing_since + self._abandon_after, self._abandon)
        with trio.CancelScope(shield=True):
            while not self._is_over:
                await self._until_something_changes_or_ctrl_c()
            self.reporter.log.close()
            self.service.close()
            # The nursery must find nothing to wait for: a Ctrl-C that came while it waited would leave it in a group.
            while not self.service.has_ended:
                await self._until_something_changes_or_ctrl_c()
        if self._nursery_manager is not None:
            await self._nursery_manager.__aexit__(None, None, None)
        else:
            assert self.parent is not None
            self._done.set()
            if self.parent.subtrees is not None:
                self.parent.subtrees.pop(self, None)

    @property
    def _is_over(self) -> bool:
        # An inner tree does not wait for tasks that do not end; the outermost has no choice.
        return self.root.ending is not None and (self.parent is not None or self._tasks == 0)

    async def _until_something_changes_or_ctrl_c(self) -> None:
        try:
            await self._until_something_changes()
        except KeyboardInterrupt as interrupt:
            self.interrupted(interrupt)

    async def _until_something_changes(self) -> None:
        self._opener = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._opener = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def conclusion(self, error: BaseException | None) -> BaseException | None:
        """What the block is to be left with, if anything.

        Args:
            error: what the block, or the boot, raised.
        """
        failed = self.failed()
        if self._interrupt is not None:
            return self._interrupt
        if error is not None:
            if failed is not None:
                _give_context(error, failed)
            return error
        return failed

    @property
    def interrupt(self) -> BaseException | None:
        """The Ctrl-C or `SystemExit` that stopped it, if one did."""
        return self._interrupt

    def failed(self) -> Exception | None:
        """The error of a root that could not start its children, or gave up; None if it did neither."""
        ending = self.root.ending
        if ending is None:
            return None
        if ending.start_failure is not None:
            return start_failed(ending.start_failure)
        if ending.gave_up is not None:
            return SupervisorFailed(self.root.spec.id, ending.gave_up.path, ending.gave_up.reason)
        if isinstance(ending.reason, Crashed):
            return SupervisorFailed(self.root.spec.id, self.root.spec.id, ending.reason)
        return None

    # The last resort.

    def _warn(self) -> None:
        assert self._closing_since is not None
        now = trio.current_time()
        event = StillStopping(time=now, waiting_for=tuple(self.still_running())[:10], seconds=now - self._closing_since)
        level = logging.WARNING
        self.reporter.report(event, level if self.reporter.log.wants("", level, now) else None)
        self.service.call_at(now + _SECONDS_BETWEEN_WARNINGS, self._warn)

    def still_running(self) -> list[str]:
        """The paths of what keeps it from ending, trees that were opened inside its children included."""
        paths = _still_running(self.root)
        for inner in self.inner:
            assert inner.parent is not None
            paths += [f"{inner.parent.path}/{path}" for path in inner.still_running()]
        return paths

    def _abandon(self) -> None:
        self._warn()
        self.reporter.log.close()
        logging.shutdown()
        os._exit(_EX_SOFTWARE)


def _still_running(live: LiveSupervisor) -> list[str]:
    """The paths of the workers that keep a tree from ending."""
    paths = [life.path for life in live.left_over()]
    for life in live.core.lives():
        if isinstance(life, SupervisorLife):
            paths += _still_running(life.live)
        elif isinstance(life, HostedLife):
            paths.append(life.path)
    return paths


def _give_context(error: BaseException, other: BaseException) -> None:
    """Makes `other`, which is new, the context of `error`, and what was it before the context of `other`."""
    other.__context__ = error.__context__
    error.__context__ = other
