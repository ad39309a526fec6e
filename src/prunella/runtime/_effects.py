"""Carrying out directives: at once where nothing waits, else in tasks beside the mailbox.

Effects of one agent to one target happen in the order of its turns: an effect that has to wait for its target opens a
lane, and what follows for that target queues up behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..agents import (
    AdoptChild,
    AgentCrashed,
    AgentError,
    AgentNotFound,
    AgentStopped,
    Ask,
    Cancel,
    Cron,
    Directive,
    Emit,
    Fail,
    Rejected,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    Stop,
    StopChild,
)
from ..errors import InvalidArgument
from ..signals import Signal
from ..supervision import Crashed, ExitReason
from ._delivery import Delivery, OpenAsk, Settling
from ._life import AgentLife, EffectTask
from ._work import Attempts, perform, stay

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["Effect", "begin_directive", "knows_directive"]


class Effect:
    """A directive under way: whom it concerns when it has ended.

    Attributes:
        server: whose it is.
        life: in which it was begun.
        directive: what is to be done.
        signal: the signal of the turn.
        ask: the open ask that it belongs to, if any.
    """

    __slots__ = ("_is_over", "_settling", "_span", "ask", "directive", "life", "server", "signal")

    def __init__(
        self,
        server: AgentServer,
        directive: Directive,
        delivery: Delivery,
        settling: Settling | None,
        sent: Signal | None = None,
    ) -> None:
        self.server = server
        self.life = server.life
        self.directive = directive
        self.signal = delivery.signal
        self._is_over = False
        self.ask = delivery.ask
        self._settling = settling
        server.effects += 1
        if self.ask is not None:
            self.ask.hold()
        if settling is not None:
            settling.begin()
        self._span = server.runtime.reports.effect_begins(server, directive, delivery.signal, sent)

    def done(self, error: BaseException | None = None, *, caught: bool = False) -> None:
        """It has ended.

        Args:
            error: why it failed, if it did.
            caught: whether the agent's logic has been told of it by a signal.
        """
        server = self.server
        if self._over(error):
            if error is not None and not caught and isinstance(error, Exception) and server.ended is None:
                server.apply_policy(error, self.signal)
            if self.ask is not None:
                if error is not None and not caught:
                    self.ask.failed(error)
                self.ask.release()
            server.runtime.room_in_outbox(server)

    def cut(self, reason: ExitReason | None) -> None:
        """It was called off: by the agent itself, or by the end of the agent's life.

        Whoever waits for it hears of the end of a life; the error policy is asked about failures only.

        Args:
            reason: how the life ends; None if it was the agent's own wish.
        """
        error = None if reason is None else _end_of(self.server, reason)
        if self._over(error):
            if self.ask is not None:
                if error is not None:
                    self.ask.error = error
                self.ask.release()
            self.server.runtime.room_in_outbox(self.server)

    def _over(self, error: BaseException | None) -> bool:
        """Takes note of its end; tells whether it is the first."""
        if self._is_over:
            return False  # It was given up, and has ended after all.
        self._is_over = True
        server = self.server
        server.effects -= 1
        server.runtime.reports.effect_ended(server, self._span, error)
        if self._settling is not None:
            self._settling.end(self.directive, error)
        return True

    def failed(self, error: Exception, catch: str | None, carry: Any = None, attempts: int = 1) -> None:
        """It has failed: the agent's logic is told if it wants to know, else its error policy."""
        if catch is None:
            self.done(error)
            return
        data = {"error": error_data(error), "attempts": attempts, **(carry or {})}
        self.send_back(catch, data)
        self.done(error, caught=True)

    @property
    def span_id(self) -> str | None:
        """Its span, if anybody hears of it."""
        return None if self._span is None else self._span.id

    def send_back(self, type: str, data: Any) -> None:
        """Sends the agent a signal about it, with whatever the turn belonged to."""
        self.send(self.server.runtime.signals.caused(type, data, self.server, self.signal, self.span_id))

    def send(self, signal: Signal) -> None:
        """Sends the agent a signal, with whatever the turn belonged to."""
        if not self._is_over:
            self.server.put(Delivery(signal, ask=self.ask))


def _end_of(server: AgentServer, reason: ExitReason) -> AgentError:
    """What whoever waits for something of an agent hears when its life ends."""
    ended: AgentError = server.about(AgentCrashed(reason) if isinstance(reason, Crashed) else AgentStopped(reason))
    return ended


