from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, dataclass_transform

from ..conversion import ConversionError, defining_namespace, to_data
from ..errors import DefinitionError, InvalidArgument
from ..signals import Signal
from ..signals._errors import kind
from ._context import Context, with_signal
from ._definition import Definition, define
from ._directive import Directive
from ._durable import Durable
from ._fields import path
from ._hidden import visible
from ._strictness import ENVIRONMENT, STRICT, strict_by_environment
from ._timing import Cron, Schedule
from ._turns import take_turn

__all__ = ["Agent"]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Agent:
    """The base of agents: an immutable value, with handlers that decide what comes next.

    Annotated names are the fields of its state, given by keyword, converted and checked strictly. Methods that `on`
    marks are its handlers::

        class Counter(Agent, name="counter"):
            count: int = 0

            @on("counter.add")
            def add(self, amount: int = 1):
                return self.set(count=self.count + amount)

        agent, directives = Counter().cmd("counter.add", amount=2)
        assert agent == Counter(count=2)

    A handler takes parameters by name out of the signal's data, converted; a parameter annotated `Signal` or
    `Context` is handed in, and one annotated with the typed signal's class that `on` names gets that. It returns
    `None`, a changed agent, a directive, or a tuple of these with the agent first; or it raises `Rejected`.

    Fields, handlers and other methods can have any name but `cmd`, `set`, `to_data`, `from_data`, and names that begin
    with an underscore.

    The class statement takes, all optional:

    - `name`: by which it is known and stored; the class name in snake case by default.
    - `version`: of the form of its state, from 1 on; see `migrate`.
    - `description`: the first paragraph of the docstring by default.
    - `tags`: texts to find it by.
    - `schedules`: `Cron` and `Schedule` directives with keys, armed whenever the agent starts.
    - `durable`: `True` or `Durable(...)`, for agents whose turns are stored. Needs `name`, and a storage.

    Fields, handlers and migrations are inherited, and so is `durable`; the other keywords are not. A class without
    `name` that has subclasses is a base, and cannot be started.

    Raises:
        DefinitionError: where the class is made: a field or handler is defined wrongly, or a keyword.
        InvalidArgument: where a value is made: a field does not fit, is missing, or is not known.
    """

    _prunella_root: ClassVar[bool] = True
    _prunella_definition: ClassVar[Definition | None] = None

    def __init_subclass__(
        cls,
        *,
        name: str | None = None,
        version: int = 1,
        description: str | None = None,
        tags: Iterable[str] = (),
        strategy: None = None,
        schedules: Iterable[Cron | Schedule] = (),
        durable: bool | Durable | None = None,
        **more: Any,
    ) -> None:
        _hand_on(super(), cls, more)
        if strategy is not None:
            raise DefinitionError(f"{cls.__qualname__}: strategy= is not there yet; leave it out")
        if durable is None:  # nothing was said: inherited
            base = next((base._prunella_definition for base in cls.__mro__[1:] if issubclass(base, Agent)), None)
            durable = False if base is None or base.durable is None else base.durable
        cls._prunella_root = False
        definition = define(
            cls,
            defining_namespace(),
            name=name,
            version=version,
            description=description,
            tags=tags,
            schedules=schedules,
            durable=durable,
        )
        cls._prunella_definition = definition
        if not TYPE_CHECKING:
            cls.__new__ = definition.state.make
            cls.set = definition.state.evolve
        _check_layout(cls, definition)

    if not TYPE_CHECKING:  # a type checker knows the constructor by the fields

        def __new__(cls, /, **values: Any) -> Self:
            raise DefinitionError("Agent itself has no fields and no handlers: derive a class of your own from it")

    def cmd(
        self,
        signal: Signal | str,
        /,
        *more: Signal,
        context: Context | None = None,
        strict: bool | None = None,
        **data: Any,
    ) -> tuple[Self, tuple[Directive, ...]]:
        """Decides one signal, or several, each in a turn of its own. Nothing happens: effects are described.

        Args:
            signal: the type of a signal, whose data are the keywords; or a whole `Signal`.
            more: further signals, after a `Signal`. The first that is refused or crashes raises.
            context: what handlers can know of time, chance and family; the wall clock's time and fresh chance by
                default.
            strict: whether every handler runs twice and must do the same; by default what the environment variable
                `PRUNELLA_STRICT` says.
            data: the data of the signal. `context` and `strict` are never data: whoever has such keys passes a
                `Signal`.

        Returns:
            The agent after it, and the directives of all turns.

        Raises:
            UnhandledSignal: no handler takes a signal.
            InvalidSignalData: its data does not fit a handler's parameters.
            Rejected: a handler refused it.
            InvalidArgument: `signal` is neither a type nor a Signal, or a Signal is given keywords.
            Exception: what else a handler raises; in a runtime that is a crash.
        """
        if signal.__class__ is str and signal and not more:
            first = Signal(signal, data)
        else:
            first = _checked_signal(signal, more, data)
        if context is not None and context.__class__ is not Context:
            raise InvalidArgument("cmd", "context", "a Context (data with such a key goes into a Signal)", context)
        if strict is None:
            strict = STRICT in ENVIRONMENT and strict_by_environment()
        elif strict.__class__ is not bool:
            raise InvalidArgument("cmd", "strict", "a bool (data with such a key goes into a Signal)", strict)
        agent, directives = take_turn(
            self,
            first,
            lambda: Context(signal=visible(first)) if context is None else with_signal(context, first),
            strict=strict,
        )
        for further in more:
            agent, others = agent.cmd(further, context=context, strict=strict)
            directives += others
        return agent, directives

    def set(self, /, **changes: Any) -> Self:
        """The same agent with other values of some fields. Values are taken as they are, unconverted.

        In strict mode values of the wrong type are refused.

        Raises:
            InvalidArgument: there is no such field.
        """
        raise DefinitionError("Agent itself has no fields")

    def to_data(self) -> dict[str, Any]:
        """The state as plain data; `from_data` makes an equal agent of it.

        Raises:
            ConversionError: a field holds what has no form as data.
        """
        data = {}
        for name, value in self.__dict__.items():
            try:
                data[name] = to_data(value)
            except ConversionError as error:
                raise ConversionError(path(name, error.path), error.expected, error.got) from None
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """An agent of plain data, converted and checked; what is left out has its default.

        Raises:
            ConversionError: a field does not fit, is missing, or is not known.
        """
        if not isinstance(data, Mapping):
            raise ConversionError("", f"a mapping of the fields of {cls.__qualname__}", type(data).__name__)
        definition = cls._prunella_definition
        if definition is None:
            raise DefinitionError("Agent itself has no fields and no handlers: derive a class of your own from it")
        made: Self = definition.state.convert(data)
        return made

    def __eq__(self, other: object) -> bool:
        if self.__class__ is not other.__class__:
            return NotImplemented
        return self is other or self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((self.__class__, *self.__dict__.values()))

    def __repr__(self) -> str:
        fields = ", ".join([f"{name}={value!r}" for name, value in self.__dict__.items()])
        return f"{self.__class__.__qualname__}({fields})"

    def __setattr__(self, name: str, value: object) -> None:
        kind = self.__class__.__qualname__
        raise AttributeError(f"{kind} does not change: self.set({name}=...) gives a changed one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self.__class__.__qualname__} does not change")

    def __replace__(self, /, **changes: Any) -> Self:
        """`copy.replace`: the same as `set`."""
        return self.set(**changes)

    def __copy__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.__class__, dict(self.__dict__))


