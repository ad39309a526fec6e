from __future__ import annotations

from ..errors import DefinitionError, InvalidArgument, PrunellaError

__all__ = ["DecodeError", "InvalidPattern", "InvalidSignal", "PayloadTooLarge", "SignalError", "Words"]


class SignalError(PrunellaError):
    """Whatever is wrong with a signal, a pattern or a document."""


class InvalidSignal(SignalError, InvalidArgument):
    """An attribute of a signal, or a place in its data, is not what it must be.

    Args:
        owner: what was being made, as the user wrote it ("Signal 'ticket.opened'").
        field: the attribute, or the path in the data (`data.items[3]`).
        expected: what would have been right, in words.
        got: the value that came; for a place in the data its type, so that no payload gets into a log.
    """


class InvalidPattern(SignalError, DefinitionError, ValueError):
    """A pattern breaks the grammar; raised when the route is made.

    Args:
        pattern: the pattern as it came.
        problem: what is wrong with it.
    """

    def __init__(self, pattern: object, problem: str) -> None:
        super().__init__(pattern, problem)
        self.pattern = pattern
        self.problem = problem

    def __str__(self) -> str:
        return f"pattern {repr(self.pattern)[:100]}: {self.problem}"


class DecodeError(SignalError, ValueError):
    """A document from outside is no signal. Neither message nor attributes hold any of its payload.

    Args:
        path: where in the document: `time`, `data.items[3]`, `[2].id` in a batch, empty for the document
            itself.
        problem: what was expected there, and what kind of thing came.
    """

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"cannot decode {self.path or 'the document'}: {self.problem}"


class PayloadTooLarge(SignalError, ValueError):
    """A document is larger than the limit, on its way in or out.

    Args:
        size: its size in bytes; of a document that was given up before it was written, what it would have had
            at least.
        limit: the limit in bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return f"a document of {self.size} bytes is over the limit of {self.limit} bytes"


def kind(value: object) -> Words:
    """The type of a value, for an error about one that may be secret."""
    return Words("None" if value is None else f"a value of type {type(value).__name__}")


class Words:
    """What came, in words: an error shows them in the place of the value itself."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text
