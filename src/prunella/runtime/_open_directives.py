"""What a durable agent has decided and not done, and what is done about it, life after life."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..agents import Cancel, Cron, Directive, Fail, Reply, Run, Schedule, Stop, directive_from_data
from ..signals import Signal
from ..storage import StoredDirective
from ..supervision import Normal, Shutdown
from ._delivery import Delivery, Settling
from ._derived import derived_id
from ._directives import begin_directive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._draft import Decided
    from ._durable_server import DurableServer
    from ._effect import Effect
    from ._life import AgentLife

__all__ = ["OpenDirectives"]

_INSTANT = (Reply, Fail, Schedule, Cron, Cancel)
"""Done with the turn itself: the callers of a process do not outlive it, and schedules are stored with the turn."""


class _Open:
    """A directive that is written and not done.

    Attributes:
        directive: what is to be done.
        delivery: of its turn.
        settling: who waits for all directives of that turn, if somebody does.
        index: its place in the turn.
        now: when the turn was taken.
        parts: how many effects of it are under way: a signal may have several receivers.
        kept: how many were cut off by the end of a life, and are still waited for.
        is_begun: whether all its parts have begun.
        is_again: whether it was begun before, in an earlier life or process.
        is_cut: whether one of them was cut off by the end of a life.
    """

    __slots__ = ("delivery", "directive", "index", "is_again", "is_begun", "is_cut", "kept", "now", "parts", "settling")

    def __init__(
        self, directive: Directive, delivery: Delivery, settling: Settling | None, index: int, now: datetime
    ) -> None:
        self.directive = directive
        self.delivery = delivery
        self.settling = settling
        self.index = index
        self.now = now
        self.parts = 0
        self.kept = 0
        self.is_begun = False
        self.is_again = False
        self.is_cut = False

    @property
    def place(self) -> tuple[int, int]:
        """The number of its turn, and its place there."""
        return self.delivery.sequence, self.index

    def is_work(self, key: str) -> bool:
        """Whether it is work that has a key."""
        return isinstance(self.directive, Run) and self.directive.key == key

    def let_go(self, error: Exception | None = None) -> None:
        """What was waited for and is not begun again is no longer waited for.

        Args:
            error: why it is not; None if it was called off.
        """
        while self.kept:
            self.kept -= 1
            if self.settling is not None:
                self.settling.end(self.directive, error)
            ask = self.delivery.ask
            if ask is not None:
                ask.error = error or ask.error
                ask.release()


class OpenDirectives:
    """Those of one agent, in the order in which they were asked for.

    A directive is open from the commit of its turn until it is marked as done. What a life leaves open, the next one
    begins again, under the same id.
    """

    __slots__ = ("_by_place", "_server")

    def __init__(self, server: DurableServer) -> None:
        self._server = server
        self._by_place: dict[tuple[int, int], _Open] = {}

    # What is stored.

    def restore(self, stored: Iterable[StoredDirective], restored: str) -> None:
        """Takes over what is open.

        Args:
            stored: the directives.
            restored: the type of a signal that stands for that of the turn, as long as this is not known.

        Raises:
            PrunellaError: one of them cannot be read.
        """
        for each in stored:
            delivery = Delivery(Signal(restored, {}, time=each.now))
            delivery.sequence = each.sequence
            entry = _Open(directive_from_data(each.directive), delivery, None, each.index, each.now)
            entry.is_again = True
            self._by_place[entry.place] = entry

    def causes(self) -> list[int]:
        """The turns that have asked for what is open."""
        return sorted({place[0] for place in self._by_place})

    def cause_found(self, sequence: int, signal: Signal) -> None:
        """The signal of such a turn is still kept."""
        for place, entry in self._by_place.items():
            if place[0] == sequence:
                entry.delivery.signal = signal

    def done_by(self, turn: Decided, ahead: Iterable[Decided]) -> tuple[str, ...]:
        """Which are done with a turn: its own that are carried out at once, and those that it calls off.

        Args:
            turn: the turn.
            ahead: those before it that are not written yet.
        """
        done = []
        for index, directive in enumerate(turn.directives):
            if isinstance(directive, _INSTANT):
                done.append(self._server.directive_id((turn.sequence, index)))
            if isinstance(directive, Cancel | Run | Schedule | Cron) and directive.key is not None:
                done += [self._server.directive_id(place) for place in self._work(directive.key, ahead)]
        return tuple(done)

    def _work(self, key: str, ahead: Iterable[Decided]) -> list[tuple[int, int]]:
        """The work under way, or decided, that has a key."""
        found = [place for place, entry in self._by_place.items() if entry.is_work(key)]
        for turn in ahead:
            found += [
                (turn.sequence, index)
                for index, directive in enumerate(turn.directives)
                if isinstance(directive, Run) and directive.key == key
            ]
        return found

    def derived_id(self, place: tuple[int, int], label: str) -> str | None:
        """The id of a signal that one of them sends."""
        entry = self._by_place.get(place)
        if entry is None:
            return None
        name = self._server.directive_id(place)
        return derived_id(entry.now, f"{name}/{label}" if label else name)

    # What is done.

    def begin_all(self) -> None:
        """Begins what is open and not under way, as soon as everybody to whom it may be sent is known."""
        life = self._server.life
        if life is not None and not life.is_ending and self._may_send():
            for entry in tuple(self._by_place.values()):
                if not entry.parts:
                    self._begin(entry, life)

    def _may_send(self) -> bool:
        durability = self._server.runtime.durability
        return durability is not None and durability.has_begun

    def give_up(self, error: Exception) -> None:
        """The agent has ended: who waits for something here is told, for it will come back without them."""
        for entry in self._by_place.values():
            entry.let_go(error)

    def begin_turn(self, turn: Decided, settling: Settling | None) -> None:
        """Begins what a turn has asked for; if there is no life now, the next one does."""
        life = self._server.life
        if life is None or life.ended:
            for index, directive in enumerate(turn.directives):
                self._add(index, directive, turn, settling, None)
        else:
            life.hands_over()
            for index, directive in enumerate(turn.directives):
                self._add(index, directive, turn, settling, life)
            life.has_handed_over()

    def _add(
        self, index: int, directive: Directive, turn: Decided, settling: Settling | None, life: AgentLife | None
    ) -> None:
        if isinstance(directive, Reply | Fail):
            whole: Any = life  # They need no life.
            begin_directive(self._server, whole, directive, turn.delivery, settling, index)
            return
        if isinstance(directive, Cancel):
            self._server.alarms.drop(directive.key)
        if isinstance(directive, Cancel | Run | Schedule | Cron) and directive.key is not None:
            self._cancel_work(directive.key)
        if isinstance(directive, Run) and directive.key is not None:
            self._server.alarms.drop(directive.key)
        if not isinstance(directive, _INSTANT):
            entry = _Open(directive, turn.delivery, settling, index, turn.now)
            self._by_place[entry.place] = entry
            if life is not None and self._may_send():
                self._begin(entry, life)

    def _begin(self, entry: _Open, life: AgentLife) -> None:
        server, directive = self._server, entry.directive
        if isinstance(directive, Stop):
            del self._by_place[entry.place]
            server.directive_done(entry.place)
            life.end_by_itself(Normal() if directive.reason is None else Shutdown(directive.reason))
            return
        entry.is_again = entry.is_again or entry.is_begun
        entry.is_begun = entry.is_cut = False
        life.hands_over()
        begin_directive(server, life, directive, entry.delivery, entry.settling, entry.index)
        life.has_handed_over()
        entry.is_begun = True
        entry.let_go()
        self._look_at(entry)

    def _cancel_work(self, key: str) -> None:
        for place, entry in tuple(self._by_place.items()):
            if entry.is_work(key):
                del self._by_place[place]  # It was marked with the turn that calls it off.
                entry.let_go()
        life = self._server.life
        item = None if life is None or life.keyed is None else life.keyed.pop(key, None)
        if item is not None:
            item.cancel()

    def _look_at(self, entry: _Open) -> None:
        if entry.is_begun and not (entry.parts or entry.is_cut) and self._by_place.pop(entry.place, None) is not None:
            self._server.directive_done(entry.place)

    # What its effects say.

    def is_begun_again(self, place: tuple[int, int]) -> bool:
        """See `AgentServer.is_begun_again`."""
        entry = self._by_place.get(place)
        return entry is not None and entry.is_again

    def effect_begins(self, effect: Effect) -> bool:
        """See `AgentServer.effect_begins`."""
        entry = self._by_place.get(effect.place)
        if entry is None:
            return False
        entry.parts += 1
        if not entry.kept:
            return False
        entry.kept -= 1
        return True

    def effect_ends(self, effect: Effect) -> None:
        """It has been done, or has failed, or was called off."""
        entry = self._by_place.get(effect.place)
        if entry is not None:
            entry.parts -= 1
            self._look_at(entry)

    def effect_stays_open(self, effect: Effect) -> None:
        """It was cut off by the end of a life."""
        entry = self._by_place.get(effect.place)
        if entry is not None:
            entry.parts -= 1
            entry.is_cut = True
            entry.kept += effect.is_waited_for
