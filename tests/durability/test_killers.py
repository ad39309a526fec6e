"""Signals that kill their process: each such turn is a delivery, and nobody else's signals are counted for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from prunella.storage import AgentKey, SQLiteStorage
from prunella.storage._turn_mark import TurnMark

PROGRAM = """
import json, os, sys
import trio
from prunella import Agent, AgentSpec, Durable, SQLiteStorage, Supervisor, on, open_runtime

number, deliveries = int(sys.argv[1]), int(sys.argv[2])

class Fuse(Agent, name="fuse", durable=Durable(max_deliveries=deliveries)):
    burnt: int = 0

    @on("burn")
    def burn(self):
        with open("tries", "a") as tries:
            tries.write("x")
        os.kill(os.getpid(), 9)

    @on("look")
    def look(self):
        return self.set(burnt=self.burnt + 1)

class Bystander(Agent, name="bystander", durable=Durable(max_deliveries=deliveries)):
    heard: tuple[str, ...] = ()

    @on("say")
    def say(self, word: str):
        return self.set(heard=(*self.heard, word))

async def main():
    # The bystander is started last, so that what waits for it waits while the fuse burns.
    tree = Supervisor([AgentSpec(Fuse), AgentSpec(Bystander)])
    async with open_runtime(tree, storage=SQLiteStorage("agents.db"), strict=False) as runtime:
        fuse, bystander = runtime.ref("fuse"), runtime.ref("bystander")
        if number == 0:
            await bystander.suspend()
            for word in ("a", "b"):
                await bystander.cast("say", word=word)
            await fuse.suspend()
            await fuse.cast("look")
            await fuse.cast("burn")
            await fuse.cast("look")
            await fuse.resume()
        await fuse.wait_for(lambda state: state.burnt == 2)
        await bystander.wait_for(lambda state: state.heard == ("a", "b"))
        letters = await runtime.dead_letters(fuse)
        innocent = await runtime.dead_letters(bystander)
        print(json.dumps([[[each.signal.type, each.deliveries] for each in letters], len(innocent)]))

trio.run(main)
"""


def lives(directory: Path, deliveries: int) -> list[Any]:
    """Runs the program again and again, until it ends by itself; gives what it has told, after the number of kills."""
    for number in range(10):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(number), str(deliveries)],
            cwd=directory, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return [number, *json.loads(done.stdout)]
        assert done.returncode == -9, done.stderr
    raise AssertionError("it was killed for ever")


@pytest.mark.slow
@pytest.mark.parametrize("deliveries", [1, 2, 3])
def test_a_signal_that_kills_its_process_is_tried_as_often_as_is_said_and_nobody_else_is_counted(
    tmp_path: Path, deliveries: int
) -> None:
    assert lives(tmp_path, deliveries) == [deliveries, [["burn", deliveries]], 0]
    assert (tmp_path / "tries").read_text() == "x" * deliveries


# The note.


@given(
    partition=st.none() | st.text(min_size=1),
    ids=st.lists(st.tuples(st.text(min_size=1), st.text()), min_size=1),
    is_over=st.booleans(),
)
def test_what_was_noted_last_is_found_unless_it_was_over(
    tmp_path_factory: pytest.TempPathFactory, partition: str | None, ids: list[tuple[str, str]], is_over: bool
) -> None:
    database = tmp_path_factory.mktemp("mark") / "agents.db"
    mark = TurnMark.beside(database, "default")
    assert mark.left is None
    for id, signal_id in ids:
        mark.begin(AgentKey("default", partition, id), signal_id)
    if is_over:
        mark.end()
    (last_id, last_signal) = ids[-1]
    mark._map.close()  # as the end of the process does
    after = TurnMark.beside(database, "default")
    assert after.left == (None if is_over else (partition, last_id, last_signal))
    after.close()
    assert list(database.parent.iterdir()) == []


def test_ids_too_long_for_a_note_leave_none(tmp_path: Path) -> None:
    mark = TurnMark(tmp_path / "mark")
    mark.begin(AgentKey("r", None, "a"), "x" * 10_000)
    assert TurnMark(tmp_path / "mark").left is None


@pytest.mark.parametrize("content", [b"", b"\x05", b"\xff\xff\xff\xff", b"\x03\x00\x00\x00abc", b"\x02\x00\x00\x00[]"])
def test_a_file_that_is_no_note_says_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mark").write_bytes(content)
    assert TurnMark(tmp_path / "mark").left is None


def test_one_that_was_taken_over_leaves_the_note_of_its_successor(tmp_path: Path) -> None:
    first = TurnMark(tmp_path / "mark")
    first.begin(AgentKey("r", None, "a"), "1")
    second = TurnMark(tmp_path / "mark")
    assert second.left == (None, "a", "1")
    second.begin(AgentKey("r", None, "b"), "2")
    first.close()
    assert TurnMark(tmp_path / "mark").left == (None, "b", "2")


def test_a_database_that_is_only_read_has_no_note(tmp_path: Path) -> None:
    async def main() -> None:
        async with SQLiteStorage(tmp_path / "agents.db"):
            pass
        async with SQLiteStorage(tmp_path / "agents.db", read_only=True) as storage:
            assert await storage.turn_mark("default") is None

    trio.run(main)
