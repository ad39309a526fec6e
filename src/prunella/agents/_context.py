from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from secrets import randbits
from typing import Any, Final, final
from uuid import UUID

import attrs

from ..conversion import Map
from ..errors import InvalidArgument
from ..signals import Signal
from ._address import Address
from ._hidden import visible

__all__ = ["Context", "chance_of", "rewind", "with_signal"]

_NOBODY: Final[Map[str, Address]] = Map()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@final
@attrs.frozen(init=False)
class Context:
    """What a handler may know beside its state and its signal. Time, chance and ids come from here only.

    All of it is recorded with the turn, so that a turn can be run again and comes out the same.

    Args:
        agent_id: the id of the agent.
        partition: the partition that it belongs to.
        now: an aware datetime, kept in UTC; left out, the wall clock's.
        seed: what chance in this turn begins with; left out, a fresh one.
        parent: the agent's parent, if it has one.
        children: its children by tag.
        signal: the signal of this turn.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    agent_id: str
    partition: str | None
    now: datetime
    seed: int
    parent: Address | None
    children: Map[str, Address]
    signal: Signal | None
    _random: Random | None = attrs.field(eq=False, repr=False)

    def __init__(
        self,
        agent_id: str = "",
        partition: str | None = None,
        now: datetime | None = None,
        seed: int | None = None,
        parent: Address | None = None,
        children: Mapping[str, Address] = _NOBODY,
        signal: Signal | None = None,
    ) -> None:
        if not isinstance(agent_id, str):
            raise InvalidArgument("Context", "agent_id", "a string", agent_id)
        if partition is not None and not isinstance(partition, str):
            raise InvalidArgument("Context", "partition", "a string, or None", partition)
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise InvalidArgument("Context", "seed", "an int, or None", seed)
        if parent is not None and not isinstance(parent, Address):
            raise InvalidArgument("Context", "parent", "an Address, or None", parent)
        if signal is not None and not isinstance(signal, Signal):
            raise InvalidArgument("Context", "signal", "a Signal, or None", signal)
        self.__attrs_init__(
            agent_id,
            partition,
            datetime.now(UTC) if now is None else _in_utc(now),
            randbits(63) if seed is None else seed,
            parent,
            children if children is _NOBODY else _checked(children),
            signal,
            None,
        )

    @property
    def random(self) -> Random:
        """Chance: made anew of `seed` for every turn, and shared by the handlers of the turn."""
        random = self._random
        if random is None:
            random = Random(self.seed)
            _set_random(self, random)
        return random

    def new_id(self) -> str:
        """A new id: a UUIDv7 (RFC 9562, section 5.7) made of `now` and `random`, as text."""
        milliseconds = (self.now - _EPOCH) // _MILLISECOND
        chance = self.random.getrandbits(74)
        value = (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (chance >> 62) << 64
        value |= 0b10 << 62 | chance & (1 << 62) - 1
        return str(UUID(int=value))

    def __replace__(self, **changes: Any) -> Context:
        """`copy.replace`: a context with other values, whose chance begins anew."""
        kept = {
            "agent_id": self.agent_id,
            "partition": self.partition,
            "now": self.now,
            "seed": self.seed,
            "parent": self.parent,
            "children": self.children,
            "signal": self.signal,
        }
        return Context(**(kept | changes))


def with_signal(context: Context, signal: Signal) -> Context:
    """The same for a turn with this signal: its chance begins anew."""
    return Context(
        context.agent_id,
        context.partition,
        context.now,
        context.seed,
        context.parent,
        context.children,
        visible(signal),
    )


# A frozen class sets no attribute by assignment; its slot does.
_set_random = Context.__dict__["_random"].__set__


def _in_utc(now: object) -> datetime:
    if not isinstance(now, datetime) or now.utcoffset() is None:
        raise InvalidArgument("Context", "now", "an aware datetime, or None", now)
    return now if now.tzinfo is UTC else now.astimezone(UTC)


def _checked(children: object) -> Map[str, Address]:
    if not isinstance(children, Mapping) or not all(
        isinstance(tag, str) and isinstance(child, Address) for tag, child in children.items()
    ):
        raise InvalidArgument("Context", "children", "a mapping of tags to Address values", children)
    return Map(children)


def chance_of(context: Context) -> tuple[Any, ...] | None:
    """The state that chance is in; `None` while nobody has asked for any."""
    return None if context._random is None else context._random.getstate()


def rewind(context: Context, chance: tuple[Any, ...] | None) -> None:
    """Sets chance back to a state that it was in."""
    if context._random is not None:
        if chance is None:
            context._random.seed(context.seed)
        else:
            context._random.setstate(chance)
