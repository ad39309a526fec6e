"""What an agent knows of its family."""

from __future__ import annotations

import attrs

from ..agents import Address
from ..conversion import Map
from ..signals import Signal

__all__ = ["QUIET", "Birth", "Bond", "Family"]


@attrs.frozen
class Birth:
    """What the directive that starts a child says beside its spec, and the turn that it comes of."""

    meta: Map[str, object]
    cause: Signal | None = None
    span: str | None = None


QUIET = Birth(Map())


@attrs.frozen
class Bond:
    """What a child knows of its parent.

    Attributes:
        parent: its address.
        tag: what that calls the child.
        on_parent_death: what the child does when its parent has ended for good.
        birth: how it came about.
    """

    parent: Address
    tag: str
    on_parent_death: str
    birth: Birth = QUIET


class Family:
    """The parent and the children of one agent.

    Attributes:
        bond: to its parent; None if it has none.
        children: the addresses of its children, by tag.
    """

    __slots__ = ("bond", "children")

    def __init__(self, bond: Bond | None = None) -> None:
        self.bond = bond
        self.children: Map[str, Address] = Map()
