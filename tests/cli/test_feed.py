"""From lines to mailboxes, and out of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trio
import trio.lowlevel
import trio.testing
from tests.cli.commands import word

from prunella.cli import CloudEvent, Mailbox
from prunella.cli import _input as input_module
from prunella.cli._events import NotAnEventError, read_event
from prunella.cli._feed import Feed
from prunella.cli._input import Input
from prunella.supervision import Exit

ONE = CloudEvent("1", "/t", "word.said", "one")


def test_an_event_of_a_line():
    assert read_event(word("one").encode()) == ONE
    assert read_event(b'{"specversion":"1.0","id":"1","source":"s","type":"t","more":1}').data is None


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON: .* at character 2"),
        (b'{"a": NaN}', "not JSON that can be read: NaN"),
        (b"9" * 5_000, "not JSON that can be read"),
        (b"[" * 200_000, "nested too deeply"),
        (b'"\xff"', "not UTF-8, at byte 2"),
        (b"null", "expected an object, got null"),
        (b"true", "expected an object, got a boolean"),
        (b"3", "expected an object, got a number"),
        (b'"x"', "expected an object, got a text"),
        (b"{}", "'specversion' is missing"),
        (word(1, id=1).encode(), "'id' is not a text"),
        (word(1, source="").encode(), "'source' is not a text, or empty"),
        (word(1, type=None).encode(), "'type' is not a text"),
        (word(1, specversion="2.0").encode(), "not a CloudEvent of version 1.0"),
    ],
)
def test_a_line_that_holds_none(line, problem):
    with pytest.raises(NotAnEventError, match=problem):
        read_event(line)


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


def feed_of(tmp_path: Path, mailboxes: list[Mailbox], *lines: str, rate: float | None = None) -> Feed:
    path = tmp_path / "events"
    path.write_text("\n".join(lines))
    return Feed(Input(str(path)), mailboxes, rate, print)


async def test_the_first_mailbox_that_takes_a_type_gets_the_event(tmp_path):
    first, second = Mailbox("a", "word.*"), Mailbox("b", "word.*", "**.end")
    feed = feed_of(tmp_path, [first, second], word(1), word(2, type="the.end"), word(3, type="no"), word(4, type="\t"))
    await feed.run()
    assert feed.accepted == {"a": 1, "b": 1}
    assert feed.refused == {"no": 1, "\t": 1}
    assert (feed.events, feed.finished) == (4, True)


async def test_the_types_of_refused_events_are_bounded(tmp_path):
    feed = feed_of(tmp_path, [], *[word(n, type=f"t{n}") for n in range(100)])
    await feed.run()
    assert feed.refused["other types"] == 80
    assert feed.refused.total() == 100


async def test_a_full_mailbox_makes_the_feed_wait(tmp_path):
    mailbox = Mailbox("a", "**", capacity=2)
    feed = feed_of(tmp_path, [mailbox], *[word(n) for n in range(5)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed.run)
        while feed.events < 2:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert (mailbox.waiting, feed.events) == (3, 2)
        for n in range(5):
            async with mailbox.take() as event:
                assert event.data == n
    assert feed.events == 5


async def test_the_rate_is_kept(tmp_path, autojump_clock):
    mailbox = Mailbox("a", "**", capacity=1_000)
    feed = feed_of(tmp_path, [mailbox], *[word(n) for n in range(1_000)], rate=100)
    began = trio.current_time()
    await feed.run()
    assert 9.9 < trio.current_time() - began < 10.1


async def test_an_event_is_handled_crashed_on_or_interrupted():
    mailbox = Mailbox("a")

    async def handle(error: BaseException | None) -> None:
        await mailbox.put(ONE)
        async with mailbox.take():
            if error is not None:
                raise error

    await handle(None)
    with pytest.raises(Exit):
        await handle(Exit())
    with pytest.raises(ValueError, match="no good"):
        await handle(ValueError("no good"))
    with pytest.raises(BaseExceptionGroup):
        await handle(BaseExceptionGroup("", [KeyboardInterrupt(), KeyError("k")]))
    with pytest.raises(KeyboardInterrupt):
        await handle(KeyboardInterrupt())
    with trio.CancelScope() as scope:
        await mailbox.put(ONE)
        async with mailbox.take():
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert (mailbox.handled, mailbox.crashed_on, mailbox.interrupted, mailbox.waiting) == (2, 2, 2, 0)
    assert [(loss.event, loss.error) for loss in mailbox.losses] == [
        (ONE, "ValueError: no good"),
        (ONE, "KeyError: 'k'"),
    ]


async def test_a_mailbox_is_idle_when_the_last_event_is_settled():
    mailbox = Mailbox("a")
    await mailbox.wait_idle()
    await mailbox.put(ONE)
    await mailbox.put(ONE)
    seen = []

    async def wait() -> None:
        await mailbox.wait_idle()
        seen.append((mailbox.handled, mailbox.waiting))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        for _ in range(2):
            async with mailbox.take():
                await trio.testing.wait_all_tasks_blocked()
                assert not seen
    assert seen == [(2, 0)] * 2


async def test_a_closed_mailbox_takes_nothing_and_remembers_what_waited():
    mailbox = Mailbox("a", capacity=1)
    assert await mailbox.put(ONE)
    async with trio.open_nursery() as nursery:

        async def put() -> None:
            assert not await mailbox.put(ONE)

        nursery.start_soon(put)
        nursery.start_soon(mailbox.wait_idle)
        await trio.testing.wait_all_tasks_blocked()
        mailbox.close()
    assert not await mailbox.put(ONE)
    assert (mailbox.waiting, mailbox.closed) == (1, True)
