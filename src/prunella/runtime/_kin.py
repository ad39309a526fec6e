"""The directives about children of an agent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..agents import AdoptChild, AgentError, AgentNotFound, SpawnAgent, StopChild
from ._delivery import Delivery, Settling
from ._effect import Effect
from ._lanes import in_order
from ._life import AgentLife

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["adopt_child", "spawn_agent", "stop_child"]


def spawn_agent(
    server: AgentServer,
    life: AgentLife,
    directive: SpawnAgent,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Begins the start of a child."""
    effect = Effect(server, directive, delivery, settling, index)

    def ended(error: Exception | None) -> None:
        if error is None:
            effect.done()
        else:
            effect.failed(error, directive.catch)

    server.runtime.families.spawn(
        server, directive, ended, cause=delivery.signal, span=effect.span_id, is_again=effect.is_again
    )


def adopt_child(
    server: AgentServer,
    life: AgentLife,
    directive: AdoptChild,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Makes an agent a child; one that sleeps is woken for it."""
    effect = Effect(server, directive, delivery, settling, index)
    runtime = server.runtime

    def adopt() -> None:
        runtime.families.adopt(server, address, directive.tag, directive.meta, is_again=effect.is_again)

    async def adopt_sleeper() -> None:
        try:
            await runtime.awake(address)
            adopt()
        except AgentError as error:
            effect.failed(error, directive.catch)

    try:
        address = runtime.address_here(directive.child, server.address.partition)
        if runtime.find(address) is None and runtime.sleeps(address):
            in_order(life, address, effect, None, adopt_sleeper)
            return
        adopt()
    except Exception as error:
        effect.failed(error, directive.catch)
    else:
        effect.done()


def stop_child(
    server: AgentServer,
    life: AgentLife,
    directive: StopChild,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Begins the stop of a child; of a durable parent it is done when the child has ended, for else a crash of the
    process would bring it back.
    """
    effect = Effect(server, directive, delivery, settling, index)
    runtime = server.runtime
    try:
        address = runtime.families.child(server, directive.tag)
    except AgentNotFound as error:
        if effect.is_again:
            effect.done()  # It has ended before this could be marked as done.
        else:
            effect.failed(error, directive.catch)
        return
    child = runtime.find(address)
    if server.is_durable and (child is None or child.is_durable):
        in_order(life, address, effect, None, partial(runtime.stop_agent, address, directive.reason))
    elif child is not None:
        runtime.begin_stop(child, directive.reason)
        effect.done()
