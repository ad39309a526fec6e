"""Runs a tree from its start to its end, and a view and the input beside it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Protocol, final

import trio
from trio.lowlevel import enable_ki_protection

from ..observer import Happening, Picture, Traffic, describe
from ..supervision import (
    ChildState,
    StartFailed,
    SupervisorFailed,
    SupervisorHandle,
    SupervisorStopped,
    TreeNode,
    open_supervisor,
    tree,
)
from ..telemetry import Event
from ._feed import Feed
from ._summary import Record, Summary
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
        view: where people look.

    Attributes:
        output_error: why nothing can be shown any more. If it is that nobody reads it, that stops the tree.
    """

    def __init__(self, target: Target, feed: Feed | None, view: View) -> None:
        self.output_error: OSError | None = None
        self._target = target
        self._feed = feed
        self._view = view
        self._record = Record()
        self._handle: SupervisorHandle | None = None
        self._tree: TreeNode | None = None
        self._began = 0.0
        self._changed = trio.Event()
        self._start = trio.CancelScope()
        self._work = trio.CancelScope()
        self._all_handled = False
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
        return Summary(
            self._target.name, seconds, self._ending(), self._failure, self._record, self._target.mailboxes, self._feed
        )

    def stop(self, by: str) -> None:
        """Stops the tree in order, and so ends the run."""
        self._stopped_by = self._stopped_by or by
        # While children still start there is no block to leave; a start in progress is cut off.
        (self._start if self._handle is None else self._work).cancel(reason=f"stopped by {by}")

    def _signalled(self, number: signal.Signals, token: trio.lowlevel.TrioToken) -> bool:
        """Called in the midst of whatever runs.

        Returns:
            Whether Trio is to raise KeyboardInterrupt, in the tree or in a child that runs.
        """
        if self._signal is not None:
            # The tree has heard of the first interrupt, and kills what is left at the second.
            self._killed = self._killed or number is self._signal is signal.SIGINT
            return number is signal.SIGINT
        self._signal = number
        if number is signal.SIGINT and self._handle is None:
            return True  # children still start, and there is no block to leave
        token.run_sync_soon(self.stop, number.name)
        return False

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
        try:
            with self._start:
                async with open_supervisor(self._target.spec, telemetry=[self._hear]) as self._handle:
                    with self._work:
                        await self._until_done()
                    self._look()  # while there is something to see
                    if self._signal is signal.SIGINT:
                        raise KeyboardInterrupt  # so that the tree knows of it
        except (StartFailed, SupervisorFailed) as error:
            self._failure = str(error)
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

    async def _until_done(self) -> None:
        if self._feed is None:
            await trio.sleep_forever()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_mailboxes)
            await self._feed.run()
            for mailbox in self._target.mailboxes:
                await mailbox.wait_idle()
            # A child that crashed on the last event is seen coming back.
            while not all(box.closed or self._state(box.child) is ChildState.RUNNING for box in self._target.mailboxes):
                await self._change()
            nursery.cancel_scope.cancel()
        self._all_handled = True

    @enable_ki_protection
    async def _close_mailboxes(self) -> None:
        """Closes the mailbox of a child that has ended for good: nobody would ever empty it."""
        while True:
            for mailbox in self._target.mailboxes:
                if self._state(mailbox.child) is ChildState.STOPPED:
                    mailbox.close()
                    self._changed.set()
            await self._change()

    def _state(self, path: str) -> ChildState:
        """Where a child stands; as whatever stands above it, if that is not running."""
        try:
            node = tree(self._handle) if self._handle is not None else None
        except SupervisorStopped:
            return ChildState.STOPPED
        if node is None:
            return ChildState.STARTING
        above = ""
        while above != path:
            for child in node.children:
                child_path = f"{above}/{child.id}" if above else child.id
                if path == child_path or path.startswith(f"{child_path}/"):
                    node, above = child, child_path
                    break
            else:
                return node.state  # it stands below one that has no children at present
            if node.state is not ChildState.RUNNING:
                break
        return node.state

    def _hear(self, event: Event) -> None:
        self._record.hear(event)
        happening = describe(event)
        if happening is not None:
            self._view.tell(happening)
        self._changed.set()

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
            self._target.name, trio.current_time() - self._began, self._status(), self._tree, self._traffic()
        )
        try:
            # In a thread: a terminal that was halted, or a pipe that is full, must not stop the children.
            await trio.to_thread.run_sync(self._view.show, picture)
        except OSError as error:
            self.output_error = error
            if isinstance(error, BrokenPipeError):
                self.stop("the end of its output")

    def _look(self) -> None:
        if self._handle is not None:
            with suppress(SupervisorStopped):  # the last picture stands
                self._tree = tree(self._handle)

    def _status(self) -> str:
        feed = self._feed
        if feed is None:
            return "stopping" if self._stopped_by else ""
        words = [f"{feed.events} in"]
        if feed.refused:
            words.append(f"{feed.refused.total()} refused")
        if feed.bad_lines:
            words.append(f"{feed.bad_lines} bad")
        if feed.rate is not None:
            words.append(f"{feed.rate:g}/s (--rate 0: no limit)")
        return ", ".join(words)

    def _traffic(self) -> dict[str, Traffic]:
        if self._feed is None:
            return {}
        return {
            mailbox.child: Traffic(mailbox.waiting, mailbox.handled, mailbox.crashed_on)
            for mailbox in self._target.mailboxes
        }


@contextmanager
def _os_signals(hear: Callable[[signal.Signals, trio.lowlevel.TrioToken], bool]) -> Iterator[None]:
    """Lets `hear` hear of SIGTERM and SIGINT, instead of anybody dying of them."""
    token = trio.lowlevel.current_trio_token()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, frame: FrameType | None) -> None:
        interrupt = before[signal.SIGINT]
        if hear(signal.Signals(number), token) and callable(interrupt):
            interrupt(number, frame)

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
