"""Every life runs in a fresh copy of the context in which its tree was opened."""

from __future__ import annotations

from contextvars import ContextVar

import trio
from tests.supervision.trio_side.children import until

from prunella.supervision import Child, DynamicSupervisor, Supervisor, TaskSupervisor, open_supervisor

variable: ContextVar[str] = ContextVar("variable", default="unset")


async def test_a_life_sees_the_context_of_the_opener_and_no_later_change(autojump_clock):
    seen = []

    async def looks(name):
        seen.append((name, variable.get()))
        await trio.sleep_forever()

    variable.set("at opening")
    async with open_supervisor(Supervisor([Child(looks, "listed", id="listed")])) as supervisor:
        variable.set("later")
        await supervisor.start_child(Child(looks, "added", id="added"))
        await supervisor.terminate_child("listed")
        await supervisor.restart_child("listed")
        assert variable.get() == "later"
    assert seen == [("listed", "at opening"), ("added", "at opening"), ("listed", "at opening")]


async def test_nothing_that_a_life_sets_is_seen_by_its_next_life_or_a_sibling(autojump_clock):
    seen = []

    async def sets(name):
        seen.append((name, variable.get()))
        variable.set(f"set by {name}")
        await trio.sleep(1)
        if len(seen) < 4:
            raise ValueError
        await trio.sleep_forever()

    variable.set("mine")
    spec = Supervisor([Child(sets, "a", id="a"), Child(sets, "b", id="b")], max_restarts=10)
    async with open_supervisor(spec):
        await until(lambda: len(seen) >= 4)
        assert variable.get() == "mine"
    assert {name for name, _ in seen} == {"a", "b"}
    assert {value for _, value in seen} == {"mine"}


async def test_that_holds_at_every_depth_and_for_dynamic_children(autojump_clock):
    seen = []

    async def looks():
        seen.append(variable.get())
        variable.set("spoilt")
        await trio.sleep(1)
        if len(seen) < 3:
            raise ValueError
        await trio.sleep_forever()

    variable.set("at opening")
    spec = Supervisor([Supervisor([Child(looks)], id="inner"), DynamicSupervisor(id="dynamic")])
    async with open_supervisor(spec) as supervisor:
        variable.set("later")
        await supervisor.get_child("dynamic").started.start_child(Child(looks))
        await until(lambda: len(seen) >= 3)
    assert set(seen) == {"at opening"}


async def test_a_child_started_by_a_child_sees_the_context_of_the_tree(autojump_clock):
    seen = []

    async def looks():
        seen.append(variable.get())
        await trio.sleep_forever()

    async def starts(dynamic):
        variable.set("of the child")
        await trio.sleep(1)  # Until its own start is over.
        await dynamic.start_child(Child(looks))
        await trio.sleep_forever()

    variable.set("at opening")
    async with open_supervisor(DynamicSupervisor()) as dynamic:
        await dynamic.start_child(Child(starts, dynamic))
        await until(lambda: seen)
    assert seen == ["at opening"]


async def test_a_task_runs_in_a_copy_of_the_context_of_its_caller(autojump_clock):
    async def looks(_=None):
        value = variable.get()
        variable.set("set by the task")
        await trio.lowlevel.checkpoint()
        return value

    seen = []

    async def keeps():
        seen.append(await looks())

    variable.set("at opening")
    async with open_supervisor(TaskSupervisor()) as tasks:
        variable.set("of the caller")
        assert await tasks.run(looks) == "of the caller"
        tasks.start_soon(keeps)
        variable.set("later")
        await until(lambda: seen)
        async with tasks.map(looks, range(2), max_concurrency=2) as results:
            assert [result.unwrap() async for result in results] == ["later", "later"]
        assert variable.get() == "later"
    assert seen == ["of the caller"]


async def test_two_trees_share_nothing(autojump_clock):
    seen = {}

    async def looks(name):
        seen[name] = variable.get()
        await trio.sleep_forever()

    variable.set("one")
    async with open_supervisor(DynamicSupervisor()) as first:
        variable.set("two")
        async with open_supervisor(DynamicSupervisor()) as second:
            await second.start_child(Child(looks, "second"))
            await first.start_child(Child(looks, "first"))
    assert seen == {"first": "one", "second": "two"}
