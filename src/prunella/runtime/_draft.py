"""What a durable agent has decided and not yet written, and what it has written and not yet done."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ..conversion import Map
from ..storage import Commit, DeadLetter, ScheduleRecord

if TYPE_CHECKING:
    from ..agents import Address, Agent, Context, Directive
    from ..signals import Signal
    from ._delivery import Answer, Delivery
    from ._reports import TurnSpan

__all__ = ["Arrival", "Decided", "Draft"]

_NOTHING: Final[Mapping[str, Any]] = Map()


class Decided:
    """A turn that is decided, and counts when it is written. It has all that a `Turn` has, and who waits for it.

    Attributes:
        delivery: what brought the signal.
        sequence, signal, now, seed, parent, children, outcome, changes, directives: as of `Turn`.
        after: the agent after it.
        error: why it was refused, or crashed.
        context: what its handlers could know, if one of them asked.
        span: that of its event, if anybody hears of it.
        commit: what is written; None of a refusal that is no handler's decision.
        schedules: what of the agent's schedules changes.
        done: ids of directives that are done with this turn.
        finished: whether the signal was stored, and is done with.
        dead: the letter, if the signal was put aside.
    """

    __slots__ = (
        "after", "before", "changes", "children", "commit", "context", "dead", "delivery", "directives", "done",
        "error", "finished", "now", "outcome", "parent", "schedules", "seed", "sequence", "signal", "span",
    )  # fmt: skip

    def __init__(self, delivery: Delivery, signal: Signal, before: Agent, sequence: int, now: datetime) -> None:
        self.delivery = delivery
        self.signal = signal
        self.before = before
        self.after = before
        self.sequence = sequence
        self.now = now
        self.seed = 0
        self.parent: Address | None = None
        self.children: Mapping[str, Address] = _NOTHING
        self.outcome = "committed"
        self.changes: Mapping[str, Any] = _NOTHING
        self.directives: tuple[Directive, ...] = ()
        self.error: Any = None
        self.context: Context | None = None
        self.span: TurnSpan | None = None
        self.commit: Commit | None = None
        self.schedules: Mapping[str, ScheduleRecord | None] = _NOTHING
        self.done: tuple[str, ...] = ()
        self.finished = delivery.deliveries >= 0
        self.dead: DeadLetter | None = None


class Arrival:
    """A signal on its way into the storage.

    Attributes:
        delivery: the signal.
        is_own: whether it is the agent's own: a result, a tick, an emit to itself.
        ack: whoever waits for it to be stored, if somebody does.
    """

    __slots__ = ("ack", "delivery", "is_own")

    def __init__(self, delivery: Delivery, ack: Answer | None, *, is_own: bool) -> None:
        self.delivery = delivery
        self.ack = ack
        self.is_own = is_own


class Draft:
    """What is to be written of an agent at once, beside its turns.

    Attributes:
        turns: those that go with it, when it is being written.
        arrivals: signals for its mailbox.
        apart: those that are tried one at a time, since one of them cannot be written.
        done: ids of directives that are done.
        finished: ids of stored signals that are done with, of turns that are not written.
        postponed: ids of stored signals that crashed.
        has_snapshot: whether a snapshot goes with it.
    """

    __slots__ = ("apart", "arrivals", "done", "finished", "has_snapshot", "postponed", "turns")

    def __init__(self) -> None:
        self.turns: list[Decided] = []
        self.arrivals: list[Arrival] = []
        self.apart: list[Arrival] = []
        self.done: list[str] = []
        self.finished: list[str] = []
        self.postponed: list[str] = []
        self.has_snapshot = False

    @property
    def is_urgent(self) -> bool:
        """Whether somebody may be waiting for it; marks of what is done may wait for others."""
        return bool(self.arrivals or self.apart or self.finished or self.postponed)

    def __bool__(self) -> bool:
        return bool(self.is_urgent or self.done)

    def take_back(self, earlier: Draft) -> None:
        """What was to be written before this was not, and is to be written with this."""
        self.arrivals[:0] = earlier.arrivals
        self.apart[:0] = earlier.apart
        self.done[:0] = earlier.done
        self.finished[:0] = earlier.finished
        self.postponed[:0] = earlier.postponed
