from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, final

import attrs

from ..conversion import Map
from ..errors import InvalidArgument, check_iterable
from ..signals import Signal
from ._address import Address
from ._directive import Directive

__all__ = ["Outcome", "Turn"]

_NOTHING: Final[Map[str, Any]] = Map()
_NOBODY: Final[Map[str, Address]] = Map()


class Outcome(StrEnum):
    """What became of a turn."""

    COMMITTED = "committed"
    """The state and the directives that it left count."""
    REJECTED = "rejected"
    """A handler refused the signal, or its data did not fit; nothing changed."""
    UNHANDLED = "unhandled"
    """No handler takes the signal; nothing changed."""
    DEAD = "dead"
    """The signal crashed the agent as often as it may, and was put aside; nothing changed."""


@final
@attrs.frozen(init=False)
class Turn:
    """One signal handled: all that went into it, and all that came of it. One value, that can be run again.

    Args:
        sequence: its number in the life of the agent; the first is 1.
        signal: the signal.
        now: what the handlers took for the present.
        seed: what their chance began with.
        parent, children: the agent's family at that time.
        outcome: `committed`, `rejected`, `unhandled` or `dead`.
        changes: the fields of the state that changed, with their new values.
        directives: what it asked for.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    sequence: int
    signal: Signal
    now: datetime
    seed: int
    parent: Address | None
    children: Map[str, Address]
    outcome: Outcome
    changes: Map[str, Any]
    directives: tuple[Directive, ...]

    def __init__(
        self,
        sequence: int,
        signal: Signal,
        now: datetime,
        seed: int,
        parent: Address | None = None,
        children: Mapping[str, Address] = _NOBODY,
        outcome: Outcome | str = Outcome.COMMITTED,
        changes: Mapping[str, Any] = _NOTHING,
        directives: Iterable[Directive] = (),
    ) -> None:
        if not isinstance(sequence, int) or isinstance(sequence, bool) or sequence < 1:
            raise InvalidArgument("Turn", "sequence", "an int of at least 1", sequence)
        if not isinstance(signal, Signal):
            raise InvalidArgument("Turn", "signal", "a Signal", signal)
        if not isinstance(now, datetime) or now.utcoffset() is None:
            raise InvalidArgument("Turn", "now", "an aware datetime", now)
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise InvalidArgument("Turn", "seed", "an int", seed)
        if parent is not None and not isinstance(parent, Address):
            raise InvalidArgument("Turn", "parent", "an Address, or None", parent)
        self.__attrs_init__(
            sequence,
            signal,
            now if now.tzinfo is UTC else now.astimezone(UTC),
            seed,
            parent,
            _map("children", children),
            _outcome(outcome),
            _map("changes", changes),
            _directives(directives),
        )


def _map(field: str, items: object) -> Map[str, Any]:
    if not isinstance(items, Mapping):
        raise InvalidArgument("Turn", field, "a mapping", items)
    return Map(items)


def _outcome(outcome: Outcome | str) -> Outcome:
    try:
        return Outcome(outcome)
    except ValueError:
        raise InvalidArgument("Turn", "outcome", f"one of {', '.join(map(repr, map(str, Outcome)))}", outcome) from None


def _directives(directives: Iterable[Directive]) -> tuple[Directive, ...]:
    made = check_iterable("Turn", "directives", directives, "directives")
    for directive in made:
        if not isinstance(directive, Directive):
            raise InvalidArgument("Turn", "directives", "directives", directive)
    return made
