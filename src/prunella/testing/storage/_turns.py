"""That turns are written whole, in order, and once."""

from __future__ import annotations

from typing import Final

import trio

from ...agents import Address
from ...signals import Signal
from ...storage import (
    AgentKey,
    Code,
    Commit,
    CommitFailed,
    Duplicate,
    ScheduleRecord,
    Snapshot,
    StorageError,
    Write,
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
    expect_raised,
    expect_refused,
    in_seconds,
    write_agent,
)

__all__ = ["CHECKS"]


async def a_commit_is_read_as_it_was_written(factory: Factory) -> None:
    """Every field of it, whatever plain data it holds."""
    turn = Commit(
        1,
        1,
        Signal(
            "a.b",
            b"\0\xff",
            id="x",
            source="/s",
            subject="ü",
            time=in_seconds(0.000001),
            extensions={"n": 1, "b": True, "t": "x"},
        ),
        in_seconds(0.123456),
        2**70,
        Code("desk", 3, "d", "m:C.D"),
        Address("parent", "p"),
        {"tag": Address("child"), "other tag": Address("child", "q")},
        "committed",
        {"none": None, "deep": {"a": [1, 2.5, "ü\ud83d", True, {}]}, "big": 2**80, "text": "line\nline\u2028"},
        ({"directive": "Emit", "type": "x"}, {"directive": "Stop"}),
        (),
        {"k": ScheduleRecord("k", in_seconds(1.5), {"directive": "Schedule"}, "id"), "gone": None},
        {"s0": {"value": [1]}},
    )
    refused = Commit(2, 1, a_signal("y"), NOW, 0, CODE, outcome="rejected")
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await write_agent(storage, commits=(turn, refused))
        stored = await storage.load(KEY)
        expect("loaded", stored and stored.commits, (turn, refused))
        expect("read", await storage.commits(KEY, after=1), (refused,))
        expect("a page", await storage.commits(KEY, limit=1), (turn,))
        expect("of nobody", await storage.commits(AgentKey("r", None, "nobody")), ())


async def turns_follow_one_another(factory: Factory) -> None:
    """A write that names another sequence is refused as a whole, and hears which is the last."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await write_agent(storage, commits=(a_turn(1), a_turn(2)))
        for turns in ((a_turn(2, id="a"),), (a_turn(4),), (a_turn(3), a_turn(5)), (a_turn(3), a_turn(3, id="b"))):
            error = await expect_refused(
                storage,
                CommitFailed,
                commits=turns,
                snapshot=Snapshot(2, NOW, 1, {}),
                enqueued=(a_signal("w"),),
            )
            expect("what is said", (error.in_doubt, error.found in (2, 3)), (False, True))
        stored = await storage.load(KEY)
        assert stored is not None
        expect("commits", [commit.sequence for commit in stored.commits], [1, 2])
        expect("the rest", (stored.snapshot, stored.waiting, stored.record.sequence), (None, (), 2))
        await write_agent(storage, commits=(a_turn(3),))


async def writes_have_outcomes_of_their_own(factory: Factory) -> None:
    """Of several that come together, those that are right are written, in order."""
    other = AgentKey("default", None, "other")
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await claim_agent(storage, other)
        outcomes = await storage.append(
            Write(KEY, 1, NOW, (a_turn(1),)),
            Write(other, 9, NOW, (a_turn(1),)),
            Write(KEY, 1, NOW, (a_turn(1, id="x"),)),
            Write(KEY, 1, NOW, (a_turn(2),)),
            Write(other, 1, NOW, (a_turn(1, changes={"a": object()}),)),
            Write(other, 1, NOW, (a_turn(1),)),
            Write(other, 1, NOW, (a_turn(2, id="s1"),)),
        )
        kinds = [None if outcome is None else type(outcome).__name__ for outcome in outcomes]
        expect("the outcomes", kinds, [None, "Fenced", "CommitFailed", None, "StorageError", None, "Duplicate"])
        expect("of one", len(await storage.commits(KEY)), 2)
        expect("of the other", len(await storage.commits(other)), 1)
        expect("nothing to write", await storage.append(), ())


async def what_is_no_plain_data_is_refused(factory: Factory) -> None:
    """And nothing of it is written."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await expect_refused(storage, StorageError, commits=(a_turn(1), a_turn(2, changes={"a": {1, 2}})))
        await expect_refused(storage, StorageError, commits=(a_turn(1, directives=({"a": object()},)),))
        await expect_refused(storage, StorageError, enqueued=(Signal("x", object()),))
        await expect_refused(storage, StorageError, commits=(a_turn(1),), snapshot=Snapshot(1, NOW, 1, {"a": b""}))
        async with expect_raised("enqueue", StorageError):
            await storage.enqueue(KEY, a_signal("w"), Signal("x", object()), now=NOW)
        stored = await storage.load(KEY)
        expect("nothing", stored and (stored.commits, stored.waiting), ((), ()))
        await write_agent(storage, commits=(a_turn(1),))


