"""The decisions of a `DynamicSupervisor`: children that come and go, in no order, start and stop all at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ._core import Core, Host, Request, Verb, check_significance, start_failed, stopped
from ._errors import ChildNotFound, InvalidSpec, SupervisionError, SupervisorStopped, TooManyChildren
from ._info import ChildInfo
from ._policies import AutoShutdown, Budget, ChildState, RestartWindow, restarts_after
from ._reasons import Shutdown
from ._records import ChildSpec, Ending, Failure, Life, Slot

__all__ = ["DynamicCore"]


class DynamicSpec(Protocol):
    """What this core reads of a supervisor's spec."""

    @property
    def id(self) -> str: ...
    @property
    def max_children(self) -> float: ...
    @property
    def budget(self) -> Budget: ...
    @property
    def max_restarts(self) -> int: ...
    @property
    def max_seconds(self) -> float: ...


class DynamicCore(Core):
    """The synchronous machine behind one life of a `DynamicSupervisor`."""

    dynamic = True

    def __init__(self, spec: DynamicSpec, host: Host) -> None:
        super().__init__(host, spec.id)
        self._max_children = spec.max_children
        self._max_restarts = spec.max_restarts
        self._max_seconds = spec.max_seconds
        self._window = RestartWindow(spec.max_restarts, spec.max_seconds) if spec.budget is Budget.SHARED else None
        self._slots: dict[Slot, None] = {}
        self._is_stopping_all = False
        # Those that wait for a child's end, or for the end of its start.
        self._waiting: dict[Slot, list[Request]] = {}

    # What the host says.

    def boot(self) -> None:
        if self._ending is None:
            self.host.booted()
        super().boot()

    def life_started(self, life: Life) -> None:
        self._inbox.append(life)
        self._advance()

    def life_ended(self, life: Life) -> None:
        if life.started and self._collapsed:
            self._report_exit(life.slot, life)  # Nothing is decided any more.
        self._inbox.append(life)
        self._advance()

    def withdraw(self, request: Request) -> bool:
        if request.verb is not Verb.START:
            return True  # What was asked is done all the same; only nobody waits for it.
        return super().withdraw(request)

    def slots(self) -> Sequence[Slot]:
        return tuple(self._slots)

    @property
    def size(self) -> int:
        """How many children there are, those that start and those that wait for a restart included."""
        return len(self._slots)

    def find(self, subject: object) -> Slot:
        """The child that a `ChildInfo`, or an id that occurs once, names.

        Raises:
            ChildNotFound: there is none, or the life that the info names is over.
            InvalidSpec: the id occurs more than once.
        """
        if isinstance(subject, ChildInfo):
            slot = subject._slot
            if slot in self._slots and (slot.life is subject._life or slot.state is ChildState.RESTARTING):
                return slot
            raise ChildNotFound(subject.id)
        found = [slot for slot in self._slots if slot.spec.id == subject]
        if not found:
            raise ChildNotFound(str(subject))
        if len(found) > 1:
            expected = "a ChildInfo, or an id that occurs once"
            raise InvalidSpec(f"dynamic supervisor {self.id!r}", "child", expected, subject)
        return found[0]

    def _cut_off(self, slot: Slot) -> None:
        """Cuts off a start in progress; whoever waits for it is told when its life has ended."""
        life = slot.present
        if life is not None and not (life.started or life.ended):
            slot.cut_off = True  # also of one that is being cut off because its time is over: no other try follows
            if life.cut is None:
                life.cut = Shutdown()
                self.host.stop(life)

    # The life of a supervisor.

    def _go_on(self) -> bool:
        self._serve_all()
        if self._ending is None:
            return False
        if not self._is_stopping_all:
            self._is_stopping_all = True
            for slot in self.slots():
                self._stop(slot)
            self._serve_all()
        return not self._slots

    def _serve_all(self) -> None:
        inbox = self._inbox
        while inbox:
            item = inbox.popleft()
            if isinstance(item, Life):
                self._changed(item)
            elif isinstance(item, Request):
                if not item.withdrawn:
                    self._answer(item)
            elif item.slot.retry is item and self._ending is None:
                item.slot.retry = None
                self._attempt(item.slot)

    # What becomes of one child.

    def _changed(self, life: Life) -> None:
        """A life has started, or ended, or both since anybody looked."""
        slot = life.slot
        if life.settled:
            return
        if life.started and slot.state in (ChildState.STARTING, ChildState.RESTARTING) and life.cut is None:
            self._started(slot, life)
        if life.ended:
            self._settle(slot, life)
            if not life.started or life.cut is not None:
                self._not_started(slot, life)
            elif life.stopping or slot.cut_off or self._ending is not None:
                self._report_exit(slot, life)
                self._report_shutdown(slot, life)
                self._remove(slot)
            else:
                self._exited(slot, life)

    def _started(self, slot: Slot, life: Life) -> None:
        restart = slot.state is ChildState.RESTARTING
        if restart:
            slot.restarts += 1
        slot.enter(ChildState.RUNNING, life.born)
        self.host.report_start(slot, life, restart=restart)
        starter, slot.starter = slot.starter, None
        if starter is not None:
            starter.answer_start(slot)

    def _not_started(self, slot: Slot, life: Life) -> None:
        if life.ignored and life.cut is None:
            stopped(slot, self.host.now())
            if slot.starter is not None:
                slot.starter.answer_start(slot)
            self._remove(slot)
            return
        failure = self._failure(slot, life)
        slot.reason = life.cut or life.reason
        self.host.report_failed_start(slot, failure)
        called_off = self._ending is not None or slot.cut_off or isinstance(life.cut, Shutdown)
        if slot.state is ChildState.RESTARTING and not called_off:
            self._try_later(slot, self._delay(slot))
            return
        starter = slot.starter
        self._remove(slot)
        if starter is not None:
            starter.refuse(start_failed(failure))

    def _exited(self, slot: Slot, life: Life) -> None:
        """A child has ended by itself."""
        self._end_row_after_a_long_life(slot, life)
        assert life.reason is not None
        comes_back = not life.interrupted and restarts_after(slot.spec.restart, life.reason)
        slot.enter(ChildState.RESTARTING if comes_back else ChildState.STOPPED, self.host.now())
        self._report_exit(slot, life)
        if not comes_back:
            self._remove(slot)
            return
        delay = self._delay(slot)
        if delay > 0:
            self._try_later(slot, delay)
        else:
            self._attempt(slot)

    def _attempt(self, slot: Slot) -> None:
        window = self._window
        if window is None:
            window = slot.window = slot.window or RestartWindow(*self._budget_of(slot.spec))
        if window.admit(self.host.now()):
            self.host.start(slot)
        else:
            self._give_up(slot)

    def _budget_of(self, spec: ChildSpec) -> tuple[int, float]:
        """A child's own budget, where its spec names one, else the supervisor's."""
        return getattr(spec, "budget", None) or (self._max_restarts, self._max_seconds)

    def _give_up(self, slot: Slot) -> None:
        assert slot.reason is not None
        failure = Failure(self._path(slot.spec), slot.reason)
        self._remove(slot)
        on_child = self._window is None
        if not on_child:
            self._ending = Ending(Shutdown(), gave_up=failure)
        self.host.report_giving_up(slot, failure, on_child=on_child)

    def _stop(self, slot: Slot) -> None:
        life = slot.present
        if life is None:
            self._remove(slot)
        elif life.ended:
            slot.cut_off = True  # What has become of it is in the inbox; whatever it is, nothing follows from it.
        elif not life.started:
            self._cut_off(slot)
        elif not life.stopping:
            slot.enter(ChildState.STOPPING, self.host.now())
            self.host.stop(life)

    def _remove(self, slot: Slot) -> None:
        stopped(slot, self.host.now())
        self._slots.pop(slot, None)
        self.host.rest(slot)
        if self._waiting:
            for request in self._waiting.pop(slot, ()):
                request.answer()

    # Calls.

    def _answer(self, request: Request) -> None:
        try:
            if request.verb is Verb.START:
                self._start_child(request)
            elif request.verb is Verb.TERMINATE:
                self._terminate_child(request)
            else:
                # No child is ever stopped and kept here, so there is none to restart or delete.
                subject = request.subject
                raise ChildNotFound(subject.id if isinstance(subject, ChildInfo) else str(subject))
        except SupervisionError as error:
            request.refuse(error)

    def _start_child(self, request: Request) -> None:
        spec: ChildSpec = request.subject
        if self._ending is not None:
            raise SupervisorStopped(self.id)
        if len(self._slots) >= self._max_children:
            raise TooManyChildren(self.id, self._max_children)
        check_significance(spec, AutoShutdown.NEVER)
        slot = request.slot = Slot(spec, self.host.now())
        slot.starter = request
        self._slots[slot] = None
        self.host.start(slot)

    def _terminate_child(self, request: Request) -> None:
        slot = self.find(request.subject)
        self._waiting.setdefault(slot, []).append(request)
        self._stop(slot)
