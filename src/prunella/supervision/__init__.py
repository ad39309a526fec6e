"""Supervision trees: restart loops around child nurseries, with the semantics of Erlang/OTP.

A *child* is one async function. A *supervisor* starts its children one after another, restarts those that end, by a
strategy and within an intensity window, and stops them in reverse order. Supervisors nest; one that gives up is
restarted by the one above it, with its whole subtree.

.. code-block:: python

    import trio
    from prunella.supervision import Child, Supervisor, open_supervisor

    async def poller(url):
        while True:
            await trio.sleep(1)  # ask it, and do something with the answer

    spec = Supervisor(
        [
            Child(poller, "https://a", id="a"),
            Child(poller, "https://b", id="b", restart="transient"),
        ],
        max_restarts=3,
        max_seconds=5.0,
    )

    async def main():
        async with open_supervisor(spec) as supervisor:
            assert [child.id for child in supervisor.which_children()] == ["a", "b"]

    trio.run(main)

Specs are values: they can be compared, kept, and opened any number of times.
"""

from ._errors import (
    AlreadyPresent,
    AlreadyRegistered,
    AlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    InvalidSpec,
    NotInAChild,
    NotRegistered,
    StaleLife,
    StartFailed,
    SupervisionError,
    SupervisorFailed,
    SupervisorStopped,
    TooManyChildren,
)
from ._handle import DynamicHandle, SupervisorHandle
from ._info import ChildCounts, ChildInfo
from ._life import cleanup_scope
from ._monitor import monitor
from ._opening import open_supervisor
from ._picture import TreeNode, render, tree
from ._policies import AutoShutdown, Backoff, Budget, ChildKind, ChildState, Restart, Strategy
from ._reasons import CapturedError, Crashed, Exit, ExitReason, Ignore, Killed, Normal, Place, Shutdown
from ._registry import Entry, Keys, Registry, RegistryEvent
from ._reports import (
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    GaveUp,
    ShutdownError,
    StillStopping,
    SupervisionEvent,
    Unresponsive,
)
from ._specs import AsChild, Child, DynamicSupervisor, Supervisor
from ._tasks import TaskHandle, TaskResults, TaskSupervisor

__all__ = [
    "AlreadyPresent",
    "AlreadyRegistered",
    "AlreadyStarted",
    "AsChild",
    "AutoShutdown",
    "Backoff",
    "Budget",
    "CapturedError",
    "Child",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildKind",
    "ChildNotFound",
    "ChildRestarted",
    "ChildRestarting",
    "ChildRunning",
    "ChildStartFailed",
    "ChildStarted",
    "ChildState",
    "Crashed",
    "DynamicHandle",
    "DynamicSupervisor",
    "Entry",
    "Exit",
    "ExitReason",
    "GaveUp",
    "Ignore",
    "InvalidSpec",
    "Keys",
    "Killed",
    "Normal",
    "NotInAChild",
    "NotRegistered",
    "Place",
    "Registry",
    "RegistryEvent",
    "Restart",
    "Shutdown",
    "ShutdownError",
    "StaleLife",
    "StartFailed",
    "StillStopping",
    "Strategy",
    "SupervisionError",
    "SupervisionEvent",
    "Supervisor",
    "SupervisorFailed",
    "SupervisorHandle",
    "SupervisorStopped",
    "TaskHandle",
    "TaskResults",
    "TaskSupervisor",
    "TooManyChildren",
    "TreeNode",
    "Unresponsive",
    "cleanup_scope",
    "monitor",
    "open_supervisor",
    "render",
    "tree",
]
