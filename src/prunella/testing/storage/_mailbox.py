"""Signals that wait, and those that were put aside."""

from __future__ import annotations

from typing import Final

from ...agents import AgentNotFound
from ...storage import (
    DeadLetter,
    Duplicate,
    Write,
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
    expect_refused,
    in_seconds,
    waiting_of,
    write_agent,
)

__all__ = ["CHECKS"]


async def signals_wait_in_order(factory: Factory) -> None:
    """Each id once, behind those that wait, from anybody."""
    async with opened(factory()) as storage:
        async with expect_raised("enqueue", AgentNotFound):
            await storage.enqueue(KEY, a_signal("a"), now=NOW)
        await claim_agent(storage)
        await write_agent(storage, commits=(a_turn(1, id="handled"),))
        new = await storage.enqueue(
            KEY, a_signal("b"), a_signal("a"), a_signal("b"), a_signal("handled"), now=in_seconds(1)
        )
        expect("which are new", new, (True, True, False, False))
        expect("again", await storage.enqueue(KEY, a_signal("a"), a_signal("c"), now=NOW), (False, True))
        await write_agent(storage, enqueued=(a_signal("a"), a_signal("d"), a_signal("handled")))
        expect("waiting", await waiting_of(storage), [("b", 0), ("a", 0), ("c", 0), ("d", 0)])
        stored = await storage.load(KEY)
        assert stored is not None
        expect("the signal", (stored.waiting[0].signal, stored.waiting[0].now), (a_signal("b"), in_seconds(1)))
        expect("nothing", await storage.enqueue(KEY, now=NOW), ())


async def deliveries_are_counted(factory: Factory) -> None:
    """Taking counts, and takes nothing away."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await storage.enqueue(KEY, *map(a_signal, "abcd"), now=NOW)
        first = await storage.take(KEY, 1, limit=2)
        expect("the first", [(one.signal.id, one.deliveries) for one in first], [("a", 1), ("b", 1)])
        rest = await storage.take(KEY, 1, after=first[-1].position)
        expect("the rest", [one.signal.id for one in rest], ["c", "d"])
        again = await storage.take(KEY, 1, limit=1)
        expect("again", [(one.signal.id, one.deliveries) for one in again], [("a", 2)])
        expect("waiting", await waiting_of(storage), [("a", 2), ("b", 1), ("c", 1), ("d", 1)])
        expect("behind the last", await storage.take(KEY, 1, after=rest[-1].position), ())


async def a_signal_is_finished_with_its_turn(factory: Factory) -> None:
    """In one write; what comes again later is left out."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await storage.enqueue(KEY, *map(a_signal, "abc"), now=NOW)
        await write_agent(storage, commits=(a_turn(1, id="a"),), finished=("a",))
        await expect_refused(storage, Duplicate, commits=(a_turn(2, id="a"),), finished=("b",))
        expect("waiting", await waiting_of(storage), [("b", 0), ("c", 0)])
        expect("it comes again", await storage.enqueue(KEY, a_signal("a"), now=NOW), (False,))
        await write_agent(storage, commits=(a_turn(2, id="b"), a_turn(3, id="c")), finished=("b", "c", "nobody"))
        expect("nothing waits", await waiting_of(storage), [])


async def a_postponed_signal_waits_behind_the_others(factory: Factory) -> None:
    """With one more delivery counted."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await storage.enqueue(KEY, *map(a_signal, "abc"), now=NOW)
        await write_agent(storage, postponed=("a", "nobody"))
        expect("waiting", await waiting_of(storage), [("b", 0), ("c", 0), ("a", 1)])
        await write_agent(storage, postponed=("b", "a"))
        expect("waiting", await waiting_of(storage), [("c", 0), ("b", 1), ("a", 2)])
        outcomes = await storage.append(
            Write(KEY, 1, NOW, finished=("c",)),
            Write(KEY, 1, NOW, enqueued=(a_signal("c"),)),
            Write(KEY, 1, NOW, postponed=("b",)),
            Write(KEY, 1, NOW, enqueued=(a_signal("b"), a_signal("e"))),
        )
        expect("the outcomes", outcomes, (None,) * 4)
        expect("one after the other", await waiting_of(storage), [("a", 2), ("c", 0), ("b", 2), ("e", 0)])
        await write_agent(storage, commits=(a_turn(1, id="c"),), postponed=("c",))
        expect("what was handled waits no more", await waiting_of(storage), [("a", 2), ("b", 2), ("e", 0)])


async def dead_letters_can_be_redriven(factory: Factory) -> None:
    """They leave the mailbox with their turn, and come back as new ones."""
    async with opened(factory()) as storage:
        await claim_agent(storage)
        await storage.enqueue(KEY, *map(a_signal, "abc"), now=NOW)
        letters = {id: DeadLetter(a_signal(id), f"crashed on {id}", 2, in_seconds(5)) for id in "abc"}
        turn = a_turn(1, id="a", outcome="dead", changes={})
        await write_agent(storage, commits=(turn,), dead=(letters["a"],))
        await write_agent(storage, dead=(letters["c"], letters["b"]))
        expect("nothing waits", await waiting_of(storage), [])
        expect("the letters", await storage.dead_letters(KEY), (letters["a"], letters["c"], letters["b"]))
        expect("the newest", await storage.dead_letters(KEY, limit=1), (letters["b"],))
        expect("redriven", await storage.redrive(KEY, "a", now=NOW), 1)
        expect("discarded", await storage.discard(KEY, "c"), 1)
        expect("of nobody", await storage.redrive(KEY, "nobody", now=NOW), 0)
        expect("the rest", await storage.redrive(KEY, now=NOW), 1)
        expect("waiting", await waiting_of(storage), [("a", 0), ("b", 0)])
        expect("no letters", (await storage.dead_letters(KEY), await storage.discard(KEY)), ((), 0))
        await write_agent(storage, commits=(a_turn(2, id="a"),), finished=("a",))


CHECKS: Final[tuple[Check, ...]] = (
    signals_wait_in_order,
    deliveries_are_counted,
    a_signal_is_finished_with_its_turn,
    a_postponed_signal_waits_behind_the_others,
    dead_letters_can_be_redriven,
)
