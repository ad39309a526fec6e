"""What a line of input must be: a CloudEvent, as far as it matters here."""

from __future__ import annotations

import json
from typing import Any, NoReturn

import attrs

__all__ = ["CloudEvent", "NotAnEventError", "read_event"]

_REQUIRED = ("specversion", "id", "source", "type")


@attrs.frozen
class CloudEvent:
    """One event of the input.

    Attributes:
        id: unique together with `source`.
        source: who sent it.
        type: what happened ("ticket.opened").
        data: what there is to know about it; any JSON value, None if it has none.
    """

    id: str
    source: str
    type: str
    data: Any = None


class NotAnEventError(ValueError):
    """A line of the input is no CloudEvent; the message says why, and holds nothing of the line."""


def read_event(line: bytes) -> CloudEvent:
    """The CloudEvent that a line holds in JSON.

    Raises:
        NotAnEventError: it holds none.
    """
    try:
        document = json.loads(line.decode(), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise NotAnEventError(f"not UTF-8, at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise NotAnEventError(f"not JSON: {error.msg}, at character {error.pos + 1}") from None
    except ValueError as error:  # a number of too many digits, too
        raise NotAnEventError(f"not JSON that can be read: {error}") from None
    except RecursionError:
        raise NotAnEventError("not JSON that can be read: nested too deeply") from None
    if not isinstance(document, dict):
        raise NotAnEventError(f"not a CloudEvent: expected an object, got {_kind(document)}")
    for name in _REQUIRED:
        if not (isinstance(document.get(name), str) and document[name]):
            problem = "missing" if name not in document else "not a text, or empty"
            raise NotAnEventError(f"not a CloudEvent: {name!r} is {problem}")
    if document["specversion"] != "1.0":
        raise NotAnEventError("not a CloudEvent of version 1.0: 'specversion' is another")
    return CloudEvent(document["id"], document["source"], document["type"], document.get("data"))


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    kinds: dict[type, str] = {list: "a list", str: "a text"}
    return kinds.get(type(value), "a number")
