"""One family of errors, one place that says whether another try makes sense, and data that shows no secrets."""

from __future__ import annotations

import json
import pickle
from typing import Any

import httpx
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from prunella.actions import (
    ActionError,
    ActionFailed,
    ActionNotAllowed,
    ActionTimeout,
    ChainFailed,
    InvalidAction,
    InvalidInput,
    InvalidOutput,
    InvalidPlan,
    PlanFailed,
)
from prunella.actions._errors import is_retryable
from prunella.actions._redaction import is_secret
from prunella.errors import DefinitionError, InvalidArgument, PrunellaError


def caused(error: ActionError, cause: BaseException) -> ActionError:
    error.__cause__ = cause
    return error


class Hinted(Exception):
    retryable = True


@pytest.mark.parametrize(
    ("error", "worth_it"),
    [
        (ConnectionError(), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (trio.TooSlowError(), True),
        (trio.BrokenResourceError(), True),
        (httpx.ConnectError("x"), True),
        (httpx.ReadTimeout("x"), True),
        (httpx.HTTPStatusError("x", request=None, response=None), False),  # type: ignore[arg-type]
        (Hinted(), True),
        (TypeError(), False),
        (KeyError(), False),
        (NotImplementedError(), False),
        (ValueError(), False),
        (OSError(), False),
        (ExceptionGroup("", [ConnectionError()]), False),
        (ActionError("x"), False),
        (ActionError("x", retryable=True), True),
        (ActionError("x", retryable=False), False),
        (ActionTimeout("x"), False),
        (ActionTimeout("x", retryable=True), True),
        (ActionTimeout("x", retryable=False), False),
        (InvalidInput("a", "int", "str"), False),
        (InvalidOutput("a", "int", "str"), False),
        (InvalidAction("x"), False),
        (ActionNotAllowed("x"), False),
        (caused(ActionFailed("x"), ConnectionError()), True),
        (caused(ActionFailed("x"), ValueError()), False),
        (caused(PlanFailed("x"), caused(ActionFailed("x"), ConnectionError())), True),
        (caused(ChainFailed("x"), ActionError("x", retryable=False)), False),
    ],
)
def test_what_is_worth_another_try_is_decided_in_one_place(error: Exception, worth_it: bool) -> None:
    assert is_retryable(error) is worth_it
    if isinstance(error, ActionError):
        assert error.retryable is worth_it
        assert error.to_dict()["retryable"] is worth_it


def test_the_family() -> None:
    assert issubclass(ActionError, PrunellaError)
    assert issubclass(InvalidAction, DefinitionError)
    assert issubclass(InvalidPlan, DefinitionError)
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(ActionTimeout, TimeoutError)


def test_hints_and_details_are_checked_where_they_are_given() -> None:
    with pytest.raises(InvalidArgument, match="details"):
        ActionError("x", details=[("retry", False)])  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="details"):
        ActionError("x", details={1: 2})  # type: ignore[dict-item]
    with pytest.raises(InvalidArgument, match="retryable"):
        ActionError("x", retryable="no")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key", ["password", "PASSWORD", "access_token", "accessToken", "api-key", "APIKey", "Set-Cookie"]
)
def test_keys_that_name_secrets(key: str) -> None:
    assert is_secret(key)


@pytest.mark.parametrize(
    "key", ["author", "authority", "token_count", "secretary", "tokenizer", "keyboard", "passwords_checked", ""]
)
def test_keys_that_only_look_like_it(key: str) -> None:
    assert not is_secret(key)


def test_details_are_bounded_and_without_secrets() -> None:
    cyclic: dict[str, Any] = {}
    cyclic["self"] = cyclic
    error = ActionError(
        "x" * 5000,
        details={
            "password": "hunter2",
            "author": "me",
            "header": "Bearer abcdefghijklmnop",
            "items": list(range(100)),
            "text": "y" * 1000,
            "cyclic": cyclic,
            "nested": {"a": {"api_key": "k"}},
            "object": object(),
            "nan": float("nan"),
        },
    )
    data = error.to_dict()
    written = json.dumps(data, allow_nan=False)
    assert len(written) < 4000
    assert "hunter2" not in written
    assert "abcdefghijklmnop" not in written
    assert '"k"' not in written
    assert data["details"]["author"] == "me"
    assert len(data["details"]["items"]) == 26
    assert len(data["details"]["text"]) == 256
    assert len(data["message"]) == 1000


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=40,
)


@given(st.dictionaries(st.text(), json_like))
def test_every_error_can_be_written_as_json(details: dict[str, Any]) -> None:
    json.dumps(ActionError("x", details=details).to_dict(), allow_nan=False)


@pytest.mark.parametrize(
    "error",
    [
        ActionError("m", retryable=True, details={"a": 1}),
        InvalidInput("p", "e", "g"),
        ActionTimeout("m", retryable=True),
        PlanFailed("m", {"a": 1}, "b"),
        InvalidPlan("m", ("a", "b", "a")),
    ],
)
def test_errors_can_be_pickled(error: ActionError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.to_dict() == error.to_dict()


def test_an_error_of_input_says_where_and_what() -> None:
    error = InvalidInput("a.b[0]", "int", "str")
    assert str(error) == "a.b[0]: expected int, got str"
    assert error.to_dict()["path"] == "a.b[0]"
