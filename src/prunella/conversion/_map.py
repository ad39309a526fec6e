from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar, final, overload

import immutables

from ..errors import InvalidArgument

__all__ = ["Map"]

K = TypeVar("K")
V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
D = TypeVar("D")


@final
class Map(Mapping[K, V_co]):
    """A mapping that never changes; what a field annotated `Mapping` holds.

    It compares equal to any mapping with the same items, is hashable when its values are, and can be pickled.
    A changed copy shares what did not change with the original, so `set` on a large map is cheap. Its order
    is its own, not that of insertion.

    Args:
        items: a mapping, or pairs of key and value.

    Raises:
        InvalidArgument: it is neither.
        TypeError: a key is not hashable.
    """

    __slots__ = ("_items",)

    _items: immutables.Map[K, V_co]

    def __init__(self, items: Mapping[K, V_co] | Iterable[tuple[K, V_co]] = ()) -> None:
        if type(items) is Map:
            inner = items._items
        elif isinstance(items, immutables.Map):
            inner = items
        else:
            inner = immutables.Map(_taken(items))
        object.__setattr__(self, "_items", inner)

    def set(self: Map[K, V], key: K, value: V) -> Map[K, V]:
        """A copy in which `key` has `value`."""
        return _wrap(self._items.set(key, value))

    def delete(self, key: K) -> Map[K, V_co]:
        """A copy without `key`.

        Raises:
            KeyError: there is no such key.
        """
        return _wrap(self._items.delete(key))

    def update(self: Map[K, V], items: Mapping[K, V] | Iterable[tuple[K, V]]) -> Map[K, V]:
        """A copy with `items` laid over it."""
        return _wrap(self._items.update(_taken(items)))

    def __or__(self: Map[K, V], other: Mapping[K, V]) -> Map[K, V]:
        return self.update(other) if isinstance(other, Mapping) else NotImplemented

    def __getitem__(self, key: K) -> V_co:
        return self._items[key]

    @overload
    def get(self, key: K, /) -> V_co | None: ...
    @overload
    def get(self, key: K, /, default: V_co | D) -> V_co | D: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        return self._items.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[K]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __eq__(self, other: object) -> bool:
        if type(other) is Map:
            return bool(self._items == other._items)
        if isinstance(other, Mapping):
            return len(self._items) == len(other) and dict(self._items) == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._items)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Map does not change: use set() or update(), which give a new one (tried {name!r})")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Map does not change: delete() gives a new one (tried {name!r})")

    def __copy__(self) -> Map[K, V_co]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Map, (dict(self._items),)

    def __repr__(self) -> str:
        return f"Map({dict(self._items)!r})"


def _taken(items: Mapping[K, V] | Iterable[tuple[K, V]]) -> dict[K, V]:
    # immutables takes a mapping that is no dict for a sequence of pairs
    if type(items) is dict:
        return items
    if not isinstance(items, Iterable):
        raise InvalidArgument("Map", "items", "a mapping, or pairs of key and value", items)
    return dict(items)


def _wrap(inner: immutables.Map[K, V]) -> Map[K, V]:
    made: Map[K, V] = object.__new__(Map)
    object.__setattr__(made, "_items", inner)
    return made
