"""What only the runtime has to say: see `prunella.agents` for what callers of agents hear."""

from __future__ import annotations

from typing import Any

from ..agents import AgentError
from ..storage import StorageError
from ..supervision import AlreadyStarted, InvalidSpec, StartFailed

__all__ = ["DirectiveFailed", "EffectsRunning", "Hibernated", "Overflow", "TooManyWaiters", "error_of_start"]


class DirectiveFailed(AgentError):
    """Directives of a turn could not be executed.

    Attributes:
        failures: the directives that failed, each with its error.
    """

    def __init__(self, failures: tuple[tuple[Any, BaseException], ...]) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        each = "; ".join(f"{type(directive).__name__}: {error}" for directive, error in self.failures)
        return f"{len(self.failures)} of the turn's directives failed: {each}"


class Overflow(AgentError):
    """An agent's outbox holds ten times what it may, so a turn that would add to it is refused.

    Attributes:
        waiting: how many effects would wait, those of the turn included.
        limit: the bound that the agent's spec names.
    """

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(waiting, limit)
        self.waiting = waiting
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.waiting} effects would wait where {self.limit} may: the targets do not keep up"


class TooManyWaiters(AgentError):
    """As many callers wait for one agent's state as may.

    Attributes:
        limit: how many that is.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    def __str__(self) -> str:
        return f"{self.limit} callers wait for this agent's state already"


class EffectsRunning(AgentError):
    """The agent cannot leave memory now: effects of it run.

    Attributes:
        number: how many.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    def __str__(self) -> str:
        return f"agent {self.address} has {self.number} running effects: wait for them, or hibernate it with force=True"


class Hibernated(AgentError):
    """The agent has left memory; the next signal brings it back. A stored state can be read from the storage."""

    def __str__(self) -> str:
        return (
            f"agent {self.address} is hibernated: a signal brings it back; a stored state is read by runtime.state_at()"
        )


def error_of_start(error: BaseException | None) -> Exception | None:
    """Why a start failed, if it did: what the agent or its spec has to say, else that it failed."""
    if isinstance(error, StartFailed) and isinstance(
        error.__cause__, AgentError | InvalidSpec | AlreadyStarted | StorageError
    ):
        return error.__cause__
    assert error is None or isinstance(error, Exception)
    return error
