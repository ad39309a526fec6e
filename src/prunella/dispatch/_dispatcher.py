from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, NoReturn, final

import attrs
import trio

from .._time import Pace, WallClock
from ..conversion import Map
from ..errors import InvalidArgument, PrunellaError, check_iterable
from ..signals import Signal
from ..telemetry import Listener, Listeners
from ..telemetry._enclosing import listeners_here
from ._breaker import CircuitBreaker
from ._delivery import Delivery, Span
from ._errors import DispatchError, Reason
from ._http_targets import HTTPTarget
from ._lanes import LaneFull, Lanes
from ._secrets import Secrets, SecretSource
from ._sender import HTTPSender
from ._targets import Destination, FunctionTarget, Target, as_target

__all__ = ["DispatchResult", "Dispatcher", "deliver", "open_dispatcher"]

_BREAKER: Final = CircuitBreaker()
_NO_SECRETS: Final[Map[str, bytes]] = Map()


@final
@attrs.frozen
class DispatchResult:
    """What became of one target of `Dispatcher.dispatch_all`.

    Attributes:
        target: the target, as the caller named it.
        error: why it did not get the signal; None if it did.
        attempts: how many attempts were made.
    """

    target: Any
    error: PrunellaError | None = None
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether the signal was delivered."""
        return self.error is None


@final
class Dispatcher:
    """Delivers signals to targets; `open_dispatcher` makes one.

    It has no tasks of its own: a delivery runs in the task that asks for it, under the deadlines of that task, and
    ends with it. Signals to equal targets arrive one after another, in the order of the calls; other targets never
    wait for them.

    Attributes:
        telemetry: its listeners; `telemetry.subscribe(listener)` adds one for a block.
    """

    def __init__(self, telemetry: Listeners, sender: HTTPSender) -> None:
        self.telemetry = telemetry
        self._sender = sender
        self._lanes = Lanes()
        self._pace = Pace()
        self._closed = False

    async def dispatch(self, signal: Signal, target: Destination) -> None:
        """Delivers a signal to one target, and returns when it has arrived.

        Its place in the order is that of the call, however long it then has to wait. Whether the caller has been
        cancelled is checked each time; to a target that does not wait it yields to other tasks now and then (at the
        64th time, or after a millisecond), not every time.

        Args:
            signal: the signal.
            target: a target, or what stands for itself: a function, a send channel, an `AgentRef`, an object with
                ``async deliver(signal)``.

        Raises:
            DispatchError: it has not arrived.
            InvalidArgument: `signal` is no signal, or `target` nothing that signals can be sent to; or it is a
                target that this task is delivering to already, so that it would wait for itself.
        """
        if signal.__class__ is not Signal:
            raise InvalidArgument("dispatch", "signal", "a Signal", type(signal))
        await self._complete(signal, self._begin(signal, target))

    async def dispatch_all(
        self, signal: Signal, targets: Iterable[Destination], *, max_concurrency: int = 8
    ) -> tuple[DispatchResult, ...]:
        """Delivers a signal to many targets at once.

        No target can spoil it for another, and none makes it raise: what went wrong is in the results. Its places in
        the order are all taken when it is called. A target that dispatches, in turn, to another one of the same call
        may have to wait for itself while `max_concurrency` is reached; only a deadline ends that.

        Args:
            signal: the signal.
            targets: the targets, of any kinds.
            max_concurrency: to how many it is delivered at the same time.

        Returns:
            A result for each target, in their order.

        Raises:
            InvalidArgument: `signal` is no signal, `targets` no iterable, or `max_concurrency` no positive int.
        """
        if signal.__class__ is not Signal:
            raise InvalidArgument("dispatch_all", "signal", "a Signal", type(signal))
        if not isinstance(max_concurrency, int) or isinstance(max_concurrency, bool) or max_concurrency < 1:
            raise InvalidArgument("dispatch_all", "max_concurrency", "a positive int", max_concurrency)
        destinations = check_iterable("dispatch_all", "targets", targets, "targets")
        return await _Batch(self, signal).run(destinations, max_concurrency)

    # Nothing is awaited before a ticket is taken: so the order of tickets is that of the calls.

    def _begin(self, signal: Signal, given: Any) -> Delivery:
        target = as_target(given)
        span = Span(self.telemetry, signal, target) if self.telemetry else None
        error: PrunellaError
        if self._closed:
            error = DispatchError(given, Reason.CLOSED, attempts=0)
        else:
            try:
                ticket = self._lanes.enter(_lane_of(target))
            except LaneFull:
                error = DispatchError(given, Reason.OVERLOADED, attempts=0)
            else:
                if ticket.ready or self._lanes.runner(ticket) is not trio.lowlevel.current_task():
                    return Delivery(given, target, ticket, span)
                self._lanes.leave(ticket)
                error = InvalidArgument(
                    "dispatch", "target", "another one than that which this task is delivering to", given
                )
        if span is not None:
            span.fail(error, 0)
        raise error

    async def _complete(self, signal: Signal, delivery: Delivery) -> None:
        """Waits for its turn, delivers, and gives the place up; tells of it, if anybody listens."""
        task = trio.lowlevel.current_task()
        ticket, target = delivery.ticket, delivery.target
        try:
            if not ticket.ready:
                turn = trio.Event()
                ticket.wake = turn.set
                await turn.wait()
            if self._pace.is_due(task):
                await trio.lowlevel.checkpoint()
            if self._closed:
                raise DispatchError(delivery.given, Reason.CLOSED, attempts=0)
            ticket.runner = task
            if isinstance(target, HTTPTarget):
                await self._sender.send(signal, target, delivery)
            else:
                delivery.attempts = 1
                try:
                    await target.deliver(signal)
                except Exception as error:
                    _raise_about(error, target, delivery.given)
        except BaseException as error:
            self._give_up(delivery, error)
            raise
        self._lanes.leave(ticket)
        if delivery.span is not None:
            delivery.span.stop(delivery.attempts)

    def _give_up(self, delivery: Delivery, error: BaseException) -> None:
        self._lanes.leave(delivery.ticket)
        if delivery.span is not None:
            delivery.span.fail(error, delivery.attempts)

    async def _aclose(self) -> None:
        self._closed = True
        await self._sender.aclose()


class _Batch:
    """The deliveries of one `dispatch_all`: those whose turn it is are handed to a limited number of workers."""

    def __init__(self, dispatcher: Dispatcher, signal: Signal) -> None:
        self._dispatcher = dispatcher
        self._signal = signal
        self._results: list[DispatchResult | None] = []
        self._open: dict[int, Delivery] = {}
        self._interrupt: BaseException | None = None

    async def run(self, targets: tuple[Any, ...], max_concurrency: int) -> tuple[DispatchResult, ...]:
        """Takes a place for each target, then delivers to all."""
        try:
            for target in targets:
                self._begin(target)
            if len(self._open) > 1:
                await self._run_workers(min(max_concurrency, len(self._open)))
            elif self._open:
                await self._settle(*self._open)
            else:
                await trio.lowlevel.checkpoint()
        except BaseException as error:
            for delivery in self._open.values():
                self._dispatcher._give_up(delivery, error)
            raise
        return tuple([result for result in self._results if result is not None])

    def _begin(self, target: Any) -> None:
        result = None
        try:
            self._open[len(self._results)] = self._dispatcher._begin(self._signal, target)
        except PrunellaError as error:
            result = DispatchResult(target, error, 0)
        except Exception as error:  # of a method of the target itself, such as its hash
            failure = DispatchError(target, Reason.RAISED, attempts=0)
            failure.__cause__ = error
            result = DispatchResult(target, failure, 0)
        self._results.append(result)

    async def _run_workers(self, count: int) -> None:
        send, receive = trio.open_memory_channel[int](len(self._open))
        for index, delivery in self._open.items():
            if delivery.ticket.ready:
                send.send_nowait(index)
            else:
                delivery.ticket.wake = partial(send.send_nowait, index)
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(count):
                    nursery.start_soon(self._work, send, receive, nursery.cancel_scope)
        except BaseExceptionGroup as group:
            # Workers keep what their targets raise. What comes here came from outside, and goes on bare.
            raise self._interrupt or _bare(group) from None
        finally:
            for delivery in self._open.values():
                delivery.ticket.wake = None
            send.close()
            receive.close()
        if self._interrupt is not None:
            raise self._interrupt

    async def _work(
        self,
        send: trio.MemorySendChannel[int],
        receive: trio.MemoryReceiveChannel[int],
        scope: trio.CancelScope,
    ) -> None:
        try:
            async for index in receive:
                await self._settle(index)
                if not self._open:
                    send.close()
        except (KeyboardInterrupt, SystemExit) as error:
            self._interrupt = error
            scope.cancel()

    async def _settle(self, index: int) -> None:
        delivery = self._open.pop(index)
        error: PrunellaError | None = None
        try:
            await self._dispatcher._complete(self._signal, delivery)
        except PrunellaError as caught:
            error = caught
        attempts = error.attempts if isinstance(error, DispatchError) else delivery.attempts
        self._results[index] = DispatchResult(delivery.given, error, attempts)


def _bare(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception of a group that matters most: an interrupt, then an error, then a cancellation."""
    for kind in ((KeyboardInterrupt, SystemExit), Exception, BaseException):
        found: BaseException | None = group.subgroup(kind)
        while isinstance(found, BaseExceptionGroup):
            found = found.exceptions[0]
        if found is not None:
            return found
    return group


