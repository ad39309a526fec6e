"""What type checkers see of supervision. Nothing here is run.

A `# type: ignore[...]` marks a line that must be an error; a checker that finds none there complains of it.
"""

from __future__ import annotations

from typing import assert_type

import trio

from prunella.errors import PrunellaError
from prunella.supervision import (
    Backoff,
    Child,
    ChildCounts,
    ChildInfo,
    ChildState,
    Crashed,
    DynamicHandle,
    DynamicSupervisor,
    Exit,
    ExitReason,
    Normal,
    Registry,
    Shutdown,
    Strategy,
    Supervisor,
    SupervisorFailed,
    SupervisorHandle,
    TaskHandle,
    TaskSupervisor,
    TreeNode,
    cleanup_scope,
    monitor,
    open_supervisor,
    render,
    tree,
)
from prunella.telemetry import Event


async def poller(url: str, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started(1)


async def length(text: str) -> int:
    return len(text)


def plain() -> int:
    return 1


def show(event: Event) -> None: ...


async def aloud(event: Event) -> None: ...


class Session:
    """Whatever has `as_child` may stand among children."""

    def as_child(self) -> Child:
        return Child(poller, "https://a")


specs = Supervisor(
    [
        Child(poller, "https://a", id="a", restart="transient", shutdown="brutal_kill"),
        Child(poller, "https://b", id="b", backoff=Backoff(initial=1.0)),
        Supervisor([], id="inner", strategy=Strategy.ONE_FOR_ALL),
        DynamicSupervisor(budget="per_child"),
        TaskSupervisor(),
        Session(),
    ],
    strategy="rest_for_one",
)

Child()  # type: ignore[call-arg]
Child(42)  # type: ignore[arg-type]
Child(plain)  # type: ignore[arg-type]
Child(poller, "https://a", id=1)  # type: ignore[arg-type]
Child(poller, "https://a", restarts="permanent")  # type: ignore[call-arg]
Supervisor([poller])  # type: ignore[list-item]
Supervisor([], strategy=1)  # type: ignore[arg-type]
Backoff(initial="soon")  # type: ignore[arg-type]
specs.strategy = Strategy.ONE_FOR_ALL  # type: ignore[misc]


async def running() -> None:
    assert_type(await specs.run(telemetry=[show, print]), ExitReason)
    async with trio.open_nursery() as nursery:
        await nursery.start(specs.run)


async def steering() -> None:
    async with open_supervisor(specs, telemetry=[show]) as supervisor:
        assert_type(supervisor, SupervisorHandle)
        assert_type(supervisor.which_children(), tuple[ChildInfo, ...])
        assert_type(supervisor.count_children(), ChildCounts)
        info = supervisor.get_child("a")
        assert_type(info.state, ChildState)
        assert_type(info.reason, ExitReason | None)
        assert_type(await supervisor.start_child(Child(poller, "https://c")), ChildInfo)
        await supervisor.stop(Shutdown("enough"))
        assert_type(await supervisor.wait_stopped(), ExitReason)
        picture = tree(supervisor)
        assert_type(picture, TreeNode)
        assert_type(render(picture), str)
        supervisor.get_child(7)  # type: ignore[arg-type]
        await supervisor.start_child(poller)  # type: ignore[arg-type]
        await supervisor.stop("enough")  # type: ignore[arg-type]


async def dynamic() -> None:
    async with open_supervisor(DynamicSupervisor(max_children=3)) as supervisor:
        assert_type(supervisor, DynamicHandle)
        info = await supervisor.start_child(Child(poller, "https://a"))
        await supervisor.terminate_child(info)
        await supervisor.terminate_child("poller")


async def tasks() -> None:
    async with open_supervisor(TaskSupervisor()) as supervisor:
        assert_type(supervisor, TaskHandle)
        supervisor.start_soon(length, "text")
        assert_type(await supervisor.run(length, "text"), int)
        async with supervisor.map(length, ["a", "b"], max_concurrency=2) as results:
            async for result in results:
                assert_type(result.unwrap(), int)
        supervisor.start_soon(length, 7)  # type: ignore[arg-type]
        await supervisor.run(length)  # type: ignore[arg-type]


async def monitoring(info: ChildInfo) -> None:
    async with monitor(info) as down:
        assert_type(await down(), ExitReason)


def reasons(reason: ExitReason) -> str:
    assert_type(reason.clean, bool)
    match reason:
        case Crashed():
            return reason.error.message
        case Shutdown():
            return str(reason.detail)
        case _:
            return ""


def ending() -> None:
    Exit(Normal())
    Exit(Shutdown("done"))
    Exit("done")  # type: ignore[arg-type]


def naming(registry: Registry[str]) -> None:
    registry.register("printer", 7)
    assert_type(registry.whereis("printer"), ChildInfo | None)
    registry.lookup(7)  # type: ignore[arg-type]


async def cleaning() -> None:
    with cleanup_scope() as scope:
        assert_type(scope, trio.CancelScope)


def failing(failed: SupervisorFailed) -> PrunellaError:
    assert_type(failed.reason, ExitReason)
    return failed
