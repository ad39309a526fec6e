"""Where the command writes, and what it ends with."""

from __future__ import annotations

import io
import os
import shutil
import sys
from contextlib import suppress
from typing import NoReturn

__all__ = [
    "BAD_INPUT", "INTERRUPTED", "NOT_WELL", "OK", "USAGE", "complain", "leave_at_once", "prepare", "terminal_width",
    "write", "write_bytes",
]  # fmt: skip

OK = 0
NOT_WELL = 1
USAGE = 2
BAD_INPUT = 65  # sysexits.h, EX_DATAERR
INTERRUPTED = 130  # as a shell says it: 128 + SIGINT

_SHOW_CURSOR = b"\x1b[?25h"


def prepare() -> None:
    """Lets the standard output show a question mark for what it cannot write, such as an arrow in Latin-1."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="replace")


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


def leave_at_once(why: str) -> NoReturn:
    """Ends the process in the midst of whatever runs, with nothing but a terminal that can be used."""
    if sys.stdout is not None and sys.stdout.isatty():
        os.write(sys.stdout.fileno(), _SHOW_CURSOR)
    complain(why)
    os._exit(INTERRUPTED)


def terminal_width() -> int | None:
    """How many columns there are; None if the output is no terminal."""
    at_terminal = sys.stdout is not None and sys.stdout.isatty()
    return shutil.get_terminal_size().columns if at_terminal else None
