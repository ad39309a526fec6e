"""One life of an agent. It has no task of its own: what waits are its effects, each in a task under its own scope."""

from __future__ import annotations

import math
import traceback
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ..supervision import Crashed, ExitReason, InvalidSpec, Killed, Restart, Shutdown
from ..supervision._life import GRACE, HostedLife
from ..supervision._policies import BRUTAL_KILL
from ..supervision._reasons import captured
from ._reason_data import reason_data

if TYPE_CHECKING:
    from ..supervision._live import LiveSupervisor
    from ..supervision._records import Slot
    from ..supervision._service import Timer
    from ._places import Places
    from ._runtime import Runtime
    from ._server import AgentServer
    from ._spec import AgentSpec

__all__ = ["AgentLife", "EffectTask"]


class AgentLife(HostedLife):
    """One life of an agent.

    Attributes:
        server: the running side of its address.
        stop_reason: what the exit reason is to be when it is stopped from outside.
        keyed: what can be cancelled by a key: schedules, cron jobs, running work.
        lanes: effects that wait for their target, by target.
        runs: how many of its `Run`s may run at a time; None before the first.
        stale: whether it was declared unresponsive: what its tasks still do concerns nobody.
    """

    __slots__ = (
        "_ending",
        "_handing_over",
        "_tasks",
        "_timer",
        "keyed",
        "lanes",
        "runs",
        "server",
        "stale",
        "stop_reason",
    )

    def __init__(self, host: LiveSupervisor, slot: Slot) -> None:
        super().__init__(host, slot)
        self.server: AgentServer
        self.stop_reason: Shutdown = _SHUTDOWN
        self.keyed: dict[Any, Any] | None = None
        self.stale = False
        self._ending: ExitReason | None = None
        self._handing_over = 0
        self.lanes: dict[Any, Any] | None = None
        self.runs: Places | None = None
        self._tasks: dict[EffectTask, None] | None = None
        self._timer: Timer | None = None

    # Beginning.

    def spawn(self) -> None:
        runtime: Runtime | None = self.host.tree.owner
        spec: AgentSpec[Any] = self.slot.spec  # type: ignore[assignment]  # the core knows less of it
        try:
            if runtime is None:
                raise InvalidSpec(f"AgentSpec {spec.id!r}", "supervisor", "inside a runtime: see open_runtime", None)
            runtime.check_wanted(self.slot)
            self.server = runtime.server_for(spec)
        except Exception as error:
            self.error = error
            self._finish_unborn(error)
        else:
            self._take_place()

    def _take_place(self) -> None:
        """It has an address: it begins, if nothing has to be read before."""
        self._begin()

    def _begin(self) -> None:
        server = self.server
        self.has_started(server.runtime.ref_to(server))
        if self.started:
            server.begin(self)
            server.runtime.agent_began(server)

    def _finish_unborn(self, error: Exception) -> None:
        self.ended = True
        self.reason = Crashed(captured(error))
        self.host.core.life_ended(self)

    # Ending.

    @property
    def is_ending(self) -> bool:
        """Whether it takes no more turns."""
        return self._ending is not None or self.stopping or self.ended

    def hands_over(self) -> None:
        """The directives of a turn are being handed over: until all of them are, it does not end."""
        self._handing_over += 1

    def has_handed_over(self) -> None:
        """They have been."""
        self._handing_over -= 1
        if self._ending is not None and not self._handing_over:
            self._finish_or_wait()

    def crash(self, reason: Crashed, payload: Any) -> None:
        """A turn has crashed: running work is cancelled, what was handed over is done, then it has ended.

        Args:
            reason: with what.
            payload: what its signal brought, which reports do not show.
        """
        if not self.ended:
            self.slot.payload = payload
            self._ending = reason
            self._cancel_keyed()
            for task in tuple(self._tasks or ()):
                if task.is_work:
                    task.cancel(reason)
            self._finish_or_wait()

    def end_by_itself(self, reason: ExitReason) -> None:
        """It ends by its own decision, when what was handed over is done."""
        if self._ending is None and not self.ended and not self.stopping:
            self._ending = reason
            self._say_stopping(reason)
            if self._ending is reason and self.slot.spec.restart != Restart.PERMANENT:
                self.server.close(reason, by_itself=True)
            self._cancel_keyed(keep_work=True)
            self._finish_or_wait()

    def stop(self) -> None:
        if self.ended or self.stopping:
            return
        if self.slot.spec.shutdown == BRUTAL_KILL:
            self.kill()
            return
        self.stopping = True
        if self._ending is None:
            self._say_stopping(self.stop_reason)
        if self._ending is None:
            self._ending = self.stop_reason
        self._cancel_keyed(keep_work=True)
        self._finish_or_wait()

    def kill(self) -> None:
        if not self.ended:
            self.stopping = True
            self._ending = Killed()
            self._cancel_keyed()
            self.cut_off()
            if not self._tasks and not self._handing_over:
                self._finish(self._ending)

    def _say_stopping(self, reason: ExitReason) -> None:
        from ._delivery import Delivery

        server = self.server
        if server.hears("prunella.stopping"):
            signal = server.runtime.signals.new("prunella.stopping", {"reason": reason_data(reason)})
            server.handle(Delivery(signal))

    def _cancel_keyed(self, *, keep_work: bool = False) -> None:
        keyed, self.keyed = self.keyed, None
        for item in tuple((keyed or {}).values()):
            if not (keep_work and isinstance(item, EffectTask)):
                item.cancel(self._ending)

    def _finish_or_wait(self) -> None:
        assert self._ending is not None
        if self._handing_over:
            return
        if not self._tasks:
            self._finish(self._ending)
            return
        shutdown = self.slot.spec.shutdown
        seconds = 0.0 if shutdown == BRUTAL_KILL else float(shutdown)
        if seconds < math.inf and self._timer is None:
            when = trio.current_time() + seconds
            self._timer = self.host.tree.service.call_at(when, self.cut_off)

    def cut_off(self) -> None:
        """No time is left: what still runs is cancelled, and after the grace second it does not count."""
        if self.ended or not self._tasks:
            return
        for task in tuple(self._tasks):
            task.cancel(self._ending)
        if self._timer is not None:
            self.host.tree.service.cancel(self._timer)
        self._timer = self.host.tree.service.call_at(trio.current_time() + GRACE, self.declare_unresponsive)

    def declare_unresponsive(self) -> None:
        if self.ended:
            return
        self.stale = True
        tasks = tuple(self._tasks or ())
        self.host.report_unresponsive(self, "\n".join(task.stack() for task in tasks))
        for task in tasks:
            task.abandon(self._ending)
        self._finish(Killed())

    def _finish(self, reason: ExitReason) -> None:
        if self.ended:
            return
        if self._timer is not None:
            self.host.tree.service.cancel(self._timer)
            self._timer = None
        self.server.life_over(reason)
        super()._finish(reason)
        if self.host.tree.root.core.stopping:
            self.rest()  # No supervisor will start it again: whoever waits for it need not wait for the others.

    def rest(self) -> None:
        if self.started and self.server.life is None and self.server.ended is None:
            assert self.reason is not None
            self.server.end_for_good(self.reason)

    # Effects that wait.

    def begin_task(self, task: EffectTask) -> None:
        """Runs an effect in a task of its own, under a scope of its own, in the nursery of its supervisor."""
        if self._tasks is None:
            self._tasks = {}
        self._tasks[task] = None
        tree = self.host.tree
        tree.task_begins()
        tree.context.copy().run(self._start_soon, task)

    def _start_soon(self, task: EffectTask) -> None:
        self.host.nursery.start_soon(task.run, name=f"{self.slot.spec.id}: {task.name}")

    def task_ended(self, task: EffectTask) -> None:
        """One of them has ended."""
        if self._tasks is not None:
            self._tasks.pop(task, None)
            if not self._tasks:
                self._tasks = None
                if self.stale:
                    self.host.unresponsive.pop(self, None)
                if self._ending is not None and not self._handing_over:
                    self._finish(self._ending)
        self.host.tree.task_ends()

    @property
    def running(self) -> int:
        """How many effects run in tasks."""
        return len(self._tasks or ())


