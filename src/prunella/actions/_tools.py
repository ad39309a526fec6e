"""Calls of a model: arguments in, a result or an error out, both as JSON text."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import trio

from ..conversion import ConversionError, to_data
from ..errors import InvalidArgument
from ._catalog import Catalog, Entry, Visibility
from ._errors import ActionError, ActionNotAllowed, InvalidInput, InvalidOutput
from ._execution import Execution
from ._policy import Policy, refusal
from ._redaction import redacted_text
from ._signature import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..telemetry import Listener
    from ._runner import Runner

__all__ = ["ToolResult", "UnknownTool", "answer"]

_LONGEST_ARGUMENTS: Final = 1_000_000
_LONGEST_RESULT: Final = 1_000_000
_LONGEST_MESSAGE: Final = 1_000

logger = logging.getLogger("prunella.actions")


class UnknownTool(ActionNotAllowed):
    """A catalog has no public entry of that name."""


@final
@attrs.frozen
class ToolResult:
    """What a model is told.

    Attributes:
        ok: whether the action succeeded.
        content: JSON text: the result, or `{"error": {"type", "message", "path", "retryable"}}`.
        directives: those that came with the result.
    """

    ok: bool
    content: str
    directives: tuple[Any, ...] = ()


async def answer(
    runner: Runner,
    catalog: Catalog,
    name: str,
    arguments: str | bytes | Mapping[str, Any],
    policy: Policy,
    context: Mapping[str, Any] | None,
    telemetry: Iterable[Listener],
) -> ToolResult:
    """Runs the action of that name, or says why not."""
    if not isinstance(catalog, Catalog):
        raise InvalidArgument("call_tool", "catalog", "a Catalog", catalog)
    if not isinstance(policy, Policy):
        raise InvalidArgument("call_tool", "policy", "a Policy", policy)
    try:
        entry = _found(catalog, name)
        refused = refusal(entry, policy)
        if refused is not None:
            raise ActionNotAllowed(f"{entry.name} is not allowed: {refused}")
        streams = entry.action.kind is Kind.STREAM
        execution = runner.execution(entry.action, _parsed(arguments), context, telemetry, {}, stream=streams)
        if streams:
            execution.pump = _gather
        if entry.requires_confirmation:
            await _ask(entry, execution, policy)
        completed = await execution.complete()
        content = completed.value if streams else _written(completed.value)
        return ToolResult(True, content, completed.directives)
    except ActionError as error:
        return ToolResult(False, _told(error))


async def _gather(run: Execution, values: AsyncGenerator[Any, None]) -> str:
    """All that an action yields, as the text of a list: a model waits for the whole answer anyway."""
    texts: list[str] = []
    length = 0
    async with aclosing(values) as opened:
        async for value in opened:
            texts.append(_written(run.converted(value)))
            length += len(texts[-1]) + 2
            if length > _LONGEST_RESULT:
                raise InvalidOutput("", f"at most {_LONGEST_RESULT} characters of JSON", "more")
            await trio.lowlevel.checkpoint()
    return f"[{', '.join(texts)}]"


def _found(catalog: Catalog, name: object) -> Entry:
    entry = catalog.get(name) if isinstance(name, str) else None
    # One that is not public is like one that is not there.
    if entry is None or entry.visibility != Visibility.PUBLIC:
        raise UnknownTool(f"there is no tool {str(name)!r:.80}")
    return entry


def _parsed(arguments: object) -> object:
    """The arguments as data; a mapping is taken as it is."""
    if not isinstance(arguments, str | bytes | bytearray):
        return arguments
    if len(arguments) > _LONGEST_ARGUMENTS:
        raise InvalidInput("", f"at most {_LONGEST_ARGUMENTS} characters of JSON", f"{len(arguments)}")
    try:
        return json.loads(arguments, parse_constant=_refuse, parse_float=_finite, object_pairs_hook=_without_doubles)
    except RecursionError:
        raise InvalidInput("", "nesting that ends", "more") from None
    except ValueError as error:
        # The message of the decoder says where, not what.
        where = f": {error.msg} at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput("", f"valid JSON{where}", "text that is not") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ValueError("a key is there twice")
    return data


async def _ask(entry: Entry, execution: Execution, policy: Policy) -> None:
    assert policy.confirm is not None
    seconds = execution.options.total_timeout
    agreed: object = False
    with trio.move_on_after(math.inf if seconds is None else seconds):
        try:
            agreed = await policy.confirm(entry, dict(execution.values))
        except Exception:
            logger.exception("the confirmation of %s raised: that is a no", entry.name)
    if agreed is not True:
        raise ActionNotAllowed(f"{entry.name} is not allowed: it was not confirmed")


def _written(value: Any) -> str:
    try:
        text = json.dumps(to_data(value), ensure_ascii=False, allow_nan=False)
    except ConversionError as error:
        raise InvalidOutput(error.path, error.expected, error.got) from None
    except ValueError:
        raise InvalidOutput("", "finite numbers", "NaN or infinity") from None
    if len(text) > _LONGEST_RESULT:
        raise InvalidOutput("", f"at most {_LONGEST_RESULT} characters of JSON", f"{len(text)}")
    return text


def _told(error: ActionError) -> str:
    told = {
        "type": type(error).__name__,
        "message": redacted_text(str(error), _LONGEST_MESSAGE),
        "path": getattr(error, "path", None),
        "retryable": error.retryable,
    }
    return json.dumps({"error": told})
