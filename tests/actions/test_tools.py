"""Tools of a model: their schemas, what may be called, and answers that a model can use."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Literal

import attrs
import jsonschema
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from prunella.actions import (
    Catalog,
    Entry,
    Failure,
    InvalidAction,
    Plan,
    Policy,
    Result,
    Step,
    action,
    call_tool,
    open_runner,
    param,
    tool_schema,
    try_run,
)
from prunella.errors import InvalidArgument
from prunella.supervision import Backoff
from prunella.telemetry import Event


class Mode(Enum):
    FAST = "fast"
    SLOW = "slow"


@attrs.frozen
class Place:
    """Somewhere.

    Attributes:
        street: which street.
    """

    street: str
    number: int = 1


@action(tags=["people"], category="office")
async def greet(name: str, age: int = 0, mode: Literal["fast", "slow"] = "fast", place: Place | None = None) -> str:
    """Says hello.

    Args:
        name: who.
    """
    return f"Hello {name}"


@action(tags=["file"])
async def file_read(path: str) -> str:
    """Reads."""
    return path


@action
async def profile(limit: int) -> str:
    """Shows a profile."""
    return ""


@action(tags=["file"])
async def file_write(path: str) -> None:
    """Writes."""


@action
async def broken(text: str = "") -> None:
    """Fails."""
    raise ConnectionError("gone")


CATALOG = Catalog(
    [
        greet,
        file_read,
        profile,
        broken,
        Entry(file_write, visibility="hidden"),
    ]
)


async def called(name: str, arguments: Any, **options: Any) -> Any:
    result = await call_tool(CATALOG, name, arguments, **options)
    data = json.loads(result.content)
    return data if result.ok else data["error"]


def test_the_three_formats() -> None:
    schema = {key: value for key, value in greet.input_schema.items() if key != "$schema"}
    assert tool_schema(greet) == {"name": "greet", "description": "Says hello.", "inputSchema": schema}
    assert tool_schema(greet, format="anthropic") == {
        "name": "greet",
        "description": "Says hello.",
        "input_schema": schema,
    }
    assert tool_schema(greet, format="openai") == {
        "type": "function",
        "function": {"name": "greet", "description": "Says hello.", "parameters": schema},
    }
    with pytest.raises(InvalidArgument, match="format"):
        tool_schema(greet, format="other")  # type: ignore[arg-type]
    with pytest.raises(InvalidAction):
        tool_schema(print)  # type: ignore[arg-type]


def test_a_definition_may_be_changed_without_changing_the_next() -> None:
    tool_schema(greet)["inputSchema"]["properties"].clear()
    assert tool_schema(greet)["inputSchema"]["properties"]


def every_object(part: Any) -> list[dict[str, Any]]:
    if isinstance(part, dict):
        own = [part] if part.get("type") == "object" else []
        return own + [found for value in part.values() for found in every_object(value)]
    return [found for item in part for found in every_object(item)] if isinstance(part, list) else []


def test_strict_closes_every_object() -> None:
    schema = tool_schema(greet, strict=True)["inputSchema"]
    assert schema["required"] == ["name"]
    assert schema["properties"]["mode"] == {"enum": ["fast", "slow"], "default": "fast"}
    assert all(one["additionalProperties"] is False for one in every_object(schema))
    assert len(every_object(schema)) == 2


def test_strict_for_openai_requires_everything_and_tells_the_defaults() -> None:
    function = tool_schema(greet, format="openai", strict=True)["function"]
    assert function["strict"] is True
    for one in every_object(function["parameters"]):
        assert one["required"] == list(one["properties"])
        assert one["additionalProperties"] is False
    assert function["parameters"]["properties"]["age"] == {"type": "integer", "description": "Default: 0."}
    assert "default" not in json.dumps(function["parameters"])


def test_what_takes_any_key_has_no_strict_form() -> None:
    @action(open=True)
    async def opened(**rest: Any) -> None: ...

    @action
    async def counts(by_name: Mapping[str, int]) -> None: ...

    for one in (opened, counts):
        tool_schema(one)
        with pytest.raises(InvalidAction, match="strict"):
            tool_schema(one, strict=True)


def test_results_with_a_structure_are_described_for_mcp() -> None:
    @action
    async def look() -> Place:
        return Place("x")

    assert tool_schema(look)["outputSchema"]["properties"]["street"]["description"] == "which street."
    assert "outputSchema" not in tool_schema(greet)


def test_a_plan_is_a_tool_too() -> None:
    plan = Plan([Step("a", greet, {"name": param("who")})], name="welcome", description="Welcomes.")
    schema = tool_schema(plan, strict=True)
    assert (schema["name"], schema["description"]) == ("welcome", "Welcomes.")
    assert schema["inputSchema"]["properties"]["who"] == {"type": "string", "description": "who."}


# Calls


async def test_a_result_is_json_text() -> None:
    assert await called("greet", '{"name": "Ann"}') == "Hello Ann"
    assert await called("greet", {"name": "Ann"}) == "Hello Ann"
    assert await called("greet", b'{"name": "Ann"}') == "Hello Ann"


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "path"),
    [
        ("greet", "{", "InvalidInput", ""),
        ("greet", "", "InvalidInput", ""),
        ("greet", "[]", "InvalidInput", ""),
        ("greet", "null", "InvalidInput", ""),
        ("greet", None, "InvalidInput", ""),
        ("greet", "{}", "InvalidInput", "name"),
        ("greet", '{"name": 3}', "InvalidInput", "name"),
        ("greet", '{"name": "A", "age": "12x"}', "InvalidInput", "age"),
        ("greet", '{"name": "A", "age": "12"}', "InvalidInput", "age"),
        ("greet", '{"name": "A", "age": true}', "InvalidInput", "age"),
        ("greet", '{"name": "A", "age": 1.0}', "InvalidInput", "age"),
        ("greet", '{"name": "A", "age": NaN}', "InvalidInput", ""),
        ("greet", '{"name": "A", "age": 1e999}', "InvalidInput", ""),
        ("greet", '{"name": "A", "name": "B"}', "InvalidInput", ""),
        ("greet", '{"name": "A", "who": 1}', "InvalidInput", "who"),
        ("greet", '{"name": "A", "place": {"street": 1}}', "InvalidInput", "place.street"),
        ("greet", '{"name": ' + "[" * 100_000, "InvalidInput", ""),
        ("greet", '{"name": "' + "x" * 1_000_001 + '"}', "InvalidInput", ""),
        ("greet", b"\xff\xfe\x00", "InvalidInput", ""),
        ("nothing", "{}", "UnknownTool", None),
        ("file_write", '{"path": "x"}', "UnknownTool", None),
        (None, "{}", "UnknownTool", None),
        ("broken", "{}", "ActionFailed", None),
    ],
)
async def test_what_the_model_does_wrong_is_an_answer(name: Any, arguments: Any, kind: str, path: Any) -> None:
    error = await called(name, arguments)
    assert (error["type"], error["path"]) == (kind, path)
    assert set(error) == {"type", "message", "path", "retryable"}
    assert error["retryable"] is (kind == "ActionFailed")
    assert "Traceback" not in error["message"]
    assert len(error["message"]) <= 1_000


@given(st.text() | st.binary() | st.from_type(type).map(str))
def test_no_text_of_a_model_raises(text: Any) -> None:
    result = trio.run(call_tool, CATALOG, "greet", text)
    assert not result.ok
    json.loads(result.content)


async def test_results_that_are_no_json_are_an_answer_too() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)

    @action
    async def make(kind: str) -> Any:
        return {"nan": float("nan"), "object": object(), "long": "x" * 1_000_001, "set": {1, 2}, "cycle": cyclic}[kind]

    catalog = Catalog([make])
    for kind in ("nan", "object", "long", "cycle"):
        result = await call_tool(catalog, "make", {"kind": kind})
        assert not result.ok
        assert json.loads(result.content)["error"]["type"] == "InvalidOutput"
    assert (await call_tool(catalog, "make", {"kind": "set"})).content == "[1, 2]"


async def test_an_action_that_streams_answers_with_the_list_of_what_it_yields() -> None:
    @action
    async def count(most: int) -> AsyncIterator[Place]:
        for number in range(most):
            yield Place(str(number))

    catalog = Catalog([count])
    result = await call_tool(catalog, "count", '{"most": 2}')
    assert (result.ok, [item["street"] for item in json.loads(result.content)]) == (True, ["0", "1"])
    assert (await call_tool(catalog, "count", '{"most": 0}')).content == "[]"
    assert "outputSchema" not in tool_schema(count)


async def test_a_stream_without_end_is_ended_and_wrong_values_of_one_are_an_answer() -> None:
    given, ended = [], []

    @action
    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                given.append(1)
                yield "x" * 1_000
        finally:
            ended.append(1)

    @action
    async def wrong() -> AsyncIterator[int]:
        yield 1
        yield "2"  # type: ignore[misc]

    for one in (endless, wrong):
        result = await call_tool(Catalog([one]), one.name, {})
        assert not result.ok
        assert json.loads(result.content)["error"]["type"] == "InvalidOutput"
    assert ended == [1]
    assert len(given) <= 1_000  # a million characters


async def test_a_tool_that_streams_is_begun_again_for_nobody_has_seen_its_values() -> None:
    begun = []

    @action(retries=1, backoff=Backoff(0.0, 0.0))
    async def flaky() -> AsyncIterator[int]:
        begun.append(1)
        yield len(begun)
        if len(begun) == 1:
            raise ConnectionError

    assert (await call_tool(Catalog([flaky]), "flaky", {})).content == "[2]"


async def test_directives_of_a_tool_are_kept() -> None:
    @action
    async def work() -> Result[Decimal]:
        return Result(Decimal("1.10"), ["d"])

    result = await call_tool(Catalog([work]), "work", "{}")
    assert (result.content, result.directives) == ('"1.10"', ("d",))


async def test_a_runner_calls_tools_too() -> None:
    events: list[Event] = []
    async with open_runner(telemetry=[events.append]) as runner:
        assert (await runner.call_tool(CATALOG, "greet", {"name": "x"})).ok
    assert events


# Policy


@pytest.mark.parametrize(
    ("entry", "policy", "allowed"),
    [
        ({}, {}, True),
        ({"risk": "medium"}, {}, False),
        ({"risk": "high"}, {}, False),
        ({"risk": "medium"}, {"max_risk": "medium"}, True),
        ({"risk": "high"}, {"max_risk": "medium"}, False),
        ({"risk": "high"}, {"max_risk": "high"}, True),
        ({"scopes": ["read"]}, {}, False),
        ({"scopes": ["read"]}, {"scopes": ["read", "write"]}, True),
        ({"scopes": ["read", "write"]}, {"scopes": ["read"]}, False),
        ({"requires_confirmation": True}, {}, False),
        ({"visibility": "internal"}, {}, False),
        ({"visibility": "hidden"}, {"max_risk": "high"}, False),
    ],
)
async def test_a_policy_is_enforced(entry: dict[str, Any], policy: dict[str, Any], allowed: bool) -> None:
    ran: list[int] = []

    @action
    async def work() -> None:
        ran.append(1)

    result = await call_tool(Catalog([Entry(work, **entry)]), "work", "{}", policy=Policy(**policy))
    assert result.ok is allowed
    assert bool(ran) is allowed
    if not allowed:
        assert json.loads(result.content)["error"]["type"] in ("ActionNotAllowed", "UnknownTool")


async def test_somebody_is_asked_about_valid_parameters_only(autojump_clock: trio.testing.MockClock) -> None:
    asked: list[Any] = []
    answers: list[Any] = [True, False, None, 1]

    async def confirm(entry: Entry, params: Mapping[str, Any]) -> bool:
        asked.append((entry.name, dict(params)))
        answer = answers.pop(0)
        if answer == "raise":
            raise ValueError
        if answer == "sleep":
            await trio.sleep(10)
        return answer  # type: ignore[no-any-return]

    @action(total_timeout=5.0)
    async def work(a: int) -> int:
        return a

    catalog, policy = Catalog([Entry(work, requires_confirmation=True)]), Policy(confirm=confirm)
    assert not (await call_tool(catalog, "work", '{"a": "1"}', policy=policy)).ok
    assert not asked
    assert (await call_tool(catalog, "work", '{"a": 1}', policy=policy)).ok
    assert asked == [("work", {"a": 1})]
    for answer in (False, None, 1, "raise", "sleep"):
        answers[:] = [answer]
        assert not (await call_tool(catalog, "work", '{"a": 1}', policy=policy)).ok


@pytest.mark.parametrize(
    "make",
    [
        lambda: Entry(print),  # type: ignore[arg-type]
        lambda: Entry(greet, risk="huge"),  # type: ignore[arg-type]
        lambda: Entry(greet, visibility="none"),  # type: ignore[arg-type]
        lambda: Entry(greet, requires_confirmation=1),  # type: ignore[arg-type]
        lambda: Entry(greet, scopes="read"),  # type: ignore[arg-type]
        lambda: Policy(max_risk="huge"),  # type: ignore[arg-type]
        lambda: Policy(confirm=True),  # type: ignore[arg-type]
        lambda: Policy(scopes="read"),  # type: ignore[arg-type]
        lambda: Catalog([greet, greet, Entry(greet, risk="high")]),
        lambda: Catalog([3]),  # type: ignore[list-item]
        lambda: CATALOG.search("x", limit=0),
        lambda: CATALOG.search(3),  # type: ignore[arg-type]
    ],
)
def test_wrong_values_are_refused_at_once(make: Any) -> None:
    with pytest.raises(InvalidArgument):
        make()


async def test_what_is_no_catalog_is_the_callers_mistake() -> None:
    with pytest.raises(InvalidArgument):
        await call_tool([greet], "greet", "{}")  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument):
        await call_tool(CATALOG, "greet", "{}", policy=None)  # type: ignore[arg-type]


# Catalogs


def test_search_finds_words_not_letters() -> None:
    assert [hit.entry.name for hit in CATALOG.search("file")] == ["file_read"]
    assert [hit.entry.name for hit in CATALOG.search("read files")] == ["file_read"]
    assert [hit.entry.name for hit in CATALOG.search("office people")] == ["greet"]
    assert CATALOG.search("elephant") == ()


def test_hits_are_ranked_and_limited() -> None:
    hits = CATALOG.search("")
    assert [hit.entry.name for hit in hits] == ["broken", "file_read", "greet", "profile"]
    assert [hit.score for hit in hits] == [1.0] * 4
    assert len(CATALOG.search("", limit=1)) == 1

    @action(description="Is about profile.")
    async def other() -> None: ...

    found = Catalog([other, profile]).search("profile")
    assert [hit.entry.name for hit in found] == ["profile", "other"]
    assert found[0].score > found[1].score


def test_a_catalog_is_a_value() -> None:
    assert Catalog([greet, profile]) == Catalog([profile, greet])
    assert Catalog([greet]) != Catalog([Entry(greet, risk="high")])
    assert [entry.name for entry in Catalog([profile, greet])] == ["greet", "profile"]
    assert len(CATALOG) == 5
    assert "greet" in CATALOG
    assert CATALOG.get("greet") == Entry(greet)
    assert CATALOG.get("other") is None
    assert len(CATALOG.without("greet", "other")) == 4


def test_catalogs_are_merged_unless_they_contradict_each_other() -> None:
    assert Catalog([greet]).merge(Catalog([greet, profile])) == Catalog([greet, profile])
    with pytest.raises(InvalidArgument, match="greet"):
        Catalog([greet]).merge(Catalog([Entry(greet, risk="high")]))


def test_the_tools_of_a_catalog_are_the_public_ones() -> None:
    assert [tool["name"] for tool in CATALOG.tools()] == ["broken", "file_read", "greet", "profile"]


# What validation accepts the schema accepts, and the other way round but for what a schema cannot say.

ANNOTATIONS: list[Any] = [
    int,
    str,
    bool,
    float,
    int | None,
    str | int,
    tuple[int, ...],
    Literal["a", 1],
    Mode,
    Place,
    Place | None,
    Mapping[str, int],
    date,
    Decimal,
    Any,
]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from([0.5, 1.0])
    | st.sampled_from(["a", "fast", "2026-01-31", "1.5", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["street", "number", "x"]), inner),
    max_leaves=5,
)


def has_integral_float(value: Any) -> bool:
    if isinstance(value, float):
        return value.is_integer()
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(has_integral_float(item) for item in inner)


@given(st.dictionaries(st.sampled_from("abc"), st.sampled_from(ANNOTATIONS), min_size=1), st.data())
def test_validation_and_schema_agree(annotations: dict[str, Any], data: st.DataObject) -> None:
    async def work(**given: Any) -> None: ...

    import inspect

    optional = data.draw(st.booleans())
    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=annotation,
            default=None if optional and annotation in (Any, int | None, Place | None) else inspect.Parameter.empty,
        )
        for name, annotation in annotations.items()
    ]
    work.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    work.__annotations__ = annotations
    made = action(work)
    params = data.draw(st.dictionaries(st.sampled_from("abcd"), values))
    outcome = trio.run(try_run, made, params)
    accepted = not (isinstance(outcome, Failure) and outcome.error.attempts == 0)
    validator = jsonschema.Draft202012Validator(
        made.input_schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.check_schema(made.input_schema)
    valid = validator.is_valid(params)
    if accepted:
        assert valid
    elif not has_integral_float(params) and Decimal not in annotations.values():
        assert not valid
