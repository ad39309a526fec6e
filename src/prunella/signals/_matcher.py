"""The one matcher of patterns and types.

Patterns without wildcards are keys of a dictionary. The others form a tree, a step per segment, which a type
walks down on all its branches at once; what has been reached is a list of nodes, so that a type is read once
from left to right whatever the patterns are. The cost follows the branches that match, not the patterns.

Both are values: a changed matcher shares all nodes that did not change with the one before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ._pattern import ANY, REST

__all__ = ["Entry", "Matcher"]

Entry: TypeAlias = Any  # what the matcher is asked for; it never looks inside
_Change: TypeAlias = Callable[[tuple[Entry, ...]], tuple[Entry, ...]]


class _Node:
    """What has been read of a pattern so far, as a place in the tree."""

    __slots__ = ("any", "entries", "literals", "owner", "rest")

    def __init__(self, owner: object) -> None:
        self.literals: dict[str, _Node] | None = None  # most nodes are ends and have none
        self.any: _Node | None = None
        self.rest: _Node | None = None
        self.entries: tuple[Entry, ...] = ()
        self.owner = owner  # the one change during which this node may still be written to

    def writable(self, owner: object) -> _Node:
        if self.owner is owner:
            return self
        copy = _Node(owner)
        copy.literals = None if self.literals is None else self.literals.copy()
        copy.any = self.any
        copy.rest = self.rest
        copy.entries = self.entries
        return copy

    def child(self, segment: str) -> _Node | None:
        if segment == ANY:
            return self.any
        if segment == REST:
            return self.rest
        return None if self.literals is None else self.literals.get(segment)

    def put(self, segment: str, child: _Node | None) -> None:
        if segment == ANY:
            self.any = child
        elif segment == REST:
            self.rest = child
        elif child is not None:
            if self.literals is None:
                self.literals = {}
            self.literals[segment] = child
        elif self.literals is not None:
            self.literals.pop(segment, None)

    def is_empty(self) -> bool:
        return not (self.entries or self.literals or self.any or self.rest)


class Matcher:
    """Patterns with the entries registered for them. Immutable."""

    __slots__ = ("_exact", "_root")

    _exact: dict[str, tuple[Entry, ...]]
    _root: _Node | None

    def __init__(self) -> None:
        self._exact = {}
        self._root = None

    def changed(self, changes: Iterable[tuple[tuple[str, ...], _Change]]) -> Matcher:
        """A matcher in which the entries of some patterns, given by their segments, are others."""
        made = Matcher()
        exact = self._exact.copy()
        root = self._root
        owner = object()
        for segments, change in changes:
            if ANY in segments or REST in segments:
                root = _changed(root, segments, change, owner)
            else:
                pattern = ".".join(segments)
                entries = change(exact.get(pattern, ()))
                if entries:
                    exact[pattern] = entries
                else:
                    exact.pop(pattern, None)
        made._exact = exact
        made._root = root
        return made

    def entries(self, type: str) -> list[Entry]:
        """The entries of all patterns that match, in no order."""
        found = list(self._exact.get(type, ()))
        root = self._root
        if root is None:
            return found
        reached = [root]
        # Nodes behind a `**`: once reached they stay, for it takes any number of segments. Only they can be
        # reached in two ways.
        lasting: list[_Node] = []
        known: set[_Node] = set()
        if root.rest is not None:
            lasting.append(root.rest)
            known.add(root.rest)
        for segment in type.split("."):
            ahead: list[_Node] = []
            for node in reached + lasting if lasting else reached:
                if node.literals is not None:
                    child = node.literals.get(segment)
                    if child is not None:
                        ahead.append(child)
                if node.any is not None:
                    ahead.append(node.any)
            for node in ahead:
                rest = node.rest
                if rest is not None and rest not in known:
                    lasting.append(rest)
                    known.add(rest)
            reached = ahead
            if not ahead and not lasting:
                return found
        for node in reached + lasting:
            if node.entries:
                found += node.entries
        return found


def _changed(root: _Node | None, segments: tuple[str, ...], change: _Change, owner: object) -> _Node | None:
    """The tree with other entries behind `segments`; only the nodes on the way there are new."""
    node = _Node(owner) if root is None else root.writable(owner)
    way = [node]
    for segment in segments:
        child = node.child(segment)
        node = _Node(owner) if child is None else child.writable(owner)
        way.append(node)
    node.entries = change(node.entries)
    for depth in range(len(segments), 0, -1):
        child = way[depth]
        way[depth - 1].put(segments[depth - 1], None if child.is_empty() else child)
    return None if way[0].is_empty() else way[0]
