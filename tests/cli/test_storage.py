"""What is in a database, and what may be done to it."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from tests.cli.databases import HISTORY, KEY, fill, with_storage

from prunella.storage import Code, Storage

FILL_MAILBOX = """
from datetime import UTC, datetime
import trio
from prunella import Signal
from prunella.storage import AgentKey, DeadLetter, SQLiteStorage, Write

NOW = datetime(2026, 1, 31, 13, tzinfo=UTC)

async def main():
    async with SQLiteStorage("agents.db") as storage:
        signals = [Signal("ticket.opened", {"n": n}, id=f"d{n}", time=NOW) for n in (1, 2)]
        letters = [DeadLetter(signal, "no\\ngood", n, NOW) for n, signal in enumerate(signals, 1)]
        assert await storage.append(Write(AgentKey("default", None, "desk"), 1, NOW, dead=tuple(letters))) == (None,)

trio.run(main)
"""


@pytest.fixture
def with_dead_letters(command, database):
    command.write("letters.py", FILL_MAILBOX)
    subprocess.run([sys.executable, "letters.py"], cwd=command.directory, check=True)
    return database


def test_agents_are_listed_with_what_is_open(here, command, with_dead_letters):
    fill(command, id="other", more=("p", "shop"))
    done = here.run("storage", "list", "agents.db")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "runtime default: 1 agent, 4 open directives, the oldest of 2026-01-31 12:01:00.000Z\n"
        "agent  type    turns  open  oldest                    dead  owner\n"
        "desk   desk 1  5      4     2026-01-31 12:01:00.000Z  2     me (not heard of any more)\n"
        "runtime shop: 1 agent, 4 open directives, the oldest of 2026-01-31 12:01:00.000Z\n"
        "agent    type    turns  open  oldest                    dead  owner\n"
        "p/other  desk 1  5      4     2026-01-31 12:01:00.000Z  0     me (not heard of any more)\n"
    )
    only = here.run("storage", "list", "agents.db", "--runtime", "shop").stdout
    assert only == done.stdout[done.stdout.index("runtime shop") :]
    opened = here.run("storage", "open", "agents.db", "desk").stdout.splitlines()
    assert [line.split()[0] for line in opened] == [f"default/-/desk/{turn}/0" for turn in (1, 2, 4, 5)]


def test_dead_letters_are_told_redriven_and_discarded(here, command, with_dead_letters):
    told = here.run("storage", "dead", "agents.db", "desk").stdout.splitlines()
    assert told[0].startswith("d1  2026-01-31 13:00:00.000Z  ticket.opened  tried once  no good  {")
    assert told[1].startswith("d2  2026-01-31 13:00:00.000Z  ticket.opened  tried 2 times  no good  {")
    done = here.run("storage", "redrive", "agents.db", "desk", "d3")
    assert (done.returncode, done.stderr) == (2, "prunella: there is no dead letter 'd3'\n")
    assert here.run("storage", "redrive", "agents.db", "desk", "d1").stdout == "1 dead letter redriven\n"
    assert here.run("storage", "discard", "agents.db", "desk").stdout == "1 dead letter discarded\n"
    stored = with_storage(with_dead_letters, lambda storage: storage.load(KEY))
    assert [one.signal.id for one in stored.waiting] == ["d1"]
    assert here.run("storage", "dead", "agents.db", "desk").stdout == ""


def own(storage: Storage):
    """Lets a program run the agent."""
    return storage.claim(KEY, Code("desk", 1, "", "desk:Desk"), owner="someone", now=datetime.now(UTC), lease=1000)


def test_letters_of_an_agent_that_a_program_runs_are_redriven_for_its_next_start(here, command, with_dead_letters):
    with_storage(with_dead_letters, own)
    done = here.run("storage", "redrive", "agents.db", "desk")
    assert (done.returncode, done.stdout) == (0, "2 dead letters redriven\n")
    assert done.stderr == "prunella: someone runs the agent, and hears of them when it next starts it\n"


def test_an_agent_that_somebody_runs_is_not_forgotten_by_mistake(here, command, database):
    with_storage(database, own)
    done = here.run("storage", "forget", "agents.db", "desk")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prunella: agent 'desk' is run by 'someone'; stop that program first, or use --force\n"
    assert here.run("history", "agents.db", "desk").returncode == 0
    assert here.run("storage", "forget", "agents.db", "desk", "--force").stdout == "agent 'desk' is forgotten\n"
    assert here.run("history", "agents.db", "desk").stderr.endswith("there are no agents at all\n")


def test_a_copy_is_a_database(here, command, database):
    assert here.run("storage", "backup", "agents.db", "copy.db").stdout == "agents.db was copied to copy.db\n"
    assert here.run("history", "copy.db", "desk").stdout == HISTORY
    done = here.run("storage", "backup", "agents.db", "copy.db")
    assert (done.returncode, done.stderr) == (2, "prunella: agents.db: copy.db is there already\n")


@pytest.mark.parametrize("kind", ["list", "open", "dead", "redrive", "discard", "forget", "backup"])
def test_none_of_these_makes_a_database(here, command, kind):
    done = here.run("storage", kind, "none.db", *([] if kind == "list" else ["desk"]))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "prunella: none.db: no such file\n")
    assert list(command.directory.iterdir()) == []


def test_a_database_without_agents_is_told(here, command, database):
    here.run("storage", "forget", "agents.db", "desk")
    for words in (["storage", "list", "agents.db"], ["export", "agents.db"]):
        done = here.run(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith("there are no agents in it\n")
