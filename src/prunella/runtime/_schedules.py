"""Signals that come later, and again and again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from ..agents import AgentCrashed, AgentStopped, Cron, Schedule
from ..signals import Signal
from ..supervision import Crashed, ExitReason
from ._delivery import Delivery, OpenAsk

if TYPE_CHECKING:
    from ..supervision._service import Timer
    from ._life import AgentLife
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Armed", "ScheduleInfo", "Schedules", "latest_ticks", "next_tick", "sent_ticks"]


@attrs.frozen
class ScheduleInfo:
    """A schedule or cron job that is armed.

    Attributes:
        key: by which it can be cancelled; None if it has none.
        type: of the signal that will come.
        due: when it comes next.
        expression: of a cron job; None for a schedule.
    """

    key: str | None
    type: str
    due: datetime
    expression: str | None


class Armed:
    """A schedule or cron job of one life of an agent."""

    __slots__ = ("_ask", "_cause", "_life", "_runtime", "_server", "_timer", "directive", "due", "key")

    def __init__(
        self,
        runtime: Runtime,
        server: AgentServer,
        life: AgentLife,
        directive: Schedule | Cron,
        cause: Signal | None,
        ask: OpenAsk | None,
    ) -> None:
        self._runtime = runtime
        self._server = server
        self._life = life
        self._cause = cause
        self._ask = ask
        self._timer: Timer | None = None
        self.directive = directive
        # Without a key it cannot be cancelled, but it still ends with its life.
        self.key: Any = directive.key if directive.key is not None else self
        self.due = runtime.clock.wall_now()
        if ask is not None:
            ask.hold()

    def arm(self) -> None:
        """Arms it for its next time."""
        if isinstance(self.directive, Schedule):
            delay = self.directive.delay
            try:
                self.due += timedelta(seconds=delay)
            except OverflowError:
                self.due = _NEVER
            self._timer = self._runtime.service.call_at(self._runtime.clock.now() + delay, self._fire)
        else:
            self.due = next_tick(self.directive, self.due)
            if self.due is _NEVER:
                self._forget()
            else:
                self._sleep()

    def _sleep(self) -> None:
        """Sets the timer of a cron job, which is meant by the wall clock."""
        clock = self._runtime.clock
        delay = max(0.0, (self.due - clock.wall_now()).total_seconds())
        if clock.follows:
            delay = min(delay, _SECONDS_BETWEEN_LOOKS)  # the wall clock may be set meanwhile
        self._timer = self._runtime.service.call_at(clock.now() + delay, self._fire)

    def cancel(self, reason: ExitReason | None = None) -> None:
        """Calls it off.

        Args:
            reason: how its life ends, if that is why.
        """
        if self._timer is not None:
            self._runtime.service.cancel(self._timer)
            self._timer = None
        if self._ask is not None and reason is not None:
            # Whoever waits for what it would have brought hears why it does not come.
            error = AgentCrashed(reason) if isinstance(reason, Crashed) else AgentStopped(reason)
            self._ask.error = self._server.about(error)
        self._let_go()

    def info(self) -> ScheduleInfo:
        """A picture of it."""
        directive = self.directive
        expression = directive.expression if isinstance(directive, Cron) else None
        return ScheduleInfo(directive.key, directive.type, self.due, expression)

    @property
    def holds_ask(self) -> bool:
        """Whether somebody waits for a reply that it is to bring."""
        return self._ask is not None and not self._ask.over

    def _fire(self) -> None:
        self._timer = None
        if isinstance(self.directive, Schedule):
            self._forget()
            self._send(None)
            self._let_go()
        else:
            self._fire_cron(self.directive)

    def _forget(self) -> None:
        keyed = self._life.keyed
        if keyed is not None and keyed.get(self.key) is self:
            del keyed[self.key]

    def _fire_cron(self, cron: Cron) -> None:
        """One tick, or what the misfire policy makes of several that are due at once."""
        now = self._runtime.clock.wall_now()
        if now < self.due - _ROUNDING:  # the wall clock was set back, or it was only a look
            self._sleep()
            return
        due = latest_ticks(cron, self.due, now)
        for tick in sent_ticks(cron.misfire, due, now):
            if self._server.waiting < self._server.spec.mailbox:
                self._send(tick)
            # Else nobody has had time for the ticks before: this one is missed, the next will tell.
        self.due = max(due[-1], now)
        self.arm()

    def _send(self, due: datetime | None) -> None:
        directive = self.directive
        signal = self._runtime.signals.scheduled(directive, self._server, self._cause, due)
        key = directive.key if isinstance(directive, Schedule) else None
        self._server.put(Delivery(signal, ask=self._ask, key=key))

    def _let_go(self) -> None:
        ask, self._ask = self._ask, None
        if ask is not None:
            ask.release()


_MOST_MISFIRES = 100
_SECONDS_BETWEEN_LOOKS = 60.0
_ROUNDING = timedelta(milliseconds=1)
_ON_TIME = timedelta(seconds=1)
_NEVER = datetime.max.replace(tzinfo=UTC)


def next_tick(cron: Cron, moment: datetime) -> datetime:
    """When a job is due after a moment; the calendar has an end."""
    try:
        return cron.next_after(moment)
    except OverflowError:
        return _NEVER


def sent_ticks(misfire: str, due: list[datetime], now: datetime) -> list[datetime]:
    """Which of the ticks that are due are sent. All but the last were missed; so was that, if it is late as well."""
    if misfire == "all" or len(due) == 1:
        return due
    if misfire == "skip":
        return [tick for tick in due[-1:] if now - tick < _ON_TIME]
    return due[-1:]


def latest_ticks(cron: Cron, first: datetime, now: datetime) -> list[datetime]:
    """The last hundred of the ticks that are due, from `first` on.

    There may be thousands when the clock jumps; so the search begins near the end, and goes back in growing steps.
    """
    back = timedelta(minutes=1)
    while True:
        from_the_first = now - first <= back
        found = [first] if from_the_first else []
        since = first if from_the_first else now - back
        while (tick := next_tick(cron, since)) <= now:
            found.append(tick)
            since = tick
        if from_the_first or len(found) >= _MOST_MISFIRES:
            return found[-_MOST_MISFIRES:]
        back *= 4


class Schedules:
    """Arms schedules and cron jobs; each hangs on the life that made it, under its key."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    def arm(
        self,
        server: AgentServer,
        life: AgentLife,
        directive: Schedule,
        cause: Signal | None,
        ask: OpenAsk | None,
    ) -> None:
        """Arms a signal that comes once."""
        self._keep(Armed(self.runtime, server, life, directive, cause, ask), life)

    def arm_cron(self, server: AgentServer, life: AgentLife, directive: Cron) -> None:
        """Arms a signal that comes again and again; it begins a chain of its own."""
        self._keep(Armed(self.runtime, server, life, directive, None, None), life)

    def arm_declared(self, server: AgentServer, life: AgentLife) -> None:
        """Arms what the class declares."""
        for directive in server.definition.schedules:
            if isinstance(directive, Cron):
                self.arm_cron(server, life, directive)
            else:
                self.arm(server, life, directive, None, None)

    def of(self, life: AgentLife | None) -> tuple[ScheduleInfo, ...]:
        """What is armed for a life, by time."""
        items = () if life is None or life.keyed is None else tuple(life.keyed.values())
        armed = [item.info() for item in items if isinstance(item, Armed)]
        return tuple(sorted(armed, key=lambda info: info.due))

    def hold_ask(self, life: AgentLife | None) -> bool:
        """Whether somebody waits for a reply that one of a life is to bring."""
        items = () if life is None or life.keyed is None else life.keyed.values()
        return any(isinstance(item, Armed) and item.holds_ask for item in items)

    def _keep(self, armed: Armed, life: AgentLife) -> None:
        from ._lanes import keep

        keep(life, armed.key, armed)
        armed.arm()
