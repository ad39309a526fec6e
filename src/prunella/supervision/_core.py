"""What both decision cores share: what they ask of their host, and what is asked of them.

A core is a synchronous machine. The host tells it what happened (`life_started`, `life_ended`, `ask`, `stop`) and
carries out what it decides; neither waits for the other. Whoever brings an event advances the core in place, in
its own task, up to the point where something else has to happen first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any, ClassVar, Protocol

from ._errors import InvalidSpec, StartFailed, SupervisorStopped
from ._info import ChildInfo, picture
from ._policies import AutoShutdown, ChildState, end_in_shutdown_is_expected, end_is_expected
from ._reasons import Crashed, ExitReason, Shutdown, summary
from ._records import ChildSpec, Ending, Failure, Life, Slot

__all__ = ["Core", "Host", "Request", "Retry", "Verb"]


class Host(Protocol):
    """What a core asks of whoever carries its decisions out."""

    path: str
    """The supervisor's path from the root of its tree; empty for the root itself."""

    def now(self) -> float: ...

    def chance(self) -> float:
        """A random number between -1 and 1."""
        ...

    def start(self, slot: Slot) -> None:
        """Begins a new life of the child and puts it into the slot."""
        ...

    def stop(self, life: Life) -> None:
        """Asks a life to stop, by its spec's shutdown time. It will end."""
        ...

    def kill(self, life: Life) -> None:
        """Ends a life without giving it time."""
        ...

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        """Calls back after so many seconds."""
        ...

    def rest(self, slot: Slot) -> None:
        """A child has ended for good, as far as this supervisor is concerned: nothing will start it but a call."""
        ...

    def report_start(self, slot: Slot, life: Life, *, restart: bool) -> None: ...

    def report_exit(self, slot: Slot, life: Life, *, expected: bool) -> None: ...

    def report_failed_start(self, slot: Slot, failure: Failure) -> None: ...

    def report_shutdown_error(self, slot: Slot, life: Life) -> None: ...

    def report_giving_up(self, slot: Slot, failure: Failure, *, on_child: bool) -> None: ...

    def booted(self) -> None:
        """All children of the list have started."""
        ...

    def over(self, ending: Ending) -> None:
        """The supervisor has ended: nothing of it runs any more, or counts."""
        ...


class Verb(Enum):
    """What can be asked of a supervisor."""

    START = auto()
    TERMINATE = auto()
    RESTART = auto()
    DELETE = auto()


class Request:
    """Something that was asked of a supervisor, and its answer.

    No task waits for the answer of a plain one; one that does derives from it, and says so by `is_awaited`.

    Args:
        verb: what is asked.
        subject: the spec of the child, or what names it.
        then: called when there is an answer.

    Attributes:
        slot: the child that it is about, if one was found or made.
        withdrawn: whether it was taken back before its turn came.
        answered: whether there is an answer.
        value: the answer: a picture of the child that was started.
        error: the answer, if it is an error.
    """

    __slots__ = ("answered", "error", "slot", "subject", "then", "value", "verb", "withdrawn")

    is_awaited: ClassVar[bool] = False

    def __init__(self, verb: Verb, subject: Any, then: Callable[[], object] | None = None) -> None:
        self.verb = verb
        self.subject = subject
        self.then = then
        self.slot: Slot | None = None
        self.withdrawn = False
        self.answered = False
        self.value: ChildInfo | None = None
        self.error: BaseException | None = None

    def wake(self) -> bool:
        """Wakes whoever waits: there is an answer, or the child that was to be started has begun to run.

        Returns:
            Whether a task was woken.
        """
        then = self.then
        if self.answered and then is not None:
            self.then = None
            then()
        return False

    def answer(self) -> None:
        """It has been done."""
        self.answered = True
        self.wake()

    def answer_start(self, slot: Slot) -> None:
        """The child has been started, or has declined to be."""
        self.answered = True
        if self.is_awaited:
            self.value = picture(slot)
        self.wake()

    def refuse(self, error: BaseException) -> None:
        """Answers with an error."""
        self.answered = True
        self.error = error
        self.wake()


class Retry:
    """A note to oneself: try this restart again, unless it has been called off meanwhile."""

    __slots__ = ("slot",)

    def __init__(self, slot: Slot) -> None:
        self.slot = slot


