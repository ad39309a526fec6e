"""Publishing: streams, agents that subscribe, patterns, and leaving."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Log, do, settle

from prunella.agents import Agent, Emit, Rejected, on
from prunella.errors import InvalidArgument
from prunella.runtime import AgentRef, AgentSpec, DirectiveFailed, Runtime, emit, open_runtime
from prunella.signals import InvalidPattern
from prunella.supervision import Supervisor


class Publisher(Agent, name="publisher"):
    @on("do")
    def do(self, it: Any) -> Any:
        return it

    @on("publish")
    def publish(self, n: int, type: str = "note.n") -> Any:
        return Emit(type, {"n": n})

    @on("refuse")
    def refuse(self) -> Any:
        raise Rejected("no")


async def publisher(runtime: Runtime, **options: Any) -> AgentRef[Publisher]:
    return await runtime.start_agent(Publisher, "p", **options)


def received(stream: trio.MemoryReceiveChannel[Any]) -> list[Any]:
    """What waits in a stream."""
    found = []
    while True:
        try:
            found.append(stream.receive_nowait().data["n"])
        except trio.WouldBlock:
            return found


async def test_an_emit_without_target_reaches_streams_in_order() -> None:
    async with open_runtime() as runtime, runtime.subscribe("note.*") as stream, runtime.subscribe("**") as all_of_it:
        ref = await publisher(runtime)
        for n in range(3):
            await ref.call("publish", n=n)
        assert received(stream) == [0, 1, 2]
        assert received(all_of_it) == [0, 1, 2]


@pytest.mark.parametrize(
    ("pattern", "heard"),
    [("note.n", True), ("note.*", True), ("note", False), ("*", False), ("**", True), ("**.n", True), ("x.**", False)],
)
async def test_the_pattern_says_which(pattern: str, heard: bool) -> None:
    async with open_runtime() as runtime, runtime.subscribe(pattern) as stream:
        await (await publisher(runtime)).call("publish", n=1)
        assert received(stream) == ([1] if heard else [])


async def test_the_signal_says_whose_it_is() -> None:
    async with open_runtime() as runtime, runtime.subscribe("**") as stream:
        ref = await publisher(runtime)
        await do(ref, Emit("note.n", {"n": 1}, subject="S"))
        signal = stream.receive_nowait()
        assert (signal.source, signal.subject, signal.data) == ("/agents/p", "S", {"n": 1})


async def test_nobody_listens_and_nothing_happens() -> None:
    async with open_runtime() as runtime:
        ref = await publisher(runtime)
        await ref.call_settled("publish", n=1)
        async with runtime.subscribe("**") as stream:
            assert received(stream) == [], "what was before is not kept"


async def test_whoever_has_left_hears_nothing_and_holds_nobody_up() -> None:
    async with open_runtime() as runtime:
        ref = await publisher(runtime)
        async with runtime.subscribe("**", buffer=1) as stream:
            await ref.call("publish", n=1)
            await ref.call("publish", n=2)
            await settle()
            assert ref.status().effects == 1, "the second waits for room"
        await settle()
        assert ref.status().effects == 0
        with pytest.raises(trio.ClosedResourceError):
            stream.receive_nowait()
        await ref.call_settled("publish", n=3)


async def test_a_slow_stream_delays_its_publisher_and_loses_nothing() -> None:
    async with open_runtime() as runtime, runtime.subscribe("**", buffer=2) as stream:
        ref = await publisher(runtime)
        for n in range(10):
            await ref.call("publish", n=n)
        assert ref.status().effects == 8
        assert [(await stream.receive()).data["n"] for _ in range(10)] == list(range(10))


async def test_a_slow_stream_does_not_delay_others() -> None:
    async with open_runtime() as runtime, runtime.subscribe("**", buffer=1), runtime.subscribe("**") as quick:
        ref, log = await publisher(runtime), await runtime.start_agent(Log, subscribe=["note.**"])
        for n in range(5):
            await ref.call("publish", n=n)
        await settle()
        assert received(quick) == [0, 1, 2, 3, 4]
        assert len(log.state().signals) == 5


async def test_a_full_stream_holds_up_only_its_own_publisher_and_its_stop_only_for_its_shutdown_time() -> None:
    async with open_runtime() as runtime, runtime.subscribe("**", buffer=0):
        ref = await publisher(runtime, shutdown=3.0)
        await ref.call("publish", n=1)
        before = trio.current_time()
        await ref.stop()
        assert trio.current_time() - before == 3.0


async def test_call_settled_waits_until_streams_have_taken_it() -> None:
    async with open_runtime() as runtime, runtime.subscribe("**", buffer=1) as stream, trio.open_nursery() as nursery:
        ref = await publisher(runtime)
        await ref.call("publish", n=1)
        done = []

        async def settled() -> None:
            await ref.call_settled("publish", n=2)
            done.append(True)

        nursery.start_soon(settled)
        await settle()
        assert not done
        await stream.receive()
        await settle()
        assert done == [True]


# Agents that subscribe.


async def test_agents_hear_what_their_spec_subscribes_to() -> None:
    tree = Supervisor(
        [AgentSpec(Log, "a", subscribe=["note.n"]), AgentSpec(Log, "b", subscribe=["note.**", "tick"])], id="t"
    )
    async with open_runtime(tree) as runtime:
        ref = await publisher(runtime)
        await ref.call("publish", n=1)
        await ref.call("publish", n=2, type="note.other")
        await ref.call("publish", n=3, type="tick")
        await settle()
        of = {id: [signal.data["n"] for signal in runtime.ref(id, Log).state().signals] for id in "ab"}
        assert of == {"a": [1], "b": [1, 2, 3]}


async def test_an_agent_with_two_patterns_that_match_hears_a_signal_once() -> None:
    async with open_runtime() as runtime:
        log = await runtime.start_agent(Log, subscribe=["note.n", "note.*", "**"])
        await (await publisher(runtime)).call("publish", n=1)
        await settle()
        assert len(log.state().signals) == 1


async def test_an_agent_may_hear_what_it_publishes_itself() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Log, subscribe=["note.**"])
        await do(ref, Emit("note.n", {"n": 1}))
        await settle()
        assert len(ref.state().signals) == 1


async def test_a_subscription_outlives_restarts_and_ends_with_the_agent() -> None:
    async with open_runtime() as runtime:
        ref = await publisher(runtime)
        log = await runtime.start_agent(Log, "log", subscribe=["note.n"])
        await log.cast("boom")
        await settle()
        await ref.call("publish", n=1)
        await settle()
        assert len(log.state().signals) == 1
        await log.stop()
        await ref.call_settled("publish", n=2)
        again = await runtime.start_agent(Log, "log")
        await ref.call_settled("publish", n=3)
        await settle()
        assert again.state().signals == (), "the new one has not subscribed"


async def test_partitions_do_not_divide_what_is_published() -> None:
    async with open_runtime() as runtime:
        log = await runtime.start_agent(Log, partition="west", subscribe=["note.n"])
        ref = await runtime.start_agent(Publisher, partition="east")
        await ref.call("publish", n=1)
        await settle()
        assert len(log.state().signals) == 1


async def test_two_runtimes_do_not_hear_each_other() -> None:
    async with open_runtime(name="a") as one, open_runtime(name="b") as other, other.subscribe("**") as stream:
        await (await publisher(one)).call_settled("publish", n=1)
        assert received(stream) == []


async def test_a_slow_agent_delays_its_publisher() -> None:
    async with open_runtime() as runtime:
        log = await runtime.start_agent(Log, mailbox=2, subscribe=["note.n"])
        await log.suspend()
        ref = await publisher(runtime)
        for n in range(5):
            await ref.call("publish", n=n)
        await settle()
        assert (log.status().mailbox, ref.status().effects) == (2, 3)
        await log.resume()
        await settle()
        assert [signal.data["n"] for signal in log.state().signals] == [0, 1, 2, 3, 4]


async def test_a_subscriber_that_is_stopped_meanwhile_is_a_failed_directive_of_nobody_else() -> None:
    async with open_runtime() as runtime, runtime.subscribe("**") as stream:
        log = await runtime.start_agent(Log, mailbox=1, subscribe=["note.n"])
        await log.suspend()
        ref = await publisher(runtime)
        await ref.call("publish", n=1)
        failures = []

        async def second() -> None:
            try:
                await ref.call_settled("publish", n=2)
            except DirectiveFailed as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            await settle()
            await log.stop()
        assert received(stream) == [1, 2]
        assert len(failures) == 1


async def test_an_error_policy_may_publish() -> None:
    async with open_runtime() as runtime, runtime.subscribe("trouble") as stream:
        ref = await publisher(runtime, error_policy=emit("trouble"))
        await ref.cast("refuse")
        assert (await stream.receive()).data == {
            "agent": "p",
            "error": {"type": "Rejected", "message": "no"},
            "signal_type": "refuse",
        }


async def test_a_policy_that_publishes_to_its_own_agent_does_not_go_round_and_round() -> None:
    async with open_runtime() as runtime, runtime.subscribe("trouble") as stream:
        ref = await publisher(runtime, error_policy=emit("trouble"), subscribe=["**"])
        await ref.cast("refuse")
        await settle()
        assert ref.status().mailbox == 0
        assert (await stream.receive()).data["signal_type"] == "refuse"
        with pytest.raises(trio.WouldBlock):
            stream.receive_nowait()


# Opening.


async def test_what_is_wrong_is_said_at_once() -> None:
    async with open_runtime() as runtime:
        with pytest.raises(InvalidPattern):
            runtime.subscribe("a..b")
        for buffer in (-1, 1.5, True, float("inf"), None):
            with pytest.raises(InvalidArgument) as raised:
                runtime.subscribe("**", buffer=buffer)  # type: ignore[arg-type]
            assert raised.value.field == "buffer"


async def test_a_stream_ends_with_the_runtime() -> None:
    ends = []

    async def listen(runtime: Runtime, *, task_status: trio.TaskStatus[None]) -> None:
        async with runtime.subscribe("**") as stream:
            task_status.started()
            ends.extend([signal.data["n"] async for signal in stream])
            ends.append("end")

    async with trio.open_nursery() as nursery:
        async with open_runtime() as runtime:
            await nursery.start(listen, runtime)
            await (await publisher(runtime)).call("publish", n=1)
    assert ends == [1, "end"]