class _SameObject:
    """Stands for a target that cannot be hashed: it is equal to nothing but itself."""

    __slots__ = ("_target",)

    def __init__(self, target: object) -> None:
        self._target = target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _SameObject) and other._target is self._target

    def __hash__(self) -> int:
        return id(self._target)


def _lane_of(target: Target | HTTPTarget) -> Hashable:
    """What equal targets have in common: a function, whether it stands for itself or not, is one target."""
    key: Any = target
    if target.__class__ is FunctionTarget:
        key = target.function
    try:
        hash(key)
    except TypeError:
        return _SameObject(key)
    lane: Hashable = key
    return lane


def _raise_about(error: Exception, target: Target, given: object) -> NoReturn:
    """Raises what came of a target that owns nothing, as an error about what the caller named."""
    if isinstance(error, DispatchError) and error.target is target:
        error.target = given
        raise error
    raise DispatchError(given, Reason.RAISED) from error


async def deliver(signal: Signal, target: Destination) -> None:
    """Delivers a signal to a target that owns nothing, without a dispatcher.

    That is: functions, channels, names, logger, console, noop, and custom targets. There is no order among calls, and
    nothing is reported; each call is a checkpoint.

    Args:
        signal: the signal.
        target: as of `Dispatcher.dispatch`.

    Raises:
        DispatchError: it has not arrived.
        InvalidArgument: what came is no signal, or the target needs connections (HTTP), hence a dispatcher.
    """
    if signal.__class__ is not Signal:
        raise InvalidArgument("deliver", "signal", "a Signal", type(signal))
    destination = as_target(target)
    if isinstance(destination, HTTPTarget):
        raise InvalidArgument("deliver", "target", "one without connections; use open_dispatcher()", destination)
    await trio.lowlevel.checkpoint()
    try:
        await destination.deliver(signal)
    except Exception as error:
        _raise_about(error, destination, target)


