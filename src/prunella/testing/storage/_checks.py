"""What every storage has to do: functions of a factory, which raise `AssertionError` where it is not so."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import trio

from ...agents import Address, AgentNotFound, Fenced, RestoreFailed
from ...errors import InvalidArgument
from ...signals import Signal
from ...storage import (
    AgentKey,
    Code,
    Commit,
    CommitFailed,
    DeadLetter,
    Duplicate,
    HistoryGone,
    Outbox,
    ScheduleRecord,
    Snapshot,
    Storage,
    StorageError,
    StorageUnavailable,
    Write,
    directive_id,
    opened,
)

__all__ = ["CHECKS", "Check", "Factory"]

Factory: TypeAlias = Callable[[], Storage]
Check: TypeAlias = Callable[[Factory], Awaitable[None]]

_checks: list[Check] = []

NOW: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
CODE: Final = Code("desk", 1, "0123", "app:Desk")
KEY: Final = AgentKey("default", None, "desk")


def _check(function: Check) -> Check:
    _checks.append(function)
    return function


def _expect(what: str, got: object, expected: object) -> None:
    if got != expected:
        raise AssertionError(f"{what}: expected {expected!r}, got {got!r}")


def _is(what: str, got: object, kind: type) -> None:
    if not isinstance(got, kind):
        raise AssertionError(f"{what}: expected {kind.__name__}, got {got!r}")


@asynccontextmanager
async def _raising(what: str, kind: type[Exception]) -> AsyncIterator[None]:
    try:
        yield
    except kind:
        return
    raise AssertionError(f"{what}: {kind.__name__} was not raised")


def _after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def _signal(id: str) -> Signal:
    return Signal("ticket.opened", {"ticket": id}, id=id, time=NOW)


def _turn(sequence: int, claim: int = 1, id: str | None = None, **more: Any) -> Commit:
    signal = _signal(f"s{sequence}" if id is None else id)
    now = more.pop("now", _after(sequence))
    return Commit(sequence, claim, signal, now, sequence * 7, CODE, **{"changes": {"last": sequence}, **more})


async def _claim(storage: Storage, key: AgentKey = KEY, owner: str = "me", **more: Any) -> int:
    return (await storage.claim(key, CODE, owner=owner, now=NOW, **more)).claim


async def _write(storage: Storage, key: AgentKey = KEY, claim: int = 1, **more: Any) -> None:
    (outcome,) = await storage.append(Write(key, claim, NOW, **more))
    _expect("the outcome of a write", outcome, None)


async def _refused(storage: Storage, kind: type, key: AgentKey = KEY, claim: int = 1, **more: Any) -> Any:
    (outcome,) = await storage.append(Write(key, claim, NOW, **more))
    _is("the outcome of a write", outcome, kind)
    return outcome


async def _waiting(storage: Storage, key: AgentKey = KEY) -> list[tuple[str, int]]:
    stored = await storage.load(key)
    return [] if stored is None else [(one.signal.id, one.deliveries) for one in stored.waiting]


def _ids(directives: Iterable[Any]) -> list[str]:
    return [directive.id for directive in directives]


# Its life.


@_check
async def content_outlives_a_closing(factory: Factory) -> None:
    """What was acknowledged is there when it is opened again."""
    async with opened(factory()) as storage:
        claim = await _claim(storage)
        await _write(storage, commits=(_turn(1),), enqueued=(_signal("w"),))
    async with opened(factory()) as storage:
        stored = await storage.load(KEY)
        _expect("commits", stored and stored.commits, (_turn(1),))
        _expect("waiting", await _waiting(storage), [("w", 0)])
        _expect("the next claim", await _claim(storage), claim + 1)


@_check
async def a_closed_storage_is_unavailable(factory: Factory) -> None:
    """Calls on a storage that is not open raise `StorageUnavailable`."""
    storage = factory()
    for _ in range(2):
        async with _raising("find", StorageUnavailable):
            await storage.find(KEY)
        async with _raising("append", StorageUnavailable):
            await storage.append(Write(KEY, 1, NOW))
        async with _raising("claim", StorageUnavailable):
            await _claim(storage)
        await storage.open()
        await storage.find(KEY)
        await storage.close()
        await storage.close()


@_check
async def an_open_storage_is_not_opened_twice(factory: Factory) -> None:
    """A second opening is refused, and a second only user too."""
    storage = factory()
    async with opened(storage, exclusive=True):
        _expect("is_open", (storage.is_open, storage.is_exclusive), (True, True))
        async with _raising("open", InvalidArgument):
            await storage.open()
        async with _raising("a second only user", InvalidArgument), opened(storage, exclusive=True):
            pass
        async with opened(storage):
            await storage.find(KEY)
        _expect("still open", storage.is_open, True)
    _expect("closed", (storage.is_open, storage.is_exclusive), (False, False))
    async with storage:
        async with opened(storage, exclusive=True), opened(storage, exclusive=True):
            await storage.find(KEY)
        _expect("open as it was", storage.is_open, True)


# Ownership.


@_check
async def a_claim_raises_the_number_by_one(factory: Factory) -> None:
    """Each claim is one higher, at once, whoever owned the agent."""
    async with opened(factory()) as storage:
        _expect("before", await storage.find(KEY), None)
        _expect("claims", [await _claim(storage, owner=owner) for owner in ("a", "b", "b")], [1, 2, 3])
        record = await storage.find(KEY)
        assert record is not None
        _expect("the record", (record.key, record.code, record.owner, record.sequence), (KEY, CODE, "b", 0))
        _expect("the lease", record.lease_until, _after(10))


@_check
async def the_type_of_an_agent_is_checked(factory: Factory) -> None:
    """A claim for another type changes nothing; one of another version of the same type does."""
    async with opened(factory()) as storage:
        await _claim(storage)
        async with _raising("a claim of another type", RestoreFailed):
            await storage.claim(KEY, Code("clerk"), owner="other", now=NOW)
        await _write(storage, commits=(_turn(1),))
        newer = Code("desk", 2, "4567", "app:Desk2")
        record = await storage.claim(KEY, newer, owner="other", now=NOW)
        _expect("the record", (record.code, record.claim, record.sequence), (newer, 2, 1))


@_check
async def an_earlier_owner_writes_nothing(factory: Factory) -> None:
    """After a claim every write of the earlier owner is `Fenced`."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await _write(storage, commits=(_turn(1, directives=({"a": 1},)),), enqueued=(_signal("w"),))
        await _claim(storage, owner="other")
        error = await _refused(storage, Fenced, commits=(_turn(2),), snapshot=Snapshot(1, NOW, 1, {}))
        _expect("its address", error.address, Address("desk"))
        await _refused(storage, Fenced, done=(directive_id(KEY, 1, 0),))
        await _refused(storage, Fenced, enqueued=(_signal("x"),))
        await _refused(storage, Fenced, finished=("w",))
        await _refused(storage, Fenced, AgentKey("default", None, "nobody"), commits=(_turn(1),))
        async with _raising("take", Fenced):
            await storage.take(KEY, 1)
        async with _raising("record", Fenced):
            await storage.record(KEY, 1, None)
        await storage.release(KEY, 1)
        stored = await storage.load(KEY)
        assert stored is not None
        _expect("sequence, owner", (stored.record.sequence, stored.record.owner), (1, "other"))
        _expect("the rest", (stored.snapshot, len(stored.directives)), (None, 1))
        _expect("waiting", await _waiting(storage), [("w", 0)])


