"""The view for files and pipes: a few plain lines."""

from __future__ import annotations

from collections.abc import Callable

from ._picture import Picture, Row, duration, rows
from ._words import Happening

__all__ = ["Lines"]

_MOST_CHILDREN = 5


class Lines:
    """Plain lines: what happened, and how the tree stands if that has changed. Few, however much happens.

    Args:
        write: takes the text, whole lines.
        most: of what happened between two pictures, so many lines are written; the rest is counted.
    """

    seconds_between_pictures = 1.0

    def __init__(self, write: Callable[[str], object], *, most: int = 6) -> None:
        self._write = write
        self._most = most
        self._told: list[str] = []
        self._left_out = 0
        self._last = ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, happening: Happening) -> None:
        """Something happened."""
        if len(self._told) < self._most:
            self._told.append(happening.text)
        else:
            self._left_out += 1

    def show(self, picture: Picture) -> None:
        """Writes what has happened since the last time, and how things stand."""
        told, self._told = self._told, []
        left_out, self._left_out = self._left_out, 0
        time = f"{duration(picture.seconds):>7}  "
        lines = [time + line for line in told]
        if left_out:
            lines.append(f"{time}… and {left_out} more")
        standing = _standing(picture)
        if standing and standing != self._last:
            lines.append(time + standing)
        self._last = standing
        if lines:
            self._write("".join(f"{line}\n" for line in lines))


def _standing(picture: Picture) -> str:
    if not picture.trees:
        return ""
    parts = [picture.status] if picture.status else []
    children = [row for row in rows(picture) if row.branch or row.agent is not None]
    agents = [row for row in children if row.agent is not None]
    shown = agents or [row for row in children if row.restarts or row.state != "running"]
    parts += [_child(row) for row in shown[:_MOST_CHILDREN]]
    if len(shown) > _MOST_CHILDREN:
        parts.append(f"… and {len(shown) - _MOST_CHILDREN} more {'agents' if agents else 'children'}")
    return "  |  ".join(parts)


def _child(row: Row) -> str:
    notes = [f"{row.called} {row.state}"]
    if row.restarts:
        notes.append(f"{row.restarts} restart{'s' if row.restarts > 1 else ''}")
    if row.agent is not None:
        notes.append(f"{row.agent.handled} handled")
        if row.agent.mailbox:
            notes.append(f"{row.agent.mailbox} waiting")
        if row.agent.effects:
            notes.append(f"{row.agent.effects} effect{'s' if row.agent.effects > 1 else ''}")
    return ", ".join(notes)
