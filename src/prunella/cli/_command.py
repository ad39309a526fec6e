"""The arguments of the command, and its exit status."""

from __future__ import annotations

import argparse
import logging
import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from typing import TYPE_CHECKING

from ._output import BAD_INPUT, INTERRUPTED, NOT_WELL, OK, USAGE, complain, prepare, write
from ._stored import add_stored

if TYPE_CHECKING:
    from ..observer import Lines, Live
    from ..storage import SQLiteStorage
    from ._feed import Feed
    from ._input import Input
    from ._target import Target

__all__ = ["main"]

_RATE_AT_A_TERMINAL = 500.0

_EXIT_STATUS = """\
exit status:
  0   all went well: the tree ended or was stopped in order, every event was handled, crashed on or refused
  1   the tree gave up, or the numbers of the summary are not as they must be
  2   wrong usage: no such target, no such file, no events in it
  65  all went well, but some lines of the input were no events
  130 interrupted before the tree ran
"""

_EXAMPLE = """\
example:
  prunella new project helpdesk && cd helpdesk
  python -m pytest
  prunella run helpdesk.main --signals events.jsonl
"""

_TARGETS = """\
TARGET is MODULE, MODULE:NAME, PATH.py or PATH.py:NAME. NAME is that of a Supervisor or an AgentSpec, or of a
function without arguments that returns one; it defaults to "tree".
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `prunella`.

    Args:
        arguments: as on the command line, without the name of the command; those of this process if None.

    Returns:
        The exit status.
    """
    prepare()
    try:
        status = _main(arguments)
        write("")
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return _status_without_output(error, OK)
    return status


def _status_without_output(error: OSError, status: int) -> int:
    """The exit status if the standard output cannot be written. That nobody reads it is no news for anybody."""
    if sys.stdout is not None:
        # What is left in its buffer must not fail once more when the interpreter ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    if isinstance(error, BrokenPipeError):
        return status
    complain(f"the output cannot be written: {error.strerror}")
    return NOT_WELL


