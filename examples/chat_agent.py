"""A chat agent: it asks a language model and hands the answer on, word by word, while it comes.

    python examples/chat_agent.py "Who was Prunella?"
    OPENAI_API_KEY=... python examples/chat_agent.py --server https://api.openai.com/v1 --model gpt-4o-mini "Hello"

Any server will do that speaks the protocol of OpenAI's chat completions. Without `--server` the example starts a
stand-in of its own, which only repeats what it hears; so it runs without a network and without a key.

Needs `prunella[http]`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any, Self

import h11
import httpx
import trio

from prunella import Agent, Emit, Fail, Rejected, Reply, Run, on
from prunella.runtime import open_runtime

# The work: an async generator. What it yields comes to the agent as signals.


async def complete(server: str, model: str, messages: list[dict[str, str]]) -> AsyncGenerator[str, None]:
    """Asks a model and yields its answer in pieces."""
    key = os.environ.get("OPENAI_API_KEY")  # here and not in the agent: what an agent knows can be seen and stored
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": model, "messages": messages, "stream": True}
    async with (
        httpx.AsyncClient(timeout=60) as client,
        client.stream("POST", f"{server}/chat/completions", json=body, headers=headers) as response,
    ):
        response.raise_for_status()
        async with aclosing(response.aiter_lines()) as lines:
            async for line in lines:
                kind, _, data = line.partition(":")
                if kind == "data" and data.strip() != "[DONE]":
                    [choice] = json.loads(data)["choices"]
                    if text := choice["delta"].get("content"):
                        yield text


# The agent: what it knows, and what it decides.


class Chat(Agent, name="chat"):
    """Holds one conversation. A question that comes while it still answers another is refused."""

    server: str
    model: str = "stand-in"
    messages: tuple[tuple[str, str], ...] = ()  # role and text
    answer: str | None = None  # as far as it has come
    asked: int = 0  # tells late signals of an earlier answer from those of this one

    @on("question")
    def question(self, text: str):
        if self.answer is not None:
            raise Rejected("still answering")
        messages = (*self.messages, ("user", text))
        asking = Run(
            complete,
            {
                "server": self.server,
                "model": self.model,
                "messages": [{"role": role, "content": content} for role, content in messages],
            },
            each="answer.grew",
            then="answer.done",
            catch="answer.failed",
            carry={"asked": self.asked + 1},
            retries=1,
        )
        return self.set(messages=messages, answer="", asked=self.asked + 1), asking

    @on("answer.grew")
    def grew(self, value: str, index: int, asked: int):
        if asked != self.asked:
            return None
        begun = self.answer if index else ""  # a second attempt begins anew
        return self.set(answer=f"{begun}{value}"), Emit("chat.text", {"text": value, "index": index})

    @on("answer.done")
    def done(self, asked: int):
        if asked != self.asked:
            return None
        answer = self.answer or ""
        return self.set(messages=(*self.messages, ("assistant", answer)), answer=None), Reply(answer)

    @on("answer.failed")
    def failed(self, error: Mapping[str, Any], asked: int):
        if asked != self.asked:
            return None
        return self.taken_back(), Fail(f"{error['type']}: {error['message']}")

    @on("prunella.started")
    def started(self):
        """After a crash nobody is at work on an answer any more."""
        return None if self.answer is None else self.taken_back()

    def taken_back(self) -> Self:
        """Without the last question, so that it can be asked again."""
        return self.set(messages=self.messages[:-1], answer=None, asked=self.asked + 1)


# A stand-in for the model, on loopback.


class StandIn:
    """A server that speaks the protocol and says back what it hears, word by word.

    Attributes:
        url: where it is, once it runs.
        heard: the bodies of the requests.
        break_off: how many of the next answers break off in the middle.
    """

    def __init__(self, break_off: int = 0) -> None:
        self.url = ""
        self.heard: list[dict[str, Any]] = []
        self.break_off = break_off

    async def run(self, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/v1"
        task_status.started(self.url)
        await trio.serve_listeners(self._serve, listeners)

    async def _serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        body = b""
        while not isinstance(event := connection.next_event(), h11.EndOfMessage | h11.ConnectionClosed):
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Data):
                body += event.data
        self.heard.append(json.loads(body))
        with suppress(trio.BrokenResourceError):  # whoever asked has gone
            await self._answer(stream, connection, self.heard[-1]["messages"][-1]["content"])
        await stream.aclose()

    async def _answer(self, stream: trio.SocketStream, connection: h11.Connection, question: str) -> None:
        breaks_off, self.break_off = self.break_off > 0, max(0, self.break_off - 1)
        head = h11.Response(status_code=200, headers=[("content-type", "text/event-stream"), ("connection", "close")])
        await stream.send_all(connection.send(head))
        for word in re.findall(r"\s*\S+", f"You say: {question}"):
            if breaks_off and word == " say:":
                return
            data = json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]})
            await stream.send_all(connection.send(h11.Data(f"data: {data}\n\n".encode())))
            await trio.sleep(0.02)
        await stream.send_all(connection.send(h11.Data(b"data: [DONE]\n\n")) + connection.send(h11.EndOfMessage()))


async def chat(question: str, server: str | None, model: str) -> None:
    async with trio.open_nursery() as nursery, open_runtime() as runtime, runtime.subscribe("chat.text") as words:
        if server is None:
            server = await nursery.start(StandIn().run)
        agent = await runtime.start_agent(Chat, "chat", state={"server": server, "model": model}, restore="last")

        async def show() -> None:
            async for word in words:
                print(word.data["text"], end="", flush=True)

        nursery.start_soon(show)
        try:
            await agent.ask("question", text=question)
            print()
        except Rejected as refusal:
            print(f"no answer: {refusal}", file=sys.stderr)
        nursery.cancel_scope.cancel()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("question")
    arguments.add_argument("--server", help="the base URL of its API; by default a stand-in is started")
    arguments.add_argument("--model", default="stand-in", help="the name of the model")
    chosen = arguments.parse_args()
    trio.run(chat, chosen.question, chosen.server, chosen.model)


if __name__ == "__main__":
    main()
