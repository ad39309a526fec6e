"""Two processes on one database: the one that came first is fenced, and every turn is of exactly one of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prunella.storage import SQLiteStorage

from . import committing

AGENTS = 5
PROGRAM = Path(committing.__file__)


def start(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(path), str(AGENTS)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def acknowledged(output: bytes) -> set[tuple[int, int]]:
    return {tuple(map(int, line.split())) for line in output.splitlines(keepends=True) if line.endswith(b"\n")}  # type: ignore[misc]


@pytest.mark.slow
async def test_the_process_that_came_first_is_fenced_and_no_turn_has_two_owners(tmp_path: Path) -> None:
    path = tmp_path / "agents.db"
    with start(path) as first:
        assert first.stdout is not None
        begun = first.stdout.readline()
        with start(path) as second:
            rest, errors = first.communicate(timeout=30)  # it ends by itself
            second.kill()
            lines, _ = second.communicate(timeout=30)
    assert b"Fenced" in errors
    of_first, of_second = acknowledged(begun + rest), acknowledged(lines)
    assert of_first
    assert not of_first & of_second
    async with SQLiteStorage(path) as storage:
        for number in range(AGENTS):
            commits = await storage.commits(committing.key(number), limit=10**6)
            assert [commit.sequence for commit in commits] == list(range(1, len(commits) + 1))
            owners = {commit.sequence: commit.claim for commit in commits}
            assert all(owners[sequence] == 1 for agent, sequence in of_first if agent == number)
            assert all(owners[sequence] == 2 for agent, sequence in of_second if agent == number)
