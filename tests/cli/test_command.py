"""The command as people meet it: in a process of its own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.commands import until, word

from prunella import __version__

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_helpdesk_goes_on_over_the_crashes_of_billing(command):
    done = command.run("run", EXAMPLES / "helpdesk.py", "--signals", EXAMPLES / "data/helpdesk.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if line.startswith(("support ", "billing "))][:2] == [
        ["support", "2091", "2091", "0", "0"],
        ["billing", "894", "885", "9", "9"],
    ]
    assert "exits of support: 1 × shutdown" in lines
    assert "exits of billing: 5 × ValueError, 4 × ZeroDivisionError, 1 × shutdown" in lines
    assert "3000 in = 2976 handled + 9 crashed on + 15 refused" in lines
    assert lines[-1] == "nothing queued was lost: 0 left waiting, 0 interrupted"


def test_the_events_of_the_helpdesk_are_those_that_its_script_makes(tmp_path):
    script = tmp_path / "make_helpdesk.py"
    script.write_bytes((EXAMPLES / "data/make_helpdesk.py").read_bytes())
    subprocess.run([sys.executable, script], check=True, capture_output=True)
    assert (tmp_path / "helpdesk.jsonl").read_bytes() == (EXAMPLES / "data/helpdesk.jsonl").read_bytes()


def test_it_tells_its_version(command):
    assert command.run("--version").stdout == f"prunella {__version__}\n"


def test_help_names_every_exit_status(command):
    help = command.run("run", "--help").stdout
    assert all(f"\n  {status}" in help for status in ("0 ", "1 ", "2 ", "65 ", "130 "))


def test_wrong_usage_is_told_on_the_standard_error(command):
    done = command.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: prunella" in done.stderr


def test_a_module_is_found_in_the_current_directory(command, echo):
    events = command.write("events", word("one"))
    done = command.run("run", "echo:tree", "--signals", events)
    assert done.returncode == 0, done.stderr
    assert "heard one\n" in done.stdout


def test_a_target_that_raises_is_told_with_its_own_lines_only(command):
    command.write("faulty.py", "1 / 0")
    done = command.run("run", "faulty.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert f'File "{command.directory}/faulty.py", line 1' in done.stderr
    assert "prunella/cli" not in done.stderr


def test_bad_lines_are_told_with_their_place_and_good_ones_are_handled(command, echo):
    command.write("events", word("one"), "no JSON", b"\xff", "[]", "", word("two"), word("x", id=""))
    done = command.run("run", "echo.py", "--signals", "events")
    assert done.returncode == 65
    assert done.stderr.splitlines() == [
        "prunella: events:2: not JSON: Expecting value, at character 1",
        "prunella: events:3: not UTF-8, at byte 1",
        "prunella: events:4: not a CloudEvent: expected an object, got a list",
        "prunella: events:7: not a CloudEvent: 'id' is not a text, or empty",
    ]
    assert "heard one\n" in done.stdout
    assert "heard two\n" in done.stdout
    assert "4 lines were not read: no CloudEvents" in done.stdout
    assert "2 in = 2 handled + 0 crashed on + 0 refused" in done.stdout


def test_of_many_bad_lines_the_first_are_told(command, echo):
    command.write("events", *["bad"] * 5_000)
    done = command.run("run", "echo.py", "--signals", "events")
    assert done.returncode == 65
    assert len(done.stderr.splitlines()) == 21
    assert done.stderr.endswith("prunella: events: … and 4980 more lines like these\n")


def test_events_of_the_standard_input_are_handled_while_it_is_open(command, echo):
    process = command.start("run", "echo.py", "--signals", "-", stdin=subprocess.PIPE)
    process.stdin.write(word("one") + "\n")
    process.stdin.flush()
    until(process, "heard one")
    process.stdin.write(word("two"))
    process.stdin.close()
    until(process, "heard two")
    assert process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_is_stopped_in_order_while_it_waits_for_input(command, echo, number):
    process = command.start("run", "echo.py", "--signals", "-", stdin=subprocess.PIPE)
    process.stdin.write(word("one") + "\n")
    process.stdin.flush()
    until(process, "heard one")
    process.send_signal(number)
    lines = until(process, "stopped by")
    assert "cleaned up\n" in lines
    assert f"stopped by {number.name} after" in lines[-1]
    assert process.wait() == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_without_signals_it_runs_until_it_is_stopped(command, echo, number):
    process = command.start("run", "echo.py")
    until(process, "echo started")
    process.send_signal(number)
    until(process, "cleaned up")
    until(process, "stopped by")
    assert process.wait() == 0


def test_a_start_in_progress_is_cut_off(command):
    command.write(
        "slow.py",
        "import trio",
        "from prunella import Child, Supervisor",
        "async def slow(task_status):",
        "    print('starting', flush=True)",
        "    await trio.sleep_forever()",
        "tree = Supervisor([Child(slow)])",
    )
    process = command.start("run", "slow.py")
    until(process, "starting")
    process.send_signal(signal.SIGTERM)
    until(process, "stopped by SIGTERM")
    assert process.wait() == 0


def test_a_second_interrupt_kills_what_is_left(command):
    command.write(
        "slow.py",
        "import math, trio",
        "from prunella import Child, Supervisor",
        "from prunella.supervision import cleanup_scope",
        "async def slow():",
        "    try:",
        "        print('ready', flush=True)",
        "        await trio.sleep_forever()",
        "    finally:",
        "        with cleanup_scope():",
        "            print('stopping', flush=True)",
        "            await trio.sleep_forever()",
        "tree = Supervisor([Child(slow, shutdown=math.inf)])",
    )
    process = command.start("run", "slow.py")
    until(process, "ready")
    process.send_signal(signal.SIGINT)
    until(process, "stopping")
    process.send_signal(signal.SIGINT)
    until(process, "NOT WELL: it was killed by a second interrupt")
    assert process.wait() == 1
    assert process.stderr.read() == ""


def test_an_interrupt_is_heard_although_the_shell_had_it_ignored(command, echo):
    process = command.start("run", "echo.py", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    until(process, "echo started")
    process.send_signal(signal.SIGINT)
    until(process, "stopped by SIGINT")
    assert process.wait() == 0


def test_a_child_that_never_waits_can_be_interrupted(command):
    command.write(
        "busy.py",
        "import os, signal",
        "from prunella import Child, Supervisor",
        "from prunella.cli import Mailbox",
        "async def busy(mailbox):",
        "    async with mailbox.take():",
        "        os.kill(os.getpid(), signal.SIGINT)",  # as the system would send it from outside
        "        for _ in range(1000): pass",
        "        os.kill(os.getpid(), signal.SIGINT)",
        "        while True: pass",
        "mailboxes = [Mailbox('busy', '**')]",
        "tree = Supervisor([Child(busy, mailboxes[0])])",
    )
    command.write("events", word("one"))
    done = command.run("run", "busy.py", "--signals", "events")
    assert (done.returncode, done.stderr) == (1, "")
    assert "1 event was interrupted while busy handled it" in done.stdout


def test_what_is_left_waiting_by_an_early_end_is_told(command, echo):
    command.write("events", word("wait"), *[word(n) for n in range(100)])
    process = command.start("run", "echo.py", "--signals", "events")
    until(process, "waiting")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    assert process.returncode == 1
    assert "NOT WELL: events was not read to its end" in rest
    assert "NOT WELL: 1 event was interrupted while echo handled it" in rest
    assert "+ 1 interrupted + " in rest
    assert "nothing queued was lost" not in rest


def test_a_tree_that_gives_up_is_told(command, echo):
    command.write("events", *[word("crash", id=f"E{n}") for n in range(10)])
    done = command.run("run", "echo.py", "--signals", "events")
    assert done.returncode == 1
    assert "NOT WELL: supervisor 'supervisor' gave up over child 'echo': ValueError: no good" in done.stdout
    assert "= 0 handled + 4 crashed on + 0 refused + " in done.stdout
    assert "  word.said  E0  ValueError: no good" in done.stdout


def test_a_child_that_has_ended_for_good_keeps_nobody_waiting(command):
    command.write(
        "once.py",
        "import trio",
        "from prunella import Child, Supervisor",
        "from prunella.cli import Mailbox",
        "async def once(mailbox):",
        "    async with mailbox.take():",
        "        while not mailbox.waiting:",
        "            await trio.sleep(0)",
        "mailboxes = [Mailbox('once', '**', capacity=1)]",
        "tree = Supervisor([Child(once, mailboxes[0], restart='transient')])",
    )
    command.write("events", *[word(n) for n in range(50)])
    done = command.run("run", "once.py", "--signals", "events")
    assert done.returncode == 1
    assert "50 in = 1 handled + 0 crashed on + 48 refused + 1 left waiting" in done.stdout
    assert "NOT WELL: 1 event was left waiting for once" in done.stdout


def test_a_closed_pipe_ends_it_quietly(command):
    command.write(
        "silent.py",
        "from prunella import Child, Supervisor",
        "from prunella.cli import Mailbox",
        "async def silent(mailbox):",
        "    while True:",
        "        async with mailbox.take(): pass",
        "mailboxes = [Mailbox('silent', '**')]",
        "tree = Supervisor([Child(silent, mailboxes[0])])",
    )
    process = command.start("run", "silent.py", "--signals", "-", stdin=subprocess.PIPE)
    until(process, "silent started")
    process.stdout.close()
    process.stdin.write(word("one") + "\n")
    process.stdin.flush()  # the standard input stays open: what ends it is that it cannot tell of this event
    assert process.wait() == 0
    assert process.stderr.read() == ""


def test_an_output_that_cannot_be_written_is_told_and_stops_nothing(command, echo):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    events = EXAMPLES / "data/helpdesk.jsonl"
    with open("/dev/full", "w") as full:
        done = command.run("run", EXAMPLES / "helpdesk.py", "--signals", events, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "prunella: the output cannot be written: No space left on device\n"


def test_the_log_with_tracebacks_is_there_when_asked_for(command, echo):
    command.write("events", word("crash"), word("one"))
    quiet = command.run("run", "echo.py", "--signals", "events")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    loud = command.run("run", "echo.py", "--signals", "events", "--verbose")
    assert loud.returncode == 0
    assert "Traceback" in loud.stderr
    assert "prunella.supervision: child echo crashed" in loud.stderr


def at_a_terminal(command, *arguments, **environment):
    """Runs the command at a terminal of 80 columns; gives its status and what it wrote there."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", **environment}
    process = command.start(*arguments, stdout=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while chunk := os.read(ours, 65_536):
            written += chunk
    except OSError:
        pass  # how a terminal says that nobody writes to it any more
    os.close(ours)
    return process.wait(), written.decode(), process.stderr.read()


def test_at_a_terminal_it_draws_the_tree(command):
    status, written, complaints = at_a_terminal(
        command, "run", EXAMPLES / "helpdesk.py", "--signals", EXAMPLES / "data/helpdesk.jsonl", "--rate", "20000"
    )
    assert (status, complaints) == (0, "")
    assert "├─ support" in written
    assert "crashed on" in written
    assert "nothing queued was lost" in written


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_at_a_terminal_without_rich_it_writes_plain_lines(command, echo, term):
    command.write("rich.py", "raise ModuleNotFoundError('gone', name='rich')")
    command.write("events", word("one"))
    status, written, complaints = at_a_terminal(
        command, "run", "echo.py", "--signals", "events", TERM=term, PYTHONPATH=str(command.directory)
    )
    assert status == 0
    assert "\x1b" not in written
    assert ("pip install 'prunella[terminal]'" in complaints) == (term == "xterm")
