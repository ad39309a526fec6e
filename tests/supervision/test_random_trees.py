"""Random trees on Trio, with random crashes, calls and endings: what must hold whatever happens."""

from __future__ import annotations

import random
import signal
from collections import defaultdict
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from prunella.supervision import (
    AlreadyPresent,
    AlreadyStarted,
    Child,
    ChildExited,
    ChildNotFound,
    ChildRestarted,
    ChildRestarting,
    ChildRunning,
    ChildStarted,
    DynamicSupervisor,
    Ignore,
    InvalidSpec,
    StartFailed,
    Supervisor,
    SupervisorFailed,
    SupervisorStopped,
    open_supervisor,
    tree,
)

REFUSALS = (
    AlreadyPresent,
    AlreadyStarted,
    ChildNotFound,
    ChildRestarting,
    ChildRunning,
    InvalidSpec,
    StartFailed,
    SupervisorStopped,
)


class World:
    """What really runs, as seen from inside the children."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.running: set[str] = set()
        self.stops: list[str] = []
        self.doubled: list[str] = []
        self.quiet = False

    async def child(self, name: str, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
        if name in self.running:
            self.doubled.append(name)
        self.running.add(name)
        try:
            await self._begin()
            task_status.started(name)
            await self._go_on()
        finally:
            if self.chance.random() < 0.3:
                with trio.CancelScope(shield=True):
                    await trio.sleep(self.chance.random())
            self.running.discard(name)
            self.stops.append(name)

    async def plain(self, name: str) -> None:
        await self.child(name)

    async def _begin(self) -> None:
        match self.chance.random():
            case x if x < 0.05 and not self.quiet:
                raise ValueError("failed to start")
            case x if x < 0.08 and not self.quiet:
                raise Ignore
            case x if x < 0.3:
                await trio.sleep(self.chance.random())

    async def _go_on(self) -> None:
        if self.quiet or self.chance.random() < 0.4:
            await trio.sleep_forever()
        await trio.sleep(self.chance.uniform(0, 6))
        match self.chance.random():
            case x if x < 0.6:
                raise ValueError("crash")
            case x if x < 0.8:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._crash)
                    nursery.start_soon(trio.sleep_forever)

    async def _crash(self) -> None:
        raise KeyError("crash in a nursery")

    def spec(self, path: str, depth: int) -> Any:
        chance = self.chance
        kind = chance.random()
        common: dict[str, Any] = {
            "id": path.rsplit("/", 1)[-1],
            "restart": chance.choice(["permanent", "permanent", "transient", "temporary"]),
        }
        if depth == 0 or kind < 0.5:
            function = chance.choice([self.child, self.plain])
            return Child(function, path, shutdown=chance.choice([2.0, 5.0, "brutal_kill"]), **common)
        if kind < 0.6:
            return DynamicSupervisor(**common)
        return self.supervisor(path, depth, **common)

    def supervisor(self, path: str, depth: int, **common: Any) -> Supervisor:
        chance = self.chance
        return Supervisor(
            [self.spec(f"{path}/{n}", depth - 1) for n in range(chance.randrange(5))],
            strategy=chance.choice(["one_for_one", "one_for_all", "rest_for_one"]),
            max_restarts=chance.randrange(6),
            max_seconds=chance.choice([1.0, 5.0]),
            **common,
        )


async def bother(world: World, handle: Any, rounds: int) -> None:
    """Makes random calls."""
    chance = world.chance
    for n in range(rounds):
        await trio.sleep(chance.random())
        try:
            infos = handle.which_children()
            target: Any = chance.choice(infos) if infos else None
            if target is not None and target.kind == "supervisor" and target.started is not None:
                await bother(world, target.started, 1)
            name = "none" if target is None else target if handle._live.core.dynamic else target.id
            match chance.randrange(5):
                case 0:
                    extra = f"extra/{n}/{chance.random()}"
                    await handle.start_child(Child(world.child, extra, id=f"x{chance.randrange(4)}"))
                case 1:
                    await handle.terminate_child(name)
                case 2:
                    await handle.restart_child(name)
                case 3:
                    await handle.delete_child(name)
                case 4:
                    with trio.move_on_after(chance.random() / 2):
                        await handle.terminate_child(name)
            tree(handle)
        except REFUSALS:
            pass


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_nothing_is_left_running_and_no_child_runs_twice(seed: int) -> None:
    chance = random.Random(seed)
    world = World(chance)
    events: list[Any] = []

    async def main() -> None:
        spec = world.supervisor("root", 3)
        try:
            with trio.move_on_after(chance.uniform(0, 20)):
                async with open_supervisor(spec, telemetry=[events.append]) as handle:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(bother, world, handle, 10)
                        nursery.start_soon(bother, world, handle, 10)
                    await trio.sleep(chance.uniform(0, 10))
        except (SupervisorFailed, StartFailed):
            pass

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert world.running == set()
    assert world.doubled == []
    started = [event.life for event in events if isinstance(event, ChildStarted | ChildRestarted)]
    exited = [event.life for event in events if isinstance(event, ChildExited)]
    assert len(set(started)) == len(started)
    assert sorted(started) == sorted(exited)


@given(seed=st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_a_tree_of_any_shape_stops_in_reverse_start_order(seed: int) -> None:
    chance = random.Random(seed)
    world = World(chance)
    world.quiet = True
    order: list[str] = []

    def note(event: Any) -> None:
        if isinstance(event, ChildStarted):
            order.append(event.child)

    async def main() -> None:
        spec = world.supervisor("root", 3)
        with trio.move_on_after(chance.uniform(5, 10)):
            async with open_supervisor(spec, telemetry=[note]):
                await trio.sleep(chance.uniform(4, 9))

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert world.running == set()
    stopped = [name.removeprefix("root/") for name in world.stops]
    running_at_the_end = [name for name in order if name in set(stopped)]
    assert [name for name in stopped if name in set(running_at_the_end)] == running_at_the_end[::-1]


@pytest.mark.parametrize("seed", range(20))
def test_ctrl_c_at_a_random_moment_stops_everything_and_comes_out_bare(seed: int) -> None:
    chance = random.Random(seed)
    world = World(chance)

    async def main() -> None:
        try:
            with trio.move_on_after(30):
                await world.supervisor("root", 3).run()
        finally:
            over.append(True)

    over: list[bool] = []
    steps = chance.randrange(1, 200)

    class InterruptAfter(trio.abc.Instrument):
        """Ctrl-C at a random step of the scheduler, whoever's turn it is."""

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal steps
            steps -= not over
            if steps == 0:
                signal.raise_signal(signal.SIGINT)

    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0), instruments=[InterruptAfter()])
    except KeyboardInterrupt:
        assert steps <= 0
    except (SupervisorFailed, StartFailed):
        assert steps > 0
    assert world.running == set()
    assert world.doubled == []


def test_the_worlds_of_these_tests_do_have_crashes_and_restarts() -> None:
    kinds: dict[str, int] = defaultdict(int)
    for seed in range(20):
        world = World(random.Random(seed))

        async def main(world: World = world) -> None:
            def count(event: Any) -> None:
                kinds[event.name] += 1

            try:
                with trio.move_on_after(20):
                    await world.supervisor("root", 3).run(telemetry=[count])
            except (SupervisorFailed, StartFailed):
                pass

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert kinds["supervision.child.restarted"] > 10
    assert kinds["supervision.gave_up"] > 0
    assert kinds["supervision.child.start_failed"] > 0
