"""What children are called in a run: a runtime has parts of its own, which are of no interest to its user."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, final

import attrs

from ..runtime import AgentSpec
from ..runtime._starts import STARTED_LATER
from ..supervision import ChildExited, ChildRestarted, ChildStarted, Supervisor, TreeNode
from ..telemetry import Event

__all__ = ["Names", "agents_in", "is_routine", "visible_trees"]

_SYSTEM = "prunella"


def agents_in(spec: Any, above: str = "") -> Iterator[tuple[str, AgentSpec[Any]]]:
    """The agents of a spec, by their paths."""
    path = f"{above}{spec.id}"
    if isinstance(spec, AgentSpec):
        yield path, spec
    elif isinstance(spec, Supervisor):
        for child in spec.children:
            yield from agents_in(child, f"{path}/")


@final
class Names:
    """The names of children by their paths in the runtime.

    Args:
        spec: the tree that is run in it.
    """

    def __init__(self, spec: Supervisor | AgentSpec[Any]) -> None:
        self._below = (f"{spec.id}/", f"{STARTED_LATER}/")
        self._addresses = {path: str(agent.address) for path, agent in agents_in(spec)}

    def __getitem__(self, path: str) -> str:
        """An agent's address; of another child its path in its tree."""
        if path in self._addresses:
            return self._addresses[path]
        for prefix in self._below:
            if path.startswith(prefix):
                return path.removeprefix(prefix)
        return path

    def in_event(self, event: Event) -> Event:
        """The event, with names instead of paths."""
        changes: dict[str, Any] = {
            field: self[path] for field in ("child", "supervisor") if (path := getattr(event, field, ""))
        }
        if hasattr(event, "waiting_for"):
            changes["waiting_for"] = tuple(self[path] for path in event.waiting_for)
        return attrs.evolve(event, **changes) if changes else event


def is_routine(event: Event) -> bool:
    """Whether it says no more than that a part of the runtime itself started, restarted or stopped as it should."""
    child = getattr(event, "child", "")
    if not (child in (_SYSTEM, STARTED_LATER) or child.startswith(f"{_SYSTEM}/")):
        return False
    return isinstance(event, ChildStarted | ChildRestarted) or (isinstance(event, ChildExited) and event.expected)


def visible_trees(root: TreeNode) -> tuple[TreeNode, ...]:
    """Of a runtime's tree, what its user has made."""
    return tuple(
        node
        for node in root.children
        if node.id != _SYSTEM and (node.id != STARTED_LATER or node.children or node.unresponsive)
    )
