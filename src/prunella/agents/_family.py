"""Directives about other agents, and the one that ends oneself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, final

import attrs

from ..conversion import Map
from ..errors import InvalidArgument
from ._directive import EMPTY, Directive, Event, agent_target, choice, keyword_mapping, optional_text, signal_type, text
from ._work import RESTARTS

if TYPE_CHECKING:
    from ._agent import Agent

__all__ = ["AdoptChild", "SpawnAgent", "Stop", "StopChild"]

_ON_PARENT_DEATH: Final = ("stop", "continue", "emit")


@final
@attrs.frozen(init=False)
class SpawnAgent(Directive):
    """Starts another agent as a child of this one.

    Args:
        agent: its class.
        tag: what this agent calls it.
        id: its id; `parent/tag` by default.
        state: a mapping of its first state, or a value of its class.
        meta: goes into the signals about it.
        restart: `permanent`, `transient` or `temporary`. `transient`, because an agent ends itself by `Stop`.
        on_parent_death: what becomes of it when this agent has ended for good: `stop`, `continue`, or `emit`, which
            tells it by a signal.
        partition: its partition; this agent's by default.
        catch: the type of the signal that says that it could not be started. Without it the error policy is
            asked.

    Raises:
        InvalidArgument: one of these is of another kind, or the state does not fit the class.
    """

    agent: type[Agent]
    tag: str
    id: str | None
    state: Map[str, Any] | Agent | None
    meta: Map[str, Any]
    restart: str
    on_parent_death: str
    partition: str | None
    catch: str | None

    def __init__(
        self,
        agent: type[Agent],
        /,
        *,
        tag: str,
        id: str | None = None,
        state: Mapping[str, Any] | Agent | None = None,
        meta: Mapping[str, Any] = EMPTY,
        restart: Literal["permanent", "transient", "temporary"] = "transient",
        on_parent_death: Literal["stop", "continue", "emit"] = "stop",
        partition: str | None = None,
        catch: Event | None = None,
    ) -> None:
        definition = getattr(agent, "_prunella_definition", None) if isinstance(agent, type) else None
        if definition is None:
            raise InvalidArgument("SpawnAgent", "agent", "a class of agents", agent)
        definition.initial(state, owner="SpawnAgent")
        self.__attrs_init__(
            agent,
            text("SpawnAgent", "tag", tag),
            optional_text("SpawnAgent", "id", id),
            Map(state) if isinstance(state, Mapping) else state,
            keyword_mapping("SpawnAgent", "meta", meta),
            choice("SpawnAgent", "restart", restart, RESTARTS),
            choice("SpawnAgent", "on_parent_death", on_parent_death, _ON_PARENT_DEATH),
            optional_text("SpawnAgent", "partition", partition),
            signal_type("SpawnAgent", "catch", catch),
        )


@final
@attrs.frozen(init=False)
class AdoptChild(Directive):
    """Makes a running agent that has no parent a child of this one.

    Args:
        child: its id in this agent's partition, its `Address` or an `AgentRef`.
        tag: what this agent calls it.
        meta: goes into the signals about it.
        catch: the type of the signal that says that it could not be adopted. Without it the error policy is
            asked.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    child: Any
    tag: str
    meta: Map[str, Any]
    catch: str | None

    def __init__(self, child: Any, /, *, tag: str, meta: Mapping[str, Any] = EMPTY, catch: Event | None = None) -> None:
        self.__attrs_init__(
            agent_target("AdoptChild", "child", child),
            text("AdoptChild", "tag", tag),
            keyword_mapping("AdoptChild", "meta", meta),
            signal_type("AdoptChild", "catch", catch),
        )


@final
@attrs.frozen(init=False)
class StopChild(Directive):
    """Stops a child for good.

    Args:
        tag: what this agent calls it.
        reason: why; it becomes the detail of the child's exit reason.
        catch: the type of the signal that says that there is no such child. Without it the error policy is
            asked.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    tag: str
    reason: Any
    catch: str | None

    def __init__(self, tag: str, /, *, reason: Any = None, catch: Event | None = None) -> None:
        self.__attrs_init__(text("StopChild", "tag", tag), reason, signal_type("StopChild", "catch", catch))


@final
@attrs.frozen
class Stop(Directive):
    """Ends the agent, after this turn was committed and its other directives were handed over.

    It is the last directive of a result.

    Args:
        reason: why; with one the exit reason is `Shutdown(reason)`, else `Normal`.
    """

    reason: Any = None
