"""What the report of a failed test tells of its agents."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent

import pytest

pytest_plugins = ["pytester"]

AGENTS = """
    import pytest
    from prunella import Agent, AgentSpec, MemoryStorage, Rejected, Supervisor, on
    from prunella.testing import settle

    class Desk(Agent, name="desk", durable=True):
        open: tuple[str, ...] = ()
        last: str = ""

        @on("ticket.opened")
        def opened(self, ticket: str):
            return self.set(open=(*self.open, ticket), last=ticket)

        @on("refuse")
        def refuse(self):
            raise Rejected("no")

        @on("boom")
        def boom(self):
            raise ValueError("the roof is off")

    class Plain(Agent, name="plain"):
        heard: int = 0

        @on("hear")
        def hear(self):
            return self.set(heard=self.heard + 1)

    @pytest.fixture
    def runtime_options():
        agents = [AgentSpec(Desk), AgentSpec(Plain, "seen", debug=True), AgentSpec(Plain, "unseen")]
        return {"tree": Supervisor(agents), "storage": MemoryStorage()}
"""


@pytest.fixture
def report(pytester: pytest.Pytester) -> Callable[..., list[str]]:
    """Runs a test that fails, or passes, and gives the section about its agents."""

    def report(test: str, *options: str) -> list[str]:
        pytester.makeini("[pytest]\ntrio_mode = true\n")
        pytester.makepyfile(test_it=dedent(AGENTS) + dedent(test))
        lines = pytester.runpytest_subprocess(*options).outlines
        begins = [number for number, line in enumerate(lines) if line.strip("- ") == "last turns of agents"]
        if not begins:
            return []
        section = lines[begins[0] + 1 :]
        ends = [number for number, line in enumerate(section) if line.startswith(("---", "===", "___"))]
        return section[: ends[0]]

    return report


@pytest.mark.slow
def test_a_failed_test_tells_the_last_turns_with_what_changed(report: Callable[..., list[str]]) -> None:
    assert report(
        """
        async def test_it(runtime):
            desk = runtime.ref("desk")
            for number in range(12):
                await desk.call("ticket.opened", ticket=f"T-{number}")
            with pytest.raises(Rejected):
                await desk.call("refuse")
            await runtime.ref("seen").call("hear")
            await runtime.ref("unseen").call("hear")
            assert desk.state().open == ()
        """
    ) == [
        "desk:",
        "  (turns before 4)",
        *(
            line
            for number in range(3, 12)
            for line in (
                f"  {number + 1}  ticket.opened",
                f"       last = 'T-{number}'",
                f"       open = {tuple(f'T-{each}' for each in range(number + 1))}",
            )
        ),
        "  13  refuse  rejected",
        "seen:",
        "  1  hear",
        "       heard = 1",
    ]


@pytest.mark.slow
def test_crashes_and_dead_letters_are_told_and_sequences_go_on_over_them(report: Callable[..., list[str]]) -> None:
    assert report(
        """
        async def test_it(runtime):
            desk = runtime.ref("desk")
            await desk.call("ticket.opened", ticket="T-1")
            await desk.cast("boom")
            await settle(runtime)
            await runtime.hibernate(desk)
            await desk.call("ticket.opened", ticket="x" * 1000)
            assert False
        """
    ) == [
        "desk:",
        "  1  ticket.opened",
        "       last = 'T-1'",
        "       open = ('T-1',)",
        "  2  boom  dead",
        "  3  ticket.opened",
        f"       last = '{'x' * 184}…",
        f"       open = ('T-1', '{'x' * 176}…",
        "  crashed on boom: ValueError: the roof is off",
        "  crashed on boom: ValueError: the roof is off",
    ]


@pytest.mark.slow
def test_of_many_agents_those_are_told_that_did_something_last(report: Callable[..., list[str]]) -> None:
    lines = report(
        """
        import trio

        async def test_it(runtime):
            for number in range(30):
                await trio.sleep(1)
                agent = await runtime.start_agent(Desk, f"agent-{number}")
                await agent.call("ticket.opened", ticket="T")
            assert False
        """
    )
    assert lines[0] == "(20 more agents)"
    assert [line for line in lines if line.endswith(":")] == [f"agent-{number}:" for number in range(20, 30)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "test",
    [
        """
        async def test_it(runtime):
            await runtime.ref("desk").call("ticket.opened", ticket="T")
        """,
        """
        async def test_it(runtime):
            await runtime.ref("unseen").call("hear")
            assert False
        """,
        """
        def test_it():
            assert False
        """,
    ],
    ids=["it passed", "nothing was recorded", "it has no runtime"],
)
def test_otherwise_nothing_is_told(report: Callable[..., list[str]], test: str) -> None:
    assert report(test, "-rA") == []
