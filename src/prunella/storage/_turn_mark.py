"""A note of the stored signal that is in a turn now, which the kill of its process leaves behind."""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final, final

from ._key import AgentKey

__all__ = ["TurnMark"]

_ROOM: Final = 4096
_LENGTH: Final = struct.Struct("<I")
_NOTHING: Final = _LENGTH.pack(0)


@final
class TurnMark:
    """One note in a file that is mapped into memory.

    What is written there is the system's from that moment on, whatever becomes of the process; it takes less than a
    microsecond, and no call of the system. After a loss of power it may be missing or old: then the kill of a turn is
    not counted.

    Args:
        path: of the file. One that is there was left by a process that was killed; it is read and replaced.

    Attributes:
        left: the agent's partition and id, and the id of the signal, in whose turn the last process ended; None if it
            ended in none.

    Raises:
        OSError: the file cannot be read or made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.left: tuple[str | None, str, str] | None = None
        with suppress(FileNotFoundError):
            self.left = _read(path.read_bytes())
            # Another process may still be writing into it: that is its own affair.
            path.unlink()
        with path.open("x+b") as file:
            file.truncate(_ROOM)
            self._inode = os.fstat(file.fileno()).st_ino
            self._map = mmap.mmap(file.fileno(), _ROOM)

    @classmethod
    def beside(cls, database: Path, runtime: str) -> TurnMark:
        """That of a runtime, beside its database."""
        digest = sha256(runtime.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        return cls(database.with_name(f"{database.name}-turn-{digest}"))

    def begin(self, key: AgentKey, signal_id: str) -> None:
        """A turn of a stored signal begins."""
        partition, id = key.partition, key.id
        lengths = f"{-1 if partition is None else len(partition)} {len(id)} "
        content = f"{lengths}{partition or ''}{id}{signal_id}".encode("utf-8", "surrogatepass")
        end = _LENGTH.size + len(content)
        if end <= _ROOM:
            self._map[:end] = _LENGTH.pack(len(content)) + content

    def end(self) -> None:
        """It is over."""
        self._map[: _LENGTH.size] = _NOTHING

    def close(self) -> None:
        """Nobody takes turns any more; the file goes, unless it is another's by now."""
        self._map.close()
        with suppress(FileNotFoundError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()


def _read(content: bytes) -> tuple[str | None, str, str] | None:
    if len(content) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(content)
    try:
        text = content[_LENGTH.size : _LENGTH.size + length].decode("utf-8", "surrogatepass")
        first, second, rest = text.split(" ", 2)
        partition, id = int(first), int(second)
    except ValueError:  # nothing, or half of it
        return None
    after = max(partition, 0)
    return None if partition < 0 else rest[:after], rest[after : after + id], rest[after + id :]
