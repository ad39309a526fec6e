"""Effects follow their turn, also over crashes and kills: each at least once, and counted once by who is durable."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from tests.durability.agents import (
    Heard,
    Puppet,
    Task,
    World,
    copied,
    doing,
    emit,
    heard_types,
    letters,
    own,
    past,
    pay,
    puppets,
    quiet,
    settle,
    stroll,
    stubborn,
)
from tests.durability.filmed import filmed

from prunella.actions import IdempotencyKey
from prunella.agents import (
    AgentCrashed,
    AgentStopped,
    Ask,
    Cancel,
    Directive,
    Emit,
    NoReply,
    Rejected,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    on,
)
from prunella.runtime import (
    AgentSpec,
    DirectiveFailed,
    EffectContext,
    EffectException,
    EffectStart,
    EffectStop,
    ReplyDropped,
    open_runtime,
)
from prunella.signals import Signal
from prunella.storage import AgentKey, MemoryStorage, directive_id
from prunella.supervision import Supervisor
from prunella.testing.storage import Fault, FaultyStorage

assert IdempotencyKey

# D21: ids of directives; D11: idempotency keys.


async def test_an_action_that_wants_it_gets_the_id_of_its_directive(outside: World) -> None:
    async with open_runtime(name="a b", storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p/1", partition="ä")
        await ref.call("note", value="first")
        await ref.call(doing(emit("p/1", "x"), Run(pay, {"amount": 1})))
        await quiet(ref)
    assert outside.keys == ["a%20b/%C3%A4/p%2F1/2/1"]
    async with open_runtime(storage=MemoryStorage()) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call("pay", amount=1)
        await quiet(ref)
    assert outside.keys[1] == "default/-/p/1/0" == directive_id(AgentKey("default", None, "p"), 1, 0)


async def test_each_attempt_has_the_same_key(outside: World) -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Run(stubborn, {"amount": 1}, then="got")))
        await ref.wait_for(lambda state: state.log == ("got 1",))
    assert outside.keys == ["default/-/p/1/0"] * 3


async def test_running_work_is_cut_off_by_a_crash_and_begins_anew_with_the_same_key(outside: World) -> None:
    outside.seconds = 10
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("pay", amount=1)
        await trio.sleep(5)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await trio.sleep(9)
        assert outside.done == []
        await ref.wait_for(lambda state: state.log == ("pay 1", "paid 1"))
        assert outside.done == [1]
        assert outside.keys == ["default/-/p/1/0"] * 2
        await quiet(ref)
        assert (await runtime.outbox()).count == 0


async def test_running_work_begins_anew_after_a_kill(outside: World) -> None:
    outside.seconds = 10
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("pay", amount=1)
        await trio.sleep(5)
        killed = copied(storage)
    outside.done.clear()
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.wait_for(lambda state: state.log == ("pay 1", "paid 1"))
    assert outside.done == [1]
    assert set(outside.keys) == {"default/-/p/1/0"}


# Exactly once between durable agents, at least once outside, whenever the process is killed.


def _work() -> list[Directive]:
    return [
        emit("q", "a"),
        Run(pay, {"amount": 1}, then="paid"),
        emit("p", "self"),
        Ask("q", "echo", {"value": 5}, then="got"),
        Schedule(0.5, "note", {"value": "later"}),
        emit("q", "b"),
    ]


async def test_whenever_the_process_is_killed_each_effect_is_done_and_counted_once(outside: World) -> None:
    storage, copies = filmed()
    tree = Supervisor(puppets("p", "q"))
    async with open_runtime(tree, storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await p.call(doing(*_work(), note="go"))
        await trio.sleep(2)
        await quiet(p, q)
        expected = sorted(p.state().log), q.state().log
    assert expected == (sorted(["go", "self", "paid 1", "got 5", "later"]), ("a", "b", "echo 5")) or (
        expected[0] == sorted(["go", "self", "paid 1", "got 5", "later"])
        and sorted(expected[1]) == ["a", "b", "echo 5"]
        and expected[1].index("a") < expected[1].index("b")
    )
    assert len(copies) > 8
    finished = 0
    for killed in copies:
        outside.begin_anew()
        async with open_runtime(tree, storage=killed) as runtime:
            p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
            await trio.sleep(2)
            await quiet(p, q)
            if "go" not in p.state().log:
                assert p.state().log == q.state().log == ()
                assert outside.done == []
                continue
            finished += 1
            assert sorted(p.state().log) == expected[0]
            assert sorted(q.state().log) == sorted(expected[1])
            assert q.state().log.index("a") < q.state().log.index("b")
            assert len(outside.done) <= 1
            assert (await runtime.outbox()).count == 0
    assert finished > 4


async def test_a_chain_of_agents_counts_each_signal_once_whenever_it_is_killed() -> None:
    """p sends ten to q, which asks r for each, and takes the answers."""
    storage, copies = filmed()
    tree = Supervisor(puppets("p", "q", "r"))
    numbers = [str(number) for number in range(5)]
    async with open_runtime(tree, storage=storage) as runtime:
        p, q, r = (runtime.ref(id, Puppet) for id in "pqr")
        inner = [doing(Ask("r", "echo", {"value": number}, then="got"), note=number) for number in numbers]
        await p.call(doing(*[Emit(signal, to="q") for signal in inner]))
        await quiet(p, q, r)
    for killed in copies:
        async with open_runtime(tree, storage=killed) as runtime:
            p, q, r = (runtime.ref(id, Puppet) for id in "pqr")
            await trio.sleep(1)
            await quiet(p, q, r)
            log = q.state().log
            if log or await heard_types(killed, Puppet, "p"):
                assert [entry for entry in log if not entry.startswith("got")] == numbers
                assert sorted(entry for entry in log if entry.startswith("got")) == [f"got {n}" for n in numbers]
                assert r.state().log == tuple(f"echo {n}" for n in numbers)


async def test_a_signal_that_was_sent_twice_has_the_same_id(outside: World) -> None:
    """Version 8, with the time of the turn in front."""
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(emit("q", "x")))
        killed = copied(storage)
        await quiet(ref, runtime.ref("q", Puppet))
    async with open_runtime(Supervisor(puppets("p", "q")), storage=killed) as runtime:
        await quiet(runtime.ref("p", Puppet), runtime.ref("q", Puppet))
    ids = [(await past(kept, Puppet, "q"))[0].turn.signal.id for kept in (storage, killed)]
    assert ids[0] == ids[1]
    assert ids[0][14] == "8"
    turn = (await past(storage, Puppet, "p"))[0].turn
    assert int(ids[0].replace("-", "")[:12], 16) == int(turn.now.timestamp() * 1000)


async def test_signals_of_different_directives_have_different_ids() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(*[emit("q", "x")] * 5))
        await ref.call(doing(*[emit("q", "x")] * 5))
        await quiet(ref, runtime.ref("q", Puppet))
        assert len(runtime.ref("q", Puppet).state().log) == 10


async def test_a_whole_signal_that_is_emitted_keeps_its_own_id() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Emit(Signal("note", {"value": "x"}, id="mine"), to="q")))
        await quiet(ref, runtime.ref("q", Puppet))
    assert (await past(storage, Puppet, "q"))[0].turn.signal.id == "mine"


# Order.


async def test_open_directives_are_resumed_in_order() -> None:
    storage = MemoryStorage()
    tree = Supervisor(puppets("p", "q", mailbox=2))
    async with open_runtime(tree, storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await q.suspend()
        for number in range(20):
            await p.call(doing(emit("q", f"{number}a"), emit("q", f"{number}b")))
        await trio.sleep(1)
        assert (await runtime.outbox()).count > 30
        killed = copied(storage)
    for kept in (storage, killed):
        async with open_runtime(tree, storage=kept) as runtime:
            p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
            await p.call(doing(emit("q", "last")))
            await quiet(p, q)
            assert q.state().log == (*[f"{n}{letter}" for n in range(20) for letter in "ab"], "last")
            assert (await runtime.outbox()).count == 0


async def test_a_crash_does_not_change_the_order_of_what_waits_for_a_target() -> None:
    async with open_runtime(
        Supervisor(puppets("p", "q", mailbox=2)), storage=MemoryStorage(), max_restarts=10
    ) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await q.suspend()
        for number in range(10):
            await p.call(doing(emit("q", str(number))))
            if number in (3, 7):
                with pytest.raises(AgentCrashed):
                    await p.call("boom")
        await q.resume()
        await quiet(p, q)
        assert q.state().log == tuple(str(number) for number in range(10))


# Results and streams.


async def test_a_stream_gives_each_value_once_over_a_crash() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Run(letters, {"text": "abcde"}, each="item", then="got")))
        await ref.wait_for(lambda state: len(state.log) == 2)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await trio.sleep(1.5)
        killed = copied(storage)
        await trio.sleep(20)
        await quiet(ref)
        expected = ("0 a", "1 b", "2 c", "3 d", "4 e")
        assert ref.state().log[:5] == expected
        assert len(ref.state().log) == 6
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.wait_for(lambda state: len(state.log) == 6)
        assert ref.state().log[:5] == expected


async def test_a_stream_gives_each_value_once_whenever_it_is_killed() -> None:
    storage, copies = filmed()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Run(letters, {"text": "abc"}, each="item")))
        await trio.sleep(10)
        await quiet(ref)
    for killed in copies:
        async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
            ref = runtime.ref("p", Puppet)
            await trio.sleep(10)
            await quiet(ref)
            if await heard_types(killed, Puppet, "p"):
                assert ref.state().log == ("0 a", "1 b", "2 c")


async def test_a_result_and_the_end_of_its_work_are_one_commit(outside: World) -> None:
    """After a kill the work is either done again, or its result is there; never both, never none."""
    storage, copies = filmed()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("pay", amount=1)
        await quiet(ref)
    for killed in copies:
        outside.begin_anew()
        async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
            ref = runtime.ref("p", Puppet)
            stored = await killed.load(AgentKey("default", None, "p"))
            assert stored is not None
            await quiet(ref)
            if ref.state().log:
                assert ref.state().log == ("pay 1", "paid 1")
                assert (await runtime.outbox()).count == 0


async def test_work_that_fails_tells_its_agent(outside: World) -> None:
    outside.broken.add("bank")
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        with pytest.raises(Rejected, match="the bank is closed"):
            await ref.ask("pay", amount=1)
        await quiet(ref)
        assert ref.state().log[0] == "pay 1"
        assert ref.state().log[1].startswith("unpaid")
        assert (await runtime.outbox()).count == 0
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert len(outside.keys) == 1


async def test_an_effect_that_failed_is_not_tried_again_after_a_restart(heard: Heard) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(emit("nobody", "x")))
        await quiet(ref)
    async with open_runtime(Supervisor(puppets("p")), storage=storage, telemetry=[heard]) as runtime:
        await quiet(runtime.ref("p", Puppet))
    assert heard.of(EffectException) == []


async def test_work_that_was_called_off_does_not_come_back(outside: World) -> None:
    outside.seconds = 10
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Run(pay, {"amount": 1}, then="paid", key="job")))
        await trio.sleep(1)
        await ref.call(doing(Cancel("job")))
        killed = copied(storage)
        await trio.sleep(20)
        assert outside.done == []
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        await trio.sleep(20)
        assert outside.done == []
        assert runtime.ref("p", Puppet).state().log == ()


async def test_a_second_run_with_a_key_replaces_the_first_also_over_a_kill(outside: World) -> None:
    outside.seconds = 10
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for amount in (1, 2):
            await ref.call(doing(Run(pay, {"amount": amount}, then="paid", key="job")))
            await trio.sleep(1)
        killed = copied(storage)
        await trio.sleep(20)
        assert ref.state().log == ("paid 2",)
    outside.done.clear()
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        await trio.sleep(20)
        assert outside.done == [2]
        assert runtime.ref("p", Puppet).state().log == ("paid 2",)


async def test_tasks_of_an_agent_begin_anew_after_a_kill(outside: World) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(SpawnTask(stroll, {"seconds": 10})))
        await trio.sleep(1)
        killed = copied(storage)
        await trio.sleep(20)
        assert outside.done == ["out", "back"]
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        await trio.sleep(20)
        assert outside.done == ["out", "back"] * 2
        assert (await runtime.outbox()).count == 0


# R31.


async def test_an_action_may_want_its_runtime_and_its_agent_also_after_a_kill() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, name="r") as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Run(own, {"word": "w"}, then="got")))
        killed = copied(storage)
        await ref.wait_for(lambda state: state.log == ("got w r p",))
    async with open_runtime(Supervisor(puppets("p")), storage=killed, name="r") as runtime:
        await runtime.ref("p", Puppet).wait_for(lambda state: state.log == ("got w r p",))


# Asks, D24.


async def test_an_ask_goes_on_over_a_crash(outside: World) -> None:
    outside.seconds = 5
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            ask = Task(nursery, ref.ask, "pay", amount=3)
            await trio.sleep(2)
            with pytest.raises(AgentCrashed):
                await ref.call("boom")
        assert ask.error is None
        assert ask.value == 3


async def test_an_ask_of_an_agent_goes_on_over_crashes_of_both(outside: World) -> None:
    outside.seconds = 5
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage(), max_restarts=9) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        async with trio.open_nursery() as nursery:
            ask = Task(nursery, p.ask, doing(Ask("q", "pay", {"amount": 3}, then="answered")))
            await trio.sleep(1)
            for ref in (p, q):
                with pytest.raises(AgentCrashed):
                    await ref.call("boom")
        assert ask.error is None
        assert ask.value == 3
        assert p.state().log == ("answered 3",)


async def test_an_ask_of_an_agent_is_asked_again_after_a_kill_and_answered_once(outside: World) -> None:
    outside.seconds = 5
    storage = MemoryStorage()
    tree = Supervisor(puppets("p", "q"))
    async with open_runtime(tree, storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await p.call(doing(Ask("q", "pay", {"amount": 3}, then="got", catch="failed")))
        await trio.sleep(1)
        killed = copied(storage)
    outside.begin_anew()
    async with open_runtime(tree, storage=killed) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await trio.sleep(20)
        await quiet(p, q)
        assert q.state().log == ("pay 3", "paid 3")
        # It was handled before the kill, and its reply, if it came, has nobody left whom it could reach.
        assert p.state().log in (("got 3",), ("failed Duplicate",), ("failed NoReply",))
        assert (await runtime.outbox()).count == 0


async def test_an_ask_whose_answer_was_recorded_gets_it_after_a_kill() -> None:
    storage, copies = filmed()
    tree = Supervisor(puppets("p", "q"))
    async with open_runtime(tree, storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await p.call(doing(Ask("q", "echo", {"value": 3}, then="got", catch="failed")))
        await quiet(p, q)
    for killed in copies:
        async with open_runtime(tree, storage=killed) as runtime:
            p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
            await quiet(p, q)
            if await heard_types(killed, Puppet, "p"):
                assert (p.state().log, q.state().log) == (("got 3",), ("echo 3",))


async def test_a_reply_after_a_restart_of_the_process_is_dropped_and_reported(outside: World, heard: Heard) -> None:
    outside.seconds = 5
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            ask = Task(nursery, ref.ask, "pay", amount=3)
            await trio.sleep(1)
            killed = copied(storage)
            await ref.stop()
        assert isinstance(ask.error, AgentStopped)
    async with open_runtime(Supervisor(puppets("p")), storage=killed, telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.wait_for(lambda state: state.log == ("pay 3", "paid 3"))
        await quiet(ref)
        assert len(heard.of(ReplyDropped)) == 1


async def test_an_ask_ends_when_no_reply_can_come(outside: World) -> None:
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        for signal in (
            Signal("note", {"value": "a"}),
            doing(emit("q", "x")),
            doing(Run(pay, {"amount": 1}, then="got")),
            doing(Schedule(5, "note", {"value": "x"})),
        ):
            with pytest.raises(NoReply), trio.fail_after(30):
                await ref.ask(signal)
        with pytest.raises(Rejected), trio.fail_after(30):
            await ref.ask("refuse")


# R30: call_settled.


async def test_call_settled_returns_when_each_directive_was_executed(outside: World) -> None:
    outside.seconds = 3
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        before = trio.current_time()
        state = await ref.call_settled(doing(emit("q", "x"), Run(pay, {"amount": 1}), Schedule(99, "tick"), note="n"))
        assert trio.current_time() - before == pytest.approx(3, abs=0.5)
        assert state.log == ("n",)
        assert outside.done == [1]
        with pytest.raises(DirectiveFailed) as failed:
            await ref.call_settled(doing(emit("nobody", "x"), emit("q", "y"), emit("nobody else", "x")))
        assert len(failed.value.failures) == 2


async def test_call_settled_goes_on_over_a_crash(outside: World) -> None:
    outside.seconds = 5
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        async with trio.open_nursery() as nursery:
            call = Task(nursery, ref.call_settled, "pay", amount=3)
            await trio.sleep(2)
            with pytest.raises(AgentCrashed):
                await ref.call("boom")
            await trio.sleep(4)
            assert call.is_waiting
        assert call.error is None
        assert call.ended_at is not None
        assert outside.done == [3]


async def test_call_settled_of_an_agent_that_is_stopped_ends() -> None:
    async with open_runtime(Supervisor(puppets("p", "q", mailbox=1)), storage=MemoryStorage()) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        await q.suspend()
        async with trio.open_nursery() as nursery:
            call = Task(nursery, p.call_settled, doing(emit("q", "1"), emit("q", "2"), emit("q", "3")))
            await trio.sleep(1)
            assert call.is_waiting
            await p.stop()
        assert call.error is not None


@pytest.mark.parametrize("way", ["stop", "hibernate", "close"])
async def test_whoever_waits_for_the_work_of_an_agent_that_ends_is_told(outside: World, way: str) -> None:
    outside.seconds = 1000
    async with trio.open_nursery() as nursery:
        async with open_runtime(storage=MemoryStorage()) as runtime:
            ref = await runtime.start_agent(Puppet, "p")
            ask = Task(nursery, ref.ask, "pay", amount=1)
            call = Task(nursery, ref.call_settled, "pay", amount=2)
            await trio.sleep(1)
            assert ask.is_waiting
            assert call.is_waiting
            if way == "stop":
                await ref.stop()
            elif way == "hibernate":
                await runtime.hibernate(ref, force=True)
        await trio.sleep(1)
        assert isinstance(ask.error, AgentStopped)
        assert isinstance(call.error, DirectiveFailed)
        assert isinstance(call.error.failures[0][1], AgentStopped)


class Leaving(Puppet, name="leaving", durable=True):
    """Has something to say when it is stopped."""

    @on("prunella.stopping")
    def stopping(self) -> Any:
        if "said" in self.log:
            return None
        return (
            self.set(log=(*self.log, "said")),
            emit("q", "x"),
            Ask("q", "echo", {"value": 1}, then="got", catch="failed"),
            SpawnAgent(Puppet, tag="c", catch="failed"),
        )


async def test_what_is_decided_while_the_runtime_stops_is_done_by_the_next() -> None:
    """Its targets stop before it."""
    storage = MemoryStorage()
    tree = Supervisor([AgentSpec(Leaving, "p"), *puppets("q")])
    async with open_runtime(tree, storage=storage):
        pass
    assert await heard_types(storage, Leaving, "p") == ["prunella.stopping"]
    async with open_runtime(tree, storage=storage) as runtime:
        p, q = runtime.ref("p", Leaving), runtime.ref("q", Puppet)
        await quiet(p, q)
        assert p.state().log == ("said", "got 1")
        assert q.state().log == ("x", "echo 1")
        assert runtime.ref("p/c", Puppet).status().state == "running"


# Directives of one's own.


@attrs.frozen
class Ring(Directive):
    times: int = 1


async def test_a_directive_of_ones_own_is_executed_again_after_a_kill_with_the_same_id() -> None:
    heard: list[tuple[int, str]] = []

    async def ring(directive: Ring, context: EffectContext) -> Signal:
        heard.append((directive.times, context.directive_id))
        await trio.sleep(5)
        return Signal("note", {"value": f"rang {directive.times}"})

    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, executors={Ring: ring}) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Ring(3)))
        await trio.sleep(1)
        killed = copied(storage)
    async with open_runtime(Supervisor(puppets("p")), storage=killed, executors={Ring: ring}) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.wait_for(lambda state: state.log == ("rang 3",))
        await quiet(ref)
        assert (await runtime.outbox()).count == 0
    assert heard == [(3, "default/-/p/1/0")] * 2


# D10: done marks.


async def test_marks_of_what_is_done_are_batched_and_after_a_kill_it_may_be_done_again() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(emit("q", "x")))
        await runtime.ref("q", Puppet).wait_for(lambda state: state.log == ("x",))
        assert (await runtime.outbox()).count == 1
        await trio.sleep(0.06)
        assert (await runtime.outbox()).count == 0


async def test_the_outbox_tells_how_many_are_open_and_since_when(outside: World) -> None:
    outside.seconds = 100
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage()) as runtime:
        assert (await runtime.outbox()).oldest is None
        started = runtime.clock.wall_now()
        await runtime.ref("p", Puppet).call("pay", amount=1)
        await trio.sleep(5)
        await runtime.ref("q", Puppet).call("pay", amount=1)
        outbox = await runtime.outbox()
        assert outbox.count == 2
        assert outbox.oldest is not None
        assert abs((outbox.oldest - started).total_seconds()) < 0.1


# Telemetry: effects have a start and one end.


async def test_each_effect_that_waits_has_a_start_and_one_end_in_its_process(outside: World, heard: Heard) -> None:
    outside.seconds = 5
    async with open_runtime(Supervisor(puppets("p", "q")), storage=MemoryStorage(), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("pay", amount=1)
        await trio.sleep(1)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await ref.call(doing(emit("q", "x"), emit("nobody", "x")))
        await trio.sleep(20)
        await settle()
    starts = [event.span_id for event in heard.of(EffectStart)]
    ends = [event.span_id for event in [*heard.of(EffectStop), *heard.of(EffectException)]]
    assert sorted(starts, key=str) == sorted(ends, key=str)
    assert len(set(starts)) == len(starts)


# The storage is away while effects are handed over.


async def test_what_cannot_be_handed_over_because_the_storage_is_away_is_not_given_up() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)

        def is_for_q(args: tuple[Any, ...], _: Any) -> bool:
            return any(write.key.id == "q" for write in args)

        storage.faults.append(Fault("append", "unavailable", call=None, when=is_for_q))
        await p.call(doing(emit("q", "x")))
        await trio.sleep(20)
        assert q.state().log == ()
        storage.faults.clear()
        await trio.sleep(20)
        await quiet(p, q)
        assert q.state().log == ("x",)
        assert (await runtime.outbox()).count == 0


async def test_a_reply_is_given_once_also_if_its_turn_is_decided_anew() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        storage.faults.append(Fault("append", "lost_answer"))
        assert await ref.ask(doing(Reply(1))) == 1
        assert await ref.ask(doing(Reply(2))) == 2