@_check
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
                    turn = _turn(sequence, record.claim, id=f"{name}-{round}-{sequence}")
                    (outcome,) = await storage.append(Write(KEY, record.claim, NOW, (turn,)))
                    if outcome is not None:
                        # Between claim and record it may have been claimed again; then it is fenced, never torn.
                        _is("the loser's outcome", outcome, Fenced)
                        break
                    won.append((sequence, turn.signal.id))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fight, first, "a")
            nursery.start_soon(fight, second, "b")
        commits = await first.commits(KEY)
        _expect("the turns", [(commit.sequence, commit.signal.id) for commit in commits], sorted(won))
        _expect("their numbers", [commit.sequence for commit in commits], list(range(1, len(won) + 1)))
        claims = [commit.claim for commit in commits]
        _expect("the order of claims", claims, sorted(claims))


@_check
async def a_living_owner_can_be_respected(factory: Factory) -> None:
    """`refuse` gives way while the lease lives, and not after it, nor after a release."""
    async with opened(factory()) as storage:
        await _claim(storage)

        async def respectful(now: datetime, owner: str = "other") -> int:
            return (await storage.claim(KEY, CODE, owner=owner, now=now, refuse=True)).claim

        _expect("one's own", await respectful(_after(1), "me"), 2)
        async with _raising("a claim", Fenced):
            await respectful(_after(10.5))
        await _write(storage, claim=2, commits=(_turn(1, 2),))
        await storage.renew("me", now=_after(10), lease=10)
        async with _raising("a claim", Fenced):
            await respectful(_after(19))
        _expect("after the lease", await respectful(_after(21)), 3)
        await storage.release(KEY, 3)
        record = await storage.find(KEY)
        _expect("the owner", record and (record.owner, record.lease_until), (None, None))
        _expect("after a release", await respectful(_after(22), "third"), 4)


