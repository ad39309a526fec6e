"""`tree()` and its text, `ChildInfo` and `ChildCounts`: frozen pictures of what runs."""

from __future__ import annotations

import attrs
import pytest
import trio
from tests.supervision.trio_side.children import crash_when, deaf, finish, forever, some_steps, tidy, until

from prunella.supervision import (
    Child,
    ChildCounts,
    Crashed,
    DynamicSupervisor,
    Normal,
    Shutdown,
    Supervisor,
    TreeNode,
    open_supervisor,
    render,
    tree,
)


@pytest.fixture
def spec():
    return Supervisor(
        [
            Child(forever, id="a"),
            Supervisor([Child(forever, id="b"), Child(forever, id="c")], id="inner"),
            DynamicSupervisor(id="pool"),
        ],
        id="top",
    )


async def test_the_whole_tree_in_start_order(autojump_clock, spec):
    async with open_supervisor(spec) as supervisor:
        await supervisor.get_child("pool").started.start_child(Child(forever, id="d"))
        node = tree(supervisor)
        assert (node.id, node.kind, node.state, node.restarts) == ("top", "supervisor", "running", 0)
        assert [child.id for child in node.children] == ["a", "inner", "pool"]
        assert [child.kind for child in node.children] == ["worker", "supervisor", "supervisor"]
        assert [child.id for child in node.children[1].children] == ["b", "c"]
        assert [child.id for child in node.children[2].children] == ["d"]
        assert node.children[0].children == ()
        assert node.unresponsive == ()
        assert node.children[0].info == supervisor.get_child("a")
        inner = tree(supervisor.get_child("inner").started)
        assert inner.id == "inner"
        assert [child.info for child in inner.children] == [child.info for child in node.children[1].children]


async def test_it_is_frozen_and_does_not_change_with_the_tree(autojump_clock, spec):
    async with open_supervisor(spec) as supervisor:
        node = tree(supervisor)
        info = supervisor.get_child("a")
        await supervisor.terminate_child("a")
        assert node.children[0].state == "running"
        assert info.state == "running"
        assert tree(supervisor).children[0].state == "stopped"
        for frozen in (node, info):
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                frozen.children = ()
        assert isinstance(node, TreeNode)


async def test_lives_are_unique_within_the_tree(autojump_clock, spec):
    async with open_supervisor(spec) as supervisor:
        pool = supervisor.get_child("pool").started
        for _ in range(3):
            await pool.start_child(Child(forever, id="same"))

        def lives(node):
            return [node.info.life, *(life for child in node.children for life in lives(child))]

        below = lives(tree(supervisor))[1:]
        assert len(below) == len(set(below)) == 8
        await supervisor.terminate_child("inner")
        await supervisor.restart_child("inner")
        again = lives(tree(supervisor))[1:]
        assert len(set(below) & set(again)) == 5


