"""Carrying out directives: at once where nothing waits, else in tasks beside the mailbox."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from ..agents import (
    AdoptChild,
    AgentNotFound,
    Ask,
    Cancel,
    Cron,
    Directive,
    Emit,
    Fail,
    Fenced,
    Rejected,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    Stop,
    StopChild,
)
from ..conversion import ConversionError
from ..dispatch import HTTPTarget
from ..errors import InvalidArgument, PrunellaError
from ..signals import Signal
from ..supervision import ExitReason
from ._delivery import Delivery, OpenAsk, Settling
from ._effect import Effect
from ._kin import adopt_child, spawn_agent, stop_child
from ._lanes import in_order
from ._life import AgentLife
from ._running import begin_run, begin_task

if TYPE_CHECKING:
    from ._runtime import Runtime
    from ._server import AgentServer

__all__ = ["begin_directive", "is_built_in", "knows_directive"]

_IDEMPOTENCY_KEY = "idempotency-key"
"""The HTTP header of draft-ietf-httpapi-idempotency-key-header."""


def is_built_in(directive: type[Directive]) -> bool:
    """Whether the runtime itself executes the directives of a class."""
    return directive in _BEGIN


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
            begin(server, life, directive, delivery, settling, index)
    except Exception as error:
        # What it says cannot be done: a signal cannot be made of it, for instance.
        Effect(server, directive, delivery, settling, index).done(error)


def _emit(
    server: AgentServer, life: AgentLife, directive: Emit, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    runtime = server.runtime
    derived = server.derived_id((delivery.sequence, index)) if server.is_durable else None
    signal = runtime.signals.emitted(directive, server, delivery.signal, derived)
    to = directive.to
    if to is None:
        _publish(server, life, signal, directive, delivery, settling, index)
        return
    address = runtime.agent_address(to, server.address.partition)
    if address is None:
        effect = Effect(server, directive, delivery, settling, index, signal)
        key = to
        try:
            hash(to)
        except TypeError:
            key = id(to)
        if server.is_durable and isinstance(to, HTTPTarget):
            to = _with_key(to, effect.directive_id)
        in_order(life, key, effect, None, partial(runtime.dispatch, signal, to))
        return
    target = runtime.find(address)
    if target is None or not target.is_open:
        effect = Effect(server, directive, delivery, settling, index, signal)
        absent = runtime.absent(address)
        if runtime.can_wake(address) or (server.is_durable and isinstance(absent, AgentNotFound | Fenced)):
            sent = Delivery(signal, ask=delivery.ask)
            in_order(life, address, effect, None, partial(runtime.accept_awake, address, sent))
        else:
            effect.done(absent)
    elif target is server:
        server.put(Delivery(signal, ask=delivery.ask))
    else:
        _to_agent(server, life, target, signal, directive, delivery, settling, index)


def _with_key(target: HTTPTarget, directive_id: str) -> HTTPTarget:
    """The target, telling its receiver what is the same request when it is sent again; what the user says counts."""
    if _IDEMPOTENCY_KEY in target.headers:
        return target
    return attrs.evolve(target, headers={**target.headers, _IDEMPOTENCY_KEY: directive_id})


def _to_agent(
    server: AgentServer,
    life: AgentLife,
    target: AgentServer,
    signal: Signal,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    sent = Delivery(signal, ask=delivery.ask)
    if (life.lanes is None or target.address not in life.lanes) and target.offer(sent):
        server.runtime.reports.effect_was_instant(server, directive, delivery.signal, signal)
        return
    effect = Effect(server, directive, delivery, settling, index, signal)
    runtime = server.runtime
    is_durable = server.is_durable or target.is_durable  # The target may sleep by then.
    deliver = partial(runtime.accept_awake, target.address) if is_durable else target.accept
    in_order(life, target.address, effect, None, partial(deliver, sent))


def _publish(
    server: AgentServer,
    life: AgentLife,
    signal: Signal,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Hands a signal to whoever has subscribed to it: streams and agents, also those that sleep."""
    runtime = server.runtime
    streams, agents, asleep = runtime.subscriptions.matching(signal)
    for target in agents:
        if target is server:
            server.put(Delivery(signal, ask=delivery.ask))
        else:
            _to_agent(server, life, target, signal, directive, delivery, settling, index)
    for address in asleep:
        effect = Effect(server, directive, delivery, settling, index, signal)
        sent = Delivery(signal, ask=delivery.ask)
        in_order(life, address, effect, None, partial(runtime.accept_awake, address, sent))
    for stream in streams:
        effect = Effect(server, directive, delivery, settling, index, signal)
        in_order(life, stream, effect, partial(stream.offer, signal), partial(stream.send, signal))


