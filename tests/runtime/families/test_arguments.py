"""Wrong arguments are refused at once, with the name of what was called and of the argument."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import pytest
from tests.runtime.families.agents import Counter

from prunella.agents import Agent, Directive, Emit
from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, EffectContext, open_runtime, wait_all, wait_any
from prunella.supervision import InvalidSpec, Supervisor


async def always(state: Any) -> bool:
    return True


@attrs.frozen
class Ring(Directive):
    """One of our own."""


async def ring(directive: Directive, context: EffectContext) -> None:
    return None


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("strict", {"strict": "x"}),
        ("strict", {"strict": 1}),
        ("handle_os_signals", {"handle_os_signals": 3}),
        ("agents", {"agents": Counter}),
        ("agents", {"agents": [Agent]}),
        ("executors", {"executors": 3}),
        ("executors", {"executors": {Emit: ring}}),
        ("tree", {"tree": Counter}),
    ],
)
def test_opening_a_runtime(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match=r"open_runtime\(\): ") as caught:
        open_runtime(**options)
    assert caught.value.field == field


def test_who_gives_a_class_in_the_place_of_its_spec_is_told_what_to_write() -> None:
    with pytest.raises(InvalidSpec, match=r"write AgentSpec\(Counter\)"):
        open_runtime(Counter)


def test_two_classes_of_one_name_in_one_tree() -> None:
    class Other(Agent, name="counter"):
        pass

    for tree in (
        [AgentSpec(Counter), AgentSpec(Other, "o")],
        [Supervisor([AgentSpec(Other)], id="s"), AgentSpec(Counter)],
    ):
        with pytest.raises(InvalidSpec, match="for one runtime runs one class named 'counter'") as caught:
            open_runtime(Supervisor(tree))
        assert caught.value.field == "agent"
    open_runtime(Supervisor([AgentSpec(Counter, "a"), AgentSpec(Counter, "b")]))


@pytest.mark.parametrize(
    ("field", "call"),
    [
        ("agent", lambda runtime: runtime.ref("x", int)),
        ("agent", lambda runtime: runtime.ref("x", Counter())),
        ("id", lambda runtime: runtime.ref(3)),
        ("agent", lambda runtime: runtime.whereis("x", int)),
        ("id", lambda runtime: runtime.whereis(3)),
        ("id", lambda runtime: runtime.whereis("")),
        ("partition", lambda runtime: runtime.whereis("x", partition=3)),
        ("agent", lambda runtime: runtime.agents(int)),
        ("agent", lambda runtime: runtime.agents(3)),
        ("partition", lambda runtime: runtime.agents(partition=3)),
        ("partition", lambda runtime: runtime.count(partition=3)),
    ],
)
async def test_looking_for_agents(field: str, call: Any) -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        with pytest.raises(InvalidArgument) as caught:
            call(runtime)
        assert caught.value.field == field


async def test_waiting_for_states() -> None:
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        ref = runtime.ref("c", Counter)
        for wait in (wait_all, wait_any):
            for refs in ([3], ["c"], 3, ref, [ref, None]):
                with pytest.raises(InvalidArgument) as caught:
                    await wait(refs, bool)  # type: ignore[arg-type]
                assert (caught.value.owner, caught.value.field) == (f"{wait.__name__}()", "refs")
            for predicate in (always, 3, partial(always)):
                with pytest.raises(InvalidArgument) as caught:
                    await wait([ref], predicate)  # type: ignore[arg-type]
                assert caught.value.field == "predicate"
        for predicate in (always, 3):
            with pytest.raises(InvalidArgument, match="wait_for\\(\\): predicate must be a plain function"):
                await ref.wait_for(predicate)  # type: ignore[arg-type]
