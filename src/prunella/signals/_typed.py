from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Self, dataclass_transform

import attrs

from ..conversion import (
    ConversionError,
    check_immutable,
    converter,
    defining_namespace,
    resolve_annotations,
    to_data,
)
from ..errors import DefinitionError, InvalidArgument
from ._attributes import NO_EXTENSIONS, ExtensionValue, checked_text
from ._errors import InvalidSignal, Words
from ._signal import LEFT_OUT, LeftOut, Signal

__all__ = ["SignalType", "type_of"]

_RESERVED = frozenset({"signal", "from_signal"})
_FACTORY: Any = attrs.Factory  # a class, which attrs declares as a function to type checkers


@attrs.frozen
class _Definition:
    """What the class statement said, and the conversion of data that follows from it."""

    type: str
    source: str
    convert: Callable[[Any], Any]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(attrs.field,))
class SignalType:
    """The base of typed signals: a class is the payload of one type of signal, its value is frozen.

    Fields are annotated, immutable, and given by keyword. What is given is converted and checked strictly; of
    data from outside a key that no field has is refused too:

    .. code-block:: python

        from prunella.signals import SignalType

        class TicketOpened(SignalType, type="ticket.opened", source="/desk"):
            ticket: str
            priority: int = 0

        signal = TicketOpened(ticket="T-1").signal(subject="T-1")
        assert TicketOpened.from_signal(signal).ticket == "T-1"

    The class statement takes the `type` of its signals, and their `source` unless `signal` is told another. A
    class without `type` is a base of others and has no signals of its own: fields are inherited, `type` and
    `source` are not. Names that begin with an underscore, `signal` and `from_signal` cannot be fields.

    Raises:
        DefinitionError: where the class is made: an annotation does not resolve or can be changed in place, a
            default does not fit, a name is reserved, `type` or `source` is none.
        InvalidSignal: where an instance is made: a value does not fit its field.
    """

    _signal_definition: ClassVar[_Definition | None] = None

    def __init_subclass__(cls, *, type: str | None = None, source: str = "/", **more: Any) -> None:
        super().__init_subclass__(**more)
        owner = f"SignalType {cls.__qualname__!r}"
        try:
            if type is not None:
                type = checked_text(owner, "type", type)
            source = checked_text(owner, "source", source)
        except InvalidArgument as error:
            raise DefinitionError(str(error)) from None
        convert = _define(cls, owner, defining_namespace())
        cls._signal_definition = None if type is None else _Definition(type, source, convert)

    def signal(
        self,
        *,
        source: str | LeftOut = LEFT_OUT,
        id: str | LeftOut = LEFT_OUT,
        subject: str | None = None,
        time: datetime | LeftOut | None = LEFT_OUT,
        datacontenttype: str | LeftOut | None = LEFT_OUT,
        dataschema: str | None = None,
        extensions: Mapping[str, ExtensionValue] = NO_EXTENSIONS,
    ) -> Signal:
        """A signal of this class's type with this value as plain data.

        Args:
            source: in place of the class's.
            id, subject, time, datacontenttype, dataschema, extensions: as of `Signal`.

        Raises:
            InvalidSignal: an attribute is wrong.
            DefinitionError: the class has no type.
        """
        definition = _definition_of(self.__class__)
        return Signal(
            definition.type,
            to_data(self),
            source=definition.source if source is LEFT_OUT else source,
            id=id,
            subject=subject,
            time=time,
            datacontenttype=datacontenttype,
            dataschema=dataschema,
            extensions=extensions,
        )

    @classmethod
    def from_signal(cls, signal: Signal) -> Self:
        """The value that a signal of this class's type carries.

        Raises:
            InvalidSignal: the signal has another type, or data that does not fit; `field` says where.
            DefinitionError: the class has no type.
        """
        definition = _definition_of(cls)
        if not isinstance(signal, Signal):
            raise InvalidSignal(cls.__qualname__, "signal", "a Signal", Words(f"a {signal.__class__.__name__}"))
        if signal.type != definition.type:
            raise InvalidSignal(cls.__qualname__, "type", repr(definition.type), signal.type)
        try:
            value: Self = definition.convert(signal.data)
        except ConversionError as error:
            path = f"data{'.' if error.path[:1] not in ('', '[') else ''}{error.path}"
            raise InvalidSignal(cls.__qualname__, path, error.expected, Words(error.got)) from None
        return value


def type_of(cls: type[SignalType]) -> str:
    """The type of the signals of a class.

    Raises:
        DefinitionError: it has none, or is no `SignalType`.
    """
    return _definition_of(cls).type


def _definition_of(cls: type[SignalType]) -> _Definition:
    definition = getattr(cls, "_signal_definition", None)
    if definition is None:
        name = getattr(cls, "__qualname__", repr(cls))
        raise DefinitionError(f"{name} has no signals: give it type=... where the class is made")
    known: _Definition = definition
    return known


def _define(cls: type[SignalType], owner: str, namespace: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Makes the class an attrs class whose constructor converts; returns the conversion of its data."""
    hints = resolve_annotations(cls, namespace=namespace)
    hooks: dict[str, Callable[[Any], Any]] = {}

    def with_conversion(_: type, fields: list[attrs.Attribute[Any]]) -> list[attrs.Attribute[Any]]:
        made = []
        for field in fields:
            if not field.inherited and field.converter is None:  # type: ignore[attr-defined]  # not in attrs' stubs
                field = field.evolve(converter=_checked(cls, field.name, hooks))
            made.append(field)
        return made

    try:
        # Not slots: they would need a second class, which would come by here again.
        attrs.frozen(cls, slots=False, kw_only=True, auto_attribs=True, field_transformer=with_conversion)
    except attrs.exceptions.UnannotatedAttributeError as error:
        raise DefinitionError(f"{owner}: every field needs an annotation: {error}") from None
    # Compiled only now, when the class is complete, for a field may be of the class itself.
    for field in attrs.fields(cls):  # type: ignore[arg-type]  # an attrs class since a few lines
        name = field.name
        if name in _RESERVED or name.startswith("_"):
            raise DefinitionError(f"{owner}: {name!r} cannot be a field, its name is taken")
        check_immutable(owner, name, hints[name])
        hooks[name] = converter(hints[name], closed=True, namespace=namespace)
        if field.default is not attrs.NOTHING and not isinstance(field.default, _FACTORY):
            try:
                hooks[name](field.default)
            except ConversionError as error:
                raise DefinitionError(f"{owner}: the default of {name!r} does not fit: {error}") from None
    return converter(cls, closed=True, namespace=namespace)


def _checked(cls: type[SignalType], name: str, hooks: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return hooks[name](value)
        except ConversionError as error:
            dot = "." if error.path[:1] not in ("", "[") else ""
            raise InvalidSignal(
                cls.__qualname__, f"{name}{dot}{error.path}", error.expected, Words(error.got)
            ) from None

    return convert
