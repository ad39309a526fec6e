"""The commands about databases: their arguments, and what they end with."""

from __future__ import annotations

import argparse
import os
from collections.abc import Awaitable, Callable
from datetime import datetime

from ._output import BAD_INPUT, NOT_WELL, OK, USAGE, complain, terminal_width, write, write_bytes
from ._storage import add_storage

__all__ = ["add_stored"]

_EXIT_STATUS = """\
exit status:
  0   all went well
  1   replay: a turn came out differently; or the output cannot be written
  2   wrong usage: no such file, no database with agents, no such agent or class, turns that are kept no longer
  65  what is stored, or is to be imported, cannot be read
"""

_Commands = argparse._SubParsersAction


def add_stored(commands: _Commands[argparse.ArgumentParser]) -> None:
    """Adds the commands `history`, `replay`, `export`, `import` and `storage`."""
    history = _add(commands, "history", "tell the turns of a stored agent", _history)
    history.description = (
        "Tells each turn of an agent: what it heard, what changed, what it asked for. "
        "Reads only, also while a program runs it."
    )
    _add_agent(history)
    history.add_argument("--since", metavar="N", type=_turn, help="the first turn that is told")
    history.add_argument("--until", metavar="N", type=_until, help="the last; a turn, or a time like 2026-01-31T12:00Z")

    replay = _add(commands, "replay", "run the turns of a stored agent again", _replay)
    replay.description = (
        "Runs the handlers of recorded turns again, and names the first turn that comes out differently. "
        "Changes nothing."
    )
    _add_agent(replay)
    replay.add_argument("--until", metavar="N", type=_until, help="the last turn, or a time like 2026-01-31T12:00Z")
    replay.add_argument("--diff", action="store_true", help="tell what changed at each turn")

    export = _add(commands, "export", "write stored agents as JSON Lines", _export)
    export.description = "Writes everything of an agent, or of all, to the standard output. Reads only."
    export.add_argument("database", metavar="DB", help="the SQLite database")
    export.add_argument("id", metavar="AGENT", nargs="?", help="the agent's id; all if it is left out")
    export.add_argument(
        "--runtime", metavar="NAME", help="of which runtime; of all if no agent is named, else 'default'"
    )
    export.add_argument("--partition", metavar="NAME", help="the partition of the agent")

    import_ = _add(commands, "import", "store agents that were exported", _import)
    import_.description = (
        "Stores agents that were exported, all or none. Overwrites nothing; the database is made if need be."
    )
    import_.add_argument("database", metavar="DB", help="the SQLite database")
    import_.add_argument("file", metavar="FILE", help="the JSON Lines; - is the standard input")

    add_storage(commands, _runs)


def _add(
    commands: _Commands[argparse.ArgumentParser], name: str, help: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name, help=help, epilog=_EXIT_STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _runs(parser, run)
    return parser


def _runs(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.set_defaults(function=lambda options: _told(run, options))


def _add_agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("database", metavar="DB", help="the SQLite database")
    parser.add_argument("id", metavar="AGENT", help="the agent's id")
    parser.add_argument("--partition", metavar="NAME", help="its partition")
    parser.add_argument("--runtime", metavar="NAME", default="default", help="the name of its runtime (%(default)s)")
    parser.add_argument(
        "--agent", metavar="MODULE:CLASS", help="its class, or PATH.py:CLASS; by default the one that is stored"
    )


def _turn(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected the number of a turn, got {text!r}")
    return int(text)


def _until(text: str) -> int | datetime:
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected the number of a turn, or a time, got {text!r}") from None
    if time.utcoffset() is None:
        raise argparse.ArgumentTypeError(f"expected a time with its zone, as {text}Z, got {text!r}")
    return time


def _told(run: Callable[[argparse.Namespace], int], options: argparse.Namespace) -> int:
    """Runs a command; what is wrong is told in a line."""
    from ..agents import RestoreFailed
    from ..errors import InvalidArgument
    from ..storage import InvalidDump, StorageError
    from ._database import DatabaseError

    try:
        return run(options)
    except DatabaseError as error:
        complain(str(error))
        return error.status
    except RestoreFailed as error:
        complain(f"{options.database}: {' '.join(str(error).split())}")  # a migration may have said more in more lines
        return BAD_INPUT
    except InvalidDump as error:
        complain(f"{options.file}: {error}")
        return BAD_INPUT
    except (StorageError, InvalidArgument) as error:
        complain(f"{options.database}: {error}")
        return USAGE


def _history(options: argparse.Namespace) -> int:
    from ._database import agent_class, existing, found, key_of
    from ._history import show_history

    async def show() -> int:
        async with existing(options.database) as storage:
            record = await found(storage, key_of(options))
            of = agent_class(record, options.agent)
            await show_history(storage, of, record, options.since, options.until, write, terminal_width())
        return OK

    return _run(show)


def _replay(options: argparse.Namespace) -> int:
    from ._database import agent_class, existing, found, key_of
    from ._replay import show_replay

    async def show() -> int:
        async with existing(options.database) as storage:
            record = await found(storage, key_of(options))
            of = agent_class(record, options.agent)
            same = await show_replay(storage, of, record, options.until, write, terminal_width(), diff=options.diff)
        return OK if same else NOT_WELL

    return _run(show)


def _export(options: argparse.Namespace) -> int:
    from ._database import DatabaseError, existing, key_of
    from ._transfer import export_to

    if options.id is None and options.partition is not None:
        raise DatabaseError("--partition is that of an agent, which is missing")

    async def export() -> int:
        async with existing(options.database) as storage:
            key = None if options.id is None else key_of(options)
            await export_to(storage, options.runtime, key, write_bytes)
        return OK

    return _run(export)


def _import(options: argparse.Namespace) -> int:
    from ..storage import SQLiteStorage
    from ._database import DatabaseError
    from ._transfer import import_from, keys_in, opened_lines

    if os.path.isdir(options.database):
        raise DatabaseError(f"{options.database}: is a directory")
    with opened_lines(options.file) as lines:
        keys = keys_in(lines)  # first: a file that was cut off must not leave so much as a new database

        async def import_() -> int:
            async with SQLiteStorage(options.database) as storage:
                await import_from(storage, keys, lines)
            write(f"{len(keys)} agent{'s' * (len(keys) != 1)} imported\n")
            return OK

        return _run(import_)


def _run(function: Callable[[], Awaitable[int]]) -> int:
    import trio

    return trio.run(function)
