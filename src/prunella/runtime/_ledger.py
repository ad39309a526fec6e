"""What a durable agent has decided and not yet written, and what becomes of it if it cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from ..agents import Agent, AgentError, Fenced
from ..storage import CommitFailed, Duplicate, StorageError, StorageUnavailable, StoredAgent, Write, snapshot_of
from ._delivery import Answer, Delivery
from ._draft import Decided, Draft

if TYPE_CHECKING:
    from ._durable_server import DurableServer

__all__ = ["POLICY", "RESTORED", "Ledger", "has_gone"]

RESTORED = "prunella.restored"
"""The signal of a turn that says what has changed by coming back."""

POLICY = "prunella.policy"
"""The signal of a turn that an error policy has decided."""

_MOST_AHEAD = 64


class Ledger:
    """The turns of one agent that are decided and not written, and what else is to be written of it.

    One write is under way at a time. After any error nothing is decided until the storage has said what is so.

    Attributes:
        head: the agent after all that is decided.
        head_sequence: how many turns that is.
        turns: what is decided and not written, in order; what is being written comes first.
        draft: what is to be written beside the turns.
        in_flight: what is being written.
        failure: why it is not known what was written; None if it is.
        down: what callers are told while the storage cannot be reached.
        holds: whether the next turn waits until what is decided is done.
        snapshot_at: the turn of the last snapshot.
    """

    __slots__ = (
        "_on_settled",
        "_server",
        "_solo",
        "down",
        "draft",
        "failure",
        "head",
        "head_sequence",
        "holds",
        "in_flight",
        "snapshot_at",
        "turns",
    )  # fmt: skip

    def __init__(self, server: DurableServer, agent: Agent) -> None:
        self._server = server
        self.head = agent
        self.head_sequence = 0
        self.turns: list[Decided] = []
        self.draft = Draft()
        self.in_flight: Draft | None = None
        self.failure: Exception | None = None
        self.down: StorageError | None = None
        self.holds = False
        self.snapshot_at = 0
        self._solo = 0
        self._on_settled: list[Callable[[], object]] = []

    @property
    def has_room(self) -> bool:
        """Whether a further turn may be decided."""
        return len(self.turns) < _MOST_AHEAD and not self.holds and self.failure is None

    @property
    def is_urgent(self) -> bool:
        """Whether somebody may be waiting for what is to be written."""
        return bool(self.turns) or self.draft.is_urgent

    @property
    def has_unwritten(self) -> bool:
        """Whether anything is to be written, or being written."""
        return self.in_flight is not None or bool(self.turns) or bool(self.draft)

    def begin(self, agent: Agent, sequence: int, snapshot_at: int) -> None:
        """Takes over what is stored."""
        self.head = agent
        self.head_sequence = sequence
        self.snapshot_at = snapshot_at

    def add(self, turn: Decided) -> None:
        """Puts a turn behind those that wait to be written."""
        if turn.commit is not None:
            self.head = turn.after
            self.head_sequence = turn.sequence
        self.turns.append(turn)
        self.dirty()

    def dirty(self) -> None:
        """There may be something to be written."""
        self._server.journal.add(self._server)

    # Writing.

    def take(self, now: datetime) -> Write | None:
        """What is to be written now; None if nothing is, or may be."""
        server = self._server
        if self.in_flight is not None or self.failure is not None or server.fence is not None or not server.is_loaded:
            return None
        draft, turns = self.draft, self.turns
        if not draft and not turns:
            return None
        if self._solo:
            turns = turns[:1]
        self.draft = Draft()
        if draft.apart:
            if not draft.arrivals:
                draft.arrivals = [draft.apart.pop(0)]
                turns = []
            self.draft.apart, draft.apart = draft.apart, []
        self.in_flight = draft
        draft.turns = list(turns)
        commits = tuple([turn.commit for turn in turns if turn.commit is not None])
        snapshot = None
        if commits and commits[-1].sequence - self.snapshot_at >= server.policy.snapshot_every:
            last = turns[-1]  # one that is not written has the state of the one before
            snapshot = snapshot_of(last.after, commits[-1].sequence, last.now)
            draft.has_snapshot = True
        return Write(
            server.key,
            server.claim,
            now,
            commits,
            snapshot,
            tuple(draft.done),
            tuple([arrival.delivery.signal for arrival in draft.arrivals]),
            (*[turn.signal.id for turn in turns if turn.finished and turn.dead is None], *draft.finished),
            tuple(draft.postponed),
            tuple([turn.dead for turn in turns if turn.dead is not None]),
        )

    def written(self, outcome: Exception | None) -> None:
        """What the journal took was written, or was not."""
        draft = self.in_flight
        if draft is None:
            return
        if outcome is None:
            self.in_flight = None
            self._publish(draft)
        elif isinstance(outcome, Fenced):
            self._server.fenced(outcome)
        elif isinstance(outcome, StorageError) and not isinstance(outcome, CommitFailed | StorageUnavailable):
            self._refused(draft, outcome)
        else:
            # Nothing is handled until the storage has said what is so.
            is_known = isinstance(outcome, StorageError | AgentError)
            self.failure = outcome if is_known else CommitFailed(f"the storage has failed: {outcome!r}", in_doubt=True)
            self._server.journal.heal(self._server)

    def _publish(self, draft: Draft) -> None:
        """What was written counts from now on, and is seen."""
        server = self._server
        del self.turns[: len(draft.turns)]
        self._solo = max(0, self._solo - len(draft.turns))
        for turn in draft.turns:
            server.publish(turn)
        if draft.has_snapshot:
            self.snapshot_at = server.sequence
            server.journal.trim(server)
        for arrival in draft.arrivals:
            server.arrived(arrival)
        if not self.turns:
            self.holds = False
        server.has_published()
        self._go_on()

    def _go_on(self) -> None:
        if self.draft or self.turns:
            self.dirty()
        elif self.in_flight is None:
            self.settle()

    # Failing to write.

    def _undo(self, turns: list[Decided], error: Exception | None) -> None:
        """Takes back turns that are not written; their signals wait again, in their order.

        Args:
            turns: the turns.
            error: what those are told who wait for them; None if they are decided anew as well.
        """
        server = self._server
        self.head = server.agent
        self.head_sequence = server.sequence
        self.holds = False
        for turn in reversed(turns):
            delivery = turn.delivery
            if turn.signal.type == RESTORED:
                server.to_restore = {**turn.schedules, **server.to_restore}
            elif turn.signal.type == POLICY:
                continue
            elif delivery.deliveries >= 0:
                server.mail.put_first(delivery)
            elif error is not None or _is_answered(delivery):
                _tell(delivery, error or StorageUnavailable("the turn was taken back"))
            elif turn.signal.type.startswith("prunella."):
                server.put_control_first(delivery)
            else:
                if delivery.answer is not None:
                    delivery.answer.held = None
                server.mail.put_first(delivery)

    def _refused(self, draft: Draft, error: StorageError) -> None:
        """Something in it cannot be written: each turn is tried alone, and the one that cannot is refused."""
        self.in_flight = None
        turns = self.turns[:]
        self.turns.clear()
        if len(draft.turns) == 1 and not draft.arrivals:
            self._undo(turns[1:], None)
            self._refuse(draft.turns[0], error)
        elif draft.turns:
            self._solo = len(draft.turns)
            self._undo(turns, None)
        else:
            self._undo(turns, None)
            self._refuse_arrivals(draft, error)
        draft.turns = []
        self.draft.take_back(draft)
        self._again()

    def _refuse(self, turn: Decided, error: StorageError) -> None:
        """A turn that the storage will never take."""
        server, delivery = self._server, turn.delivery
        self._solo = 0
        if delivery.deliveries >= 0:
            server.mail.known.discard(turn.signal.id)
            self.draft.finished.append(turn.signal.id)
        if isinstance(error, Duplicate):
            server.runtime.reports.repeated(server, delivery.signal)
            if delivery.answer is not None:
                delivery.answer.give(server.agent)
            if delivery.ask is not None:
                server.journal.answer_again(server, delivery, error)
                delivery.ask.release()
        else:
            _tell(delivery, error)
            server.runtime.reports.error(server, error, delivery.signal)

    def _refuse_arrivals(self, draft: Draft, error: StorageError) -> None:
        """A signal that the storage will never take; each is tried alone."""
        arrivals, draft.arrivals = draft.arrivals, []
        if len(arrivals) > 1:
            self.draft.apart += arrivals
            return
        for arrival in arrivals:
            if arrival.ack is not None:
                arrival.ack.fail(error)
            _tell(arrival.delivery, error)
            self._server.runtime.reports.error(self._server, error, arrival.delivery.signal)

    def storage_is_down(self, error: StorageError) -> None:
        """What was written is not known, and cannot be read now: whoever waits is told."""
        failure = self.failure
        if self.down is not None or failure is None:
            return
        self.down = error
        told: Exception = failure if isinstance(failure, StorageError) else error
        for turn in self.turns:
            delivery = turn.delivery
            if delivery.deliveries < 0:
                if delivery.answer is not None:
                    delivery.answer.fail(told)
                if delivery.ask is not None:
                    delivery.ask.end(None, told)
        for arrival in (*(self.in_flight.arrivals if self.in_flight else ()), *self.draft.arrivals):
            if arrival.ack is not None:
                arrival.ack.fail(told)
        self._server.mail.drop_calls(error)

    def is_written(self, stored: StoredAgent | None) -> bool:
        """Whether what was to be written is among what is stored, if that can be seen."""
        draft = self.in_flight
        if draft is None or stored is None or stored.record.claim != self._server.claim:
            return False
        last = _last_of(draft)
        if last is not None:
            return stored.record.sequence == last
        waiting = {each.signal.id for each in stored.waiting}
        return bool(draft.arrivals) and all(each.delivery.signal.id in waiting for each in draft.arrivals)

    def reconcile(self, stored: StoredAgent | None) -> None:
        """The storage has said what is so; from there it goes on."""
        draft, error, server = self.in_flight, self.failure, self._server
        if error is None or draft is None:
            return
        if stored is None or stored.record.claim != server.claim:
            server.fenced(Fenced())
            return
        self.failure = self.down = self.in_flight = None
        last = _last_of(draft)
        if last is not None and stored.record.sequence == last:
            self._publish(draft)
        elif stored.record.sequence != server.sequence:
            server.fenced(Fenced())  # Somebody has written in its name.
            return
        else:
            self._take_back(draft, error, {each.signal.id for each in stored.waiting})
        coming = {arrival.delivery.signal.id for arrival in self.draft.arrivals}
        for each in stored.waiting:
            # Its sender was told that this is in doubt.
            if each.signal.id not in coming and each.signal.id not in self.draft.finished:
                server.take_mail(each.signal, each.deliveries)
        self._again()

    def _take_back(self, draft: Draft, error: Exception, waiting: set[str]) -> None:
        """What was to be written was not, unless it is among what waits in the storage."""
        turns = self.turns[:]
        self.turns.clear()
        self._undo(turns[len(draft.turns) :], None)
        self._undo(draft.turns, error)
        draft.turns = []
        for arrival in draft.arrivals[:]:
            if arrival.delivery.signal.id in waiting:
                draft.arrivals.remove(arrival)
                self._server.arrived(arrival)
            elif arrival.ack is not None:
                draft.arrivals.remove(arrival)
                arrival.ack.fail(error)
                _tell(arrival.delivery, error)
        self.draft.take_back(draft)

    def _again(self) -> None:
        self._server.goes_on()
        self._go_on()

    def abandon(self, error: Exception) -> None:
        """Nothing of it will ever be written. Who waits for that is told by `settle`, when all the rest is done."""
        turns = self.turns[:]
        self.turns.clear()
        drafts = [self.draft] if self.in_flight is None else [self.in_flight, self.draft]
        self.draft, self.in_flight, self.failure = Draft(), None, None
        for turn in turns:
            turn.delivery.drop(error)
        for draft in drafts:
            for arrival in (*draft.arrivals, *draft.apart):
                if arrival.ack is not None:
                    arrival.ack.fail(error)
                _tell(arrival.delivery, error)

    # Settling: at the end of a life all is written.

    def when_settled(self, callback: Callable[[], object]) -> None:
        """Calls back when nothing is left to be written."""
        self._on_settled.append(callback)
        self._server.journal.add(self._server, now=True)

    def settle(self) -> None:
        """Nothing is left to be written: whoever waits for that goes on."""
        settled, self._on_settled = self._on_settled, []
        for callback in settled:
            callback()

    def forget_settled(self, callback: Callable[[], object]) -> None:
        """It is not waited for any more."""
        if callback in self._on_settled:
            self._on_settled.remove(callback)


def has_gone(answer: Answer) -> None:
    """Marks the answer of a caller that was cancelled while it was waiting for a turn to be written."""


def _last_of(draft: Draft) -> int | None:
    """The last turn that was to be written, if there was one."""
    return max((turn.sequence for turn in draft.turns if turn.commit is not None), default=None)


def _is_answered(delivery: Delivery) -> bool:
    """Whether nobody waits for this turn any more."""
    answer, ask = delivery.answer, delivery.ask
    if answer is not None:
        return answer.given or answer.held is has_gone
    return ask is not None and ask.over


def _tell(delivery: Delivery, error: Exception) -> None:
    """Tells whoever waits for it that it is not handled."""
    if delivery.answer is not None:
        delivery.answer.fail(error)
    if delivery.ask is not None:
        delivery.ask.error = error
        delivery.ask.release()
