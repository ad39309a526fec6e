from __future__ import annotations

from ..errors import PrunellaError

__all__ = [
    "AlreadyStored",
    "CommitFailed",
    "Duplicate",
    "HistoryGone",
    "InvalidDump",
    "StorageError",
    "StorageUnavailable",
]


class StorageError(PrunellaError):
    """A storage did not do what it was asked for. Where it is not more special, nothing was changed.

    Args:
        problem: what is wrong, in words.
    """

    def __init__(self, problem: str = "the storage did not do what it was asked for") -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class StorageUnavailable(StorageError):
    """The storage is not open, cannot be reached, or is kept busy by others. Nothing was changed; try again later."""

    def __init__(self, problem: str = "the storage cannot be reached") -> None:
        super().__init__(problem)


class AlreadyStored(StorageError):
    """An agent is stored under the key that another one was to get. Nothing was changed.

    Args:
        key: of both, as text.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"there is an agent {key} already")
        self.key = key


class CommitFailed(StorageError):
    """A write was not acknowledged.

    Args:
        problem: what is wrong, in words.
        in_doubt: whether it may have been written all the same. Whoever wrote reads the agent's last sequence before
            writing again.
        found: the last sequence that is stored, where the write named another one.
    """

    def __init__(
        self, problem: str = "the write was not acknowledged", *, in_doubt: bool = False, found: int | None = None
    ) -> None:
        super().__init__(problem)
        self.in_doubt = in_doubt
        self.found = found

    def __str__(self) -> str:
        return f"{self.problem}; it may have been written all the same" if self.in_doubt else self.problem


class Duplicate(StorageError):
    """The agent has handled a signal of this id before; nothing was written.

    Args:
        signal_id: the id.
        sequence: the turn that handled it.
    """

    def __init__(self, signal_id: str, sequence: int) -> None:
        super().__init__(f"signal {signal_id!r} was handled in turn {sequence}")
        self.signal_id = signal_id
        self.sequence = sequence


class HistoryGone(StorageError):
    """What was asked for is older than what retention has left.

    Args:
        oldest: the first turn whose state can still be told.
    """

    def __init__(self, oldest: int) -> None:
        super().__init__(f"turns before {oldest} are kept no longer")
        self.oldest = oldest


class InvalidDump(StorageError):
    """Lines that are to be imported are not what was exported.

    Args:
        line: which of them, the first being 1.
        problem: what is wrong with it, in words.
    """

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line
