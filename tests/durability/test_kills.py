"""Agents whose process is killed at any instant: nothing that was acknowledged is lost or counted twice.

`program.py` beside this file does the killing, and says what it has found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("program.py")
KILLS = int(os.environ.get("PRUNELLA_KILLS", "200"))
SEED = os.environ.get("PRUNELLA_SEED", "1")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="the program forks what it kills"),
]


def torture(directory: Path, kills: int, rivals: int) -> dict[str, Any]:
    command = [sys.executable, str(PROGRAM), str(directory), str(kills), SEED, str(rivals)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 + 5 * kills, check=False)
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_nothing_is_lost_invented_or_counted_twice(tmp_path: Path) -> None:
    report = torture(tmp_path, KILLS, rivals=1)
    assert report["problems"] == []
    assert report["kills"] >= KILLS
    assert report["acknowledged"] > KILLS
    assert report["effects"] > KILLS / 4


def test_nor_while_two_processes_fight_for_the_agents(tmp_path: Path) -> None:
    report = torture(tmp_path, KILLS // 4, rivals=2)
    assert report["problems"] == []
    assert report["acknowledged"] > KILLS / 4
