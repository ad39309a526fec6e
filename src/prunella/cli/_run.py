"""Runs a tree in a runtime from its start to its end, and a view and the input beside it."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from types import FrameType
from typing import Any, Protocol, final

import attrs
import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Agent, AgentError
from ..observer import AgentFigures, Happening, Picture, describe
from ..runtime import AgentEnded, AgentFenced, AgentRef, AgentSpec, Runtime, open_runtime
from ..storage import Storage, StorageError
from ..supervision import (
    ChildExited,
    GaveUp,
    Restart,
    SupervisionError,
    Supervisor,
    SupervisorFailed,
    SupervisorStopped,
    TreeNode,
)
from ..telemetry import Event
from ._feed import Feed
from ._names import Names, is_routine, visible_trees
from ._output import leave_at_once
from ._summary import Record, Summary
from ._tally import Tally
from ._target import Target

__all__ = ["Run", "View"]


class View(Protocol):
    """Where people look."""

    @property
    def seconds_between_pictures(self) -> float: ...
    def tell(self, happening: Happening) -> None: ...
    def show(self, picture: Picture) -> None: ...


@final
class Run:
    """One run of a target.

    Args:
        target: what is run.
        feed: where its events come from; None if it gets none, and then it runs until it ends or is stopped.
        tally: what became of them.
        view: where people look.
        storage: where its durable agents are kept, if it has any.
        claim: `refuse` to give way to another process that runs them.

    Attributes:
        output_error: why nothing can be shown any more. If it is that nobody reads it, that stops the tree.
    """

    def __init__(
        self,
        target: Target,
        feed: Feed | None,
        tally: Tally,
        view: View,
        storage: Storage | None = None,
        claim: str = "take",
    ) -> None:
        self.output_error: OSError | None = None
        self._target = target
        self._feed = feed
        self._view = view
        self._tally = tally
        self._storage = storage
        self._claim = claim
        self._record = Record()
        self._names = Names(target.spec)
        self._runtime: Runtime | None = None
        self._trees: tuple[TreeNode, ...] = ()
        self._agents: dict[str, AgentFigures] = {}
        self._began = 0.0
        self._changed = trio.Event()
        self._start = trio.CancelScope()
        self._work = trio.CancelScope()
        self._all_handled = False
        self._taken_over: set[str | None] = set()
        self._ended = False
        self._stopped_by: str | None = None
        self._signal: signal.Signals | None = None
        self._killed = False
        self._failure: str | None = None

    # An interrupt is for the tree, or for a child that never waits. Raised in one of our own tasks it would be lost
    # on the tree, which would go on waiting for whatever the interrupt was to kill.

    @enable_ki_protection
    async def __call__(self) -> Summary:
        """Runs it.

        Returns:
            What came of it.
        """
        self._began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._draw)
            with _os_signals(self._signalled):
                await self._supervise()
            nursery.cancel_scope.cancel()
        seconds = trio.current_time() - self._began
        await self._show()  # what has happened since the last picture
        return Summary(self._target.name, seconds, self._ending(), self._failure, self._record, self._tally, self._feed)

    def stop(self, by: str) -> None:
        """Stops the tree in order, and so ends the run."""
        self._stopped_by = self._stopped_by or by
        # While children still start there is no block to leave; a start in progress is cut off.
        (self._start if self._runtime is None else self._work).cancel(reason=f"stopped by {by}")

    def _signalled(self, number: signal.Signals, token: trio.lowlevel.TrioToken) -> Hearers:
        """Called in the midst of whatever runs.

        Returns:
            Who has to hear of it besides: who is told has a KeyboardInterrupt raised.
        """
        if self._killed and number is signal.SIGINT:
            leave_at_once("the third interrupt: what still runs is left to the system")
        if self._signal is not None:
            # The tree has heard of the first interrupt, and kills what is left at the second.
            self._killed = self._killed or number is self._signal is signal.SIGINT
            return Hearers.TREE_AND_CHILD if number is signal.SIGINT else Hearers.NOBODY
        self._signal = number
        if number is signal.SIGINT and self._runtime is None:
            return Hearers.TREE  # children still start, and there is no block to leave
        token.run_sync_soon(self.stop, number.name)
        return Hearers.NOBODY

    def _ending(self) -> str:
        if self._failure is not None:
            return "failed"
        if self._stopped_by is not None:
            return f"stopped by {self._stopped_by}"
        if self._feed is not None and self._all_handled:
            return f"through with {self._feed.input.name}"
        return "the tree ended"

    # The tree.

    async def _supervise(self) -> None:
        spec = self._target.spec
        if isinstance(spec, Supervisor):
            # Its end is the end of the run, however it comes.
            spec = attrs.evolve(spec, restart=Restart.TEMPORARY, significant=False)
        try:
            with self._start:
                opening = open_runtime(spec, storage=self._storage, claim=self._claim, telemetry=[self._hear])
                async with opening as self._runtime:
                    with self._work:
                        await self._until_done(self._runtime)
                    self._look()  # while there is something to see
                    if self._signal is signal.SIGINT:
                        raise KeyboardInterrupt  # so that the tree knows of it
        except (SupervisionError, AgentError, StorageError) as error:
            self._failure = self._failure or str(error)
        except KeyboardInterrupt:
            if self._killed:
                self._failure = "it was killed by a second interrupt while it was stopping"
            else:
                self.stop("SIGINT")  # already so, unless a child raised it by itself
        except SystemExit as error:
            if error.code not in (None, 0):
                self._failure = f"a child raised SystemExit({error.code!r})"
        finally:
            self._look()

    async def _until_done(self, runtime: Runtime) -> None:
        if self._ended:
            return
        if self._feed is None:
            await trio.sleep_forever()
        await self._feed.run(runtime)
        while not self._is_done(runtime):
            await self._change()
        self._all_handled = True

    def _is_done(self, runtime: Runtime) -> bool:
        agents = runtime.agents(Agent)
        if not all(self._is_quiet(agent) for agent in agents):
            return False
        # What is stored for an agent that is not here, or cannot be read, waits for another day.
        here = {str(agent.address) for agent in agents if agent.status().state != "quarantined"}
        return not self._tally.is_waiting(self._tally.durable - here)

    def _is_quiet(self, agent: AgentRef[Any]) -> bool:
        """Whether nothing waits for an agent, no effect of it runs, and it is not about to come back from a crash."""
        status = agent.status()
        passing = status.effects - self._tally.tasks[str(agent.address)]
        return status.state not in ("starting", "restarting") and not status.mailbox and passing <= 0

    def _hear(self, event: Event) -> None:
        spec = self._target.spec
        self._tally.hear(event)
        if self._feed is not None:
            self._feed.hear(event)
        if not is_routine(event):
            named = self._names.in_event(event)
            self._record.hear(named)
            happening = describe(named)
            if happening is not None:
                self._view.tell(happening)
        if isinstance(event, GaveUp) and event.supervisor == spec.id:
            assert event.reason is not None
            self._failure = str(SupervisorFailed(spec.id, self._names[event.child], event.reason))
        if isinstance(spec, AgentSpec):
            ended = isinstance(event, AgentEnded) and event.agent == str(spec.address)
        else:
            ended = isinstance(event, ChildExited) and event.child == spec.id
        if isinstance(event, AgentFenced):
            self._taken_over.add(event.agent)
            self._stop_if_all_are_taken()
        if ended:
            self._ended = True
            self._work.cancel(reason="the tree has ended")
        self._changed.set()

    def _stop_if_all_are_taken(self) -> None:
        """Another process that runs all its durable agents leaves it nothing to stay for."""
        durable = self._tally.durable
        if durable and durable <= self._taken_over and self._failure is None:
            self._failure = "another process has taken over its durable agents"
            self._work.cancel(reason=self._failure)

    async def _change(self) -> None:
        """Waits until something happens in the tree after the call."""
        if self._changed.is_set():
            self._changed = trio.Event()
        await self._changed.wait()

    # The view.

    @enable_ki_protection
    async def _draw(self) -> None:
        while self.output_error is None:
            began = trio.current_time()
            await self._show()
            # A big tree, or a slow terminal, takes no more than a tenth of the time.
            await trio.sleep(max(self._view.seconds_between_pictures, 9 * (trio.current_time() - began)))

    async def _show(self) -> None:
        if self.output_error is not None:
            return
        self._look()
        picture = Picture(
            self._target.name, trio.current_time() - self._began, self._status(), self._trees, dict(self._agents)
        )
        try:
            # In a thread: a terminal that was halted, or a pipe that is full, must not stop the children.
            await trio.to_thread.run_sync(self._view.show, picture)
        except OSError as error:
            self.output_error = error
            if isinstance(error, BrokenPipeError):
                self.stop("the end of its output")

    def _look(self) -> None:
        if self._runtime is not None and not self._ended:  # else the last picture stands
            with suppress(SupervisorStopped):
                self._trees = visible_trees(self._runtime.tree())
                self._agents = {}
                for node in self._trees:
                    self._look_at(self._runtime, node, node.id)
            self._stop_if_all_are_taken()

    def _look_at(self, runtime: Runtime, node: TreeNode, path: str) -> None:
        spec = node.info.spec
        if isinstance(spec, AgentSpec):
            status = runtime.ref(spec.id, partition=spec.partition).status()
            address = str(spec.address)
            if spec.durability is not None:
                self._tally.durable.add(address)
            handled = self._tally.account(address).turns
            self._agents[path] = AgentFigures(address, status.state, status.mailbox, status.effects, handled)
        for child in node.children:
            self._look_at(runtime, child, f"{path}/{child.id}")

    def _status(self) -> str:
        feed = self._feed
        if feed is None:
            return "stopping" if self._stopped_by else ""
        words = [f"{feed.events} in"]
        if feed.not_taken:
            words.append(f"{feed.not_taken.total()} not taken")
        if feed.bad_lines:
            words.append(f"{feed.bad_lines} bad")
        if feed.rate is not None:
            words.append(f"{feed.rate:g}/s (--rate 0: no limit)")
        return ", ".join(words)


class Hearers(Enum):
    """Who hears of an interrupt."""

    NOBODY = auto()
    TREE = auto()
    """The task that runs the tree, where it waits next: no child can keep it to itself."""
    TREE_AND_CHILD = auto()
    """And the child that runs, which may never wait."""


@contextmanager
def _os_signals(hear: Callable[[signal.Signals, trio.lowlevel.TrioToken], Hearers]) -> Iterator[None]:
    """Lets `hear` hear of SIGTERM and SIGINT, instead of anybody dying of them."""
    token = trio.lowlevel.current_trio_token()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    @enable_ki_protection
    def handle(number: int, frame: FrameType | None) -> None:
        hearers = hear(signal.Signals(number), token)
        interrupt = before[signal.SIGINT]
        if hearers is not Hearers.NOBODY and callable(interrupt):
            # Trio raises it in its main task if the frame is protected, as this one is; else in that frame.
            interrupt(number, sys._getframe())
            if hearers is Hearers.TREE_AND_CHILD:
                interrupt(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