async def a_signal_is_handled_once(factory: Factory) -> None:
    """A turn for a signal that was handled is a `Duplicate`; but not for one that died."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await write_agent(storage, commits=(a_turn(1, id="a"),))
        error = await expect_refused(storage, Duplicate, commits=(a_turn(2, id="b"), a_turn(3, id="a")))
        expect("which", (error.signal_id, error.sequence), ("a", 1))
        await expect_refused(storage, Duplicate, commits=(a_turn(2, id="c"), a_turn(3, id="c")))
        await expect_refused(storage, Duplicate, commits=(a_turn(2, id="a", outcome="dead"),))
        await write_agent(storage, commits=(a_turn(2, id="d", outcome="dead", changes={}),))
        expect("of a dead one", await storage.handled(KEY, "d"), None)
        await write_agent(storage, commits=(a_turn(3, id="d"),))
        handled = await storage.handled(KEY, "a")
        expect("handled", handled and (handled.sequence, handled.is_answered), (1, False))
        expect("the last", (await storage.load(KEY)).record.sequence, 3)  # type: ignore[union-attr]  # it is there


async def answers_are_kept(factory: Factory) -> None:
    """In the turn that handled the signal, or in a later one."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await write_agent(storage, commits=(a_turn(1, id="a", answers={"a": None}), a_turn(2, id="b")))
        await write_agent(storage, commits=(a_turn(3, answers={"b": [1, "x"], "nobody": 1}),))
        a, b = await storage.handled(KEY, "a"), await storage.handled(KEY, "b")
        expect("at once", a and (a.sequence, a.answer, a.is_answered), (1, None, True))
        expect("later", b and (b.sequence, b.answer, b.is_answered), (2, [1, "x"], True))
        expect("of nobody", await storage.handled(KEY, "nobody"), None)


async def many_commit_at_once(factory: Factory) -> None:
    """Each of many agents has all its turns, in order."""
    keys = [AgentKey("default", None, f"agent-{number}") for number in range(20)]
    async with opened(factory()) as storage:

        async def work(key: AgentKey) -> None:
            await claim_agent(storage, key)
            for sequence in range(1, 6):
                await write_agent(storage, key, commits=(a_turn(sequence),), enqueued=(a_signal(f"w{sequence}"),))

        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(work, key)
        for key in keys:
            stored = await storage.load(key)
            assert stored is not None
            expect(f"turns of {key}", [commit.sequence for commit in stored.commits], [1, 2, 3, 4, 5])
            expect(f"signals of {key}", [one.signal.id for one in stored.waiting], ["w1", "w2", "w3", "w4", "w5"])


async def a_cancelled_commit_is_whole(factory: Factory) -> None:
    """Whoever is cancelled while it commits: the turn is there or it is not, and the next one can be written."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        for round in range(5):
            before = await storage.find(KEY)
            assert before is not None
            turn = a_turn(before.sequence + 1, id=f"r{round}", directives=({"a": 1},))

            async def commit(turn: Commit = turn) -> None:
                await storage.append(Write(KEY, 1, NOW, (turn,)))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(commit)
                for _ in range(round):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            after = await storage.load(KEY)
            assert after is not None
            written = after.record.sequence == turn.sequence
            expect("at most one turn", after.record.sequence - before.sequence in (0, 1), True)
            found = [one for one in after.directives if one.sequence == turn.sequence]
            expect("its directive", len(found), 1 if written else 0)
            await write_agent(storage, commits=(a_turn(after.record.sequence + 1, id=f"n{round}"),))


CHECKS: Final[tuple[Check, ...]] = (
    a_commit_is_read_as_it_was_written,
    turns_follow_one_another,
    writes_have_outcomes_of_their_own,
    what_is_no_plain_data_is_refused,
    a_signal_is_handled_once,
    answers_are_kept,
    many_commit_at_once,
    a_cancelled_commit_is_whole,
)
