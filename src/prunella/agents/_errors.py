"""What callers of agents hear, and what is wrong with an agent's code. One family each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..conversion import Map
from ..errors import InvalidArgument, PrunellaError
from ..signals import InvalidSignal, check_data

if TYPE_CHECKING:
    from ._address import Address

__all__ = [
    "AgentCrashed",
    "AgentError",
    "AgentNotFound",
    "AgentStopped",
    "Diverged",
    "Fenced",
    "ImpureHandler",
    "InvalidResult",
    "InvalidSignalData",
    "MailboxFull",
    "NoReply",
    "NotSerialisable",
    "Rejected",
    "RestoreFailed",
    "UnhandledSignal",
]


class AgentError(PrunellaError):
    """What callers of agents hear.

    Attributes:
        address: of the agent that it is about; `None` where no runtime is involved.
    """

    address: Address | None = None


class AgentNotFound(AgentError):
    """There is no agent of this id, and never was.

    Args:
        id: the id as it was asked for.
    """

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id

    def __str__(self) -> str:
        return f"there is no agent {self.id!r}"


class AgentStopped(AgentError):
    """The agent has ended for good, so nothing will be handled any more.

    Args:
        reason: its exit reason.
    """

    def __init__(self, reason: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{_agent(self)} has stopped{_because(self.reason)}"


class AgentCrashed(AgentError):
    """The turn that this caller caused crashed; nothing of it was kept.

    Args:
        reason: the exit reason of the life that ended.
    """

    def __init__(self, reason: Any = None) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{_agent(self)} crashed{_because(self.reason)}"


class MailboxFull(AgentError):
    """The agent's mailbox has no room, and the caller did not want to wait.

    Args:
        size: how many signals it holds.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.size = size

    def __str__(self) -> str:
        return f"the mailbox of {_agent(self)} is full with {self.size} signals"


class UnhandledSignal(AgentError):
    """No handler of the agent takes this signal. The state stays; it is no crash.

    Args:
        agent: the name of the agent's class.
        signal_type: the type that nobody handles.
    """

    def __init__(self, agent: str, signal_type: str) -> None:
        super().__init__(agent, signal_type)
        self.agent = agent
        self.signal_type = signal_type

    def __str__(self) -> str:
        return f"no handler of {self.agent} takes {self.signal_type!r}"


class InvalidSignalData(AgentError, ValueError):
    """The data of a signal does not fit the parameters of a handler. The state stays; it is no crash.

    Args:
        handler: the handler, as `Support.opened`.
        signal_type: the type of the signal.
        path: where in the data: `customer.visits[2]`; empty for data as a whole.
        expected: what would have fitted, in words.
        got: the name of the type that came, never the value; "nothing" where it is missing.
    """

    def __init__(self, handler: str, signal_type: str, path: str, expected: str, got: str) -> None:
        super().__init__(handler, signal_type, path, expected, got)
        self.handler = handler
        self.signal_type = signal_type
        self.path = path
        self.expected = expected
        self.got = got

    def __str__(self) -> str:
        where = f"{self.path} in the data" if self.path else "the data"
        return f"{self.handler}: {where} of {self.signal_type!r}: expected {self.expected}, got {self.got}"


class Rejected(AgentError):
    """Raised by a handler to refuse the signal: the whole turn is taken back, and the caller hears this.

    It is no crash. It may be subclassed.

    Args:
        reason: why, for the caller.
        details: more about it, as plain data.

    Raises:
        InvalidArgument: the reason is no text, or the details are no plain data.
    """

    def __init__(self, /, reason: str, **details: Any) -> None:
        if not isinstance(reason, str):
            raise InvalidArgument(type(self).__name__, "reason", "text", reason)
        super().__init__(reason)
        self.reason = reason
        self.details = checked_details(type(self).__name__, details)

    def __str__(self) -> str:
        return self.reason


def checked_details(owner: str, details: dict[str, Any]) -> Map[str, Any]:
    """The details of a refusal.

    Raises:
        InvalidArgument: they are no plain data.
    """
    try:
        check_data(details, owner=owner)
    except InvalidSignal as error:
        path = error.field.removeprefix("data")
        raise InvalidArgument(owner, f"details{path}", error.expected, error.got) from None
    return Map(details)


class NoReply(AgentError):
    """Nothing that could still reply to this ask is waiting, running or scheduled."""

    def __str__(self) -> str:
        return f"{_agent(self)} did not reply"


class Fenced(AgentError):
    """Another owner has claimed the agent; what this one would have written was refused."""

    def __str__(self) -> str:
        return f"{_agent(self)} was claimed by another owner"


class RestoreFailed(AgentError):
    """The stored state of the agent cannot be read; it was left as it is.

    Args:
        problem: what is wrong, in words.
        path: where in the state, if it is at a certain place.
        stored_version: the version that was stored, if it could be read.
        version: the version of the class.
    """

    def __init__(
        self, problem: str, *, path: str = "", stored_version: int | None = None, version: int | None = None
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path
        self.stored_version = stored_version
        self.version = version

    def __str__(self) -> str:
        where = f" at {self.path}" if self.path else ""
        versions = "" if self.stored_version is None else f" (stored {self.stored_version}, class {self.version})"
        return f"the state of {_agent(self)} cannot be restored{where}: {self.problem}{versions}"


class InvalidResult(PrunellaError):
    """A handler returned what is no result; a crash.

    Args:
        handler: the handler, as `Support.opened`.
        problem: what is wrong with what came, in words.
    """

    def __init__(self, handler: str, problem: str) -> None:
        super().__init__(handler, problem)
        self.handler = handler
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.handler} {self.problem}"


class ImpureHandler(PrunellaError):
    """Strict mode ran a handler twice, and it did not do the same; a crash.

    Args:
        handler: the handler, as `Support.opened`.
        subject: what differs: a field, a directive, the signal's data.
        first, second: the types of the two values.
    """

    def __init__(self, handler: str, subject: str, first: str, second: str) -> None:
        super().__init__(handler, subject, first, second)
        self.handler = handler
        self.subject = subject
        self.first = first
        self.second = second

    def __str__(self) -> str:
        return (
            f"{self.handler} is not pure: {self.subject} differs between two runs ({self.first}, then {self.second}); "
            "time, chance and ids come from the Context, and nothing that was handed in may be changed"
        )


class NotSerialisable(PrunellaError):
    """A directive cannot be written as data.

    Args:
        directive: the name of its class.
        field: the field that cannot.
        problem: where in it, and why.
    """

    def __init__(self, directive: str, field: str, problem: str) -> None:
        super().__init__(directive, field, problem)
        self.directive = directive
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.directive} cannot be written as data: {self.field}{self.problem}"


class Diverged(PrunellaError):
    """A recorded turn, run again, came out differently.

    Args:
        sequence: of the turn.
        fields: what differs: names of fields of the state, `directives`, `outcome`.
    """

    def __init__(self, sequence: int, fields: tuple[str, ...]) -> None:
        super().__init__(sequence, fields)
        self.sequence = sequence
        self.fields = fields

    def __str__(self) -> str:
        return f"turn {self.sequence} came out differently: {', '.join(self.fields)}"


def _agent(error: AgentError) -> str:
    return "the agent" if error.address is None else f"agent {str(error.address)!r}"


def _because(reason: object) -> str:
    return "" if reason is None else f": {reason}"
