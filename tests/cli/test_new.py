"""Skeletons of projects and agents: they work as they are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def pytest_in(directory) -> subprocess.CompletedProcess[str]:
    """The tests that were generated, as their user would run them: with an environment that has said nothing."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PRUNELLA_"))}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    return subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def files_in(directory) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.suffix != ".pyc"
    }


def test_a_new_project_passes_its_tests_runs_and_can_be_extended(command):
    made = command.run("new", "project", "my-bots")
    assert (made.returncode, made.stderr) == (0, "")
    directory = command.directory / "my-bots"
    assert sorted(made.stdout.split()) == [f"my-bots/{name}" for name in files_in(directory)]
    assert pytest_in(directory).stdout.splitlines()[-1].startswith("3 passed")

    command.directory = directory
    done = command.run("run", "my_bots.main", "--signals", "events.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 in = 1 handled + 0 crashed on + 1 refused" in done.stdout
    assert "notebook.note  2  Rejected: the text is empty" in done.stdout

    told = command.run("describe", "my_bots.notebook:Notebook")
    assert "  notes: tuple[str, ...] = ()\n      what it was told, in order." in told.stdout

    added = command.run("new", "agent", "my_bots.another")
    assert (added.stdout, added.stderr) == ("my_bots/another.py\ntests/test_another.py\n", "")
    assert pytest_in(directory).stdout.splitlines()[-1].startswith("6 passed")


def test_a_new_agent_passes_its_tests_where_there_is_no_project(command):
    made = command.run("new", "agent", "night_mailer")
    assert (made.stdout, made.stderr) == ("night_mailer.py\ntests/test_night_mailer.py\n", "")
    assert "class NightMailer(Agent" in (command.directory / "night_mailer.py").read_text()
    assert pytest_in(command.directory).stdout.splitlines()[-1].startswith("3 passed")


def test_a_new_agent_finds_a_package_in_src(command):
    (command.directory / "src/shop").mkdir(parents=True)
    assert command.run("new", "agent", "shop.mailer").stdout.split()[0] == "src/shop/mailer.py"


@pytest.mark.parametrize("there", ["mailer.py", "tests/test_mailer.py"])
def test_a_new_agent_overwrites_nothing(command, there):
    (command.directory / "tests").mkdir()
    command.write(there, "mine")
    done = command.run("new", "agent", "mailer")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"prunella: {there} is there already\n")
    assert files_in(command.directory) == {there: "mine"}


def test_a_new_project_overwrites_nothing(command):
    (command.directory / "bots").mkdir()
    command.write("bots/README.md", "mine")
    command.write("file", "mine")
    for name in ("bots", "file"):
        done = command.run("new", "project", name)
        assert (done.returncode, done.stderr) == (2, f"prunella: {name} is there already\n")
    assert files_in(command.directory) == {"bots/README.md": "mine", "file": "mine"}


def test_a_new_project_may_fill_an_empty_directory(command):
    (command.directory / "bots").mkdir()
    assert command.run("new", "project", "bots").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["agent", "Mailer"], "'Mailer' is no name for a module"),
        (["agent", "2fast"], "'2fast' is no name for a module"),
        (["agent", "../mailer"], "'../mailer' is no name for a module"),
        (["agent", "class"], "'class' is no name for a module"),
        (["agent", "json"], "there is a module 'json' already"),
        (["agent", "emit"], "the class would be called Emit"),
        (["agent", "shop.mailer"], "there is no package 'shop'"),
        (["agent", "..mailer"], "there is no package '.'"),
        (["agent", "/tmp.mailer"], "there is no package '/tmp'"),
        (["project", "trio"], "there is a module 'trio' already"),
        (["project", "a/b"], "'a/b' is no name for a module"),
    ],
)
def test_a_bad_name_is_told(command, arguments, message):
    done = command.run("new", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert files_in(command.directory) == {}


def test_a_directory_that_cannot_be_written_is_told(command):
    command.write("tests", "a file")
    done = command.run("new", "agent", "mailer")
    assert done.returncode == 2
    assert done.stderr.startswith("prunella: ")
    assert "Traceback" not in done.stderr


def test_new_wants_to_know_what(command):
    done = command.run("new")
    assert done.returncode == 2
    assert "usage: prunella new" in done.stderr
