"""Work orders, which may stand in the place of an action: it, with what it is to be run with.

The package for actions has the class of them, which is not known here: it names itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from ._plain import Unwritable, name_of, named, plain, unplain

__all__ = ["Order", "is_order", "order_from_data", "order_to_data"]

_CLASS: Final = "$order"
_FUNCTION: Final = "$function"


class Order(Protocol):
    """A work order."""

    @property
    def action(self) -> Callable[..., Any]: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def context(self) -> Mapping[str, Any]: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


def is_order(value: Any) -> bool:
    """Whether it is a work order."""
    return hasattr(type(value), "_prunella_order")


def order_to_data(order: Any) -> dict[str, Any]:
    """A work order as data.

    Raises:
        Unwritable: something in it has no such form.
    """
    return {
        _CLASS: type(order)._prunella_order,
        "action": name_of(order.action),
        "params": _written("params", order.params),
        "context": _written("context", order.context),
        "options": _written("options", order.options),
    }


def order_from_data(data: Mapping[str, Any]) -> Any:
    """The work order of such data."""
    values = [{name: _read(item) for name, item in data[field].items()} for field in ("params", "context", "options")]
    return named(data[_CLASS])(named(data["action"]), *values)


def _written(field: str, values: Mapping[str, Any]) -> dict[str, Any]:
    data = {}
    for name, value in values.items():
        try:
            data[name] = {_FUNCTION: name_of(value)} if callable(value) else plain(value)
        except Unwritable as error:
            raise Unwritable(f".{field}.{name}{error}") from None
    return data


def _read(data: Any) -> Any:
    return named(data[_FUNCTION]) if isinstance(data, dict) and data.keys() == {_FUNCTION} else unplain(data)
