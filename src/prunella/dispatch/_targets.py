from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from enum import StrEnum
from types import CoroutineType, FunctionType
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar, final, runtime_checkable

import attrs
import trio

from ..errors import InvalidArgument
from ..signals import Signal
from ..supervision import Registry
from ._errors import DispatchError, Reason
from ._http_targets import HTTPTarget
from ._shown import shown

__all__ = [
    "ChannelTarget",
    "ConsoleTarget",
    "Destination",
    "FunctionTarget",
    "LogLevel",
    "LoggerTarget",
    "NamedTarget",
    "NoopTarget",
    "Target",
    "as_target",
]

T = TypeVar("T")

_LONGEST_DATA: Final = 10_000
_GENERATORS: Final = inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR

logger = logging.getLogger("prunella.dispatch")


@runtime_checkable
class Target(Protocol):
    """What signals can be sent to; write one of your own by writing this method.

    Make it a frozen value that checks its arguments when it is made. Equal targets share one queue.
    """

    async def deliver(self, signal: Signal) -> None:
        """Returns when the signal is delivered; raises what stood in the way.

        It runs in the task of the caller of `dispatch` (or in a child of that task), under the deadlines of
        that caller. A `DispatchError` about this very target reaches the caller as it is, any other exception
        as the cause of one whose reason is `raised`.
        """


@final
@attrs.frozen
class FunctionTarget:
    """Calls a function with the signal; what it returns is dropped.

    The next signal for it waits until it has returned. So a function that dispatches to its own target waits
    for itself: within one task that is refused, over several tasks only a deadline ends it.

    Args:
        function: a function of one signal, sync or async. A sync one must be quick: nothing else runs.

    Raises:
        InvalidArgument: it cannot be called, or calling it would do nothing (a class, a generator function).
    """

    _dispatch_kind: ClassVar[str] = "function"
    _written_fields: ClassVar[tuple[str, ...]] = ("function",)

    function: Callable[[Signal], object]

    def __attrs_post_init__(self) -> None:
        function = self.function
        if function.__class__ is FunctionType:
            if not function.__code__.co_flags & _GENERATORS:
                return
        elif callable(function) and not inspect.isclass(function):
            # The attribute is wanted, not whether there is one.
            called = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
            if not inspect.isgeneratorfunction(called) and not inspect.isasyncgenfunction(called):
                return
        raise InvalidArgument("FunctionTarget", "function", "a function of one signal, sync or async", function)

    def __str__(self) -> str:
        return shown(self.function)

    async def deliver(self, signal: Signal) -> None:
        """Calls the function, and awaits what it returns if it is async."""
        result = self.function(signal)
        if result is not None and (result.__class__ is CoroutineType or inspect.isawaitable(result)):
            await result


@final
@attrs.frozen
class ChannelTarget:
    """Sends the signal into a channel, and waits while the channel is full.

    Args:
        send_channel: the sending side, of `trio.open_memory_channel` or of your own.

    Raises:
        InvalidArgument: it is none.
    """

    _dispatch_kind: ClassVar[str] = "channel"

    send_channel: trio.abc.SendChannel[Signal]

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.send_channel, trio.abc.SendChannel):
            raise InvalidArgument("ChannelTarget", "send_channel", "a trio.abc.SendChannel", self.send_channel)

    def __str__(self) -> str:
        return f"channel {type(self.send_channel).__qualname__}"

    async def deliver(self, signal: Signal) -> None:
        """Sends it.

        Raises:
            DispatchError: one of the sides is closed.
        """
        channel = self.send_channel
        try:
            if isinstance(channel, trio.MemorySendChannel):
                try:
                    channel.send_nowait(signal)
                except trio.WouldBlock:
                    pass
                else:
                    return
            await channel.send(signal)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as error:
            raise DispatchError(self, Reason.CLOSED) from error


@final
@attrs.frozen
class NamedTarget:
    """Sends the signal to whatever is registered under a name at that moment.

    The value of the entry is the target: a child registers a channel, a function, the ref of an agent or a target of
    its own. Where
    several hold the key, the first gets the signal.

    Args:
        registry: the registry to look in.
        key: the key.

    Raises:
        InvalidArgument: what came is no `Registry`, or the key cannot be one.
    """

    _dispatch_kind: ClassVar[str] = "named"

    registry: Registry[Any]
    key: Any

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.registry, Registry):
            raise InvalidArgument("NamedTarget", "registry", "a Registry", self.registry)
        try:
            hash(self.key)
        except TypeError:
            raise InvalidArgument("NamedTarget", "key", "a hashable value", self.key) from None

    def __str__(self) -> str:
        return f"name {repr(self.key)[:100]}"

    async def deliver(self, signal: Signal) -> None:
        """Looks up who holds the name, and delivers there.

        Raises:
            DispatchError: nobody holds it (`unreachable`), or what stands there is closed.
            InvalidArgument: what stands there is nothing that a signal can be sent to.
        """
        entries = self.registry.lookup(self.key)
        if not entries:
            raise DispatchError(self, Reason.UNREACHABLE)
        target = as_target(entries[0].value)
        if not isinstance(target, Target):
            raise InvalidArgument(f"NamedTarget {self.key!r}", "value", "a target without a connection", target)
        try:
            await target.deliver(signal)
        except DispatchError as error:
            if error.target is target:
                error.target = self
            raise