def _unpickled(cls: type[Agent], values: dict[str, Any]) -> Agent:
    definition = cls._prunella_definition
    assert definition is not None
    agent: Agent = definition.state.build(values)
    return agent


def _checked_signal(signal: object, more: tuple[object, ...], data: Mapping[str, Any]) -> Signal:
    if not isinstance(signal, Signal):
        if isinstance(signal, str) and signal and not more:
            return Signal(signal, dict(data))
        expected = "a Signal, for more follow" if isinstance(signal, str) and more else "a signal type or a Signal"
        raise InvalidArgument("cmd", "signal", expected, signal)
    for further in more:
        if not isinstance(further, Signal):
            raise InvalidArgument("cmd", "more", "Signals", further)
    if data:
        name, value = next(iter(data.items()))
        raise InvalidArgument("cmd", name, "left out, for a Signal has its own data", kind(value))
    return signal


def _hand_on(parent: Any, cls: type, more: dict[str, Any]) -> None:
    """Further keywords are for other bases; what nobody takes is a mistake in the class statement."""
    try:
        parent.__init_subclass__(**more)
    except TypeError as error:
        if not more:
            raise
        known = "name, version, description, tags, schedules, durable"
        names = ", ".join(more)
        raise DefinitionError(f"{cls.__qualname__}: a class of agents takes {known}; not {names}") from error


def _check_layout(cls: type, definition: Definition) -> None:
    """Sees that values of the class can be made at all."""
    state = definition.state
    try:
        state.build(dict.fromkeys(state.names))
    except TypeError:
        others = [base.__qualname__ for base in cls.__mro__[1:-1] if not issubclass(base, Agent) and base is not object]
        raise DefinitionError(
            f"{cls.__qualname__}: agents cannot have bases with slots or of built-in types ({', '.join(others)})"
        ) from None
