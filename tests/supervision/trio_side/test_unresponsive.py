"""Children that do not end: they are declared unresponsive, lose their identity, and hold up nobody."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from functools import partial

import pytest
import trio
import trio.lowlevel
from tests.supervision.trio_side.children import crash_when, deaf, forever, of, outcome_of, steady, tidy, until

from prunella import open_runtime
from prunella.supervision import (
    Child,
    ChildExited,
    ChildInfo,
    ChildNotFound,
    ChildStarted,
    DynamicSupervisor,
    Killed,
    Registry,
    Shutdown,
    ShutdownError,
    StaleLife,
    StillStopping,
    SupervisionError,
    Supervisor,
    TaskSupervisor,
    Unresponsive,
    cleanup_scope,
    monitor,
    open_supervisor,
    tree,
)


@pytest.fixture
def release():
    return trio.Event()


# When, and how it is said


@pytest.mark.parametrize(("shutdown", "after"), [(2, 3), (0.5, 1.5), (0, 1), ("brutal_kill", 1)])
async def test_it_is_declared_after_its_shutdown_time_and_one_grace_second(autojump_clock, release, shutdown, after):
    events: list[object] = []
    spec = Supervisor([Child(deaf, release, id="deaf", shutdown=shutdown)])
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        life = supervisor.get_child("deaf").life
        before = trio.current_time()
        await supervisor.terminate_child("deaf")
        assert trio.current_time() - before == pytest.approx(after)
        assert str(supervisor.get_child("deaf").state) == "stopped"
        assert supervisor.get_child("deaf").reason == Killed()
        (event,) = of(events, Unresponsive)
        assert (event.child, event.life, event.reason) == ("deaf", life, Killed())
        assert event.time - before == pytest.approx(after)
        assert "deaf" in event.stack
        assert "children.py" in event.stack
        assert "release.wait()" in event.stack
        release.set()


async def test_it_is_reported_once_and_its_real_end_not_at_all(autojump_clock, release):
    events: list[object] = []
    spec = Supervisor([Child(deaf, release, id="deaf", shutdown=1)])
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await supervisor.terminate_child("deaf")
        number = len(events)
        assert len(of(events, Unresponsive)) == 1
        assert len(of(events, ChildExited)) <= 1
        release.set()
        await trio.sleep(1)
        assert len(events) == number


@pytest.mark.parametrize("dynamic", [True, False])
@pytest.mark.parametrize("shutdown", [1, 0, "brutal_kill"])
@pytest.mark.parametrize("restart", ["permanent", "temporary"])
async def test_it_is_reported_as_nothing_else(autojump_clock, release, dynamic, shutdown, restart):
    events: list[object] = []
    child = Child(deaf, release, id="deaf", shutdown=shutdown, restart=restart)
    async with open_supervisor(DynamicSupervisor() if dynamic else Supervisor([]), telemetry=[events.append]) as s:
        await s.start_child(child)
        await s.terminate_child("deaf")
        assert [type(event) for event in events] == [ChildStarted, Unresponsive, ChildExited]
        release.set()


async def test_a_deaf_member_of_a_group_that_is_restarted_is_reported_as_nothing_else(autojump_clock, release):
    broken = trio.Event()
    events: list[object] = []
    children = [Child(deaf, release, id="deaf", shutdown=1), Child(crash_when, broken, id="bad", restart="transient")]
    async with open_supervisor(Supervisor(children, strategy="one_for_all"), telemetry=[events.append]):
        broken.set()
        await until(lambda: of(events, Unresponsive))
        assert of(events, ShutdownError) == []
        release.set()


async def test_an_unresponsive_life_that_crashes_at_last_touches_nobody(autojump_clock, release):
    async def bad():
        nonlocal lives
        lives += 1
        if lives == 1:
            await deaf(release)
            raise ValueError("at last")
        await trio.sleep_forever()

    lives = 0
    events: list[object] = []
    spec = Supervisor([Child(bad, id="bad", shutdown=1), Child(forever, id="other")], max_restarts=0)
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        await supervisor.terminate_child("bad")
        await supervisor.restart_child("bad")
        new = supervisor.get_child("bad")
        number = len(events)
        release.set()
        await trio.sleep(1)
        assert [child.restarts for child in supervisor.which_children()] == [0, 0]
        assert supervisor.get_child("bad").life == new.life
        assert len(events) == number


async def test_the_tree_lists_it_apart_until_it_really_ends(autojump_clock, release):
    releases = [release, trio.Event()]

    async def one_after_another():
        await deaf(releases.pop(0))

    spec = Supervisor([Child(one_after_another, id="deaf", shutdown=1)])
    async with open_supervisor(spec) as supervisor:
        first = supervisor.get_child("deaf")
        (second,) = releases
        await supervisor.terminate_child("deaf")
        node = tree(supervisor)
        assert [str(child.state) for child in node.children] == ["stopped"]
        assert [(info.id, info.life) for info in node.unresponsive] == [("deaf", first.life)]
        assert all(isinstance(info, ChildInfo) for info in node.unresponsive)
        await supervisor.restart_child("deaf")
        node = tree(supervisor)
        assert [str(child.state) for child in node.children] == ["running"]
        assert node.children[0].info.life != first.life
        assert [info.life for info in node.unresponsive] == [first.life]
        release.set()
        await trio.sleep(0.1)
        assert tree(supervisor).unresponsive == ()
        second.set()


async def test_a_monitor_hears_of_it_when_it_is_declared(autojump_clock, release):
    async with open_supervisor(Supervisor([Child(deaf, release, id="deaf", shutdown=1)])) as supervisor:
        async with trio.open_nursery() as nursery:
            async with monitor(supervisor.get_child("deaf")) as down:
                before = trio.current_time()
                nursery.start_soon(supervisor.terminate_child, "deaf")
                assert await down() == Killed()
                assert trio.current_time() - before == pytest.approx(2)
        release.set()


async def test_the_children_before_it_are_stopped_when_it_has_been_declared(autojump_clock, release):
    journal: list[str] = []
    times = {}

    def listener(event):
        if isinstance(event, ChildExited | Unresponsive):
            times.setdefault(event.child, event.time - before)

    spec = Supervisor(
        [Child(tidy, journal, "a", 1, id="a"), Child(deaf, release, id="deaf", shutdown=2), Child(forever, id="z")]
    )

    async def let_go():
        await until(lambda: journal == ["+a", "?a", "-a"])
        release.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        async with open_supervisor(spec, telemetry=[listener]):
            before = trio.current_time()
    assert times == {"z": pytest.approx(0), "deaf": pytest.approx(3), "a": pytest.approx(4)}


async def test_children_of_a_dynamic_supervisor_share_the_grace_second(autojump_clock, release):
    events: list[object] = []

    async def let_go():
        await until(lambda: len(of(events, Unresponsive)) == 3)
        release.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        async with open_supervisor(DynamicSupervisor(), telemetry=[events.append]) as supervisor:
            for _ in range(3):
                await supervisor.start_child(Child(deaf, release, shutdown=1))
            before = trio.current_time()
    assert [event.time - before for event in of(events, Unresponsive)] == [pytest.approx(2)] * 3


async def test_a_dynamic_child_is_forgotten_when_it_is_declared(autojump_clock, release):
    async with open_supervisor(DynamicSupervisor(max_children=1)) as supervisor:
        info = await supervisor.start_child(Child(deaf, release, id="deaf", shutdown=1))
        await supervisor.terminate_child(info)
        assert supervisor.which_children() == ()
        await supervisor.start_child(Child(forever, id="next"))
        release.set()


async def test_a_start_that_does_not_hear_its_timeout_fails_and_is_declared(autojump_clock, release):
    async def stubborn(*, task_status: trio.TaskStatus[None]) -> None:
        with trio.CancelScope(shield=True):
            await release.wait()

    events: list[object] = []
    async with open_supervisor(Supervisor([]), telemetry=[events.append]) as supervisor:
        before = trio.current_time()
        answer = await outcome_of(partial(supervisor.start_child, Child(stubborn, id="s", start_timeout=2, shutdown=3)))
        assert isinstance(answer, SupervisionError)
        assert answer.reason == Killed()
        assert 2 <= trio.current_time() - before <= 6.01
        await until(lambda: of(events, Unresponsive))
        assert of(events, Unresponsive)[0].time - before == pytest.approx(6)
        with pytest.raises(ChildNotFound):
            supervisor.get_child("s")
        release.set()


# Refused under its old identity


class Stale:
    """A child that keeps acting after it has been declared unresponsive."""

    def __init__(self) -> None:
        self.registry: Registry[str] = Registry()
        self.go_on = trio.Event()
        self.results: dict[str, object] = {}
        self.supervisor = None
        self.tasks = None
        self.spawned = False
        self.done = False

    async def __call__(self) -> None:
        self.registry.register("name", "value")
        with trio.CancelScope(shield=True):
            await self.go_on.wait()
            if self.spawned:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.act)
            else:
                await self.act()

    async def act(self) -> None:
        supervisor = self.supervisor
        registry = self.registry

        async def plain(function):
            return function()

        def enter_cleanup_scope():
            with cleanup_scope():
                pass

        calls = {
            "register": partial(plain, lambda: registry.register("other")),
            "unregister": partial(plain, lambda: registry.unregister("name")),
            "update_value": partial(plain, lambda: registry.update_value("name", str)),
            "cleanup_scope": partial(plain, enter_cleanup_scope),
            "start_child": lambda: supervisor.start_child(Child(forever, id="new")),
            "terminate_child": lambda: supervisor.terminate_child("other"),
            "restart_child": lambda: supervisor.restart_child("other"),
            "delete_child": lambda: supervisor.delete_child("other"),
            "stop": lambda: supervisor.stop(),
            "start_soon": partial(plain, lambda: self.tasks.start_soon(forever)),
            "run": lambda: self.tasks.run(forever),
            "map": self.map,
            "lookup": partial(plain, lambda: registry.lookup("name")),
            "keys": partial(plain, registry.keys),
            "values": partial(plain, lambda: registry.values("name")),
            "whereis": partial(plain, lambda: registry.whereis("name")),
            "count": partial(plain, registry.count),
            "which_children": partial(plain, supervisor.which_children),
            "count_children": partial(plain, supervisor.count_children),
            "get_child": partial(plain, lambda: supervisor.get_child("other")),
            "tree": partial(plain, lambda: tree(supervisor)),
        }
        for name, call in calls.items():
            self.results[name] = await outcome_of(call)
        self.done = True

    async def map(self):
        async with self.tasks.map(trio.sleep, [0], max_concurrency=1) as results:
            return [result async for result in results]


@pytest.mark.parametrize("spawned", [False, True], ids=["itself", "a task it spawned"])
async def test_it_is_refused_under_its_old_identity_and_may_read(autojump_clock, spawned):
    checked = False
    stale = Stale()
    stale.spawned = spawned
    spec = Supervisor([Child(stale, id="stale", shutdown=1), Child(forever, id="other"), TaskSupervisor(id="tasks")])
    async with open_supervisor(spec) as supervisor:
        stale.supervisor = supervisor
        stale.tasks = supervisor.get_child("tasks").started
        other = supervisor.get_child("other")
        await supervisor.terminate_child("stale")
        stale.go_on.set()
        await until(lambda: stale.done)
        refused = [
            "register", "unregister", "update_value", "cleanup_scope", "start_child", "terminate_child",
            "restart_child", "delete_child", "stop", "start_soon", "run", "map",
        ]  # fmt: skip
        for name in refused:
            assert isinstance(stale.results[name], StaleLife), name
        assert stale.tasks.which_children() == ()
        assert stale.results["lookup"] == ()
        assert stale.results["keys"] == ()
        assert stale.results["values"] == ()
        assert stale.results["whereis"] is None
        assert stale.results["count"] == 0
        assert [info.id for info in stale.results["which_children"]] == ["stale", "other", "tasks"]
        assert stale.results["count_children"].specs == 3
        assert stale.results["get_child"].life == other.life
        assert stale.results["tree"].id == "supervisor"
        assert supervisor.get_child("other").life == other.life
        assert stale.registry.count() == 0
        checked = True
    assert checked  # The block was not cancelled: the supervisor has not been stopped.
    assert "stale" in str(stale.results["register"])


async def test_it_is_refused_also_when_its_supervisor_has_ended(autojump_clock):
    async def wait_and_let_it_act():
        await supervisor.wait_stopped()
        stale.go_on.set()

    stale = Stale()
    async with trio.open_nursery() as nursery:
        async with open_supervisor(Supervisor([Child(stale, id="stale", shutdown=1)])) as supervisor:
            stale.supervisor = supervisor
            nursery.start_soon(wait_and_let_it_act)
    for name in ("start_child", "terminate_child", "restart_child", "delete_child"):
        assert isinstance(stale.results[name], StaleLife), name


async def test_it_is_not_refused_before_it_is_declared(autojump_clock):
    stale = Stale()
    spec = Supervisor([Child(stale, id="stale", shutdown=10), Child(forever, id="other")])
    async with open_supervisor(spec) as supervisor:
        stale.supervisor = supervisor
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.terminate_child, "stale")
            await trio.sleep(1)
            assert stale.registry.whereis("name").id == "stale"
            stale.go_on.set()
        assert stale.results["register"] is None
        assert stale.results["cleanup_scope"] is None
        assert stale.registry.count() == 0


async def test_its_names_are_free_when_it_is_declared_and_its_next_life_can_take_them(autojump_clock, release):
    registry: Registry[str] = Registry()

    async def named():
        registry.register("the name")
        await deaf(release)

    async with open_supervisor(Supervisor([Child(named, id="named", shutdown=1)])) as supervisor:
        first = supervisor.get_child("named")
        assert registry.whereis("the name").life == first.life
        await supervisor.terminate_child("named")
        assert registry.whereis("the name") is None
        assert registry.count() == 0
        second = await supervisor.restart_child("named")
        assert registry.whereis("the name").life == second.life != first.life
        release.set()


async def test_the_real_end_of_the_old_life_does_not_take_the_name_from_the_new_one(autojump_clock):
    registry: Registry[str] = Registry()
    events = [trio.Event(), trio.Event()]
    left = list(events)

    async def named():
        registry.register("the name")
        await deaf(left.pop(0))

    async with open_supervisor(Supervisor([Child(named, id="named", shutdown=1)])) as supervisor:
        await supervisor.terminate_child("named")
        second = await supervisor.restart_child("named")
        events[0].set()
        await trio.sleep(1)
        assert registry.whereis("the name").life == second.life
        assert registry.count() == 1
        events[1].set()
        await trio.lowlevel.checkpoint()


# Supervisors end although a task does not


async def test_a_supervisor_is_restarted_by_its_parent_while_a_grandchild_of_its_former_life_runs(
    autojump_clock, release
):
    lives = []

    async def grandchild():
        lives.append("new" if lives else "old")
        if lives == ["old"]:
            await deaf(release)
        else:
            await trio.sleep_forever()

    async def breaks():
        await broken.wait()
        raise ValueError

    broken = trio.Event()
    inner = Supervisor([Child(grandchild, id="g", shutdown=1), Child(breaks)], id="inner", max_restarts=0)
    events: list[object] = []
    async with open_supervisor(Supervisor([inner]), telemetry=[events.append]) as supervisor:
        first = supervisor.get_child("inner")
        before = trio.current_time()
        broken.set()
        broken = trio.Event()
        await until(lambda: supervisor.get_child("inner").restarts == 1)
        assert trio.current_time() - before == pytest.approx(2, abs=0.05)
        assert lives == ["old", "new"]
        second = supervisor.get_child("inner")
        assert second.life != first.life
        assert str(second.state) == "running"
        assert [event.child for event in of(events, Unresponsive)] == ["inner/g"]
        assert not release.is_set()
        release.set()


async def test_a_supervisor_with_a_deaf_child_can_be_terminated_by_its_parent(autojump_clock, release):
    inner = Supervisor([Child(deaf, release, id="deaf", shutdown=1)], id="inner")
    async with open_supervisor(Supervisor([inner])) as supervisor:
        before = trio.current_time()
        await supervisor.terminate_child("inner")
        assert trio.current_time() - before == pytest.approx(2)
        assert supervisor.get_child("inner").reason == Shutdown()
        release.set()


async def test_the_outermost_block_waits_for_the_task_and_says_so(autojump_clock, release):
    events: list[object] = []

    async def let_go():
        await trio.sleep(35)
        release.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(let_go)
        spec = Supervisor([Child(deaf, release, id="deaf", shutdown=1)])
        async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
            before = trio.current_time()
        assert trio.current_time() - before == pytest.approx(35)
    assert await supervisor.wait_stopped() == Shutdown()
    reports = of(events, StillStopping)
    assert [event.seconds for event in reports] == [pytest.approx(s) for s in (10, 20, 30)]
    assert all(event.waiting_for == ("deaf",) for event in reports)


async def test_the_supervisor_has_ended_when_its_block_still_waits(autojump_clock, release):
    async def watch():
        await supervisor.wait_stopped()
        ended.append(trio.current_time() - before)
        release.set()

    ended = []
    async with trio.open_nursery() as nursery:
        async with open_supervisor(Supervisor([Child(deaf, release, shutdown=1)])) as supervisor:
            before = trio.current_time()
            nursery.start_soon(watch)
    assert ended == [pytest.approx(2)]


async def test_the_block_of_a_tree_inside_a_child_does_not_wait(autojump_clock, release):
    """Its task ends; only the outermost block waits for the deaf one."""
    times = []

    async def opens():
        async with open_supervisor(Supervisor([Child(deaf, release, id="deaf", shutdown=1)])):
            await trio.sleep(5)
        times.append(trio.current_time() - before)

    async with trio.open_nursery() as nursery:
        before = trio.current_time()
        async with open_supervisor(Supervisor([Child(opens, restart="temporary")])) as outer:
            await until(lambda: times)
            assert times == [pytest.approx(7)]
            await trio.sleep(1)
            assert outer.which_children() == ()
            nursery.start_soon(trio.sleep, 20)
            nursery.start_soon(release_after, release, 20)
        assert trio.current_time() - before == pytest.approx(28, abs=0.1)


def unresponsive_in(node):
    """The ids and lives that a picture lists as unresponsive, at any depth."""
    own = [(info.id, info.life) for info in node.unresponsive]
    return own + [pair for child in node.children for pair in unresponsive_in(child)]


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("how", ["terminated", "deleted", "started again", "restarted"])
async def test_the_tree_lists_it_also_when_its_supervisor_has_ended(autojump_clock, release, how, depth):
    async def deaf_once():
        if started:
            await trio.sleep_forever()
        started.append(True)
        await deaf(release)

    async def breaks():
        await breaking[-1].wait()
        raise ValueError

    started: list[bool] = []
    breaking = [trio.Event()]
    spec = Supervisor([Child(deaf_once, id="deaf", shutdown=1), Child(breaks)], id="0", max_restarts=0)
    for level in range(1, depth + 1):
        spec = Supervisor([spec], id=str(level), max_restarts=0 if level < depth else 3)
    async with open_supervisor(spec) as supervisor:
        name = str(depth - 1)
        inner = supervisor.supervisor(name)
        life = (inner if depth == 1 else inner.supervisor("0")).get_child("deaf").life
        if how == "restarted":
            breaking.append(trio.Event())
            breaking[0].set()
            await until(lambda: supervisor.get_child(name).restarts == 1)
        else:
            await supervisor.terminate_child(name)
            if how == "deleted":
                await supervisor.delete_child(name)
            elif how == "started again":
                await supervisor.restart_child(name)
        assert unresponsive_in(tree(supervisor)) == [("deaf", life)]
        release.set()
        await trio.sleep(0.1)
        assert unresponsive_in(tree(supervisor)) == []


async def test_lives_that_several_lives_of_a_supervisor_left_behind_are_all_listed(autojump_clock, release):
    child = Child(deaf, release, id="deaf", shutdown=1, restart="temporary")
    async with open_supervisor(Supervisor([Supervisor([child], id="inner")])) as supervisor:
        lives = []
        for _ in range(3):
            lives.append(supervisor.supervisor("inner").get_child("deaf").life)
            await supervisor.terminate_child("inner")
            await supervisor.restart_child("inner")
        assert unresponsive_in(tree(supervisor)) == [("deaf", life) for life in lives]
        release.set()
        await trio.sleep(0.1)
        assert unresponsive_in(tree(supervisor)) == []


async def test_the_block_says_that_it_waits_for_what_a_former_supervisor_left_behind(autojump_clock, release):
    events: list[object] = []
    spec = Supervisor([Supervisor([Child(deaf, release, id="deaf", shutdown=1)], id="inner")])
    async with trio.open_nursery() as nursery:
        async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
            await supervisor.terminate_child("inner")
            await supervisor.delete_child("inner")
            nursery.start_soon(release_after, release, 25)
    assert [event.waiting_for for event in of(events, StillStopping)] == [("inner/deaf",)] * 2


@pytest.mark.parametrize("ended_before", [True, False], ids=["its child has ended", "its child is being stopped"])
async def test_the_block_says_that_it_waits_for_a_tree_inside_a_child(autojump_clock, release, ended_before):
    async def opens():
        async with open_supervisor(Supervisor([Child(deaf, release, id="deaf", shutdown=1)], id="own")):
            await trio.sleep_forever()

    events: list[object] = []
    async with trio.open_nursery() as nursery:
        spec = Supervisor([Supervisor([Child(opens, id="opens")], id="inner")])
        async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
            await trio.sleep(1)
            if ended_before:
                await supervisor.terminate_child("inner")
            nursery.start_soon(release_after, release, 25)
    assert [event.waiting_for for event in of(events, StillStopping)] == [("inner/opens/deaf",)] * 2


async def test_a_runtime_shows_what_a_former_supervisor_left_behind_and_says_that_it_waits_for_it(
    autojump_clock, release
):
    events: list[object] = []
    spec = Supervisor([Supervisor([Child(deaf, release, id="deaf", shutdown=1)], id="inner")], id="top")
    async with trio.open_nursery() as nursery:
        async with open_runtime(spec, telemetry=[events.append]) as runtime:
            top = runtime.supervisor.supervisor("top")
            await top.terminate_child("inner")
            assert [id for id, _ in unresponsive_in(runtime.tree())] == ["deaf"]
            nursery.start_soon(release_after, release, 15)
    (event,) = of(events, StillStopping)
    assert [path.rsplit("/", 2)[-2:] for path in event.waiting_for] == [["inner", "deaf"]]


async def release_after(release, seconds):
    await trio.sleep(seconds)
    release.set()


# Deadlines above shields


async def test_when_the_time_of_a_supervisor_is_over_all_below_it_are_killed_at_once(autojump_clock):
    journal: list[str] = []
    events: list[object] = []
    lowest = Supervisor([Child(tidy, journal, "c", 50, id="c", shutdown=math.inf)], id="lowest")
    inner = Supervisor(
        [
            Child(tidy, journal, "a", 50, id="a", shutdown=60),
            Child(tidy, journal, "b", 50, id="b", shutdown=60),
            lowest,
        ],
        id="inner",
        shutdown=2,
    )
    async with open_supervisor(Supervisor([inner]), telemetry=[events.append]) as supervisor:
        before = trio.current_time()
        await supervisor.terminate_child("inner")
        assert trio.current_time() - before == pytest.approx(2)
        assert supervisor.get_child("inner").reason == Killed()
    assert {entry for entry in journal if entry[0] == "-"} == {"-a", "-b", "-c"}
    assert {event.reason for event in of(events, ChildExited) if event.child != "inner"} == {Killed()}
    assert of(events, Unresponsive) == []
    assert "inner" in {event.child for event in of(events, ShutdownError)}


async def test_then_there_is_one_grace_second_for_all(autojump_clock, release):
    events: list[object] = []
    inner = Supervisor(
        [
            Child(deaf, release, id="a", shutdown=60),
            Supervisor([Child(deaf, release, id="b", shutdown=60)], id="lowest"),
        ],
        id="inner",
        shutdown=2,
    )
    async with open_supervisor(Supervisor([inner]), telemetry=[events.append]) as supervisor:
        before = trio.current_time()
        await supervisor.terminate_child("inner")
        assert trio.current_time() - before == pytest.approx(3)
        declared = of(events, Unresponsive)
        assert {event.child for event in declared} == {"inner/a", "inner/lowest/b"}
        assert [event.time - before for event in declared] == [pytest.approx(3)] * 2
        release.set()


@pytest.mark.parametrize("shutdown", [math.inf, 60])
async def test_the_time_of_a_child_holds_for_the_tree_that_it_opened(autojump_clock, shutdown):
    journal: list[str] = []

    async def opens():
        spec = Supervisor([Child(tidy, journal, n, 50, id=n, shutdown=shutdown) for n in "ab"])
        async with open_supervisor(spec):
            await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(opens, id="opens", shutdown=2)])) as supervisor:
        await until(lambda: journal == ["+a", "+b"])
        before = trio.current_time()
        await supervisor.terminate_child("opens")
        assert trio.current_time() - before == pytest.approx(2)
        assert supervisor.get_child("opens").reason == Killed()
        assert {"-a", "-b"} <= set(journal)


async def test_a_tree_inside_a_child_stops_in_order_within_the_time_of_the_child(autojump_clock):
    journal: list[str] = []

    async def opens():
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])):
            await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(opens, id="opens", shutdown=5)])) as supervisor:
        await until(lambda: journal == ["+a", "+b"])
        before = trio.current_time()
        await supervisor.terminate_child("opens")
        assert trio.current_time() - before == pytest.approx(2)
        assert supervisor.get_child("opens").reason == Shutdown()
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


async def test_a_child_whose_tree_is_deaf_is_declared_with_it(autojump_clock, release):
    events: list[object] = []

    async def opens():
        async with open_supervisor(
            Supervisor([Child(deaf, release, id="deaf", shutdown=50)]), telemetry=[events.append]
        ):
            await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(opens, id="opens", shutdown=2)])) as supervisor:
        await trio.sleep(1)
        before = trio.current_time()
        await supervisor.terminate_child("opens")
        assert trio.current_time() - before == pytest.approx(3)
        assert [event.child for event in of(events, Unresponsive)] == ["deaf"]
        assert supervisor.get_child("opens").reason == Killed()
        release.set()


async def test_a_supervisor_with_brutal_kill_kills_all_below_it_at_once(autojump_clock):
    journal: list[str] = []
    inner = Supervisor([Child(tidy, journal, n, 50, id=n) for n in "ab"], id="inner", shutdown="brutal_kill")
    async with open_supervisor(Supervisor([inner, Child(steady, journal, "c", id="c")])) as supervisor:
        before = trio.current_time()
        await supervisor.terminate_child("inner")
        assert trio.current_time() - before == pytest.approx(0)
        assert {"-a", "-b"} <= set(journal)
        assert "-c" not in journal


# The last resort


def ends_with(program: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


PROGRAM = """
import trio
from trio.testing import MockClock
from prunella.supervision import Child, Supervisor, open_supervisor

async def deaf():
    with trio.CancelScope(shield=True):
        await trio.sleep({seconds})

async def main():
    {how}
    print("left", trio.current_time())

try:
    trio.run(main, clock=MockClock(autojump_threshold=0))
finally:
    print("over")
"""
SPEC = "Supervisor([Child(deaf, id='deaf', shutdown=1)])"
BLOCK = f"async with open_supervisor({SPEC}, abandon_after=5): pass"
RUN = f"""with trio.move_on_after(1): await {SPEC}.run(abandon_after=5)"""


@pytest.mark.parametrize("how", [BLOCK, RUN], ids=["open_supervisor", "run"])
def test_abandon_after_ends_the_process_with_status_70(how):
    status, output = ends_with(PROGRAM.format(seconds=1000, how=how))
    assert status == 70
    assert "over" not in output
    assert "deaf" in output


@pytest.mark.parametrize("how", [BLOCK, RUN], ids=["open_supervisor", "run"])
def test_abandon_after_does_nothing_if_the_tasks_end_before(how):
    status, output = ends_with(PROGRAM.format(seconds=4, how=how))
    assert status == 0
    assert "left 4.0" in output
    assert "over" in output
