"""What holds for every course of events: nothing lost, nothing twice, order kept, and sums that are right."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
import trio
import trio.testing
from benchmarks.soak_agents import Tally, soak
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.turns.agents import Puppet, run

from prunella.agents import AgentCrashed, AgentError, AgentStopped, Emit, Rejected, Stop
from prunella.runtime import AgentRef, AgentSpec, open_runtime

steps = st.lists(
    st.tuples(
        st.integers(0, 3),  # who
        st.sampled_from(["cast", "cast_nowait", "call", "call_settled", "emit", "boom", "refuse", "suspend", "pass"]),
    ),
    max_size=60,
)


@given(steps=steps, mailbox=st.integers(1, 5), effects=st.integers(3, 20), restore=st.sampled_from(["last"]))
@settings(max_examples=150)
def test_over_any_crashes_no_signal_is_lost_or_doubled_and_each_sender_keeps_its_order(
    steps: list[tuple[int, str]], mailbox: int, effects: int, restore: str
) -> None:
    accepted: dict[int, list[int]] = {sender: [] for sender in range(4)}
    booms = refusals = 0

    async def main() -> None:
        nonlocal booms, refusals
        async with open_runtime() as runtime:
            target = await runtime.start_agent(
                Puppet, "target", mailbox=mailbox, effects=effects, restore=restore, max_restarts=1000
            )
            relays = [await runtime.start_agent(Puppet, f"relay-{sender}", effects=1000) for sender in range(4)]
            queues = [[verb for who, verb in steps if who == sender] for sender in range(4)]
            async with trio.open_nursery() as nursery:
                for sender, queue in enumerate(queues):
                    nursery.start_soon(send, target, relays[sender], sender, queue)
                await trio.testing.wait_all_tasks_blocked()
                while any(task.name.endswith("send") for task in nursery.child_tasks):
                    await target.resume()
                    await trio.testing.wait_all_tasks_blocked()
            await target.resume()
            await trio.testing.wait_all_tasks_blocked()
            log = [item for item in target.state().log if item is not None]
            for sender in range(4):
                of_sender = [number for who, way, number in log if who == sender and way == "own"]
                relayed = [number for who, way, number in log if who == sender and way == "relay"]
                assert sorted(of_sender + relayed) == accepted[sender]
                assert of_sender == sorted(of_sender)
                assert relayed == sorted(relayed)
            assert target.status().restarts == booms
            assert target.status().mailbox == target.status().effects == 0

    async def send(target: AgentRef[Any], relay: AgentRef[Any], sender: int, queue: list[str]) -> None:
        nonlocal booms, refusals
        for number, verb in enumerate(queue):
            value = (sender, "own", number)
            if verb == "emit":
                await relay.call("do", it=Emit("note", {"value": (sender, "relay", number)}, to="target"))
                accepted[sender].append(number)
            elif verb == "boom":
                with pytest.raises(AgentCrashed):
                    await target.call("boom")
                booms += 1
            elif verb == "refuse":
                with pytest.raises(Rejected):
                    await target.call("refuse")
                refusals += 1
            elif verb == "suspend":
                await target.suspend()
            elif verb == "pass":
                await trio.lowlevel.checkpoint()
            elif verb == "cast_nowait":
                try:
                    target.cast_nowait("note", value=value)
                except AgentError:
                    continue
                accepted[sender].append(number)
            else:
                await getattr(target, verb)("note", value=value)
                accepted[sender].append(number)

    run(main)


@given(
    script=st.lists(st.sampled_from(["note", "boom", "refuse", "stop", "no.such"]), max_size=30),
    restart=st.sampled_from(["permanent", "transient", "temporary"]),
    is_busy=st.booleans(),
)
def test_each_caller_hears_what_its_signal_led_to(script: list[str], restart: str, is_busy: bool) -> None:
    """The outcome of each call is that of a simple model, idle or busy."""

    async def main() -> None:
        async with open_runtime() as runtime:
            ref = await runtime.start_agent(Puppet, "p", restart=restart, restore="last", max_restarts=1000)
            ended, log, lives = False, 0, 0
            for item in script:
                if is_busy and not ended:
                    await ref.cast("note")
                    log += 1
                try:
                    state = await (ref.call("do", it=Stop()) if item == "stop" else ref.call(item))
                    heard = str(len(state.log))
                except AgentError as error:
                    heard = type(error).__name__
                if ended:
                    expected = "AgentStopped"
                elif item == "note":
                    log += 1
                    expected = str(log)
                elif item == "stop":
                    expected = str(log)
                    ended = restart != "permanent"
                    lives += not ended
                elif item == "boom":
                    expected = "AgentCrashed"
                    ended = restart == "temporary"
                    lives += not ended
                else:
                    expected = {"refuse": "Rejected", "no.such": "UnhandledSignal"}[item]
                assert heard == expected
            if not ended:
                assert ref.status().restarts == lives

    run(main)


@given(seed=st.integers(0, 2**32), number=st.integers(1, 40), stop_at=st.integers(0, 40))
def test_whoever_calls_an_agent_that_ends_at_any_moment_is_answered(seed: int, number: int, stop_at: int) -> None:
    """Every caller hears something, whenever the end comes."""
    heard: Counter[str] = Counter()

    async def main() -> None:
        chance = random.Random(seed)
        async with open_runtime(AgentSpec(Puppet, "p", mailbox=3)) as runtime, trio.open_nursery() as nursery:
            ref = runtime.ref("p", Puppet)
            for index in range(number):
                if index == stop_at:
                    nursery.start_soon(ref.stop)
                nursery.start_soon(call, ref, chance.choice(["call", "ask", "cast", "call_settled"]))
                if chance.random() < 0.3:
                    await trio.lowlevel.checkpoint()
        assert sum(heard.values()) == number

    async def call(ref: AgentRef[Any], verb: str) -> None:
        try:
            await getattr(ref, verb)("echo")
            heard["answered"] += 1
        except AgentStopped:
            heard["stopped"] += 1

    run(main)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_in_a_soak_with_hundreds_of_agents_all_sums_agree(seed: int) -> None:
    left = 4_000
    tally: list[Tally] = []

    def goes_on() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    async def main() -> None:
        tally.append(await soak(agents=200, drivers=30, goes_on=goes_on, seed=seed))

    run(main)
    assert tally[0].differences() == []
    assert sum(tally[0].turns.values()) > 4_000
    assert tally[0].lives["agent.restarted"] > 50
