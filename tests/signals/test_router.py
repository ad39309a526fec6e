"""One matcher, and one order of targets."""

from __future__ import annotations

import logging
import pickle
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunella.errors import DefinitionError, InvalidArgument
from prunella.signals import InvalidPattern, InvalidSignal, Route, Router, Signal, SignalError, matches

MATCHING = [
    ("user.created", "user.created", True),
    ("user.created", "user.updated", False),
    ("user", "user.created", False),
    ("user.created", "user", False),
    ("a.b", "A.b", False),
    ("user.*", "user.123", True),
    ("user.*", "user.123.created", False),
    ("user.*", "user", False),
    ("*.123", "user.123", True),
    ("*", "a", True),
    ("*", "a.b", False),
    ("*.*.*", "a.b", False),
    ("user.*.created", "user.123.created", True),
    ("*.*.payment.*", "order.456.payment.completed", True),
    ("**", "a", True),
    ("**", "a.b.c", True),
    ("audit.**", "audit", True),
    ("audit.**", "audit.x.y", True),
    ("audit.**", "audits", False),
    ("user.**.created", "user.created", True),
    ("user.**.created", "user.a.b.created", True),
    ("**.created", "created", True),
    ("**.created", "created.user", False),
    ("a.**.c", "a.c", True),
    ("a.**.c", "a.b.c.d", False),
    ("a.**.c", "a.b.c.c", True),
    ("a.**.e", "a.b.c.d.e", True),
    ("user.*.**", "user.123.created", True),
    ("user.*.**", "user.123", True),
    ("user.*.**", "user", False),
    ("*.**", "a.b", True),
    ("*.**", "a", True),
    ("**.*", "a", True),
    ("a.*.**", "a.b.c", True),
    ("a.**.b.**.c", "a.b.c", True),
    ("a.**.c.**.f", "a.b.c.d.e.f", True),
    ("a.**.c.**.f", "a.c.f", True),
    ("a.**.c.**.f", "a.b.c.d.e", False),
    ("order.**", "order.123.payment.completed", True),
    ("order.**.completed", "order.123.payment.completed", True),
    ("order.**.completed", "order.payment", False),
    # types are any text; a dot divides them, and nothing else in them has a meaning
    ("a.*.b", "a..b", True),
    ("*.*", ".", True),
    ("a.b", "a..b", False),
    ("a.*", "a.**", True),
    ("a.**", "a.*.*", True),
    ("*", " \u00fc ", True),
]

INVALID: list[Any] = [
    "",
    ".",
    "a.",
    ".a",
    "a..b",
    "user..created",
    "a.**.**.b",
    "**.**",
    "us*r.x",
    "a.b*",
    "***",
    "a.***",
    "a.b c",
    "a.\tb",
    "a.b\n",
    "a.\x00",
    "a.\u2003",
    "a.\u00a0b",
    "a.\x7f",
    "a.\x85",
    None,
    5,
    b"a",
    ["a"],
]


@pytest.mark.parametrize(("pattern", "type", "expected"), MATCHING)
def test_a_pattern_matches_whole_types_in_matches_and_in_routers_alike(pattern: str, type: str, expected: bool) -> None:
    assert matches(pattern, type) is expected
    assert Router([Route(pattern, "hit")]).route(Signal(type)) == (("hit",) if expected else ())


@pytest.mark.parametrize("pattern", INVALID)
def test_a_pattern_that_breaks_the_grammar_is_refused_when_the_route_is_made(pattern: Any) -> None:
    with pytest.raises(InvalidPattern) as caught:
        Route(pattern, "x")
    assert isinstance(caught.value, SignalError)
    assert isinstance(caught.value, (DefinitionError, ValueError, TypeError))
    assert caught.value.pattern == pattern
    with pytest.raises(InvalidPattern):
        matches(pattern, "a")


