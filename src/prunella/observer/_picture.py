"""What a view shows: a tree, and the traffic at its children."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from ..supervision import ChildInfo, ChildState, TreeNode

__all__ = ["Picture", "Row", "Traffic", "duration", "rows"]


@attrs.frozen
class Traffic:
    """The events of one child, in numbers.

    Attributes:
        waiting: how many wait in its mailbox.
        handled: how many it has handled.
        crashed_on: how many it has crashed on.
    """

    waiting: int
    handled: int
    crashed_on: int


@attrs.frozen
class Picture:
    """A moment of a run.

    Attributes:
        title: what runs.
        seconds: for how long.
        status: what is going on, in a few words.
        tree: the tree; None before it has started.
        traffic: the traffic of those children that have any, by their paths.
    """

    title: str
    seconds: float
    status: str = ""
    tree: TreeNode | None = None
    traffic: Mapping[str, Traffic] = attrs.field(factory=dict)


@attrs.frozen
class Row:
    """One line of a tree.

    Attributes:
        branch: the lines that lead to it ("└─ ").
        path: the child's path from the root; empty for the root.
        id: the child, or supervisor.
        state: where it stands; for a life that does not end though it was cancelled, ``unresponsive``.
        restarts: how often it was restarted.
        uptime: for how long it has been running, in seconds; None if it does not.
        traffic: its traffic, if it has any.
    """

    branch: str
    path: str
    id: str
    state: str
    restarts: int
    uptime: float | None
    traffic: Traffic | None


def rows(picture: Picture) -> Iterator[Row]:
    """The lines of a picture's tree, from the root down."""
    if picture.tree is not None:
        yield from _rows(picture.tree, picture.traffic, "", "", "")


def _rows(node: TreeNode, traffic: Mapping[str, Traffic], first: str, rest: str, path: str) -> Iterator[Row]:
    info = node.info
    # The root has been running since the tree was opened, and is no life of anybody's.
    running = info.state is ChildState.RUNNING
    uptime = max(0.0, node.taken - info.since) if running else None
    yield Row(first, path, info.id, str(info.state), info.restarts, uptime, traffic.get(path))
    below: list[TreeNode | ChildInfo] = [*node.children, *node.unresponsive]
    for position, child in enumerate(below, 1):
        branch, stem = ("└─ ", "   ") if position == len(below) else ("├─ ", "│  ")
        child_path = f"{path}/{child.id}" if path else child.id
        if isinstance(child, TreeNode):
            yield from _rows(child, traffic, rest + branch, rest + stem, child_path)
        else:
            yield Row(rest + branch, child_path, child.id, "unresponsive", child.restarts, None, None)


def duration(seconds: float) -> str:
    """A length of time for people: ``0.4 s``, ``12.3 s``, ``4 min 05 s``, ``3 h 20 min``."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"
