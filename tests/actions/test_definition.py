"""What an action is made of, and what is refused when it is made."""

from __future__ import annotations

import inspect
import pickle
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal

import attrs
import pytest

from prunella.actions import (
    Action,
    ActionContext,
    ActionFailed,
    Failure,
    IdempotencyKey,
    InvalidAction,
    InvalidInput,
    Kind,
    Result,
    Success,
    action,
    run,
    try_run,
)
from prunella.errors import DefinitionError


@attrs.frozen
class Customer:
    name: str
    visits: tuple[int, ...] = ()


@action(timeout=10.0, retries=2, idempotent=True, tags=["weather"], category="outside", version="2")
async def fetch_weather(city: str, *, unit: Literal["c", "f"] = "c") -> str:
    """Current weather
    of a city.

    Args:
        city: where.
    """
    return f"{city}/{unit}"


def test_an_action_knows_what_was_said_of_it() -> None:
    assert fetch_weather.name == "fetch_weather"
    assert fetch_weather.description == "Current weather of a city."
    assert (fetch_weather.tags, fetch_weather.category, fetch_weather.version) == (("weather",), "outside", "2")
    assert (fetch_weather.options.timeout, fetch_weather.options.retries) == (10.0, 2)
    assert fetch_weather.kind is Kind.ASYNC
    assert repr(fetch_weather) == "<Action 'fetch_weather'>"


async def test_called_directly_it_is_the_plain_function() -> None:
    assert await fetch_weather("Oslo", unit="x") == "Oslo/x"  # type: ignore[arg-type]
    assert list(inspect.signature(fetch_weather).parameters) == ["city", "unit"]
    assert fetch_weather.__doc__ is not None
    assert fetch_weather.__doc__.startswith("Current")
    if sys.version_info >= (3, 12):
        assert inspect.iscoroutinefunction(fetch_weather)


def test_it_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(fetch_weather)) is fetch_weather


def test_its_schema_has_descriptions_and_defaults_and_is_made_once() -> None:
    schema = fetch_weather.input_schema
    assert schema is fetch_weather.input_schema
    assert schema["properties"]["city"] == {"type": "string", "description": "where."}
    assert schema["properties"]["unit"]["default"] == "c"
    assert schema["required"] == ["city"]
    assert schema["additionalProperties"] is False
    assert fetch_weather.output_schema["type"] == "string"


def test_without_parentheses_and_with_labels_of_its_own() -> None:
    @action
    def add(a: int, b: int) -> int:
        return a + b

    @action(name="other-name", description="Does it.")
    def work() -> None:
        """Something else."""

    assert (add.name, add.kind, add(1, 2)) == ("add", Kind.SYNC, 3)
    assert (work.name, work.description) == ("other-name", "Does it.")


def test_kinds() -> None:
    @action
    async def numbers(n: int) -> AsyncIterator[int]:
        yield n

    assert numbers.kind is Kind.STREAM
    assert numbers.output_schema["type"] == "integer"


