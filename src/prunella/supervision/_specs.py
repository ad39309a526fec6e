"""What is supervised, and how: specs are frozen values that may be opened, compared and reused at will."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, final, runtime_checkable

import attrs
import trio

from ._core import check_significance
from ._dynamic_core import DynamicCore
from ._errors import InvalidSpec
from ._life import HostedLife, TaskLife
from ._live import LiveSupervisor, SupervisorLife
from ._ordered_core import OrderedCore
from ._policies import (
    AutoShutdown,
    Backoff,
    Budget,
    ChildKind,
    Restart,
    ShutdownTime,
    Strategy,
    check_choice,
    check_count,
    check_id,
    check_seconds,
    check_shutdown,
)
from ._reasons import ExitReason

if TYPE_CHECKING:
    from ..telemetry import Listener
    from ._core import Core, Host
    from ._handle import SupervisorHandle
    from ._records import Slot

__all__ = ["AsChild", "Child", "DynamicSupervisor", "Spec", "Supervisor", "as_spec"]


@final
@attrs.frozen(init=False)
class Child:
    """One supervised async function: what runs, and what happens when it ends.

    Args:
        function: an async function. If it takes `task_status`, it has started when it calls
            ``task_status.started(value)``, as with `trio.Nursery.start`; if not, when it has taken its first step.
        *args: its positional arguments. For keyword arguments use `functools.partial`.
        id: its name in its supervisor, unique there. Default: the function's qualified name.
        restart: ``permanent`` (always restarted; what a service wants), ``transient`` (only after a crash) or
            ``temporary`` (never, and forgotten when it ends).
        shutdown: how long it may clean up when it is asked to stop: seconds, `math.inf`, or ``"brutal_kill"``
            (it is cancelled and every wait in its cleanup is cut off).
        start_timeout: seconds within which it must have started; None for no limit.
        significant: whether its clean end may end its supervisor; see `Supervisor`'s `auto_shutdown`.
        backoff: a growing delay before its restarts; None, as in OTP, for none.

    Raises:
        InvalidSpec: an argument is wrong; the message says which, and what was expected.
    """

    function: Callable[..., Awaitable[object]]
    args: tuple[Any, ...]
    id: str
    restart: Restart
    shutdown: ShutdownTime
    start_timeout: float | None
    significant: bool
    backoff: Backoff | None
    _takes_task_status: bool = attrs.field(eq=False, repr=False)
    _context: ClassVar[Context | None] = None

    def __init__(
        self,
        function: Callable[..., Awaitable[object]],
        *args: Any,
        id: str | None = None,
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownTime = 5.0,
        start_timeout: float | None = None,
        significant: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        if not callable(function):
            raise InvalidSpec("Child", "function", "an async function", function)
        if id is None:
            id = name_of(function)
        owner = f"Child {check_id('Child', id)!r}"
        restart = Restart(check_choice(owner, "restart", restart, Restart))
        if start_timeout is not None:
            start_timeout = check_seconds(owner, "start_timeout", start_timeout, above_zero=True)
        _check_common(owner, restart, significant, backoff)
        self.__attrs_init__(
            function, args, id, restart, check_shutdown(owner, shutdown), start_timeout, significant, backoff,
            _takes_task_status(function),
        )  # fmt: skip

    @property
    def kind(self) -> ChildKind:
        """``worker``."""
        return ChildKind.WORKER

    def as_child(self) -> Child:
        """Itself."""
        return self

    def _life(self, host: LiveSupervisor, slot: Slot) -> HostedLife:
        return TaskLife(host, slot)


@runtime_checkable
class AsChild(Protocol):
    """Anything that may stand in a list of children."""

    def as_child(self) -> Any:
        """The spec that it stands for: a `Child`, or that of a supervisor."""
        ...


class Supervised:
    """What the specs of supervisors share: they can be run, and stand among children by themselves."""

    __slots__ = ()

    def _life(self, host: LiveSupervisor, slot: Slot) -> HostedLife:
        return SupervisorLife(host, slot)

    @property
    def kind(self) -> ChildKind:
        """``supervisor``."""
        return ChildKind.SUPERVISOR

    async def run(
        self,
        *,
        telemetry: Iterable[Listener] = (),
        abandon_after: float | None = None,
        task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
    ) -> ExitReason:
        """Runs a tree of this spec until it ends.

        ``await nursery.start(spec.run)`` returns the handle when all children have started. Each run is a tree of
        its own.

        Args:
            telemetry: listeners for every report of the tree.
            abandon_after: seconds after which the process is ended (exit status 70) if tasks of the tree do not
                end; None to wait for as long as it takes.
            task_status: told the handle when all children have started.

        Returns:
            The exit reason, when the tree was stopped or stopped itself.

        Raises:
            StartFailed: a child failed to start.
            SupervisorFailed: the supervisor gave up.
        """
        from ._opening import run

        return await run(self, telemetry=telemetry, abandon_after=abandon_after, task_status=task_status)


@final
@attrs.frozen(init=False)
class Supervisor(Supervised):
    """Children in a fixed order, and what is restarted when one of them ends (OTP's ``supervisor``).

    It is a value: `run` and `open_supervisor` make a tree of it, any number of times; in another supervisor's list
    of children it is a child.

    Args:
        children: `Child`, `Supervisor`, `DynamicSupervisor`, or anything with a method ``as_child()``.
        id: its name, in its own supervisor and in messages.
        strategy: ``one_for_one`` (only the child that ended is restarted; you most likely want this one),
            ``one_for_all`` (all are), ``rest_for_one`` (it and those after it).
        max_restarts: restarts allowed within `max_seconds`; one more, and the supervisor gives up.
        max_seconds: length of that window, in seconds.
        auto_shutdown: whether it stops itself when significant children have ended for good: ``never``,
            ``any_significant`` or ``all_significant``.
        restart: as a child: when it is restarted.
        shutdown: as a child: how long its whole subtree may take to stop.
        significant: as a child: whether its clean end may end its supervisor.
        backoff: as a child: a growing delay before its restarts.

    Raises:
        InvalidSpec: an argument is wrong, or two children have one id.
    """

    children: tuple[Spec, ...]
    id: str
    strategy: Strategy
    max_restarts: int
    max_seconds: float
    auto_shutdown: AutoShutdown
    restart: Restart
    shutdown: ShutdownTime
    significant: bool
    backoff: Backoff | None

    def __init__(
        self,
        children: Iterable[AsChild] = (),
        *,
        id: str = "supervisor",
        strategy: Strategy | str = Strategy.ONE_FOR_ONE,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        auto_shutdown: AutoShutdown | str = AutoShutdown.NEVER,
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownTime = math.inf,
        significant: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        owner = f"Supervisor {check_id('Supervisor', id)!r}"
        auto_shutdown = AutoShutdown(check_choice(owner, "auto_shutdown", auto_shutdown, AutoShutdown))
        restart = Restart(check_choice(owner, "restart", restart, Restart))
        _check_common(owner, restart, significant, backoff)
        self.__attrs_init__(
            _checked_children(owner, children, auto_shutdown),
            id,
            check_choice(owner, "strategy", strategy, Strategy),
            check_count(owner, "max_restarts", max_restarts),
            check_seconds(owner, "max_seconds", max_seconds, above_zero=True),
            auto_shutdown,
            restart,
            check_shutdown(owner, shutdown),
            significant,
            backoff,
        )

    def as_child(self) -> Supervisor:
        """Itself."""
        return self

    def _core(self, host: Host) -> Core:
        return OrderedCore(self, host)

    def _handle(self, live: LiveSupervisor) -> SupervisorHandle:
        from ._handle import SupervisorHandle

        return SupervisorHandle(live)


@final
@attrs.frozen(init=False)
class DynamicSupervisor(Supervised):
    """Children that come and go while it runs (Elixir's ``DynamicSupervisor``).

    It starts empty. Ids may repeat. Children start concurrently and are stopped all at once; one that is not
    restarted is forgotten.

    Args:
        id: its name, in its own supervisor and in messages.
        max_children: how many it may have, those that start or wait for a restart included.
        extra_arguments: put before the arguments of every child, at restarts too.
        budget: ``shared`` (one intensity window for all children, as in OTP: over it, the supervisor gives up) or
            ``per_child`` (one for each: over it, that child is removed and reported, and the others never notice).
        max_restarts: restarts allowed within `max_seconds`.
        max_seconds: length of the window, in seconds.
        restart: as a child: when it is restarted.
        shutdown: as a child: how long its whole subtree may take to stop.
        backoff: as a child: a growing delay before its restarts.

    Raises:
        InvalidSpec: an argument is wrong.
    """

    id: str
    max_children: float
    extra_arguments: tuple[Any, ...]
    budget: Budget
    max_restarts: int
    max_seconds: float
    restart: Restart
    shutdown: ShutdownTime
    significant: bool
    backoff: Backoff | None

    def __init__(
        self,
        *,
        id: str = "dynamic",
        max_children: float = math.inf,
        extra_arguments: Iterable[Any] = (),
        budget: Budget | str = Budget.SHARED,
        max_restarts: int = 3,
        max_seconds: float = 5.0,
        restart: Restart | str = Restart.PERMANENT,
        shutdown: ShutdownTime = math.inf,
        significant: bool = False,
        backoff: Backoff | None = None,
    ) -> None:
        owner = f"DynamicSupervisor {check_id('DynamicSupervisor', id)!r}"
        restart = Restart(check_choice(owner, "restart", restart, Restart))
        _check_common(owner, restart, significant, backoff)
        self.__attrs_init__(
            id,
            check_count(owner, "max_children", max_children, or_infinite=True),
            _checked_arguments(owner, extra_arguments),
            check_choice(owner, "budget", budget, Budget),
            check_count(owner, "max_restarts", max_restarts),
            check_seconds(owner, "max_seconds", max_seconds, above_zero=True),
            restart,
            check_shutdown(owner, shutdown),
            significant,
            backoff,
        )

    def as_child(self) -> DynamicSupervisor:
        """Itself."""
        return self

    def _core(self, host: Host) -> Core:
        return DynamicCore(self, host)

    def _handle(self, live: LiveSupervisor) -> SupervisorHandle:
        from ._handle import DynamicHandle

        return DynamicHandle(live)


Spec: TypeAlias = Child | Supervisor | DynamicSupervisor


def as_spec(owner: str, item: object) -> Any:
    """The spec that an item of a list of children stands for.

    Raises:
        InvalidSpec: it is none.
    """
    if type(item) is Child:
        return item
    spec = item
    if isinstance(item, AsChild) and not isinstance(item, type):
        spec = item.as_child()
    if isinstance(spec, type) or not hasattr(spec, "kind") or not hasattr(spec, "restart"):
        expected = "a Child, a Supervisor, or something with a method as_child() that gives one"
        raise InvalidSpec(owner, "children", expected, item)
    return spec


def _checked_children(owner: str, children: Iterable[AsChild], auto_shutdown: AutoShutdown) -> tuple[Spec, ...]:
    if isinstance(children, str | bytes | Mapping) or not isinstance(children, Iterable):
        raise InvalidSpec(owner, "children", "a list of children", children)
    specs = tuple(as_spec(owner, item) for item in children)
    known: dict[str, Spec] = {}
    for spec in specs:
        if spec.id in known:
            twins = f"{_shown(known[spec.id])} and {_shown(spec)}"
            raise InvalidSpec(owner, "children", f"different, but {twins} have one id (give one an id)", spec.id)
        known[spec.id] = spec
        check_significance(spec, auto_shutdown)
    return specs


def _checked_arguments(owner: str, arguments: Iterable[Any]) -> tuple[Any, ...]:
    if isinstance(arguments, str | bytes) or not isinstance(arguments, Iterable):
        raise InvalidSpec(owner, "extra_arguments", "a tuple of arguments", arguments)
    return tuple(arguments)


def _shown(spec: Spec) -> str:
    """A child for the message that two of them are one too many: what it runs, not all that it says."""
    if isinstance(spec, Child):
        return f"Child({getattr(spec.function, '__qualname__', spec.function)!r})"
    return f"{type(spec).__name__}({spec.id!r})"


def _check_common(owner: str, restart: Restart, significant: object, backoff: object) -> None:
    if not isinstance(significant, bool):
        raise InvalidSpec(owner, "significant", "True or False", significant)
    if significant and restart is Restart.PERMANENT:
        expected = "False for a permanent child, which never ends for good"
        raise InvalidSpec(owner, "significant", expected, significant)
    if backoff is not None and not isinstance(backoff, Backoff):
        raise InvalidSpec(owner, "backoff", "a Backoff or None", backoff)


def name_of(function: Callable[..., object]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        raise InvalidSpec("Child", "id", "given, as its function has no name", None)
    return name


def _takes_task_status(function: Callable[..., object]) -> bool:
    code = getattr(function, "__code__", None)
    if code is not None and not hasattr(function, "__wrapped__"):
        # The usual case, at a fiftieth of the price of a signature.
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        return "task_status" in names
    if isinstance(function, functools.partial) and "task_status" in function.keywords:
        return False
    try:
        return "task_status" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