def _main(arguments: Sequence[str] | None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return USAGE
    command: Callable[[argparse.Namespace], int] = options.function
    return command(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prunella",
        description="Runs agents and supervision trees: what crashes in them comes back.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_run(commands)
    _add_describe(commands)
    _add_new(commands)
    add_stored(commands)
    return parser


def _add_run(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser(
        "run",
        help="run a tree until it ends or is stopped",
        description=(
            "Runs a tree until it ends, or, with --signals, until all events have been handled. "
            "SIGTERM and Ctrl-C stop it in order; a second Ctrl-C kills what is left."
        ),
        epilog=f"{_TARGETS}\n{_EXIT_STATUS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.set_defaults(function=lambda options: _run(run, options))
    run.add_argument("target", metavar="TARGET", help="the module or file with the tree")
    run.add_argument(
        "--signals", metavar="FILE", help="feed its agents CloudEvents, one JSON object a line; - is the standard input"
    )
    run.add_argument(
        "--rate",
        metavar="N",
        type=_rate,
        help=(
            "feed at most N events in a second; 0 is no limit. Default: "
            f"{_RATE_AT_A_TERMINAL:g} for a file if the output is a terminal, so that it can be watched; else 0"
        ),
    )
    run.add_argument(
        "--storage", metavar="FILE", help="the SQLite database that keeps its durable agents; it is made if need be"
    )
    run.add_argument(
        "--claim",
        choices=("take", "refuse"),
        help=(
            "if another process runs these agents: take them over, so that it stops them (the default), "
            "or refuse to run while that process is alive"
        ),
    )
    run.add_argument(
        "-v", "--verbose", action="store_true",
        help="write the log, with the traceback of every crash, to the standard error; no live view",
    )  # fmt: skip


def _add_describe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    describe = commands.add_parser(
        "describe",
        help="tell what an agent is and takes",
        description="Tells the fields of an agent, and its handlers with the signals and the data that they take.",
    )
    describe.set_defaults(function=_describe)
    describe.add_argument(
        "agent",
        metavar="AGENT",
        help="MODULE:NAME or PATH.py:NAME; the name may be left out if there is one agent only",
    )
    describe.add_argument("--json", action="store_true", help="as JSON, with the schemas of state and data")


def _add_new(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    new = commands.add_parser("new", help="write the skeleton of a project or of an agent, with its tests")
    kinds = new.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True)
    project = kinds.add_parser(
        "project",
        help="a directory with an agent, its tests, and a tree to run",
        description="Writes a project into a new directory: an agent, its tests, a tree to run, and some events.",
    )
    project.add_argument("name", metavar="NAME", help="of the directory, and of the package in it")
    agent = kinds.add_parser(
        "agent",
        help="a module with an agent, and its tests",
        description="Writes the module of an agent, and its tests into the directory 'tests'. Overwrites nothing.",
    )
    agent.add_argument("name", metavar="NAME", help="of the module: mailer, or shop.mailer in a package that is there")
    new.set_defaults(function=_new)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from .. import __version__

        print(f"prunella {__version__}")
        parser.exit()


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 <= rate < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of events in a second, 0 for no limit, got {text!r}")
    return rate


def _describe(options: argparse.Namespace) -> int:
    from ._describe import as_json, as_text
    from ._target import TargetError, load_agent

    try:
        agent = load_agent(options.agent)
    except TargetError as error:
        complain(str(error))
        return USAGE
    write(as_json(agent) if options.json else as_text(agent))
    return OK


def _new(options: argparse.Namespace) -> int:
    from ._new import NewError, new_agent, new_project

    try:
        files = new_project(options.name) if options.kind == "project" else new_agent(options.name)
    except NewError as error:
        complain(str(error))
        return USAGE
    write("".join(f"{path}\n" for path in files))
    return OK


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.rate is not None and options.signals is None:
        parser.error("--rate is that of --signals, which is missing")
    if options.claim is not None and options.storage is None:
        parser.error("--claim is about agents in --storage, which is missing")
    from ..errors import InvalidArgument
    from ..storage import SQLiteStorage
    from ._input import Input, InputError
    from ._target import TargetError, load

    try:
        storage = None if options.storage is None else SQLiteStorage(options.storage)
    except InvalidArgument:
        parser.error(f"--storage is the path of a file, not {options.storage!r}")
    try:
        target = load(options.target)
        if storage is None and target.has_durable_agents:
            raise TargetError(f"{options.target}: has durable agents, which need a --storage FILE")
        if options.signals is None:
            return _run_tree(target, None, storage, options)
        if not target.has_agents:
            raise TargetError(f"{options.target}: has no agents, so nobody would hear the events of --signals")
        with closing(Input(options.signals)) as input:
            return _run_tree(target, input, storage, options)
    except (TargetError, InputError) as error:
        complain(str(error))
        return USAGE


def _run_tree(target: Target, input: Input | None, storage: SQLiteStorage | None, options: argparse.Namespace) -> int:
    import trio

    from ._feed import Feed
    from ._run import Run
    from ._tally import Tally

    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    tally = Tally()
    feed: Feed | None = None
    if input is not None:
        rate = options.rate
        if rate is None and at_terminal and input.is_file:
            rate = _RATE_AT_A_TERMINAL
        feed = Feed(input, rate or None, complain, tally)
    _set_up_log(options.verbose)
    with _view(live=at_terminal and not options.verbose) as view, _interrupts():
        summary = trio.run(Run(target, feed, tally, view, storage, options.claim or "take"))
    status = NOT_WELL if summary.problems() else OK if feed is None else _status_of_input(feed)
    try:
        write(summary.text(width=shutil.get_terminal_size().columns if at_terminal else None))
    except OSError as error:
        status = _status_without_output(error, status)
    return status


@contextmanager
def _interrupts() -> Iterator[None]:
    """Lets SIGINT be heard.

    A shell that starts a job in the background lets it ignore SIGINT, and Trio leaves it at that. But whoever sends one
    all the same means it.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


def _status_of_input(feed: Feed) -> int:
    if feed.error is not None:
        return USAGE
    if feed.bad_lines:
        return BAD_INPUT
    if feed.finished and not feed.events:
        complain(f"{feed.input.name}: is empty, there are no events in it")
        return USAGE
    return OK


def _set_up_log(verbose: bool) -> None:
    if verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    else:
        # The view says what happens in a line. A target that sets up logging by itself gets what it asks for.
        logging.getLogger("prunella").addHandler(logging.NullHandler())


def _view(*, live: bool) -> AbstractContextManager[Lines | Live]:
    from ..observer import Lines, Live

    if live and os.environ.get("TERM") != "dumb":
        try:
            return Live()
        except ModuleNotFoundError as error:
            complain(f"{error}; plain lines instead")
    return Lines(write)
