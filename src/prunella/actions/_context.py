from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

import attrs

from ..conversion import Map

__all__ = ["ActionContext", "IdempotencyKey"]


@final
@attrs.frozen
class ActionContext:
    """What surrounds one attempt; handed to a parameter that is annotated with it.

    Attributes:
        values: what the caller gave as `context=`.
        attempt: the number of the attempt, from 1.
        deadline: when the attempt must be over, in seconds on Trio's clock; infinite if nothing limits it.
    """

    values: Mapping[str, Any] = Map()
    attempt: int = 1
    deadline: float = math.inf


@final
class IdempotencyKey(str):
    """A text that is the same for all attempts of one run, and for no other; handed to a parameter annotated with it.

    To give to a service that does a thing once however often it is asked.
    """

    __slots__ = ()
