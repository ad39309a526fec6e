"""Durable agents come with storages; until a runtime has one, they are refused, not run as if they were not."""

from __future__ import annotations

import pytest

from prunella.agents import Agent, on
from prunella.runtime import AgentSpec, open_runtime
from prunella.supervision import InvalidSpec, Supervisor


class Ledger(Agent, name="ledger", durable=True):
    @on("note")
    def note(self):
        return None


class Plain(Agent, name="plain"):
    @on("note")
    def note(self):
        return None


@pytest.mark.parametrize(
    "tree", [AgentSpec(Ledger), Supervisor([AgentSpec(Ledger, "a")]), AgentSpec(Plain, durable=True)]
)
def test_a_tree_with_a_durable_agent_is_refused_when_the_runtime_is_made(tree):
    with pytest.raises(InvalidSpec, match="storage"):
        open_runtime(tree)


async def test_a_durable_agent_cannot_be_started_later(autojump_clock):
    async with open_runtime() as runtime:
        with pytest.raises(InvalidSpec, match="storage"):
            await runtime.start_agent(Ledger)
        assert runtime.count() == 0


async def test_a_spec_may_say_that_its_agent_is_not_durable_here(autojump_clock):
    async with open_runtime(AgentSpec(Ledger, durable=False)) as runtime:
        assert runtime.count() == 1
