from __future__ import annotations

from typing import Final, TypeVar, final
from urllib.parse import quote, unquote

import attrs

from ..agents import Address, AgentError
from ..errors import InvalidArgument

__all__ = ["AgentKey", "about", "directive_id", "parse_directive_id", "place_of"]

E = TypeVar("E", bound=AgentError)

_NO_PARTITION: Final = "-"


@final
@attrs.frozen(cache_hash=True)
class AgentKey:
    """Under what an agent is stored.

    Args:
        runtime: the name of the runtime that it belongs to.
        partition: the part of it; `None` for the one without a name.
        id: the agent's id.

    Raises:
        InvalidArgument: one of these is no text, or empty.
    """

    runtime: str
    partition: str | None
    id: str

    def __attrs_post_init__(self) -> None:
        for field, value in (("runtime", self.runtime), ("id", self.id)):
            if not isinstance(value, str) or not value:
                raise InvalidArgument("AgentKey", field, "a non-empty string", value)
        if self.partition is not None and (not isinstance(self.partition, str) or not self.partition):
            raise InvalidArgument("AgentKey", "partition", "a non-empty string, or None", self.partition)

    @property
    def address(self) -> Address:
        """Where the agent is to be found within its runtime."""
        return Address(self.id, self.partition)

    @property
    def order(self) -> tuple[str, str, str]:
        """What keys are sorted by: text of the runtime, the partition (none is empty) and the id, by code point."""
        return self.runtime, self.partition or "", self.id

    def __str__(self) -> str:
        """`runtime/partition/id`, each percent-encoded; `-` stands for no partition."""
        partition = _NO_PARTITION if self.partition is None else _quoted(self.partition)
        return f"{_quoted(self.runtime)}/{partition}/{_quoted(self.id)}"


def about(error: E, key: AgentKey) -> E:
    """The error, saying which agent it is about."""
    error.address = key.address
    return error


def directive_id(key: AgentKey, sequence: int, index: int) -> str:
    """The id of a directive, the same in every life: `runtime/partition/agent/sequence/index`.

    Args:
        key: the agent that asked for it.
        sequence: the turn in which it did.
        index: its place among the directives of the turn; the first is 0.
    """
    return f"{key}/{sequence}/{index}"


def parse_directive_id(id: str) -> tuple[AgentKey, int, int]:
    """What an id of a directive is made of.

    Raises:
        InvalidArgument: it is no such id.
    """
    parts = id.split("/") if isinstance(id, str) else []
    if len(parts) != 5:
        raise InvalidArgument("parse_directive_id", "id", "runtime/partition/agent/sequence/index", id)
    runtime, partition, agent = (unquote(part) for part in parts[:3])
    key = AgentKey(runtime, None if parts[1] == _NO_PARTITION else partition, agent)
    return key, *place_of(id)


def place_of(id: str) -> tuple[int, int]:
    """Turn and place of a directive within its agent, of its id.

    Raises:
        InvalidArgument: it is no such id.
    """
    try:
        _, sequence, index = id.rsplit("/", 2)
        return int(sequence), int(index)
    except (AttributeError, ValueError):
        raise InvalidArgument("directive", "id", "runtime/partition/agent/sequence/index", id) from None


def _quoted(part: str) -> str:
    return "%2D" if part == _NO_PARTITION else quote(part, safe="")
