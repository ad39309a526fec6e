"""The commands about databases: the past of an agent, and agents that are taken elsewhere."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from tests.cli.commands import until
from tests.cli.databases import DESK, HISTORY, KEY, fill, with_storage

from prunella.cli._database import existing, found
from prunella.cli._history import fitted, show_history
from prunella.cli._replay import show_replay
from prunella.cli._target import load_agent
from prunella.storage import Code, Storage, state_at

APP = """
import sys
from prunella import Agent, AgentSpec, Context, Rejected, Reply, Run, Supervisor, on, open_runtime
from prunella.storage import SQLiteStorage

async def shout(text: str) -> str:
    return text.upper()

class Dice(Agent, name="dice", durable=True):
    rolled: tuple[int, ...] = ()
    said: str = ""

    @on("roll")
    def roll(self, sides: int, context: Context):
        if sides < 1:
            raise Rejected("no such dice")
        rolled = context.random.randint(1, sides)
        return self.set(rolled=(*self.rolled, rolled)), Run(shout, {"text": f"a {rolled}"}, then="said"), Reply(rolled)

    @on("said")
    def hear(self, result: str):
        return self.set(said=result)

async def main():
    spec = AgentSpec(Dice, id="dice")
    async with open_runtime(Supervisor([spec]), storage=SQLiteStorage("agents.db")) as runtime:
        dice = runtime.ref("dice", Dice)
        for sides in (6, 20, 100):
            await dice.call_settled("roll", sides=sides)
        try:
            await dice.call("roll", sides=0)
        except Rejected:
            pass
        print("ready", flush=True)
        sys.stdin.readline()
        await dice.call_settled("roll", sides=6)
        print(len(dice.state().rolled), flush=True)
"""

REPLAY = """\
desk  (desk.Desk, version 1, 5 turns)
5 turns were run again, and came out the same
recorded state after turn 5:
    seen = 4
    last = 'T-5'
"""

CHANGED = DESK.replace("self.seen + 1", "self.seen + len(ticket) - 2").replace('"T-3"', '"T-2"')

DIVERGED = """\
desk  (desk.Desk, version 1, 5 turns)
Diverged: turn 2 came out differently: outcome  (ticket.opened at 2026-01-31 12:02:00.000Z)
    outcome: recorded committed, now Rejected: not that one
5 turns were run again, 2 came out differently: 2, 3
recorded state after turn 5:
    seen = 4
    last = 'T-5'
"""

DIFF = """\
desk  (desk.Desk, version 1, 5 turns)
turn 1  2026-01-31 12:01:00.000Z  ticket.opened
    seen: 0 → 1
    last: '' → 'T-1'
    asks for Emit(type='ticket.accepted', data={'ticket': 'T-1'})
turn 2  2026-01-31 12:02:00.000Z  ticket.opened
    seen: 1 → 2
    last: 'T-1' → 'T-2'
    asks for Emit(type='ticket.accepted', data={'ticket': 'T-2'})
    Diverged: turn 2 came out differently: outcome
        outcome: recorded committed, now Rejected: not that one
turn 3  2026-01-31 12:03:00.000Z  ticket.opened  rejected
    differs too: turn 3 came out differently: outcome, seen, last, directives
        outcome: recorded rejected, now committed
        seen: recorded 2, now 3
        last: recorded 'T-2', now 'T-3'
        directives: recorded none, now Emit(type='ticket.accepted', data={'ticket': 'T-3'})
3 turns were run again, 2 came out differently: 2, 3
recorded state after turn 3:
    seen = 2
    last = 'T-2'
