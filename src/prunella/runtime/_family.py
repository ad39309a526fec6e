"""Parents and children among agents: logical, under their addresses, beside supervision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..agents import Address, AgentError, AgentNotFound, SpawnAgent
from ..conversion import Map
from ..signals import Signal
from ..supervision import ExitReason
from ._spec import AgentSpec

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Families", "Family", "FamilyError"]


class FamilyError(AgentError):
    """A child cannot be started or adopted: the tag or the agent is taken, or it is oneself."""


@attrs.frozen
class _Birth:
    """What the directive that starts a child says beside its spec, and the turn that it comes of."""

    meta: Map[str, Any]
    cause: Signal | None = None
    span: str | None = None


_QUIET = _Birth(Map())


@attrs.frozen
class _Bond:
    """What a child knows of its parent."""

    parent: Address
    tag: str
    on_parent_death: str
    birth: _Birth


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
        self._expected: dict[Address, _Birth] = {}
        self._asleep: dict[Address, dict[str, Address]] = {}

    # Ties.

    def spawn(
        self,
        parent: AgentServer,
        directive: SpawnAgent,
        ended: Callable[[Exception | None], object],
        *,
        cause: Signal,
        span: str | None,
    ) -> None:
        """Begins to start an agent as a child of another.

        Args:
            parent: the other.
            directive: what is to be started.
            ended: called when it has started, or with the error: the tag or the id is in use, or it failed to start.
            cause: the signal of the turn that asked for it.
            span: the span of that effect, if anybody hears of it.
        """
        try:
            self._check_tag(parent, directive.tag)
            spec: AgentSpec[Any] = AgentSpec(
                directive.agent,
                directive.id or f"{parent.address.id}/{directive.tag}",
                state=directive.state,
                restart=directive.restart,
                partition=directive.partition if directive.partition is not None else parent.address.partition,
                parent=parent.address,
                tag=directive.tag,
                on_parent_death=directive.on_parent_death,
            )
        except Exception as error:
            ended(error)
            return
        address = spec.address

        def over(error: Exception | None) -> None:
            self._expected.pop(address, None)
            ended(error)

        self._expected.setdefault(address, _Birth(directive.meta, cause, span))
        self._runtime.begin_start(spec, over)

    def born(self, child: AgentServer) -> None:
        """Ties a new agent to the parent that its spec names.

        Raises:
            AgentNotFound, AgentStopped: there is no such parent.
            FamilyError: the tag is in use.
        """
        asleep = self._asleep.pop(child.address, None)
        if asleep is not None:
            child.family = Family()
            child.family.children = Map(asleep)
        spec = child.spec
        if spec.parent is None or spec.tag is None:
            return
        # One that is about to end is still a parent: what becomes of its children then is theirs to say.
        parent = self._runtime.find(spec.parent)
        birth = self._expected.get(child.address, _QUIET)
        if self._runtime.sleeps(child.address):
            self._expected.pop(child.address, None)
        if parent is None:
            if not self._runtime.can_wake(spec.parent):
                raise self._runtime.absent(spec.parent)
            # Its parent sleeps, and knows it when it wakes.
            self._asleep.setdefault(spec.parent, {})[spec.tag] = child.address
            child.family = child.family or Family()
            child.family.bond = _Bond(spec.parent, spec.tag, spec.on_parent_death, birth)
            return
        if self._is_there_already(parent, spec.tag, child.address):
            child.family = child.family or Family()
            child.family.bond = _Bond(spec.parent, spec.tag, spec.on_parent_death, birth)
            return
        self._check_tag(parent, spec.tag)
        self._tie(parent, child, _Bond(spec.parent, spec.tag, spec.on_parent_death, birth))

    def adopt(self, parent: AgentServer, address: Address, tag: str, meta: Map[str, Any]) -> None:
        """Ties a running agent that has no parent.

        Raises:
            AgentNotFound, AgentStopped: there is no such agent.
            FamilyError: it is oneself or an ancestor, has a parent, or the tag is in use.
        """
        child = self._runtime.find(address)
        if child is None or not child.is_open:
            raise self._runtime.absent(address)
        if child is parent:
            raise parent.about(FamilyError("an agent cannot adopt itself"))
        if child.family is not None and child.family.bond is not None:
            raise child.about(FamilyError(f"agent {str(address)!r} has a parent already"))
        if self._is_ancestor(child, parent):
            raise child.about(FamilyError(f"agent {str(address)!r} is an ancestor of this one"))
        self._check_tag(parent, tag)
        self._tie(parent, child, _Bond(parent.address, tag, child.spec.on_parent_death, _Birth(meta)))
        if child.life is not None:  # else its next life says so
            self.started(child)

    def _is_ancestor(self, candidate: AgentServer, server: AgentServer) -> bool:
        above: AgentServer | None = server
        while above is not None and above.family is not None and above.family.bond is not None:
            above = self._runtime.find(above.family.bond.parent)
            if above is candidate:
                return True
        return False

    def sleeps(self, address: Address, parent: Address | None, tag: str, meta: Mapping[str, Any]) -> None:
        """An agent is stored that is not in memory: its parent has it all the same.

        Args:
            address: where it is to be found.
            parent: its parent, if it has one.
            tag: what that calls it.
            meta: what that wants to be told about it.
        """
        if parent is None:
            return
        self._expected[address] = _Birth(Map(meta))
        server = self._runtime.find(parent)
        if server is None:
            self._asleep.setdefault(parent, {})[tag] = address
        else:
            server.family = server.family or Family()
            server.family.children = server.family.children.set(tag, address)

    def leaves(self, server: AgentServer) -> None:
        """An agent leaves memory, and comes back: its family stays as it is."""
        family, server.family = server.family, None
        if family is not None:
            if family.children:
                self._asleep[server.address] = dict(family.children)
            if family.bond is not None:
                self._expected[server.address] = family.bond.birth

    def _is_there_already(self, parent: AgentServer, tag: str, address: Address) -> bool:
        return parent.family is not None and parent.family.children.get(tag) == address

    def _check_tag(self, parent: AgentServer, tag: str) -> None:
        if parent.family is not None and tag in parent.family.children:
            raise parent.about(FamilyError(f"tag {tag!r} is in use"))

    def _tie(self, parent: AgentServer, child: AgentServer, bond: _Bond) -> None:
        child.family = child.family or Family()
        child.family.bond = bond
        parent.family = parent.family or Family()
        parent.family.children = parent.family.children.set(bond.tag, child.address)

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

    def meta_of(self, child: AgentServer) -> Map[str, Any]:
        """What its parent wants to be told about it in signals."""
        bond = None if child.family is None else child.family.bond
        return Map() if bond is None else bond.birth.meta

    # Signals of the runtime.

    def first_signal(self, server: AgentServer, data: dict[str, Any]) -> Signal:
        """The first signal of a life; that of the first life goes on with the trace of the turn that asked for it."""
        birth = self._birth_of(server)
        return self._runtime.signals.new("prunella.started", data, birth.cause, birth.span)

    def _birth_of(self, server: AgentServer) -> _Birth:
        bond = None if server.family is None else server.family.bond
        return _QUIET if bond is None or server.restarts else bond.birth

    def started(self, child: AgentServer) -> None:
        """A life of an agent has begun: its parent is told."""
        bond = None if child.family is None else child.family.bond
        parent = None if bond is None else self._runtime.find(bond.parent)
        if bond is None or parent is None:
            return
        birth = self._birth_of(child)
        data = {
            "tag": bond.tag,
            "child": child.address.id,
            "meta": dict(bond.birth.meta),
            "restarts": child.restarts,
        }
        parent.tell("prunella.child.started", data, birth.cause, birth.span)

    def ended(self, server: AgentServer, reason: ExitReason) -> None:
        """An agent has ended for good: its parent is told, and its children do what they are to do then."""
        family, server.family = server.family, None
        if family is None:
            return
        if family.bond is not None:
            self._tell_parent(server, family.bond, reason)
        for tag, address in family.children.items():
            child = self._runtime.find(address)
            if child is not None and child.family is not None and child.family.bond is not None:
                self._orphan(child, child.family, tag, server, reason)

    def _tell_parent(self, server: AgentServer, bond: _Bond, reason: ExitReason) -> None:
        from ._server import reason_data

        parent = self._runtime.find(bond.parent)
        if parent is None or parent.family is None:
            return
        # The tag is free before anybody hears of it.
        parent.family.children = parent.family.children.delete(bond.tag)
        data = {
            "tag": bond.tag,
            "child": server.address.id,
            "meta": dict(bond.birth.meta),
            "reason": reason_data(reason),
        }
        parent.tell("prunella.child.exited", data)

    def _orphan(self, child: AgentServer, family: Family, tag: str, parent: AgentServer, reason: ExitReason) -> None:
        from ._server import reason_data

        assert family.bond is not None
        policy = family.bond.on_parent_death
        family.bond = None
        if policy == "stop":
            self._runtime.begin_stop(child, ("parent", reason))
        elif policy == "emit":
            data = {"parent": parent.address.id, "tag": tag, "reason": reason_data(reason)}
            child.tell("prunella.orphaned", data)