@_check
async def an_idle_owner_hears_what_it_lost(factory: Factory) -> None:
    """`renew` names what was claimed from a living owner, until that owner claims it again."""
    other = AgentKey("default", "p", "other")
    async with opened(factory()) as storage:
        await _claim(storage)
        await _claim(storage, other)
        _expect("nothing yet", await storage.renew("me", now=NOW), ())
        await _claim(storage, owner="you")
        _expect("lost", await storage.renew("me", now=NOW), (KEY,))
        _expect("nothing of the other's", await storage.renew("you", now=NOW), ())
        await _claim(storage)
        _expect("had back", await storage.renew("me", now=NOW), ())
        _expect("lost in turn", await storage.renew("you", now=NOW), (KEY,))


@_check
async def agents_are_listed(factory: Factory) -> None:
    """In order, page by page, each runtime by itself, with what is to be started."""
    keys = [AgentKey("r", partition, id) for partition in (None, "p", "q/p") for id in ("a", "b/c", "ü", "z")]
    async with opened(factory()) as storage:
        for key in reversed(keys):
            await _claim(storage, key, spec={"id": key.id})
        await _claim(storage, AgentKey("s", None, "a"))
        found = await storage.agents("r")
        _expect("all", [record.key for record in found], sorted(keys, key=lambda key: key.order))
        _expect("their specs", [record.spec for record in found], [{"id": record.key.id} for record in found])
        page = await storage.agents("r", after=found[4].key, limit=3)
        _expect("a page", page, found[5:8])
        _expect("behind the last", await storage.agents("r", after=found[-1].key), ())
        await storage.record(keys[0], 1, None)
        await storage.enqueue(keys[0], _signal("w"), now=NOW)
        await _write(storage, keys[1], commits=(_turn(1, directives=({"a": 1},)),))
        records = {record.key: record for record in await storage.agents("r")}
        _expect("ended", records[keys[0]].spec, None)
        busy = [key for key in keys if records[key].has_work]
        _expect("which have work", busy, keys[:2])
        await _claim(storage, keys[1])
        record = await storage.find(keys[1])
        _expect("the spec stays", record and record.spec, {"id": keys[1].id})


@_check
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
    _expect("the ids of directives", len({directive_id(key, 1, 0) for key in keys}), len(keys))
    async with opened(factory()) as storage:
        for number, key in enumerate(keys):
            await _claim(storage, key)
            await _write(storage, key, commits=(_turn(1, changes={"number": number}),), enqueued=(_signal("w"),))
        for number, key in enumerate(keys):
            stored = await storage.load(key)
            _expect(f"the state of {key}", stored and stored.commits[0].changes, {"number": number})


