from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from examples.counter import Counter, main

from prunella import InvalidSignalData
from prunella.runtime import Runtime
from prunella.testing import crash

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def test_it_counts() -> None:
    agent, directives = Counter().cmd("add", amount=2)
    assert (agent, directives) == (Counter(count=2), ())
    assert agent.cmd("add")[0].count == 3


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(InvalidSignalData):
        Counter().cmd("add", amount="2")


async def test_the_program_prints_the_sum(capsys: pytest.CaptureFixture[str]) -> None:
    await main()
    assert capsys.readouterr().out == "3\n"


async def test_it_comes_back_after_a_crash(runtime: Runtime) -> None:
    counter = await runtime.start_agent(Counter, "counter")
    await counter.call("add")
    await crash(counter)
    assert (await counter.call("add")).count == 1


@pytest.mark.parametrize("name", ["counter", "chat_agent", "pipeline", "reminders"])
def test_each_example_can_be_run_by_its_name(name: str) -> None:
    arguments = ["Hello"] if name == "chat_agent" else []
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout
