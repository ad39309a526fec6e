"""Agents out of a database as JSON Lines, and into one."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from typing import BinaryIO

from ..storage import AgentKey, SQLiteStorage, export_agents, import_agents, read_dumps
from ._database import DatabaseError, found
from ._operating import all_agents

__all__ = ["export_to", "import_from", "keys_in", "opened_lines"]


async def export_to(
    storage: SQLiteStorage, runtime: str | None, key: AgentKey | None, write: Callable[[bytes], None]
) -> None:
    """Writes one agent, or all of a runtime, or all.

    Raises:
        DatabaseError: there are none.
        RestoreFailed: something cannot be read.
    """
    keys = [key] if key is not None else await _all_keys(storage, runtime)
    if key is not None:
        await found(storage, key)
    elif not keys:
        where = "" if runtime is None else f" of runtime {runtime!r}"
        raise DatabaseError(f"{storage.path}: there are no agents{where} in it")
    async with aclosing(export_agents(storage, keys)) as lines:
        async for line in lines:
            write(line.encode())


async def _all_keys(storage: SQLiteStorage, runtime: str | None) -> list[AgentKey]:
    names = await storage.runtimes() if runtime is None else (runtime,)
    return [record.key for name in names async for record in all_agents(storage, name)]


@contextmanager
def opened_lines(path: str) -> Iterator[BinaryIO]:
    """A file that can be read twice; `-` is the standard input.

    Raises:
        DatabaseError: it cannot be read.
    """
    with ExitStack() as stack:
        try:
            file: BinaryIO = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
            if path == "-" or not file.seekable():
                copy = stack.enter_context(tempfile.TemporaryFile())
                shutil.copyfileobj(file, copy)
                file = copy
        except OSError as error:
            raise DatabaseError(f"{path}: {os.strerror(error.errno) if error.errno else error}") from error
        yield file


def keys_in(lines: BinaryIO) -> list[AgentKey]:
    """The agents of a file, which is read to its end.

    Raises:
        InvalidDump: it is no such file, or was cut off.
    """
    lines.seek(0)
    return [dump.record.key for dump in read_dumps(lines)]


async def import_from(storage: SQLiteStorage, keys: list[AgentKey], lines: BinaryIO) -> None:
    """Stores all agents of a file, of which it is known that it is whole.

    Raises:
        DatabaseError: one is there already.
    """
    for key in keys:
        if await storage.find(key) is not None:
            raise DatabaseError(f"{storage.path}: there is an agent {key} already; nothing was imported")
    lines.seek(0)
    async with aclosing(import_agents(storage, lines)) as imported:
        async for _ in imported:
            pass