@_check
async def what_is_forgotten_is_gone(factory: Factory) -> None:
    """Nothing of it is left, and who owned it can write nothing, even into one that is made again."""
    async with opened(factory()) as storage:
        for _ in range(3):
            claim = await _claim(storage)
        turn = _turn(1, claim, directives=({"a": 1},), schedules={"k": ScheduleRecord("k", NOW, {"b": 1})})
        dead = DeadLetter(_signal("d"), "poison", 2, NOW)
        await _write(
            storage,
            claim=claim,
            commits=(turn,),
            snapshot=Snapshot(1, NOW, 1, {}),
            enqueued=(_signal("w"),),
            dead=(dead,),
        )
        _expect("forgotten", await storage.forget(KEY), True)
        _expect("again", await storage.forget(KEY), False)
        _expect("the record", (await storage.find(KEY), await storage.load(KEY)), (None, None))
        _expect("the snapshot", await storage.snapshot(KEY), None)
        _expect("due", await storage.due("default", until=_after(1)), ())
        _expect("the outbox", await storage.outbox("default"), Outbox(0, None))
        _expect("the dead letters", await storage.dead_letters(KEY), ())
        await _refused(storage, Fenced, claim=claim, commits=(_turn(2, claim),))
        new = await _claim(storage)
        _expect("a higher claim", new > claim, True)
        await _refused(storage, Fenced, claim=claim, commits=(_turn(1, claim),))
        stored = await storage.load(KEY)
        assert stored is not None
        _expect("a new agent", (stored.commits, stored.waiting, stored.schedules, stored.directives), ((), (), (), ()))
        await _write(storage, claim=new, commits=(_turn(1, new),))


# Turns.


@_check
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
            time=_after(0.000001),
            extensions={"n": 1, "b": True, "t": "x"},
        ),
        _after(0.123456),
        2**70,
        Code("desk", 3, "d", "m:C.D"),
        Address("parent", "p"),
        {"tag": Address("child"), "other tag": Address("child", "q")},
        "committed",
        {"none": None, "deep": {"a": [1, 2.5, "ü\ud83d", True, {}]}, "big": 2**80, "text": "line\nline\u2028"},
        ({"directive": "Emit", "type": "x"}, {"directive": "Stop"}),
        (),
        {"k": ScheduleRecord("k", _after(1.5), {"directive": "Schedule"}, "id"), "gone": None},
        {"s0": {"value": [1]}},
    )
    refused = Commit(2, 1, _signal("y"), NOW, 0, CODE, outcome="rejected")
    async with opened(factory()) as storage:
        await _claim(storage)
        await _write(storage, commits=(turn, refused))
        stored = await storage.load(KEY)
        _expect("loaded", stored and stored.commits, (turn, refused))
        _expect("read", await storage.commits(KEY, after=1), (refused,))
        _expect("a page", await storage.commits(KEY, limit=1), (turn,))
        _expect("of nobody", await storage.commits(AgentKey("r", None, "nobody")), ())


@_check
async def turns_follow_one_another(factory: Factory) -> None:
    """A write that names another sequence is refused as a whole, and hears which is the last."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await _write(storage, commits=(_turn(1), _turn(2)))
        for turns in ((_turn(2, id="a"),), (_turn(4),), (_turn(3), _turn(5)), (_turn(3), _turn(3, id="b"))):
            error = await _refused(
                storage,
                CommitFailed,
                commits=turns,
                snapshot=Snapshot(2, NOW, 1, {}),
                enqueued=(_signal("w"),),
            )
            _expect("what is said", (error.in_doubt, error.found in (2, 3)), (False, True))
        stored = await storage.load(KEY)
        assert stored is not None
        _expect("commits", [commit.sequence for commit in stored.commits], [1, 2])
        _expect("the rest", (stored.snapshot, stored.waiting, stored.record.sequence), (None, (), 2))
        await _write(storage, commits=(_turn(3),))


@_check
async def writes_have_outcomes_of_their_own(factory: Factory) -> None:
    """Of several that come together, those that are right are written, in order."""
    other = AgentKey("default", None, "other")
    async with opened(factory()) as storage:
        await _claim(storage)
        await _claim(storage, other)
        outcomes = await storage.append(
            Write(KEY, 1, NOW, (_turn(1),)),
            Write(other, 9, NOW, (_turn(1),)),
            Write(KEY, 1, NOW, (_turn(1, id="x"),)),
            Write(KEY, 1, NOW, (_turn(2),)),
            Write(other, 1, NOW, (_turn(1, changes={"a": object()}),)),
            Write(other, 1, NOW, (_turn(1),)),
            Write(other, 1, NOW, (_turn(2, id="s1"),)),
        )
        kinds = [None if outcome is None else type(outcome).__name__ for outcome in outcomes]
        _expect("the outcomes", kinds, [None, "Fenced", "CommitFailed", None, "StorageError", None, "Duplicate"])
        _expect("of one", len(await storage.commits(KEY)), 2)
        _expect("of the other", len(await storage.commits(other)), 1)
        _expect("nothing to write", await storage.append(), ())


@_check
async def what_is_no_plain_data_is_refused(factory: Factory) -> None:
    """And nothing of it is written."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await _refused(storage, StorageError, commits=(_turn(1), _turn(2, changes={"a": {1, 2}})))
        await _refused(storage, StorageError, commits=(_turn(1, directives=({"a": object()},)),))
        await _refused(storage, StorageError, enqueued=(Signal("x", object()),))
        await _refused(storage, StorageError, commits=(_turn(1),), snapshot=Snapshot(1, NOW, 1, {"a": b""}))
        async with _raising("enqueue", StorageError):
            await storage.enqueue(KEY, _signal("w"), Signal("x", object()), now=NOW)
        stored = await storage.load(KEY)
        _expect("nothing", stored and (stored.commits, stored.waiting), ((), ()))
        await _write(storage, commits=(_turn(1),))


