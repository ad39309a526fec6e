"""What was decided and is not done."""

from __future__ import annotations

from typing import Final

from ...storage import (
    AgentKey,
    Outbox,
    ScheduleRecord,
    directive_id,
    opened,
)
from ._terms import KEY, Check, Factory, a_signal, a_turn, claim_agent, expect, ids_of, in_seconds, write_agent

__all__ = ["CHECKS"]


async def directives_are_open_until_they_are_done(factory: Factory) -> None:
    """In the order of turns and places; a turn may mark its own."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        own = directive_id(KEY, 1, 1)
        turn = a_turn(1, directives=({"a": 1}, {"b": 2}, {"c": 3}), done=(own,))
        await write_agent(
            storage, commits=(turn, *(a_turn(number, directives=({"d": number},)) for number in range(2, 12)))
        )
        found = await storage.open_directives(KEY)
        places = [(1, 0), (1, 2), *((number, 0) for number in range(2, 12))]
        expect("open", [(one.sequence, one.index) for one in found], places)
        expect("their ids", ids_of(found), [directive_id(KEY, *place) for place in places])
        expect("one of them", (found[1].directive, found[1].now), ({"c": 3}, in_seconds(1)))
        expect("the outbox", await storage.outbox("default"), Outbox(12, in_seconds(1)))
        expect("of another runtime", await storage.outbox("other"), Outbox(0, None))
        done = (directive_id(KEY, 1, 0), directive_id(KEY, 9, 9), own)
        await write_agent(storage, done=done, enqueued=(a_signal("result"),))
        await write_agent(
            storage, commits=(a_turn(12, id="result", done=(directive_id(KEY, 1, 2),)),), finished=("result",)
        )
        stored = await storage.load(KEY)
        assert stored is not None
        expect("left", [one.sequence for one in stored.directives], list(range(2, 12)))
        expect("the outbox", await storage.outbox("default"), Outbox(10, in_seconds(2)))


async def schedules_are_found_when_they_are_due(factory: Factory) -> None:
    """The earliest first, from all agents of a runtime, until a turn changes them."""
    other = AgentKey("default", "p", "other")

    def record(name: str, seconds: float) -> ScheduleRecord:
        return ScheduleRecord(name, in_seconds(seconds), {"directive": "Schedule", "name": name}, f"id-{name}")

    async with opened(factory()) as storage:
        await claim_agent(storage)
        await claim_agent(storage, other)
        await write_agent(storage, commits=(a_turn(1, schedules={"b": record("b", 3), "a": record("a", 7)}),))
        await write_agent(storage, other, commits=(a_turn(1, schedules={"c": record("c", 5)}),))
        due = await storage.due("default", until=in_seconds(100))
        expect(
            "due",
            [(one.key, one.schedule, one.due) for one in due],
            [(KEY, "b", in_seconds(3)), (other, "c", in_seconds(5)), (KEY, "a", in_seconds(7))],
        )
        expect("at a time", len(await storage.due("default", until=in_seconds(5))), 2)
        expect("the first", await storage.due("default", until=in_seconds(100), limit=1), due[:1])
        expect("of another runtime", await storage.due("other", until=in_seconds(100)), ())
        changes = {"b": record("b", 9), "a": None, "nobody": None, "d": record("d", 1)}
        await write_agent(storage, commits=(a_turn(2, schedules=changes), a_turn(3, schedules={"d": None})))
        stored = await storage.load(KEY)
        expect("changed", stored and stored.schedules, (record("b", 9),))


CHECKS: Final[tuple[Check, ...]] = (
    directives_are_open_until_they_are_done,
    schedules_are_found_when_they_are_due,
)