class Core:
    """The common part: the inbox, the driver of the decisions, and the end."""

    dynamic = False

    def __init__(self, host: Host, id: str) -> None:
        self.host = host
        self.id = id
        self.over = False
        self._ending: Ending | None = None
        self._inbox: deque[Any] = deque()
        self._advancing = False
        self._stirred = False
        self._collapsed = False

    # What the host and its callers say.

    def boot(self) -> None:
        """Begins: the children of the list are started."""
        self._advance()

    def stop(self, reason: ExitReason) -> None:
        """Ends the supervisor with `reason`, unless it is ending already."""
        if self._ending is None:
            self._ending = Ending(reason)
        self._advance()

    def ask(self, request: Request) -> None:
        """Takes a request; it is answered in its turn, which may be at once."""
        if self._ending is None:
            self._inbox.append(request)
            self._advance()
        else:
            request.refuse(SupervisorStopped(self.id))

    def withdraw(self, request: Request) -> bool:
        """Takes a request back.

        Returns:
            Whether it is gone. If not, a start is in progress: it is cut off, and the answer comes when it is over.
        """
        if request.slot is None:
            request.withdrawn = True
            return True
        self._cut_off(request.slot)
        return False

    def life_started(self, life: Life) -> None:
        """A life has said that it has started, or has taken its first step."""
        self._advance()

    def life_ended(self, life: Life) -> None:
        """A life has ended; `life.reason` says how."""
        raise NotImplementedError

    @property
    def stopping(self) -> bool:
        """Whether the supervisor is on its way to its end, or there."""
        return self._ending is not None

    def slots(self) -> Sequence[Slot]:
        """The children, in start order."""
        raise NotImplementedError

    def lives(self) -> Sequence[Life]:
        """The lives that have not ended."""
        return [life for slot in self.slots() if (life := slot.life) is not None and not life.ended]

    # The driver.

    def _go_on(self) -> bool:
        """Goes as far as it can without anything else happening; tells whether the supervisor has ended."""
        raise NotImplementedError

    def _cut_off(self, slot: Slot) -> None:
        raise NotImplementedError

    def _advance(self) -> None:
        """Lets the decisions go as far as they can.

        One item at a time: whoever brings an event while a decision is being made only leaves it in the inbox.
        """
        self._stirred = True
        if self._advancing or self.over:
            return
        self._advancing = True
        try:
            has_ended = self._collapsed or self._go_on()
        except Exception as error:
            # A fault of ours. It must not surface in the child that happened to bring the event, and must not leave
            # the children without anybody who stops them.
            has_ended = self._collapsed = True
            self._ending = Ending(Crashed(error))
            for life in self.lives():
                self.host.kill(life)
        finally:
            self._advancing = False
        if has_ended and not (self._collapsed and self.lives()):
            self._end()

    def _end(self) -> None:
        self.over = True
        assert self._ending is not None
        while self._inbox:
            item = self._inbox.popleft()
            if isinstance(item, Request) and not item.withdrawn:
                item.refuse(SupervisorStopped(self.id))
        self.host.over(self._ending)

    # Steps that both take.

    def _settle(self, slot: Slot, life: Life) -> None:
        """Takes note of the end of a life, whatever follows from it."""
        life.settled = True
        slot.reason = life.reason

    def _report_exit(self, slot: Slot, life: Life) -> None:
        assert life.reason is not None
        expected = life.stopping or end_is_expected(slot.spec.restart, life.reason)
        self.host.report_exit(slot, life, expected=expected)

    def _report_shutdown(self, slot: Slot, life: Life) -> None:
        """Reports the end of a life that was being stopped, if it is worth it."""
        spec = slot.spec
        assert life.reason is not None
        if life.started and not end_in_shutdown_is_expected(
            spec.restart, spec.shutdown, life.reason, dynamic=self.dynamic
        ):
            self.host.report_shutdown_error(slot, life)

    def _failure(self, slot: Slot, life: Life) -> Failure:
        """The failure of a start: that of the child below, if the life was a supervisor's."""
        if life.failure is not None:
            return life.failure
        reason = life.cut or life.reason
        assert reason is not None
        return Failure(self._path(slot.spec), reason, life.error)

    def _path(self, spec: ChildSpec) -> str:
        return f"{self.host.path}/{spec.id}" if self.host.path else spec.id

    def _delay(self, slot: Slot) -> float:
        """Seconds to wait before the next restart of a child; counts the restart as one of a row."""
        backoff = slot.spec.backoff
        if backoff is None:
            return 0.0
        slot.row += 1
        return backoff.delay(slot.row, self.host.chance())

    def _try_later(self, slot: Slot, delay: float) -> None:
        """Posts a note, behind whatever waits already: calls are served between two tries."""
        note = slot.retry = Retry(slot)
        if delay > 0:
            self.host.later(delay, partial(self._post, note))
        else:
            self._inbox.append(note)

    def _post(self, note: Retry) -> None:
        if note.slot.retry is note:
            self._inbox.append(note)
            self._advance()

    def _end_row_after_a_long_life(self, slot: Slot, life: Life) -> None:
        backoff = slot.spec.backoff
        if backoff is not None and self.host.now() - life.born >= backoff.maximum:
            slot.row = 0


def start_failed(failure: Failure) -> StartFailed:
    """The exception that tells of a failed start, with the child's own as its cause."""
    error = StartFailed(failure.path, failure.reason)
    error.__cause__ = failure.error
    return error


def shutdown_after_failed_start(failure: Failure) -> Shutdown:
    """The exit reason of a supervisor whose children could not all start."""
    return Shutdown(f"failed to start child {failure.path!r}: {summary(failure.reason)}")


def stopped(slot: Slot, now: float) -> None:
    """Puts a child to rest: it does not run, and no restart of it is pending."""
    slot.retry = None
    slot.enter(ChildState.STOPPED, now)


def check_significance(spec: ChildSpec, auto_shutdown: AutoShutdown) -> None:
    """A significant child needs a supervisor that minds.

    Raises:
        InvalidSpec: the supervisor's `auto_shutdown` is ``never``.
    """
    if spec.significant and auto_shutdown is AutoShutdown.NEVER:
        raise InvalidSpec(
            f"child {spec.id!r}", "significant", "False, as its supervisor's auto_shutdown is 'never'", True
        )
