from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Literal, final

import attrs

from ..errors import InvalidArgument, check_iterable
from ._action import Action
from ._search import score
from ._tool_schema import ToolFormat, tool_schema

__all__ = ["Catalog", "Entry", "Hit", "Risk", "Visibility"]


class Visibility(StrEnum):
    """Who finds an entry, and may call it as a tool."""

    PUBLIC = "public"
    """Everybody."""
    INTERNAL = "internal"
    """Nobody but the program itself, which runs the action directly; it is in `entries`."""
    HIDDEN = "hidden"
    """Nobody: it is kept for later, or for reference."""


class Risk(StrEnum):
    """How much harm a call can do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def _scopes(value: Any) -> Any:
    return value if isinstance(value, str) else check_iterable("Entry", "scopes", value, "texts")


@final
@attrs.frozen
class Entry:
    """An action in a catalog, with what a policy must know of it.

    Args:
        action: the action.
        visibility: `public`, `internal` or `hidden`.
        risk: `low`, `medium` or `high`.
        requires_confirmation: whether each call needs the consent of somebody.
        scopes: what the caller must be allowed to.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    action: Action[..., Any]
    visibility: Visibility | Literal["public", "internal", "hidden"] = attrs.field(
        default=Visibility.PUBLIC, kw_only=True
    )
    risk: Risk | Literal["low", "medium", "high"] = attrs.field(default=Risk.LOW, kw_only=True)
    requires_confirmation: bool = attrs.field(default=False, kw_only=True)
    scopes: tuple[str, ...] = attrs.field(default=(), converter=_scopes, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.action, Action):
            raise InvalidArgument("Entry", "action", "an action", self.action)
        owner = f"Entry {self.action.name!r}"
        object.__setattr__(self, "visibility", _choice(owner, "visibility", self.visibility, Visibility))
        object.__setattr__(self, "risk", _choice(owner, "risk", self.risk, Risk))
        if not isinstance(self.requires_confirmation, bool):
            raise InvalidArgument(owner, "requires_confirmation", "True or False", self.requires_confirmation)
        check_scopes(owner, self.scopes)

    @property
    def name(self) -> str:
        """The name of the action."""
        return self.action.name


def check_scopes(owner: str, scopes: Any) -> None:
    """Refuses scopes that are no texts."""
    if not isinstance(scopes, tuple) or not all(isinstance(scope, str) and scope for scope in scopes):
        raise InvalidArgument(owner, "scopes", "texts that are not empty", scopes)


def _choice(owner: str, field: str, value: Any, kind: type[StrEnum]) -> Any:
    try:
        return kind(value)
    except ValueError:
        expected = "one of " + ", ".join(repr(str(member)) for member in kind)
        raise InvalidArgument(owner, field, expected, value) from None


@final
@attrs.frozen
class Hit:
    """An entry that a search found.

    Attributes:
        entry: the entry.
        score: how well it fits; only good for comparing hits of one search.
    """

    entry: Entry
    score: float


@final
class Catalog:
    """Actions by name, with what a policy must know of each. It never changes.

    Args:
        entries: entries, or actions, which are public and of low risk then.

    Raises:
        InvalidArgument: something is neither, or a name is there twice.
    """

    __slots__ = ("_by_name", "entries")

    def __init__(self, entries: Iterable[Entry | Action[..., Any]] = ()) -> None:
        by_name: dict[str, Entry] = {}
        for given in check_iterable("Catalog", "entries", entries, "entries or actions"):
            if not isinstance(given, Entry | Action):
                raise InvalidArgument("Catalog", "entries", "entries or actions", given)
            entry = given if isinstance(given, Entry) else Entry(given)
            known = by_name.setdefault(entry.name, entry)
            if known is not entry:
                raise InvalidArgument("Catalog", "entries", "one of each name", entry.name)
        self.entries: Final = tuple(sorted(by_name.values(), key=lambda entry: entry.name))
        self._by_name = MappingProxyType(by_name)

    def get(self, name: str) -> Entry | None:
        """The entry of that name, if there is one."""
        return self._by_name.get(name)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __eq__(self, other: object) -> bool:
        return self.entries == other.entries if isinstance(other, Catalog) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.entries)

    def merge(self, other: Catalog) -> Catalog:
        """A catalog with the entries of both.

        Raises:
            InvalidArgument: both have an entry of one name, and they are not equal; or the other is no catalog.
        """
        if not isinstance(other, Catalog):
            raise InvalidArgument("Catalog.merge", "other", "a Catalog", other)
        for entry in other:
            mine = self.get(entry.name)
            if mine is not None and mine != entry:
                raise InvalidArgument("Catalog.merge", "other", "without other entries of our names", entry.name)
        return Catalog([*self.entries, *(entry for entry in other if entry.name not in self)])

    def without(self, *names: str) -> Catalog:
        """A catalog without the entries of these names; there need not be any.

        Raises:
            InvalidArgument: one is no text.
        """
        for name in names:
            if not isinstance(name, str):
                raise InvalidArgument("Catalog.without", "names", "names of actions", name)
        return Catalog(entry for entry in self if entry.name not in names)

    def search(self, text: str, *, limit: int = 10) -> tuple[Hit, ...]:
        """The public entries that fit a text, the best first, those that fit equally by name.

        It is compared word by word with names, tags, categories, descriptions and the names of parameters: `file` does
        not find `profile`. Without any word all entries fit alike.

        Args:
            text: what is looked for.
            limit: how many hits there may be.

        Raises:
            InvalidArgument: limit is no whole number of at least 1, or text no text.
        """
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise InvalidArgument("Catalog.search", "limit", "a whole number of at least 1", limit)
        if not isinstance(text, str):
            raise InvalidArgument("Catalog.search", "text", "a text", text)
        hits = [Hit(entry, score(text, entry.action)) for entry in self if entry.visibility == Visibility.PUBLIC]
        found = [hit for hit in hits if hit.score > 0]
        return tuple(sorted(found, key=lambda hit: (-hit.score, hit.entry.name))[:limit])

    def tools(self, *, format: ToolFormat = "mcp", strict: bool = False) -> list[dict[str, Any]]:
        """The tool definitions of the public entries, by name; see `tool_schema`."""
        public = [entry for entry in self if entry.visibility == Visibility.PUBLIC]
        return [tool_schema(entry.action, format=format, strict=strict) for entry in public]