def error_data(error: BaseException) -> dict[str, Any]:
    """An error as plain data."""
    return {
        "type": type(error).__name__,
        "message": str(error),
        "retryable": bool(getattr(error, "retryable", False)),
    }


def knows_directive(runtime: Runtime, directive: Directive) -> bool:
    """Whether anybody can execute it."""
    return type(directive) in _BEGIN or type(directive) in runtime.executors


def begin_directive(
    server: AgentServer,
    life: AgentLife,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Begins a directive of a committed turn, which is the one at `index`. Nothing that it does is raised here."""
    begin = _BEGIN.get(type(directive))
    try:
        if begin is None:
            _custom(server, life, directive, delivery, settling, index)
        else:
            begin(server, life, directive, delivery, settling)
    except Exception as error:
        # What it says cannot be done: a signal cannot be made of it, for instance.
        Effect(server, directive, delivery, settling).done(error)


# In the order of turns, for each target.


class _HandedOver(Protocol):
    """What has to know when it has been handed over."""

    server: AgentServer

    def done(self, error: BaseException | None = None) -> None: ...


class _Lane:
    """Effects that wait for one target, and the task that hands them over one after another."""

    __slots__ = ("_key", "_life", "_queue")

    def __init__(self, life: AgentLife, key: Any) -> None:
        self._life = life
        self._key = key
        self._queue: deque[tuple[_HandedOver, Callable[[], Awaitable[None]]]] = deque()

    def add(self, effect: _HandedOver, deliver: Callable[[], Awaitable[None]]) -> None:
        self._queue.append((effect, deliver))

    def begin(self) -> None:
        if self._life.lanes is None:
            self._life.lanes = {}
        self._life.lanes[self._key] = self
        EffectTask(self._life, f"to {self._key}", self.run, is_work=False, on_cut=self.cut).begin()

    async def run(self) -> None:
        while self._queue:
            effect, deliver = self._queue[0]
            try:
                await deliver()
            except Exception as error:
                self._queue.popleft()
                effect.done(error)
            else:
                self._queue.popleft()
                effect.done()
        self._close()

    def cut(self, reason: ExitReason | None, failure: BaseException | None) -> None:
        """No time was left, or what handed over has raised what it must not: what still waits has failed."""
        self._close()
        if failure is not None and self._queue:
            effect, _ = self._queue.popleft()
            effect.done(_as_error(failure))
            if self._queue:
                self.begin()
            return
        while self._queue:
            effect, _ = self._queue.popleft()
            server = effect.server
            effect.done(_end_of(server, reason) if reason is not None else server.stopped_error())

    def _close(self) -> None:
        if self._life.lanes is not None:
            self._life.lanes.pop(self._key, None)


def _in_order(
    life: AgentLife,
    key: Any,
    effect: _HandedOver,
    try_now: Callable[[], bool] | None,
    deliver: Callable[[], Awaitable[None]],
) -> None:
    """Hands an effect over: now, if nobody is before it and it need not wait; else in its lane."""
    lanes = life.lanes
    lane: _Lane | None = None if lanes is None else lanes.get(key)
    if lane is not None:
        lane.add(effect, deliver)
        return
    if try_now is not None and try_now():
        effect.done()
        return
    lane = _Lane(life, key)
    lane.add(effect, deliver)
    lane.begin()


def _as_error(failure: BaseException) -> Exception:
    """What no function should raise, as an error that can be told of."""
    if isinstance(failure, Exception):
        return failure
    error = RuntimeError(f"ended by {type(failure).__name__}: {failure}")
    error.__cause__ = failure
    return error


def _emit(server: AgentServer, life: AgentLife, directive: Emit, delivery: Delivery, settling: Settling | None) -> None:
    runtime = server.runtime
    signal = runtime.signals.emitted(directive, server, delivery.signal)
    to = directive.to
    if to is None:
        publish(server, life, signal, directive, delivery, settling)
        return
    address = runtime.agent_address(to, server.address.partition)
    if address is None:
        effect = Effect(server, directive, delivery, settling, signal)
        key = to
        try:
            hash(to)
        except TypeError:
            key = id(to)
        _in_order(life, key, effect, None, partial(runtime.dispatch, signal, to))
        return
    target = runtime.find(address)
    if target is None or not target.is_open:
        effect = Effect(server, directive, delivery, settling, signal)
        effect.done(runtime.absent(address))
    elif target is server:
        server.put(Delivery(signal, ask=delivery.ask))
    else:
        _to_agent(server, life, target, signal, directive, delivery, settling)


def _to_agent(
    server: AgentServer,
    life: AgentLife,
    target: AgentServer,
    signal: Signal,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
) -> None:
    sent = Delivery(signal, ask=delivery.ask)
    if (life.lanes is None or target not in life.lanes) and target.offer(sent):
        server.runtime.reports.effect_was_instant(server, directive, delivery.signal, signal)
        return
    effect = Effect(server, directive, delivery, settling, signal)
    _in_order(life, target, effect, None, partial(target.accept, sent))


def publish(
    server: AgentServer,
    life: AgentLife,
    signal: Signal,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
) -> None:
    """Hands a signal to whoever has subscribed to it: streams and agents."""
    streams, agents = server.runtime.subscriptions.matching(signal)
    for target in agents:
        if target is server:
            server.put(Delivery(signal, ask=delivery.ask))
        else:
            _to_agent(server, life, target, signal, directive, delivery, settling)
    for stream in streams:
        effect = Effect(server, directive, delivery, settling, signal)
        _in_order(life, stream, effect, partial(stream.offer, signal), partial(stream.send, signal))


# Answers.


def _reply(
    server: AgentServer, life: AgentLife, directive: Reply, delivery: Delivery, settling: Settling | None
) -> None:
    if delivery.ask is None or not delivery.ask.end(directive.value, None):
        server.runtime.reports.dropped_reply(server, delivery.signal)


def _fail(server: AgentServer, life: AgentLife, directive: Fail, delivery: Delivery, settling: Settling | None) -> None:
    error = server.about(Rejected(directive.reason, **directive.details))
    if delivery.ask is None or not delivery.ask.end(None, error):
        server.apply_policy(error, delivery.signal)


def _ask(server: AgentServer, life: AgentLife, directive: Ask, delivery: Delivery, settling: Settling | None) -> None:
    runtime = server.runtime
    signal = runtime.signals.emitted(directive, server, delivery.signal)
    effect = Effect(server, directive, delivery, settling, signal)
    timer: Any = None

    def ended(value: Any, error: BaseException | None) -> None:
        server.forget_ask(inner)
        if timer is not None:
            runtime.service.cancel(timer)
        if server.ended is not None:
            effect.cut(server.ended)
        elif error is None:
            effect.send_back(directive.then, {"result": value, **directive.carry})
            effect.done()
        else:
            assert isinstance(error, Exception)
            effect.failed(error, directive.catch, directive.carry)

    inner = OpenAsk(ended)
    server.keep_ask(inner)
    try:
        address = runtime.address_here(directive.to, server.address.partition)
    except InvalidArgument as error:
        inner.end(None, error)
        return
    target = runtime.find(address)
    if target is None or not target.is_open:
        inner.end(None, runtime.absent(address))
        return
    if directive.timeout is not None:
        late = TimeoutError(f"no reply within {directive.timeout:g} s")

        def too_late() -> None:
            inner.end(None, late)

        timer = runtime.service.call_at(runtime.clock.now() + directive.timeout, too_late)
    sent = Delivery(signal, ask=inner)
    if target is server:
        server.put(sent)
    elif (life.lanes is not None and target in life.lanes) or not target.offer(sent):
        _in_order(life, target, _Question(server, inner), None, partial(target.accept, sent))


class _Question:
    """The first part of an `Ask`: to hand it over. If that fails, there is nothing to wait for."""

    __slots__ = ("_ask", "server")

    def __init__(self, server: AgentServer, ask: OpenAsk) -> None:
        self.server = server
        self._ask = ask
        ask.hold()

    def done(self, error: BaseException | None = None) -> None:
        """It has been handed over, or it has not."""
        if error is not None:
            self._ask.failed(error)
        self._ask.release()


# Work.


def _run(server: AgentServer, life: AgentLife, directive: Run, delivery: Delivery, settling: Settling | None) -> None:
    effect = Effect(server, directive, delivery, settling)
    attempts = Attempts()

    async def work() -> None:
        error = await perform(server, directive, effect, attempts)
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch, directive.carry, attempts.made)
        if directive.key is not None and life.keyed is not None and life.keyed.get(directive.key) is task:
            del life.keyed[directive.key]

    def cut(reason: ExitReason | None, failure: BaseException | None) -> None:
        if failure is None:
            effect.cut(reason)
        else:
            effect.failed(_as_error(failure), directive.catch, directive.carry, attempts.made)

    task = EffectTask(life, f"run {_name(directive.action)}", work, is_work=True, on_cut=cut)
    if directive.key is not None:
        keep(life, directive.key, task)
    task.begin()


def _spawn_task(
    server: AgentServer, life: AgentLife, directive: SpawnTask, delivery: Delivery, settling: Settling | None
) -> None:
    # It has been carried out when it has started: it may stay for as long as the agent, and nobody waits for its end.
    effect = Effect(server, directive, Delivery(delivery.signal), None)

    async def work() -> None:
        error = await stay(server, directive)
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch)

    def cut(reason: ExitReason | None, failure: BaseException | None) -> None:
        if failure is None:
            effect.cut(reason)
        else:
            effect.failed(_as_error(failure), directive.catch)

    EffectTask(life, f"task {_name(directive.function)}", work, is_work=True, on_cut=cut).begin()


def _custom(
    server: AgentServer,
    life: AgentLife,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    effect = Effect(server, directive, delivery, settling)
    runtime = server.runtime
    context = runtime.effect_context(server, delivery.signal, index)

    async def deliver() -> None:
        result = await runtime.executors[type(directive)](directive, context)
        if result is not None:
            effect.send(_checked_result(directive, result))

    _in_order(life, type(directive), effect, None, deliver)


def _checked_result(directive: Directive, result: Any) -> Signal:
    """What an executor has returned.

    Raises:
        InvalidArgument: it is no signal, or one that only the runtime sends.
    """
    if isinstance(result, Signal) and not result.type.startswith("prunella."):
        return result
    owner = f"executor of {type(directive).__name__}"
    raise InvalidArgument(owner, "result", "None, or a Signal of a type of your own", result)


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))


# What is cancelled by a key.


def keep(life: AgentLife, key: Any, item: Any) -> None:
    """Keeps something under a key; what had it is cancelled."""
    if life.keyed is None:
        life.keyed = {}
    before = life.keyed.pop(key, None)
    life.keyed[key] = item
    if before is not None:
        before.cancel()


def _schedule(
    server: AgentServer, life: AgentLife, directive: Schedule, delivery: Delivery, settling: Settling | None
) -> None:
    # One that arms itself again under its own key is no part of what caused the first.
    again = directive.key is not None and directive.key == delivery.key
    server.runtime.schedules.arm(server, life, directive, delivery.signal, None if again else delivery.ask)


def _cron(server: AgentServer, life: AgentLife, directive: Cron, delivery: Delivery, settling: Settling | None) -> None:
    server.runtime.schedules.arm_cron(server, life, directive)


def _cancel(
    server: AgentServer, life: AgentLife, directive: Cancel, delivery: Delivery, settling: Settling | None
) -> None:
    if life.keyed is not None:
        item = life.keyed.pop(directive.key, None)
        if item is not None:
            item.cancel()


# Family.


def _spawn_agent(
    server: AgentServer, life: AgentLife, directive: SpawnAgent, delivery: Delivery, settling: Settling | None
) -> None:
    effect = Effect(server, directive, delivery, settling)

    def ended(error: Exception | None) -> None:
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch)

    server.runtime.families.spawn(server, directive, ended, cause=delivery.signal, span=effect.span_id)


def _adopt_child(
    server: AgentServer, life: AgentLife, directive: AdoptChild, delivery: Delivery, settling: Settling | None
) -> None:
    effect = Effect(server, directive, delivery, settling)
    try:
        address = server.runtime.address_here(directive.child, server.address.partition)
        server.runtime.families.adopt(server, address, directive.tag, directive.meta)
    except Exception as error:
        effect.failed(error, directive.catch)
    else:
        effect.done()


def _stop_child(
    server: AgentServer, life: AgentLife, directive: StopChild, delivery: Delivery, settling: Settling | None
) -> None:
    effect = Effect(server, directive, delivery, settling)
    try:
        child = server.runtime.families.child(server, directive.tag)
    except AgentNotFound as error:
        effect.failed(error, directive.catch)
    else:
        server.runtime.begin_stop(child, directive.reason)
        effect.done()


_BEGIN: dict[type, Any] = {
    Emit: _emit,
    Reply: _reply,
    Fail: _fail,
    Ask: _ask,
    Run: _run,
    SpawnTask: _spawn_task,
    Schedule: _schedule,
    Cron: _cron,
    Cancel: _cancel,
    SpawnAgent: _spawn_agent,
    AdoptChild: _adopt_child,
    StopChild: _stop_child,
    Stop: None,  # the server's own
}
