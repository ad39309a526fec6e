"""What a class of agents is, compiled when it is made: its fields, handlers and routes, and what was said of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import attrs

from ..conversion import ConversionError, summary
from ..errors import DefinitionError, InvalidArgument
from ..signals import Route, Router, Signal
from ..signals._errors import Words, kind
from ._durable import Durable
from ._fields import RESERVED, State, compile_state
from ._handlers import Handler, compile_handler
from ._migrate import compile_migrations
from ._on import MARK
from ._restorable import unrestorable
from ._timing import Cron, Schedule

__all__ = ["Conditional", "Definition", "Keywords", "define"]

# Types come from outside: their number and their length have a bound here.
_MOST_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 256

_NAME: Final = re.compile(r"[a-z][a-z0-9_.-]*")
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_NOT_TO_DEFINE: Final = ("__init__", "__new__", "__slots__", "__eq__", "__hash__", "__setattr__", "__delattr__")

_Rule = tuple[Handler, Callable[[Signal], object] | None]


class Conditional:
    """Handlers of which at least one has a predicate, in order; one stands there for each pattern that matches."""

    __slots__ = ("rules",)

    def __init__(self, rules: tuple[_Rule, ...]) -> None:
        self.rules = rules

    def handlers(self, signal: Signal) -> tuple[Handler, ...]:
        """Those that take this signal, each once. What a predicate raises is raised."""
        taken: dict[Handler, None] = {}
        for handler, when in self.rules:
            if when is None or when(signal):
                taken[handler] = None
        return tuple(taken)


@attrs.frozen
class Keywords:
    """What a class statement said, checked."""

    name: str
    is_named: bool
    version: int
    description: str
    tags: tuple[str, ...]
    schedules: tuple[Cron | Schedule, ...]
    durable: Durable | None


class Definition:
    """What a class is, for those who run its agents.

    Attributes:
        agent_class: the class.
        name, version, description, tags, schedules, durable: what was said of it.
        is_named: whether `name=` was given.
        state: the fields.
        handlers: by name, in the order of their definition.
        migrations: by the version that they begin at.
        found: what a type has led to, for the types that came last: one handler, a tuple of handlers, or a
            `Conditional`. Read it first and call `look_up` for what is not there.
        hears_lifecycle: whether a handler has a pattern that begins with `prunella.`.
    """

    def __init__(
        self,
        agent_class: type,
        said: Keywords,
        state: State,
        handlers: Mapping[str, Handler],
        migrations: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]],
    ) -> None:
        self.agent_class = agent_class
        self.name = said.name
        self.is_named = said.is_named
        self.version = said.version
        self.description = said.description
        self.tags = said.tags
        self.schedules = said.schedules
        self.durable = said.durable
        self.state = state
        self.handlers = handlers
        self.migrations = migrations
        self.found: dict[str, Handler | tuple[Handler, ...] | Conditional] = {}
        rules = [(route, (handler, when)) for handler in handlers.values() for route, when in handler.routes]
        self._router: Router[tuple[Route[str], _Rule]] = Router(
            [Route(route.pattern, (route, rule), priority=route.priority) for route, rule in rules]
        )
        self.hears_lifecycle = any(route.pattern.startswith("prunella.") for route, _ in rules)

    @cached_property
    def unrestorable(self) -> str | None:
        """Which field's values a storage could not give back, and what to do; None if it can."""
        annotations = {name: field.annotation for name, field in self.state.fields.items()}
        return unrestorable(annotations)

    @property
    def is_base(self) -> bool:
        """Whether it is only a base of other classes, and cannot be started: it has no name, but subclasses."""
        return not self.is_named and bool(self.agent_class.__subclasses__())

    @property
    def routes(self) -> tuple[Route[str], ...]:
        """Patterns and names of handlers, in the order of their definition."""
        return tuple(
            Route(route.pattern, handler.name, priority=route.priority, when=when)
            for handler in self.handlers.values()
            for route, when in handler.routes
        )

    def look_up(self, type: str) -> Handler | tuple[Handler, ...] | Conditional:
        """The handlers of a type; they are remembered."""
        entry = self._entry(type)
        if len(type) <= _LONGEST_REMEMBERED:
            if len(self.found) >= _MOST_REMEMBERED:
                self.found.clear()
            self.found[type] = entry
        return entry

    def _entry(self, type: str) -> Handler | tuple[Handler, ...] | Conditional:
        targets = self._router.route(Signal(type))
        if type.startswith("prunella."):
            # Who listens to everything does not mean the runtime's own signals.
            targets = tuple([(route, rule) for route, rule in targets if not route.pattern.startswith("*")])
        rules = tuple([rule for _, rule in targets])
        if any(when is not None for _, when in rules):
            return Conditional(rules)
        handlers = tuple(dict.fromkeys(handler for handler, _ in rules))
        return handlers[0] if len(handlers) == 1 else handlers

    def handlers_of(self, type: str) -> tuple[Handler, ...]:
        """The handlers of a type in their order, whatever their predicates say."""
        entry = self.found[type] if type in self.found else self.look_up(type)
        if isinstance(entry, Handler):
            return (entry,)
        if isinstance(entry, Conditional):
            return tuple(dict.fromkeys(handler for handler, _ in entry.rules))
        return entry

    def hears(self, type: str) -> bool:
        """Whether some handler takes signals of this type, predicates aside."""
        return bool(self.handlers_of(type))

    def takes_context(self, type: str) -> bool:
        """Whether one of the handlers of this type asks for the Context."""
        return any(handler.takes_context for handler in self.handlers_of(type))

    def initial(self, state: object, *, owner: str) -> Any:
        """The first value of an agent that is to be started.

        Args:
            state: `None`, a mapping of fields, or a value of the class.
            owner: who asks, for messages.

        Raises:
            InvalidArgument: it does not fit, a field without default is missing, or the class is only a base.
        """
        if state is None and not self.state.required and not self.is_base:
            return self.state.fresh
        title = f"{owner} of {self.state.owner}"
        if self.is_base:
            raise InvalidArgument(title, "agent", "a class with name=, for this one is a base", Words("none"))
        if type(state) is self.agent_class:
            return state
        if state is not None and not isinstance(state, Mapping):
            raise InvalidArgument(title, "state", f"a mapping of fields, or a value of {self.state.owner}", kind(state))
        try:
            return self.state.convert({} if state is None else state)
        except ConversionError as error:
            where = f"state.{error.path}" if error.path[:1] not in ("", "[") else f"state{error.path}"
            raise InvalidArgument(title, where, error.expected, Words(error.got)) from None


