"""The decisions of a `Supervisor`: the restart loop over an ordered list of children, as OTP defines it.

Read `_decide` first: it is the life of a supervisor from boot to end. Below it stand, one part each: starting and
stopping one child, exits, restarts, calls. Which rule of OTP stands where is listed in `tests/supervision/otp`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Protocol, TypeAlias

from ._core import (
    Core,
    Host,
    Request,
    Retry,
    Verb,
    check_significance,
    shutdown_after_failed_start,
    start_failed,
    stopped,
)
from ._errors import (
    AlreadyPresent,
    AlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    SupervisionError,
)
from ._info import ChildInfo, picture
from ._policies import AutoShutdown, ChildState, Restart, RestartWindow, Strategy, restarts_after
from ._reasons import Shutdown
from ._records import ChildSpec, Ending, Failure, Life, Slot

__all__ = ["OrderedCore"]

Steps: TypeAlias = Generator[None, None, None]
"""A decision that may have to wait: each `yield` means "until something has happened"."""

_OVER = object()


class OrderedSpec(Protocol):
    """What this core reads of a supervisor's spec."""

    @property
    def id(self) -> str: ...
    @property
    def children(self) -> Iterable[ChildSpec]: ...
    @property
    def strategy(self) -> Strategy: ...
    @property
    def max_restarts(self) -> int: ...
    @property
    def max_seconds(self) -> float: ...
    @property
    def auto_shutdown(self) -> AutoShutdown: ...