@_check
async def a_signal_is_handled_once(factory: Factory) -> None:
    """A turn for a signal that was handled is a `Duplicate`; but not for one that died."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await _write(storage, commits=(_turn(1, id="a"),))
        error = await _refused(storage, Duplicate, commits=(_turn(2, id="b"), _turn(3, id="a")))
        _expect("which", (error.signal_id, error.sequence), ("a", 1))
        await _refused(storage, Duplicate, commits=(_turn(2, id="c"), _turn(3, id="c")))
        await _refused(storage, Duplicate, commits=(_turn(2, id="a", outcome="dead"),))
        await _write(storage, commits=(_turn(2, id="d", outcome="dead", changes={}),))
        _expect("of a dead one", await storage.handled(KEY, "d"), None)
        await _write(storage, commits=(_turn(3, id="d"),))
        handled = await storage.handled(KEY, "a")
        _expect("handled", handled and (handled.sequence, handled.is_answered), (1, False))
        _expect("the last", (await storage.load(KEY)).record.sequence, 3)  # type: ignore[union-attr]


@_check
async def answers_are_kept(factory: Factory) -> None:
    """In the turn that handled the signal, or in a later one."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await _write(storage, commits=(_turn(1, id="a", answers={"a": None}), _turn(2, id="b")))
        await _write(storage, commits=(_turn(3, answers={"b": [1, "x"], "nobody": 1}),))
        a, b = await storage.handled(KEY, "a"), await storage.handled(KEY, "b")
        _expect("at once", a and (a.sequence, a.answer, a.is_answered), (1, None, True))
        _expect("later", b and (b.sequence, b.answer, b.is_answered), (2, [1, "x"], True))
        _expect("of nobody", await storage.handled(KEY, "nobody"), None)


@_check
async def many_commit_at_once(factory: Factory) -> None:
    """Each of many agents has all its turns, in order."""
    keys = [AgentKey("default", None, f"agent-{number}") for number in range(20)]
    async with opened(factory()) as storage:

        async def work(key: AgentKey) -> None:
            await _claim(storage, key)
            for sequence in range(1, 6):
                await _write(storage, key, commits=(_turn(sequence),), enqueued=(_signal(f"w{sequence}"),))

        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(work, key)
        for key in keys:
            stored = await storage.load(key)
            assert stored is not None
            _expect(f"turns of {key}", [commit.sequence for commit in stored.commits], [1, 2, 3, 4, 5])
            _expect(f"signals of {key}", [one.signal.id for one in stored.waiting], ["w1", "w2", "w3", "w4", "w5"])


@_check
async def a_cancelled_commit_is_whole(factory: Factory) -> None:
    """Whoever is cancelled while it commits: the turn is there or it is not, and the next one can be written."""
    async with opened(factory()) as storage:
        await _claim(storage)
        for round in range(5):
            before = await storage.find(KEY)
            assert before is not None
            turn = _turn(before.sequence + 1, id=f"r{round}", directives=({"a": 1},))

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
            _expect("at most one turn", after.record.sequence - before.sequence in (0, 1), True)
            found = [one for one in after.directives if one.sequence == turn.sequence]
            _expect("its directive", len(found), 1 if written else 0)
            await _write(storage, commits=(_turn(after.record.sequence + 1, id=f"n{round}"),))


