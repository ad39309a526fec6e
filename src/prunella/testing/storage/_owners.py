"""Whose an agent is, and which agents there are."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import trio

from ...agents import Address, Fenced, RestoreFailed
from ...storage import (
    AgentKey,
    Code,
    DeadLetter,
    Outbox,
    ScheduleRecord,
    Snapshot,
    Storage,
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
    expect_refused,
    in_seconds,
    waiting_of,
    write_agent,
)

__all__ = ["CHECKS"]


async def a_claim_raises_the_number_by_one(factory: Factory) -> None:
    """Each claim is one higher, at once, whoever owned the agent."""
    async with opened(factory()) as storage:
        expect("before", await storage.find(KEY), None)
        expect("claims", [await claim_agent(storage, owner=owner) for owner in ("a", "b", "b")], [1, 2, 3])
        record = await storage.find(KEY)
        assert record is not None
        expect("the record", (record.key, record.code, record.owner, record.sequence), (KEY, CODE, "b", 0))
        expect("the lease", record.lease_until, in_seconds(10))


async def the_type_of_an_agent_is_checked(factory: Factory) -> None:
    """A claim for another type changes nothing; one of another version of the same type does."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        async with expect_raised("a claim of another type", RestoreFailed):
            await storage.claim(KEY, Code("clerk"), owner="other", now=NOW)
        await write_agent(storage, commits=(a_turn(1),))
        newer = Code("desk", 2, "4567", "app:Desk2")
        record = await storage.claim(KEY, newer, owner="other", now=NOW)
        expect("the record", (record.code, record.claim, record.sequence), (newer, 2, 1))