@pytest.mark.parametrize("pattern", ["a-b.c_d.*", ".".join(["x"] * 3000), "ü.#.$", "**", "a.**.b.**", "1.2"])
def test_other_patterns_are_right_however_long(pattern: str) -> None:
    assert Route(pattern, "x").pattern == pattern
    assert matches(pattern, pattern.replace("**", "y").replace("*", "y"))


def test_matching_asks_for_a_type_that_a_signal_can_have() -> None:
    for type in ("", 5, None, "a\x00"):
        with pytest.raises(InvalidSignal):
            matches("**", type)  # type: ignore[arg-type]


segments = st.sampled_from(["a", "b", "c", "*", "**"])
patterns = st.lists(segments, min_size=1, max_size=5).map(".".join).filter(lambda pattern: "**.**" not in pattern)
types = st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=6).map(".".join).filter(bool)


def reference_matches(pattern: list[str], type: list[str]) -> bool:
    if not pattern:
        return not type
    if pattern[0] == "**":
        return reference_matches(pattern[1:], type) or bool(type and reference_matches(pattern, type[1:]))
    return bool(type) and pattern[0] in ("*", type[0]) and reference_matches(pattern[1:], type[1:])


def reference_order(routes: list[Route[int]], type: str) -> tuple[int, ...]:
    """By priority, literals, where these stand, `**`, length, and registration, each read off the text."""

    def key(numbered: tuple[int, Route[int]]) -> Any:
        number, route = numbered
        pattern = route.pattern.split(".")
        literals = [at for at, segment in enumerate(pattern) if "*" not in segment]
        return -route.priority, -len(literals), literals, pattern.count("**"), -len(pattern), number

    matching = [
        (number, route)
        for number, route in enumerate(routes)
        if reference_matches(route.pattern.split("."), type.split("."))
    ]
    return tuple(route.target for _, route in sorted(matching, key=key))


@given(patterns, types)
@settings(max_examples=500, deadline=None)
def test_matching_agrees_with_the_reference(pattern: str, type: str) -> None:
    assert matches(pattern, type) is reference_matches(pattern.split("."), type.split("."))


routes_of_numbers = st.lists(
    st.builds(lambda pattern, priority: (pattern, priority), patterns, st.sampled_from([0, 0, 0, 1, -1, 100, -100])),
    max_size=30,
).map(lambda specs: [Route(pattern, number, priority=priority) for number, (pattern, priority) in enumerate(specs)])


@given(routes_of_numbers, st.lists(types, min_size=1, max_size=5), st.data())
@settings(max_examples=200, deadline=None)
def test_targets_come_in_the_order_of_the_reference_however_the_router_was_made(
    routes: list[Route[int]], types: list[str], draw: st.DataObject
) -> None:
    cut = draw.draw(st.integers(0, len(routes)))
    extra = [Route("a.**", -1), Route("c", -2), Route("*.**.b", -3)]
    made = [
        Router(routes),
        Router(routes[:cut]).add(*routes[cut:]),
        Router(routes[:cut]).merge(Router(routes[cut:])),
        Router([*routes[:cut], *extra, *routes[cut:]]).remove(*extra),
    ]
    for type in [*types, *types]:  # a second time: what is remembered must be right too
        for router in made:
            assert router.route(Signal(type)) == reference_order(routes, type)
    for router in made:
        assert router == made[0]
        assert router.routes == tuple(routes)


def test_the_order_of_specificity() -> None:
    expected = ["a.b.c", "a.b.*", "a.*.c", "*.b.c", "a.*.*", "a.*.**", "a.**", "**.c", "*.*.*", "*.*.**", "*.**", "**"]
    router = Router([Route(pattern, pattern) for pattern in reversed(expected)])

    found = router.route(Signal("a.b.c"))

    assert list(found) == expected