# Snapshots, history, retention.


@_check
async def a_restore_begins_with_the_newest_snapshot(factory: Factory) -> None:
    """And has the turns after it; older ones are found by turn and by time."""
    async with opened(factory()) as storage:
        await _claim(storage)
        first = Snapshot(0, NOW, 1, {"a": 0})
        second = Snapshot(2, _after(2), 1, {"a": 2, "deep": [{"b": None}]})
        await _write(storage, commits=(_turn(1),), snapshot=first)
        await _write(storage, commits=(_turn(2), _turn(3)), snapshot=second)
        stored = await storage.load(KEY)
        assert stored is not None
        _expect("loaded", (stored.snapshot, stored.commits), (second, (_turn(3),)))
        _expect(
            "by turn", [await storage.snapshot(KEY, until=turn) for turn in (0, 1, 2, 9)], [first, first] + [second] * 2
        )
        times = [await storage.snapshot(KEY, until=_after(seconds)) for seconds in (-1, 0, 1.9, 2, 5)]
        _expect("by time", times, [None, first, first, second, second])
        better = Snapshot(2, _after(2), 2, {"a": "two"})
        await _write(storage, snapshot=better)
        _expect("replaced", await storage.snapshot(KEY), better)


@_check
async def retention_keeps_what_a_restore_needs(factory: Factory) -> None:
    """Turns go up to a snapshot; signals, directives, schedules, and the last sequence stay."""
    async with opened(factory()) as storage:
        await _claim(storage)
        schedule = ScheduleRecord("k", NOW, {"b": 1})
        turn = _turn(1, directives=({"a": 1},), schedules={"k": schedule})
        await _write(storage, commits=(turn, _turn(2), _turn(3), _turn(4)), enqueued=(_signal("w"),))
        _expect("without a snapshot", await storage.trim(KEY, keep=1), 0)
        await _write(storage, commits=(_turn(5),), snapshot=Snapshot(2, _after(2), 1, {"last": 2}))
        await _write(storage, commits=(_turn(6),), snapshot=Snapshot(4, _after(4), 1, {"last": 4}))
        _expect("young enough", await storage.trim(KEY, before=_after(2), keep=100), 0)
        _expect("gone", await storage.trim(KEY, before=_after(4)), 2)
        async with _raising("commits", HistoryGone):
            await storage.commits(KEY)
        try:
            await storage.commits(KEY, after=1)
        except HistoryGone as gone:
            _expect("the oldest", gone.oldest, 2)
        _expect("what stays", await storage.commits(KEY, after=2), (_turn(3), _turn(4), _turn(5), _turn(6)))
        _expect("gone too", await storage.trim(KEY, keep=1), 2)
        stored = await storage.load(KEY)
        assert stored is not None
        _expect(
            "loaded", (stored.snapshot, stored.commits), (Snapshot(4, _after(4), 1, {"last": 4}), (_turn(5), _turn(6)))
        )
        _expect("directives", len(stored.directives), 1)
        _expect("schedules", stored.schedules, (schedule,))
        _expect("waiting", await _waiting(storage), [("w", 0)])
        await _write(storage, snapshot=Snapshot(6, _after(6), 1, {"last": 6}))
        _expect("all", await storage.trim(KEY, keep=0), 2)
        record = await storage.find(KEY)
        _expect("the last sequence", record and record.sequence, 6)
        _expect("still a duplicate", await storage.enqueue(KEY, _signal("s1"), now=NOW), (False,))
        await storage.trim(KEY, handled_before=_after(2))
        _expect("forgotten", await storage.handled(KEY, "s1"), None)
        _expect("remembered", (await storage.handled(KEY, "s2")) is not None, True)
        await _write(storage, commits=(_turn(7),))
        _expect("of nobody", await storage.trim(AgentKey("r", None, "nobody"), keep=0), 0)


# Signals.