def define(
    cls: type,
    namespace: Mapping[str, Any],
    *,
    name: str | None,
    version: int,
    description: str | None,
    tags: Iterable[str],
    schedules: Iterable[Cron | Schedule],
    durable: bool | Durable,
) -> Definition:
    """Compiles a class.

    Raises:
        DefinitionError: something in it is wrong; the message says what, where, and what to do.
    """
    owner = cls.__qualname__
    _check_names(cls, owner)
    said = Keywords(
        _checked_name(cls, owner, name),
        name is not None,
        _checked_version(owner, version),
        _checked_description(cls, owner, description),
        _checked_tags(owner, tags),
        _checked_schedules(owner, schedules),
        _checked_durable(owner, durable, name),
    )
    known = {
        **namespace,
        **{key: value for key, value in vars(cls).items() if isinstance(value, type)},
        cls.__name__: cls,
    }
    state = compile_state(cls, namespace)
    handlers = _handlers(cls, owner, known)
    definition = Definition(cls, said, state, handlers, compile_migrations(cls, owner, said.version))
    if said.durable is not None and definition.unrestorable is not None:
        raise DefinitionError(f"{owner} is durable: {definition.unrestorable}")
    return definition


def _check_names(cls: type, owner: str) -> None:
    for base in cls.__mro__:
        definition = base.__dict__.get("_prunella_definition")
        if base.__dict__.get("_prunella_root") or (base is not cls and isinstance(definition, Definition)):
            break
        for name in base.__dict__:
            if name in RESERVED:
                raise DefinitionError(f"{owner}: {name!r} is reserved, every agent has it; rename it")
            if name in _NOT_TO_DEFINE and base is cls:
                raise DefinitionError(
                    f"{owner}: an agent does not define {name}; its fields say what it holds, and it is a value"
                )


