"""Opening a runtime: its tree, its dispatcher, and its end, however that comes."""

from __future__ import annotations

import contextvars
import signal
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import Agent, Directive, Fenced
from ..agents._strictness import strict_by_environment
from ..conversion import Map
from ..dispatch import open_dispatcher
from ..dispatch._secrets import Secrets, SecretSource
from ..errors import InvalidArgument, check_iterable
from ..signals import Signal
from ..storage._storage import check_storage
from ..supervision import Child, DynamicSupervisor, Shutdown, StartFailed, Supervisor, SupervisorStopped
from ..supervision._opening import Block
from ..supervision._policies import check_seconds
from ..telemetry import Listener, Listeners
from ..telemetry._enclosing import Enclosing
from ._arguments import check_executors, check_flag, check_tree, checked_classes
from ._clock import RuntimeClock
from ._durability import Durability
from ._outbox import watch_outbox
from ._recorder import Recorder
from ._runtime import Runtime
from ._signals import SignalMaker
from ._spec import check_durability, check_names
from ._starts import STARTED_LATER

__all__ = ["open_runtime"]

_SECONDS_TO_CLOSE_CONNECTIONS = 1.0
_SECONDS_TO_CLOSE_STORAGE = 30.0
_NO_SECRETS: Map[str, bytes] = Map()


class _OpenRuntime:
    """What `open_runtime` gives."""

    __slots__ = ("_abandon_after", "_block", "_dispatcher", "_enclosing", "_epoch", "_runtime", "_secrets", "_spec")

    def __init__(
        self,
        runtime: Runtime,
        spec: Supervisor,
        epoch: datetime | None,
        abandon_after: float | None,
        secrets: Secrets,
    ) -> None:
        self._runtime = runtime
        self._spec = spec
        self._epoch = epoch
        self._abandon_after = abandon_after
        self._secrets = secrets
        self._enclosing = Enclosing(runtime.telemetry)

    @enable_ki_protection
    async def __aenter__(self) -> Runtime:
        runtime = self._runtime
        runtime.clock = RuntimeClock(self._epoch)
        runtime.signals = SignalMaker(runtime.clock)
        runtime.reports.opens(runtime.clock)
        if runtime.durability is not None:
            await runtime.durability.open()
        self._dispatcher = open_dispatcher(epoch=self._epoch, telemetry=runtime.telemetry, secrets=self._secrets)
        runtime.dispatcher = await self._dispatcher.__aenter__()
        self._enclosing.enter()  # before the tree is made: its tasks inherit it
        runtime.turn_context = contextvars.copy_context()
        self._block = Block(self._spec, (), self._abandon_after, owner=runtime, listeners=runtime.telemetry)
        try:
            await self._block.__aenter__()
        except BaseException as error:
            await self._close()
            if isinstance(error, StartFailed) and isinstance(error.__cause__, Fenced):
                raise error.__cause__ from None
            raise
        if runtime.durability is not None:
            try:
                await runtime.durability.begin()
            except BaseException as error:
                if not await self.__aexit__(type(error), error, error.__traceback__):
                    raise
                # It was stopped before it was open.
                raise SupervisorStopped(self._spec.id) from None
        return runtime

    @enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        try:
            return bool(await self._block.__aexit__(kind, error, traceback))
        finally:
            await self._close()

    async def _close(self) -> None:
        self._enclosing.leave()
        self._runtime.close()
        # What the block raised must come out as it is, also if the caller is cancelled.
        await self._runtime.actions.aclose()
        with trio.move_on_after(_SECONDS_TO_CLOSE_CONNECTIONS, shield=True):
            await self._dispatcher.__aexit__(None, None, None)
        if self._runtime.durability is not None:
            with trio.move_on_after(_SECONDS_TO_CLOSE_STORAGE, shield=True):
                await self._runtime.durability.close()