@_check
async def signals_wait_in_order(factory: Factory) -> None:
    """Each id once, behind those that wait, from anybody."""
    async with opened(factory()) as storage:
        async with _raising("enqueue", AgentNotFound):
            await storage.enqueue(KEY, _signal("a"), now=NOW)
        await _claim(storage)
        await _write(storage, commits=(_turn(1, id="handled"),))
        new = await storage.enqueue(KEY, _signal("b"), _signal("a"), _signal("b"), _signal("handled"), now=_after(1))
        _expect("which are new", new, (True, True, False, False))
        _expect("again", await storage.enqueue(KEY, _signal("a"), _signal("c"), now=NOW), (False, True))
        await _write(storage, enqueued=(_signal("a"), _signal("d"), _signal("handled")))
        _expect("waiting", await _waiting(storage), [("b", 0), ("a", 0), ("c", 0), ("d", 0)])
        stored = await storage.load(KEY)
        assert stored is not None
        _expect("the signal", (stored.waiting[0].signal, stored.waiting[0].now), (_signal("b"), _after(1)))
        _expect("nothing", await storage.enqueue(KEY, now=NOW), ())


@_check
async def deliveries_are_counted(factory: Factory) -> None:
    """Taking counts, and takes nothing away."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await storage.enqueue(KEY, *map(_signal, "abcd"), now=NOW)
        first = await storage.take(KEY, 1, limit=2)
        _expect("the first", [(one.signal.id, one.deliveries) for one in first], [("a", 1), ("b", 1)])
        rest = await storage.take(KEY, 1, after=first[-1].position)
        _expect("the rest", [one.signal.id for one in rest], ["c", "d"])
        again = await storage.take(KEY, 1, limit=1)
        _expect("again", [(one.signal.id, one.deliveries) for one in again], [("a", 2)])
        _expect("waiting", await _waiting(storage), [("a", 2), ("b", 1), ("c", 1), ("d", 1)])
        _expect("behind the last", await storage.take(KEY, 1, after=rest[-1].position), ())


@_check
async def a_signal_is_finished_with_its_turn(factory: Factory) -> None:
    """In one write; what comes again later is left out."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await storage.enqueue(KEY, *map(_signal, "abc"), now=NOW)
        await _write(storage, commits=(_turn(1, id="a"),), finished=("a",))
        await _refused(storage, Duplicate, commits=(_turn(2, id="a"),), finished=("b",))
        _expect("waiting", await _waiting(storage), [("b", 0), ("c", 0)])
        _expect("it comes again", await storage.enqueue(KEY, _signal("a"), now=NOW), (False,))
        await _write(storage, commits=(_turn(2, id="b"), _turn(3, id="c")), finished=("b", "c", "nobody"))
        _expect("nothing waits", await _waiting(storage), [])


