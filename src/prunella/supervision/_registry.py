"""Names for children: entries that live exactly as long as whoever made them (Elixir's ``Registry``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any, Generic, TypeVar

import attrs
from trio.lowlevel import enable_ki_protection

from ._errors import AlreadyRegistered, InvalidSpec, NotRegistered
from ._info import ChildInfo, picture
from ._life import HostedLife, TaskLife, acting_life, reading_life
from ._policies import check_choice

__all__ = ["Entry", "Keys", "Registry", "RegistryEvent"]

_Default = TypeVar("_Default")
Key = TypeVar("Key")


class Keys(StrEnum):
    """How many may hold a key."""

    UNIQUE = "unique"
    DUPLICATE = "duplicate"


@attrs.frozen
class Entry:
    """Who holds a key, and the value that was put with it."""

    owner: ChildInfo
    value: Any


@attrs.frozen
class RegistryEvent:
    """What listeners hear: a key was registered or unregistered by hand. Ends of owners make none; monitor them.

    Attributes:
        kind: ``register`` or ``unregister``.
        key: the key.
        owner: whose entry it is, or was.
        value: the value of a new entry.
    """

    kind: str
    key: Any
    owner: ChildInfo
    value: Any = None


class Registry(Generic[Key]):
    """Finds children by key.

    A child registers itself, from inside, under any hashable keys; it is a plain object that you make where you like
    and hand to whoever needs it. When a child's life ends, its entries are gone *before* anybody is told of the end:
    whoever learns of it can take the name at once.

    Args:
        keys: ``unique`` (one owner for a key) or ``duplicate`` (any number, and one child the same key several
            times).
        listeners: plain functions of one `RegistryEvent`, called at once.
        meta: what `meta` answers at first.

    Raises:
        InvalidSpec: another `keys`, or a listener that cannot be called.
    """

    __slots__ = ("_count", "_entries", "_held", "_keys", "_listeners", "_meta")

    def __init__(
        self,
        keys: Keys | str = Keys.UNIQUE,
        *,
        listeners: Iterable[Callable[[RegistryEvent], object]] = (),
        meta: Iterable[tuple[Any, Any]] | dict[Any, Any] = (),
    ) -> None:
        self._keys: Keys = check_choice("Registry", "keys", keys, Keys)
        self._listeners = tuple(listeners)
        for listener in self._listeners:
            if not callable(listener):
                raise InvalidSpec("Registry", "listeners", "functions of one event", listener)
        self._meta = dict(meta)
        self._entries: dict[tuple[type, Any], list[tuple[TaskLife, Any]]] = {}
        self._held: dict[TaskLife, list[tuple[tuple[type, Any], Key]]] = {}
        self._count = 0

    def __repr__(self) -> str:
        return f"<Registry of {self._keys} keys, {self._count} entries>"

    # For the child in whose context they are called.

    @enable_ki_protection
    def register(self, key: Key, value: Any = None) -> None:
        """Registers the child that calls it; tasks that it spawned count as itself.

        Args:
            key: any hashable value.
            value: what is to be found with it.

        Raises:
            AlreadyRegistered: the keys are unique, and somebody has it, be it the caller.
            NotInAChild: the caller runs in no child.
            StaleLife: the child's life was declared unresponsive.
        """
        life = acting_life("Registry.register()")
        strict = _strict(key)
        entries = self._entries.get(strict)
        if entries is None:
            entries = self._entries[strict] = []
        elif self._keys is Keys.UNIQUE:
            raise AlreadyRegistered(key, _owner(entries[0][0]))
        entries.append((life, value))
        self._held.setdefault(life, []).append((strict, key))
        if life.registrations is None:
            life.registrations = {}
        life.registrations[self] = None
        self._count += 1
        self._tell("register", key, life, value)

    @enable_ki_protection
    def unregister(self, key: Key) -> None:
        """Removes all entries of the calling child under a key. Harmless if there are none.

        Raises:
            NotInAChild: the caller runs in no child.
            StaleLife: the child's life was declared unresponsive.
        """
        life = acting_life("Registry.unregister()")
        strict = _strict(key)
        held = self._held.get(life, [])
        if any(other == strict for other, _ in held):
            self._drop(strict, life)
            remaining = [entry for entry in held if entry[0] != strict]
            if remaining:
                self._held[life] = remaining
            else:
                del self._held[life]
                if life.registrations is not None:
                    life.registrations.pop(self, None)
            self._tell("unregister", key, life, None)

    def update_value(self, key: Key, function: Callable[[Any], Any]) -> tuple[Any, Any]:
        """Puts ``function(value)`` in the place of the value under a unique key of the calling child.

        Returns:
            The new value and the old one.

        Raises:
            InvalidSpec: the keys are not unique.
            NotRegistered: the caller does not hold the key.
            NotInAChild: the caller runs in no child.
            StaleLife: the child's life was declared unresponsive.
        """
        life = acting_life("Registry.update_value()")
        if self._keys is not Keys.UNIQUE:
            raise InvalidSpec("Registry.update_value()", "keys", "'unique'", str(self._keys))
        entries = self._entries.get(_strict(key))
        if entries is None or entries[0][0] is not life:
            raise NotRegistered(key)
        old = entries[0][1]
        new = function(old)
        entries[0] = (life, new)
        return new, old

    # For anybody.

    def lookup(self, key: Key) -> tuple[Entry, ...]:
        """The entries under a key, in the order in which they were made; empty if there are none."""
        return tuple(Entry(_owner(life), value) for life, value in self._entries.get(_strict(key), ()))

    def whereis(self, key: Key) -> ChildInfo | None:
        """Who holds a key: the first, where several may; None if nobody does."""
        entries = self._entries.get(_strict(key))
        return _owner(entries[0][0]) if entries else None

    def keys(self, owner: ChildInfo | None = None) -> tuple[Key, ...]:
        """The keys of a child, in the order in which it registered them.

        Args:
            owner: the child; the calling one, if left out.

        Raises:
            NotInAChild: no owner was given, and the caller runs in no child.
        """
        life = reading_life("Registry.keys()") if owner is None else owner._life
        held = self._held.get(life, ())  # type: ignore[call-overload]  # what holds nothing is not in there
        return tuple(key for _, key in held)

    def values(self, key: Key, owner: ChildInfo | None = None) -> tuple[Any, ...]:
        """The values under a key that belong to one child.

        Args:
            key: the key.
            owner: the child; the calling one, if left out.

        Raises:
            NotInAChild: no owner was given, and the caller runs in no child.
        """
        life = reading_life("Registry.values()") if owner is None else owner._life
        return tuple(value for holder, value in self._entries.get(_strict(key), ()) if holder is life)

    def count(self) -> int:
        """How many entries there are."""
        return self._count

    def dispatch(self, key: Key, function: Callable[[tuple[Entry, ...]], object]) -> None:
        """Calls ``function(entries)`` with all entries under a key, here and now; not at all if there are none.

        What it raises reaches the caller.
        """
        entries = self.lookup(key)
        if entries:
            function(entries)

    # Data of the registry itself, bound to no child.

    def meta(self, key: Any, default: _Default | None = None) -> Any | _Default | None:
        """What was put under a key with `put_meta`; `default` if nothing was."""
        return self._meta.get(key, default)

    def put_meta(self, key: Any, value: Any) -> None:
        """Keeps a value that belongs to the registry itself."""
        self._meta[key] = value

    def delete_meta(self, key: Any) -> None:
        """Drops it. Harmless if there is none."""
        self._meta.pop(key, None)

    # Details.

    def _release(self, life: TaskLife) -> None:
        """The life has ended: its entries go, before anybody is told."""
        for strict in dict.fromkeys(strict for strict, _ in self._held.pop(life, ())):
            self._drop(strict, life)

    def _drop(self, key: tuple[type, Key], life: TaskLife) -> None:
        entries = self._entries[key]
        kept = [entry for entry in entries if entry[0] is not life]
        self._count -= len(entries) - len(kept)
        if kept:
            self._entries[key] = kept
        else:
            del self._entries[key]

    def _tell(self, kind: str, key: Key, life: TaskLife, value: Any) -> None:
        for listener in self._listeners:
            listener(RegistryEvent(kind, key, _owner(life), value))


def _strict(key: Any) -> tuple[type, Any]:
    """Keys of different types are different keys: 1 is not 1.0, nor True; also inside of tuples."""
    kind = type(key)
    return kind, tuple(map(_strict, key)) if kind is tuple else key


def _owner(life: HostedLife) -> ChildInfo:
    return attrs.evolve(picture(life.slot), life=life.number, started=life.value, current=life)
