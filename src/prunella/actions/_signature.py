"""What a function takes and returns, compiled from its annotations."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping
from enum import StrEnum
from typing import Any, Union, final, get_args, get_origin

import attrs

from ..conversion import Field, Fields, converter, descriptions, json_schema, resolve_annotations
from ..errors import DefinitionError
from ._context import ActionContext, IdempotencyKey
from ._errors import InvalidAction
from ._results import Result

__all__ = ["HandedIn", "Kind", "Signature", "compile_signature", "factories_of", "handed_in"]

_NO_DEFAULT: Any = Field().default
_FACTORY: Any = attrs.Factory  # a class, which attrs declares as a function to type checkers


class Kind(StrEnum):
    """How a function does its work."""

    SYNC = "sync"
    ASYNC = "async"
    STREAM = "stream"
    PROCESS = "process"
    COMPOSITE = "composite"


class HandedIn(StrEnum):
    """What a parameter gets that is no input."""

    CONTEXT = "ActionContext"
    KEY = "IdempotencyKey"
    RUNTIME = "Runtime"
    AGENT = "AgentRef"


_NAMES = frozenset(HandedIn)


@final
@attrs.frozen(eq=False)
class Signature:
    """Parameters and result of an action.

    Attributes:
        fields: converts and describes the parameters together.
        parameters: each of them.
        open: whether further keys are taken.
        handed_in: the parameters that are no input.
        defaults: what parameters are that are left out, where the function's own default is not of its annotation.
        output: converts the result; None if everything is taken.
        output_annotation: what it is converted to.
        factories: what makes the parameters that are left out, where the default is an `attrs.Factory`.
    """

    fields: Fields
    parameters: Mapping[str, Field]
    open: bool
    handed_in: Mapping[str, HandedIn]
    defaults: Mapping[str, Any]
    output: Callable[[Any], Any] | None
    output_annotation: Any
    factories: Mapping[str, Callable[[], Any]] = attrs.field(factory=dict)

    def with_defaults(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters of a run, with what those are that were left out."""
        return {**self.fields.defaults, **values}

    def output_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result."""
        return json_schema(self.output_annotation)  # compiled when the converter was, names and all


def compile_signature(
    owner: str,
    function: Callable[..., Any],
    kind: Kind,
    docstring: str | None,
    *,
    open: bool,
    namespace: Mapping[str, Any],
) -> Signature:
    """What a function takes and returns.

    Raises:
        InvalidAction: it cannot be an action.
    """
    try:
        signature = inspect.signature(function)
        hints = resolve_annotations(inspect.unwrap(function), namespace=namespace)
    except DefinitionError as error:
        raise InvalidAction(f"{owner}: {error}") from error
    except (TypeError, ValueError) as error:
        raise InvalidAction(f"{owner}: its parameters cannot be found out: {error}") from error
    said = descriptions(docstring)
    parameters: dict[str, Field] = {}
    handed: dict[str, HandedIn] = {}
    rest: Any = None
    for name, parameter in signature.parameters.items():
        annotation = _annotation(owner, parameter, hints)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            rest = annotation
            continue
        what = _handed_in(annotation)
        if what is not None:
            handed[name] = what
            continue
        given = parameter.default is not inspect.Parameter.empty
        parameters[name] = Field(annotation, parameter.default if given else _NO_DEFAULT, said.get(name, ""))
    if open and rest is None:
        raise InvalidAction(f"{owner}: open=True hands unknown keys to a parameter **rest, and there is none")
    output_annotation = _output(owner, hints.get("return", Any), kind)
    try:
        fields = Fields(owner, parameters, closed=True, rest=rest if open else None, namespace=namespace)
        fields.schema()
        output = None if output_annotation is Any else converter(output_annotation, closed=True, namespace=namespace)
    except InvalidAction:
        raise
    except DefinitionError as error:
        raise InvalidAction(str(error)) from error
    changed = {name: value for name, value in fields.defaults.items() if value is not parameters[name].default}
    made = factories_of(owner, parameters)
    return Signature(fields, parameters, open, handed, changed, output, output_annotation, made)


def factories_of(owner: str, parameters: Mapping[str, Field]) -> dict[str, Callable[[], Any]]:
    """What makes the defaults of those parameters that have a new one each time.

    Raises:
        InvalidAction: one is made of the object whose field it is, and here there is none.
    """
    found: dict[str, Callable[[], Any]] = {}
    for name, field in parameters.items():
        if isinstance(field.default, _FACTORY):
            if field.default.takes_self:
                raise InvalidAction(f"{owner}: the default of {name!r} is made of an object that there is not")
            found[name] = field.default.factory
    return found


def _annotation(owner: str, parameter: inspect.Parameter, hints: Mapping[str, Any]) -> Any:
    name = parameter.name
    if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
        raise InvalidAction(f"{owner}: {name!r} is positional-only, but an action is called with keywords")
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        raise InvalidAction(f"{owner}: an action is called with keywords; take '*{name}' away, or take a tuple")
    if name not in hints:
        raise InvalidAction(f"{owner}: the parameter {name!r} has no annotation; write Any if everything will do")
    return hints[name]


def _handed_in(annotation: Any) -> HandedIn | None:
    if isinstance(annotation, str):
        # It could not be resolved; what it begins with says enough.
        name = annotation.partition("[")[0].rpartition(".")[2]
        return HandedIn(name) if name in _NAMES else None
    if annotation is ActionContext:
        return HandedIn.CONTEXT
    if annotation is IdempotencyKey:
        return HandedIn.KEY
    cls = get_origin(annotation) or annotation
    # By name: this package knows no running agents.
    if getattr(cls, "__module__", "").startswith("prunella.runtime"):
        name = getattr(cls, "__name__", "")
        if name in (HandedIn.RUNTIME, HandedIn.AGENT):
            return HandedIn(name)
    return None


def handed_in(function: Callable[..., Any]) -> dict[str, HandedIn]:
    """The parameters of any function that are no input, by its annotations as far as they can be found out."""
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception:
        try:
            parameters = inspect.signature(function).parameters
        except (TypeError, ValueError):
            return {}
    found = {name: _handed_in(parameter.annotation) for name, parameter in parameters.items()}
    return {name: what for name, what in found.items() if what is not None}


_STREAMS = (AsyncIterator, AsyncGenerator, AsyncIterable)


def _output(owner: str, annotation: Any, kind: Kind) -> Any:
    """What the result, or each yielded value, is converted to."""
    if annotation is Any:
        return Any
    if kind is Kind.STREAM:
        if get_origin(annotation) in _STREAMS:
            return get_args(annotation)[0]
        if annotation in _STREAMS:
            return Any
        raise InvalidAction(f"{owner}: it yields, so its return annotation is AsyncIterator[...]")
    if annotation is Result:
        return Any
    if get_origin(annotation) is Result:
        return get_args(annotation)[0]
    members = get_args(annotation)
    if any(member is Result or get_origin(member) is Result for member in members) and get_origin(annotation) not in (
        dict,
        list,
        tuple,
    ):
        return Union[tuple(_output(owner, member, kind) for member in members)]  # noqa: UP007 - of a tuple there is no other form
    return annotation
