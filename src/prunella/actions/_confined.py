"""Paths inside of a directory, walked handle by handle, so that nothing that is put in their way leads out."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, final

from ..errors import InvalidArgument
from ._errors import ActionNotAllowed

__all__ = ["Roots"]

# As many as Linux follows.
_MOST_LINKS: Final = 40
_DIRECTORY: Final = (
    os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)


@final
class Roots:
    """The directories in which files may be touched; without any, nothing may.

    Args:
        roots: directories that are there.

    Raises:
        InvalidArgument: one is no directory, or the system cannot open files relative to a handle.
    """

    def __init__(self, roots: tuple[str | os.PathLike[str], ...]) -> None:
        if roots and not {os.open, os.stat, os.unlink, os.readlink} <= os.supports_dir_fd:
            raise InvalidArgument("file_actions", "roots", "empty: this system has no handles of directories", roots)
        for root in roots:
            if not isinstance(root, str | os.PathLike) or not os.path.isdir(root):
                raise InvalidArgument("file_actions", "roots", "directories that are there", root)
        self._roots = tuple(os.path.realpath(root) for root in roots)

    @contextmanager
    def located(self, path: str, *, follow_last: bool = True) -> Iterator[tuple[int, str]]:
        """A handle of the directory in which the path ends, and the name in it, which is no link.

        The name need not be there. With `follow_last` a link at the end is followed, else refused.

        Raises:
            ActionNotAllowed: it leads out of all roots.
            OSError: something on the way is not there, or is no directory.
        """
        root, parts = self._split(path)
        walk = _Walk(root)
        try:
            yield walk.along(deque(parts), follow_last=follow_last)
        finally:
            walk.close()

    def _split(self, path: str) -> tuple[str, list[str]]:
        if not self._roots:
            raise ActionNotAllowed("no directory is open to this action")
        if "\0" in path:
            raise ActionNotAllowed("no file has a name like that")
        if not os.path.isabs(path):
            return self._roots[0], path.split("/")
        for root in self._roots:
            inside = _inside(root, path)
            if inside is not None:
                return root, inside
        raise outside(path)


def outside(path: str) -> ActionNotAllowed:
    """The error about a path that leads out."""
    return ActionNotAllowed(f"{path[:200]!r} is outside of the directories that are open to this action")


def _inside(root: str, path: str) -> list[str] | None:
    """The parts of an absolute path behind a root, as it is written."""
    parts = [part for part in path.split("/") if part]
    before = [part for part in root.split("/") if part]
    return parts[len(before) :] if parts[: len(before)] == before else None


class _Walk:
    """The handles from a root down to where a path has led so far."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._handles = [os.open(root, _DIRECTORY)]

    def along(self, parts: deque[str], *, follow_last: bool) -> tuple[int, str]:
        links = 0
        path = "/".join(parts)
        while parts:
            part = parts.popleft()
            if part in ("", "."):
                continue
            if part == "..":
                if len(self._handles) == 1:
                    raise outside(path)
                os.close(self._handles.pop())
                continue
            last = all(rest in ("", ".") for rest in parts)
            if self._is_link(part):
                links += 1
                if links > _MOST_LINKS or (last and not follow_last):
                    raise ActionNotAllowed(f"{path[:200]!r}: a symbolic link is not followed here")
                self._turn(os.readlink(part, dir_fd=self._handles[-1]), parts, path)
            elif last:
                return self._handles[-1], part
            else:
                # If it has become a link in the meantime, this fails.
                self._handles.append(os.open(part, _DIRECTORY, dir_fd=self._handles[-1]))
        return self._handles[-1], "."

    def _is_link(self, name: str) -> bool:
        try:
            return stat.S_ISLNK(os.stat(name, dir_fd=self._handles[-1], follow_symlinks=False).st_mode)
        except FileNotFoundError:
            return False

    def _turn(self, target: str, parts: deque[str], path: str) -> None:
        """Goes on with where a link leads."""
        if os.path.isabs(target):
            inside = _inside(self._root, target)
            if inside is None:
                raise outside(path)
            while len(self._handles) > 1:
                os.close(self._handles.pop())
            parts.extendleft(reversed(inside))
        else:
            parts.extendleft(reversed(target.split("/")))

    def close(self) -> None:
        for handle in self._handles:
            os.close(handle)