def positional(a: int, /) -> None: ...
def variable(*a: int) -> None: ...
def bare(a) -> None: ...  # type: ignore[no-untyped-def]
def wrong_default(a: int = "1") -> None: ...  # type: ignore[assignment]
def unresolved(a: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def generator(a: int) -> Iterator[int]:
    yield a


async def yields_int(a: int) -> int:  # type: ignore[misc]
    yield a


def bare_rest(**rest) -> None: ...  # type: ignore[no-untyped-def]


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (positional, "positional-only"),
        (variable, r"'\*a'"),
        (bare, "'a' has no annotation"),
        (bare_rest, "'rest' has no annotation"),
        (wrong_default, "default of 'a'"),
        (unresolved, "'Missing'"),
        (generator, "generator"),
        (yields_int, "AsyncIterator"),
        (lambda: None, "'<lambda>'"),
        (7, "not of a int"),
        (fetch_weather, "already"),
    ],
)
def test_what_cannot_be_an_action_is_refused_when_it_is_made(function: Any, said: str) -> None:
    with pytest.raises(InvalidAction, match=said) as caught:
        action(function)
    assert isinstance(caught.value, DefinitionError)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "a b"}, "letters"),
        ({"name": ""}, "letters"),
        ({"name": "x" * 65}, "letters"),
        ({"timeout": 0}, "timeout must be seconds above 0"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"total_timeout": -1}, "total_timeout"),
        ({"retries": -1}, "retries"),
        ({"retries": True}, "retries"),
        ({"backoff": 3}, "backoff"),
        ({"idempotent": 1}, "idempotent"),
        ({"compensate": 3}, "compensate"),
        ({"compensate": lambda other: None}, "'other'"),
        ({"compensate_timeout": None}, "compensate_timeout"),
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"tags": "abc"}, "tags"),
        ({"tags": (1,)}, "tags"),
        ({"category": 1}, "category"),
        ({"open": True}, r"\*\*rest"),
        ({"cpu": True}, "by name"),
        ({"cpu": 1}, "cpu"),
    ],
)
def test_wrong_options_are_refused_when_it_is_made(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidAction, match=said):

        @action(**options)
        def work(a: int) -> None: ...


def test_only_sync_functions_of_modules_go_to_processes() -> None:
    with pytest.raises(InvalidAction, match="sync functions"):

        @action(cpu=True)
        async def waits() -> None: ...


def test_a_misspelt_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="retry"):
        action(retry=3)  # type: ignore[call-overload]


async def test_unknown_keys_are_refused_or_handed_over_with_open() -> None:
    @action
    async def closed(a: int, **rest: int) -> dict[str, int]:
        return {"a": a, **rest}

    @action(open=True)
    async def opened(a: int, **rest: int) -> dict[str, int]:
        return {"a": a, **rest}

    with pytest.raises(InvalidInput) as caught:
        await run(closed, {"a": 1, "b": 2})
    assert caught.value.path == "b"
    assert await run(opened, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidInput) as caught:
        await run(opened, {"a": 1, "b": "2"})
    assert (caught.value.path, caught.value.expected, caught.value.got) == ("b", "int", "str")


async def test_a_key_cannot_take_the_place_of_what_is_handed_in() -> None:
    @action(open=True)
    async def opened(context: ActionContext, **rest: Any) -> Any:
        return context

    with pytest.raises(InvalidInput, match="context"):
        await run(opened, {"context": 1})


@pytest.mark.parametrize(
    ("params", "path", "expected", "got"),
    [
        ({}, "customer", "a value", "nothing"),
        ({"customer": {"name": "x", "visits": ["1"]}}, "customer.visits[0]", "int", "str"),
        (
            {"customer": {"name": "x", "other": 1}},
            "customer.other",
            "known keys only ('name', 'visits')",
            "an unknown one",
        ),
        ({"customer": {"name": "x"}, "factor": float("nan")}, "factor", "a finite number", "nan"),
        ({"customer": {"name": "x"}, 3: 1}, "[3]", "known keys only ('customer', 'factor')", "an unknown one"),
        ([], "", "a mapping", "list"),
        (None, "", "a mapping", "None"),
    ],
)
async def test_input_that_does_not_fit_is_told_by_its_path(params: Any, path: str, expected: str, got: str) -> None:
    ran = []

    @action
    async def serve(customer: Customer, factor: float = 1.0) -> None:
        ran.append(1)

    with pytest.raises(InvalidInput) as caught:
        await run(serve, params)
    error = caught.value
    assert error.path == path
    assert error.got == got or path == "factor"
    assert error.expected == expected or path == "factor"
    assert not ran
    assert error.attempts == 0
    assert error.action == "serve"
    assert not error.retryable
    assert isinstance(error, ValueError)


async def test_input_is_converted_and_defaults_too() -> None:
    @action
    async def serve(customer: Customer, tags: tuple[str, ...] = ["a"]) -> tuple[Customer, Any]:  # type: ignore[assignment]
        return customer, tags

    assert await run(serve, {"customer": {"name": "x", "visits": [1]}}) == (Customer("x", (1,)), ("a",))


