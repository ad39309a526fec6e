"""Durable agents on the command line: in processes that are stopped, killed, and started again."""

from __future__ import annotations

import re
import signal
import subprocess
import time

import pytest
from tests.cli.commands import until, word

DESK = """
import trio
from prunella import Agent, AgentSpec, Run, Schedule, Supervisor, on


async def say(text):
    print(f"{text}\\n", end="", flush=True)


async def work(word):
    await trio.sleep(1.0)
    return word


class Desk(Agent, name="desk", durable=True):
    heard: tuple[str, ...] = ()
    done: tuple[str, ...] = ()

    @on("prunella.started")
    def started(self, restored: bool):
        return Run(say, {"text": f"began with {' '.join(self.heard) or 'nothing'}; done {' '.join(self.done)}"})

    @on("word.said")
    def hear(self, word: str):
        heard = (*self.heard, word)
        return self.set(heard=heard), Run(say, {"text": f"heard {' '.join(heard)}"})

    @on("word.worked")
    def work(self, word: str):
        return Run(say, {"text": f"works on {word}"}), Run(work, {"word": word}, then="word.done")

    @on("word.done")
    def worked(self, result: str):
        done = (*self.done, result)
        return self.set(done=done), Run(say, {"text": f"done {' '.join(done)}"})

    @on("prunella.stopping")
    def stopping(self):
        return Run(say, {"text": "cleaned up"})


tree = Supervisor([AgentSpec(Desk)])
"""


@pytest.fixture
def desk(command):
    return command.write("desk.py", DESK)


def said(*words: str, type: str = "word.said") -> list[str]:
    return [word({"word": each}, id=each, type=type) for each in words]


def start(command, *options: object, **more: object) -> subprocess.Popen[str]:
    return command.start(
        "run", "desk.py", "--storage", "desk.db", "--signals", "-", *options, stdin=subprocess.PIPE, **more
    )


def tell(process: subprocess.Popen[str], *lines: str) -> None:
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines))
    process.stdin.flush()


@pytest.mark.slow
def test_a_killed_tree_comes_back_as_it_was(command, desk):
    first = start(command)
    tell(first, *said("one", "two"))
    until(first, "heard one two")
    first.kill()
    first.wait()
    second = start(command)
    tell(second, *said("three"))
    lines = until(second, "heard one two three")
    assert "began with one two; done \n" in lines
    second.kill()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_stop_drains_and_the_next_start_is_at_once(command, desk, number):
    first = start(command)
    # The last one is accepted, and its work runs, when the signal comes.
    tell(first, *said(*(f"w{number}" for number in range(200))), *said("long", type="word.worked"))
    until(first, "works on long")
    first.send_signal(number)
    lines = until(first, "nothing queued was lost")
    assert "cleaned up\n" in lines
    assert "NOT WELL" not in "".join(lines)
    assert "201 in = 201 handled + 0 crashed on + 0 refused\n" in lines
    assert first.wait() == 0
    began = time.monotonic()
    # It gives way to any owner that is alive: the first has let go.
    second = start(command, "--claim", "refuse")
    lines = until(second, "began with")
    assert time.monotonic() - began < 8, "it waited for the lease of the first"
    assert lines[-1].startswith(f"began with {' '.join(f'w{number}' for number in range(200))};")
    # The work ended within the time that the agent had for it, and then its result was stored; or it is done now.
    if "done long\n" not in lines and not lines[-1].endswith("done long\n"):
        until(second, "done long")
    second.send_signal(signal.SIGTERM)
    until(second, "stopped by")
    assert second.wait() == 0


@pytest.mark.slow
def test_what_waits_when_it_is_stopped_is_no_loss_and_handled_by_the_next_run(command, desk):
    events = said(*(f"w{number}" for number in range(500)))
    first = start(command)
    tell(first, *events)
    until(first, "heard w0")
    first.send_signal(signal.SIGTERM)
    lines = until(first, "nothing queued was lost")
    [equation] = [line for line in lines if " in = " in line]
    numbers = {term: int(number) for number, term in re.findall(r"(\d+) ([a-z ]+?)(?= \+| =|$)", equation.strip())}
    assert numbers["in"] == numbers["handled"] + numbers.get("stored for the next start", 0)
    assert "NOT WELL" not in "".join(lines)
    assert first.wait() == 0
    command.write("events", *events)
    second = command.run("run", "desk.py", "--storage", "desk.db", "--signals", "events")
    assert (second.returncode, second.stderr) == (0, "")
    assert f"heard {' '.join(f'w{number}' for number in range(500))}\n" in second.stdout


@pytest.mark.slow
def test_the_same_events_again_count_once(command, desk):
    command.write("events", *said("one", "two", "one"))
    arguments = ("run", "desk.py", "--storage", "desk.db", "--signals", "events")
    first = command.run(*arguments)
    assert (first.returncode, first.stderr) == (0, "")
    assert "3 in = 2 handled + 0 crashed on + 0 refused + 1 known before" in first.stdout
    second = command.run(*arguments)
    assert (second.returncode, second.stderr) == (0, "")
    assert "began with one two; done" in second.stdout
    assert "3 in = 0 handled + 0 crashed on + 0 refused + 3 known before" in second.stdout


@pytest.mark.slow
def test_who_comes_second_takes_over_or_gives_way(command, desk):
    first = start(command)
    tell(first, *said("one"))
    until(first, "heard one")
    refused = command.run("run", "desk.py", "--storage", "desk.db", "--claim", "refuse")
    assert refused.returncode == 1
    assert "NOT WELL" in refused.stdout
    tell(first, *said("two"))
    until(first, "heard one two")
    second = start(command, "--claim", "take")
    tell(second, *said("three"))
    until(second, "heard one two three")
    # The first learns of it when it writes, or when it renews its lease, and has nothing left to stay for.
    out = "".join(until(first, "NOT WELL"))
    assert "desk is stopped here: another process has taken it over\n" in out
    assert "NOT WELL: another process has taken over its durable agents\n" in out
    assert first.wait() == 1
    second.kill()


def test_durable_agents_without_a_storage_are_told_what_they_need(command, desk):
    done = command.run("run", "desk.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "prunella: desk.py: has durable agents, which need a --storage FILE\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--claim", "take"), "--claim is about agents in --storage, which is missing"),
        (("--storage", ""), "--storage is the path of a file, not ''"),
        (("--storage", "x.db", "--claim", "perhaps"), "invalid choice: 'perhaps'"),
    ],
)
def test_wrong_usage_is_told(command, desk, arguments, told):
    done = command.run("run", "desk.py", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


def test_a_file_that_is_no_database_is_told_and_left_alone(command, desk):
    file = command.write("notes.txt", "no database")
    done = command.run("run", "desk.py", "--storage", file)
    assert done.returncode == 1
    assert "NOT WELL: " in done.stdout
    assert str(file) in done.stdout
    assert file.read_text() == "no database"
