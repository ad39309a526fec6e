"""A class of agents, told to people or to programs."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from typing import Any

from ..agents import Agent, describe, directive_to_data, schema

__all__ = ["as_json", "as_text"]


def as_json(agent: type[Agent]) -> str:
    """Its definition as JSON, with the JSON Schemas of its state and of the data of each handler."""
    definition = describe(agent)
    document = {
        "name": definition.name,
        "version": definition.version,
        "description": definition.description,
        "tags": list(definition.tags),
        "durable": definition.durable is not None,
        "state": schema(agent),
        "handlers": {
            handler.name: {
                "patterns": list(handler.patterns),
                "priority": handler.priority,
                "description": handler.description,
                "data": schema(agent, handler.name),
            }
            for handler in definition.handlers
        },
        "schedules": [directive_to_data(schedule) for schedule in definition.schedules],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def as_text(agent: type[Agent]) -> str:
    """Its fields, handlers and schedules, in lines."""
    return "".join(f"{line}\n" for line in _lines(agent))


def _lines(agent: type[Agent]) -> Iterator[str]:
    definition = describe(agent)
    notes = [f"version {definition.version}"]
    if definition.durable is not None:
        notes.append("durable")
    if definition.tags:
        notes.append(f"tags: {', '.join(definition.tags)}")
    yield f"{definition.name}  ({agent.__module__}.{agent.__qualname__}, {', '.join(notes)})"
    if definition.description:
        yield definition.description
    yield ""
    yield "fields:" if definition.fields else "no fields"
    for field in definition.fields:
        default = "  (required)" if field.required else f" = {field.default!r}"
        yield f"  {field.name}: {_type(field.annotation)}{default}"
        if field.description:
            yield f"      {_joined(field.description)}"
    yield ""
    yield "handlers:" if definition.handlers else "no handlers"
    for handler in definition.handlers:
        priority = f"  (priority {handler.priority})" if handler.priority else ""
        yield f"  {', '.join(handler.patterns)}{priority}"
        yield f"      {handler.name}{_parameters(agent, handler.name)}"
        if handler.description:
            yield f"      {_joined(handler.description)}"
    if definition.schedules:
        yield ""
        yield "schedules:"
    for schedule in definition.schedules:
        yield f"  {schedule!r}"


def _parameters(agent: type[Agent], handler: str) -> str:
    """What a handler takes, as it would be written, without self and what it returns."""
    _, *parameters = inspect.signature(getattr(agent, handler)).parameters.values()
    return f"({', '.join(map(_parameter, parameters))})"


def _parameter(parameter: inspect.Parameter) -> str:
    text = ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name
    typed = parameter.annotation is not parameter.empty
    if typed:
        text += f": {_type(parameter.annotation)}"
    if parameter.default is not parameter.empty:
        text += f" = {parameter.default!r}" if typed else f"={parameter.default!r}"
    return text


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _OUR_MODULES.sub("", text)


_OUR_MODULES = re.compile(r"\bprunella\.(\w+\.)*")


def _joined(text: str) -> str:
    return " ".join(text.split())
