"""What a conversion loses or invents is refused; everything else comes through, and comes back."""

from __future__ import annotations

import base64
import dataclasses
import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from pathlib import Path, PurePosixPath
from typing import (
    Annotated,
    Any,
    Final,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Protocol,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import attrs
import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunella.conversion import ConversionError, Map, convert, converter, exact_type, json_schema, to_data
from prunella.errors import DefinitionError, PrunellaError

T = TypeVar("T")


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Odd(Enum):
    TUPLE = (1, 2)
    DAY = date(2026, 1, 31)


@attrs.frozen
class Visit:
    at: datetime
    score: float = 1.0


@dataclasses.dataclass(frozen=True)
class Customer:
    name: str
    visits: tuple[Visit, ...] = ()
    boss: Customer | None = None
    tags: frozenset[str] = frozenset()
    notes: Mapping[str, Color] = dataclasses.field(default_factory=Map)


@attrs.frozen
class Private:
    _secret: int
    derived: int = attrs.field(init=False, default=5)


@attrs.frozen
class Box(Generic[T]):
    content: T
    more: tuple[T, ...] = ()


class Point(NamedTuple):
    x: int
    y: int = 0


class Options(TypedDict):
    name: str
    limit: NotRequired[int]


@attrs.frozen
class Positive:
    number: int = attrs.field()

    @number.validator
    def _check(self, _: object, value: int) -> None:
        if value <= 0:
            raise ValueError(f"hunter2 {value}")


class Plain:
    pass


class Readable(Protocol):
    def read(self) -> str: ...


UserId = NewType("UserId", str)
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
ID = UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
PLAIN = Plain()

CONVERTED: list[tuple[Any, Any, Any]] = [
    # taken as they are
    (5, int, 5),
    (True, bool, True),
    ("x", str, "x"),
    (1.5, float, 1.5),
    (None, None, None),
    (PLAIN, Plain, PLAIN),
    (PLAIN, Any, PLAIN),
    (PLAIN, object, PLAIN),
    ([1], Any, [1]),
    (Level.LOW, int, Level.LOW),
    (len, Callable[..., Any], len),
    (int, type[Any], int),
    ("x", Readable, "x"),
    # list to tuple and frozenset
    (["a", "b"], tuple[str, ...], ("a", "b")),
    ([], tuple[str, ...], ()),
    ([1, "a"], tuple[int, str], (1, "a")),
    ([], tuple[()], ()),
    ([[1], [2]], tuple[tuple[int, ...], ...], ((1,), (2,))),
    ([1, "a"], tuple, (1, "a")),
    ([1], Sequence[int], (1,)),
    ([1], Collection[int], (1,)),
    ([1], Iterable[int], (1,)),
    (["a"], frozenset[str], frozenset("a")),
    (["a"], AbstractSet[str], frozenset("a")),
    (["a"], set[str], {"a"}),
    ([1], list[float], [1.0]),
    # mappings
    ({"a": [1]}, Mapping[str, tuple[int, ...]], Map({"a": (1,)})),
    ({"a": 1}, Mapping, Map({"a": 1})),
    ({"a": 1}, dict[str, float], {"a": 1.0}),
    ({1: "a"}, Mapping[int, str], Map({1: "a"})),
    ([[1, "a"]], Mapping[int, str], Map({1: "a"})),
    ({"2026-01-31": 1}, Mapping[date, int], Map({date(2026, 1, 31): 1})),
    ({"at": "2026-01-31T12:00:00Z"}, Visit, Visit(NOON)),
    ({"name": "x", "boss": {"name": "y"}}, Customer, Customer("x", boss=Customer("y"))),
    ({"secret": 1}, Private, Private(1)),
    ({"content": "2026-01-31", "more": []}, Box[date], Box(date(2026, 1, 31))),
    ([1, 2], Point, Point(1, 2)),
    ({"name": "x"}, Options, {"name": "x"}),
    ({"name": "x", "limit": 5}, Options, {"name": "x", "limit": 5}),
    # text
    ("red", Color, Color.RED),
    ("2026-01-31T12:00:00Z", datetime, NOON),
    ("2026-01-31 12:00:00+00:00", datetime, NOON),
    ("2026-01-31T12:00:00.1234560Z", datetime, NOON.replace(microsecond=123456)),
    ("20260131T120000Z", datetime, NOON),
    ("2026-01-31T12:00", datetime, datetime(2026, 1, 31, 12)),
    ("2026-01-31", date, date(2026, 1, 31)),
    ("12:30", time, time(12, 30)),
    ("P1W", timedelta, timedelta(weeks=1)),
    ("-P1DT2H3M4.05S", timedelta, -timedelta(1, 4, 50_000, 0, 3, 2)),
    ("PT90S", timedelta, timedelta(seconds=90)),
    (str(ID), UUID, ID),
    (ID.hex.upper(), UUID, ID),
    ("/tmp/x", Path, Path("/tmp/x")),
    ("a/b", PurePosixPath, PurePosixPath("a/b")),
    ("1.50", Decimal, Decimal("1.50")),
    ("-1e5", Decimal, Decimal("-1e5")),
    ("AP8=", bytes, b"\x00\xff"),
    ("", bytes, b""),
    # numbers
    (5, float, 5.0),
    (2**53, float, float(2**53)),
    # enumerations and literals by value
    (1, Level, Level.LOW),
    (3, Access, Access.READ | Access.WRITE),
    ("2026-01-31", Odd, Odd.DAY),
    ("a", Literal["a", 1], "a"),
    (1, Literal["a", 1], 1),
    ("red", Literal[Color.RED], Color.RED),
    # what says nothing about values
    ("u", UserId, "u"),
    ([1], Annotated[tuple[int, ...], "words"], (1,)),
    (5, Final[int], 5),
    # unions
    (None, int | None, None),
    ("2026-01-31", date | None, date(2026, 1, 31)),
    ("2026-01-31", date | str, "2026-01-31"),
    (5, float | int, 5),
    (5, float | str, 5.0),
    (True, int | bool, True),
    (["a"], tuple[str, ...] | str, ("a",)),
    ({"at": "2026-01-31T12:00:00Z"}, Customer | Visit, Visit(NOON)),
    (ID.hex, Path | UUID, Path(ID.hex)),
    (ID.hex, UUID | Path, ID),
    ({"a": 1}, Mapping[str, int] | Visit, Map({"a": 1})),
]

REFUSED: list[tuple[Any, Any, str]] = [
    # nothing becomes text, no text a number, no float an int, bools are no ints
    (5, str, ""),
    (None, str, ""),
    (b"x", str, ""),
    (ID, str, ""),
    ("5", int, ""),
    ("5", float, ""),
    (1.0, int, ""),
    (True, int, ""),
    (1, bool, ""),
    (0, bool, ""),
    ("true", bool, ""),
    (None, bool, ""),
    (True, float, ""),
    (2**53 + 1, float, ""),
    (10**400, float, ""),
    (0, None, ""),
    ("", None, ""),
    (5, Decimal, ""),
    (1.5, Decimal, ""),
    # None only None
    (None, int, ""),
    (None, tuple[int, ...], ""),
    (None, Customer, ""),
    # text is no sequence, a tuple no list or set
    ("abc", tuple[str, ...], ""),
    ("abc", frozenset[str], ""),
    (b"abc", tuple[int, ...], ""),
    ({"a": 1}, tuple[str, ...], ""),
    ((1,), list[int], ""),
    (("a",), frozenset[str], ""),
    ({"a"}, tuple[str, ...], ""),
    (["a", "a"], frozenset[str], ""),
    (["2026-01-31", "20260131"], frozenset[date], ""),
    ([[]], frozenset[Any], ""),
    ([1, 2], tuple[int], ""),
    ([], tuple[int, str], ""),
    ([1], tuple[()], ""),
    ([["a", 1]], Mapping[str, int], ""),
    ([("a", 1)], dict[str, int], ""),
    ([[1, "a"], [1, "b"]], Mapping[int, str], ""),
    ({"2026-01-31": 1, "20260131": 2}, Mapping[date, int], ""),
    # with the place
    ([1, "2"], tuple[int, ...], "[1]"),
    ([1, 2], tuple[int, str], "[1]"),
    ({"a": {"b": [1, None]}}, Mapping[str, Mapping[str, tuple[int, ...]]], "a.b[1]"),
    ({"a b": 1}, dict[str, str], "['a b']"),
    ({"1": "a"}, Mapping[int, str], "['1']"),
    ([[1, 2]], Mapping[int, str], "[1]"),
    ([[1]], Mapping[int, str], "[0]"),
    ({"name": "x", "visits": [{"at": "noon"}]}, Customer, "visits[0].at"),
    ({"name": "x", "boss": {"name": 5}}, Customer, "boss.name"),
    ({"name": "x", "boss": {"boss": None}}, Customer, "boss.name"),
    ({}, Customer, "name"),
    ({"_secret": 1}, Private, "secret"),
    ({"content": 5}, Box[date], "content"),
    ({"limit": 5}, Options, "name"),
    ({"name": "x", "limit": "5"}, Options, "limit"),
    ({"number": 0}, Positive, ""),
    # texts that are none
    ("2026-01-31", datetime, ""),
    ("2026-01-31T12:00:00.1234567Z", datetime, ""),
    ("2026-02-30T12:00:00Z", datetime, ""),
    ("2026-01-31x12:00:00", datetime, ""),
    ("noon", datetime, ""),
    (1.0, datetime, ""),
    (date(2026, 1, 31), datetime, ""),
    (NOON, date, ""),
    ("2026-01-31T12:00:00Z", date, ""),
    ("12:30:00.1234567", time, ""),
    ("{" + str(ID) + "}", UUID, ""),
    ("urn:uuid:" + str(ID), UUID, ""),
    ("P", timedelta, ""),
    ("P1DT", timedelta, ""),
    ("P1M", timedelta, ""),
    ("PT1.0000001S", timedelta, ""),
    ("P9999999999D", timedelta, ""),
    (90, timedelta, ""),
    ("x", UUID, ""),
    ("", Path, ""),
    (" 1", Decimal, ""),
    ("1_000", Decimal, ""),
    ("one", Decimal, ""),
    ("AP8", bytes, ""),
    ("AP8=\n", bytes, ""),
    ("AP9=", bytes, ""),
    ("ü", bytes, ""),
    ("purple", Color, ""),
    ("RED", Color, ""),
    ("1", Level, ""),
    (True, Level, ""),
    (1.0, Level, ""),
    (3, Level, ""),
    (True, Access, ""),
    ("READ", Access, ""),
    (True, Literal[1], ""),
    (1.0, Literal[1], ""),
    ("b", Literal["a"], ""),
    ([], Literal["a"], ""),
    # unions
    (1.0, int | str, ""),
    ([], int | str | None, ""),
    # instances of classes without a form as data
    ({}, Plain, ""),
    ("int", type, ""),
    ("len", Callable, ""),
]


@pytest.mark.parametrize(("value", "annotation", "expected"), CONVERTED)
@pytest.mark.parametrize("closed", [False, True])
def test_it_is_converted(value: Any, annotation: Any, expected: Any, closed: bool) -> None:
    made = convert(value, annotation, closed=closed)

    assert made == expected
    assert type(made) is type(expected)
    assert convert(made, annotation, closed=closed) == made


@pytest.mark.parametrize(("value", "annotation", "path"), REFUSED)
@pytest.mark.parametrize("closed", [False, True])
def test_it_is_refused_with_its_place(value: Any, annotation: Any, path: str, closed: bool) -> None:
    with pytest.raises(ConversionError) as caught:
        convert(value, annotation, closed=closed)

    assert caught.value.path == path
    assert isinstance(caught.value, (PrunellaError, ValueError))


def test_the_error_says_what_was_expected_and_the_type_that_came_and_never_the_value() -> None:
    for value, annotation in (
        ({"name": ["hunter2"]}, Customer),
        ("hunter2", int),
        ("hunter2", UUID),
        ("hunter2", Literal["a"]),
        ("hunter2", int | None),
        ({"number": -1}, Positive),
    ):
        with pytest.raises(ConversionError) as caught:
            convert(value, annotation)
        error: BaseException | None = caught.value
        assert "hunter2" not in repr(error)
        assert error is not None
        assert error.__cause__ is None
        assert error.__suppress_context__
    with pytest.raises(ConversionError) as refused:
        convert({"customer": {"name": 5}}, dict[str, Customer])
    assert str(refused.value) == "customer.name: expected str, got int"
    assert (refused.value.path, refused.value.expected, refused.value.got) == ("customer.name", "str", "int")


def test_open_conversion_ignores_unknown_keys_and_closed_conversion_refuses_them() -> None:
    for value, annotation, path in (
        ({"name": "x", "age": 5}, Customer, "age"),
        ({"name": "x", "boss": {"name": "y", "age": 5}}, Customer, "boss.age"),
        ({"name": "x", "age": 5}, Options, "age"),
        ({"name": "x", 5: 5}, Customer, "[5]"),
    ):
        assert "age" not in str(convert(value, annotation))
        with pytest.raises(ConversionError) as caught:
            convert(value, annotation, closed=True)
        assert caught.value.path == path


@attrs.frozen
class Weather:
    city: str
    units: str


def refusal(value: Any, annotation: Any = Weather, *, closed: bool = True) -> ConversionError:
    with pytest.raises(ConversionError) as caught:
        convert(value, annotation, closed=closed)
    return caught.value


def test_where_a_key_is_misspelt_the_one_that_is_missing_names_it_and_those_that_are_known() -> None:
    error = refusal({"city": "Oslo", "unit": "c"})
    assert str(error) == "units: expected a value (unknown: 'unit'; known: 'city', 'units'), got nothing"
    assert (error.path, error.got) == ("units", "nothing")
    assert refusal([{"town": "Oslo", "units": "c"}], tuple[Weather, ...]).path == "[0].city"


def test_where_nothing_is_misspelt_a_key_that_is_missing_is_just_missing() -> None:
    assert str(refusal({"city": "Oslo"})) == "units: expected a value, got nothing"
    assert str(refusal({"city": "Oslo", "unit": "c"}, closed=False)) == "units: expected a value, got nothing"


def test_an_unknown_key_is_refused_with_those_that_are_known() -> None:
    error = refusal({"city": "Oslo", "units": "c", "unit": "c"})
    assert str(error) == "unit: expected known keys only ('city', 'units'), got an unknown one"


def test_keys_from_outside_are_named_within_bounds() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ZeroDivisionError

    error = refusal({"city": "Oslo", Odd(): 1, "x" * 1_000_000: 1, **{f"k{n}": 1 for n in range(1_000)}})
    assert error.path == "units"
    assert "[a Odd], 'xxx" in error.expected
    assert "…; known: 'city', 'units'" in error.expected
    assert len(str(error)) < 400


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_closed_conversion_refuses_nan_and_infinity(number: float) -> None:
    for value, annotation in (
        (number, float),
        ([number], tuple[float, ...]),
        (Decimal(number), Decimal),
        (str(Decimal(number)), Decimal),
    ):
        convert(value, annotation)
        with pytest.raises(ConversionError):
            convert(value, annotation, closed=True)


def test_what_needs_no_conversion_is_the_same_object() -> None:
    for value, annotation in (
        ((1, 2), tuple[int, ...]),
        ((1, None), tuple[int | None, ...]),
        ((Visit(NOON),), tuple[Visit, ...]),
        ((1, "a"), tuple[int, str]),
        (frozenset({"a"}), frozenset[str]),
        (Map({"a": (1,)}), Mapping[str, tuple[int, ...]]),
        ({"a": 1}, dict[str, int]),
        ([1.5], list[float]),
        (Customer("x"), Customer),
        (Point(1, 2), Point),
    ):
        assert convert(value, annotation) is value


def test_an_endless_value_is_refused() -> None:
    loop: dict[str, Any] = {"name": "x"}
    loop["boss"] = loop

    with pytest.raises(ConversionError):
        convert(loop, Customer)
    with pytest.raises(ConversionError):
        to_data(loop)


def test_an_annotation_that_nothing_can_be_converted_to_is_a_definition_error() -> None:
    for annotation in ("int", 5, tuple["Nowhere", ...], Literal):  # type: ignore[name-defined]  # noqa: F821
        with pytest.raises(DefinitionError):
            converter(annotation)


def test_a_failed_compilation_leaves_nothing_half_made_behind() -> None:
    @attrs.frozen
    class Broken:
        child: Broken | None  # resolves
        other: Missing  # type: ignore[name-defined]  # noqa: F821

    for _ in range(2):
        with pytest.raises(DefinitionError, match="Missing"):
            converter(tuple[Broken, ...])


def test_the_exact_type_is_that_whose_instances_pass_untouched() -> None:
    assert exact_type(int) is int
    assert exact_type(str) is str
    assert exact_type(Customer) is Customer
    assert exact_type(float) is float
    assert exact_type(float, closed=True) is None
    assert exact_type(int | None) is None
    assert exact_type(tuple[int, ...]) is None


def test_a_type_is_compiled_once() -> None:
    assert converter(Customer).__closure__ is not None
    first, second = converter(Customer), converter(Customer)
    assert first.__closure__[0].cell_contents is second.__closure__[0].cell_contents  # type: ignore[index]


class TestToData:
    @pytest.mark.parametrize(
        ("value", "data"),
        [
            ((1, 2.5, None, True, "x"), [1, 2.5, None, True, "x"]),
            (frozenset("hgfedcba"), list("abcdefgh")),
            (Map({"a": (1,)}), {"a": [1]}),
            (Map({1: "a"}), [[1, "a"]]),
            ({date(2026, 1, 31): 1}, {"2026-01-31": 1}),
            (Color.RED, "red"),
            (Level.LOW, 1),
            (Access.READ | Access.WRITE, 3),
            (NOON, "2026-01-31T12:00:00+00:00"),
            (time(12, 30), "12:30:00"),
            (timedelta(1, 2), "P1DT2S"),
            (-timedelta(microseconds=1), "-P0DT0.000001S"),
            (ID, str(ID)),
            (Path("/tmp"), "/tmp"),
            (Decimal("1.50"), "1.50"),
            (b"\x00\xff", base64.b64encode(b"\x00\xff").decode()),
            (Private(1), {"secret": 1}),
            (Visit(NOON), {"at": "2026-01-31T12:00:00+00:00", "score": 1.0}),
            (Point(1, 2), [1, 2]),
        ],
    )
    def test_values_have_plain_forms(self, value: Any, data: Any) -> None:
        assert to_data(value) == data
        assert json.loads(json.dumps(to_data(value))) == data
        assert type(to_data(value)) is type(data)

    def test_what_has_no_form_is_refused_with_its_place(self) -> None:
        with pytest.raises(ConversionError) as caught:
            to_data({"a": [1, {"b": PLAIN}]})
        assert (caught.value.path, caught.value.got) == ("a[1].b", "Plain")


# Pairs of an annotation and values of it, nested at random.
_leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers()),
    (str, st.text(max_size=5)),
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (None, st.none()),
    (bytes, st.binary(max_size=5)),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=st.none() | st.just(UTC) | st.just(timezone(timedelta(hours=-3.5))))),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Path, st.just(Path("a/b"))),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Visit, st.builds(Visit, st.datetimes(timezones=st.just(UTC)), st.floats(0, 1))),
    (Customer, st.builds(Customer, st.text(max_size=3), tags=st.frozensets(st.text(max_size=2), max_size=2))),
    (Point, st.builds(Point, st.integers(), st.integers())),
]


