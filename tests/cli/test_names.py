"""What children are called in a run."""

from __future__ import annotations

import pytest
import trio

from prunella import Agent, Child, Supervisor
from prunella.cli._names import Names, agents_in, is_routine, visible_trees
from prunella.runtime import AgentSpec, open_runtime
from prunella.supervision import ChildExited, ChildStarted, GaveUp, Killed, Normal, StillStopping


class Boss(Agent, name="boss"):
    pass


TREE = Supervisor(
    [
        AgentSpec(Boss, partition="north"),
        Supervisor([AgentSpec(Boss, "b"), Child(trio.sleep_forever, id="web")], id="in"),
    ],
    id="shop",
)


def test_agents_of_a_tree_are_found_with_their_paths():
    assert [path for path, _ in agents_in(TREE)] == ["shop/boss", "shop/in/b"]
    assert [path for path, _ in agents_in(AgentSpec(Boss))] == ["boss"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("shop", "shop"),
        ("shop/boss", "north/boss"),
        ("shop/in", "in"),
        ("shop/in/b", "b"),
        ("shop/in/web", "in/web"),
        ("prunella.agents/later", "later"),
        ("prunella/scheduler", "prunella/scheduler"),
    ],
)
def test_an_agent_is_called_by_its_address_and_another_child_by_its_path(path, name):
    assert Names(TREE)[path] == name


def test_the_paths_of_an_event_become_names():
    names = Names(TREE)
    event = GaveUp(time=0.0, child="shop/in/b", life=1, supervisor="shop/in", reason=Killed())
    assert (names.in_event(event).child, names.in_event(event).supervisor) == ("b", "in")
    assert names.in_event(StillStopping(time=0.0, waiting_for=("shop/boss",), seconds=1.0)).waiting_for == (
        "north/boss",
    )


def test_what_the_runtime_does_with_its_own_parts_is_routine_unless_it_fails():
    assert is_routine(ChildStarted(time=0.0, child="prunella/scheduler", life=1))
    assert is_routine(ChildStarted(time=0.0, child="prunella.agents", life=1))
    assert is_routine(ChildExited(time=0.0, child="prunella", life=1, reason=Normal(), expected=True))
    assert not is_routine(ChildExited(time=0.0, child="prunella", life=1, reason=Killed(), expected=False))
    assert not is_routine(ChildStarted(time=0.0, child="prunella.agents/later", life=1))
    assert not is_routine(ChildStarted(time=0.0, child="shop", life=1))


async def test_of_the_tree_of_a_runtime_its_user_sees_what_they_have_made():
    async with open_runtime(TREE) as runtime:
        assert [node.id for node in visible_trees(runtime.tree())] == ["shop"]
        await runtime.start_agent(Boss, "later")
        assert [node.id for node in visible_trees(runtime.tree())] == ["shop", "prunella.agents"]
