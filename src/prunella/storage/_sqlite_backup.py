"""A copy of a database, as it is at one instant."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from ._errors import StorageError
from ._sqlite_opening import connect_to_read

__all__ = ["back_up"]

_PAGES: Final = 2_000  # that are copied between two looks at whether somebody has given up


def back_up(path: Path, target: Path, look: Callable[[], object]) -> None:
    """Copies a database into a new file. A program that writes it meanwhile is not hindered, and does not show.

    Args:
        path: of the database.
        target: of the copy.
        look: called now and then; what it raises ends the copying.

    Raises:
        StorageError: the target is there already, or cannot be written.
    """
    if target.exists():
        raise StorageError(f"{target} is there already")
    unfinished = target.with_name(f"{target.name}.unfinished")
    try:
        with closing(connect_to_read(path)) as source, closing(sqlite3.connect(unfinished)) as copy:
            source.execute("BEGIN")
            source.execute("SELECT count(*) FROM facts").fetchone()  # from now on it sees this instant
            source.backup(copy, pages=_PAGES, progress=lambda *_: look())
            copy.execute("PRAGMA journal_mode = DELETE")  # one file, complete without a log beside it
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.link(unfinished, target)  # unlike a renaming, it does not overwrite what somebody has made meanwhile
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{target} cannot be written: {error}") from error
    finally:
        for suffix in ("", "-journal", "-wal", "-shm"):
            with suppress(OSError):
                os.unlink(f"{unfinished}{suffix}")
