"""Lines of a file or of the standard input, read in a thread, so that nothing else waits for them."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import AsyncIterator

import trio

__all__ = ["Input", "InputError"]

_CHUNK = 65_536
LONGEST_LINE = 10_000_000  # the limit of `prunella.signals.decode`
_BOM = b"\xef\xbb\xbf"


class InputError(Exception):
    """The input cannot be opened or read; the message says which, and why."""


class Input:
    """The lines of one input. No more than one line and one chunk of it are in memory.

    Args:
        where: the path of a file, or `-` for the standard input.

    Attributes:
        name: what it is called in messages.
        is_file: whether it is an ordinary file, which has an end that will not move.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, where: str) -> None:
        # The descriptors are read without Python's buffers: those have a lock, and a thread that waits for input
        # while it holds that lock would keep the interpreter from ending.
        if where == "-":
            self.name = "<stdin>"
            if sys.stdin is None:
                raise InputError("<stdin>: is closed")
            self._descriptor = sys.stdin.fileno()
            self._owned = False
        else:
            self.name = where
            try:
                if os.path.isdir(where):
                    raise InputError(f"{where}: is a directory, not a file of events")
                self._descriptor = os.open(where, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            except OSError as error:
                raise InputError(f"{where}: {_why(error)}") from None
            self._owned = True
        status = os.fstat(self._descriptor)
        self.is_file = stat.S_ISREG(status.st_mode)
        if self.is_file and not status.st_size:
            self.close()
            raise InputError(f"{self.name}: is empty, there are no events in it")

    def close(self) -> None:
        """Closes the file; the standard input stays open."""
        if self._owned:
            os.close(self._descriptor)

    async def lines(self) -> AsyncIterator[tuple[int, bytes | None]]:
        """Numbers and lines, without their ends; blank lines are left out. None instead of one that is too long.

        Raises:
            InputError: reading failed.
        """
        number = 1
        rest = bytearray()
        too_long = False
        while chunk := await self._read():
            if number == 1 and not rest:
                chunk = chunk.removeprefix(_BOM)
            *ended, begun = chunk.split(b"\n")
            for piece in ended:
                line = bytes(rest + piece).strip()
                rest.clear()
                if too_long or len(line) > LONGEST_LINE:
                    yield number, None
                elif line:
                    yield number, line
                too_long = False
                number += 1
            rest += begun
            if len(rest) > LONGEST_LINE:
                too_long = True
                rest.clear()
        if too_long:
            yield number, None
        elif line := bytes(rest).strip():
            yield number, line

    async def _read(self) -> bytes:
        try:
            return await trio.to_thread.run_sync(os.read, self._descriptor, _CHUNK, abandon_on_cancel=True)
        except OSError as error:
            raise InputError(f"{self.name}: {_why(error)}") from None


def _why(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
