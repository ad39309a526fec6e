"""Parents and children among agents: logical, under their addresses, beside supervision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from ..agents import Address, AgentError, AgentNotFound, SpawnAgent
from ..conversion import Map
from ..supervision import ExitReason

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Families", "Family", "FamilyError"]


class FamilyError(AgentError):
    """A child cannot be started or adopted: the tag or the agent is taken, or it is oneself."""


@attrs.define
class _Bond:
    """What a child knows of its parent."""

    parent: Address
    tag: str
    meta: Map[str, Any]
    on_parent_death: str


class Family:
    """The parent and the children of one agent.

    Attributes:
        bond: to its parent; None if it has none.
        children: the addresses of its children, by tag.
    """

    __slots__ = ("bond", "children")

    def __init__(self) -> None:
        self.bond: _Bond | None = None
        self.children: Map[str, Address] = Map()


class Families:
    """All family ties of a runtime. A restart changes none of them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    # Ties.

    def spawn(self, parent: AgentServer, directive: SpawnAgent) -> None:
        """Starts an agent as a child of another.

        Raises:
            FamilyError: the tag is in use.
            AlreadyStarted: the id is in use.
            StartFailed: it could not be started.
        """
        from ._spec import AgentSpec

        self._check_tag(parent, directive.tag)
        partition = directive.partition if directive.partition is not None else parent.address.partition
        spec = AgentSpec(
            directive.agent,
            directive.id or f"{parent.address.id}/{directive.tag}",
            state=directive.state,
            restart=directive.restart,
            partition=partition,
            parent=parent.address,
            tag=directive.tag,
            on_parent_death=directive.on_parent_death,
        )
        self._runtime.start_at_once(spec, meta=directive.meta)

    def born(self, child: AgentServer, meta: Map[str, Any] | None) -> None:
        """Ties a new agent to the parent that its spec names."""
        spec = child.spec
        if spec.parent is None or spec.tag is None:
            return
        parent = self._runtime.find(spec.parent)
        if parent is None or not parent.is_open:
            raise self._runtime.absent(spec.parent)
        self._check_tag(parent, spec.tag)
        self._tie(parent, child, _Bond(spec.parent, spec.tag, meta or Map(), spec.on_parent_death))

    def adopt(self, parent: AgentServer, address: Address, tag: str, meta: Map[str, Any]) -> None:
        """Ties a running agent that has no parent.

        Raises:
            AgentNotFound, AgentStopped: there is no such agent.
            FamilyError: it is oneself, has a parent, or the tag is in use.
        """
        child = self._runtime.find(address)
        if child is None or not child.is_open:
            raise self._runtime.absent(address)
        if child is parent:
            raise parent.about(FamilyError("an agent cannot adopt itself"))
        if child.family is not None and child.family.bond is not None:
            raise child.about(FamilyError(f"agent {str(address)!r} has a parent already"))
        self._check_tag(parent, tag)
        policy = child.spec.on_parent_death
        self._tie(parent, child, _Bond(parent.address, tag, meta, policy))
        self.started(child)

    def _check_tag(self, parent: AgentServer, tag: str) -> None:
        if parent.family is not None and tag in parent.family.children:
            raise parent.about(FamilyError(f"tag {tag!r} is in use"))

    def _tie(self, parent: AgentServer, child: AgentServer, bond: _Bond) -> None:
        child.family = child.family or Family()
        child.family.bond = bond
        parent.family = parent.family or Family()
        parent.family.children = Map({**parent.family.children, bond.tag: child.address})

    def child(self, parent: AgentServer, tag: str) -> AgentServer:
        """The child of that tag.

        Raises:
            AgentNotFound: there is none.
        """
        address = None if parent.family is None else parent.family.children.get(tag)
        child = None if address is None else self._runtime.find(address)
        if child is None:
            raise parent.about(AgentNotFound(tag))
        return child

    # Signals of the runtime.

    def started(self, child: AgentServer) -> None:
        """A life of an agent has begun: its parent is told."""
        bond = None if child.family is None else child.family.bond
        if bond is not None:
            parent = self._runtime.find(bond.parent)
            if parent is not None:
                data = {
                    "tag": bond.tag,
                    "child": child.address.id,
                    "meta": dict(bond.meta),
                    "restarts": child.restarts,
                }
                parent.tell("prunella.child.started", data)

    def ended(self, server: AgentServer, reason: ExitReason) -> None:
        """An agent has ended for good: its parent is told, and its children do what they are to do then."""
        from ._server import reason_data

        family = server.family
        if family is None:
            return
        server.family = None
        bond = family.bond
        if bond is not None:
            parent = self._runtime.find(bond.parent)
            if parent is not None and parent.family is not None:
                kept = {tag: address for tag, address in parent.family.children.items() if tag != bond.tag}
                parent.family.children = Map(kept)
                data = {
                    "tag": bond.tag,
                    "child": server.address.id,
                    "meta": dict(bond.meta),
                    "reason": reason_data(reason),
                }
                parent.tell("prunella.child.exited", data)
        for tag, address in family.children.items():
            child = self._runtime.find(address)
            if child is None or child.family is None or child.family.bond is None:
                continue
            policy = child.family.bond.on_parent_death
            child.family.bond = None
            if policy == "stop":
                self._runtime.begin_stop(child, ("parent", reason))
            elif policy == "emit":
                data = {"parent": server.address.id, "tag": tag, "reason": reason_data(reason)}
                child.tell("prunella.orphaned", data)
