from __future__ import annotations

import pytest

from prunella.errors import InvalidArgument, check_iterable


class TestManyOfAKind:
    @pytest.mark.parametrize("value", [["a", "b"], ("a", "b"), {"a": 1, "b": 2}, (letter for letter in "ab")])
    def test_whatever_yields_them_will_do(self, value):
        assert check_iterable("Basket", "fruit", value, "apples") == ("a", "b")

    @pytest.mark.parametrize("value", [5, None, object, len])
    def test_one_that_yields_nothing_is_refused_by_name(self, value):
        with pytest.raises(InvalidArgument, match="Basket: fruit must be an iterable of apples, got ") as caught:
            check_iterable("Basket", "fruit", value, "apples")
        assert caught.value.got is value

    def test_a_type_error_of_a_generator_is_not_taken_for_a_wrong_argument(self):
        def apples():
            yield "a"
            raise TypeError("of the generator")

        with pytest.raises(TypeError, match="of the generator"):
            check_iterable("Basket", "fruit", apples(), "apples")
