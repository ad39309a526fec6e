from __future__ import annotations

import math
from typing import final

import attrs

from ..errors import InvalidArgument

__all__ = ["Durable"]


@final
@attrs.frozen(kw_only=True)
class Durable:
    """How an agent's turns are kept, for `durable=` of a class or of an `AgentSpec`; `True` stands for the defaults.

    Args:
        snapshot_every: a snapshot of the state is stored every so many turns, which bounds the time that a
            restore takes.
        max_deliveries: how often a stored signal is tried before it goes to the dead letters.
        keep: for how many seconds turns are kept after they were taken; for ever by default. The state and
            what is still open are always kept.
        dedupe_for: for how many seconds the ids of handled signals are remembered.
        keep_turns: how many turns are kept at most, beside those that a restore needs; all by default.

    Raises:
        InvalidArgument: one of these is no number, or too small.
    """

    snapshot_every: int = 100
    max_deliveries: int = 2
    keep: float = math.inf
    dedupe_for: float = 3600.0
    keep_turns: int | None = None

    def __attrs_post_init__(self) -> None:
        for field in ("snapshot_every", "max_deliveries"):
            count = getattr(self, field)
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise InvalidArgument("Durable", field, "an int of at least 1", count)
        for field in ("keep", "dedupe_for"):
            seconds = getattr(self, field)
            if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not seconds >= 0:
                raise InvalidArgument("Durable", field, "seconds, at least 0", seconds)
        turns = self.keep_turns
        if turns is not None and (not isinstance(turns, int) or isinstance(turns, bool) or turns < 0):
            raise InvalidArgument("Durable", "keep_turns", "an int of at least 0, or None", turns)
