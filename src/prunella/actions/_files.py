from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final

from ..errors import InvalidArgument, check_iterable
from ._action import Action, action
from ._confined import Roots
from ._errors import ActionError, ActionNotAllowed

__all__ = ["file_actions"]

_LARGEST: Final = 10_000_000
_MOST_NAMES: Final = 10_000
# Not to wait for the other end of a pipe, not to follow a link, not to get a terminal.
_SAFELY: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


def file_actions(*, roots: Iterable[str | os.PathLike[str]] = ()) -> Mapping[str, Action[..., Any]]:
    """Actions for files inside of some directories: `read_file`, `write_file`, `list_directory`, `delete_file`.

    Paths are walked from an open handle of the directory, part by part. Links are followed as long as they stay inside.
    Only regular files are read, written and deleted, never a device or a pipe. A relative path begins at the first
    root.

    Args:
        roots: the directories; without any, everything is refused.

    Returns:
        The actions by name.

    Raises:
        InvalidArgument: a root is no directory.
    """
    if isinstance(roots, str):
        raise InvalidArgument("file_actions", "roots", "an iterable of directories", roots)
    confined = Roots(check_iterable("file_actions", "roots", roots, "directories"))

    @action(idempotent=True, tags=("file",), category="files")
    def read_file(path: str) -> str:
        """The text of a file, which must be UTF-8 and of at most 10 MB.

        Args:
            path: which file.
        """
        with confined.located(path) as (directory, name):
            _check_regular(name, os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
            with open(os.open(name, os.O_RDONLY | _SAFELY, dir_fd=directory), "rb") as file:
                found = os.fstat(file.fileno())
                _check_regular(name, found.st_mode)
                content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ActionError(f"{name!r} is larger than {_LARGEST} bytes")
        return content.decode()

    @action(tags=("file",), category="files")
    def write_file(path: str, content: str) -> None:
        """Writes a text to a file, in the place of what it held; the directory must be there.

        Args:
            path: which file.
            content: its new text, at most 10 MB.
        """
        data = content.encode()
        if len(data) > _LARGEST:
            raise ActionError(f"the content is larger than {_LARGEST} bytes")
        with confined.located(path) as (directory, name):
            with suppress(FileNotFoundError):
                _check_regular(name, os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | _SAFELY, 0o666, dir_fd=directory)
            with open(handle, "wb") as file:
                _check_regular(name, os.fstat(handle).st_mode)
                os.ftruncate(handle, 0)
                file.write(data)

    @action(idempotent=True, tags=("file", "directory"), category="files")
    def list_directory(path: str = ".") -> list[str]:
        """The names in a directory, sorted; at most 10 000.

        Args:
            path: which directory.
        """
        with confined.located(path) as (directory, name):
            handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | _SAFELY, dir_fd=directory)
            try:
                names = []
                with os.scandir(handle) as entries:
                    for entry in entries:
                        names.append(entry.name)
                        if len(names) > _MOST_NAMES:
                            raise ActionError(f"there are more than {_MOST_NAMES} names in {name!r}")
            finally:
                os.close(handle)
        return sorted(names)

    @action(tags=("file",), category="files")
    def delete_file(path: str) -> None:
        """Deletes a file; never a directory, nor what a link leads to.

        Args:
            path: which file.
        """
        with confined.located(path, follow_last=False) as (directory, name):
            _check_regular(name, os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
            os.unlink(name, dir_fd=directory)

    made = (read_file, write_file, list_directory, delete_file)
    return MappingProxyType({one.name: one for one in made})


def _check_regular(name: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{name!r} is a directory")
    if not stat.S_ISREG(mode):
        raise ActionNotAllowed(f"{name!r} is no regular file")
