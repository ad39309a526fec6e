"""The order of steps: plain decisions, tested without a loop."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import final

__all__ = ["Progress", "ancestors", "cycle_in", "drawn", "phases_of"]

Edges = Mapping[str, tuple[str, ...]]
"""For each step, in the order in which they were given, the steps that it waits for."""


def cycle_in(edges: Edges) -> tuple[str, ...]:
    """Steps that wait for each other, each one before the next, the first one again at the end; empty if none do."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][:-1]
        names = list(edges)
        first = min(range(len(cycle)), key=lambda place: names.index(cycle[place]))
        rotated = cycle[first:] + cycle[:first]
        return (*rotated, rotated[0])
    return ()


def phases_of(edges: Edges) -> tuple[tuple[str, ...], ...]:
    """The steps by how many others at least come one after another before them."""
    levels: dict[str, int] = {}
    for name in TopologicalSorter(edges).static_order():
        levels[name] = 1 + max((levels[other] for other in edges[name]), default=-1)
    return tuple(
        tuple(name for name in edges if levels[name] == level) for level in range(max(levels.values(), default=-1) + 1)
    )


def ancestors(edges: Edges) -> dict[str, frozenset[str]]:
    """For each step all those that come before it."""
    found: dict[str, frozenset[str]] = {}
    for name in TopologicalSorter(edges).static_order():
        found[name] = frozenset(edges[name]).union(*(found[other] for other in edges[name]))
    return found


def drawn(title: str, edges: Edges, labels: Mapping[str, str]) -> str:
    """A graph as text: each step below the last of those that it waits for, with the names of the others."""
    places = {name: place for place, name in enumerate(name for phase in phases_of(edges) for name in phase)}
    below: dict[str | None, list[str]] = {}
    for name in places:
        last = max(edges[name], key=places.__getitem__, default=None)
        below.setdefault(last, []).append(name)
    lines = [title]
    # Not by recursion: a thousand steps may stand one below the other.
    roots = below.get(None, [])
    open_branches = [(name, "", name == roots[-1]) for name in reversed(roots)]
    while open_branches:
        name, indent, is_last = open_branches.pop()
        others = [other for other in edges[name] if name not in below.get(other, ())]
        also = f" (and after {', '.join(others)})" if others else ""
        lines.append(f"{indent}{'└─ ' if is_last else '├─ '}{labels[name]}{also}")
        indent += "   " if is_last else "│  "
        under = below.get(name, [])
        open_branches += [(one, indent, one == under[-1]) for one in reversed(under)]
    return "\n".join(lines) + "\n"


@final
class Progress:
    """Which steps are done, and which are to be begun.

    Args:
        edges: what each step waits for.
        limit: how many may run at a time; None for no limit.
    """

    def __init__(self, edges: Edges, limit: int | None) -> None:
        self._edges = edges
        self._limit = math.inf if limit is None else limit
        self._order = {name: number for number, name in enumerate(edges)}
        self._sorter = TopologicalSorter(edges)
        self._sorter.prepare()
        self._ready: deque[str] = deque()
        self._running = 0
        self._left_out: set[str] = set()
        self.failed: str | None = None
        """The step that failed first."""
        self._collect()

    def next(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The steps to begin now, and those that are left out because what they wait for is."""
        begun: list[str] = []
        skipped: list[str] = []
        while self._ready and self._running < self._limit and self.failed is None:
            name = self._ready.popleft()
            if self._left_out.isdisjoint(self._edges[name]):
                self._running += 1
                begun.append(name)
            else:
                skipped.append(name)
                self._finish(name, left_out=True)
        return tuple(begun), tuple(skipped)

    def done(self, name: str) -> None:
        """A step that was begun is done."""
        self._running -= 1
        self._finish(name)

    def leave_out(self, name: str) -> None:
        """A step that was begun is left out after all."""
        self._running -= 1
        self._finish(name, left_out=True)

    def fail(self, name: str) -> None:
        """A step that was begun has failed: no more are begun."""
        self._running -= 1
        if self.failed is None:
            self.failed = name

    def _finish(self, name: str, *, left_out: bool = False) -> None:
        if left_out:
            self._left_out.add(name)
        self._sorter.done(name)
        self._collect()

    def _collect(self) -> None:
        self._ready.extend(sorted(self._sorter.get_ready(), key=self._order.__getitem__))
