"""What an agent is to a supervisor: a child with a restart policy, an address and a mailbox."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, final

import attrs

from ..agents import Address, Agent, Durable
from ..agents._turns import Definition, definition_of
from ..conversion import Map
from ..errors import InvalidArgument
from ..signals import InvalidPattern, Route
from ..supervision import Backoff, ChildKind, InvalidSpec, Restart
from ..supervision._policies import check_choice, check_count, check_id, check_seconds, check_shutdown
from ._policy import ErrorPolicy, checked_policy

if TYPE_CHECKING:
    from ..supervision._life import HostedLife
    from ..supervision._live import LiveSupervisor
    from ..supervision._records import Slot
    from ._ref import AgentRef

__all__ = ["AgentSpec", "check_durability", "check_name", "check_names"]

A = TypeVar("A", bound=Agent)

_RESTORES = ("fresh", "last")
_PARENT_DEATHS = ("stop", "continue", "emit")


@final
@attrs.frozen(init=False, weakref_slot=False)  # with a slot for those, Python 3.11 knows no two layouts as one
class AgentSpec(Generic[A]):
    """An agent as a child of a supervisor inside a runtime.

    Args:
        agent: its class.
        id: its id in its partition. In a list of children it defaults to the agent's name.
        state: its first state: a mapping of fields, or a value of the class.
        restart: ``transient`` (restarted after a crash; the default, because an agent ends itself by `Stop`),
            ``permanent`` or ``temporary``.
        restore: what a restart begins with: ``fresh`` (the class's defaults with `state`, as in OTP) or ``last``
            (the last committed value). A durable agent always has its last committed value.
        shutdown: how long its handed-over effects may take when it stops: seconds, `math.inf` or ``"brutal_kill"``.
        mailbox: how many signals may wait.
        error_policy: what happens when a signal is refused or a directive fails: ``log``, ``stop``,
            `max_errors(n)`, `emit(type)`, or a function of the agent and the error.
        partition: the part of the runtime in which its id is unique.
        isolation: ``task``.
        durable: whether its turns are stored, and how (`Durable`); by default what its class says. It needs a
            runtime with a storage.
        parent: its parent, for an agent that is to be born as a child of another: an id in its own partition, an
            `Address` or a ref.
        tag: what its parent calls it.
        on_parent_death: ``stop``, ``continue`` or ``emit``: what it does when its parent has ended for good.
        subscribe: patterns of published signals that it hears.
        effects: how many effects may wait in its outbox before callers from outside have to wait.
        runs: how many `Run` directives it may have under way; further ones wait for their turn, in their order.
        max_restarts: its own restart budget, if it is started by `Runtime.start_agent` or `SpawnAgent`.
        max_seconds: the window of that budget, in seconds.
        backoff: a growing delay before its restarts.
        debug: whether it keeps its recent events.

    Raises:
        InvalidSpec: an argument is wrong, or a field without default is not in `state`.
    """

    agent: type[A]
    id: str
    state: Map[str, Any] | A | None
    restart: Restart
    restore: str
    shutdown: float | str
    mailbox: float
    error_policy: ErrorPolicy
    partition: str | None
    isolation: str
    durable: Any
    parent: Address | None
    tag: str | None
    on_parent_death: str
    subscribe: tuple[str, ...]
    effects: int
    runs: int
    max_restarts: int
    max_seconds: float
    backoff: Backoff | None
    debug: bool
    _initial: Any = attrs.field(eq=False, repr=False, init=False)
    durability: Durable | None = attrs.field(eq=False, repr=False, init=False)

    kind: ClassVar[ChildKind] = ChildKind.WORKER
    significant: ClassVar[bool] = False

    def __init__(
        self,
        agent: type[A],
        id: str | None = None,
        *,
        state: Mapping[str, Any] | A | None = None,
        restart: Restart | str = Restart.TRANSIENT,
        restore: str = "fresh",
        shutdown: float | str = 5.0,
        mailbox: float = 1000,
        error_policy: str | Callable[..., Any] | ErrorPolicy = "log",
        partition: str | None = None,
        isolation: str = "task",
        durable: Any = None,
        parent: AgentRef[Any] | Address | str | None = None,
        tag: str | None = None,
        on_parent_death: str = "stop",
        subscribe: Iterable[str] = (),
        effects: int = 1000,
        runs: int = 100,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        backoff: Backoff | None = None,
        debug: bool = False,
    ) -> None:
        if not isinstance(agent, type) or not issubclass(agent, Agent) or agent is Agent:
            raise InvalidSpec("AgentSpec", "agent", "a class derived from Agent", agent)
        definition = definition_of(agent)
        if id is None:
            id = definition.name
        owner = f"AgentSpec {check_id('AgentSpec', id)!r}"
        if partition is not None and (not isinstance(partition, str) or not partition):
            raise InvalidSpec(owner, "partition", "a string that is not empty, or None", partition)
        if parent is not None:
            parent = _parent(owner, parent, partition)
        if (tag is None) != (parent is None):
            raise InvalidSpec(owner, "tag", "given exactly when a parent is", tag)
        if tag is not None and (not isinstance(tag, str) or not tag):
            raise InvalidSpec(owner, "tag", "a string that is not empty", tag)
        if debug.__class__ is not bool:
            raise InvalidSpec(owner, "debug", "a bool", debug)
        if backoff is not None and not isinstance(backoff, Backoff):
            raise InvalidSpec(owner, "backoff", "a Backoff or None", backoff)
        options: tuple[Any, ...] = (
            restart, restore, shutdown, mailbox, error_policy, isolation, on_parent_death, subscribe, effects, runs,
            max_restarts, max_seconds,
        )  # fmt: skip
        if options == _DEFAULTS and type(mailbox) is type(effects) is type(runs) is type(max_restarts) is int:
            # Most agents are started with these, which have been checked.
            options = _DEFAULTS
        else:
            options = _checked(owner, *options)
        try:
            initial = definition.initial(state, owner=owner)
        except InvalidArgument as error:
            raise InvalidSpec(error.owner, error.field, error.expected, error.got) from None
        durability = _durability(owner, durable, definition)
        draft: Any = self
        object.__setattr__(draft, "__class__", _Draft)  # which takes attributes three times as fast as what is frozen
        draft.agent = agent
        draft.id = id
        draft.state = Map(state) if isinstance(state, Mapping) else state
        (
            draft.restart, draft.restore, draft.shutdown, draft.mailbox, draft.error_policy, draft.isolation,
            draft.on_parent_death, draft.subscribe, draft.effects, draft.runs, draft.max_restarts, draft.max_seconds,
        ) = options  # fmt: skip
        draft.partition = partition
        draft.durable = durable
        draft.parent = parent
        draft.tag = tag
        draft.backoff = backoff
        draft.debug = debug
        draft._initial = initial
        draft.durability = durability
        draft.__class__ = AgentSpec

    @property
    def address(self) -> Address:
        """Where the agent is to be found."""
        return Address(self.id, self.partition)

    @property
    def budget(self) -> tuple[int, float]:
        """Its own restart budget."""
        return self.max_restarts, self.max_seconds

    def as_child(self) -> AgentSpec[A]:
        """Itself."""
        return self

    def _life(self, host: LiveSupervisor, slot: Slot) -> HostedLife:
        if self.durability is None:
            from ._life import AgentLife

            return AgentLife(host, slot)
        from ._durable_life import DurableLife

        return DurableLife(host, slot)


class _Draft(Generic[A]):
    """A spec that is being made: the same slots and base, and nothing that keeps them from being filled."""

    __slots__ = tuple(field.name for field in attrs.fields(AgentSpec))


def _checked(
    owner: str,
    restart: Any,
    restore: str,
    shutdown: Any,
    mailbox: float,
    error_policy: Any,
    isolation: str,
    on_parent_death: str,
    subscribe: Iterable[str],
    effects: int,
    runs: int,
    max_restarts: int,
    max_seconds: float,
) -> tuple[Any, ...]:
    """The options that have to do with nothing else, checked and in their own types."""
    if isolation != "task":
        raise InvalidSpec(owner, "isolation", "'task'; processes come later", isolation)
    patterns = _patterns(owner, subscribe)
    if mailbox != math.inf and check_count(owner, "mailbox", mailbox) == 0:
        raise InvalidSpec(owner, "mailbox", "at least 1", mailbox)
    if check_count(owner, "effects", effects) == 0:
        raise InvalidSpec(owner, "effects", "at least 1", effects)
    if check_count(owner, "runs", runs) == 0:
        raise InvalidSpec(owner, "runs", "at least 1", runs)
    return (
        check_choice(owner, "restart", restart, Restart),
        _choice(owner, "restore", restore, _RESTORES),
        check_shutdown(owner, shutdown),
        mailbox,
        checked_policy(owner, error_policy),
        isolation,
        _choice(owner, "on_parent_death", on_parent_death, _PARENT_DEATHS),
        patterns,
        effects,
        runs,
        check_count(owner, "max_restarts", max_restarts),
        check_seconds(owner, "max_seconds", max_seconds, above_zero=True),
    )


_DEFAULTS = (Restart.TRANSIENT, "fresh", 5.0, 1000, "log", "task", "stop", (), 1000, 100, 3, 5.0)
"""What `_checked` gives for the defaults of the signature."""


def _durability(owner: str, durable: Any, definition: Definition) -> Durable | None:
    if durable is None:
        return definition.durable
    if isinstance(durable, bool):
        durability = (definition.durable or Durable()) if durable else None
    elif isinstance(durable, Durable):
        durability = durable
    else:
        raise InvalidSpec(owner, "durable", "True, False, a Durable, or None for what the class says", durable)
    if durability is not None and not definition.is_named:
        name = definition.agent_class.__qualname__
        expected = f"False, for {name} has no name= by which its stored turns would be found when it is renamed"
        raise InvalidSpec(owner, "durable", expected, durable)
    if durability is not None and definition.unrestorable is not None:
        raise InvalidSpec(owner, "durable", f"False, for {definition.unrestorable}", durable)
    return durability


def _parent(owner: str, parent: object, partition: str | None) -> Address:
    if isinstance(parent, str) and parent:
        return Address(parent, partition)
    address = parent if isinstance(parent, Address) else getattr(parent, "address", None)
    if not isinstance(address, Address):
        raise InvalidSpec(owner, "parent", "the id of an agent, an Address, an AgentRef or None", parent)
    return address


def _patterns(owner: str, subscribe: Any) -> tuple[str, ...]:
    if isinstance(subscribe, str) or not isinstance(subscribe, Iterable):
        raise InvalidSpec(owner, "subscribe", "a list of patterns", subscribe)
    patterns = tuple(subscribe)
    try:
        return tuple([Route(pattern, None).pattern for pattern in patterns])
    except InvalidPattern as error:
        raise InvalidSpec(owner, "subscribe", f"valid patterns ({error})", patterns) from error


def _choice(owner: str, field: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise InvalidSpec(owner, field, "one of " + ", ".join(map(repr, choices)), value)
    return str(value)


def check_names(spec: Any) -> None:
    """Two classes of one name are not run in one runtime: what is stored of one would be taken for the other's.

    Raises:
        InvalidSpec: the specs below this one name two.
    """
    _check_names(spec, {})


def _check_names(spec: Any, known: dict[str, type[Agent]]) -> None:
    if isinstance(spec, AgentSpec):
        check_name(spec, known)
    for child in getattr(spec, "children", ()):
        _check_names(child, known)


def check_name(spec: AgentSpec[Any], known: dict[str, type[Agent]]) -> None:
    """Sees that the class of a spec is the one that is known by its name, and remembers it.

    Raises:
        InvalidSpec: another class of that name is known.
    """
    name = definition_of(spec.agent).name
    other = known.setdefault(name, spec.agent)
    if other is not spec.agent:
        expected = f"{other!r}, for one runtime runs one class named {name!r}"
        raise InvalidSpec(f"AgentSpec {spec.id!r}", "agent", expected, spec.agent)


def check_durability(spec: Any) -> None:
    """Durable agents are not run without a storage, be they named by a tree or started later.

    Raises:
        InvalidSpec: the spec, or one below it, is that of a durable agent.
    """
    if isinstance(spec, AgentSpec) and spec.durability is not None:
        expected = "False in a runtime without a storage: see open_runtime(storage=)"
        raise InvalidSpec(f"AgentSpec {spec.id!r}", "durable", expected, spec.durability)
    for child in getattr(spec, "children", ()):
        check_durability(child)
