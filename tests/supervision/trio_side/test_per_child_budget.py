"""`budget="per_child"`: a child that crashes in a loop is removed, and the others never notice."""

from __future__ import annotations

import pytest
import trio
from tests.supervision.trio_side.children import crash, crash_when, finish, forever, of, some_steps, until

from prunella.supervision import (
    Child,
    ChildNotFound,
    ChildStartFailed,
    Crashed,
    DynamicSupervisor,
    GaveUp,
    Normal,
    SupervisorFailed,
    monitor,
    open_supervisor,
)


class Fragile:
    """A child that crashes whenever it is told to."""

    def __init__(self) -> None:
        self.event = trio.Event()
        self.lives = 0

    async def __call__(self) -> None:
        self.lives += 1
        await crash_when(self.event)

    async def crash(self) -> None:
        lives = self.lives
        event, self.event = self.event, trio.Event()
        event.set()
        await some_steps()
        assert self.lives <= lives + 1


async def test_over_its_budget_the_child_is_removed_and_the_supervisor_goes_on(autojump_clock):
    events: list[object] = []
    async with open_supervisor(DynamicSupervisor(budget="per_child"), telemetry=[events.append]) as supervisor:
        other = await supervisor.start_child(Child(forever, id="other"))
        await supervisor.start_child(Child(crash, id="bad"))
        await trio.sleep(1)
        assert [child.id for child in supervisor.which_children()] == ["other"]
        assert supervisor.get_child("other").life == other.life
        with pytest.raises(ChildNotFound):
            supervisor.get_child("bad")
        await supervisor.start_child(Child(forever, id="new"))
    (gave_up,) = of(events, GaveUp)
    assert gave_up.child == "bad"
    assert gave_up.reason == Crashed(ValueError("crash"))


async def test_each_child_has_a_window_of_its_own(autojump_clock):
    """Two children crash as often as each may: together that would be twice too much."""
    a, b = Fragile(), Fragile()
    async with open_supervisor(DynamicSupervisor(budget="per_child", max_restarts=2)) as supervisor:
        await supervisor.start_child(Child(a, id="a"))
        await supervisor.start_child(Child(b, id="b"))
        for _ in range(2):
            await a.crash()
            await b.crash()
        assert [child.restarts for child in supervisor.which_children()] == [2, 2]
        await a.crash()
        assert [child.id for child in supervisor.which_children()] == ["b"]


async def test_with_a_shared_budget_the_supervisor_gives_up(autojump_clock):
    a, b = Fragile(), Fragile()
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(DynamicSupervisor(max_restarts=2)) as supervisor:
            await supervisor.start_child(Child(a, id="a"))
            await supervisor.start_child(Child(b, id="b"))
            await a.crash()
            await b.crash()
            assert len(supervisor.which_children()) == 2
            await a.crash()
            await trio.sleep_forever()


async def test_the_window_moves_and_its_boundary_counts(autojump_clock):
    child = Fragile()
    async with open_supervisor(DynamicSupervisor(budget="per_child", max_restarts=1, max_seconds=5)) as supervisor:
        await supervisor.start_child(Child(child, id="c"))
        for _ in range(4):
            await child.crash()
            await trio.sleep(5.5)
        assert supervisor.get_child("c").restarts == 4
        await child.crash()
        await trio.sleep(5)
        await child.crash()
        with pytest.raises(ChildNotFound):
            supervisor.get_child("c")


async def test_failing_tries_count(autojump_clock):
    lives = 0

    async def fails_to_start_again(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal lives
        lives += 1
        if lives > 1:
            raise LookupError("gone")
        task_status.started()
        await trio.sleep(1)
        raise ValueError("first")

    events: list[object] = []
    spec = DynamicSupervisor(budget="per_child", max_restarts=3)
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await supervisor.start_child(Child(fails_to_start_again, id="bad"))
        other = await supervisor.start_child(Child(forever, id="other"))
        await trio.sleep(2)
        assert [child.id for child in supervisor.which_children()] == ["other"]
        assert supervisor.get_child("other").life == other.life
    assert lives == 4
    assert len(of(events, ChildStartFailed)) == 3
    assert [event.child for event in of(events, GaveUp)] == ["bad"]
    assert of(events, GaveUp)[0].reason == Crashed(LookupError("gone"))


async def test_monitors_hear_the_last_reason(autojump_clock):
    child = Fragile()
    async with open_supervisor(DynamicSupervisor(budget="per_child", max_restarts=1)) as supervisor:
        await supervisor.start_child(Child(child, id="c"))
        await child.crash()
        async with monitor(supervisor.get_child("c")) as down:
            await child.crash()
            assert await down() == Crashed(ValueError("crash"))
        assert supervisor.which_children() == ()


async def test_a_permanent_child_that_keeps_returning_is_removed_too(autojump_clock):
    events: list[object] = []
    spec = DynamicSupervisor(budget="per_child")
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await supervisor.start_child(Child(finish, id="returns"))
        await until(lambda: not supervisor.which_children())
    assert [(event.child, event.reason) for event in of(events, GaveUp)] == [("returns", Normal())]


async def test_children_of_one_id_have_windows_of_their_own(autojump_clock):
    a, b = Fragile(), Fragile()
    async with open_supervisor(DynamicSupervisor(budget="per_child", max_restarts=1)) as supervisor:
        first = await supervisor.start_child(Child(a, id="same"))
        await supervisor.start_child(Child(b, id="same"))
        await a.crash()
        await b.crash()
        assert [child.restarts for child in supervisor.which_children()] == [1, 1]
        await a.crash()
        assert [child.id for child in supervisor.which_children()] == ["same"]
        assert supervisor.get_child("same").life != first.life


async def test_a_thousand_children_that_crash_once_each_are_all_restarted(autojump_clock):
    event = trio.Event()
    lives = 0

    async def once():
        nonlocal lives
        lives += 1
        if lives <= 1000:
            await event.wait()
            raise ValueError
        await trio.sleep_forever()

    async with open_supervisor(DynamicSupervisor(budget="per_child", max_restarts=1)) as supervisor:
        for _ in range(1000):
            await supervisor.start_child(Child(once))
        event.set()
        await trio.sleep(1)
        assert supervisor.count_children().active == 1000
        assert {child.restarts for child in supervisor.which_children()} == {1}
