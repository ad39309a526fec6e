"""Signals that come later, and again and again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from ..agents import Cron, Schedule
from ..signals import Signal
from ._delivery import Delivery, OpenAsk

if TYPE_CHECKING:
    from ..supervision._service import Timer
    from ._life import AgentLife
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Armed", "ScheduleInfo", "Schedules"]


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

    __slots__ = ("_ask", "_cause", "_life", "_schedules", "_server", "_timer", "directive", "due", "key")

    def __init__(
        self,
        schedules: Schedules,
        server: AgentServer,
        life: AgentLife,
        directive: Schedule | Cron,
        cause: Signal | None,
        ask: OpenAsk | None,
    ) -> None:
        self._schedules = schedules
        self._server = server
        self._life = life
        self._cause = cause
        self._ask = ask
        self._timer: Timer | None = None
        self.directive = directive
        # Without a key it cannot be cancelled, but it still ends with its life.
        self.key: Any = directive.key if directive.key is not None else self
        self.due = schedules.runtime.wall_now()
        if ask is not None:
            ask.hold()

    def arm(self) -> None:
        """Arms it for its next time."""
        runtime = self._schedules.runtime
        if isinstance(self.directive, Schedule):
            delay = self.directive.delay
            self.due = runtime.wall_now() + timedelta(seconds=delay)
        else:
            self.due = self.directive.next_after(self.due)
            delay = max(0.0, (self.due - runtime.wall_now()).total_seconds())
        self._timer = runtime.service.call_at(runtime.now() + delay, self._fire)

    def cancel(self, reason: Any = None) -> None:
        """Calls it off."""
        if self._timer is not None:
            self._schedules.runtime.service.cancel(self._timer)
            self._timer = None
        self._let_go()

    def info(self) -> ScheduleInfo:
        """A picture of it."""
        directive = self.directive
        expression = directive.expression if isinstance(directive, Cron) else None
        return ScheduleInfo(directive.key, directive.type, self.due, expression)

    def _fire(self) -> None:
        self._timer = None
        keyed = self._life.keyed
        if isinstance(self.directive, Schedule):
            if keyed is not None and keyed.get(self.key) is self:
                del keyed[self.key]
            self._send({})
            self._let_go()
        else:
            self._fire_cron(self.directive)

    def _fire_cron(self, cron: Cron) -> None:
        """One tick, or what the misfire policy makes of several that are due at once."""
        now = self._schedules.runtime.wall_now()
        due = [self.due]
        while len(due) < _MOST_MISFIRES + 1:
            following = cron.next_after(due[-1])
            if following > now:
                break
            due.append(following)
        if cron.misfire == "all":
            ticks = due[-_MOST_MISFIRES:]
        elif cron.misfire == "skip":
            ticks = due[-1:] if len(due) == 1 else []
        else:
            ticks = due[-1:]
        for tick in ticks:
            self._send({"scheduled_for": tick.isoformat()})
        self.due = max(due[-1], now) if len(due) > _MOST_MISFIRES else due[-1]
        self.arm()

    def _send(self, extra: dict[str, Any]) -> None:
        directive = self.directive
        data = directive.data
        if extra:
            data = {**data, **extra} if isinstance(data, dict) or hasattr(data, "items") else extra
        signal = self._schedules.runtime.scheduled(directive, data, self._server, self._cause)
        key = directive.key if isinstance(directive, Schedule) else None
        self._server.put(Delivery(signal, ask=self._ask, key=key))

    def _let_go(self) -> None:
        ask, self._ask = self._ask, None
        if ask is not None:
            ask.release()


_MOST_MISFIRES = 100


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
        self._keep(Armed(self, server, life, directive, cause, ask), life)

    def arm_cron(self, server: AgentServer, life: AgentLife, directive: Cron) -> None:
        """Arms a signal that comes again and again; it begins a chain of its own."""
        self._keep(Armed(self, server, life, directive, None, None), life)

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

    def _keep(self, armed: Armed, life: AgentLife) -> None:
        from ._effects import keep

        keep(life, armed.key, armed)
        armed.arm()