class LogLevel(StrEnum):
    """How loud a `LoggerTarget` is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


_LEVELS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
    LogLevel.CRITICAL: logging.CRITICAL,
}


def _level(level: Any) -> LogLevel:
    try:
        return LogLevel(level)
    except ValueError:
        raise InvalidArgument("LoggerTarget", "level", "debug, info, warning, error or critical", level) from None


@final
@attrs.frozen
class LoggerTarget:
    """Writes one line about the signal to the logger `prunella.dispatch`.

    Args:
        level: `debug`, `info`, `warning`, `error` or `critical`.
        include_data: whether the line has the signal's data, of which at most 10 000 characters.

    Raises:
        InvalidArgument: there is no such level.
    """

    _dispatch_kind: ClassVar[str] = "logger"
    _written_fields: ClassVar[tuple[str, ...]] = ("level", "include_data")

    level: LogLevel = attrs.field(default=LogLevel.INFO, converter=_level)
    include_data: bool = False

    def __str__(self) -> str:
        return f"logger {self.level}"

    async def deliver(self, signal: Signal) -> None:
        """Writes the line."""
        logger.log(_LEVELS[self.level], "%s", _Line(signal, self.include_data))


@final
@attrs.frozen
class ConsoleTarget:
    """Prints one line about the signal.

    Args:
        include_data: whether the line has the signal's data, of which at most 10 000 characters.
    """

    _dispatch_kind: ClassVar[str] = "console"
    _written_fields: ClassVar[tuple[str, ...]] = ("include_data",)

    include_data: bool = False

    def __str__(self) -> str:
        return "console"

    async def deliver(self, signal: Signal) -> None:
        """Prints the line."""
        print(_Line(signal, self.include_data))


@final
@attrs.frozen
class NoopTarget:
    """Takes every signal and does nothing with it."""

    _dispatch_kind: ClassVar[str] = "noop"
    _written_fields: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return "noop"

    async def deliver(self, signal: Signal) -> None:
        """Does nothing."""


class _Line:
    """One line about a signal, written when somebody reads it. Text of the signal is quoted: it may say anything."""

    __slots__ = ("include_data", "signal")

    def __init__(self, signal: Signal, include_data: bool) -> None:
        self.signal = signal
        self.include_data = include_data

    def __str__(self) -> str:
        if not self.include_data:
            return repr(self.signal)
        data = repr(self.signal.data)
        if len(data) > _LONGEST_DATA:
            data = f"{data[: _LONGEST_DATA - 1]}…"
        return f"{self.signal!r} {data}"


Destination: TypeAlias = "Target | HTTPTarget | Callable[[Signal], object] | trio.abc.SendChannel[Signal]"
"""Whatever a signal can be dispatched to: a target, or what stands for itself."""


def as_target(destination: Any) -> Target | HTTPTarget:
    """The target that `destination` is, or stands for.

    Raises:
        InvalidArgument: it is nothing that a signal can be sent to.
    """
    kind = destination.__class__
    if kind is FunctionType:
        return FunctionTarget(destination)
    if kind in _OURS or isinstance(destination, HTTPTarget):
        ours: Target | HTTPTarget = destination
        return ours
    if isinstance(destination, type):
        raise InvalidArgument("dispatch", "target", "an object that signals can be sent to, not a class", destination)
    deliver = getattr(destination, "deliver", None)
    if inspect.iscoroutinefunction(deliver):
        theirs: Target = destination
        return theirs
    if isinstance(destination, trio.abc.SendChannel):
        return ChannelTarget(destination)
    if callable(destination):
        return FunctionTarget(destination)
    raise InvalidArgument(
        "dispatch",
        "target",
        "a target, a function, a send channel, the ref of an agent, or an object with an async method deliver(signal)",
        type(destination),
    )


_OURS = frozenset({FunctionTarget, ChannelTarget, NamedTarget, LoggerTarget, ConsoleTarget, NoopTarget})
