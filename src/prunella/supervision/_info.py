"""Frozen pictures of children, supervisors and whole trees."""

from __future__ import annotations

from typing import Any

import attrs

from ._policies import ChildKind, ChildState
from ._reasons import ExitReason
from ._records import Life, Slot

__all__ = ["ChildCounts", "ChildInfo"]


@attrs.frozen(slots=False)  # made at every start: with slots, attrs needs twice the time to fill a frozen one
class ChildInfo:
    """One life of a child, as it stood when the picture was taken.

    Attributes:
        id: the child's id in its supervisor.
        kind: ``worker`` or ``supervisor``.
        state: ``starting``, ``running``, ``stopping``, ``restarting`` or ``stopped``.
        life: unique within the tree; two infos name the same life if their `life` is equal. 0 before the first.
        restarts: how often its supervisor has restarted it, group restarts included, those by hand excluded.
        started: what the child gave to ``task_status.started()``; for a supervisor, its handle.
        reason: the exit reason of the last life that ended, if one has.
        since: when it entered its state, in seconds on Trio's clock.
        spec: its spec, with every default filled in.
    """

    id: str
    kind: ChildKind
    state: ChildState
    life: int
    restarts: int
    started: Any
    reason: ExitReason | None
    since: float
    spec: Any
    _slot: Slot = attrs.field(eq=False, repr=False)
    _life: Life | None = attrs.field(eq=False, repr=False, alias="current")


@attrs.frozen
class ChildCounts:
    """How many children a supervisor has.

    Attributes:
        specs: all of them, running or not.
        active: those whose life runs: neither starting nor waiting for a restart.
        supervisors: those that are supervisors, running or not.
        workers: those that are not.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


def picture(slot: Slot) -> ChildInfo:
    """The picture of a child as it stands now."""
    life = slot.life
    spec = slot.spec
    number, value = (0, None) if life is None else (life.number, life.value)
    return ChildInfo(
        spec.id, spec.kind, slot.state, number, slot.restarts, value, slot.reason, slot.since, spec, slot, life
    )


def count(slots: tuple[Slot, ...]) -> ChildCounts:
    """Counts children."""
    supervisors = sum(slot.spec.kind is ChildKind.SUPERVISOR for slot in slots)
    return ChildCounts(
        specs=len(slots),
        active=sum(slot.state in (ChildState.RUNNING, ChildState.STOPPING) for slot in slots),
        supervisors=supervisors,
        workers=len(slots) - supervisors,
    )
