from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.cli.commands import ECHO, Command
from tests.cli.databases import DESK, Here, fill


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    with ExitStack() as stack:
        yield Command(tmp_path, stack)


@pytest.fixture
def echo(command: Command) -> Path:
    return command.write("echo.py", ECHO)


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database with the agent `desk`, for copies."""
    with ExitStack() as stack:
        command = Command(tmp_path_factory.mktemp("filled"), stack)
        command.write("desk.py", DESK)
        fill(command)
        yield command.directory / "agents.db"


@pytest.fixture
def database(command: Command, filled: Path) -> Path:
    """One of one's own, and the module beside it."""
    command.write("desk.py", DESK)
    return Path(shutil.copy(filled, command.directory))


@pytest.fixture
def here(command: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """The command in this process, which is much faster than one of its own."""
    monkeypatch.chdir(command.directory)
    monkeypatch.setattr(sys, "path", sys.path[:])
    before = set(sys.modules)
    yield Here(capfd)
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) in (None, *map(str, command.directory.glob("*.py"))):
            del sys.modules[name]
