from __future__ import annotations

import copy
import json
from typing import Any, Final, Literal, get_args

from ..errors import InvalidArgument
from ._action import Action
from ._errors import InvalidAction
from ._signature import Kind

__all__ = ["ToolFormat", "tool_schema"]

ToolFormat = Literal["openai", "anthropic", "mcp"]

_FORMATS: Final = get_args(ToolFormat)


def tool_schema(action: Action[..., Any], *, format: ToolFormat = "mcp", strict: bool = False) -> dict[str, Any]:
    """The definition of an action as a tool, as an API takes it.

    Args:
        action: the action; a plan is one too.
        format: whose: `openai`, `anthropic` or `mcp`.
        strict: so that a model can be held to it: no object takes other keys than it names. For OpenAI, whose
            strict mode knows no optional parameters, all of them are required, and the descriptions tell the defaults.

    Returns:
        The whole definition, with name, description and parameters; a new one each time.

    Raises:
        InvalidArgument: there is no such format, or strict is no bool.
        InvalidAction: it is no action, or takes keys that nobody can name beforehand and should be strict.
    """
    if format not in _FORMATS:
        expected = "one of " + ", ".join(map(repr, _FORMATS))
        raise InvalidArgument("tool_schema", "format", expected, format)
    if not isinstance(strict, bool):
        raise InvalidArgument("tool_schema", "strict", "True or False", strict)
    if not isinstance(action, Action):
        raise InvalidAction(f"{action!r:.80} is no action: put @action above the function")
    schema = _plain(action.input_schema)
    if strict:
        _close(action.name, schema, all_required=format == "openai")
    if format == "openai":
        function = {"name": action.name, "description": action.description, "parameters": schema}
        return {"type": "function", "function": {**function, "strict": True} if strict else function}
    if format == "anthropic":
        tool = {"name": action.name, "description": action.description, "input_schema": schema}
        return {**tool, "strict": True} if strict else tool
    tool = {"name": action.name, "description": action.description, "inputSchema": schema}
    output = _plain(action.output_schema)
    # MCP knows no other results with a structure; what streams gives a list.
    if output.get("type") == "object" and action.kind is not Kind.STREAM:
        tool["outputSchema"] = output
    return tool


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    plain = copy.deepcopy(schema)
    plain.pop("$schema", None)
    return plain


def _close(name: str, part: Any, *, all_required: bool) -> None:
    """Lets no object in a schema take further keys."""
    if isinstance(part, list):
        for item in part:
            _close(name, item, all_required=all_required)
        return
    if not isinstance(part, dict):
        return
    properties = part.get("properties")
    if part.get("type") == "object":
        if part.get("additionalProperties", False) is not False or properties is None:
            raise InvalidAction(f"{name}: it takes keys that nobody can name beforehand, so it has no strict form")
        part["additionalProperties"] = False
        if all_required:
            part["required"] = list(properties)
    for key, value in part.items():
        if key == "properties":
            for field in value.values():
                if all_required and isinstance(field, dict) and "default" in field:
                    _tell_default(field)
                _close(name, field, all_required=all_required)
        elif key == "$defs":
            for definition in value.values():
                _close(name, definition, all_required=all_required)
        elif key not in ("default", "enum", "const", "required"):
            _close(name, value, all_required=all_required)


def _tell_default(field: dict[str, Any]) -> None:
    default = json.dumps(field.pop("default"), ensure_ascii=False)
    said = field.get("description", "")
    field["description"] = f"{said} Default: {default}.".strip()
