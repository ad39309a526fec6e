"""The state of durable agents comes back as it was; what could not is refused where the class is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import pytest

from prunella.agents import Agent, Map
from prunella.errors import DefinitionError
from prunella.runtime import AgentSpec
from prunella.supervision import InvalidSpec


class Colour(Enum):
    RED = "red"


class Corner(Enum):
    TOP = (0, 1)


class Word(StrEnum):
    RED = "red"


class Handle:
    """Has no form as data."""


class Cents(int):
    """Would come back as an int, which is refused."""


@attrs.frozen
class Holder:
    handle: Handle | None = None


@dataclass(frozen=True)
class Note:
    said: str | datetime = ""


class Labelled(TypedDict):
    at: bytes | str


class Pair(NamedTuple):
    first: int
    second: Path | UUID


class Tree(NamedTuple):
    label: str
    branches: tuple[Tree, ...] = ()


class Other(Agent, name="other"):
    n: int = 0


def durable(annotation: Any, default: Any) -> Any:
    made = {
        "__annotations__": {"field": annotation},
        "__module__": __name__,
        "__qualname__": "Stored",
        "field": default,
    }
    return type("Stored", (Agent,), made, name="stored", durable=True)


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (str | datetime, "a stored datetime would come back as str"),
        (datetime | str, "a stored datetime would come back as str"),
        (str | bytes, "a stored bytes would come back as str"),
        (str | timedelta, "a stored timedelta would come back as str"),
        (str | Colour, "a stored Colour would come back as str"),
        (Path | date, "a stored date would come back as"),
        (date | Path, "would come back as date"),
        (Decimal | bytes, "a stored bytes would come back as Decimal"),
        (UUID | Decimal, "a stored Decimal would come back as UUID"),
        (tuple[str, ...] | frozenset[str], "a stored frozenset would come back as tuple"),
        (Mapping[str, tuple[str | datetime, ...]], "a stored datetime would come back as str"),
        (Note, "a stored datetime would come back as str"),
        (Labelled, "a stored bytes would come back as str"),
        (Pair, "would come back as"),
        (Corner, "a stored Corner.TOP would not come back"),
        (tuple[Corner, ...], "a stored Corner.TOP would not come back"),
        (Handle, "Handle have no form as data"),
        (Holder, "Handle have no form as data"),
        (Cents, "Cents have no form as data"),
        (Other, "Other have no form as data"),
        (Callable[[int], int], "have no form as data"),
        ("Stored | None", "Stored have no form as data"),
    ],
)
def test_what_could_not_come_back_is_refused(annotation: Any, says: str) -> None:
    with pytest.raises(DefinitionError, match=f"Stored is durable: 'field': .*{says}"):
        durable(annotation if isinstance(annotation, str) else annotation | None, None)


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (timedelta | None, (timedelta(1, 2, 3), None)),
        (date | datetime | time | UUID | None, (date(2026, 1, 31), datetime(2026, 1, 31, tzinfo=UTC), UUID(int=1))),
        (str | Word, ("red", "other")),
        (str | Literal["all"] | None, ("all", "some", None)),
        (Colour | None, (Colour.RED, None)),
        (int | float | bool | str, (1, 1.0, True, "x")),
        (Tree | None, (Tree("a", (Tree("b"),)), None)),
        (Mapping[date, Decimal], (Map({date(2026, 1, 31): Decimal("1.50")}),)),
        (Any, (1, "a")),
    ],
)
def test_what_comes_back_as_it_was_may_be_stored(annotation: Any, values: tuple[Any, ...]) -> None:
    stored = durable(annotation, values[0])
    for value in values:
        agent = stored(field=value)
        back = stored.from_data(agent.to_data())
        assert back == agent
        assert type(back.field) is type(value)


def test_agents_that_are_not_durable_hold_what_they_like_until_a_spec_makes_them() -> None:
    class Loose(Agent, name="loose"):
        said: str | datetime = ""

    assert AgentSpec(Loose).durability is None
    with pytest.raises(
        InvalidSpec, match="durable must be False, for 'said': a stored datetime would come back as str"
    ):
        AgentSpec(Loose, durable=True)
