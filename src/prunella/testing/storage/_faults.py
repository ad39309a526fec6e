from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

import attrs
import trio

from ...errors import InvalidArgument
from ...storage import CommitFailed, Storage, StorageUnavailable

__all__ = ["Fault", "FaultKind", "FaultyStorage"]


class FaultKind(StrEnum):
    """What goes wrong."""

    UNAVAILABLE = "unavailable"
    """`StorageUnavailable`, and nothing was done."""
    FULL_DISK = "full_disk"
    """`CommitFailed`, and nothing was done."""
    LOST_REQUEST = "lost_request"
    """`CommitFailed` that is in doubt; nothing was done."""
    LOST_ANSWER = "lost_answer"
    """`CommitFailed` that is in doubt; it was done."""
    ERROR_AFTER = "error_after"
    """`StorageUnavailable`, although it was done: what a storage must not do, and a careful user survives."""
    DELAY = "delay"
    """It is done `delay` seconds later."""


def _kind(kind: object) -> FaultKind:
    try:
        return FaultKind(str(kind))
    except ValueError:
        kinds = ", ".join(repr(str(kind)) for kind in FaultKind)
        raise InvalidArgument("Fault", "kind", f"one of {kinds}", kind) from None


@final
@attrs.frozen
class Fault:
    """One call that goes wrong.

    Args:
        method: the name of the method, or `"*"` for any that is no reading of properties.
        kind: what goes wrong.
        call: which of the calls that it is about, the first being 1; `None` for each.
        delay: in seconds, for `delay`.
        error: raised instead of the error that belongs to the kind.
        when: asked with the arguments of the call, as a tuple and a dict; calls for which it is false are not counted.

    Raises:
        InvalidArgument: a storage has no such method, or there is no such kind.
    """

    method: str
    kind: FaultKind = attrs.field(converter=_kind)
    call: int | None = 1
    delay: float = 0.0
    error: Exception | None = None
    when: Callable[[tuple[Any, ...], dict[str, Any]], object] | None = None

    def __attrs_post_init__(self) -> None:
        if self.method != "*" and self.method not in _METHODS:
            raise InvalidArgument("Fault", "method", f"'*' or one of {', '.join(_METHODS)}", self.method)
        if self.call is not None and (not isinstance(self.call, int) or self.call < 1):
            raise InvalidArgument("Fault", "call", "an int of at least 1, or None", self.call)


_METHODS = (
    *("open", "close", "claim", "renew", "release", "record", "find", "agents", "load", "forget"),
    *("append", "commits", "snapshot", "handled", "enqueue", "take", "open_directives", "outbox", "due"),
    *("dead_letters", "redrive", "discard", "trim", "runtimes", "dump", "insert"),
)


@final
class FaultyStorage:
    """A storage around another one, some calls of which go wrong. All else is done by the other one.

    Args:
        storage: the other one.
        faults: what goes wrong; the first that fits a call counts. `faults` may be changed at any time.

    Attributes:
        calls: the names of the methods that were called, in order.
        users: the names of the runtimes that use it.
    """

    def __init__(self, storage: Storage, faults: Iterable[Fault] = ()) -> None:
        self.storage = storage
        self.faults = list(faults)
        self.calls: list[str] = []
        self.users: set[str] = set()
        self._counts: dict[int, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether the other one can be used."""
        return self.storage.is_open

    @property
    def is_exclusive(self) -> bool:
        """Whether who opened it wants to be its only user."""
        return self.storage.is_exclusive

    @property
    def path(self) -> Path | None:
        """Where the other one keeps its file, if it has one."""
        path = getattr(self.storage, "path", None)
        return path if isinstance(path, Path) else None

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    if TYPE_CHECKING:  # what `_faulty` makes of them
        open: Any
        close: Any
        claim: Any
        renew: Any
        release: Any
        record: Any
        find: Any
        agents: Any
        load: Any
        forget: Any
        append: Any
        commits: Any
        snapshot: Any
        handled: Any
        enqueue: Any
        take: Any
        open_directives: Any
        outbox: Any
        due: Any
        dead_letters: Any
        redrive: Any
        discard: Any
        trim: Any
        runtimes: Any
        dump: Any
        insert: Any

    async def _run(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.calls.append(method)
        fault = self._fault(method, args, kwargs)
        do = getattr(self.storage, method)
        if fault is None:
            return await do(*args, **kwargs)
        if fault.kind is FaultKind.DELAY:
            await trio.sleep(fault.delay)
            return await do(*args, **kwargs)
        if fault.kind in (FaultKind.LOST_ANSWER, FaultKind.ERROR_AFTER):
            await do(*args, **kwargs)
        else:
            await trio.lowlevel.checkpoint()
        raise fault.error or _error(fault.kind)

    def _fault(self, method: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Fault | None:
        found: Fault | None = None
        for place, fault in enumerate(self.faults):
            if fault.method not in ("*", method) or (fault.when is not None and not fault.when(args, kwargs)):
                continue
            count = self._counts[place] = self._counts.get(place, 0) + 1
            if found is None and fault.call in (None, count):
                found = fault
        return found


def _error(kind: FaultKind) -> Exception:
    if kind is FaultKind.FULL_DISK:
        return CommitFailed("the disk is full (on purpose)")
    if kind in (FaultKind.LOST_REQUEST, FaultKind.LOST_ANSWER):
        return CommitFailed("the connection was lost (on purpose)", in_doubt=True)
    return StorageUnavailable("the storage is away (on purpose)")


def _faulty(name: str) -> Any:
    async def method(self: FaultyStorage, *args: Any, **kwargs: Any) -> Any:
        return await self._run(name, args, kwargs)

    method.__name__ = name
    method.__qualname__ = f"FaultyStorage.{name}"
    method.__doc__ = f"See `Storage.{name}`."
    return method


for _name in _METHODS:
    setattr(FaultyStorage, _name, _faulty(_name))
