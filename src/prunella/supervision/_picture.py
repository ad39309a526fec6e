"""A frozen picture of a whole tree, and its text for people."""

from __future__ import annotations

import attrs
import trio

from ._errors import SupervisorStopped
from ._handle import SupervisorHandle
from ._info import ChildInfo, picture
from ._live import LiveSupervisor, SupervisorLife
from ._policies import ChildKind, ChildState
from ._reasons import summary
from ._records import Slot

__all__ = ["TreeNode", "render", "tree"]


@attrs.frozen
class TreeNode:
    """One child of a tree, and what stands below it.

    Attributes:
        info: the child.
        children: the nodes below, in start order; empty for a worker.
        unresponsive: lives of children of this node that were declared unresponsive and still run.
        taken: when the picture was taken, in seconds on Trio's clock.
    """

    info: ChildInfo
    children: tuple[TreeNode, ...]
    unresponsive: tuple[ChildInfo, ...]
    taken: float = 0.0

    @property
    def id(self) -> str:
        """The id of the child."""
        return self.info.id

    @property
    def state(self) -> ChildState:
        """Where it stands."""
        return self.info.state

    @property
    def kind(self) -> ChildKind:
        """What it is."""
        return self.info.kind

    @property
    def restarts(self) -> int:
        """How often it was restarted."""
        return self.info.restarts


def tree(supervisor: SupervisorHandle) -> TreeNode:
    """A picture of a supervisor and everything below it, as it stands now.

    Args:
        supervisor: its handle.

    Raises:
        SupervisorStopped: it has ended.
    """
    live = supervisor._live
    if live.ending is not None:
        raise SupervisorStopped(live.spec.id)
    slot = live.root_slot if live.life is None else live.life.slot
    return _node(slot, live, trio.current_time())


def _node(slot: Slot, live: LiveSupervisor | None, now: float) -> TreeNode:
    children: tuple[TreeNode, ...] = ()
    unresponsive: tuple[ChildInfo, ...] = ()
    if live is not None:
        children = tuple(_node(child, _live_of(child), now) for child in live.core.slots())
        unresponsive = tuple(
            attrs.evolve(picture(life.slot), life=life.number, started=life.value, current=life)
            for life in live.left_over()
        )
    return TreeNode(info=picture(slot), children=children, unresponsive=unresponsive, taken=now)


def _live_of(slot: Slot) -> LiveSupervisor | None:
    life = slot.present
    return life.live if isinstance(life, SupervisorLife) else None


def render(node: TreeNode) -> str:
    """The text of a picture: one line for each child, with its state, restarts and uptime.

    .. code-block:: text

        supervisor  running
        ├─ support  running  12.0 s
        └─ billing  running  0.4 s  2 restarts, last: ValueError: no such invoice

    Args:
        node: what `tree` gave, or a part of it.
    """
    lines: list[str] = []
    _render(node, "", "", lines)
    return "\n".join(lines)


def _render(node: TreeNode, first: str, rest: str, lines: list[str]) -> None:
    lines.append(first + _line(node))
    below: list[TreeNode | ChildInfo] = [*node.children, *node.unresponsive]
    for position, child in enumerate(below, 1):
        last = position == len(below)
        branch, stem = ("└─ ", "   ") if last else ("├─ ", "│  ")
        if isinstance(child, TreeNode):
            _render(child, rest + branch, rest + stem, lines)
        else:
            lines.append(f"{rest}{branch}{child.id}  unresponsive, life {child.life}")


def _line(node: TreeNode) -> str:
    info = node.info
    parts = [info.id, str(info.state)]
    if info.state is ChildState.RUNNING and info.life:
        parts.append(f"{max(0.0, node.taken - info.since):.1f} s")
    notes = []
    if info.restarts:
        notes.append(f"{info.restarts} restart{'s' if info.restarts > 1 else ''}")
    if info.reason is not None:
        notes.append(f"last: {summary(info.reason)}")
    if notes:
        parts.append(", ".join(notes))
    return "  ".join(parts)
