from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.cli.commands import ECHO, Command


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    with ExitStack() as stack:
        yield Command(tmp_path, stack)


@pytest.fixture
def echo(command: Command) -> Path:
    return command.write("echo.py", ECHO)
