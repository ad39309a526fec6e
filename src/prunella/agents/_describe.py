from __future__ import annotations

from typing import Any, final

import attrs

from ..conversion import Map, json_schema
from ..errors import InvalidArgument
from ..signals import Route
from ._agent import Agent
from ._definition import Definition
from ._durable import Durable
from ._fields import NO_DEFAULT
from ._timing import Cron, Schedule

__all__ = ["AgentDefinition", "FieldInfo", "HandlerInfo", "describe", "routes", "schema"]


@final
@attrs.frozen
class FieldInfo:
    """A field of a state, described.

    Attributes:
        name: its name.
        annotation: its type.
        required: whether it must be given, for it has no default.
        default: its default; `None` if it has none.
        description: what the class's docstring says of it.
        schema: the JSON Schema of its values.
    """

    name: str
    annotation: Any
    required: bool
    default: Any
    description: str
    schema: Map[str, Any]


@final
@attrs.frozen
class HandlerInfo:
    """A handler, described.

    Attributes:
        name: the method's name.
        patterns: what it listens to.
        priority: the highest that it has.
        description: the first paragraph of its docstring.
        schema: the JSON Schema of the data that it takes.
    """

    name: str
    patterns: tuple[str, ...]
    priority: int
    description: str
    schema: Map[str, Any]


@final
@attrs.frozen
class AgentDefinition:
    """A class of agents, described.

    Attributes:
        name, version, description, tags, schedules, durable: what the class statement said.
        fields: its state.
        handlers: its handlers, in the order of their definition.
        plugins: the plugins mounted in it; none yet.
        strategy: how turns run their handlers; `None` is one after another.
    """

    name: str
    version: int
    description: str
    tags: tuple[str, ...]
    fields: tuple[FieldInfo, ...]
    handlers: tuple[HandlerInfo, ...]
    plugins: tuple[Any, ...]
    schedules: tuple[Cron | Schedule, ...]
    strategy: Any
    durable: Durable | None


def describe(agent_class: type[Agent]) -> AgentDefinition:
    """What a class of agents is.

    Raises:
        InvalidArgument: it is no class of agents.
    """
    definition = _definition("describe", agent_class)
    return AgentDefinition(
        name=definition.name,
        version=definition.version,
        description=definition.description,
        tags=definition.tags,
        fields=tuple(
            FieldInfo(
                field.name,
                field.annotation,
                field.default is NO_DEFAULT,
                None if field.default is NO_DEFAULT else field.default,
                field.description,
                Map(json_schema(field.annotation, closed=False, known_keys=True)),
            )
            for field in definition.state.fields.values()
        ),
        handlers=tuple(
            HandlerInfo(
                handler.name,
                tuple(dict.fromkeys(route.pattern for route, _ in handler.routes)),
                max(route.priority for route, _ in handler.routes),
                handler.description,
                Map(handler.record.schema()),
            )
            for handler in definition.handlers.values()
        ),
        plugins=(),
        schedules=definition.schedules,
        strategy=None,
        durable=definition.durable,
    )


def routes(agent_class: type[Agent]) -> tuple[Route[str], ...]:
    """The patterns of a class and the names of the handlers that they lead to, in the order of their definition.

    Raises:
        InvalidArgument: it is no class of agents.
    """
    return _definition("routes", agent_class).routes


def schema(agent_class: type[Agent], handler: str | None = None) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a state, or of the data that a handler takes.

    Args:
        agent_class: the class.
        handler: the name of a handler; without it the schema is that of the state.

    Raises:
        InvalidArgument: it is no class of agents, or there is no such handler.
    """
    definition = _definition("schema", agent_class)
    if handler is not None:
        found = definition.handlers.get(handler)
        if found is None:
            raise InvalidArgument("schema", "handler", f"one of {', '.join(definition.handlers)}", handler)
        return found.record.schema()
    written = definition.state.record.schema()
    about = {"description": definition.description} if definition.description else {}
    return {
        "$schema": written.pop("$schema"),
        "title": agent_class.__name__,
        **about,
        **written,
        "additionalProperties": False,
    }


def _definition(call: str, agent_class: object) -> Definition:
    definition = getattr(agent_class, "_prunella_definition", None) if isinstance(agent_class, type) else None
    if not isinstance(definition, Definition):
        raise InvalidArgument(call, "agent_class", "a class of agents", agent_class)
    return definition