@_check
async def a_postponed_signal_waits_behind_the_others(factory: Factory) -> None:
    """With one more delivery counted."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await storage.enqueue(KEY, *map(_signal, "abc"), now=NOW)
        await _write(storage, postponed=("a", "nobody"))
        _expect("waiting", await _waiting(storage), [("b", 0), ("c", 0), ("a", 1)])
        await _write(storage, postponed=("b", "a"))
        _expect("waiting", await _waiting(storage), [("c", 0), ("b", 1), ("a", 2)])
        outcomes = await storage.append(
            Write(KEY, 1, NOW, finished=("c",)),
            Write(KEY, 1, NOW, enqueued=(_signal("c"),)),
            Write(KEY, 1, NOW, postponed=("b",)),
            Write(KEY, 1, NOW, enqueued=(_signal("b"), _signal("e"))),
        )
        _expect("the outcomes", outcomes, (None,) * 4)
        _expect("one after the other", await _waiting(storage), [("a", 2), ("c", 0), ("b", 2), ("e", 0)])
        await _write(storage, commits=(_turn(1, id="c"),), postponed=("c",))
        _expect("what was handled waits no more", await _waiting(storage), [("a", 2), ("b", 2), ("e", 0)])


@_check
async def dead_letters_can_be_redriven(factory: Factory) -> None:
    """They leave the mailbox with their turn, and come back as new ones."""
    async with opened(factory()) as storage:
        await _claim(storage)
        await storage.enqueue(KEY, *map(_signal, "abc"), now=NOW)
        letters = {id: DeadLetter(_signal(id), f"crashed on {id}", 2, _after(5)) for id in "abc"}
        turn = _turn(1, id="a", outcome="dead", changes={})
        await _write(storage, commits=(turn,), dead=(letters["a"],))
        await _write(storage, dead=(letters["c"], letters["b"]))
        _expect("nothing waits", await _waiting(storage), [])
        _expect("the letters", await storage.dead_letters(KEY), (letters["a"], letters["c"], letters["b"]))
        _expect("the newest", await storage.dead_letters(KEY, limit=1), (letters["b"],))
        _expect("redriven", await storage.redrive(KEY, "a", now=NOW), 1)
        _expect("discarded", await storage.discard(KEY, "c"), 1)
        _expect("of nobody", await storage.redrive(KEY, "nobody", now=NOW), 0)
        _expect("the rest", await storage.redrive(KEY, now=NOW), 1)
        _expect("waiting", await _waiting(storage), [("a", 0), ("b", 0)])
        _expect("no letters", (await storage.dead_letters(KEY), await storage.discard(KEY)), ((), 0))
        await _write(storage, commits=(_turn(2, id="a"),), finished=("a",))


# What was decided.


@_check
async def directives_are_open_until_they_are_done(factory: Factory) -> None:
    """In the order of turns and places; a turn may mark its own."""
    async with opened(factory()) as storage:
        await _claim(storage)
        own = directive_id(KEY, 1, 1)
        turn = _turn(1, directives=({"a": 1}, {"b": 2}, {"c": 3}), done=(own,))
        await _write(storage, commits=(turn, *(_turn(number, directives=({"d": number},)) for number in range(2, 12))))
        found = await storage.open_directives(KEY)
        places = [(1, 0), (1, 2), *((number, 0) for number in range(2, 12))]
        _expect("open", [(one.sequence, one.index) for one in found], places)
        _expect("their ids", _ids(found), [directive_id(KEY, *place) for place in places])
        _expect("one of them", (found[1].directive, found[1].now), ({"c": 3}, _after(1)))
        _expect("the outbox", await storage.outbox("default"), Outbox(12, _after(1)))
        _expect("of another runtime", await storage.outbox("other"), Outbox(0, None))
        done = (directive_id(KEY, 1, 0), directive_id(KEY, 9, 9), own)
        await _write(storage, done=done, enqueued=(_signal("result"),))
        await _write(storage, commits=(_turn(12, id="result", done=(directive_id(KEY, 1, 2),)),), finished=("result",))
        stored = await storage.load(KEY)
        assert stored is not None
        _expect("left", [one.sequence for one in stored.directives], list(range(2, 12)))
        _expect("the outbox", await storage.outbox("default"), Outbox(10, _after(2)))


@_check
async def schedules_are_found_when_they_are_due(factory: Factory) -> None:
    """The earliest first, from all agents of a runtime, until a turn changes them."""
    other = AgentKey("default", "p", "other")

    def record(name: str, seconds: float) -> ScheduleRecord:
        return ScheduleRecord(name, _after(seconds), {"directive": "Schedule", "name": name}, f"id-{name}")

    async with opened(factory()) as storage:
        await _claim(storage)
        await _claim(storage, other)
        await _write(storage, commits=(_turn(1, schedules={"b": record("b", 3), "a": record("a", 7)}),))
        await _write(storage, other, commits=(_turn(1, schedules={"c": record("c", 5)}),))
        due = await storage.due("default", until=_after(100))
        _expect(
            "due",
            [(one.key, one.schedule, one.due) for one in due],
            [(KEY, "b", _after(3)), (other, "c", _after(5)), (KEY, "a", _after(7))],
        )
        _expect("at a time", len(await storage.due("default", until=_after(5))), 2)
        _expect("the first", await storage.due("default", until=_after(100), limit=1), due[:1])
        _expect("of another runtime", await storage.due("other", until=_after(100)), ())
        changes = {"b": record("b", 9), "a": None, "nobody": None, "d": record("d", 1)}
        await _write(storage, commits=(_turn(2, schedules=changes), _turn(3, schedules={"d": None})))
        stored = await storage.load(KEY)
        _expect("changed", stored and stored.schedules, (record("b", 9),))


CHECKS: Final[tuple[Check, ...]] = tuple(_checks)
"""All checks, in the order in which one would mend what fails."""