@pytest.mark.parametrize(
    ("first", "second", "type"),
    [
        ("*.b.c", "a.**", "a.b.c"),  # more literals, though they stand further right
        ("a.**", "*.a", "a.a"),  # literals further left, though there is a `**`
        ("a.*.**", "a.**.*.**", "a.b.c"),  # fewer `**`
        ("a.*.*", "a.**", "a.b.c"),
        ("a.*.**", "a.**", "a.b"),  # more segments
        ("*.a", "**.a", "a.a"),
    ],
)
def test_each_rule_of_specificity_goes_before_the_next(first: str, second: str, type: str) -> None:
    router = Router([Route(second, "second"), Route(first, "first")])

    assert router.route(Signal(type)) == ("first", "second")


def test_priority_goes_before_specificity_and_registration_after() -> None:
    router = Router(
        [
            Route("a.b", "exact", priority=-1),
            Route("a.*", "first"),
            Route("a.*", "second"),
            Route("**", "audit", priority=100),
        ]
    )

    assert router.route(Signal("a.b")) == ("audit", "first", "second", "exact")


def test_a_type_is_matched_by_a_route_once() -> None:
    assert Router([Route("**.a.**", "x")]).route(Signal("a.a.a.a")) == ("x",)


@pytest.mark.parametrize("priority", [101, -101, 1.0, "1", None, True])
def test_a_priority_out_of_range_is_refused(priority: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        Route("a", "x", priority=priority)
    assert caught.value.field == "priority"


def test_a_predicate_that_is_no_plain_function_is_refused() -> None:
    async def later(signal: Signal) -> bool:
        return True

    for when in ("yes", 5, later):
        with pytest.raises(InvalidArgument) as caught:
            Route("a", "x", when=when)  # type: ignore[arg-type]
        assert caught.value.field == "when"


def test_routes_are_compared_by_value_and_do_not_change() -> None:
    assert Route("a.*", "x") == Route("a.*", "x")
    assert Route("a.*", "x") != Route("a.*", "x", priority=1)
    assert {Route("a", "x"), Route("a", "x")} == {Route("a", "x")}
    with pytest.raises(AttributeError):
        Route("a", "x").pattern = "b"  # type: ignore[misc]


class TestPredicates:
    def test_a_predicate_is_asked_for_each_signal_and_keeps_the_order(self) -> None:
        router = Router(
            [
                Route("order.*", "any"),
                Route("order.placed", "big", when=lambda signal: signal.data > 100),
                Route("**", "first", priority=1, when=lambda signal: signal.subject),
            ]
        )

        assert router.route(Signal("order.placed", 50)) == ("any",)
        assert router.route(Signal("order.placed", 150)) == ("big", "any")
        assert router.route(Signal("order.placed", 150, subject="s")) == ("first", "big", "any")

    def test_a_predicate_that_raises_counts_as_no_match_and_is_reported(self) -> None:
        reported: list[Any] = []
        bad = Route("a", "bad", when=lambda signal: signal.data["missing"])
        router = Router([bad, Route("*", "good")], on_error=lambda *report: reported.append(report))
        signal = Signal("a", {})

        assert router.route(signal) == ("good",)
        assert [(route, about, type(error)) for route, about, error in reported] == [(bad, signal, KeyError)]
        assert router.add(Route("a", "later")).route(signal) == ("later", "good")
        assert len(reported) == 2

    def test_a_report_that_raises_changes_nothing(self, caplog: pytest.LogCaptureFixture) -> None:
        def complain(*_: Any) -> None:
            raise RuntimeError

        router = Router([Route("a", 1, when=lambda _: 1 / 0), Route("a", 2)], on_error=complain)

        assert router.route(Signal("a")) == (2,)

    def test_without_on_error_the_first_one_of_each_route_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        router = Router([Route("a", 1, when=lambda _: 1 / 0), Route("*", 2, when=lambda _: 1 / 0)])

        with caplog.at_level(logging.WARNING, "prunella.signals"):
            for _ in range(3):
                assert router.route(Signal("a")) == ()

        assert [record.getMessage().count("ZeroDivisionError") for record in caplog.records] == [1, 1]

    def test_what_ends_the_program_is_not_held_back(self) -> None:
        def stop(_: Signal) -> bool:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Router([Route("a", 1, when=stop)]).route(Signal("a"))


class TestValue:
    def test_changing_a_router_gives_a_new_one(self) -> None:
        router = Router([Route("a.b", 1), Route("a.*", 2)])
        more = router.add(Route("a.**", 3), Route("a.b", 4))
        less = more.remove(Route("a.b", 1), Route("a.*", 2))

        assert router.route(Signal("a.b")) == (1, 2)
        assert more.route(Signal("a.b")) == (1, 4, 2, 3)
        assert less.route(Signal("a.b")) == (4, 3)
        assert less.routes == (Route("a.**", 3), Route("a.b", 4))

    def test_removing_takes_every_equal_route_and_no_other(self) -> None:
        router = Router([Route("user", 1), Route("user.created", 2), Route("user", 1), Route("user", 3)])

        assert router.remove(Route("user", 1)).routes == (Route("user.created", 2), Route("user", 3))
        assert router.remove(Route("user", 9), Route("nobody", 1)) == router

    def test_targets_may_be_anything_also_what_cannot_be_hashed_or_compared(self) -> None:
        targets = [[], {}, None, 1.5, object()]
        router = Router([Route("a", target) for target in targets])

        assert all(one is other for one, other in zip(router.route(Signal("a")), targets, strict=True))
        assert router.remove(Route("a", {})).routes[1].target is None

    def test_routers_are_equal_if_their_routes_are(self) -> None:
        assert Router([Route("a", 1)]) == Router([Route("a", 1)])
        assert hash(Router([Route("a", 1)])) == hash(Router([Route("a", 1)]))
        assert Router([Route("a", 1), Route("b", 1)]) != Router([Route("b", 1), Route("a", 1)])
        assert Router() != ()
        assert len(Router([Route("a", 1), Route("a", 1)])) == 2

    def test_a_router_comes_back_from_pickle(self) -> None:
        router = Router([Route("a.*", 1), Route("a.b", 2)])
        again = pickle.loads(pickle.dumps(router))

        assert again == router
        assert again.route(Signal("a.b")) == (2, 1)

    def test_what_is_no_route_is_refused(self) -> None:
        for made in (
            lambda: Router(["a"]),  # type: ignore[list-item]
            lambda: Router().add("a"),  # type: ignore[arg-type]
            lambda: Router().remove("a"),  # type: ignore[arg-type]
            lambda: Router().merge([Route("a", 1)]),  # type: ignore[arg-type]
            lambda: Router(on_error="log"),  # type: ignore[arg-type]
            lambda: Router().route("a"),  # type: ignore[arg-type]
        ):
            with pytest.raises(InvalidArgument):
                made()


class TestCost:
    def test_wildcards_side_by_side_do_not_multiply(self) -> None:
        """A matcher that tries one way after the other would not end within the age of the universe."""
        pattern = ".".join(["**", "a"] * 30) + ".b"
        begun = time.perf_counter()

        assert not matches(pattern, ".".join(["a"] * 200))
        assert time.perf_counter() - begun < 5

    def test_what_is_remembered_of_types_from_outside_is_bounded(self) -> None:
        router = Router([Route("**", 1)])
        for number in range(3_000):
            router.route(Signal(f"t{number}"))
        router.route(Signal("x" * 10_000))

        assert len(router._found) <= 1024
        assert max(map(len, router._found)) <= 256


def test_a_router_shows_how_many_routes_it_has() -> None:
    one = Router([Route("a", 1)])
    assert [repr(router) for router in (Router(), one, one.add(Route("b", 1)))] == [
        "<Router with 0 routes>",
        "<Router with 1 route>",
        "<Router with 2 routes>",
    ]
