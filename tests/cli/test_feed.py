"""From lines to agents, and what becomes of the events."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing
from tests.cli.commands import word

from prunella import Agent, Supervisor, on
from prunella.cli import _input as input_module
from prunella.cli._feed import Feed
from prunella.cli._input import Input
from prunella.cli._summary import Record, Summary
from prunella.cli._tally import Account, Tally, Trouble
from prunella.runtime import (
    AgentSpec,
    EffectException,
    EffectStart,
    EffectStop,
    SignalDropped,
    SignalRepeated,
    TurnEvent,
    open_runtime,
)
from prunella.telemetry import ErrorInfo


class First(Agent, name="first"):
    heard: int = 0

    @on("word.*")
    def hear(self):
        return self.set(heard=self.heard + 1)


class Second(First, name="second"):
    @on("**.end")
    def end(self):
        pass


async def lines_of(path: Path) -> list[tuple[int, bytes | None]]:
    input = Input(str(path))
    try:
        return [pair async for pair in input.lines()]
    finally:
        input.close()


async def test_lines_are_numbered_as_an_editor_does(tmp_path):
    path = tmp_path / "events"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  \nfour\nfive")
    assert await lines_of(path) == [(1, b"one"), (4, b"four"), (5, b"five")]


@pytest.mark.parametrize("chunk", [1, 7, 64])
async def test_a_line_that_is_too_long_is_left_out_and_not_kept(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(input_module, "LONGEST_LINE", 10)
    monkeypatch.setattr(input_module, "_CHUNK", chunk)
    path = tmp_path / "events"
    path.write_bytes(b"a\n" + b"x" * 500 + b"\nb\n" + b"y" * 11 + b"\n" + b"z" * 50)
    assert await lines_of(path) == [(1, b"a"), (2, None), (3, b"b"), (4, None), (5, None)]


async def test_waiting_for_a_pipe_is_given_up_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lines_of, tmp_path / "pipe")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    os.write(writer, b"x")  # let the thread go
    os.close(writer)


def feed_of(tmp_path: Path, *lines: str, rate: float | None = None) -> Feed:
    path = tmp_path / "events"
    path.write_text("\n".join(lines))
    return Feed(Input(str(path)), rate, print, Tally())


async def test_every_agent_that_takes_a_type_gets_the_event(tmp_path):
    types = ["word.said", "the.end", "no", "prunella.started"]
    feed = feed_of(tmp_path, *[word({}, type=type) for type in types])
    async with open_runtime(Supervisor([AgentSpec(First), AgentSpec(Second)])) as runtime:
        await feed.run(runtime)
        await trio.testing.wait_all_tasks_blocked()
        assert [runtime.ref(id).state().heard for id in ("first", "second")] == [1, 1]
    assert {agent: account.delivered for agent, account in feed._tally.accounts.items()} == {"first": 1, "second": 2}
    assert feed.not_taken == {"no": 1, "prunella.started": 1}
    assert (feed.events, feed.finished) == (4, True)


async def test_the_types_of_events_that_nobody_takes_are_bounded(tmp_path):
    feed = feed_of(tmp_path, *[word(n, type=f"t{n}") for n in range(100)])
    async with open_runtime() as runtime:
        await feed.run(runtime)
    assert feed.not_taken["other types"] == 80
    assert feed.not_taken.total() == 100


async def test_a_full_mailbox_makes_the_feed_wait(tmp_path):
    feed = feed_of(tmp_path, *[word(n) for n in range(5)])
    async with open_runtime(AgentSpec(First, mailbox=2)) as runtime:
        agent = runtime.ref("first")
        await agent.suspend()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run, runtime)
            while feed.events < 2:
                await trio.lowlevel.checkpoint()
            await trio.testing.wait_all_tasks_blocked()
            assert (agent.status().mailbox, feed.events) == (2, 2)
            await agent.resume()
        await trio.testing.wait_all_tasks_blocked()
        assert agent.state().heard == 5
    assert feed.events == 5


async def test_an_agent_that_comes_later_is_heard_of(tmp_path):
    feed = feed_of(tmp_path, word(1))
    async with open_runtime(AgentSpec(First), telemetry=[feed.hear]) as runtime:
        await feed.run(runtime)
        await runtime.start_agent(Second, "later")
        await feed._take(runtime, 2, word(2).encode())
        await trio.testing.wait_all_tasks_blocked()
        assert runtime.ref("first").state().heard == 2
        assert runtime.ref("later").state().heard == 1


async def test_an_event_for_an_agent_that_has_ended_is_not_taken(tmp_path):
    feed = feed_of(tmp_path, word(1))
    async with open_runtime(AgentSpec(First)) as runtime:
        agent = runtime.ref("first")
        assert feed._takers_of(runtime, "word.said") == (agent,)
        await agent.stop()
        await feed.run(runtime)
    assert feed.not_taken == {"word.said": 1}
    assert feed._tally.accounts["first"] == Account()


async def test_the_rate_is_kept(tmp_path, autojump_clock):
    feed = feed_of(tmp_path, *[word(n) for n in range(1_000)], rate=100)
    async with open_runtime(AgentSpec(First)) as runtime:
        began = trio.current_time()
        await feed.run(runtime)
        assert 9.9 < trio.current_time() - began < 10.1


def turn(id: str, outcome: str, error: ErrorInfo | None = None) -> TurnEvent:
    return TurnEvent(
        time=0.0, agent="a", signal_type="t", signal_id=id, outcome=outcome, duration=0.0, mailbox=0, error=error
    )


def test_what_becomes_of_each_delivery_is_counted():
    tally = Tally()
    for id in ("1", "2", "3", "4", "5", "6", "6"):
        tally.deliver("a", id)
    tally.withdraw("a", "5")
    assert tally.unsettled == tally.accounts["a"].unsettled == 6
    tally.hear(turn("1", "committed"))
    tally.hear(turn("2", "Rejected", ErrorInfo("Rejected", "no")))
    tally.hear(turn("3", "crashed", ErrorInfo("KeyError", "")))
    tally.hear(turn("4", "interrupted"))
    tally.hear(SignalDropped(time=0.0, agent="a", signal_type="t", signal_id="4"))
    tally.hear(turn("6", "committed"))
    assert tally.unsettled == 1  # the same id came twice
    tally.hear(turn("6", "committed"))
    assert tally.accounts["a"] == Account(
        delivered=6, handled=3, refused=1, crashed_on=1, left_waiting=1, turns=3,
        refusals=[Trouble("t", "2", "Rejected: no")], crashes=[Trouble("t", "3", "KeyError")],
    )  # fmt: skip
    assert tally.unsettled == 0


def test_what_a_durable_agent_knew_before_and_what_waits_for_it_is_no_loss():
    tally = Tally()
    tally.durable.add("a")
    for agent, id in (("a", "1"), ("a", "2"), ("a", "3"), ("b", "1")):
        tally.deliver(agent, id)
    tally.hear(turn("1", "committed"))
    tally.hear(SignalRepeated(time=0.0, agent="a", signal_type="t", signal_id="2"))
    tally.hear(SignalRepeated(time=0.0, agent="a", signal_type="t", signal_id="from elsewhere"))
    assert tally.accounts["a"] == Account(delivered=3, handled=1, known=1, turns=1)
    assert tally.is_waiting(frozenset())
    assert tally.is_waiting({"a"}), "b is waited for"
    feed = Feed(Input(os.devnull), None, print, tally)
    feed.finished = True
    feed.events = 4
    summary = Summary("t", 1.0, "stopped", None, Record(), tally, feed)
    right = "1 handled + 0 crashed on + 0 refused + 1 known before + 1 stored for the next start + 1 interrupted"
    assert f"4 in = {right}\n" in summary.text()
    assert summary.problems() == ["1 event was interrupted while b handled it"]
    feed.input.close()


def test_signals_from_elsewhere_are_in_no_account_but_that_of_turns():
    tally = Tally()
    tally.hear(turn("1", "committed"))
    tally.hear(turn("2", "crashed"))
    tally.hear(SignalDropped(time=0.0, agent="a", signal_type="t", signal_id="3"))
    assert tally.accounts["a"] == Account(turns=1)


def test_of_many_agents_and_troubles_the_first_are_kept():
    tally = Tally()
    for n in range(2_000):
        tally.deliver(f"a{n}", "1")
    assert len(tally.accounts) == 1_001
    assert tally.accounts["(other agents)"].delivered == 1_000
    for n in range(100):
        tally.deliver("a", str(n))
        tally.hear(turn(str(n), "crashed"))
    assert len(tally.account("a").crashes) == 20


def test_tasks_that_stay_are_counted_and_other_effects_are_not():
    tally = Tally()
    effect = {"time": 0.0, "agent": "a"}
    for directive in ("SpawnTask", "SpawnTask", "SpawnTask", "Run"):
        tally.hear(EffectStart(directive=directive, signal_type="t", **effect))
    tally.hear(EffectStop(directive="SpawnTask", duration=1.0, **effect))
    assert tally.tasks == {"a": 2}
    tally.hear(EffectStop(directive="Run", duration=1.0, **effect))
    tally.hear(EffectException(directive="SpawnTask", duration=1.0, **effect))
    tally.hear(EffectException(directive="SpawnTask", duration=1.0, **effect))
    assert not dict(tally.tasks)
