"""Where the command writes, and what it ends with."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress

__all__ = ["BAD_INPUT", "NOT_WELL", "OK", "USAGE", "complain", "terminal_width", "write", "write_bytes"]

OK = 0
NOT_WELL = 1
USAGE = 2
BAD_INPUT = 65  # sysexits.h, EX_DATAERR


def write(text: str) -> None:
    """Writes to the standard output, if there is one."""
    if sys.stdout is not None:
        sys.stdout.write(text)
        sys.stdout.flush()


def write_bytes(content: bytes) -> None:
    """Writes to the standard output as it is, whatever the locale."""
    if sys.stdout is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def complain(text: str) -> None:
    """Writes a line to the standard error."""
    if sys.stderr is not None:
        with suppress(OSError):  # nobody hears it
            print(f"prunella: {text}", file=sys.stderr, flush=True)


def terminal_width() -> int | None:
    """How many columns there are; None if the output is no terminal."""
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if at_terminal else None
