"""A host for decision cores in which everything happens at once, by a script, and is written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from prunella.supervision import Backoff, ChildKind, Crashed, ExitReason, Normal, Shutdown
from prunella.supervision._core import Core, Request, Verb
from prunella.supervision._policies import AutoShutdown, Budget, Restart, Strategy
from prunella.supervision._records import Ending, Failure, Life, Slot

CRASH = Crashed(ValueError("crash"))


@attrs.frozen
class ScriptedChild:
    """What a core reads of a child's spec."""

    id: str
    restart: Restart = Restart.PERMANENT
    significant: bool = False
    kind: ChildKind = ChildKind.WORKER
    shutdown: float = 5.0
    backoff: Backoff | None = None


@attrs.frozen(kw_only=True)
class ScriptedSupervisor:
    """What the cores read of a supervisor's spec."""

    children: tuple[ScriptedChild, ...] = ()
    id: str = "supervisor"
    strategy: Strategy = Strategy.ONE_FOR_ONE
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = AutoShutdown.NEVER
    max_children: float = float("inf")
    budget: Budget = Budget.SHARED


class FakeHost:
    """Starts and stops lives at once.

    Args:
        starts: for each id, what its starts do, one after another: "ok" (also when the list is over), "fail",
            "ignore", "wait" for a start that goes on until the test ends it, or "cut" for one that goes on until the
            core, which is asked to terminate the child meanwhile, cuts it off.
    """

    path = ""

    def __init__(self, starts: Mapping[str, Sequence[str]] | None = None) -> None:
        self.core: Core
        self.time = 0.0
        self.trace: list[tuple[Any, ...]] = []
        self.ending: Ending | None = None
        self.has_booted = False
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self._starts = {id: list(outcomes) for id, outcomes in (starts or {}).items()}
        self.resting: list[str] = []
        self._lives = 0

    def now(self) -> float:
        return self.time

    def chance(self) -> float:
        return 0.0

    def start(self, slot: Slot) -> None:
        self._lives += 1
        life = slot.life = Life(slot, self._lives)
        outcomes = self._starts.get(slot.spec.id)
        outcome = outcomes.pop(0) if outcomes else "ok"
        self.trace.append(("start", slot.spec.id, outcome))
        if outcome == "ok":
            self.started(life)
        elif outcome == "cut":
            self.core.ask(Request(Verb.TERMINATE, slot.spec.id))
        elif outcome != "wait":
            life.ignored = outcome == "ignore"
            self.ended(life, Normal() if life.ignored else CRASH)

    def started(self, life: Life) -> None:
        life.started = True
        life.born = self.time
        self.core.life_started(life)

    def ended(self, life: Life, reason: ExitReason) -> None:
        life.ended = True
        life.reason = reason
        self.core.life_ended(life)

    def stop(self, life: Life) -> None:
        self.trace.append(("stop", life.slot.spec.id))
        life.stopping = True
        self.ended(life, Shutdown())

    def kill(self, life: Life) -> None:
        self.trace.append(("kill", life.slot.spec.id))
        life.stopping = True
        self.ended(life, Shutdown())

    def later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((self.time + delay, callback))

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        due = [callback for when, callback in self.timers if when <= self.time]
        self.timers = [(when, callback) for when, callback in self.timers if when > self.time]
        for callback in due:
            callback()

    def rest(self, slot: Slot) -> None:
        self.resting.append(slot.spec.id)

    def report_start(self, slot: Slot, life: Life, *, restart: bool) -> None: ...

    def report_exit(self, slot: Slot, life: Life, *, expected: bool) -> None: ...

    def report_failed_start(self, slot: Slot, failure: Failure) -> None: ...

    def report_shutdown_error(self, slot: Slot, life: Life) -> None: ...

    def report_giving_up(self, slot: Slot, failure: Failure, *, on_child: bool) -> None:
        self.trace.append(("give up", slot.spec.id))

    def booted(self) -> None:
        self.has_booted = True

    def over(self, ending: Ending) -> None:
        self.ending = ending
        self.trace.append(("over",))