async def test_a_class_with_hooks_in_their_order() -> None:
    seen: list[Any] = []

    @action(retries=1)
    class Charge:
        """Charges a card."""

        def before_validate(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
            seen.append(("before", dict(params)))
            return {**params, "cents": params["cents"] * 100}

        def after_validate(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
            seen.append(("after", dict(params)))
            return params

        async def run(self, cents: int) -> int:
            seen.append("run")
            if len(seen) == 3:
                raise ConnectionError
            return cents

        def after_run(self, outcome: Any) -> None:
            seen.append(outcome)

    assert isinstance(Charge, Action)
    assert (Charge.name, Charge.description) == ("Charge", "Charges a card.")
    from prunella.supervision import Backoff

    assert await run(Charge, {"cents": 1}, backoff=Backoff(0.0, 0.0, 1.0)) == 100
    assert seen == [
        ("before", {"cents": 1}),
        ("after", {"cents": 100}),
        "run",
        "run",
        Success(100, (), 2),
    ]
    assert await Charge(cents=5) == 5


async def test_a_hook_that_raises_ends_the_run_before_the_first_attempt() -> None:
    ran = []

    @action(retries=3)
    class Work:
        def before_validate(self, params: Any) -> Any:
            raise ConnectionError("no")

        async def run(self) -> None:
            ran.append(1)

    outcome = await try_run(Work)
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, ActionFailed)
    assert outcome.error.attempts == 0
    assert not ran


def test_hooks_are_checked_when_the_class_is_made() -> None:
    with pytest.raises(InvalidAction, match="before_validate"):

        @action
        class Waits:
            async def before_validate(self, params: Any) -> Any: ...
            def run(self) -> None: ...

    with pytest.raises(InvalidAction, match="method run"):

        @action
        class Empty: ...

    with pytest.raises(InvalidAction, match="without arguments"):

        @action
        class Wants:
            def __init__(self, a: int) -> None: ...
            def run(self) -> None: ...


async def test_what_is_handed_in_is_no_input() -> None:
    @action
    async def look(a: int, context: ActionContext, key: IdempotencyKey) -> list[Any]:
        return [a, context.values, context.attempt, type(key)]

    assert list(look.input_schema["properties"]) == ["a"]
    assert await run(look, {"a": 1}, context={"user": "u"}) == [1, {"user": "u"}, 1, IdempotencyKey]


async def test_a_result_brings_directives() -> None:
    @action
    async def work() -> Result[int]:
        return Result(1, directives=["d"])

    @action
    async def wrong() -> int | Result[int]:
        return Result("1")  # type: ignore[arg-type]

    assert await run(work) == 1
    assert await try_run(work) == Success(1, ("d",), 1)
    outcome = await try_run(wrong)
    assert isinstance(outcome, Failure)
    assert outcome.error.got == "str"
    assert work.output_schema["type"] == "integer"


async def test_what_only_a_runtime_can_hand_in_is_no_input_and_is_asked_for_there() -> None:
    runtime = pytest.importorskip("prunella.runtime")

    async def work(a: int, runtime: Any, me: Any) -> None: ...

    work.__annotations__ |= {"runtime": runtime.Runtime, "me": runtime.AgentRef[Any]}
    made = action(work)
    assert list(made.input_schema["properties"]) == ["a"]
    with pytest.raises(InvalidAction, match="only a runtime"):
        await run(made, {"a": 1})


@pytest.mark.parametrize("fails", [False, True])
async def test_a_hook_after_the_run_that_raises_fails_it(fails: bool) -> None:
    events: list[Any] = []

    @action
    class Work:
        async def run(self) -> None:
            if fails:
                raise KeyError("first")

        def after_run(self, outcome: Any) -> None:
            raise ValueError("later")

    outcome = await try_run(Work, telemetry=[events.append])
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error.__cause__, ValueError)
    assert [event.name for event in events][-1] == "action.exception"