"""


def test_history_tells_each_turn(here, command, database):
    done = here.run("history", "agents.db", "desk")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", HISTORY)


def test_history_of_some_turns(here, command, database):
    title, *turns = HISTORY.splitlines()
    some = here.run("history", "agents.db", "desk", "--since", "2", "--until", "2026-01-31T12:03Z")
    assert some.stdout.splitlines() == [title, *turns[1:3]]
    assert here.run("history", "agents.db", "desk", "--until", "0").stdout.splitlines() == [title, "no turns"]


def test_replay_of_what_comes_out_the_same(here, command, database):
    done = here.run("replay", "agents.db", "desk")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", REPLAY)


def test_replay_names_the_first_turn_that_differs(here, command, database):
    command.write("desk.py", CHANGED)
    done = here.run("replay", "agents.db", "desk")
    assert (done.returncode, done.stderr, done.stdout) == (1, "", DIVERGED)
    before = here.run("replay", "agents.db", "desk", "--until", "1")
    assert before.returncode == 0
    assert "1 turn was run again, and came out the same\nrecorded state after turn 1:\n    seen = 1" in before.stdout


def test_replay_tells_what_changed_at_each_turn(here, command, database):
    command.write("desk.py", CHANGED)
    done = here.run("replay", "agents.db", "desk", "--diff", "--until", "3")
    assert (done.returncode, done.stderr, done.stdout) == (1, "", DIFF)


def test_the_page_shows_what_the_commands_write(command, database):
    page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text()
    for text in (HISTORY, DIVERGED):
        assert f"```text\n{text}```" in page


def test_nothing_is_claimed_or_changed_beside_a_program_that_runs(command, database):
    async def look(storage: Storage):
        before = await storage.dump(KEY)
        for words in (["history"], ["replay"], ["export"]):
            done = await trio.to_thread.run_sync(command.run, words[0], "agents.db", "desk")
            assert (done.returncode, done.stderr) == (0, "")
        assert await storage.dump(KEY) == before

    with_storage(database, look)


def test_what_a_killed_program_has_left_in_the_log_is_told_and_left_there(command):
    command.write("desk.py", DESK)
    fill(command, more=("", "default", "kill"))
    database, log = command.directory / "agents.db", command.directory / "agents.db-wal"
    before = database.read_bytes(), log.read_bytes()
    assert log.stat().st_size
    assert command.run("history", "agents.db", "desk").stdout == HISTORY
    assert (database.read_bytes(), log.read_bytes()) == before


def test_a_program_that_runs_agents_is_not_disturbed_by_a_replay(command):
    command.write("app.py", APP)
    program = command.python("-c", "import trio, app; trio.run(app.main)", stdin=subprocess.PIPE)
    assert until(program, "ready")[-1] == "ready\n"
    told = command.run("history", "agents.db", "dice")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.count("→ Run(action='app:shout', params={'text': 'a ") == 3
    assert told.stdout.count("  rejected\n") == 1
    done = command.run("replay", "agents.db", "dice", "--diff")
    assert (done.returncode, done.stderr) == (0, "")
    assert " turns were run again, and came out the same\n" in done.stdout  # chance and all
    out, err = program.communicate("\n", timeout=60)
    assert (program.returncode, out) == (0, "4\n"), err


def test_an_agent_of_another_runtime_and_partition(here, command, database):
    fill(command, id="o/ther", more=("north", "shop"))
    done = here.run("history", "agents.db", "o/ther", "--runtime", "shop", "--partition", "north")
    assert done.stdout == HISTORY.replace("desk  (", "north/o/ther  (")
    assert here.run("history", "agents.db", "o/ther").stderr == (
        "prunella: there is no agent 'o/ther' in runtime 'default'; did you mean --runtime shop --partition north?\n"
    )


def test_a_class_that_cannot_be_found_is_named(here, command, database):
    os.rename(command.directory / "desk.py", command.directory / "moved.py")
    done = here.run("history", "agents.db", "desk")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[0] == (
        "prunella: the class of agent 'desk' is stored as 'desk:Desk', which cannot be loaded; "
        "name it with --agent MODULE:CLASS or --agent PATH.py:CLASS"
    )
    for named in ("moved:Desk", "moved.py:Desk", "moved.py"):
        assert (
            here.run("history", "agents.db", "desk", "--agent", named).stdout.splitlines()[1:]
            == (HISTORY.splitlines()[1:])
        )


def test_a_class_of_a_script_has_to_be_named(here, database):
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("UPDATE agents SET reference = '__main__:Desk'")
    done = here.run("history", "agents.db", "desk")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "prunella: the class of agent 'desk' is stored as '__main__:Desk', in a program that was run as a script; "
        "name it with --agent MODULE:CLASS or --agent PATH.py:CLASS\n"
    )
    assert here.run("history", "agents.db", "desk", "--agent", "desk.py").stdout == HISTORY


@pytest.mark.parametrize("which", ["history", "replay"])
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.db", "desk"], "none.db: no such file"),
        ([".", "desk"], ".: is a directory"),
        (["empty.db", "desk"], "empty.db: is empty, there are no agents in it"),
        (["desk.py", "desk"], "desk.py: "),
        (["other.db", "desk"], "other.db: the database holds something else, it was not made by prunella"),
        (["agents.db", "dusk"], "there is no agent 'dusk' in runtime 'default'; there are 'desk'"),
        (
            ["agents.db", "desk", "--partition", "p"],
            "there is no agent 'desk' in runtime 'default', partition 'p'; did",
        ),
        (["agents.db", "dusk", "--runtime", "r"], "there is no agent 'dusk' in runtime 'r'; there are agents in --run"),
        (["agents.db", ""], "agents.db: AgentKey: id must be"),
        (["agents.db", "desk", "--agent", "desk:Dusk"], "desk: has no 'Dusk' (its agents: Desk)"),
        (["agents.db", "desk", "--agent", "clerk.py"], "agent 'desk' is of type 'desk', Clerk is 'clerk'"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(here, command, database, which, words, message):
    command.write("empty.db", "")
    command.write("clerk.py", "from prunella import Agent", "class Clerk(Agent, name='clerk'): pass")
    with closing(sqlite3.connect(command.directory / "other.db")) as other:
        other.execute("CREATE TABLE t (x)")
    before = sorted(path.name for path in command.directory.iterdir())
    done = here.run(which, *words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    if message != "agents.db: AgentKey: id must be":
        assert done.stderr.startswith(f"prunella: {message}")
    after = sorted(path.name for path in command.directory.iterdir())
    assert [name for name in after if not name.startswith("agents.db-")] == before


@pytest.mark.parametrize("words", [["--until", "x"], ["--until", "2026-01-31T12:00"], ["--until", "-1"], []])
def test_wrong_usage_is_told(here, command, words):
    done = here.run("history", "agents.db", *words, *(["desk"] if words else []))
    assert done.returncode == 2
    assert "usage: prunella history" in done.stderr


def test_turns_that_are_kept_no_longer(here, command, database):
    with_storage(database, lambda storage: storage.trim(KEY, keep=2))
    done = here.run("history", "agents.db", "desk")
    title, *turns = HISTORY.splitlines()
    assert done.stdout.splitlines() == [title, "turns before 3 are kept no longer", *turns[2:]]
    for words in (["history", "agents.db", "desk", "--since", "1"], ["replay", "agents.db", "desk", "--until", "1"]):
        done = here.run(*words)
        assert (done.returncode, done.stderr) == (2, "prunella: agents.db: turns before 2 are kept no longer\n")


@pytest.mark.parametrize("change", ["commits SET body = x'7b' WHERE sequence = 4", "commits SET body = x'00'"])
def test_a_turn_that_cannot_be_read_is_told_in_a_line(here, command, database, change):
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute(f"UPDATE {change}")
    for which in ("history", "replay"):
        done = here.run(which, "agents.db", "desk")
        assert (done.returncode, done.stderr.count("\n")) == (65, 1)
        assert "cannot be read" in done.stderr


def test_nobody_has_to_read_to_the_end(command, database):
    for words in ("history agents.db desk", "replay agents.db desk --diff", "export agents.db"):
        done = subprocess.run(
            f"{sys.executable} -m prunella {words} | head -n 1; exit ${{PIPESTATUS[0]}}",
            shell=True, executable="/bin/bash", cwd=command.directory, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


@pytest.mark.parametrize("width", [20, 33, 80, 200])
def test_a_narrow_terminal_gets_narrow_lines(command, database, width, monkeypatch):
    monkeypatch.chdir(command.directory)
    text: list[str] = []

    async def go():
        async with existing("agents.db") as storage:
            record = await found(storage, KEY)
            of = load_agent("desk.py")
            await show_history(storage, of, record, None, None, text.append, width)
            await show_replay(storage, of, record, None, text.append, width, diff=True)

    monkeypatch.setattr(sys, "path", [*sys.path])
    trio.run(go)
    lines = "".join(text).splitlines()
    assert all(len(line) <= max(width, 40) for line in lines[1:])
    assert sum("ticket.accepted" in line for line in lines) <= 8


def test_what_moves_the_cursor_is_not_written():
    assert list(fitted("    a\x1b[2Jb\nc", None)) == ["    a [2Jb c"]


def test_agents_are_taken_to_another_database(here, command, database):
    fill(command, id="other", more=("p", "shop"))
    done = here.run("export", "agents.db")
    assert (done.returncode, done.stderr) == (0, "")
    command.write("all.jsonl", done.stdout)
    done = here.run("import", "new.db", "all.jsonl")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 agents imported\n", "")
    assert here.run("history", "new.db", "desk").stdout == HISTORY
    assert here.run("export", "new.db").stdout == (command.directory / "all.jsonl").read_text()
    one = here.run("export", "agents.db", "other", "--runtime", "shop", "--partition", "p").stdout
    assert one == here.run("export", "agents.db", "--runtime", "shop").stdout
    assert json.loads(one.splitlines()[-1]) == {"end": {"agents": 1}}


def test_what_is_there_is_not_overwritten(here, command, database):
    fill(command, id="another")
    lines = here.run("export", "agents.db").stdout
    command.write("all.jsonl", lines)
    with_storage(
        command.directory / "new.db",
        lambda storage: storage.claim(KEY, Code("x"), owner="me", now=datetime(2026, 1, 1, tzinfo=UTC)),
    )
    done = here.run("import", "new.db", "all.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prunella: new.db: there is an agent default/-/desk already; nothing was imported\n"
    names = with_storage(command.directory / "new.db", lambda storage: storage.agents("default"))
    assert [(record.key.id, record.code.name) for record in names] == [("desk", "x")]


@pytest.mark.parametrize("cut", [0, 1, 3, 6, 10, -1])
def test_of_a_file_that_was_cut_off_nothing_is_imported(command, database, cut):
    lines = command.run("export", "agents.db").stdout.splitlines(keepends=True)
    file = command.write("cut.jsonl", "".join(lines[:cut]))
    with file.open() as cut_off:
        done = command.run("import", "new.db", "-", stdin=cut_off)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (65, "", 1)
    assert done.stderr.startswith("prunella: -: line ")
    assert not (command.directory / "new.db").exists()


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["import", "new.db", "none.jsonl"], 2, "none.jsonl: No such file"),
        (["import", ".", "desk.py"], 2, ".: is a directory"),
        (["import", "new.db", "desk.py"], 65, "desk.py: line 2: this is no line of an export"),
        (["import", "desk.py", "all.jsonl"], 2, "desk.py: desk.py cannot be opened: file is not a database"),
        (["export", "none.db"], 2, "none.db: no such file"),
        (["export", "agents.db", "dusk"], 2, "there is no agent 'dusk'"),
        (["export", "agents.db", "--runtime", "r"], 2, "agents.db: there are no agents of runtime 'r' in it"),
        (["export", "agents.db", "--partition", "p"], 2, "--partition is that of an agent, which is missing"),
    ],
)
def test_what_cannot_be_taken_is_told(here, command, database, words, status, message):
    command.write("all.jsonl", here.run("export", "agents.db").stdout)
    done = here.run(*words)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)
    assert message in done.stderr


def test_an_imported_agent_can_be_read_like_any_other(command, database):
    command.write("all.jsonl", command.run("export", "agents.db").stdout)
    with (command.directory / "all.jsonl").open() as file:
        assert command.run("import", "new.db", "-", stdin=file).returncode == 0

    async def state(storage: Storage):
        return await state_at(storage, load_agent(f"{command.directory}/desk.py"), "desk", until=2)

    assert with_storage(command.directory / "new.db", state).seen == 2