def _nested(inner: st.SearchStrategy[tuple[Any, st.SearchStrategy[Any]]]) -> st.SearchStrategy[Any]:
    hashable = st.sampled_from(_leaves[:15])
    return (
        inner.map(lambda one: (tuple[one[0], ...], st.lists(one[1], max_size=3).map(tuple)))  # type: ignore[name-defined]
        | inner.map(lambda one: (list[one[0]], st.lists(one[1], max_size=3)))  # type: ignore[name-defined]
        | st.tuples(inner, inner).map(
            lambda two: (tuple[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))  # type: ignore[name-defined]
        )
        | st.tuples(hashable, inner).map(
            lambda two: (
                Mapping[two[0][0], two[1][0]],  # type: ignore[name-defined]
                st.dictionaries(two[0][1], two[1][1], max_size=3).map(Map),
            )
        )
        | hashable.map(lambda one: (frozenset[one[0]], st.frozensets(one[1], max_size=3)))  # type: ignore[name-defined]
        | inner.filter(lambda one: one[0] is not None).map(lambda one: (one[0] | None, one[1] | st.none()))
        | inner.map(lambda one: (Box[one[0]], one[1].map(Box)))  # type: ignore[name-defined]
    )


typed_values = st.recursive(st.sampled_from(_leaves), _nested, max_leaves=4)


