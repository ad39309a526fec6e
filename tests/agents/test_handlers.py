"""What a handler takes, what it may return, and which handlers run in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from functools import wraps
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import attrs
import pytest

from prunella.agents import (
    Agent,
    Context,
    Directive,
    Emit,
    InvalidResult,
    InvalidSignalData,
    Map,
    Rejected,
    Reply,
    Stop,
    UnhandledSignal,
    describe,
    on,
    routes,
    schema,
)
from prunella.agents._turns import definition_of
from prunella.signals import Route, Signal, SignalType


@attrs.frozen
class Customer:
    name: str
    visits: tuple[int, ...] = ()


class TicketOpened(SignalType, type="ticket.opened"):
    ticket: str
    priority: int = 0


class TicketClosed(SignalType, type="ticket.closed"):
    ticket: str


class Desk(Agent, name="desk"):
    """A desk that writes down what it hears."""

    heard: Any = None

    @on("few")
    def few(self, ticket: str, priority: int = 3) -> Any:
        return self.set(heard=(ticket, priority))

    @on("keyword")
    def keyword(self, *, ticket: str, priority: int = 3) -> Any:
        return self.set(heard=(ticket, priority))

    @on("converted")
    def converted(self, day: date, customer: Customer, weight: float, tags: frozenset[str] = frozenset()) -> Any:
        return self.set(heard=(day, customer, weight, tags))

    @on("unchecked")
    def unchecked(self, thing, other=None) -> Any:  # type: ignore[no-untyped-def]
        return self.set(heard=(thing, other))

    @on("rest")
    def rest(self, ticket: str, **rest: int) -> Any:
        return self.set(heard=(ticket, rest))

    @on("anything")
    def anything(self, **rest: Any) -> Any:
        return self.set(heard=rest)

    @on("given")
    def given(self, what: Signal, where: Context, ticket: str = "none") -> Any:
        return self.set(heard=(what, where, ticket))

    @on("named")
    def named(self, signal: str, context: int) -> Any:
        return self.set(heard=(signal, context))

    @on("nothing")
    def nothing(self) -> Any:
        return self.set(heard="nothing")

    @on("defaults")
    def defaults(self, ticket: str = "none") -> Any:
        return self.set(heard=ticket)


def heard(signal: Signal | str, **data: Any) -> Any:
    return Desk().cmd(signal, **data)[0].heard


def refusal(signal: Signal | str, **data: Any) -> InvalidSignalData:
    with pytest.raises(InvalidSignalData) as caught:
        Desk().cmd(signal, **data)
    return caught.value


def test_parameters_come_from_the_data_by_name() -> None:
    assert heard("few", priority=1, ticket="a") == ("a", 1)
    assert heard("few", ticket="a") == ("a", 3)
    assert heard("keyword", ticket="a", priority=4) == ("a", 4)


def test_further_keys_are_ignored_or_taken_by_rest() -> None:
    assert heard("few", ticket="a", colour="red") == ("a", 3)
    assert heard("rest", ticket="a", x=1, y=2) == ("a", {"x": 1, "y": 2})
    assert heard("anything", x="1") == {"x": "1"}
    assert refusal("rest", ticket="a", x="1").path == "x"


def test_parameters_are_converted() -> None:
    taken = heard("converted", day="2026-01-31", customer={"name": "Ann", "visits": [1]}, weight=2, tags=["x"])
    assert taken == (date(2026, 1, 31), Customer("Ann", (1,)), 2.0, frozenset({"x"}))
    assert type(taken[2]) is float


def test_what_is_right_already_is_taken_as_it_is() -> None:
    customer = Customer("Ann")
    assert heard("converted", day=date(2026, 1, 31), customer=customer, weight=2.0)[1] is customer


@pytest.mark.parametrize(
    ("data", "path", "expected", "got"),
    [
        ({}, "ticket", "a value", "nothing"),
        ({"ticket": 1}, "ticket", "str", "int"),
        ({"ticket": None}, "ticket", "str", "None"),
        ({"ticket": "a", "priority": "1"}, "priority", "int", "str"),
        ({"ticket": "a", "priority": 1.0}, "priority", "int", "float"),
        ({"ticket": "a", "priority": True}, "priority", "int", "bool"),
    ],
)
def test_data_that_does_not_fit_is_told_by_path_and_types(
    data: dict[str, Any], path: str, expected: str, got: str
) -> None:
    error = refusal(Signal("few", data))
    assert (error.path, error.expected, error.got) == (path, expected, got)
    assert (error.handler, error.signal_type, error.address) == ("Desk.few", "few", None)
    assert isinstance(error, ValueError)


def test_a_path_goes_into_the_data_and_never_shows_the_value() -> None:
    error = refusal("converted", day="2026-01-31", customer={"name": "Ann", "visits": ["secret"]}, weight=1.0)
    assert error.path == "customer.visits[0]"
    assert "secret" not in str(error)


def test_a_parameter_without_annotation_is_taken_unchecked() -> None:
    thing = object()
    assert heard("unchecked", thing=thing) == (thing, None)


def test_signal_and_context_are_handed_in_by_annotation() -> None:
    signal = Signal("given", {"ticket": "a"})
    context = Context(agent_id="me", seed=1)
    what, where, ticket = Desk().cmd(signal, context=context)[0].heard
    assert what is signal
    assert where.agent_id == "me"
    assert where.signal is signal
    assert ticket == "a"


def test_signal_and_context_may_stand_beside_none() -> None:
    class Maybe(Agent, name="maybe"):
        seen: Any = None

        @on("x")
        def heard(self, what: Signal | None = None, where: Annotated[Context | None, "here"] = None) -> Any:
            return self.set(seen=(what, where))

    signal = Signal("x")
    what, where = Maybe().cmd(signal)[0].seen
    assert what is signal
    assert isinstance(where, Context)


def test_parameters_called_signal_and_context_with_other_annotations_are_data() -> None:
    assert heard(Signal("named", {"signal": "red", "context": 3})) == ("red", 3)


@pytest.mark.parametrize("data", ["text", [1], 3, None, b"bytes"])
def test_data_that_is_no_mapping_fits_only_who_takes_none_of_it_or_the_signal(data: Any) -> None:
    assert heard(Signal("nothing", data)) == "nothing"
    assert heard(Signal("given", data))[2] == "none"
    for type in ("few", "defaults", "anything"):
        error = refusal(Signal(type, data))
        assert (error.path, error.expected) == ("", "a mapping")


@pytest.mark.parametrize("kind", [Map, MappingProxyType])
def test_data_may_be_any_mapping(kind: Callable[[Any], Mapping[str, Any]]) -> None:
    assert heard(Signal("few", kind({"ticket": "a"}))) == ("a", 3)


def test_keys_that_are_no_text_are_refused_by_rest() -> None:
    assert refusal(Signal("anything", {1: 2})).expected == "keys of type str"


def test_rest_does_not_take_keys_like_the_names_of_other_parameters() -> None:
    class Resting(Agent, name="resting"):
        heard: Any = None

        @on("x")
        def resting(self, what: Signal, where: Context, **rest: Any) -> Any:
            return self.set(heard=rest)

    data = {"self": 1, "what": 2, "where": 3, "rest": 4, "other": 5}
    assert Resting().cmd(Signal("x", data))[0].heard == {"rest": 4, "other": 5}


class Typed(Agent, name="typed"):
    heard: Any = None

    @on(TicketOpened)
    def opened(self, event: TicketOpened) -> Any:
        return self.set(heard=event)

    @on("both", TicketClosed)
    def closed(self, event: TicketClosed, ticket: str = "") -> Any:
        return self.set(heard=(event, ticket))


class Either(Agent, name="either"):
    heard: Any = None

    @on(TicketOpened, TicketClosed)
    def changed(self, event: TicketOpened | TicketClosed) -> Any:
        return self.set(heard=event)


def test_a_typed_signal_is_handed_in_for_its_class() -> None:
    event = TicketOpened(ticket="a", priority=2)
    assert Typed().cmd(event.signal())[0].heard == event
    assert Typed().cmd("ticket.closed", ticket="a")[0].heard == (TicketClosed(ticket="a"), "a")
    assert Either().cmd(event.signal())[0].heard == event
    assert Either().cmd("ticket.closed", ticket="a")[0].heard == TicketClosed(ticket="a")


def test_data_that_no_typed_signal_can_have_is_refused() -> None:
    with pytest.raises(InvalidSignalData) as caught:
        Typed().cmd("ticket.opened", ticket=1)
    assert (caught.value.path, caught.value.expected, caught.value.got) == ("ticket", "str", "int")
    with pytest.raises(InvalidSignalData):
        Typed().cmd("ticket.opened", ticket="a", colour="red")


def test_a_class_of_typed_signals_that_on_does_not_name_is_data() -> None:
    class Batch(Agent, name="batch"):
        heard: Any = None

        @on("batch")
        def batch(self, first: TicketOpened) -> Any:
            return self.set(heard=first)

    assert Batch().cmd("batch", first={"ticket": "a"})[0].heard == TicketOpened(ticket="a")


# Results


class Answers(Agent, name="answers"):
    count: int = 0

    @on("answer")
    def answer(self, what: Any) -> Any:
        return what(self)


def answer(what: Callable[[Answers], Any]) -> tuple[Answers, tuple[Directive, ...]]:
    return Answers().cmd("answer", what=what)


def test_nothing_returned_changes_nothing() -> None:
    agent = Answers()
    after, directives = agent.cmd("answer", what=lambda self: None)
    assert after is agent
    assert directives == ()


@pytest.mark.parametrize(
    "what",
    [
        lambda self: self.set(count=1),
        lambda self: (self.set(count=1),),
        lambda self: [self.set(count=1), None],
    ],
)
def test_a_changed_agent_is_the_state_after(what: Any) -> None:
    assert answer(what) == (Answers(count=1), ())


def test_directives_come_alone_or_behind_the_agent_and_nones_are_skipped() -> None:
    assert answer(lambda self: Reply(1)) == (Answers(), (Reply(1),))
    assert answer(lambda self: (Reply(1), None, Reply(2))) == (Answers(), (Reply(1), Reply(2)))
    assert answer(lambda self: (self.set(count=1), None, Reply(1))) == (Answers(count=1), (Reply(1),))
    assert answer(lambda self: ()) == (Answers(), ())


class Pair(NamedTuple):
    agent: Any
    directive: Any


def test_a_named_tuple_is_a_tuple() -> None:
    assert answer(lambda self: Pair(self.set(count=1), Reply(1))) == (Answers(count=1), (Reply(1),))


class Other(Agent, name="other"):
    pass


class Special(Answers, name="special"):
    pass


async def waits() -> None: ...


@pytest.mark.parametrize(
    ("what", "problem"),
    [
        (lambda self: 3, "a value of type int"),
        (lambda self: "text", "a value of type str"),
        (lambda self: {}, "a value of type dict"),
        (lambda self: True, "a value of type bool"),
        (lambda self: waits(), "a value of type coroutine"),
        (lambda self: (x for x in ()), "a value of type generator"),
        (lambda self: Other(), "an agent of another class (Other instead of Answers)"),
        (lambda self: Special(), "an agent of another class (Special instead of Answers)"),
        (lambda self: (self, 3), "a value of type int"),
        (lambda self: (Reply(1), self), "not the first item"),
        (lambda self: (self, self), "not the first item"),
        (lambda self: (self, (Reply(1),)), "a value of type tuple"),
        (lambda self: (Stop(), Reply(1)), "(Reply) after a Stop"),
        (lambda self: (Stop(), Stop()), "(Stop) after a Stop"),
    ],
)
def test_anything_else_is_an_invalid_result(what: Any, problem: str) -> None:
    with pytest.raises(InvalidResult) as caught:
        answer(what)
    assert caught.value.handler == "Answers.answer"
    assert problem in str(caught.value)


def test_a_stop_is_the_last_of_a_result() -> None:
    assert answer(lambda self: (self.set(count=1), Reply(1), Stop("done")))[1] == (Reply(1), Stop("done"))


# Which handlers run


class Order(Agent, name="order"):
    ran: tuple[str, ...] = ()

    def _run(self, name: str) -> Any:
        return self.set(ran=(*self.ran, name)), Emit(f"ran.{name}")

    @on("a.**")
    def rest(self) -> Any:
        return self._run("rest")

    @on("a.*")
    def any(self) -> Any:
        return self._run("any")

    @on("a.b", "a.*", "**")
    def exact(self) -> Any:
        return self._run("exact")

    @on("a.b", priority=10)
    def first(self) -> Any:
        return self._run("first")

    @on("**", priority=-10)
    def last(self) -> Any:
        return self._run("last")

    @on("a.b")
    def second(self) -> Any:
        return self._run("second")


def test_all_handlers_that_match_run_once_in_order_each_on_the_state_before() -> None:
    order, directives = Order().cmd("a.b")
    assert order.ran == ("first", "exact", "second", "any", "rest", "last")
    assert directives == tuple(Emit(f"ran.{name}") for name in order.ran)


def test_bases_come_before_subclasses_and_redefining_replaces() -> None:
    class Derived(Order, name="derived"):
        @on("a.b")
        def added(self) -> Any:
            return self._run("added")

        @on("a.c")
        def first(self) -> Any:
            return self._run("first again")

        def last(self) -> Any:
            raise AssertionError("is no handler any more")

    assert Derived().cmd("a.b")[0].ran == ("exact", "second", "added", "any", "rest")
    assert Derived().cmd("a.c")[0].ran == ("first again", "any", "exact", "rest")


def test_a_handler_of_a_mixin_that_is_no_agent_counts() -> None:
    class Mixin:
        @on("mixed")
        def mixed(self) -> Any:
            return self.set(ran=("mixed",))  # type: ignore[attr-defined]

    class Mixed(Mixin, Order, name="mixed"):
        pass

    assert Mixed().cmd("mixed")[0].ran == ("mixed", *Order().cmd("mixed")[0].ran)


def test_several_ons_on_one_method_each_count() -> None:
    class Twice(Agent, name="twice"):
        count: int = 0

        @on("a", priority=5)
        @on("b", when=lambda signal: signal.data["yes"])
        def heard(self) -> Any:
            return self.set(count=self.count + 1)

    assert Twice().cmd("a")[0].count == 1
    assert Twice().cmd("b", yes=True)[0].count == 1
    with pytest.raises(UnhandledSignal):
        Twice().cmd("b", yes=False)


def test_a_decorated_method_keeps_its_parameters() -> None:
    def logged(function: Any) -> Any:
        @wraps(function)
        def inner(self: Any, *arguments: Any, **keywords: Any) -> Any:
            return function(self, *arguments, **keywords)

        return inner

    class Wrapped(Agent, name="wrapped"):
        count: int = 0

        @on("a")
        @logged
        def heard(self, by: int) -> Any:
            return self.set(count=by)

    assert Wrapped().cmd("a", by=2)[0].count == 2
    with pytest.raises(InvalidSignalData):
        Wrapped().cmd("a", by="2")


class Picky(Agent, name="picky"):
    ran: tuple[str, ...] = ()

    @on("a", "b", when=lambda signal: signal.subject == "yes")
    def sometimes(self) -> Any:
        return self.set(ran=(*self.ran, "sometimes"))

    @on("b", priority=-1)
    def always(self) -> Any:
        return self.set(ran=(*self.ran, "always"))

    @on("broken", when=lambda signal: 1 / 0)
    def broken(self) -> Any: ...


def test_a_predicate_decides_whether_the_handler_runs() -> None:
    assert Picky().cmd(Signal("b", subject="yes"))[0].ran == ("sometimes", "always")
    assert Picky().cmd(Signal("b", subject="no"))[0].ran == ("always",)
    with pytest.raises(UnhandledSignal):
        Picky().cmd(Signal("a"))


def test_what_a_predicate_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        Picky().cmd("broken")


def test_a_stop_of_one_handler_keeps_nothing_from_the_others() -> None:
    class Stopping(Agent, name="stopping"):
        @on("a", priority=1)
        def stop(self) -> Any:
            return Stop("enough")

        @on("a")
        def say(self) -> Any:
            return Emit("said")

    assert Stopping().cmd("a")[1] == (Emit("said"), Stop("enough"))


class Listener(Agent, name="listener"):
    heard: tuple[str, ...] = ()

    @on("**")
    def everything(self, signal: Signal) -> Any:
        return self.set(heard=(*self.heard, f"all {signal.type}"))


class Lifecycle(Listener, name="lifecycle"):
    @on("prunella.**")
    def lifecycle(self, signal: Signal) -> Any:
        return self.set(heard=(*self.heard, f"own {signal.type}"))


def test_stars_at_the_beginning_do_not_match_the_runtimes_own_signals() -> None:
    listener = Listener()
    assert listener.cmd("prunella.started") == (listener, ())
    assert listener.cmd("prunella.started")[0] is listener
    assert Lifecycle().cmd("prunella.started")[0].heard == ("own prunella.started",)
    assert Listener().cmd("prunellas")[0].heard == ("all prunellas",)


def test_a_signal_that_nobody_takes_is_unhandled_unless_it_is_the_runtimes() -> None:
    with pytest.raises(UnhandledSignal) as caught:
        Other().cmd("ticket.opened")
    assert (caught.value.agent, caught.value.signal_type) == ("Other", "ticket.opened")
    assert Other().cmd("prunella.stopping", reason=None) == (Other(), ())


def test_a_refusal_of_a_later_handler_takes_the_whole_turn_back() -> None:
    class Careful(Agent, name="careful"):
        count: int = 0

        @on("a", priority=1)
        def first(self) -> Any:
            return self.set(count=1), Emit("said")

        @on("a")
        def second(self, why: str) -> Any:
            raise Rejected(why, code=3)

    agent = Careful()
    with pytest.raises(Rejected) as caught:
        agent.cmd("a", why="because")
    assert (caught.value.reason, caught.value.details) == ("because", {"code": 3})
    with pytest.raises(InvalidSignalData):
        agent.cmd("a")
    assert agent == Careful()


def test_routes_are_in_the_order_of_definition() -> None:
    assert routes(Order)[:3] == (Route("a.**", "rest"), Route("a.*", "any"), Route("a.b", "exact"))
    assert [route.target for route in routes(Lifecycle)] == ["everything", "lifecycle"]
    assert routes(Picky)[0].when is not None


def test_the_schema_of_a_handler_is_that_of_the_data_it_takes() -> None:
    assert schema(Desk, "few") == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"ticket": {"type": "string"}, "priority": {"type": "integer", "default": 3}},
        "required": ["ticket"],
    }
    assert "what" not in str(schema(Desk, "given"))


def test_types_are_remembered_up_to_a_bound() -> None:
    definition = definition_of(Listener)
    for number in range(3000):
        Listener().cmd(f"a.{number}")
        assert len(definition.found) <= 1024
    Listener().cmd("x" * 1000)
    assert "x" * 1000 not in definition.found


def test_a_definition_tells_what_is_heard() -> None:
    assert definition_of(Listener).hears("a")
    assert not definition_of(Listener).hears("prunella.started")
    assert not definition_of(Listener).hears_lifecycle
    assert definition_of(Lifecycle).hears("prunella.started")
    assert definition_of(Lifecycle).hears_lifecycle
    assert definition_of(Picky).hears("a")
    assert definition_of(Desk).takes_context("given")
    assert not definition_of(Desk).takes_context("few")


def test_a_base_is_what_has_subclasses_and_no_name() -> None:
    class Base(Agent):
        pass

    assert not definition_of(Base).is_base

    class Derived(Base):
        pass

    assert definition_of(Base).is_base
    assert not definition_of(Derived).is_base

    class Named(Agent, name="named"):
        pass

    class Special(Named):
        pass

    assert not definition_of(Named).is_base


def test_a_docstring_describes_the_agent_and_its_parameters() -> None:
    class Documented(Agent, tags=("x",), version=3):
        """Keeps count.

        Attributes:
            count: how many there are.
        """

        count: int = 0

        @on("count.add", priority=3)
        def add(self, by: int) -> Any:
            """Adds some.

            Args:
                by: how many.
            """

    described = describe(Documented)
    assert (described.name, described.version, described.description) == ("documented", 3, "Keeps count.")
    assert (described.tags, described.plugins, described.strategy, described.durable) == (("x",), (), None, None)
    [field] = described.fields
    assert (field.name, field.annotation, field.required, field.default) == ("count", int, False, 0)
    assert field.description == "how many there are."
    [handler] = described.handlers
    assert (handler.name, handler.patterns, handler.priority) == ("add", ("count.add",), 3)
    assert handler.description == "Adds some."
    assert handler.schema["properties"]["by"]["description"] == "how many."
    assert schema(Documented)["properties"]["count"]["description"] == "how many there are."
    assert hash(described.tags)


@pytest.mark.parametrize("what", [Agent, int, 3, Desk()])
def test_only_a_class_of_agents_can_be_described(what: Any) -> None:
    for function in (describe, routes, schema):
        with pytest.raises(ValueError, match="class of agents"):
            function(what)
