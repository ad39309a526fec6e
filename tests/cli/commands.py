"""The command in a process, and something for it to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ECHO = """
import trio
from prunella import Child, Supervisor
from prunella.cli import Mailbox

async def echo(mailbox, *, task_status):
    print("ready", flush=True)
    task_status.started()
    try:
        while True:
            async with mailbox.take() as event:
                if event.data == "crash":
                    raise ValueError("no good")
                if event.data == "wait":
                    print("waiting", flush=True)
                    await trio.sleep_forever()
                print("heard", event.data, flush=True)
    finally:
        print("cleaned up", flush=True)

mailboxes = [Mailbox("echo", "word.*", capacity=2)]
tree = Supervisor([Child(echo, mailboxes[0])])
"""


def word(data: object, **changes: object) -> str:
    """A line with an event for the child `echo`."""
    return json.dumps({"specversion": "1.0", "id": "1", "source": "/t", "type": "word.said", "data": data, **changes})


class Command:
    """The command in a process of its own, in a directory of its own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack

    def write(self, name: str, *lines: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in lines))
        return path

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})}
        process = self._stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-m", "prunella", *map(str, arguments)],
                cwd=self.directory, text=True, env=environment, **options,
            )
        )  # fmt: skip
        self._stack.callback(process.kill)
        return process

    def run(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **options)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Reads the output of a process until a line has that text."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} never came:\n{''.join(lines)}")
