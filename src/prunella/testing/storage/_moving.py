"""That an agent can be taken to another storage, whole."""

from __future__ import annotations

from typing import Final

import attrs

from ...agents import Fenced
from ...storage import (
    AgentDump,
    AgentKey,
    AlreadyStored,
    DeadLetter,
    Handled,
    ScheduleRecord,
    Snapshot,
    Storage,
    StorageError,
    Write,
    directive_id,
    opened,
)
from ._terms import (
    CODE,
    KEY,
    NOW,
    Check,
    Factory,
    a_signal,
    a_turn,
    claim_agent,
    expect,
    expect_kind,
    expect_raised,
    in_seconds,
    waiting_of,
    write_agent,
)

__all__ = ["CHECKS"]


async def _fill(storage: Storage) -> None:
    """An agent with some of everything."""
    await claim_agent(storage, spec={"id": "desk"})
    schedule = ScheduleRecord("k", in_seconds(9), {"b": 1}, directive_id(KEY, 1, 1))
    first = a_turn(1, directives=({"a": 1}, {"b": 2}), done=(directive_id(KEY, 1, 1),), schedules={"k": schedule})
    await write_agent(storage, commits=(first, a_turn(2)), snapshot=Snapshot(1, in_seconds(1), 1, {"last": 1}))
    await write_agent(storage, commits=(a_turn(3, answers={"s2": None, "s3": [1]}), a_turn(4, outcome="dead")))
    await write_agent(storage, snapshot=Snapshot(3, in_seconds(3), 1, {"last": 3}))
    await storage.enqueue(KEY, *map(a_signal, "abc"), now=in_seconds(5))
    await storage.take(KEY, 1, limit=2)
    await write_agent(storage, postponed=("a",), dead=(DeadLetter(a_signal("b"), "why", 2, in_seconds(6)),))
    await storage.trim(KEY, keep=3, handled_before=in_seconds(2))


async def everything_of_an_agent_is_dumped(factory: Factory) -> None:
    """With what retention has left, and nothing is claimed by it."""
    async with opened(factory()) as storage:
        expect("of nobody", await storage.dump(KEY), None)
        expect("no runtimes", await storage.runtimes(), ())
        await _fill(storage)
        await claim_agent(storage, AgentKey("another", "p", "x"))
        expect("the runtimes", await storage.runtimes(), ("another", "default"))
        dump = await storage.dump(KEY)
        assert dump is not None
        expect("the record", dump.record, await storage.find(KEY))
        expect("the spec", dump.record.spec, {"id": "desk"})
        expect("what is gone", dump.trimmed, 1)
        expect("turns", [commit.sequence for commit in dump.commits], [2, 3, 4])
        expect("snapshots", [snapshot.sequence for snapshot in dump.snapshots], [1, 3])
        expect("waiting", [(one.signal.id, one.deliveries) for one in dump.waiting], [("c", 0), ("a", 2)])
        expect("directives", [one.id for one in dump.directives], [directive_id(KEY, 1, 0)])
        expect("schedules", [one.key for one in dump.schedules], ["k"])
        expect("dead letters", [one.signal.id for one in dump.dead_letters], ["b"])
        handled = (Handled("s2", 2, None, True, in_seconds(2)), Handled("s3", 3, [1], True, in_seconds(3)))
        expect("handled", dump.handled, handled)


async def what_was_dumped_can_be_inserted(factory: Factory) -> None:
    """And is the same again, but for its owner; whoever owned it before it was forgotten stays fenced."""
    async with opened(factory()) as storage:
        await _fill(storage)
        dump = await storage.dump(KEY)
        assert dump is not None
        async with expect_raised("an insert over another", AlreadyStored):
            await storage.insert(dump)
        for _ in range(4):
            await claim_agent(storage, owner="you")
        await storage.forget(KEY)
        await storage.insert(dump)
        found = await storage.dump(KEY)
        assert found is not None
        record = attrs.evolve(dump.record, owner=None, lease_until=None, claim=5)
        expect("the agent", _comparable(found), attrs.evolve(_comparable(dump), record=record))
        (outcome,) = await storage.append(Write(KEY, 1, NOW, (a_turn(5),)))
        expect_kind("the outcome of an earlier owner's write", outcome, Fenced)
        claim = await claim_agent(storage, owner="next")
        expect("the next claim", claim, 6)
        expect("still a duplicate", await storage.enqueue(KEY, a_signal("s2"), a_signal("s1"), now=NOW), (False, True))
        await write_agent(storage, claim=claim, commits=(a_turn(5, claim, id="s1"),), finished=("s1",))
        expect("redriven", await storage.redrive(KEY, now=NOW), 1)
        expect("waiting", await waiting_of(storage), [("c", 0), ("a", 2), ("b", 0)])


async def what_cannot_be_an_agent_is_not_inserted(factory: Factory) -> None:
    """Nothing of it is."""
    async with opened(factory()) as storage:
        await _fill(storage)
        dump = await storage.dump(KEY)
        assert dump is not None
        await storage.forget(KEY)
        for what, changes in (
            ("a gap", {"commits": dump.commits[:1] + dump.commits[2:]}),
            ("a missing turn", {"commits": dump.commits[:-1]}),
            ("a missing snapshot", {"snapshots": ()}),
            ("a signal twice", {"waiting": dump.waiting * 2}),
            ("a turn of another signal", {"handled": (Handled("x", 3, now=NOW),)}),
            (
                "a directive that is no plain data",
                {"directives": (attrs.evolve(dump.directives[0], directive={"a": 1j}),)},
            ),
        ):
            async with expect_raised(what, StorageError):
                await storage.insert(attrs.evolve(dump, **changes))
            expect(f"after {what}", await storage.find(KEY), None)
        await storage.insert(AgentDump(attrs.evolve(dump.record, sequence=0)))
        record = await storage.find(KEY)
        expect("an agent without a turn", record and (record.code, record.sequence, record.claim), (CODE, 0, 1))


def _comparable(dump: AgentDump) -> AgentDump:
    """Without positions, which only have to grow."""
    waiting = tuple([attrs.evolve(one, position=place) for place, one in enumerate(dump.waiting)])
    return attrs.evolve(dump, waiting=waiting)


CHECKS: Final[tuple[Check, ...]] = (
    everything_of_an_agent_is_dumped,
    what_was_dumped_can_be_inserted,
    what_cannot_be_an_agent_is_not_inserted,
)
