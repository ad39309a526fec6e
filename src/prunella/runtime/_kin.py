"""The directives about children of an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..agents import AdoptChild, AgentNotFound, SpawnAgent, StopChild
from ._delivery import Delivery, Settling
from ._effect import Effect
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

    server.runtime.families.spawn(server, directive, ended, cause=delivery.signal, span=effect.span_id)


def adopt_child(
    server: AgentServer,
    life: AgentLife,
    directive: AdoptChild,
    delivery: Delivery,
    settling: Settling | None,
    index: int,
) -> None:
    """Makes a running agent a child."""
    effect = Effect(server, directive, delivery, settling, index)
    try:
        address = server.runtime.address_here(directive.child, server.address.partition)
        server.runtime.families.adopt(server, address, directive.tag, directive.meta)
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
    """Begins the stop of a child."""
    effect = Effect(server, directive, delivery, settling, index)
    try:
        child = server.runtime.families.child(server, directive.tag)
    except AgentNotFound as error:
        effect.failed(error, directive.catch)
    else:
        server.runtime.begin_stop(child, directive.reason)
        effect.done()
