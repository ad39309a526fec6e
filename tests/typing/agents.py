"""What type checkers see of agents. Nothing here is run.

A `# type: ignore[...]` marks a line that must be an error; a checker that finds none there complains of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, assert_type

from prunella.agents import (
    Address,
    Agent,
    AgentDefinition,
    Context,
    Cron,
    Directive,
    Durable,
    Emit,
    Fail,
    Map,
    Rejected,
    Reply,
    Run,
    SpawnAgent,
    Turn,
    describe,
    directive_from_data,
    directive_to_data,
    migrate,
    on,
    replay,
    routes,
    schema,
)
from prunella.signals import Route, Signal, SignalType


class Opened(SignalType, type="ticket.opened"):
    ticket: str


async def ask_model(question: str) -> str:
    return question


class Support(
    Agent,
    name="support",
    version=2,
    tags=("desk",),
    schedules=(Cron("0 9 * * *", "day.begun", key="day"),),
    durable=Durable(snapshot_every=10),
):
    open: tuple[str, ...] = ()
    last: str = ""
    prices: Mapping[str, float] = Map()
    name: str = ""

    @on("ticket.opened")
    def opened(self, ticket: str, priority: int = 0) -> tuple[Support, Emit]:
        return self.set(open=(*self.open, ticket)), Emit("ticket.accepted", {"ticket": ticket})

    @on(Opened, priority=1, when=lambda signal: signal.subject is not None)
    def typed(self, event: Opened, context: Context) -> Directive | None:
        assert_type(event.ticket, str)
        assert_type(context.now, datetime)
        assert_type(context.parent, Address | None)
        return Run(ask_model, {"question": event.ticket}, then="question.answered", timeout=30)

    @on("question.answered")
    def answered(self, result: str) -> tuple[Support, Reply]:
        return self.set(last=result), Reply(result)

    @on("question.failed")
    def failed(self, error: Mapping[str, Any]) -> Fail:
        if not error:
            raise Rejected("nothing", code=3)
        return Fail(error["message"])

    @migrate(1)
    @staticmethod
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return data


class Owned(Agent):
    owner: str
    balance: int = 0


support = Support(open=("a",), last="b")
assert_type(support.open, tuple[str, ...])
assert_type(support.set(last="x"), Support)
assert_type(support.cmd("ticket.opened", ticket="a"), tuple[Support, tuple[Directive, ...]])
assert_type(support.cmd(Signal("a"), Signal("b"), context=Context(seed=1), strict=True)[0], Support)
assert_type(Support.from_data({}), Support)
assert_type(support.to_data(), dict[str, Any])
assert_type(support.opened("a"), tuple[Support, Emit])
assert_type(describe(Support), AgentDefinition)
assert_type(routes(Support), tuple[Route[str], ...])
assert_type(schema(Support, "opened"), dict[str, Any])
assert_type(replay(Support, [Turn(1, Signal("a"), datetime.now(UTC), 1)]), Iterator[Support])
assert_type(directive_from_data(directive_to_data(Reply(1))), Directive)

Support(opne=())  # type: ignore[call-arg]
Support(open=3)  # type: ignore[arg-type]
Support(("a",))  # type: ignore[call-arg]
Owned()  # type: ignore[call-arg]
support.last = "x"  # type: ignore[misc]
support.opne  # type: ignore[attr-defined]
support.opened(3)  # type: ignore[arg-type]
support.cmd(3)  # type: ignore[arg-type]
describe(support)  # type: ignore[arg-type]
on("a", priority="high")  # type: ignore[arg-type]
Emit(3)  # type: ignore[arg-type]
Emit("a", too="b")  # type: ignore[call-arg]
Run("act")  # type: ignore[arg-type]
SpawnAgent(Support, tag="a", restart="always")  # type: ignore[arg-type]
SpawnAgent(support, tag="a")  # type: ignore[arg-type]
Cron("* * * * *", "a", misfire="never")  # type: ignore[arg-type]
Context(now="today")  # type: ignore[arg-type]
Durable(100)  # type: ignore[call-arg]
