"""What is kept of the past."""

from __future__ import annotations

from typing import Final

from ...storage import (
    AgentKey,
    DeadLetter,
    HistoryGone,
    ScheduleRecord,
    Snapshot,
    opened,
)
from ._terms import (
    KEY,
    NOW,
    Check,
    Factory,
    a_signal,
    a_turn,
    claim_agent,
    expect,
    expect_raised,
    in_seconds,
    waiting_of,
    write_agent,
)

__all__ = ["CHECKS"]


async def a_restore_begins_with_the_newest_snapshot(factory: Factory) -> None:
    """And has the turns after it; older ones are found by turn and by time."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        first = Snapshot(0, NOW, 1, {"a": 0})
        second = Snapshot(2, in_seconds(2), 1, {"a": 2, "deep": [{"b": None}]})
        await write_agent(storage, commits=(a_turn(1),), snapshot=first)
        await write_agent(storage, commits=(a_turn(2), a_turn(3)), snapshot=second)
        stored = await storage.load(KEY)
        assert stored is not None
        expect("loaded", (stored.snapshot, stored.commits), (second, (a_turn(3),)))
        expect(
            "by turn", [await storage.snapshot(KEY, until=turn) for turn in (0, 1, 2, 9)], [first, first] + [second] * 2
        )
        times = [await storage.snapshot(KEY, until=in_seconds(seconds)) for seconds in (-1, 0, 1.9, 2, 5)]
        expect("by time", times, [None, first, first, second, second])
        better = Snapshot(2, in_seconds(2), 2, {"a": "two"})
        await write_agent(storage, snapshot=better)
        expect("replaced", await storage.snapshot(KEY), better)


async def retention_keeps_what_a_restore_needs(factory: Factory) -> None:
    """Turns go up to a snapshot; signals, directives, schedules, and the last sequence stay."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        schedule = ScheduleRecord("k", NOW, {"b": 1})
        turn = a_turn(1, directives=({"a": 1},), schedules={"k": schedule})
        await write_agent(storage, commits=(turn, a_turn(2), a_turn(3), a_turn(4)), enqueued=(a_signal("w"),))
        expect("without a snapshot", await storage.trim(KEY, keep=1), 0)
        await write_agent(storage, commits=(a_turn(5),), snapshot=Snapshot(2, in_seconds(2), 1, {"last": 2}))
        await write_agent(storage, commits=(a_turn(6),), snapshot=Snapshot(4, in_seconds(4), 1, {"last": 4}))
        expect("young enough", await storage.trim(KEY, before=in_seconds(2), keep=100), 0)
        expect("gone", await storage.trim(KEY, before=in_seconds(4)), 2)
        async with expect_raised("commits", HistoryGone):
            await storage.commits(KEY)
        try:
            await storage.commits(KEY, after=1)
        except HistoryGone as gone:
            expect("the oldest", gone.oldest, 2)
        expect("what stays", await storage.commits(KEY, after=2), (a_turn(3), a_turn(4), a_turn(5), a_turn(6)))
        expect("gone too", await storage.trim(KEY, keep=1), 2)
        stored = await storage.load(KEY)
        assert stored is not None
        expect(
            "loaded",
            (stored.snapshot, stored.commits),
            (Snapshot(4, in_seconds(4), 1, {"last": 4}), (a_turn(5), a_turn(6))),
        )
        expect("directives", len(stored.directives), 1)
        expect("schedules", stored.schedules, (schedule,))
        expect("waiting", await waiting_of(storage), [("w", 0)])
        await write_agent(storage, snapshot=Snapshot(6, in_seconds(6), 1, {"last": 6}))
        expect("all", await storage.trim(KEY, keep=0), 2)
        record = await storage.find(KEY)
        expect("the last sequence", record and record.sequence, 6)
        expect("still a duplicate", await storage.enqueue(KEY, a_signal("s1"), now=NOW), (False,))
        await storage.trim(KEY, handled_before=in_seconds(2))
        expect("forgotten", await storage.handled(KEY, "s1"), None)
        expect("remembered", (await storage.handled(KEY, "s2")) is not None, True)
        await write_agent(storage, commits=(a_turn(7),))
        letter = DeadLetter(a_signal("dead"), "why", 2, NOW)
        await write_agent(storage, commits=(a_turn(8, id="dead", outcome="dead"),), dead=(letter,))
        await write_agent(storage, snapshot=Snapshot(8, in_seconds(8), 1, {"last": 7}))
        expect("all again", await storage.trim(KEY, keep=0), 2)
        record = await storage.find(KEY)
        expect("the last sequence, of which no signal is remembered", record and record.sequence, 8)
        await write_agent(storage, commits=(a_turn(9),))
        expect("of nobody", await storage.trim(AgentKey("r", None, "nobody"), keep=0), 0)


CHECKS: Final[tuple[Check, ...]] = (
    a_restore_begins_with_the_newest_snapshot,
    retention_keeps_what_a_restore_needs,
)
