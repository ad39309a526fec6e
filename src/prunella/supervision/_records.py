"""What the decision core keeps of a child: a `Slot` while the supervisor has it, a `Life` for each time it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ._policies import ChildState

if TYPE_CHECKING:
    from ._core import Request
    from ._policies import Backoff, ChildKind, Restart, RestartWindow, ShutdownTime
    from ._reasons import ExitReason

__all__ = ["ChildSpec", "Ending", "Failure", "Life", "Slot"]


class ChildSpec(Protocol):
    """What the decision core reads of a child's spec."""

    @property
    def id(self) -> str: ...
    @property
    def kind(self) -> ChildKind: ...
    @property
    def restart(self) -> Restart: ...
    @property
    def shutdown(self) -> ShutdownTime: ...
    @property
    def significant(self) -> bool: ...
    @property
    def backoff(self) -> Backoff | None: ...


class Failure:
    """A start that failed, or the crash over which a supervisor gave up: which child, why, and its own exception."""

    __slots__ = ("error", "path", "reason")

    def __init__(self, path: str, reason: ExitReason, error: BaseException | None = None) -> None:
        self.path = path
        self.reason = reason
        self.error = error


class Ending:
    """Why a supervisor ends.

    Attributes:
        reason: its exit reason.
        start_failure: the start that failed, if that is why.
        gave_up: the crash over which it gave up, if that is why.
    """

    __slots__ = ("gave_up", "reason", "start_failure")

    def __init__(
        self, reason: ExitReason, *, start_failure: Failure | None = None, gave_up: Failure | None = None
    ) -> None:
        self.reason = reason
        self.start_failure = start_failure
        self.gave_up = gave_up


class Life:
    """One life of a child: from its start to its end.

    The host derives from it what really runs. The core reads, and the host writes:

    Attributes:
        slot: whose life it is.
        number: unique within the tree, in the order of starts.
        born: when it had started.
        started: whether it has said so, or taken its first step.
        value: what it gave to ``task_status.started``.
        ended: whether it has ended, logically at least.
        reason: how it ended.
        ignored: whether it ended by declining to start.
        interrupted: whether it ended by an interrupt: nobody decides about it any more, since the tree stops.
        stopping: whether it has been asked to stop.
        cut: the reason of a start that was cut off.
        error: the exception by which a start failed.
        failure: the failed start that it stands for: a supervisor's start fails by that of a child below it.
        settled: whether its supervisor has dealt with its end. The one thing that the core writes.
    """

    __slots__ = (
        "born", "cut", "ended", "error", "failure", "ignored", "interrupted", "number", "reason", "settled", "slot",
        "started", "stopping", "value",
    )  # fmt: skip

    def __init__(self, slot: Slot, number: int) -> None:
        self.slot = slot
        self.number = number
        self.born = 0.0
        self.started = False
        self.value: Any = None
        self.ended = False
        self.reason: ExitReason | None = None
        self.ignored = False
        self.interrupted = False
        self.stopping = False
        self.cut: ExitReason | None = None
        self.error: BaseException | None = None
        self.failure: Failure | None = None
        self.settled = False


class Slot:
    """A child of a supervisor.

    Attributes:
        spec: what it is.
        state: where it stands.
        since: when it came to stand there.
        life: its latest life.
        restarts: how often its supervisor has restarted it.
        reason: how its last life ended.
        payload: what its latest crash was about, if that is data that reports must not show.
        row: restarts in a row, for the backoff.
        retry: identifies the restart that is put off; None if none is.
        cut_off: whether somebody wants its start in progress cut off, or no restart to follow.
        starter: the request to which its start is the answer.
        window: its own intensity window, if it has one.
    """

    __slots__ = (
        "cut_off", "life", "payload", "reason", "restarts", "retry", "row", "since", "spec", "starter", "state",
        "window",
    )  # fmt: skip

    def __init__(self, spec: ChildSpec, now: float) -> None:
        self.spec = spec
        self.state = ChildState.STARTING
        self.since = now
        self.life: Life | None = None
        self.restarts = 0
        self.reason: ExitReason | None = None
        self.payload: Any = None
        self.row = 0
        self.retry: object = None
        self.cut_off = False
        self.starter: Request | None = None
        self.window: RestartWindow | None = None

    @property
    def present(self) -> Life | None:
        """Its life, if it has one with which its supervisor is not done (OTP's pid)."""
        life = self.life
        return None if life is None or life.settled else life

    def enter(self, state: ChildState, now: float) -> None:
        """Enters a state; `since` stays if it is in it already."""
        if self.state is not state:
            self.state = state
            self.since = now
