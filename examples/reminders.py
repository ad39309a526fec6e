"""Reminders: once, after a while, and every working day at nine by the clock on the wall in Oslo.

    python examples/reminders.py

A week passes in no time, for the example runs on a clock that jumps. Leave `clock=` away, and it takes a week.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Self
from zoneinfo import ZoneInfo

import trio
from trio.testing import MockClock

from prunella import Agent, Cancel, Context, Cron, Emit, Map, Rejected, Schedule, on
from prunella.runtime import AgentSpec, open_runtime

EVERY_MORNING = Cron("0 9 * * MON-FRI", "morning", key="morning", timezone="Europe/Oslo")


class Reminders(Agent, name="reminders", schedules=(EVERY_MORNING,)):
    """Reminds of things, and says every morning what is still to come."""

    due: Map[str, datetime] = Map()

    @on("remind")
    def remind(self, text: str, seconds: float, context: Context):
        """Remind of something; of something that is known already, at another time."""
        if seconds <= 0:
            raise Rejected("that is over already", seconds=seconds)
        when = context.now + timedelta(seconds=seconds)
        # The key names the schedule: a second one takes the place of the first, and `Cancel` finds it.
        return self.set(due=self.due.set(text, when)), Schedule(seconds, "is.due", {"text": text}, key=text)

    @on("forget")
    def forget(self, text: str):
        return self.without(text), Cancel(text)

    @on("is.due")
    def is_due(self, text: str):
        return self.without(text), Emit("reminder", {"text": text})

    @on("morning")
    def morning(self, scheduled_for: datetime):
        return Emit("agenda", {"at": scheduled_for.isoformat(), "open": sorted(self.due)})

    @on("prunella.started")
    def started(self, context: Context):
        """After a crash its state is there again, but not what it had scheduled: that goes with the life that did."""
        delays = {text: max(0.0, (when - context.now).total_seconds()) for text, when in self.due.items()}
        return self, *(Schedule(delay, "is.due", {"text": text}, key=text) for text, delay in delays.items())

    def without(self, text: str) -> Self:
        return self.set(due=self.due.delete(text)) if text in self.due else self


SATURDAY = datetime(2030, 3, 30, 12, tzinfo=UTC)  # the night after, clocks in Oslo are set forward
DAY = 24 * 3600


async def main() -> None:
    spec = AgentSpec(Reminders, restore="last")
    async with open_runtime(spec, epoch=SATURDAY) as runtime, runtime.subscribe("*") as heard:
        reminders = runtime.ref("reminders", Reminders)
        await reminders.call("remind", text="water the plants", seconds=2.5 * DAY)
        await reminders.call("remind", text="call the bank", seconds=3 * DAY)
        await reminders.call("remind", text="pay the rent", seconds=4 * DAY)
        await reminders.call("forget", text="call the bank")
        with trio.move_on_after(7 * DAY):
            async for signal in heard:
                moment = signal.time.astimezone(ZoneInfo("Europe/Oslo"))
                print(f"{moment:%a %H:%M} {signal.type}: {dict(signal.data)}")


if __name__ == "__main__":
    trio.run(main, clock=MockClock(autojump_threshold=0))
