"""Schedules and cron jobs of a durable agent: they are stored, and outlive crashes, restarts and sleep."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from ..agents import Cancel, Cron, Directive, Schedule, directive_from_data, directive_to_data
from ..storage import ScheduleRecord
from ._delivery import Delivery, OpenAsk
from ._derived import derived_id
from ._schedules import ScheduleInfo, latest_ticks, next_tick, sent_ticks

if TYPE_CHECKING:
    from ..signals import Signal
    from ..supervision._service import Timer
    from ._durable_server import DurableServer

__all__ = ["Alarm", "Alarms"]

_SECONDS_BETWEEN_LOOKS = 60.0
_ROUNDING = timedelta(milliseconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


class Alarm:
    """One schedule or cron job.

    Attributes:
        record: as it is stored.
        directive: what it is.
        cause: the signal of the turn that asked for it, in the process in which it did.
        next: when it is due after the last tick that was sent.
        is_spent: whether its only signal is on its way.
    """

    __slots__ = ("ask", "cause", "directive", "is_spent", "next", "record", "timer")

    def __init__(
        self,
        record: ScheduleRecord,
        directive: Schedule | Cron,
        cause: Signal | None = None,
        ask: OpenAsk | None = None,
    ) -> None:
        self.record = record
        self.directive = directive
        self.cause = cause
        self.ask = ask
        self.next = record.due
        self.is_spent = False
        self.timer: Timer | None = None
        if ask is not None:
            ask.hold()

    def let_go(self) -> None:
        """No ask waits for it any more."""
        ask, self.ask = self.ask, None
        if ask is not None:
            ask.release()


class Alarms:
    """Those of one agent, by key. What has no key is called by the id of its directive.

    A tick is a signal that is stored; the turn that handles it takes note of the next in the same commit. So a tick
    is handled once, whatever dies in between.
    """

    __slots__ = ("_by_key", "_by_tick", "_overdue", "_server")

    def __init__(self, server: DurableServer) -> None:
        self._server = server
        self._by_key: dict[str, Alarm] = {}
        self._by_tick: dict[str, Alarm] = {}
        self._overdue: list[Alarm] = []

    def __bool__(self) -> bool:
        return bool(self._by_key)

    def __contains__(self, key: str) -> bool:
        return key in self._by_key

    # What a turn changes.

    def changes(
        self,
        signal: Signal,
        directives: tuple[Directive, ...],
        sequence: int,
        now: datetime,
        ahead: Collection[str],
    ) -> dict[str, ScheduleRecord | None]:
        """What a turn changes of them: what its signal leaves behind, and what its directives ask for.

        Args:
            signal: what it handles.
            directives: what it asks for.
            sequence: its number.
            now: its time.
            ahead: the keys that turns before it change, which are not written yet.
        """
        changes: dict[str, ScheduleRecord | None] = {}
        ticked = self._by_tick.get(signal.id) if self._by_tick else None
        if ticked is not None and self._by_key.get(ticked.record.key) is ticked and ticked.record.key not in ahead:
            key = ticked.record.key
            changes[key] = None if ticked.is_spent else attrs.evolve(ticked.record, due=ticked.next)
        for index, directive in enumerate(directives):
            if isinstance(directive, Schedule | Cron):
                id = self._server.directive_id((sequence, index))
                key = directive.key or id
                due = _first(directive, now)
                changes[key] = None if due is _NEVER else ScheduleRecord(key, due, directive_to_data(directive), id)
            elif isinstance(directive, Cancel) and (
                directive.key in self._by_key or directive.key in changes or directive.key in ahead
            ):
                changes[directive.key] = None
        return changes

    def apply(
        self,
        changes: Mapping[str, ScheduleRecord | None],
        signal: Signal,
        directives: tuple[Directive, ...],
        ask: OpenAsk | None,
        tick_key: str | None,
    ) -> None:
        """Does what a turn has changed: it is written.

        Args:
            changes: what `changes` gave.
            signal, directives: of the turn.
            ask: the ask that the turn belongs to.
            tick_key: the key of the schedule that brought the signal.
        """
        ticked = self._by_tick.pop(signal.id, None) if self._by_tick else None
        asked_for = {directive.key: directive for directive in directives if isinstance(directive, Schedule | Cron)}
        for key, record in changes.items():
            before = self._by_key.get(key)
            if record is None:
                self.drop(key)
            elif before is not None and before is ticked and record.id == before.record.id:
                before.record = record  # it goes on
            else:
                self.drop(key)
                directive: Any = asked_for.get(key) or directive_from_data(record.directive)
                # One that arms itself again under its own key is no part of what caused the first; nor is a cron job.
                own = isinstance(directive, Cron) or (directive.key is not None and directive.key == tick_key)
                self._set(Alarm(record, directive, signal, None if own else ask))

    def drop(self, key: str) -> None:
        """Calls one off, if there is one."""
        alarm = self._by_key.pop(key, None)
        if alarm is not None:
            self._disarm(alarm)
            alarm.let_go()

    # Its life.

    def restore(self, records: Iterable[ScheduleRecord], waiting: Iterable[Signal]) -> dict[str, ScheduleRecord | None]:
        """Sets what is stored, and what the class declares.

        Args:
            records: what is stored.
            waiting: signals that are stored; ticks among them are not sent again.

        Returns:
            What has to be written of it.

        Raises:
            PrunellaError: one of them cannot be read.
        """
        ids = {signal.id for signal in waiting}
        declared: dict[str, Any] = {str(each.key): each for each in self._declared()}
        changes: dict[str, ScheduleRecord | None] = {}
        now = self._server.runtime.clock.wall_now()
        for record in records:
            directive = directive_from_data(record.directive)
            assert isinstance(directive, Schedule | Cron)
            if not record.id:
                wanted = declared.get(record.key)
                if wanted is None:
                    changes[record.key] = None
                    continue
                if isinstance(directive, Cron) and wanted == directive:
                    del declared[record.key]  # it goes on, with the ticks that were missed
                else:
                    if wanted == directive and record.due <= now:
                        self._overdue.append(Alarm(record, directive))
                    continue
            alarm = Alarm(record, directive)
            tick = self._tick_id(alarm, record.due)
            if tick in ids:
                self._by_tick[tick] = alarm
                if isinstance(directive, Schedule):
                    alarm.is_spent = True
                else:
                    alarm.next = next_tick(directive, record.due)
            self._by_key[record.key] = alarm
        for key, directive in declared.items():
            due = _first(directive, now)
            record = ScheduleRecord(key, due, directive_to_data(directive))
            changes[key] = record
            self._by_key[key] = Alarm(record, directive)
        return changes

    def declared_again(self) -> dict[str, ScheduleRecord | None]:
        """A life begins after another: what the class declares to come once comes again.

        Returns:
            What has to be written of it.
        """
        changes: dict[str, ScheduleRecord | None] = {}
        now = self._server.runtime.clock.wall_now()
        for directive in self._declared():
            if isinstance(directive, Schedule) and directive.key is not None:
                changes[directive.key] = ScheduleRecord(
                    directive.key, _first(directive, now), directive_to_data(directive)
                )
        return changes

    def _declared(self) -> tuple[Any, ...]:
        return self._server.definition.schedules

    def arm(self) -> None:
        """Sets all timers."""
        overdue, self._overdue = self._overdue, []
        for alarm in overdue:
            self._send(alarm, alarm.next, None)
        for alarm in tuple(self._by_key.values()):
            if alarm.timer is None and not alarm.is_spent:
                self._arm(alarm)

    def disarm(self) -> None:
        """Stops all timers: the agent leaves memory, or has ended."""
        for alarm in self._by_key.values():
            self._disarm(alarm)
            alarm.let_go()

    def infos(self) -> tuple[ScheduleInfo, ...]:
        """A picture of what is armed, by time."""
        found = [
            ScheduleInfo(
                alarm.directive.key,
                alarm.directive.type,
                alarm.next,
                alarm.directive.expression if isinstance(alarm.directive, Cron) else None,
            )
            for alarm in self._by_key.values()
            if not alarm.is_spent
        ]
        return tuple(sorted(found, key=lambda info: info.due))

    def hold_ask(self) -> bool:
        """Whether somebody waits for a reply that one of them is to bring."""
        return any(alarm.ask is not None and not alarm.ask.over for alarm in self._by_key.values())

    def next_due(self) -> datetime | None:
        """When the first of them is due."""
        return min((alarm.next for alarm in self._by_key.values() if not alarm.is_spent), default=None)

    # Timers.

    def _set(self, alarm: Alarm) -> None:
        self._by_key[alarm.record.key] = alarm
        self._arm(alarm)

    def _arm(self, alarm: Alarm) -> None:
        if alarm.next >= _NEVER:
            return
        runtime = self._server.runtime
        delay = max(0.0, (alarm.next - runtime.clock.wall_now()).total_seconds())
        if runtime.clock.follows:
            delay = min(delay, _SECONDS_BETWEEN_LOOKS)  # the wall clock may be set meanwhile
        alarm.timer = runtime.service.call_at(runtime.clock.now() + delay, lambda: self._look(alarm))

    def _disarm(self, alarm: Alarm) -> None:
        if alarm.timer is not None:
            self._server.runtime.service.cancel(alarm.timer)
            alarm.timer = None

    def _look(self, alarm: Alarm) -> None:
        """It may be due."""
        alarm.timer = None
        now = self._server.runtime.clock.wall_now()
        if now < alarm.next - _ROUNDING:
            self._arm(alarm)
        elif isinstance(alarm.directive, Schedule):
            alarm.is_spent = True
            self._send(alarm, alarm.next, None)
            alarm.let_go()
        else:
            due = latest_ticks(alarm.directive, alarm.next, now)
            ticks = sent_ticks(alarm.directive.misfire, due, now)
            alarm.next = next_tick(alarm.directive, max(due[-1], now))
            for tick in ticks:
                if self._server.waiting < self._server.spec.mailbox:
                    self._send(alarm, tick, tick)
            self._arm(alarm)

    def _send(self, alarm: Alarm, due: datetime, scheduled_for: datetime | None) -> None:
        server = self._server
        id = self._tick_id(alarm, due)
        signal = server.runtime.signals.scheduled(alarm.directive, server, alarm.cause, scheduled_for, id)
        self._by_tick[id] = alarm
        key = alarm.directive.key if isinstance(alarm.directive, Schedule) else None
        server.put(Delivery(signal, ask=alarm.ask, key=key))

    def _tick_id(self, alarm: Alarm, due: datetime) -> str:
        record, directive = alarm.record, alarm.directive
        if record.id and isinstance(directive, Schedule):
            return derived_id(due - timedelta(seconds=directive.delay), record.id)
        return derived_id(due, f"{record.id or f'{self._server.key}/{record.key}'}/{due.isoformat()}")


def _first(directive: Any, now: datetime) -> datetime:
    if isinstance(directive, Cron):
        return next_tick(directive, now)
    try:
        return now + timedelta(seconds=directive.delay)
    except OverflowError:
        return _NEVER