def open_dispatcher(
    *,
    breaker: CircuitBreaker = _BREAKER,
    allow_hosts: Iterable[str] | None = None,
    epoch: datetime | None = None,
    telemetry: Iterable[Listener] | Listeners = (),
    secrets: SecretSource | Secrets = _NO_SECRETS,
) -> AbstractAsyncContextManager[Dispatcher]:
    """Opens a dispatcher for the length of a block::

        async with open_dispatcher(secrets={"hook": b"..."}) as dispatcher:
            await dispatcher.dispatch(signal, WebhookTarget("https://example.org/hook", secret="hook"))

    Connections are opened when they are needed, and closed on leaving the block. Deliveries over HTTP that other tasks
    still have under way then end, as `closed`.

    Args:
        breaker: when to stop asking an origin (scheme, host, port) that fails.
        allow_hosts: the only hosts to talk to, without ports; None for all. Where targets come from users, give it.
        epoch: what time it is now, for signatures and dates in headers; from there on Trio's clock counts. None for the
            system's time.
        telemetry: listeners: functions that are called, at once, with every report. Inside a runtime its listeners
            hear them too.
        secrets: by name; a mapping, or a function that returns the secret of a name.

    Returns:
        An asynchronous context manager that gives a `Dispatcher`.

    Raises:
        InvalidArgument: one of these is not of its kind.
    """
    if not isinstance(breaker, CircuitBreaker):
        raise InvalidArgument("open_dispatcher", "breaker", "a CircuitBreaker", breaker)
    if epoch is not None and (not isinstance(epoch, datetime) or epoch.utcoffset() is None):
        raise InvalidArgument("open_dispatcher", "epoch", "an aware datetime, or None", epoch)
    listeners = listeners_here(telemetry)
    allowed = None if allow_hosts is None else _hosts(allow_hosts)
    if not isinstance(secrets, Secrets):
        secrets = Secrets(secrets, "open_dispatcher")
    return _open(breaker, allowed, epoch, listeners, secrets)


@asynccontextmanager
async def _open(
    breaker: CircuitBreaker,
    allowed: frozenset[str] | None,
    epoch: datetime | None,
    listeners: Listeners,
    secrets: Secrets,
) -> AsyncIterator[Dispatcher]:
    clock = WallClock(epoch, trio.current_time(), follow=_is_the_worlds(trio.lowlevel.current_clock()))
    dispatcher = Dispatcher(listeners, HTTPSender(breaker, allowed, secrets, clock, listeners))
    try:
        yield dispatcher
    finally:
        await dispatcher._aclose()


def _is_the_worlds(clock: trio.abc.Clock) -> bool:
    """Whether it is Trio's own, which goes as the world does; that class has no public name."""
    return type(clock).__module__.startswith("trio._core")


def _hosts(hosts: Iterable[str]) -> frozenset[str]:
    if isinstance(hosts, str | bytes) or not isinstance(hosts, Iterable):
        raise InvalidArgument("open_dispatcher", "allow_hosts", "host names, or None for all", hosts)
    found = tuple(hosts)
    for host in found:
        if not isinstance(host, str) or not host or "/" in host:
            raise InvalidArgument("open_dispatcher", "allow_hosts", "names of hosts, without scheme and path", host)
    return frozenset(host.lower().strip("[]") for host in found)
