"""A process that is killed at any instant loses nothing that was acknowledged, and leaves nothing half written."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import pytest

from prunella.storage import SQLiteStorage

from . import committing

KILLS = int(os.environ.get("PRUNELLA_KILLS", "8"))
AGENTS = 7
PROGRAM = Path(committing.__file__)


def run_and_kill(path: Path, chance: random.Random) -> dict[int, int]:
    """Lets the program run for a while, kills it, and tells the last acknowledged turn of each agent."""
    with subprocess.Popen([sys.executable, str(PROGRAM), str(path), str(AGENTS)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # from here on it is committing
        time.sleep(chance.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        lines = [first, *process.stdout.readlines()]
    assert process.returncode == -signal.SIGKILL
    last: dict[int, int] = defaultdict(int)
    for line in lines:
        if line.endswith(b"\n"):
            number, sequence = map(int, line.split())
            last[number] = max(last[number], sequence)
    return last


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
async def test_what_was_acknowledged_before_a_kill_is_there_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    chance = random.Random(1)
    acknowledged: dict[int, int] = defaultdict(int)
    for _ in range(KILLS):
        for number, sequence in run_and_kill(path, chance).items():
            acknowledged[number] = sequence
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        async with SQLiteStorage(path) as storage:
            for number, sequence in acknowledged.items():
                key = committing.key(number)
                record = await storage.find(key)
                assert record is not None
                last = record.sequence
                assert last >= sequence, "an acknowledged turn is lost"
                commits = await storage.commits(key, limit=10**6)
                assert [commit.sequence for commit in commits] == list(range(1, last + 1))
                assert [commit.changes["count"] for commit in commits] == list(range(1, last + 1))
                directives = await storage.open_directives(key)
                assert [one.sequence for one in directives] == list(range(1, last + 1)), "a turn is torn"
                position, waiting = 0, []
                while page := await storage.take(key, record.claim, after=position, limit=1000):
                    waiting += [one.signal.id for one in page]
                    position = page[-1].position
                assert waiting == [f"w{sequence}" for sequence in range(1, last + 1)], "a turn is torn"
                snapshot = await storage.snapshot(key)
                assert (0 if snapshot is None else snapshot.sequence) == last - last % 5
    assert sum(acknowledged.values()) > KILLS
