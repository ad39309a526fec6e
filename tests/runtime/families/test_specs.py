"""What an `AgentSpec` refuses, and what it says of it: the field, what it should have been, and of which agent."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from tests.runtime.families.agents import Counter, Log

from prunella.agents import Address, Agent, Durable
from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, open_runtime
from prunella.signals import InvalidPattern
from prunella.supervision import InvalidSpec


class Nameless(Agent):
    n: int = 0


class Needs(Agent, name="needs"):
    n: int


async def decide(agent: Any, error: Exception) -> None:
    """No policy: it would have to be waited for."""


@pytest.mark.parametrize("agent", [Agent, int, 3, "counter", Counter()])
def test_only_a_class_derived_from_agent_can_be_started(agent: Any) -> None:
    with pytest.raises(InvalidSpec, match="agent must be a class derived from Agent") as caught:
        AgentSpec(agent, "a")
    assert caught.value.field == "agent"


@pytest.mark.parametrize(
    ("options", "field", "says"),
    [
        ({"partition": 3}, "partition", "a string that is not empty"),
        ({"partition": ""}, "partition", "a string that is not empty"),
        ({"parent": 3}, "parent", "the id of an agent, an Address"),
        ({"parent": ""}, "parent", "the id of an agent, an Address"),
        ({"parent": "p"}, "tag", "exactly when a parent"),
        ({"tag": "t"}, "tag", "exactly when a parent"),
        ({"parent": "p", "tag": 3}, "tag", "a string"),
        ({"subscribe": 3}, "subscribe", "a list of patterns"),
        ({"subscribe": "a.b"}, "subscribe", "a list of patterns"),
        ({"subscribe": ("a..b",)}, "subscribe", "pattern 'a..b'"),
        ({"subscribe": (3,)}, "subscribe", "pattern 3"),
        ({"debug": 3}, "debug", "a bool"),
        ({"error_policy": decide}, "error_policy", "no async one"),
        ({"durable": "yes"}, "durable", "a Durable"),
    ],
)
def test_what_is_wrong_is_said_at_once_with_agent_and_field(options: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidSpec, match=f"AgentSpec 'c': {field} must be .*{says}") as caught:
        AgentSpec(Counter, "c", **options)
    assert caught.value.field == field


def test_a_pattern_that_is_none_is_why() -> None:
    with pytest.raises(InvalidSpec) as caught:
        AgentSpec(Counter, "c", subscribe=["a.b", "a..b"])
    assert isinstance(caught.value.__cause__, InvalidPattern)


@pytest.mark.parametrize("durable", [True, Durable()])
def test_a_class_without_a_name_cannot_be_made_durable(durable: Any) -> None:
    with pytest.raises(InvalidSpec, match="Nameless has no name="):
        AgentSpec(Nameless, "n", durable=durable)
    assert AgentSpec(Nameless, "n", durable=False).durability is None


async def test_a_parent_is_named_by_its_id_its_address_or_its_ref() -> None:
    async with open_runtime(AgentSpec(Counter, "p", partition="x")) as runtime:
        ref = runtime.ref("p", Counter, partition="x")
        for parent in ("p", Address("p", "x"), ref):
            assert AgentSpec(Log, parent=parent, tag="t", partition="x").parent == Address("p", "x")
        child = await runtime.start_agent(Log, "c", parent=ref, tag="log")
        await ref.stop()
        assert child.status().state == "stopped"


async def test_starting_agent_itself_is_refused() -> None:
    async with open_runtime() as runtime:
        with pytest.raises(InvalidSpec, match="derived from Agent"):
            await runtime.start_agent(Agent)
        with pytest.raises(InvalidArgument, match="derived from Agent"):
            runtime.keyed(Agent)


@pytest.mark.parametrize(
    ("agent", "options", "field"),
    [(Counter, {"restart": "zz"}, "restart"), (Nameless, {"durable": True}, "durable")],
)
async def test_options_of_keyed_agents_are_checked_before_any_is_started(
    agent: Callable[..., Any], options: dict[str, Any], field: str
) -> None:
    async with open_runtime() as runtime:
        with pytest.raises(InvalidSpec) as caught:
            runtime.keyed(agent, **options)  # type: ignore[arg-type]
        assert caught.value.field == field
        with pytest.raises(TypeError):
            runtime.keyed(Counter, no_option=3)


async def test_keyed_agents_get_the_fields_that_they_need_with_their_keys() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.keyed(Needs).get("k", state={"n": 3})
        assert ref.state() == Needs(n=3)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="copy.replace came with Python 3.13")
def test_a_spec_is_replaced_by_one_that_differs_in_something() -> None:
    spec = AgentSpec(Counter, "c", state={"count": 3}, subscribe=("a.*",), parent="p", tag="t", mailbox=7)
    assert copy.replace(spec) == spec
    assert copy.replace(spec, id="z") == AgentSpec(
        Counter, "z", state={"count": 3}, subscribe=("a.*",), parent="p", tag="t", mailbox=7
    )
    with pytest.raises(InvalidSpec, match="mailbox"):
        copy.replace(spec, mailbox=0)


def test_a_spec_evolves() -> None:
    spec = AgentSpec(Counter, "c", state=Counter(count=3))
    changed = attrs.evolve(spec, restart="permanent", state={"count": 4})
    assert changed == AgentSpec(Counter, "c", state={"count": 4}, restart="permanent")
    assert changed.durability is None


def test_a_state_that_does_not_fit_is_a_wrong_spec_too() -> None:
    for state, field in [({"count": "3"}, "state.count"), (3, "state"), ({"other": 3}, "state.other")]:
        with pytest.raises(InvalidSpec) as caught:
            AgentSpec(Counter, "c", state=state)  # type: ignore[arg-type]
        assert caught.value.field == field