def _handlers(cls: type, owner: str, namespace: Mapping[str, Any]) -> dict[str, Handler]:
    """The handlers by name: bases before subclasses, then in the order of the class body.

    What a name means is what the class itself has under it, so a method that is redefined without `on` is none any
    more.
    """
    handlers: dict[str, Handler] = {}
    for base in reversed(cls.__mro__):
        for name, value in base.__dict__.items():
            if next(other for other in cls.__mro__ if name in other.__dict__) is not base:
                continue
            inner = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
            if not isinstance(getattr(inner, MARK, None), tuple):
                continue
            if name.startswith("_"):
                raise DefinitionError(f"{owner}: {name!r} cannot be a handler, for it begins with an underscore")
            definition = base.__dict__.get("_prunella_definition")
            if isinstance(definition, Definition):
                handlers[name] = definition.handlers[name]  # compiled with the names around its own class
            else:
                handlers[name] = compile_handler(owner, name, value, namespace)
    return handlers


def _checked_name(cls: type, owner: str, name: str | None) -> str:
    derived = _WORD.sub("_", cls.__name__).lower().strip("_") if name is None else name
    if not isinstance(derived, str) or _NAME.fullmatch(derived) is None:
        hint = ", so give it name=" if name is None else ""
        raise DefinitionError(
            f"{owner}: a name begins with a lower-case letter and has lower-case letters, digits, '_', '.' and '-', "
            f"got {derived!r}{hint}"
        )
    return derived


def _checked_version(owner: str, version: object) -> int:
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DefinitionError(f"{owner}: version must be an int of at least 1, got {version!r}")
    return version


def _checked_description(cls: type, owner: str, description: object) -> str:
    if description is None:
        return summary(cls.__dict__.get("__doc__"))
    if not isinstance(description, str):
        raise DefinitionError(f"{owner}: description must be text, got {description!r}")
    return description


def _checked_tags(owner: str, tags: object) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise DefinitionError(f"{owner}: tags must be a tuple of texts, got {tags!r}")
    made = tuple(tags)
    if not all(isinstance(tag, str) and tag for tag in made):
        raise DefinitionError(f"{owner}: tags must be texts that are not empty, got {made!r}")
    return made


def _checked_schedules(owner: str, schedules: object) -> tuple[Cron | Schedule, ...]:
    if isinstance(schedules, (str, bytes)) or not isinstance(schedules, Iterable):
        raise DefinitionError(f"{owner}: schedules must be a tuple of Cron and Schedule, got {schedules!r}")
    made = tuple(schedules)
    keys: set[str] = set()
    for schedule in made:
        if not isinstance(schedule, (Cron, Schedule)):
            raise DefinitionError(f"{owner}: schedules must be Cron or Schedule directives, got {schedule!r}")
        if schedule.key is None:
            raise DefinitionError(
                f"{owner}: a declared {type(schedule).__name__} needs a key: {type(schedule).__name__}(..., key=...)"
            )
        if schedule.key in keys:
            raise DefinitionError(f"{owner}: two schedules have the key {schedule.key!r}")
        keys.add(schedule.key)
    return made


def _checked_durable(owner: str, durable: object, name: str | None) -> Durable | None:
    if durable is False:
        return None
    if durable is True:
        durable = Durable()
    if not isinstance(durable, Durable):
        raise DefinitionError(f"{owner}: durable must be True, False or Durable(...), got {durable!r}")
    if name is None:
        raise DefinitionError(
            f"{owner}: a durable agent needs name=, for its stored turns are found by it when the class is renamed"
        )
    return durable