class OrderedCore(Core):
    """The synchronous machine behind one life of a `Supervisor`."""

    def __init__(self, spec: OrderedSpec, host: Host) -> None:
        super().__init__(host, spec.id)
        self._strategy = spec.strategy
        self._auto_shutdown = spec.auto_shutdown
        self._window = RestartWindow(spec.max_restarts, spec.max_seconds)
        now = host.now()
        self._slots: dict[str, Slot] = {}
        for child in spec.children:
            slot = Slot(child, now)
            slot.state = ChildState.STOPPED
            self._slots[child.id] = slot
        self._steps = self._decide()

    # What the host says.

    def life_ended(self, life: Life) -> None:
        slot = life.slot
        if life.started:
            if not life.stopping:
                self._inbox.append(life)
                self._mark_ended(slot, life)
            self._report_exit(slot, life)
        self._advance()

    def _mark_ended(self, slot: Slot, life: Life) -> None:
        """Lets a child show at once that it has ended, even if its exit has to wait until something else is done."""
        assert life.reason is not None
        slot.reason = life.reason
        comes_back = self._ending is None and not life.interrupted and restarts_after(slot.spec.restart, life.reason)
        slot.enter(ChildState.RESTARTING if comes_back else ChildState.STOPPED, self.host.now())

    def ask(self, request: Request) -> None:
        if request.verb is Verb.TERMINATE:
            # A start in progress is the one thing that does not keep a caller waiting.
            slot = self._slots.get(_id_of(request.subject))
            if slot is not None and slot.life is not None and not (slot.life.started or slot.life.ended):
                request.slot = slot
                slot.cut_off = True
        super().ask(request)

    def withdraw(self, request: Request) -> bool:
        if request.verb in (Verb.TERMINATE, Verb.DELETE):
            return True  # What was asked is done all the same; only nobody waits for it.
        return super().withdraw(request)

    def slots(self) -> Sequence[Slot]:
        return tuple(self._slots.values())

    def find(self, subject: object) -> Slot:
        """The child that an id, or a `ChildInfo`, names.

        Raises:
            ChildNotFound: there is none.
        """
        slot = self._slots.get(_id_of(subject))
        if slot is None:
            raise ChildNotFound(_id_of(subject))
        return slot

    def _cut_off(self, slot: Slot) -> None:
        slot.cut_off = True
        self._advance()

    # The life of a supervisor.

    def _go_on(self) -> bool:
        while self._stirred:
            self._stirred = False
            if next(self._steps, _OVER) is _OVER:
                return True
        return False

    def _decide(self) -> Steps:
        yield from self._boot()
        while self._ending is None:
            if self._inbox:
                yield from self._serve(self._inbox.popleft())
            else:
                yield
        for slot in reversed(self.slots()):
            yield from self._stop(slot)

    def _boot(self) -> Steps:
        """Starts the children of the list one after another. There is no retry, and the window is not asked."""
        for slot in self.slots():
            if self._ending is not None:
                return
            slot.enter(ChildState.STARTING, self.host.now())
            yield from self._start(slot)
            if slot.state is ChildState.STARTING:
                failure = self._failed(slot)
                if self._ending is None:
                    self._ending = Ending(shutdown_after_failed_start(failure), start_failure=failure)
                return
        if self._ending is None:
            self.host.booted()

    def _serve(self, item: Life | Retry | Request) -> Steps:
        if isinstance(item, Life):
            yield from self._exited(item)
        elif isinstance(item, Retry):
            if item.slot.retry is item:
                item.slot.retry = None
                yield from self._attempt(item.slot)
        elif not item.withdrawn:
            yield from self._answer(item)

    # Starting and stopping one child.

    def _start(self, slot: Slot, *, restart: bool = False) -> Generator[None, None, bool]:
        """Starts a child and waits until it has started, has declined to, or has failed.

        Afterwards its state is RUNNING, STOPPED (ignored), or what it was before if the start failed.
        """
        slot.cut_off = False
        self.host.start(slot)
        life = slot.life
        assert life is not None
        while not (life.started or life.ended):
            if (self._ending is not None or slot.cut_off) and life.cut is None:
                life.cut = Shutdown()
                self.host.stop(life)
            else:
                yield
        terminated = slot.cut_off
        slot.cut_off = False
        slot.starter = None
        if life.started:
            if restart:
                slot.restarts += 1
            slot.enter(ChildState.RUNNING, life.born)
            self.host.report_start(slot, life, restart=restart)
            if life.ended and not life.stopping:
                self._mark_ended(slot, life)
        elif life.ignored and life.cut is None:
            self._settle(slot, life)
            stopped(slot, self.host.now())
            if slot.spec.restart is Restart.TEMPORARY:
                self._forget(slot)
        return terminated

    def _failed(self, slot: Slot) -> Failure:
        """Takes note of a start that failed."""
        life = slot.life
        assert life is not None
        failure = self._failure(slot, life)
        self._settle(slot, life)
        slot.reason = life.cut or life.reason
        stopped(slot, self.host.now())
        self.host.report_failed_start(slot, failure)
        return failure

    def _stop(self, slot: Slot) -> Steps:
        """Stops a child, by its own shutdown time, and waits for its end. Its siblings do not notice."""
        life = slot.present
        if life is not None:
            if not life.ended:
                slot.enter(ChildState.STOPPING, self.host.now())
                self.host.stop(life)
                while not life.ended:
                    yield
            self._settle(slot, life)
            self._report_shutdown(slot, life)
        stopped(slot, self.host.now())

    def _forget(self, slot: Slot) -> None:
        if self._slots.get(slot.spec.id) is slot:
            del self._slots[slot.spec.id]

    # Exits.

    def _exited(self, life: Life) -> Steps:
        """A child has ended by itself."""
        slot = life.slot
        if life.settled:
            return  # It was found dead while its group was being stopped: that is the same one restart.
        self._settle(slot, life)
        self._end_row_after_a_long_life(slot, life)
        assert life.reason is not None
        if life.interrupted:
            stopped(slot, self.host.now())
            self.host.rest(slot)
        elif restarts_after(slot.spec.restart, life.reason):
            slot.enter(ChildState.RESTARTING, self.host.now())
            delay = self._delay(slot)
            if delay > 0:
                self._try_later(slot, delay)
            else:
                yield from self._attempt(slot)
        else:
            stopped(slot, self.host.now())
            self.host.rest(slot)
            if slot.spec.restart is Restart.TEMPORARY:
                self._forget(slot)
            if slot.spec.significant:
                self._consider_auto_shutdown()

    def _consider_auto_shutdown(self) -> None:
        done = self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT or (
            self._auto_shutdown is AutoShutdown.ALL_SIGNIFICANT
            and not any(
                slot.present is not None or slot.state is ChildState.RESTARTING
                for slot in self._slots.values()
                if slot.spec.significant
            )
        )
        if done and self._ending is None:
            self._ending = Ending(Shutdown())

    # Restarts.

    def _attempt(self, slot: Slot) -> Steps:
        """One restart on behalf of a child, counted once however many children it concerns."""
        if not self._window.admit(self.host.now()):
            self._give_up(slot)
            return
        if self._strategy is Strategy.ONE_FOR_ONE:
            yield from self._restart(slot)
            return
        for member in reversed(self._group(slot)):
            if member is not slot or slot.present is not None:
                yield from self._stop(member)
            if self._ending is not None:
                return
            if member.spec.restart is not Restart.TEMPORARY:
                member.enter(ChildState.RESTARTING, self.host.now())
        for member in self._group(slot):
            if member.spec.restart is Restart.TEMPORARY:
                self._forget(member)
                self.host.rest(member)
        # A group restart is a fresh start of the group: also of those that had ended cleanly, had been terminated or
        # had declined to start.
        for member in self._group(slot):
            if self._ending is not None:
                return
            yield from self._restart(member)
            if member.retry is not None:
                # From here on, the next try concerns this one; those behind it have not been started.
                for other in self._group(slot):
                    if other.state is ChildState.RESTARTING and other.present is None and other.retry is None:
                        stopped(other, self.host.now())
                return

    def _group(self, slot: Slot) -> list[Slot]:
        """The children that are restarted along with one, itself included, in start order."""
        group = list(self._slots.values())
        return group if self._strategy is Strategy.ONE_FOR_ALL else group[group.index(slot) :]

    def _restart(self, slot: Slot) -> Steps:
        """Starts a child again; puts off the next try if that fails."""
        terminated = yield from self._start(slot, restart=True)
        life = slot.life
        assert life is not None
        if not (life.started or (life.ignored and life.cut is None)):
            self._failed(slot)
            # One whose start was cut off has been terminated, and stays stopped; its siblings do not notice.
            if self._ending is None and not terminated:
                slot.enter(ChildState.RESTARTING, self.host.now())
                self._try_later(slot, self._delay(slot))

    def _give_up(self, slot: Slot) -> None:
        assert slot.reason is not None
        failure = Failure(self._path(slot.spec), slot.reason)
        stopped(slot, self.host.now())
        if self._ending is None:
            self._ending = Ending(Shutdown(), gave_up=failure)
        self.host.report_giving_up(slot, failure, on_child=False)

    # Calls.

    def _answer(self, request: Request) -> Steps:
        try:
            if request.verb is Verb.START:
                yield from self._start_child(request)
            elif request.verb is Verb.TERMINATE:
                yield from self._terminate_child(request)
            elif request.verb is Verb.RESTART:
                yield from self._restart_child(request)
            else:
                self._delete_child(request)
        except SupervisionError as error:
            request.refuse(error)

    def _start_child(self, request: Request) -> Steps:
        spec: ChildSpec = request.subject
        slot = self._slots.get(spec.id)
        if slot is not None:
            if slot.present is not None:
                raise AlreadyStarted(spec.id, picture(slot))
            raise AlreadyPresent(spec.id)
        check_significance(spec, self._auto_shutdown)
        slot = request.slot = Slot(spec, self.host.now())
        slot.starter = request
        self._slots[spec.id] = slot
        yield from self._start(slot)
        if slot.state is ChildState.STARTING:
            failure = self._failed(slot)
            self._forget(slot)
            self.host.rest(slot)
            raise start_failed(failure)
        request.answer_start(slot)

    def _terminate_child(self, request: Request) -> Steps:
        slot = self._slots.get(_id_of(request.subject))
        if slot is None:
            if request.slot is None:
                raise ChildNotFound(_id_of(request.subject))
        else:
            yield from self._stop(slot)
            self.host.rest(slot)
            if slot.spec.restart is Restart.TEMPORARY:
                self._forget(slot)
        request.answer()

    def _restart_child(self, request: Request) -> Steps:
        slot = self._idle(request.subject)
        request.slot = slot
        slot.enter(ChildState.STARTING, self.host.now())
        yield from self._start(slot)
        if slot.state is ChildState.STARTING:
            failure = self._failed(slot)
            self.host.rest(slot)
            raise start_failed(failure)
        request.answer_start(slot)

    def _delete_child(self, request: Request) -> None:
        self._forget(self._idle(request.subject))
        request.answer()

    def _idle(self, subject: object) -> Slot:
        slot = self.find(subject)
        if slot.state is ChildState.RESTARTING:
            raise ChildRestarting(slot.spec.id)
        if slot.present is not None:
            raise ChildRunning(slot.spec.id)
        return slot


def _id_of(subject: object) -> str:
    return subject.id if isinstance(subject, ChildInfo) else str(subject)