async def test_states_of_a_child(autojump_clock):
    event = trio.Event()

    async def slow_again(*, task_status: trio.TaskStatus[None]) -> None:
        if event.is_set():
            await trio.sleep(5)
        task_status.started()
        await crash_when(event if not event.is_set() else trio.Event())

    states = []
    async with open_supervisor(Supervisor([Child(slow_again, id="c"), Child(tidy, [], "x", 3, id="x")])) as supervisor:

        def look(id):
            states.append(str(supervisor.get_child(id).state))

        look("c")
        event.set()
        await trio.sleep(1)
        look("c")
        await trio.sleep(5)
        look("c")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.terminate_child, "x")
            await trio.sleep(1)
            look("x")
        look("x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.restart_child, "x")
            await trio.sleep(1)
            look("x")
            await supervisor.terminate_child("c")
            nursery.start_soon(supervisor.restart_child, "c")
            await trio.sleep(1)
            look("c")
    assert states == ["running", "restarting", "running", "stopping", "stopped", "running", "starting"]


async def test_counts(autojump_clock):
    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(10)
        task_status.started()
        await trio.sleep_forever()

    spec = Supervisor([Child(forever, id="a"), Child(finish, id="done", restart="transient"), Supervisor([], id="s")])
    async with open_supervisor(spec) as supervisor, trio.open_nursery() as nursery:
        await some_steps()
        assert supervisor.count_children() == ChildCounts(specs=3, active=2, supervisors=1, workers=2)
        nursery.start_soon(supervisor.start_child, Child(slow, id="slow"))
        await trio.sleep(1)
        assert supervisor.count_children() == ChildCounts(specs=4, active=2, supervisors=1, workers=3)
        await trio.sleep(10)
        assert supervisor.count_children().active == 3
        await supervisor.terminate_child("s")
        assert supervisor.count_children() == ChildCounts(specs=4, active=2, supervisors=1, workers=3)


async def test_pictures_can_be_made_in_the_order_of_their_fields(autojump_clock):
    assert ChildCounts(2, 1, 0, 2) == ChildCounts(specs=2, active=1, supervisors=0, workers=2)
    async with open_supervisor(Supervisor([Child(forever, id="a")])) as supervisor:
        assert supervisor.count_children() == ChildCounts(1, 1, 0, 1)
        info = supervisor.get_child("a")
        node = TreeNode(info, (), (info,))
        assert (node.info, node.children, node.unresponsive) == (info, (), (info,))
        assert (node.id, node.state, node.kind, node.restarts) == ("a", "running", "worker", 0)


async def test_restarts_count_those_by_the_supervisor_alone(autojump_clock):
    events = {"a": trio.Event(), "b": trio.Event()}

    async def fragile(name):
        await crash_when(events[name])

    async def crash_of(name):
        event, events[name] = events[name], trio.Event()
        event.set()
        await some_steps()

    inner = Supervisor(
        [Child(fragile, "a", id="a"), Child(fragile, "b", id="b")], id="inner", strategy="rest_for_one", max_restarts=2
    )
    async with open_supervisor(Supervisor([inner])) as top:
        supervisor = top.supervisor("inner")

        def restarts():
            return [child.restarts for child in supervisor.which_children()]

        await crash_of("b")
        assert restarts() == [0, 1]
        await crash_of("a")
        assert restarts() == [1, 2]
        await supervisor.terminate_child("b")
        await supervisor.restart_child("b")
        assert restarts() == [1, 2]
        await crash_of("a")
        await until(lambda: top.get_child("inner").restarts == 1)
        assert restarts() == [0, 0]


async def test_reason_and_since(autojump_clock):
    event = trio.Event()
    async with open_supervisor(Supervisor([Child(crash_when, event, id="c", restart="transient")])) as supervisor:
        opened = trio.current_time()
        info = supervisor.get_child("c")
        assert info.reason is None
        assert info.since == pytest.approx(opened)
        await trio.sleep(3)
        assert supervisor.get_child("c").since == pytest.approx(opened)
        await supervisor.terminate_child("c")
        info = supervisor.get_child("c")
        assert info.reason == Shutdown()
        assert info.since == pytest.approx(opened + 3)
        await trio.sleep(3)
        await supervisor.restart_child("c")
        assert supervisor.get_child("c").since == pytest.approx(opened + 6)
        assert supervisor.get_child("c").reason == Shutdown()


async def test_the_reason_of_a_child_that_finished(autojump_clock):
    async with open_supervisor(Supervisor([Child(finish, id="c", restart="transient")])) as supervisor:
        await some_steps()
        assert (supervisor.get_child("c").state, supervisor.get_child("c").reason) == ("stopped", Normal())


async def test_render(autojump_clock, spec):
    release = trio.Event()
    event = trio.Event()
    async with open_supervisor(spec) as supervisor:
        await supervisor.start_child(Child(deaf, release, id="deaf", shutdown=1))
        pool = supervisor.get_child("pool").started

        async def once():
            waited = event
            await crash_when(waited, KeyError("no such thing"))

        await pool.start_child(Child(once, id="fragile"))
        old, event = event, trio.Event()
        old.set()
        await some_steps()
        await supervisor.terminate_child("deaf")
        await supervisor.terminate_child("a")
        text = render(tree(supervisor))
        lines = text.splitlines()
        assert lines[0].startswith("top")
        order = ["top", "a", "inner", "b", "c", "pool", "fragile", "deaf", "deaf"]
        assert [next(word for word in line.split() if word[0].isalnum()) for line in lines] == order
        assert "stopped" in lines[1]
        assert "running" in lines[2]
        assert lines[3].index("b") > lines[2].index("inner")
        assert "1 restart" in lines[6]
        assert "KeyError" in lines[6]
        assert "no such thing" in lines[6]
        assert "unresponsive" in lines[8]
        release.set()


async def test_render_of_a_picture_needs_no_running_tree(autojump_clock, spec):
    async with open_supervisor(spec) as supervisor:
        node = tree(supervisor)
        await trio.sleep(5)
        text = render(node)
    assert render(node) == text
    assert "5.0" not in text


async def test_the_crash_is_the_reason_of_the_picture(autojump_clock):
    event = trio.Event()

    async def once():
        waited = event
        await crash_when(waited)

    async with open_supervisor(Supervisor([Child(once, id="c")])) as supervisor:
        old, event = event, trio.Event()
        old.set()
        await some_steps()
        assert tree(supervisor).children[0].info.reason == Crashed(ValueError("crash"))
        assert tree(supervisor).children[0].restarts == 1
