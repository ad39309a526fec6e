"""A database with an agent that took some turns, for the commands."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.cli.commands import Command

from prunella.cli import main
from prunella.storage import AgentKey, SQLiteStorage

DESK = '''
from prunella import Agent, Emit, Rejected, on

class Desk(Agent, name="desk"):
    """Takes tickets, and hands out numbers."""

    seen: int = 0
    last: str = ""

    @on("ticket.opened")
    def opened(self, ticket: str):
        if ticket == "T-3":
            raise Rejected("not that one")
        return self.set(seen=self.seen + 1, last=ticket), Emit("ticket.accepted", {"ticket": ticket})
'''

FILL = """
import os, sys
from datetime import UTC, datetime, timedelta
import trio
from {module} import Desk
from prunella import Rejected, Signal
from prunella.agents import Turn
from prunella.agents._turns import changed_fields, take_turn
from prunella.cli import main
from prunella.storage import AgentKey, SQLiteStorage, Write, code_of, commit_of, snapshot_of

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)

async def main(path, id, partition, runtime):
    key, code = AgentKey(runtime, partition, id), code_of(Desk)
    async with SQLiteStorage(path) as storage:
        claim = (await storage.claim(key, code, owner="me", now=NOW)).claim
        agent = Desk()
        for number in range(1, 6):
            signal = Signal("ticket.opened", {{"ticket": f"T-{{number}}"}}, id=f"s{{number}}", time=NOW)
            outcome, after, directives = "rejected", agent, ()
            try:
                after, directives = take_turn(agent, signal, lambda: None, strict=False)
                outcome = "committed"
            except Rejected:
                pass
            now = NOW + timedelta(minutes=number)
            turn = Turn(number, signal, now, 0, None, {{}}, outcome, changed_fields(agent, after), directives)
            snapshot = snapshot_of(after, number, now) if number % 2 == 0 else None
            outcomes = await storage.append(Write(key, claim, now, (commit_of(turn, claim, code),), snapshot))
            assert outcomes == (None,)
            agent = after
        if "kill" in sys.argv:
            os.kill(os.getpid(), 9)

trio.run(main, *[word or None for word in sys.argv[1:5]])
"""

HISTORY = """\
desk  (desk.Desk, version 1, 5 turns)
1  2026-01-31 12:01:00.000Z  ticket.opened  seen=1, last='T-1'  → Emit(type='ticket.accepted', data={'ticket': 'T-1'})
2  2026-01-31 12:02:00.000Z  ticket.opened  seen=2, last='T-2'  → Emit(type='ticket.accepted', data={'ticket': 'T-2'})
3  2026-01-31 12:03:00.000Z  ticket.opened  rejected
4  2026-01-31 12:04:00.000Z  ticket.opened  seen=3, last='T-4'  → Emit(type='ticket.accepted', data={'ticket': 'T-4'})
5  2026-01-31 12:05:00.000Z  ticket.opened  seen=4, last='T-5'  → Emit(type='ticket.accepted', data={'ticket': 'T-5'})
"""


def fill(command: Command, *, module: str = "desk", id: str = "desk", more: tuple[str, ...] = ("", "default")) -> None:
    command.write("fill.py", FILL.format(module=module))
    done = subprocess.run([sys.executable, "fill.py", "agents.db", id, *more], cwd=command.directory, check=False)
    assert done.returncode in (0, -signal.SIGKILL)


def with_storage(path: Path, function: Callable[[SQLiteStorage], Awaitable[Any]]) -> Any:
    async def go():
        async with SQLiteStorage(path) as storage:
            return await function(storage)

    return trio.run(go)


KEY = AgentKey("default", None, "desk")


class Here:
    """Runs the command in this process."""

    def __init__(self, output: pytest.CaptureFixture[str]) -> None:
        self._output = output

    def run(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        self._output.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # of the parser
            status = error.code
        out, err = self._output.readouterr()
        return subprocess.CompletedProcess(arguments, status, out, err)
