"""What only a process of its own can show: Ctrl-C, SIGTERM, and tasks that do not end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_PROGRAM = """
import signal, sys, time
import trio
from prunella.agents import Agent, Run, on
from prunella.runtime import AgentEnded, AgentSpec, open_runtime
from prunella.supervision import Supervisor

signal.signal(signal.SIGINT, signal.default_int_handler)  # the shell may have it ignored

class Sleeper(Agent, name="sleeper"):
    @on("prunella.stopping")
    def stopping(self):
        return Run(trio.sleep, {{"seconds": 0.05}})

async def deaf():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

class Deaf(Agent, name="deaf"):
    @on("go")
    def go(self):
        return Run(deaf)

def show(event):
    if isinstance(event, AgentEnded):
        print("ended", event.agent, event.reason, flush=True)

async def main():
    tree = Supervisor([AgentSpec(Sleeper, "a"), AgentSpec(Sleeper, "b")])
    try:
        async with open_runtime(tree, telemetry=[show], {options}) as runtime:
            await runtime.start_agent(Sleeper, "later")
            {before}
            print("ready", flush=True)
            {body}
        print("left", flush=True)
    except BaseException as error:
        print(type(error).__name__, flush=True)
        raise

trio.run(main)
"""


@contextmanager
def running(
    options: str = "", body: str = "await trio.sleep_forever()", before: str = "pass"
) -> Iterator[subprocess.Popen[str]]:
    program = _PROGRAM.format(options=options, body=body, before=before)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def rest_of(process: subprocess.Popen[str]) -> list[str]:
    out, _ = process.communicate(timeout=20)
    return out.splitlines()


IN_ORDER = ["ended later shutdown", "ended b shutdown", "ended a shutdown"]

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@posix
def test_sigterm_stops_in_order_and_leaves_the_block() -> None:
    with running("handle_os_signals=True") as process:
        process.send_signal(signal.SIGTERM)
        assert rest_of(process) == [*IN_ORDER, "left"]
        assert process.returncode == 0


@posix
def test_sigterm_is_not_taken_unless_that_was_asked_for() -> None:
    with running() as process:
        process.send_signal(signal.SIGTERM)
        assert rest_of(process) == []
        assert process.returncode == -signal.SIGTERM


@posix
def test_ctrl_c_stops_in_order_and_comes_out_bare() -> None:
    with running() as process:
        process.send_signal(signal.SIGINT)
        assert rest_of(process) == [*IN_ORDER, "KeyboardInterrupt"]


@posix
def test_ctrl_c_that_is_listened_to_stops_in_order_and_leaves_the_block() -> None:
    with running("handle_os_signals=True") as process:
        process.send_signal(signal.SIGINT)
        assert rest_of(process) == [*IN_ORDER, "left"]
        assert process.returncode == 0


@posix
def test_ctrl_c_in_the_middle_of_many_starts() -> None:
    with running(body="while True: await runtime.start_agent(Sleeper)") as process:
        process.send_signal(signal.SIGINT)
        lines = rest_of(process)
        assert lines[-1] == "KeyboardInterrupt"
        assert lines[-3:-1] == ["ended b shutdown", "ended a shutdown"]


@posix
def test_a_process_is_ended_when_a_task_does_not_end_and_that_was_asked_for() -> None:
    before = "d = await runtime.start_agent(Deaf, 'd', shutdown=0.0); await d.call('go'); await trio.sleep(0)"
    with running("abandon_after=1.5", before=before, body="pass") as process:
        lines = rest_of(process)
        assert process.returncode == 70
        assert "left" not in lines
        assert "ended d killed" in lines, "it was told that it does not end"