_SHUTDOWN = Shutdown()


class EffectTask:
    """An effect in a task of its own.

    Args:
        life: whose it is.
        name: for people who look at tasks.
        work: what is to be done.
        is_work: whether a crash of the agent cancels it; else it is handed over all the same.
        on_cut: called if it ends before it is done, with the reason of whoever cancelled it, if there was one, and
            with what it raised, if that is why: nothing that `work` lets through is an ordinary error.
    """

    __slots__ = ("_cancelled", "_on_cut", "_reason", "_scope", "_task", "_work", "is_work", "life", "name")

    def __init__(
        self,
        life: AgentLife,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        is_work: bool,
        on_cut: Callable[[ExitReason | None, BaseException | None], None],
    ) -> None:
        self.life = life
        self.name = name
        self.is_work = is_work
        self._work = work
        self._on_cut: Callable[[ExitReason | None, BaseException | None], None] | None = on_cut
        self._scope = trio.CancelScope(shield=True)
        self._task: trio.lowlevel.Task | None = None
        self._reason: ExitReason | None = None
        self._cancelled = False

    def begin(self) -> None:
        """Starts it."""
        self.life.begin_task(self)

    def cancel(self, reason: ExitReason | None = None) -> None:
        """Cancels it."""
        if not self._cancelled:
            self._cancelled = True
            self._reason = reason
            self._scope.cancel()

    def abandon(self, reason: ExitReason | None) -> None:
        """It does not end: from now on nobody waits for it."""
        on_cut, self._on_cut = self._on_cut, None
        if on_cut is not None:
            on_cut(reason, None)

    def stack(self) -> str:
        """Where it is, as text."""
        if self._task is None:
            return ""
        frames = traceback.StackSummary.extract(self._task.iter_await_frames(), limit=50)
        return f"{self.name}\n" + "".join(frames.format())

    @enable_ki_protection
    async def run(self) -> None:
        self._task = trio.lowlevel.current_task()
        tree = self.life.host.tree
        finished = False
        failure: BaseException | None = None
        try:
            with self._scope:
                if not self._cancelled:
                    await self._work()
                    finished = True
        except trio.TrioInternalError:
            raise
        except (KeyboardInterrupt, SystemExit) as interrupt:
            self._reason = _SHUTDOWN
            tree.interrupted(interrupt)
        except BaseException as error:
            # `work` reports errors by itself; this is what no function should raise, or a stray Cancelled.
            if isinstance(error, GeneratorExit) and not trio.lowlevel.in_trio_task():
                raise
            if not self._cancelled:
                failure = error
        finally:
            self._task = None
        if not finished and self._on_cut is not None:
            self._on_cut(self._reason, failure)
        self.life.task_ended(self)
