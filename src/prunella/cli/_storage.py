"""The command `prunella storage`: its arguments."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ._output import OK, USAGE, complain, write

if TYPE_CHECKING:
    from ..storage import SQLiteStorage

__all__ = ["add_storage"]

_Work = Callable[["SQLiteStorage", argparse.Namespace], Awaitable[int]]
_Add = Callable[[argparse.ArgumentParser, Callable[[argparse.Namespace], int]], None]


def add_storage(commands: argparse._SubParsersAction[argparse.ArgumentParser], add: _Add) -> None:
    """Adds the command.

    Args:
        commands: where it is added.
        add: makes a function what a parser runs; errors of databases are told.
    """
    storage = commands.add_parser("storage", help="look into a database of agents, and tidy up")
    kinds = storage.add_subparsers(dest="kind", metavar="KIND", title="kinds", required=True)

    def kind(name: str, help: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
        parser = kinds.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.")
        parser.add_argument("database", metavar="DB", help="the SQLite database")
        add(parser, run)
        return parser

    listed = kind("list", "tell the agents, how much of each is open, and who runs it", _reading(_list))
    listed.add_argument("--runtime", metavar="NAME", help="of one runtime only")
    _add_agent(kind("open", "tell the directives of an agent that are not done", _reading(_open)))
    _add_agent(kind("dead", "tell the signals of an agent that were put aside", _reading(_dead)))
    for name, help, run in (
        ("redrive", "put dead letters of an agent back into its mailbox", _redrive),
        ("discard", "delete dead letters of an agent", _discard),
    ):
        parser = kind(name, help, _writing(run))
        _add_agent(parser)
        parser.add_argument("signal", metavar="SIGNAL", nargs="?", help="the id of one; all if it is left out")
    forgotten = kind("forget", "delete everything of an agent for good", _writing(_forget))
    _add_agent(forgotten)
    forgotten.add_argument("--force", action="store_true", help="also if a program runs it, which is fenced then")
    backup = kind("backup", "copy the database as it is now, also while a program writes it", _reading(_backup))
    backup.add_argument("file", metavar="FILE", help="the copy; nothing is overwritten")


def _add_agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="AGENT", help="the agent's id")
    parser.add_argument("--partition", metavar="NAME", help="its partition")
    parser.add_argument("--runtime", metavar="NAME", default="default", help="the name of its runtime (%(default)s)")


def _reading(work: _Work) -> Callable[[argparse.Namespace], int]:
    return lambda options: _run(work, options, read_only=True)


def _writing(work: _Work) -> Callable[[argparse.Namespace], int]:
    return lambda options: _run(work, options, read_only=False)


def _run(work: _Work, options: argparse.Namespace, *, read_only: bool) -> int:
    import trio

    from ._database import existing

    async def run() -> int:
        async with existing(options.database, read_only=read_only) as storage:
            return await work(storage, options)

    return trio.run(run)


async def _list(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    from ._operating import list_agents

    await list_agents(storage, options.runtime, write)
    return OK


async def _open(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    from ._database import key_of
    from ._operating import list_directives

    await list_directives(storage, key_of(options), write)
    return OK


async def _dead(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    from ._database import key_of
    from ._operating import list_dead_letters

    await list_dead_letters(storage, key_of(options), write)
    return OK


async def _redrive(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    from ._database import found, key_of
    from ._operating import is_run

    key = key_of(options)
    record = await found(storage, key)
    count = await storage.redrive(key, options.signal, now=datetime.now(UTC))
    if count and is_run(record):
        complain(f"{record.owner} runs the agent, and hears of them when it next starts it")
    return _counted("redriven", count, options.signal)


async def _discard(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    from ._database import found, key_of

    key = key_of(options)
    await found(storage, key)
    return _counted("discarded", await storage.discard(key, options.signal), options.signal)


def _counted(what: str, count: int, signal: str | None) -> int:
    if signal is not None and not count:
        complain(f"there is no dead letter {signal!r}")
        return USAGE
    write(f"{count} dead letter{'s' * (count != 1)} {what}\n")
    return OK


async def _forget(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    from ._database import key_of
    from ._operating import forget

    await forget(storage, key_of(options), even_if_owned=options.force)
    write(f"agent {options.id!r} is forgotten\n")
    return OK


async def _backup(storage: SQLiteStorage, options: argparse.Namespace) -> int:
    await storage.backup(options.file)
    write(f"{options.database} was copied to {options.file}\n")
    return OK