def _reply(
    server: AgentServer, life: AgentLife, directive: Reply, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    if delivery.ask is None or not delivery.ask.end(directive.value, None):
        server.runtime.reports.dropped_reply(server, delivery.signal)


def _fail(
    server: AgentServer, life: AgentLife, directive: Fail, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    error = server.about(Rejected(directive.reason, **directive.details))
    if delivery.ask is None or not delivery.ask.end(None, error):
        server.apply_policy(error, delivery.signal)


def _ask(
    server: AgentServer, life: AgentLife, directive: Ask, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    runtime = server.runtime
    derived = server.derived_id((delivery.sequence, index)) if server.is_durable else None
    signal = runtime.signals.emitted(directive, server, delivery.signal, derived)
    effect = Effect(server, directive, delivery, settling, index, signal)
    timer: Any = None

    def ended(value: Any, error: BaseException | None) -> None:
        server.forget_ask(inner)
        if timer is not None:
            runtime.service.cancel(timer)
        if server.ended is not None:
            effect.cut(server.ended)
        elif error is None:
            try:
                effect.send_back(directive.then, {"result": value, **directive.carry})
                effect.done()
            except ConversionError as failure:
                effect.failed(failure, directive.catch, directive.carry)
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
    inner.asked, inner.signal = address, signal
    target = runtime.find(address)
    asleep = (target is None or not target.is_open) and runtime.can_wake(address)
    if not asleep and (target is None or not target.is_open):
        inner.end(None, runtime.absent(address))
        return
    if directive.timeout is not None:
        late = TimeoutError(f"no reply within {directive.timeout:g} s")

        def too_late() -> None:
            inner.end(None, late)

        timer = runtime.service.call_at(runtime.clock.now() + directive.timeout, too_late)
    sent = Delivery(signal, ask=inner, keep=False)
    if target is None or asleep:
        in_order(life, address, _Question(effect, inner), None, partial(runtime.accept_awake, address, sent))
    elif target is server:
        server.put(sent)
    elif (life.lanes is not None and address in life.lanes) or not _is_taken(target, sent):
        in_order(life, address, _Question(effect, inner), None, partial(target.accept, sent))


def _is_taken(target: AgentServer, sent: Delivery) -> bool:
    """Whether a signal was accepted at once; why it was not is said when it is tried again."""
    try:
        return target.offer(sent)
    except PrunellaError:
        return False


class _Question:
    """The first part of an `Ask`: to hand it over. If that fails, there is nothing to wait for."""

    __slots__ = ("_ask", "_effect", "server")

    def __init__(self, effect: Effect, ask: OpenAsk) -> None:
        self.server = effect.server
        self._effect = effect
        self._ask = ask
        ask.hold()

    def done(self, error: BaseException | None = None) -> None:
        """It has been handed over, or it has not."""
        if error is not None:
            self._ask.failed(error)
        self._ask.release()

    def cut(self, reason: ExitReason | None) -> None:
        """The life is over before it was handed over."""
        self._ask.over = True  # It is asked again.
        self.server.forget_ask(self._ask)
        self._effect.cut(reason)


def _custom(
    server: AgentServer,
    life: AgentLife,
    directive: Directive,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    effect = Effect(server, directive, delivery, settling, index)
    runtime = server.runtime
    context = runtime.effect_context(server, delivery.signal, effect.directive_id)

    async def deliver() -> None:
        awaited: object = runtime.executors[type(directive)](directive, context)
        if not isinstance(awaited, Awaitable):
            owner = f"executor of {type(directive).__name__}"
            raise InvalidArgument(owner, "result", "awaitable: it is an async function", awaited)
        result = await awaited
        if result is not None:
            effect.send(_checked_result(directive, result))

    in_order(life, type(directive), effect, None, deliver)


def _checked_result(directive: Directive, result: Any) -> Signal:
    """What an executor has returned.

    Raises:
        InvalidArgument: it is no signal, or one that only the runtime sends.
    """
    if isinstance(result, Signal) and not result.type.startswith("prunella."):
        return result
    owner = f"executor of {type(directive).__name__}"
    raise InvalidArgument(owner, "result", "None, or a Signal of a type of your own", result)


def _schedule(
    server: AgentServer, life: AgentLife, directive: Schedule, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    # One that arms itself again under its own key is no part of what caused the first.
    again = directive.key is not None and directive.key == delivery.key
    server.runtime.schedules.arm(server, life, directive, delivery.signal, None if again else delivery.ask)


def _cron(
    server: AgentServer, life: AgentLife, directive: Cron, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    server.runtime.schedules.arm_cron(server, life, directive)


def _cancel(
    server: AgentServer, life: AgentLife, directive: Cancel, delivery: Delivery, settling: Settling | None, index: int
) -> None:
    if life.keyed is not None:
        item = life.keyed.pop(directive.key, None)
        if item is not None:
            item.cancel()


_BEGIN: dict[type, Any] = {
    Emit: _emit,
    Reply: _reply,
    Fail: _fail,
    Ask: _ask,
    Run: begin_run,
    SpawnTask: begin_task,
    Schedule: _schedule,
    Cron: _cron,
    Cancel: _cancel,
    SpawnAgent: spawn_agent,
    AdoptChild: adopt_child,
    StopChild: stop_child,
    Stop: None,  # the server's own
}
