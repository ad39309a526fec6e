"""What a view shows: trees, and how the agents in them stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from ..supervision import ChildInfo, ChildState, TreeNode

__all__ = ["AgentFigures", "Picture", "Row", "duration", "rows"]


@attrs.frozen
class AgentFigures:
    """How one agent stands.

    Attributes:
        address: where it is to be found.
        state: as `prunella.runtime.AgentStatus` has it.
        mailbox: how many signals wait.
        effects: how many of its effects wait or run.
        handled: how many turns it has committed.
    """

    address: str
    state: str
    mailbox: int
    effects: int
    handled: int


@attrs.frozen
class Picture:
    """A moment of a run.

    Attributes:
        title: what runs.
        seconds: for how long.
        status: what is going on, in a few words.
        trees: what runs, each tree from its root; none before they have started.
        agents: how those children stand that are agents, by their paths, of which the first step is the root.
    """

    title: str
    seconds: float
    status: str = ""
    trees: tuple[TreeNode, ...] = ()
    agents: Mapping[str, AgentFigures] = attrs.field(factory=dict)


@attrs.frozen
class Row:
    """One line of a tree.

    Attributes:
        branch: the lines that lead to it ("└─ ").
        path: the path that leads to it, from the root of its tree on.
        id: the child, or supervisor.
        state: where it stands; for a life that does not end though it was cancelled, ``unresponsive``.
        restarts: how often it was restarted.
        uptime: for how long it has been running, in seconds; None if it does not.
        agent: how it stands, if it is an agent.
    """

    branch: str
    path: str
    id: str
    state: str
    restarts: int
    uptime: float | None
    agent: AgentFigures | None

    @property
    def called(self) -> str:
        """What people call it: an agent by its address, another child by its path below the root."""
        return self.agent.address if self.agent is not None else self.path.partition("/")[2] or self.path


def rows(picture: Picture) -> Iterator[Row]:
    """The lines of a picture's trees, each from the root down."""
    for node in picture.trees:
        yield from _rows(node, picture.agents, "", "", node.id)


def _rows(node: TreeNode, agents: Mapping[str, AgentFigures], first: str, rest: str, path: str) -> Iterator[Row]:
    info = node.info
    agent = agents.get(path)
    state = str(info.state)
    running = info.state is ChildState.RUNNING
    if agent is not None and running:
        state = agent.state  # it may be suspended, too
    uptime = max(0.0, node.taken - info.since) if running else None
    yield Row(first, path, info.id, state, info.restarts, uptime, agent)
    below: list[TreeNode | ChildInfo] = [*node.children, *node.unresponsive]
    for position, child in enumerate(below, 1):
        branch, stem = ("└─ ", "   ") if position == len(below) else ("├─ ", "│  ")
        child_path = f"{path}/{child.id}"
        if isinstance(child, TreeNode):
            yield from _rows(child, agents, rest + branch, rest + stem, child_path)
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
