"""The chat agent and a server on loopback: on the real clock, for a jumping one knows nothing of sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from examples.chat_agent import Chat, StandIn, chat, complete

from prunella import Fail, Rejected
from prunella.agents import AgentCrashed
from prunella.runtime import AgentRef, Runtime, open_runtime
from prunella.testing import assert_emits, assert_replies, assert_runs, crash, only

CHAT = Chat(server="http://model/v1")


def asked(text: str = "hello") -> Chat:
    return CHAT.cmd("question", text=text)[0]


def test_a_question_asks_the_model_with_the_whole_conversation() -> None:
    agent = Chat(server="http://model/v1", messages=(("user", "hi"), ("assistant", "hello")))
    agent, directives = agent.cmd("question", text="who?")
    run = assert_runs(directives, complete)
    assert run.params["messages"][0] == {"role": "user", "content": "hi"}
    assert [message["content"] for message in run.params["messages"]] == ["hi", "hello", "who?"]
    assert agent.answer == ""


def test_while_it_answers_another_question_is_refused() -> None:
    with pytest.raises(Rejected, match="still answering"):
        asked().cmd("question", text="and?")


def test_the_answer_grows_and_is_handed_on_as_it_comes() -> None:
    agent, _ = asked().cmd("answer.grew", value="You", index=0, asked=1)
    agent, directives = agent.cmd("answer.grew", value=" say", index=1, asked=1)
    assert agent.answer == "You say"
    assert_emits(directives, "chat.text", {"text": " say", "index": 1}, to=None)


def test_a_second_attempt_begins_the_answer_anew() -> None:
    agent, _ = asked().cmd("answer.grew", value="You", index=0, asked=1)
    agent, _ = agent.cmd("answer.grew", value="You", index=0, asked=1)
    assert agent.answer == "You"


def test_the_whole_answer_is_the_reply_and_part_of_the_conversation() -> None:
    agent, _ = asked().cmd("answer.grew", value="hi", index=0, asked=1)
    agent, directives = agent.cmd("answer.done", result=1, asked=1)
    assert_replies(directives, "hi")
    assert agent.messages == (("user", "hello"), ("assistant", "hi"))
    assert agent.answer is None


def test_a_failure_takes_the_question_back() -> None:
    error = {"type": "ConnectError", "message": "refused", "retryable": False}
    agent, directives = asked().cmd("answer.failed", error=error, attempts=2, asked=1)
    assert only(directives, Fail) == Fail("ConnectError: refused")
    assert (agent.messages, agent.answer) == ((), None)


@pytest.mark.parametrize(
    ("type", "data"),
    [
        ("answer.grew", {"value": "late", "index": 3}),
        ("answer.done", {"result": 4}),
        ("answer.failed", {"error": {"type": "E", "message": "", "retryable": False}}),
    ],
)
def test_what_comes_late_of_an_earlier_answer_is_nothing_to_it(type: str, data: dict[str, Any]) -> None:
    free = asked().cmd("prunella.started")[0]
    busy = free.cmd("question", text="again")[0]
    for agent in (free, busy):
        assert agent.cmd(type, **data, asked=1) == (agent, ())


@pytest.fixture
async def stand_in(nursery: trio.Nursery) -> StandIn:
    server = StandIn()
    await nursery.start(server.run)
    return server


@pytest.fixture
async def live(stand_in: StandIn) -> AsyncIterator[tuple[Runtime, AgentRef[Chat]]]:
    async with open_runtime() as runtime:
        yield runtime, await runtime.start_agent(Chat, "chat", state={"server": stand_in.url}, restore="last")


async def test_a_question_is_answered_over_http(live: Any, stand_in: StandIn) -> None:
    runtime, agent = live
    async with runtime.subscribe("chat.text") as words:
        with trio.fail_after(30):
            assert await agent.ask("question", text="hello  there") == "You say: hello  there"
            pieces = [(await words.receive()).data["text"] for _ in range(4)]
    assert pieces == ["You", " say:", " hello", "  there"]
    assert stand_in.heard == [
        {"model": "stand-in", "messages": [{"role": "user", "content": "hello  there"}], "stream": True}
    ]


async def test_pieces_come_before_the_answer_is_complete(live: Any) -> None:
    runtime, agent = live
    async with runtime.subscribe("chat.text") as words:
        await agent.call("question", text="a b c d e f")
        with trio.fail_after(30):
            await words.receive()
        assert agent.state().answer is not None
        assert not agent.state().answer.endswith("f")


async def test_the_conversation_goes_on(live: Any, stand_in: StandIn) -> None:
    _, agent = live
    with trio.fail_after(30):
        await agent.ask("question", text="one")
        await agent.ask("question", text="two")
    roles = [message["role"] for message in stand_in.heard[1]["messages"]]
    assert roles == ["user", "assistant", "user"]


async def test_an_answer_that_breaks_off_is_asked_for_again(live: Any, stand_in: StandIn) -> None:
    _, agent = live
    stand_in.break_off = 1
    with trio.fail_after(30):
        assert await agent.ask("question", text="hello") == "You say: hello"
    assert len(stand_in.heard) == 2


async def test_when_it_breaks_off_again_the_asker_is_told_and_may_ask_again(live: Any, stand_in: StandIn) -> None:
    _, agent = live
    stand_in.break_off = 2
    with trio.fail_after(30):
        with pytest.raises(Rejected, match="RemoteProtocolError"):
            await agent.ask("question", text="hello")
        assert agent.state().messages == ()
        assert await agent.ask("question", text="hello") == "You say: hello"


async def test_a_crash_in_the_middle_is_told_and_the_conversation_is_kept(
    live: Any, stand_in: StandIn, nursery: trio.Nursery
) -> None:
    runtime, agent = live
    with trio.fail_after(30):
        await agent.ask("question", text="one")
        async with runtime.subscribe("chat.text") as words:
            nursery.start_soon(refused, agent, AgentCrashed)
            await words.receive()
            await crash(agent)
        assert await agent.ask("question", text="two") == "You say: two"
    assert [text for _, text in agent.state().messages] == ["one", "You say: one", "two", "You say: two"]


async def refused(agent: AgentRef[Chat], error: type[Exception]) -> None:
    with pytest.raises(error):
        await agent.ask("question", text="lost")


async def test_the_program_prints_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(30):
        await chat("Who was Prunella?", None, "stand-in")
    assert capsys.readouterr().out == "You say: Who was Prunella?\n"


async def test_the_program_says_why_there_is_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    with trio.fail_after(30):
        await chat("Hello?", "http://127.0.0.1:1/v1", "any")
    assert "no answer: ConnectError" in capsys.readouterr().err
