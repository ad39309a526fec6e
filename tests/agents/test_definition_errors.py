"""What is wrong with a class is said when it is made, with the name of what is wrong and the remedy."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from prunella.agents import Agent, Cron, Durable, Map, Schedule, describe, migrate, on
from prunella.errors import DefinitionError
from prunella.signals import InvalidPattern

if TYPE_CHECKING:
    from decimal import Decimal

Body = dict[str, Any]


def make(
    annotations: Mapping[str, Any] | None = None, body: Body | None = None, bases: Any = (), **keywords: Any
) -> Any:
    """A class made of an annotation for each field and a body."""
    made = {
        "__annotations__": dict(annotations or {}),
        "__module__": __name__,
        "__qualname__": "Broken",
        **(body or {}),
    }
    return type("Broken", bases or (Agent,), made, **keywords)


def handler(pattern: str = "x", **options: Any) -> Callable[[Any], Any]:
    return on(pattern, **options)


@pytest.mark.parametrize(
    ("annotation", "instead"),
    [
        (list, "tuple"),
        (list[int], "tuple"),
        (dict[str, int], "Mapping"),
        (set[int], "frozenset"),
        (bytearray, "bytes"),
        (tuple[list[int], ...], "tuple"),
        (Mapping[str, set[int]], "frozenset"),
        (list[int] | None, "tuple"),
        (MutableMapping[str, int], "Mapping"),
        (deque[int], "tuple"),
    ],
)
def test_a_mutable_container_is_no_annotation(annotation: Any, instead: str) -> None:
    with pytest.raises(DefinitionError, match=rf"Broken: 'items' .*write {instead}"):
        make({"items": annotation}, {"items": ()})


@pytest.mark.parametrize("default", [[], {}, set(), bytearray(), deque()])
def test_a_mutable_default_is_refused(default: Any) -> None:
    with pytest.raises(DefinitionError, match=r"'items' is a \w+, which can be changed.*Map\(\)"):
        make({"items": Any}, {"items": default})


def test_a_factory_is_no_default() -> None:
    with pytest.raises(DefinitionError, match="'items' must be a value"):
        make({"items": tuple}, {"items": attrs.field(factory=tuple)})


def test_a_default_must_fit_its_annotation() -> None:
    with pytest.raises(DefinitionError, match=r"'count' does not fit.*expected int, got str"):
        make({"count": int}, {"count": "1"})


def test_an_annotation_that_does_not_resolve_is_named_with_the_remedy() -> None:
    with pytest.raises(DefinitionError) as caught:

        class Shop(Agent):
            price: Decimal | None = None

    text = str(caught.value)
    assert "Shop" in text
    assert "'price'" in text
    assert "Decimal | None" in text
    assert "outside TYPE_CHECKING" in text


def test_the_annotation_of_a_parameter_must_resolve_that_of_the_result_need_not() -> None:
    with pytest.raises(DefinitionError, match=r"Shop\.priced.*'Decimal' of 'price'.*outside TYPE_CHECKING"):

        class Shop(Agent):
            @on("priced")
            def priced(self, price: Decimal) -> Any: ...

    class Other(Agent):
        @on("priced")
        def priced(self) -> Decimal: ...


def test_names_of_the_frame_that_makes_the_class_are_known() -> None:
    class Local:
        pass

    class Shop(Agent):
        thing: Local | None = None

        @on("take")
        def take(self, thing: Local, other: Shop) -> Any: ...

    local = Local()
    assert Shop(thing=local).thing is local


def test_an_annotation_that_nothing_converts_to_is_refused() -> None:
    with pytest.raises(DefinitionError, match="'count'"):
        make({"count": 3}, {"count": 3})


@pytest.mark.parametrize("name", ["cmd", "set", "to_data", "from_data", "_private", "__init__"])
def test_a_reserved_name_is_no_field(name: str) -> None:
    with pytest.raises(DefinitionError, match=name):
        make({name: int}, {name: 0})


@pytest.mark.parametrize("name", ["cmd", "set", "to_data", "from_data"])
def test_a_reserved_name_is_no_method_of_class_or_mixin(name: str) -> None:
    with pytest.raises(DefinitionError, match=f"'{name}' is reserved"):
        make({}, {name: lambda self: None})
    mixin = type("Mixin", (), {name: lambda self: None})
    with pytest.raises(DefinitionError, match=f"'{name}' is reserved"):
        make(bases=(mixin, Agent))


def test_a_handler_does_not_begin_with_an_underscore() -> None:
    with pytest.raises(DefinitionError, match="'_added' cannot be a handler"):

        class Broken(Agent):
            @on("added")
            def _added(self) -> Any: ...


@pytest.mark.parametrize("name", ["__init__", "__new__", "__eq__", "__hash__", "__setattr__"])
def test_an_agent_defines_no_value_semantics_of_its_own(name: str) -> None:
    with pytest.raises(DefinitionError, match=name):
        make({}, {name: lambda self: None})


def test_slots_are_refused() -> None:
    with pytest.raises(DefinitionError, match="__slots__"):
        make({}, {"__slots__": ()})
    slotted = type("Slotted", (), {"__slots__": ("x",)})
    with pytest.raises(DefinitionError, match="Slotted"):
        make(bases=(slotted, Agent))


def test_a_field_does_not_shadow_a_handler() -> None:
    class Base(Agent):
        @on("added")
        def added(self) -> Any: ...

    with pytest.raises(DefinitionError, match="'added' is both a field and a method"):
        make({"added": int}, {}, (Base,))
    with pytest.raises(DefinitionError, match="'added'"):
        make({"added": int}, {"added": 0}, (Base,))


def test_a_handler_does_not_shadow_a_field() -> None:
    class Base(Agent):
        added: int = 0

    with pytest.raises(DefinitionError, match="'added' is both a field and a method"):

        class Broken(Base):
            @on("added")
            def added(self) -> Any: ...  # type: ignore[override]


def test_a_property_does_not_shadow_a_field() -> None:
    with pytest.raises(DefinitionError, match="'count'"):
        make({"count": int}, {"count": property(lambda self: 1)})


def test_async_and_generator_handlers_are_refused() -> None:
    async def waits(self: Any) -> None: ...

    async def streams(self: Any) -> Any:
        yield 1

    def yields(self: Any) -> Iterator[int]:
        yield 1

    for function, remedy in ((waits, r"return Run\("), (streams, r"return Run\("), (yields, "return a tuple")):
        with pytest.raises(DefinitionError, match=rf"Broken\.added: .*{remedy}"):
            make({}, {"added": on("added")(function)})


def test_static_and_class_methods_are_no_handlers() -> None:
    def added(x: Any) -> None: ...

    for kind in (staticmethod, classmethod):
        with pytest.raises(DefinitionError, match=r"Broken\.added: a handler is a plain method"):
            make({}, {"added": kind(on("added")(added))})


def test_positional_parameters_are_refused() -> None:
    def only(self: Any, ticket: str, /) -> None: ...
    def some(self: Any, *tickets: str) -> None: ...
    def none() -> None: ...

    with pytest.raises(DefinitionError, match=r"'ticket' is positional-only.*'/'"):
        make({}, {"added": on("added")(only)})
    with pytest.raises(DefinitionError, match=r"take '\*tickets' away"):
        make({}, {"added": on("added")(some)})
    with pytest.raises(DefinitionError, match="first parameter is self"):
        make({}, {"added": on("added")(none)})


def test_self_may_be_positional_only() -> None:
    class Free(Agent):
        @on("x")
        def heard(self, /, self_: int = 0) -> Any:
            return self.set()

    assert Free().cmd("x", self_=1)[0] == Free()


@pytest.mark.parametrize("pattern", ["", "a..b", ".relative", "a*", "a.**.**", "a b"])
def test_a_bad_pattern_is_named_with_its_handler(pattern: str) -> None:
    with pytest.raises(DefinitionError, match=r"Broken\.added: pattern") as caught:
        make({}, {"added": handler(pattern)(lambda self: None)})
    assert isinstance(caught.value.__cause__, InvalidPattern)


def test_on_needs_patterns() -> None:
    with pytest.raises(DefinitionError, match="signal type"):
        on()
    with pytest.raises(DefinitionError, match="signal type"):

        @on  # type: ignore[arg-type]
        def added(self: Any) -> None: ...

    with pytest.raises(DefinitionError, match="int"):
        on(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"priority": 101}, {"priority": "high"}, {"priority": True}, {"when": 3}])
def test_options_of_on_are_checked(options: Any) -> None:
    with pytest.raises(DefinitionError, match=rf"Broken\.added.*{next(iter(options))}"):
        make({}, {"added": handler(**options)(lambda self: None)})


@pytest.mark.parametrize(
    "keywords",
    [
        {"name": ""},
        {"name": "Desk"},
        {"name": "9desk"},
        {"name": "a b"},
        {"name": 3},
        {"version": 0},
        {"version": True},
        {"version": "1"},
        {"description": 3},
        {"tags": "a"},
        {"tags": (1,)},
        {"tags": ("",)},
        {"tags": 3},
        {"strategy": object()},
        {"schedules": "x"},
        {"schedules": (Cron("* * * * *", "tick"),)},
        {"schedules": ("tick",)},
        {"schedules": (Cron("* * * * *", "tick", key="k"), Schedule(1, "tick", key="k"))},
        {"name": "a", "durable": "yes"},
        {"durable": True},
        {"color": "red"},
    ],
)
def test_keywords_of_the_class_are_checked(keywords: Any) -> None:
    wrong = next(reversed(keywords))
    with pytest.raises(DefinitionError, match=f"Broken.*{'key' if wrong == 'schedules' and len(keywords) > 3 else ''}"):
        make(**keywords)


def test_a_name_is_derived_from_that_of_the_class() -> None:
    class HTTPDesk2Agent(Agent):
        pass

    assert describe(HTTPDesk2Agent).name == "http_desk2_agent"


def test_a_name_that_cannot_be_derived_must_be_given() -> None:
    with pytest.raises(DefinitionError, match="give it name="):
        type("Ärger", (Agent,), {})


def test_durable_agents_must_give_their_name() -> None:
    class Base(Agent, name="base", durable=Durable(snapshot_every=7)):
        pass

    with pytest.raises(DefinitionError, match="needs name="):

        class Derived(Base):
            pass

    class Named(Base, name="named"):
        pass

    assert describe(Named).durable == Durable(snapshot_every=7)

    class Volatile(Base, durable=False):
        pass

    assert describe(Volatile).durable is None


def test_a_missing_default_of_a_later_field_is_no_error() -> None:
    class Mixed(Agent):
        count: int = 0
        owner: str

    assert Mixed(owner="a").count == 0


def test_migrations_begin_at_versions_before_that_of_the_class() -> None:
    def same(data: Body) -> Body:
        return data

    make({}, {"a": migrate(1)(same), "b": migrate(2)(same)}, version=3)
    make({}, {"b": migrate(2)(same)}, version=3)
    make({}, {"a": migrate(1)(same)}, version=3)  # a gap: nothing so old may be stored
    make({}, {"a": migrate(1)(same), "c": migrate(3)(same)}, version=4)
    with pytest.raises(DefinitionError, match="both migrate from version 1"):
        make({}, {"a": migrate(1)(same), "b": migrate(1)(same)}, version=2)
    with pytest.raises(DefinitionError, match="write version=2"):
        make({}, {"a": migrate(1)(same)})


def test_a_migration_is_a_static_method() -> None:
    class Desk(Agent, version=2):
        waiting: tuple[str, ...] = ()

        @migrate(1)
        def renamed(data: Body) -> Body:  # type: ignore[misc]
            return {"waiting": data["open"]}

        @on("x")
        def heard(self) -> Any: ...

    assert Desk.renamed({"open": ["a"]}) == {"waiting": ["a"]}
    assert Desk().renamed({"open": ["a"]}) == {"waiting": ["a"]}


@pytest.mark.parametrize("version", [0, True, "1"])
def test_a_migration_begins_at_a_version(version: Any) -> None:
    with pytest.raises(DefinitionError, match="at least 1"):
        migrate(version)


def test_a_migration_is_a_function() -> None:
    with pytest.raises(DefinitionError, match="function"):
        migrate(1)(3)  # type: ignore[arg-type]


def test_a_map_is_a_default_of_a_mapping() -> None:
    assert make({"prices": Mapping[str, int]}, {"prices": Map({"a": 1})})().prices == {"a": 1}
