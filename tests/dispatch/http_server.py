"""An HTTP server on loopback that does as it is told: answers, slowly, with errors, half, or not at all."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import h11
import trio


@attrs.frozen
class Answer:
    """What the server does with one request.

    Attributes:
        status: what it answers.
        headers: further headers of the answer.
        body: its body.
        after: seconds that it waits before.
        ending: how it goes on: ``whole``; ``half head``, ``half body``, ``nothing`` (the connection is closed there);
            or ``silence`` (it says nothing more, and keeps it open).
    """

    status: int = 200
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b"ok"
    after: float = 0.0
    ending: str = "whole"


@attrs.frozen
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class HTTPServer:
    """Attributes: `requests` that came; `connections`, how many there were; `url` of its root."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers or [Answer()])
        self.requests: list[Request] = []
        self.connections = 0
        self.came = trio.Condition()
        self.url = ""

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._serve, listeners)

    async def wait_for(self, count: int) -> None:
        """Returns when so many requests have come."""
        async with self.came:
            while len(self.requests) < count:
                await self.came.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        try:
            while await self._exchange(stream, connection):
                connection.start_next_cycle()
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass
        finally:
            await trio.aclose_forcefully(stream)

    async def _exchange(self, stream: trio.SocketStream, connection: h11.Connection) -> bool:
        head, body = None, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await stream.receive_some())
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert head is not None
        headers = {name.decode(): value.decode() for name, value in head.headers}
        async with self.came:
            self.requests.append(Request(head.method.decode(), head.target.decode(), headers, body))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            self.came.notify_all()
        return await self._answer(stream, connection, answer)

    async def _answer(self, stream: trio.SocketStream, connection: h11.Connection, answer: Answer) -> bool:
        await trio.sleep(answer.after)
        head = h11.Response(
            status_code=answer.status,
            headers=[*answer.headers.items(), ("content-length", str(len(answer.body)))],
        )
        sent = connection.send(head)
        if answer.ending == "silence":
            await trio.sleep_forever()
        if answer.ending == "nothing":
            return False
        if answer.ending == "half head":
            await stream.send_all(sent[: len(sent) // 2])
            return False
        if answer.ending == "half body":
            await stream.send_all(sent + answer.body[: len(answer.body) // 2])
            return False
        sent += connection.send(h11.Data(answer.body)) + connection.send(h11.EndOfMessage())
        await stream.send_all(sent)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE
