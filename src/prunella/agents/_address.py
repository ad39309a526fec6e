from __future__ import annotations

from typing import final

import attrs

from ..errors import InvalidArgument

__all__ = ["Address"]


@final
@attrs.frozen
class Address:
    """Where an agent is to be found: a pure value, and a target of every directive that has one.

    Args:
        id: the agent's id, not empty.
        partition: the part of a runtime that the id belongs to; `None` for the one without a name.

    Raises:
        InvalidArgument: an id or a partition is no text, or empty.
    """

    id: str
    partition: str | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidArgument("Address", "id", "a non-empty string", self.id)
        if self.partition is not None and (not isinstance(self.partition, str) or not self.partition):
            raise InvalidArgument("Address", "partition", "a non-empty string, or None", self.partition)

    def __str__(self) -> str:
        return self.id if self.partition is None else f"{self.partition}/{self.id}"
