"""The command in a process, and something for it to run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ECHO = """
import trio
from prunella import Agent, AgentSpec, Rejected, Run, Signal, Stop, Supervisor, on
from prunella.supervision import Backoff


async def say(text):
    print(f"{text}\\n", end="", flush=True)  # in one piece: the view writes too, in a thread


class Echo(Agent, name="echo"):
    @on("prunella.started")
    def started(self):
        return Run(say, {"text": "ready"})

    @on("word.*")
    def hear(self, signal: Signal):
        match signal.data:
            case "crash":
                raise ValueError("no good")
            case "no":
                raise Rejected("not that one")
            case "stop":
                return Stop()
        return Run(say, {"text": f"heard {signal.data}"})

    @on("prunella.stopping")
    def stopping(self):
        return Run(say, {"text": "cleaned up"})


tree = Supervisor([AgentSpec(Echo, mailbox=2)])
slow = Supervisor([AgentSpec(Echo, mailbox=2, backoff=Backoff(initial=60, jitter=0))])
alone = AgentSpec(Echo)
"""

PLAIN = """
import trio
from prunella import Child, Supervisor

async def plain():
    try:
        print("ready\\n", end="", flush=True)
        await trio.sleep_forever()
    finally:
        print("cleaned up\\n", end="", flush=True)

tree = Supervisor([Child(plain)])
"""


def word(data: object, **changes: object) -> str:
    """A line with an event for the agent `echo`."""
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
        return self.python("-m", "prunella", *arguments, **options)

    def python(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})}
        process = self._stack.enter_context(
            subprocess.Popen(
                [sys.executable, *map(str, arguments)],
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
    """Reads the output of a process until a line has that text, for a minute at most."""
    assert process.stdout is not None
    lines = []
    too_late = threading.Timer(60, process.kill)
    too_late.start()
    try:
        for line in process.stdout:
            lines.append(line)
            if text in line:
                return lines
    finally:
        too_late.cancel()
    raise AssertionError(f"{text!r} never came:\n{''.join(lines)}")
