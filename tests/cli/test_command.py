"""The command as people meet it: in a process of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.commands import PLAIN, until, word

from prunella import __version__

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCS = Path(__file__).parents[2] / "docs"


def test_the_helpdesk_goes_on_over_the_crashes_of_billing(command):
    done = command.run("run", EXAMPLES / "helpdesk.py", "--signals", EXAMPLES / "data/helpdesk.jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split() for line in lines if line.startswith(("support ", "billing "))][:2] == [
        ["support", "2091", "2091", "0", "0", "0"],
        ["billing", "894", "885", "0", "9", "9"],
    ]
    assert "exits of support: 1 × shutdown" in lines
    assert "exits of billing: 5 × ValueError, 4 × ZeroDivisionError, 1 × shutdown" in lines
    assert "3000 in = 2976 handled + 9 crashed on + 15 refused" in lines
    assert lines[-1] == "nothing queued was lost: 0 left waiting, 0 interrupted"
    page = (DOCS / "howto/run-a-tree.md").read_text()
    shown = page.partition("```text\n")[2].partition("```")[0].splitlines()
    assert len(shown) == 10
    assert set(shown) <= set(lines)


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
        "prunella: events:2: cannot decode the document: no JSON at character 1: Expecting value",
        "prunella: events:3: cannot decode the document: expected UTF-8, got something else at byte 1",
        "prunella: events:4: cannot decode the document: expected an object, got a list",
        "prunella: events:7: cannot decode id: expected a non-empty string without control characters and lone "
        "surrogates, got other text",
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
        r"    print('starting\n', end='', flush=True)",
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
        r"        print('ready\n', end='', flush=True)",
        "        await trio.sleep_forever()",
        "    finally:",
        "        with cleanup_scope():",
        r"            print('stopping\n', end='', flush=True)",
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


def test_a_third_interrupt_ends_the_process_whatever_a_child_does(command):
    command.write(
        "deaf.py",
        "import trio",
        "from prunella import Child, Supervisor",
        "async def deaf():",
        "    while True:",
        "        try:",
        "            with trio.CancelScope(shield=True): await trio.sleep(1000)",
        "        except BaseException: pass",
        "tree = Supervisor([Child(deaf, shutdown=0.1)])",
    )
    process = command.start("run", "deaf.py")
    until(process, "deaf started")
    process.send_signal(signal.SIGINT)
    until(process, "deaf does not end")
    for _ in range(2):
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=1)  # two signals at once would be one
    assert process.wait(timeout=60) == 130
    assert process.stderr.read() == "prunella: the third interrupt: what still runs is left to the system\n"


def test_an_output_that_cannot_show_all_characters_shows_the_rest(command, echo):
    command.write("events", word("crash"), word("→ there"), word("stop"))
    done = command.run("run", "echo.py", "--signals", "events", env={"PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "heard ? there\n" in done.stdout
    assert "3 in = 2 handled + 1 crashed on" in done.stdout


def test_two_interrupts_kill_what_is_left_also_if_a_child_that_starts_keeps_the_first_to_itself(command):
    command.write(
        "deaf.py",
        "import math, os, signal, trio",
        "from prunella import Child, Supervisor",
        "from prunella.supervision import cleanup_scope",
        "async def deaf(task_status):",
        "    try:",
        "        os.kill(os.getpid(), signal.SIGINT)",  # as the system would send it from outside
        "        for _ in range(1000): pass",
        "    except BaseException: pass",
        "    try:",
        "        await trio.sleep_forever()",
        "    finally:",
        "        with cleanup_scope():",
        r"            print('stopping\n', end='', flush=True)",
        "            await trio.sleep_forever()",
        "tree = Supervisor([Child(deaf, shutdown=math.inf)])",
    )
    process = command.start("run", "deaf.py")
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


def test_an_agent_that_never_ends_its_turn_can_be_interrupted(command):
    command.write(
        "busy.py",
        "import os, signal",
        "from prunella import Agent, AgentSpec, on",
        "class Busy(Agent, name='busy'):",
        "    @on('**')",
        "    def work(self):",
        "        os.kill(os.getpid(), signal.SIGINT)",  # as the system would send it from outside
        "        for _ in range(1000): pass",
        "        os.kill(os.getpid(), signal.SIGINT)",
        "        while True: pass",
        "tree = AgentSpec(Busy)",
    )
    command.write("events", word("one"))
    done = command.run("run", "busy.py", "--signals", "events")
    assert (done.returncode, done.stderr) == (1, "")
    assert "KeyboardInterrupt: in a turn of agent busy, on signal word.said" in done.stdout
    assert "NOT WELL: it was killed by a second interrupt" in done.stdout
    assert "NOT WELL: 1 event was " in done.stdout


def test_what_is_left_waiting_by_an_early_end_is_told(command, echo):
    command.write("events", word("crash"), *[word(n) for n in range(100)])
    process = command.start("run", "echo.py:slow", "--signals", "events")
    until(process, "echo restarting, 1 handled, 2 waiting")
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate()
    assert process.returncode == 1
    assert "NOT WELL: events was not read to its end" in rest
    assert "NOT WELL: 2 events were left waiting for echo" in rest
    assert "3 in = 0 handled + 1 crashed on + 0 refused + 2 left waiting" in rest
    assert "nothing queued was lost" not in rest


def test_a_tree_that_gives_up_is_told(command, echo):
    command.write("events", *[word("crash", id=f"E{n}") for n in range(10)])
    done = command.run("run", "echo.py", "--signals", "events")
    assert done.returncode == 1
    assert "NOT WELL: supervisor 'supervisor' gave up over child 'echo': ValueError: no good" in done.stdout
    assert "= 0 handled + 4 crashed on + " in done.stdout
    assert "  word.said  E0  ValueError: no good" in done.stdout


def test_an_agent_alone_that_crashes_too_often_is_told(command, echo):
    command.write("events", *[word("crash", id=f"E{n}") for n in range(10)])
    done = command.run("run", "echo.py:alone", "--signals", "events")
    assert done.returncode == 1
    assert "gave up over child 'echo': ValueError: no good" in done.stdout


def test_an_agent_that_has_ended_for_good_keeps_nobody_waiting(command, echo):
    command.write("events", word("one"), word("stop"), *[word(n) for n in range(50)])
    done = command.run("run", "echo.py", "--signals", "events")
    assert done.returncode == 1
    assert "52 in = 2 handled + 0 crashed on + " in done.stdout
    assert "left waiting for echo" in done.stdout


def test_a_run_ends_when_a_single_agent_has_ended(command, echo):
    process = command.start("run", "echo.py:alone", "--signals", "-", stdin=subprocess.PIPE)
    process.stdin.write(word("stop") + "\n")
    process.stdin.flush()  # the standard input stays open
    until(process, "echo.py:alone: the tree ended after")
    assert process.wait() == 0


def test_a_run_ends_when_its_tree_has_shut_itself_down(command):
    command.write(
        "once.py",
        "from prunella import Child, Supervisor",
        "async def once(): pass",
        "child = Child(once, restart='transient', significant=True)",
        "tree = Supervisor([child], auto_shutdown='any_significant')",
    )
    done = command.run("run", "once.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "once.py: the tree ended after" in done.stdout


def test_an_event_that_an_agent_refuses_is_told_and_counted(command, echo):
    command.write("events", word("no", id="E1"), word("one"), word("x", type="other"))
    done = command.run("run", "echo.py", "--signals", "events")
    assert (done.returncode, done.stderr) == (0, "")
    assert "echo refused word.said: Rejected: not that one" in done.stdout
    assert "\necho refused\n  word.said  E1  Rejected: not that one\n" in done.stdout
    assert "refused, as no agent takes them: 1 × other" in done.stdout
    assert "3 in = 1 handled + 0 crashed on + 2 refused" in done.stdout


def test_an_event_goes_to_every_agent_that_takes_its_type_also_to_one_that_was_spawned(command):
    command.write(
        "many.py",
        "import trio",
        "from prunella import Agent, AgentSpec, Emit, Run, SpawnAgent, Supervisor, on",
        "class Worker(Agent, name='worker'):",
        "    @on('work')",
        "    def work(self): return Run(trio.sleep, {'seconds': 0.3}, then='done')",
        "    @on('done')",
        "    def done(self): return Emit('thanks')",
        "class Boss(Agent, name='boss'):",
        "    @on('hire')",
        "    def hire(self, tag: str): return SpawnAgent(Worker, tag=tag)",
        "    @on('work')",
        "    def work(self): pass",
        "tree = Supervisor([AgentSpec(Boss)])",
    )
    process = command.start("run", "many.py", "--signals", "-", stdin=subprocess.PIPE)
    for tag in "ab":
        process.stdin.write(word({"tag": tag}, type="hire") + "\n")
    process.stdin.flush()
    until(process, "boss/b started")
    out, err = process.communicate((word({}, type="work") + "\n") * 3, timeout=60)
    assert (process.returncode, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert ["boss", "5", "5", "0", "0", "0"] in lines
    assert ["boss/a", "3", "3", "0", "0", "0"] in lines
    assert ["boss/b", "3", "3", "0", "0", "0"] in lines
    assert "5 events were read; one that several agents take counts for each of them" in out
    assert "11 in = 11 handled + 0 crashed on + 0 refused" in out


def test_a_run_waits_for_effects_but_not_for_tasks_that_stay(command):
    command.write(
        "server.py",
        "import trio",
        "from prunella import Agent, AgentSpec, Run, SpawnTask, on",
        "async def served(): await trio.sleep_forever()",
        "async def work(): await trio.sleep(0.3)",
        "class Server(Agent, name='server'):",
        "    @on('prunella.started')",
        "    def started(self): return SpawnTask(served)",
        "    @on('word.*')",
        "    def hear(self): return Run(work, then='done')",
        "    @on('done')",
        r"    def done(self): print('done\n', end='', flush=True)",
        "tree = AgentSpec(Server, shutdown=0.1)",
    )
    command.write("events", word("one"))
    done = command.run("run", "server.py", "--signals", "events")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\ndone\n" in done.stdout


def test_a_plain_tree_runs_as_well(command):
    command.write("plain.py", PLAIN)
    process = command.start("run", "plain.py")
    until(process, "plain started")
    process.send_signal(signal.SIGTERM)
    lines = until(process, "stopped by SIGTERM")
    assert "cleaned up\n" in lines
    assert process.wait() == 0


def test_a_tree_that_cannot_start_is_told(command):
    command.write(
        "taken.py",
        "from prunella import Supervisor",
        "tree = Supervisor([], id='prunella')",
    )
    done = command.run("run", "taken.py")
    assert (done.returncode, done.stderr) == (1, "")
    assert "NOT WELL: " in done.stdout
    assert "have one id (give one an id), got 'prunella'" in done.stdout


def test_a_closed_pipe_ends_it_quietly(command):
    command.write(
        "silent.py",
        "from prunella import Agent, AgentSpec, Supervisor, on",
        "class Silent(Agent, name='silent'):",
        "    @on('**')",
        "    def hear(self): pass",
        "tree = Supervisor([AgentSpec(Silent)])",
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
    assert "prunella.supervision: child supervisor/echo crashed" in loud.stderr
    assert "prunella.runtime: agent echo crashed on signal word.said" in loud.stderr


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
    assert "mailbox" in written
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