def open_runtime(
    tree: Any = None,
    *,
    name: str = "default",
    storage: Any = None,
    telemetry: Iterable[Listener] = (),
    executors: Mapping[type[Directive], Callable[..., Awaitable[Signal | None]]] = Map(),
    strict: bool | None = None,
    epoch: datetime | None = None,
    max_restarts: int = 3,
    max_seconds: float = 5.0,
    agents: Iterable[type[Agent]] = (),
    claim: str = "take",
    handle_os_signals: bool = False,
    abandon_after: float | None = None,
    recorder: int = 0,
    secrets: SecretSource = _NO_SECRETS,
) -> AbstractAsyncContextManager[Runtime]:
    """Opens a runtime for the length of a block::

        async with open_runtime(AgentSpec(Support, "support")) as runtime:
            await runtime.ref("support", Support).cast("ticket.opened", ticket="T-1")

    The block begins when every agent of the tree has started. When it is left, agents that were started later are
    stopped first, then those of the tree, in reverse order. If the root gives up, the block is cancelled. What the
    block raises is raised as it is.

    Args:
        tree: a supervisor, an agent's spec or any other child: what is to run from the beginning.
        name: the first part of every address.
        storage: where durable agents are kept. It is opened and closed here, unless it is open: then it may be shared
            with other runtimes. Without one, durable agents are refused.
        telemetry: listeners of everything that the runtime and its supervisors report, and of what else is opened in
            the block or by what runs there: dispatchers, runners, runs of actions, trees.
        executors: for directives of your own: ``async (directive, EffectContext) -> Signal | None``.
        strict: whether handlers are run twice to find impure ones; by default the environment says.
        epoch: what time it is when the runtime is opened; by default the system's time.
        max_restarts: restarts allowed at the root within `max_seconds`.
        max_seconds: the window, in seconds.
        agents: classes of agents that a storage may bring back.
        claim: what is done about another owner of durable agents: ``take`` them from it, or ``refuse`` to start as
            long as it is alive.
        handle_os_signals: whether SIGTERM and SIGINT (Ctrl-C) stop the runtime in order.
        abandon_after: seconds after which the process is ended if tasks do not end; see `open_supervisor`.
        recorder: how many events are kept for `Runtime.recent_events`.
        secrets: of webhooks, by name; a mapping, or a function that returns the secret of a name. A `WebhookTarget` of
            a durable agent is stored, and names its secret.

    Returns:
        An asynchronous context manager that gives the runtime.

    Raises:
        InvalidArgument, InvalidSpec: an argument is wrong.
        StartFailed: an agent or child failed to start.
        Fenced: another owner of a durable agent is alive, with ``claim="refuse"``.
        StorageError: the storage does not do what it is asked for.
        SupervisorFailed: the root gave up.
    """
    owner = "open_runtime()"
    if not isinstance(name, str) or not name:
        raise InvalidArgument(owner, "name", "a non-empty string", name)
    if storage is not None:
        check_storage(owner, storage)
    if not isinstance(recorder, int) or isinstance(recorder, bool) or recorder < 0:
        raise InvalidArgument(owner, "recorder", "a whole number of at least 0", recorder)
    if epoch is not None and (not isinstance(epoch, datetime) or epoch.utcoffset() is None):
        raise InvalidArgument(owner, "epoch", "an aware datetime, or None", epoch)
    if claim not in _CLAIMS:
        raise InvalidArgument(owner, "claim", "'take' or 'refuse'", claim)
    check_tree(owner, tree)
    agents = checked_classes(owner, agents)
    check_executors(owner, executors)
    if strict is not None:
        check_flag(owner, "strict", strict)
    check_flag(owner, "handle_os_signals", handle_os_signals)
    if abandon_after is not None:
        check_seconds(owner, "abandon_after", abandon_after)
    listeners = check_iterable(owner, "telemetry", telemetry, "plain functions of one event")
    known = Secrets(secrets, owner)
    kept = Recorder(recorder)
    runtime = Runtime(
        name=name,
        telemetry=Listeners([kept, *listeners] if recorder else listeners),
        executors=executors,
        strict=strict_by_environment() if strict is None else strict,
        recorder=kept,
        recorder_listens=recorder > 0,
    )
    parts = []
    if storage is not None:
        durability = Durability(runtime, storage, gives_way=claim == "refuse", agents=agents)
        runtime.durability = durability
        journal = durability.journal
        # The writer stops last: what the others have to say is written.
        parts += [Child(journal.write, id="journal", shutdown=15.0), Child(journal.work, id="chores", shutdown=15.0)]
        parts += [Child(journal.healing, id="healing"), Child(journal.renew, id="lease")]
        parts.append(Child(partial(watch_outbox, runtime, durability), id="outbox"))
    parts.append(Child(runtime.scheduler.run, id="scheduler"))
    if handle_os_signals:
        parts.append(Child(partial(_stop_on_signals, runtime), id="signals"))
    system = Supervisor(parts, id="prunella", max_restarts=1_000, max_seconds=1.0)
    started_later = DynamicSupervisor(id=STARTED_LATER, budget="per_child")
    children = [system, *([] if tree is None else [tree]), started_later]
    spec = Supervisor(children, id=name, max_restarts=max_restarts, max_seconds=max_seconds)
    check_names(spec)
    if storage is None:
        check_durability(spec)
    return _OpenRuntime(runtime, spec, epoch, abandon_after, known)


_CLAIMS = ("take", "refuse")


async def _stop_on_signals(runtime: Runtime, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell has it ignored in the background
        numbers.append(signal.SIGINT)
    with trio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        async for number in signals:
            runtime.stop(Shutdown(signal.Signals(number).name))