@given(typed_values, st.data())
@settings(max_examples=400, deadline=None)
def test_data_made_of_a_value_converts_back_to_it_and_the_schema_accepts_it(
    typed: tuple[Any, st.SearchStrategy[Any]], draw: st.DataObject
) -> None:
    annotation, values = typed
    value = draw.draw(values)
    data = json.loads(json.dumps(to_data(value)))

    for closed in (False, True):
        assert convert(value, annotation, closed=closed) == value
        again = convert(data, annotation, closed=closed)
        assert again == value
        assert type(again) is type(value)
        schema = json_schema(annotation, closed=closed)
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.Draft202012Validator(schema).validate(data)


any_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(-2, 2)
    | st.sampled_from(["", "a", "red", "2026-01-31", "2026-01-31T12:00:00Z", "12:00", "AA==", "1.5", str(ID)]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["at", "score", "name", "visits", "content", "x", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(typed_values, any_json)
@settings(max_examples=600, deadline=None)
def test_whatever_json_the_converter_accepts_the_schema_accepts(
    typed: tuple[Any, st.SearchStrategy[Any]], value: Any
) -> None:
    annotation, _ = typed
    for closed in (False, True):
        try:
            convert(value, annotation, closed=closed)
        except ConversionError:
            continue
        jsonschema.Draft202012Validator(json_schema(annotation, closed=closed)).validate(value)


@given(typed_values, any_json)
@settings(max_examples=600, deadline=None)
def test_the_schema_accepts_more_only_where_it_says_so(typed: tuple[Any, st.SearchStrategy[Any]], value: Any) -> None:
    """Numbers without fraction for ints, and texts of a format: without these the two agree."""
    annotation, _ = typed
    validator = jsonschema.Draft202012Validator(json_schema(annotation))
    if _has_whole_float(value) or '"format"' in json.dumps(json_schema(annotation)):
        return
    try:
        convert(value, annotation, closed=True)
    except ConversionError:
        assert not validator.is_valid(value)


def _has_whole_float(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_whole_float, value))
    return isinstance(value, float) and value.is_integer()