async def an_earlier_owner_writes_nothing(factory: Factory) -> None:
    """After a claim every write of the earlier owner is `Fenced`."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await write_agent(storage, commits=(a_turn(1, directives=({"a": 1},)),), enqueued=(a_signal("w"),))
        await claim_agent(storage, owner="other")
        error = await expect_refused(storage, Fenced, commits=(a_turn(2),), snapshot=Snapshot(1, NOW, 1, {}))
        expect("its address", error.address, Address("desk"))
        await expect_refused(storage, Fenced, done=(directive_id(KEY, 1, 0),))
        await expect_refused(storage, Fenced, enqueued=(a_signal("x"),))
        await expect_refused(storage, Fenced, finished=("w",))
        await expect_refused(storage, Fenced, AgentKey("default", None, "nobody"), commits=(a_turn(1),))
        async with expect_raised("take", Fenced):
            await storage.take(KEY, 1)
        async with expect_raised("record", Fenced):
            await storage.record(KEY, 1, None)
        await storage.release(KEY, 1)
        stored = await storage.load(KEY)
        assert stored is not None
        expect("sequence, owner", (stored.record.sequence, stored.record.owner), (1, "other"))
        expect("the rest", (stored.snapshot, len(stored.directives)), (None, 1))
        expect("waiting", await waiting_of(storage), [("w", 0)])


async def one_of_two_owners_wins_each_turn(factory: Factory) -> None:
    """Two that claim and write as fast as they can: the turns have no gap, and each is one owner's."""
    first, second = factory(), factory()
    async with opened(first), opened(second):
        won: list[tuple[int, str]] = []

        async def fight(storage: Storage, name: str) -> None:
            for round in range(12):
                record = await storage.claim(KEY, CODE, owner=name, now=NOW)
                sequence = record.sequence
                for _ in range(3):
                    sequence += 1
                    turn = a_turn(sequence, record.claim, id=f"{name}-{round}-{sequence}")
                    (outcome,) = await storage.append(Write(KEY, record.claim, NOW, (turn,)))
                    if outcome is not None:
                        # Between claim and record it may have been claimed again; then it is fenced, never torn.
                        expect_kind("the loser's outcome", outcome, Fenced)
                        break
                    won.append((sequence, turn.signal.id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fight, first, "a")
            nursery.start_soon(fight, second, "b")
        commits = await first.commits(KEY)
        expect("the turns", [(commit.sequence, commit.signal.id) for commit in commits], sorted(won))
        expect("their numbers", [commit.sequence for commit in commits], list(range(1, len(won) + 1)))
        claims = [commit.claim for commit in commits]
        expect("the order of claims", claims, sorted(claims))


async def a_living_owner_can_be_respected(factory: Factory) -> None:
    """`refuse` gives way while the lease lives, and not after it, nor after a release."""
    async with opened(factory()) as storage:
        await claim_agent(storage)

        async def respectful(now: datetime, owner: str = "other") -> int:
            return (await storage.claim(KEY, CODE, owner=owner, now=now, refuse=True)).claim

        expect("one's own", await respectful(in_seconds(1), "me"), 2)
        async with expect_raised("a claim", Fenced):
            await respectful(in_seconds(10.5))
        await write_agent(storage, claim=2, commits=(a_turn(1, 2),))
        await storage.renew("me", now=in_seconds(10), lease=10)
        async with expect_raised("a claim", Fenced):
            await respectful(in_seconds(19))
        expect("after the lease", await respectful(in_seconds(21)), 3)
        await storage.release(KEY, 3)
        record = await storage.find(KEY)
        expect("the owner", record and (record.owner, record.lease_until), (None, None))
        expect("after a release", await respectful(in_seconds(22), "third"), 4)


async def an_idle_owner_hears_what_it_lost(factory: Factory) -> None:
    """`renew` names what was claimed from a living owner, until that owner claims it again."""
    other = AgentKey("default", "p", "other")
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await claim_agent(storage, other)
        expect("nothing yet", await storage.renew("me", now=NOW), ())
        await claim_agent(storage, owner="you")
        expect("lost", await storage.renew("me", now=NOW), (KEY,))
        expect("nothing of the other's", await storage.renew("you", now=NOW), ())
        await claim_agent(storage)
        expect("had back", await storage.renew("me", now=NOW), ())
        expect("lost in turn", await storage.renew("you", now=NOW), (KEY,))


async def agents_are_listed(factory: Factory) -> None:
    """In order, page by page, each runtime by itself, with what is to be started."""
    keys = [AgentKey("r", partition, id) for partition in (None, "p", "q/p") for id in ("a", "b/c", "ü", "z")]
    async with opened(factory()) as storage:
        for key in reversed(keys):
            await claim_agent(storage, key, spec={"id": key.id})
        await claim_agent(storage, AgentKey("s", None, "a"))
        found = await storage.agents("r")
        expect("all", [record.key for record in found], sorted(keys, key=lambda key: key.order))
        expect("their specs", [record.spec for record in found], [{"id": record.key.id} for record in found])
        page = await storage.agents("r", after=found[4].key, limit=3)
        expect("a page", page, found[5:8])
        expect("behind the last", await storage.agents("r", after=found[-1].key), ())
        await storage.record(keys[0], 1, None)
        await storage.enqueue(keys[0], a_signal("w"), now=NOW)
        await write_agent(storage, keys[1], commits=(a_turn(1, directives=({"a": 1},)),))
        records = {record.key: record for record in await storage.agents("r")}
        expect("ended", records[keys[0]].spec, None)
        busy = [key for key in keys if records[key].has_work]
        expect("which have work", busy, keys[:2])
        await claim_agent(storage, keys[1])
        record = await storage.find(keys[1])
        expect("the spec stays", record and record.spec, {"id": keys[1].id})


async def keys_are_kept_apart(factory: Factory) -> None:
    """Ids, partitions and runtimes that look alike once they are joined are different agents."""
    keys = [
        AgentKey("r", None, "a"),
        AgentKey("r", "-", "a"),
        AgentKey("r", "a", "a"),
        AgentKey("r", None, "a/a"),
        AgentKey("r/a", None, "a"),
        AgentKey("r", None, "A"),
        AgentKey("r", None, "a "),
        AgentKey("r", None, "%"),
        AgentKey("r", None, "a%2Fa"),
    ]
    expect("the ids of directives", len({directive_id(key, 1, 0) for key in keys}), len(keys))
    async with opened(factory()) as storage:
        for number, key in enumerate(keys):
            await claim_agent(storage, key)
            await write_agent(storage, key, commits=(a_turn(1, changes={"number": number}),), enqueued=(a_signal("w"),))
        for number, key in enumerate(keys):
            stored = await storage.load(key)
            expect(f"the state of {key}", stored and stored.commits[0].changes, {"number": number})


async def what_is_forgotten_is_gone(factory: Factory) -> None:
    """Nothing of it is left, and who owned it can write nothing, even into one that is made again."""
    async with opened(factory()) as storage:
        for _ in range(3):
            claim = await claim_agent(storage)
        turn = a_turn(1, claim, directives=({"a": 1},), schedules={"k": ScheduleRecord("k", NOW, {"b": 1})})
        dead = DeadLetter(a_signal("d"), "poison", 2, NOW)
        await write_agent(
            storage,
            claim=claim,
            commits=(turn,),
            snapshot=Snapshot(1, NOW, 1, {}),
            enqueued=(a_signal("w"),),
            dead=(dead,),
        )
        expect("forgotten", await storage.forget(KEY), True)
        expect("again", await storage.forget(KEY), False)
        expect("the record", (await storage.find(KEY), await storage.load(KEY)), (None, None))
        expect("the snapshot", await storage.snapshot(KEY), None)
        expect("due", await storage.due("default", until=in_seconds(1)), ())
        expect("the outbox", await storage.outbox("default"), Outbox(0, None))
        expect("the dead letters", await storage.dead_letters(KEY), ())
        await expect_refused(storage, Fenced, claim=claim, commits=(a_turn(2, claim),))
        new = await claim_agent(storage)
        expect("a higher claim", new > claim, True)
        await expect_refused(storage, Fenced, claim=claim, commits=(a_turn(1, claim),))
        stored = await storage.load(KEY)
        assert stored is not None
        expect("a new agent", (stored.commits, stored.waiting, stored.schedules, stored.directives), ((), (), (), ()))
        await write_agent(storage, claim=new, commits=(a_turn(1, new),))


CHECKS: Final[tuple[Check, ...]] = (
    a_claim_raises_the_number_by_one,
    the_type_of_an_agent_is_checked,
    an_earlier_owner_writes_nothing,
    one_of_two_owners_wins_each_turn,
    a_living_owner_can_be_respected,
    an_idle_owner_hears_what_it_lost,
    agents_are_listed,
    keys_are_kept_apart,
    what_is_forgotten_is_gone,
)
