"""Handlers, compiled: one function each, that takes the parameters out of a signal and calls the method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType, UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import attrs

from ..conversion import (
    ConversionError,
    Field,
    Fields,
    converter,
    descriptions,
    exact_type,
    resolve_annotations,
    summary,
)
from ..errors import DefinitionError, InvalidArgument
from ..signals import InvalidPattern, InvalidSignal, Route, Signal, SignalType, type_of
from ._context import Context
from ._errors import InvalidSignalData
from ._fields import path
from ._hidden import visible
from ._on import MARK, Subscription

__all__ = ["Call", "Handler", "compile_handler"]

Call = Callable[[Any, Signal, Callable[[], Context]], Any]

_NO_DEFAULT: Final = Field().default


@attrs.frozen(eq=False)
class Handler:
    """A method that handles signals.

    Attributes:
        name: of the method.
        title: with its class, for messages: `Support.opened`.
        call: called with the agent, the signal and a function that makes the Context; gives what the method
            returns.
        routes: for each pattern the route to this handler; `when` stands beside, for what it raises is a crash.
        takes_context: whether it asks for the Context.
        takes_signal: whether it asks for the Signal.
        record: the parameters that come from data, for their schema.
        description: the first paragraph of the docstring.
    """

    name: str
    title: str
    call: Call
    routes: tuple[tuple[Route[str], Callable[[Signal], object] | None], ...]
    takes_context: bool
    takes_signal: bool
    record: Fields
    description: str


def compile_handler(owner: str, name: str, function: Any, namespace: Mapping[str, Any]) -> Handler:
    """The handler that a method marked by `on` is.

    Raises:
        DefinitionError: it cannot be one; the message says why.
    """
    title = f"{owner}.{name}"
    _check_kind(title, function)
    subscriptions: tuple[Subscription, ...] = getattr(function, MARK)
    routes = _routes(title, name, subscriptions)
    typed = {
        pattern: type_of(pattern)
        for subscription in subscriptions
        for pattern in subscription.patterns
        if isinstance(pattern, type)
    }
    builder = _Builder(title, function, namespace, typed)
    return Handler(
        name,
        title,
        builder.compiled(),
        routes,
        builder.takes_context,
        builder.takes_signal,
        builder.record,
        summary(function.__doc__),
    )


def _check_kind(title: str, function: Any) -> None:
    plain = inspect.unwrap(function) if callable(function) else function
    for looked_at in (function, plain):
        if isinstance(looked_at, (staticmethod, classmethod)) or not isinstance(looked_at, FunctionType):
            raise DefinitionError(f"{title}: a handler is a plain method, not a {type(looked_at).__name__}")
        if inspect.iscoroutinefunction(looked_at) or inspect.isasyncgenfunction(looked_at):
            raise DefinitionError(
                f"{title}: a handler does not wait, so it is no async function; return Run(...) for what waits"
            )
        if inspect.isgeneratorfunction(looked_at):
            raise DefinitionError(f"{title}: a handler returns its result, it does not yield; return a tuple")


def _routes(
    title: str, name: str, subscriptions: tuple[Subscription, ...]
) -> tuple[tuple[Route[str], Callable[[Signal], object] | None], ...]:
    routes = []
    for subscription in subscriptions:
        for pattern in subscription.patterns:
            text = type_of(pattern) if isinstance(pattern, type) else pattern
            try:
                route = Route(text, name, priority=subscription.priority, when=subscription.when)
            except (InvalidPattern, InvalidArgument) as error:
                raise DefinitionError(f"{title}: {error}") from error
            routes.append((Route(text, name, priority=route.priority), route.when))
    return tuple(routes)


class _Builder:
    """The compilation of one handler."""

    def __init__(
        self, title: str, function: Any, namespace: Mapping[str, Any], typed: Mapping[type[SignalType], str]
    ) -> None:
        self.title = title
        self.namespace = namespace
        self.typed = typed
        self.takes_context = False
        self.takes_signal = False
        self.fields: dict[str, Field] = {}
        self.rest: Any = None
        self._hints = _parameter_hints(function, namespace)
        self._said = descriptions(function.__doc__)
        self._names: dict[str, Any] = {
            "_function": function,
            "_missing": self._missing,
            "_mapping": self._mapping,
            "_visible": visible,
        }
        self._lines: list[str] = []
        self._arguments: list[str] = []
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind not in (
            inspect.Parameter.POSITIONAL_ONLY,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
        ):
            raise DefinitionError(f"{title}: a handler is a method, its first parameter is self")
        # A key like the name of a parameter that is not data, self for one, would be given twice: it is not taken.
        by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        self._taken = {parameter.name for parameter in parameters if parameter.kind in by_name}
        for number, parameter in enumerate(parameters[1:]):
            self._parameter(parameter, f"p{number}")
        self.record = Fields(title, self.fields, rest=self.rest, namespace=namespace)
        for number, parameter in enumerate(parameters[1:]):
            if parameter.name in self.record.defaults:
                self._names[f"_default_p{number}"] = self.record.defaults[parameter.name]

    def _parameter(self, parameter: inspect.Parameter, place: str) -> None:
        name = parameter.name
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise DefinitionError(
                f"{self.title}: {name!r} is positional-only, but parameters are given by name; take the '/' away"
            )
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            raise DefinitionError(
                f"{self.title}: parameters are given by name; take '*{name}' away, or write '**{name}'"
            )
        annotation = _handed_in(self._hints.get(name, Any))
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            self.rest = annotation
            self._take_rest(name, annotation, place)
            return
        if annotation is Signal:
            self.takes_signal = True
            value = "_visible(_signal)"
        elif annotation is Context:
            self.takes_context = True
            value = "_context"
        elif self._is_typed(annotation):
            value = place
            self._names[f"_typed_{place}"] = self._typed_reader(annotation)
            self._lines.append(f"{place} = _typed_{place}(_signal)")
        else:
            value = place
            self._take(name, annotation, parameter, place)
        keyword = f"{name}=" if parameter.kind is inspect.Parameter.KEYWORD_ONLY else ""
        self._arguments.append(f"{keyword}{value}")

    def _take(self, name: str, annotation: Any, parameter: inspect.Parameter, place: str) -> None:
        has_default = parameter.default is not inspect.Parameter.empty
        default = parameter.default if has_default else _NO_DEFAULT
        self.fields[name] = Field(annotation, default, self._said.get(name, ""))
        if has_default:
            self._names[f"_default_{place}"] = default
            otherwise = f"{place} = _default_{place}"
        else:
            otherwise = f"raise _missing(_signal, {name!r})"
        self._lines += ["try:", f"    {place} = _data[{name!r}]", "except KeyError:", f"    {otherwise}"]
        if annotation is Any or annotation is object:
            return
        try:
            convert = converter(annotation, namespace=self.namespace)
        except DefinitionError as error:
            raise DefinitionError(f"{self.title}: {name!r}: {error}") from error
        exact = exact_type(annotation)
        self._names[f"_convert_{place}"] = self._reader(name, convert)
        self._names[f"_exact_{place}"] = exact
        convert_it = f"{place} = _convert_{place}({place}, _signal)"
        test = "" if exact is None else f"if {place}.__class__ is not _exact_{place}: "
        self._lines += ["else:", f"    {test}{convert_it}"]

    def _take_rest(self, name: str, annotation: Any, place: str) -> None:
        try:
            convert = None if annotation is Any else converter(annotation, namespace=self.namespace)
        except DefinitionError as error:
            raise DefinitionError(f"{self.title}: {name!r}: {error}") from error
        taken = self._taken

        def rest(data: Mapping[Any, Any], signal: Signal) -> dict[str, Any]:
            values = {}
            for key, value in data.items():
                if not isinstance(key, str):
                    raise InvalidSignalData(self.title, signal.type, "", "keys of type str", type(key).__name__)
                if key not in taken:
                    values[key] = value if convert is None else self._converted(key, convert, value, signal)
            return values

        self._names[f"_rest_{place}"] = rest
        self._arguments.append(f"**_rest_{place}(_data, _signal)")

    def _is_typed(self, annotation: Any) -> bool:
        members = get_args(annotation) or (annotation,)
        return bool(self.typed) and all(isinstance(member, type) and member in self.typed for member in members)

    def _typed_reader(self, annotation: Any) -> Callable[[Signal], Any]:
        classes = {self.typed[member]: member for member in get_args(annotation) or (annotation,)}
        some = next(iter(classes.values()))

        def read(signal: Signal) -> Any:
            try:
                return classes.get(signal.type, some).from_signal(signal)
            except InvalidSignal as error:
                where = error.field.removeprefix("data").removeprefix(".")
                raise InvalidSignalData(self.title, signal.type, where, error.expected, f"{error.got!r}") from None

        return read

    def _reader(self, name: str, convert: Callable[[Any], Any]) -> Callable[[Any, Signal], Any]:
        return lambda value, signal: self._converted(name, convert, value, signal)

    def _converted(self, name: str, convert: Callable[[Any], Any], value: Any, signal: Signal) -> Any:
        try:
            return convert(value)
        except ConversionError as error:
            where = path(name, error.path)
            raise InvalidSignalData(self.title, signal.type, where, error.expected, error.got) from None

    def _missing(self, signal: Signal, name: str) -> InvalidSignalData:
        return InvalidSignalData(self.title, signal.type, name, "a value", "nothing")

    def _mapping(self, data: Any, signal: Signal) -> Mapping[str, Any]:
        """Data that is no dict: another mapping, or what only a handler that takes the Signal can make sense of."""
        if isinstance(data, Mapping):
            return data
        if self.takes_signal:
            return {}
        got = "None" if data is None else type(data).__name__
        raise InvalidSignalData(self.title, signal.type, "", "a mapping", got)

    def compiled(self) -> Call:
        """The function."""
        body = []
        if self.fields or self.rest is not None:
            body.append("_data = _signal.data")
            body.append("if _data.__class__ is not dict: _data = _mapping(_data, _signal)")
        body += self._lines
        if self.takes_context:
            body.append("_context = _make_context()")
        body.append(f"return _function(_agent, {', '.join(self._arguments)})")
        source = "def _call(_agent, _signal, _make_context):\n" + "".join(f"    {line}\n" for line in body)
        # All of it is names of parameters, which are identifiers.
        exec(compile(source, f"<what calls {self.title}>", "exec"), self._names)
        call: Call = self._names["_call"]
        return call


def _handed_in(annotation: Any) -> Any:
    """`Signal` or `Context` where it stands beside `None`, for there always is one; else the annotation."""
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if get_origin(plain) in (Union, UnionType):
        others = [member for member in get_args(plain) if member is not type(None)]
        plain = others[0] if len(others) == 1 else plain
    return plain if plain is Signal or plain is Context else annotation


def _parameter_hints(function: Any, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of the parameters; that of the result is for type checkers alone and need not resolve."""
    plain = inspect.unwrap(function)
    trimmed = FunctionType(plain.__code__, plain.__globals__, plain.__name__, None, plain.__closure__)
    trimmed.__qualname__ = plain.__qualname__
    trimmed.__annotations__ = {
        name: annotation for name, annotation in plain.__annotations__.items() if name != "return"
    }
    return resolve_annotations(trimmed, namespace=namespace)
