"""What errors say, and that they survive a journey to another process."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest

from prunella.agents import (
    Address,
    Agent,
    AgentCrashed,
    AgentError,
    AgentNotFound,
    AgentStopped,
    Ask,
    Diverged,
    Emit,
    Fenced,
    ImpureHandler,
    InvalidResult,
    InvalidSignalData,
    MailboxFull,
    NoReply,
    NotSerialisable,
    Rejected,
    RestoreFailed,
    Run,
    Schedule,
    SpawnAgent,
    UnhandledSignal,
    describe,
    on,
    schema,
)
from prunella.errors import DefinitionError, InvalidArgument, PrunellaError
from prunella.runtime import AgentSpec
from prunella.signals import Signal

ERRORS: list[tuple[PrunellaError, str]] = [
    (AgentNotFound("desk"), "there is no agent 'desk'"),
    (AgentStopped("done"), "the agent has stopped: done"),
    (AgentCrashed("boom"), "the agent crashed: boom"),
    (MailboxFull(1000), "the mailbox of the agent is full with 1000 signals"),
    (UnhandledSignal("Desk", "a.b"), "no handler of Desk takes 'a.b'"),
    (
        InvalidSignalData("Desk.opened", "a.b", "ticket", "str", "int"),
        "Desk.opened: ticket in the data of 'a.b': expected str, got int",
    ),
    (
        InvalidSignalData("Desk.opened", "a.b", "", "a mapping", "None"),
        "Desk.opened: the data of 'a.b': expected a mapping, got None",
    ),
    (Rejected("not now", code=3), "not now"),
    (NoReply(), "the agent did not reply"),
    (Fenced(), "the agent was claimed by another owner"),
    (
        RestoreFailed("no text", path="open[0]", stored_version=1, version=2),
        "the state of the agent cannot be restored at open[0]: no text (stored 1, class 2)",
    ),
    (RestoreFailed("unreadable"), "the state of the agent cannot be restored: unreadable"),
    (InvalidResult("Desk.opened", "returned 3"), "Desk.opened returned 3"),
    (NotSerialisable("Emit", "data", ".x is odd"), "Emit cannot be written as data: data.x is odd"),
    (Diverged(7, ("open", "directives")), "turn 7 came out differently: open, directives"),
]


@pytest.mark.parametrize(("error", "text"), ERRORS)
def test_errors_say_what_is_wrong(error: PrunellaError, text: str) -> None:
    assert str(error) == text


class Keeper(Agent, name="keeper"):
    kept: str = ""

    @on("keep")
    def keep(self, value: str) -> Any:
        return self.set(kept=value)


@pytest.mark.parametrize(
    "call",
    [
        lambda secret: Keeper(other=secret),
        lambda secret: Keeper(kept=secret.encode()),
        lambda secret: Keeper().set(other=secret),
        lambda secret: Keeper.from_data({"kept": {"a": secret}}),
        lambda secret: AgentSpec(Keeper, state=secret),
        lambda secret: AgentSpec(Keeper, state={"other": secret}),
        lambda secret: SpawnAgent(Keeper, tag="t", state=secret),
        lambda secret: Keeper().cmd(Signal("keep"), value=secret),
        lambda secret: Emit(Signal("keep"), {"value": secret}),
        lambda secret: Ask("a", Signal("keep"), {"value": secret}, then="x"),
        lambda secret: Schedule(1, Signal("keep"), {"value": secret}),
        lambda secret: Run(print, secret),
        lambda secret: Run(print, {3: secret}, then="x"),
    ],
)
def test_an_error_shows_the_type_of_what_came_and_never_the_value(call: Callable[[Any], object]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        call("s3cret")
    assert "s3cret" not in f"{caught.value} {caught.value!r}"


@pytest.mark.parametrize("error", [error for error, _ in ERRORS], ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error: PrunellaError) -> None:
    if isinstance(error, AgentError):
        error.address = Address("desk", "north")
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), vars(back)) == (str(error), vars(error))


def test_what_callers_hear_names_the_agent_if_it_is_known() -> None:
    error = NoReply()
    error.address = Address("desk")
    assert str(error) == "agent 'desk' did not reply"


def test_an_impurity_says_what_to_do() -> None:
    text = str(ImpureHandler("Desk.opened", "field 'last'", "int", "str"))
    assert "Desk.opened is not pure: field 'last' differs between two runs (int, then str)" in text
    assert "Context" in text


def test_refusals_are_no_crashes_and_crashes_no_answers() -> None:
    for error in (Rejected("x"), UnhandledSignal("a", "b"), InvalidSignalData("a", "b", "", "", "")):
        assert isinstance(error, AgentError)
    assert isinstance(InvalidSignalData("a", "b", "", "", ""), ValueError)
    for other in (
        InvalidResult("a", "b"),
        ImpureHandler("a", "b", "c", "d"),
        Diverged(1, ()),
        NotSerialisable("a", "b", "c"),
    ):
        assert isinstance(other, PrunellaError)
        assert not isinstance(other, AgentError)


class Kind(StrEnum):
    ADDED = "added"


class Counter(Agent, name="counter", description="Counts what is added."):
    count: int = 0

    @on(Kind.ADDED)
    def added(self) -> Any:
        return self.set(count=self.count + 1)


def test_a_type_may_be_a_member_of_an_enumeration() -> None:
    assert Counter().cmd(Kind.ADDED)[0].count == 1
    assert type(Emit(Kind.ADDED).type) is str
    assert Emit(Kind.ADDED) == Emit("added")


def test_a_description_can_be_given() -> None:
    assert describe(Counter).description == "Counts what is added."


def test_there_is_no_schema_of_a_handler_that_is_not_there() -> None:
    with pytest.raises(InvalidArgument, match="one of added"):
        schema(Counter, "removed")


def test_annotations_of_parameters_that_nothing_converts_to_are_named() -> None:
    with pytest.raises(DefinitionError, match=r"Broken\.heard: 'what'"):

        class Broken(Agent):
            @on("x")
            def heard(self, what: 3) -> Any: ...  # type: ignore[valid-type]

    with pytest.raises(DefinitionError, match=r"Broken\.heard: 'rest'"):

        class Broken(Agent):  # type: ignore[no-redef]
            @on("x")
            def heard(self, **rest: 3) -> Any: ...  # type: ignore[valid-type]


def test_on_decorates_functions() -> None:
    with pytest.raises(DefinitionError, match="decorates methods"):
        on("x")(3)  # type: ignore[type-var]
