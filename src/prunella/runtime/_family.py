"""Parents and children among agents: logical, under their addresses, beside supervision."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..agents import Address, AgentError, AgentNotFound, SpawnAgent
from ..conversion import Map
from ..signals import Signal
from ..supervision import ExitReason, Shutdown
from ._bonds import QUIET, Birth, Bond, Family
from ._reason_data import reason_data
from ._spec import AgentSpec

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Families", "FamilyError"]


class FamilyError(AgentError):
    """A child cannot be started or adopted: the tag or the agent is taken, or it is oneself."""


class Families:
    """All family ties of a runtime. A restart changes none of them, nor does sleep, nor, for those that are durable,
    the end of the process.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._expected: dict[Address, Birth] = {}
        self._sleeping: dict[Address, Family] = {}

    # Ties.

    def spawn(
        self,
        parent: AgentServer,
        directive: SpawnAgent,
        ended: Callable[[Exception | None], object],
        *,
        cause: Signal,
        span: str | None,
        is_again: bool = False,
    ) -> None:
        """Begins to start an agent as a child of another.

        Args:
            parent: the other.
            directive: what is to be started.
            ended: called when it has started, or with the error: the tag or the id is in use, or it failed to start.
            cause: the signal of the turn that asked for it.
            span: the span of that effect, if anybody hears of it.
            is_again: whether this may have been done before.
        """
        try:
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
            if is_again and self._has(parent.family, directive.tag, spec.address):
                ended(None)
                return
            self._check_tag(parent.address, parent.family, directive.tag)
        except Exception as error:
            ended(error)
            return
        address = spec.address

        def over(error: Exception | None) -> None:
            self._expected.pop(address, None)
            ended(error)

        self._expected.setdefault(address, Birth(directive.meta, cause, span))
        self._runtime.begin_start(spec, over)

    def born(self, child: AgentServer) -> None:
        """An agent comes into memory: it has the family it had, or the parent that its spec names.

        Raises:
            AgentNotFound, AgentStopped: there is no such parent.
            FamilyError: the tag is in use.
        """
        address, spec = child.address, child.spec
        known = self._sleeping.pop(address, None) if self._sleeping else None
        if known is not None:
            child.family = known
            if known.bond is not None and not self._is_there(known.bond.parent):
                self._lost_parent(child, known, known.bond)
        elif spec.parent is not None and spec.tag is not None:
            # One that is about to end is still a parent: what becomes of its children then is theirs to say.
            if not self._is_there(spec.parent):
                raise self._runtime.absent(spec.parent)
            birth = self._expected.get(address, QUIET)
            self._check_tag(spec.parent, self.family(spec.parent), spec.tag)
            self._tie(address, child, Bond(spec.parent, spec.tag, spec.on_parent_death, birth))

    def _lost_parent(self, child: AgentServer, family: Family, bond: Bond) -> None:
        """It had a parent in another process, which is not there: one that would have stopped does not come back."""
        if bond.on_parent_death == "stop":
            self._sleeping[child.address] = family
            raise self._runtime.absent(bond.parent)
        self._orphan(child.address, family, bond.parent, self._runtime.gone(bond.parent) or Shutdown(), child)

    def adopt(self, parent: AgentServer, address: Address, tag: str, meta: Map[str, Any], *, is_again: bool) -> None:
        """Ties a running agent that has no parent.

        Args:
            parent: who is to be its parent.
            address: where it is to be found.
            tag: what its parent calls it.
            meta: what its parent wants to be told about it.
            is_again: whether this may have been done before.

        Raises:
            AgentNotFound, AgentStopped: there is no such agent.
            FamilyError: it is oneself or an ancestor, has a parent, or the tag is in use.
        """
        child = self._runtime.find(address)
        if child is None or not child.is_open:
            raise self._runtime.absent(address)
        if child is parent:
            raise parent.about(FamilyError("an agent cannot adopt itself"))
        if is_again and self._has(parent.family, tag, address):
            return
        if child.family is not None and child.family.bond is not None:
            raise child.about(FamilyError(f"agent {str(address)!r} has a parent already"))
        if self._is_ancestor(address, parent.address):
            raise child.about(FamilyError(f"agent {str(address)!r} is an ancestor of this one"))
        self._check_tag(parent.address, parent.family, tag)
        self._tie(address, child, Bond(parent.address, tag, child.spec.on_parent_death, Birth(meta)))
        self._record(address)
        if child.life is not None:  # else its next life says so
            self.started(child)

    def sleeps(self, address: Address, bond: Bond | None) -> None:
        """An agent is stored that is not in memory: it has its parent, and that has it, all the same."""
        if bond is not None:
            self._opened(address).bond = bond
            parents = self._opened(bond.parent)
            parents.children = parents.children.set(bond.tag, address)

    def leaves(self, server: AgentServer) -> None:
        """An agent leaves memory, and comes back: its family stays as it is."""
        family, server.family = server.family, None
        if family is not None:
            self._sleeping[server.address] = family

    def forgets(self, address: Address) -> None:
        """An agent that sleeps is deleted: it never was."""
        family = self._sleeping.pop(address, None)
        if family is not None and family.bond is not None:
            self._untie(address, family.bond)

    def family(self, address: Address) -> Family | None:
        """The family of an agent, also of one that sleeps; None if it has none."""
        server = self._runtime.find(address)
        family = None if server is None else server.family
        return self._sleeping.get(address) if family is None else family

    def bond_of(self, address: Address) -> Bond | None:
        """The bond of an agent to its parent, if it has one."""
        family = self.family(address)
        return None if family is None else family.bond

    def _opened(self, address: Address) -> Family:
        """The family of an agent, which may be a new one."""
        family = self.family(address)
        if family is None:
            server = self._runtime.find(address)
            family = Family()
            if server is None or server.is_leaving:
                self._sleeping[address] = family
            else:
                server.family = family
        return family

    def _is_there(self, address: Address) -> bool:
        return self._runtime.find(address) is not None or self._runtime.can_wake(address)

    def _is_ancestor(self, candidate: Address, address: Address) -> bool:
        bond = self.bond_of(address)
        while bond is not None:
            if bond.parent == candidate:
                return True
            bond = self.bond_of(bond.parent)
        return False

    def _has(self, family: Family | None, tag: str, address: Address) -> bool:
        return family is not None and family.children.get(tag) == address

    def _check_tag(self, parent: Address, family: Family | None, tag: str) -> None:
        if family is not None and tag in family.children:
            error = FamilyError(f"tag {tag!r} is in use")
            error.address = parent
            raise error

    def _tie(self, address: Address, child: AgentServer, bond: Bond) -> None:
        child.family = child.family or Family()
        child.family.bond = bond
        parents = self._opened(bond.parent)
        parents.children = parents.children.set(bond.tag, address)

    def _untie(self, address: Address, bond: Bond) -> bool:
        """The tag of a child is free; tells whether it was the child's."""
        parents = self.family(bond.parent)
        if parents is None or parents.children.get(bond.tag) != address:
            return False
        parents.children = parents.children.delete(bond.tag)
        return True

    def child(self, parent: AgentServer, tag: str) -> Address:
        """The child of that tag.

        Raises:
            AgentNotFound: there is none.
        """
        address: Address | None = None if parent.family is None else parent.family.children.get(tag)
        if address is None or not self._is_there(address):
            raise parent.about(AgentNotFound(tag))
        return address

    def _record(self, address: Address) -> None:
        """The parent of an agent has changed: that is stored, if it is."""
        if self._runtime.durability is not None:
            self._runtime.durability.family_changed(address)

    # Signals of the runtime.

    def first_signal(self, server: AgentServer, data: dict[str, Any]) -> Signal:
        """The first signal of a life; that of the first life goes on with the trace of the turn that asked for it."""
        birth = self._birth_of(server)
        return self._runtime.signals.new("prunella.started", data, birth.cause, birth.span)

    def _birth_of(self, server: AgentServer) -> Birth:
        bond = None if server.family is None else server.family.bond
        return QUIET if bond is None or server.restarts else bond.birth

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
        """An agent has ended: its parent is told, and its children do what they are to do then.

        One that is durable has not ended for good if it sleeps, or all of the runtime is being stopped.
        """
        if self._comes_back(server):
            self.leaves(server)
            return
        family, server.family = server.family, None
        if family is None:
            return
        if family.bond is not None and self._untie(server.address, family.bond) and server.restarts >= 0:
            self._tell_parent(server, family.bond, reason)
        for address in family.children.values():
            theirs, child = self.family(address), self._runtime.find(address)
            if self._runtime.is_closing and (child is None or child.is_durable):
                continue  # It may have its parent again in the next process, and learns there if it has not.
            if theirs is not None and theirs.bond is not None and theirs.bond.parent == server.address:
                self._orphan(address, theirs, server.address, reason, child)

    def _comes_back(self, server: AgentServer) -> bool:
        if not server.is_durable:
            return False
        fence: object = server.fence  # type: ignore[attr-defined]  # it is durable
        return fence is not None or self._runtime.is_closing or self._runtime.sleeps(server.address)

    def _tell_parent(self, server: AgentServer, bond: Bond, reason: ExitReason) -> None:

        data = {
            "tag": bond.tag,
            "child": server.address.id,
            "meta": dict(bond.birth.meta),
            "reason": reason_data(reason),
        }
        self._tell(bond.parent, "prunella.child.exited", data)

    def _orphan(
        self, address: Address, family: Family, parent: Address, reason: ExitReason, child: AgentServer | None
    ) -> None:

        assert family.bond is not None
        tag, policy = family.bond.tag, family.bond.on_parent_death
        family.bond = None
        if policy == "stop":
            why = ("parent", reason)
            if child is not None and not child.is_leaving:
                self._runtime.begin_stop(child, why)
            elif self._runtime.durability is not None:
                self._runtime.durability.sleepers.stop(address, why)
            return
        self._record(address)
        if policy == "emit":
            data = {"parent": parent.id, "tag": tag, "reason": reason_data(reason)}
            self._tell(address, "prunella.orphaned", data)

    def _tell(self, address: Address, type: str, data: dict[str, Any]) -> None:
        """Tells an agent that something is over, if it wants to hear it.

        It is told once: one that is durable finds that in its stored mailbox, and is woken for it.
        """
        server = self._runtime.find(address)
        if server is not None and not (server.is_durable or server.is_leaving):
            server.tell(type, data)
        elif self._runtime.durability is not None:
            self._runtime.durability.sleepers.tell(address, type, data)
