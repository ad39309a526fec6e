"""Fields and parameters that are no class, and the annotations they come from."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import attrs
import pytest

from prunella.conversion import (
    ConversionError,
    Field,
    Fields,
    Map,
    check_immutable,
    defining_namespace,
    resolve_annotations,
)
from prunella.errors import DefinitionError

if TYPE_CHECKING:
    from decimal import Decimal

PARAMETERS = {"ticket": Field(str), "priority": Field(int, 0), "tags": Field(tuple[str, ...], ())}


class TestFields:
    def test_open_fields_ignore_further_keys_and_leave_out_what_is_not_there(self) -> None:
        fields = Fields("handler 'opened'", PARAMETERS)

        assert fields.convert({"ticket": "T", "tags": ["a"], "more": 1}) == {"ticket": "T", "tags": ("a",)}
        assert dict(fields.defaults) == {"priority": 0, "tags": ()}

    def test_closed_fields_refuse_further_keys(self) -> None:
        with pytest.raises(ConversionError) as caught:
            Fields("action 'open'", PARAMETERS, closed=True).convert({"ticket": "T", "more": 1})
        assert caught.value.path == "more"

    def test_rest_takes_further_keys_converted(self) -> None:
        fields = Fields("action 'open'", PARAMETERS, closed=True, rest=tuple[int, ...])

        assert fields.convert({"ticket": "T", "more": [1]}) == {"ticket": "T", "more": (1,)}
        for data, path in (({"ticket": "T", "more": ["1"]}, "more[0]"), ({"ticket": "T", 5: [1]}, "[5]")):
            with pytest.raises(ConversionError) as caught:
                fields.convert(data)
            assert caught.value.path == path

    @pytest.mark.parametrize(
        ("data", "path"),
        [({}, "ticket"), ({"ticket": 5}, "ticket"), ([], ""), (None, ""), ("ticket", "")],
    )
    def test_data_that_does_not_fit_is_refused(self, data: Any, path: str) -> None:
        with pytest.raises(ConversionError) as caught:
            Fields("handler", PARAMETERS).convert(data)
        assert caught.value.path == path

    def test_a_field_without_annotation_takes_anything(self) -> None:
        assert Fields("handler", {"a": Field()}).convert({"a": {1, 2}}) == {"a": {1, 2}}

    def test_a_default_is_converted_and_one_that_does_not_fit_refused(self) -> None:
        assert Fields("x", {"a": Field(float, 1), "b": Field(Mapping[str, int], {"c": 1})}).defaults == {
            "a": 1.0,
            "b": Map({"c": 1}),
        }
        for field in (Field(int, None), Field(int, "5"), Field(bool, 0)):
            with pytest.raises(DefinitionError, match="default of 'a'"):
                Fields("x", {"a": field})

    def test_a_factory_is_left_for_whoever_makes_the_object(self) -> None:
        fields = Fields("x", {"a": Field(int, attrs.Factory(int))})

        assert fields.convert({}) == {}
        assert fields.defaults == {}

    def test_an_annotation_that_is_none_is_refused_with_owner_and_field(self) -> None:
        with pytest.raises(DefinitionError, match=r"handler 'x'.*'a'"):
            Fields("handler 'x'", {"a": Field("Unresolved")})


class TestResolve:
    def test_annotations_are_resolved_with_the_names_of_their_module(self) -> None:
        class Holder:
            known: Map[str, int]
            own: Holder | None
            constant: ClassVar[int]

        resolved = resolve_annotations(Holder)

        assert resolved == {"known": Map[str, int], "own": Holder | None, "constant": ClassVar[int]}

    def test_the_names_of_the_making_function_are_known_when_handed_over(self) -> None:
        class Local:
            pass

        class Holder:
            there: Local
            many: tuple[Local, ...]

        with pytest.raises(DefinitionError):
            resolve_annotations(Holder)
        assert resolve_annotations(Holder, namespace=defining_namespace(0)) == {
            "there": Local,
            "many": tuple[Local, ...],
        }

    def test_classes_within_the_class_are_known(self) -> None:
        class Holder:
            class Inner:
                pass

            inner: Inner

        assert resolve_annotations(Holder) == {"inner": Holder.Inner}

    def test_bases_keep_the_names_of_their_own_module(self, monkeypatch: pytest.MonkeyPatch) -> None:
        elsewhere = ModuleType("elsewhere")
        exec("class Name: pass\nclass Base:\n    theirs: 'Name'\n", elsewhere.__dict__)
        monkeypatch.setitem(sys.modules, "elsewhere", elsewhere)

        class Name:
            pass

        class Holder(elsewhere.Base):  # type: ignore[name-defined, misc]
            mine: Name

        resolved = resolve_annotations(Holder, namespace=defining_namespace(0))

        assert resolved == {"theirs": elsewhere.Name, "mine": Name}

    def test_functions_have_annotations_too(self) -> None:
        def handler(self: Any, ticket: str, tags: tuple[str, ...] = ()) -> None: ...

        assert resolve_annotations(handler) == {
            "self": Any,
            "ticket": str,
            "tags": tuple[str, ...],
            "return": type(None),
        }

    def test_what_does_not_resolve_is_named_with_the_remedy(self) -> None:
        class Holder:
            price: Decimal

        def handler(price: tuple[Decimal, ...]) -> None: ...

        for definition in (Holder, handler):
            with pytest.raises(DefinitionError) as caught:
                resolve_annotations(definition)
            for word in ("price", "Decimal", "TYPE_CHECKING", definition.__qualname__, "define it before"):
                assert word in str(caught.value)


class TestImmutable:
    @pytest.mark.parametrize(
        ("annotation", "instead"),
        [
            (list, "tuple"),
            (list[int], "tuple"),
            (dict[str, int], "Mapping"),
            (set, "frozenset"),
            (bytearray, "bytes"),
            (tuple[list[int], ...], "tuple"),
            (Mapping[str, dict[str, int]], "Mapping"),
            (int | None | set[int], "frozenset"),
            (Annotated[list[int], "words"], "tuple"),
            (deque[int], "tuple"),
            (MutableMapping[str, int], "Mapping"),
        ],
    )
    def test_what_can_be_changed_in_place_is_refused_with_what_to_write(self, annotation: Any, instead: str) -> None:
        with pytest.raises(DefinitionError, match=f"write {instead}") as caught:
            check_immutable("agent 'Support'", "open", annotation)
        for word in ("Support", "open", "tuple", "Mapping", "frozenset", "bytes"):
            assert word in str(caught.value)

    @pytest.mark.parametrize(
        "annotation",
        [
            int,
            Any,
            tuple[int, ...],
            Mapping[str, tuple[int, ...]],
            frozenset[str] | None,
            ClassVar[list[int]],
            Literal["list"],
            Callable[[list[int]], None],
            type[list[int]],
            Map[str, int],
            None,
        ],
    )
    def test_everything_else_is_right(self, annotation: Any) -> None:
        check_immutable("agent 'Support'", "open", annotation)
