"""What supervisors refuse or fail at. Every one is a `SupervisionError`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidArgument, PrunellaError

if TYPE_CHECKING:
    from ._info import ChildInfo
    from ._reasons import ExitReason

__all__ = [
    "AlreadyPresent",
    "AlreadyRegistered",
    "AlreadyStarted",
    "ChildNotFound",
    "ChildRestarting",
    "ChildRunning",
    "InvalidSpec",
    "NotInAChild",
    "NotRegistered",
    "StaleLife",
    "StartFailed",
    "SupervisionError",
    "SupervisorFailed",
    "SupervisorStopped",
    "TooManyChildren",
]


class SupervisionError(PrunellaError):
    """The root of what supervision raises."""


class InvalidSpec(SupervisionError, InvalidArgument):
    """A spec, or another argument of supervision, is wrong; raised when it is made."""


class _AboutAChild(SupervisionError):
    _says = "{id}"

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id

    def __str__(self) -> str:
        return self._says.format(id=repr(self.id))


class ChildNotFound(_AboutAChild):
    """The supervisor has no child of that name (OTP's ``not_found``)."""

    _says = "there is no child {id}"


class ChildRunning(_AboutAChild):
    """The child runs; terminate it first (OTP's ``running``)."""

    _says = "child {id} is running: terminate it first"


class ChildRestarting(_AboutAChild):
    """The child waits for its restart; terminate it first (OTP's ``restarting``)."""

    _says = "child {id} is waiting for its restart: terminate it first"


class AlreadyPresent(_AboutAChild):
    """A child of that id is there and does not run; restart or delete it (OTP's ``already_present``)."""

    _says = "child {id} is already present and does not run: restart or delete it"


class AlreadyStarted(_AboutAChild):
    """A child of that id runs (OTP's ``already_started``).

    Attributes:
        child: the `ChildInfo` of the one that runs.
    """

    _says = "child {id} is already started"

    def __init__(self, id: str, child: ChildInfo) -> None:
        super().__init__(id)
        self.child = child


class TooManyChildren(SupervisionError):
    """A dynamic supervisor has as many children as it may (Elixir's ``max_children``)."""

    def __init__(self, id: str, limit: float) -> None:
        super().__init__(id, limit)
        self.id = id
        self.limit = limit

    def __str__(self) -> str:
        return f"supervisor {self.id!r} has its {self.limit:g} children"


class StartFailed(SupervisionError):
    """A child ended before it had started; its own exception is the `__cause__`.

    Attributes:
        id: the path of the child from the root of its tree ("workers/w1").
        reason: how it ended.
    """

    def __init__(self, id: str, reason: ExitReason) -> None:
        super().__init__(id, reason)
        self.id = id
        self.reason = reason

    def __str__(self) -> str:
        from ._reasons import summary

        return f"child {self.id!r} failed to start: {summary(self.reason)}"


class SupervisorFailed(SupervisionError):
    """A supervisor gave up: its children crashed more often than its window allows.

    Attributes:
        id: the supervisor.
        child: the path of the child over which it gave up.
        reason: that child's last exit reason.
    """

    def __init__(self, id: str, child: str, reason: ExitReason) -> None:
        super().__init__(id, child, reason)
        self.id = id
        self.child = child
        self.reason = reason

    def __str__(self) -> str:
        from ._reasons import summary

        return f"supervisor {self.id!r} gave up over child {self.child!r}: {summary(self.reason)}"


class SupervisorStopped(SupervisionError):
    """The supervisor has ended, or has no life at present (OTP's ``noproc``)."""

    def __init__(self, id: str) -> None:
        super().__init__(id)
        self.id = id

    def __str__(self) -> str:
        return f"supervisor {self.id!r} has stopped"


class AlreadyRegistered(SupervisionError):
    """The key of a unique registry is taken (OTP's ``already_registered``).

    Attributes:
        key: the key.
        owner: the `ChildInfo` of the one that holds it.
    """

    def __init__(self, key: object, owner: ChildInfo) -> None:
        super().__init__(key, owner)
        self.key = key
        self.owner = owner

    def __str__(self) -> str:
        return f"key {self.key!r} is already registered by child {self.owner.id!r}"


class NotRegistered(SupervisionError, KeyError):
    """The child does not hold the key, so there is no value of its own to update."""

    def __init__(self, key: object) -> None:
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return f"key {self.key!r} is not registered by this child"


class NotInAChild(SupervisionError):
    """What was called acts for the child in whose context it is called, and there is none."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return f"{self.what} works only inside a supervised child, or in a task that one spawned"


class StaleLife(SupervisionError):
    """A life that was declared unresponsive tried to act under its old identity."""

    def __init__(self, id: str, what: str) -> None:
        super().__init__(id, what)
        self.id = id
        self.what = what

    def __str__(self) -> str:
        return f"{self.what}: this life of child {self.id!r} was declared unresponsive and no longer counts"
