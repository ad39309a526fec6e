from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from inspect import iscoroutinefunction
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, final

import attrs

from ..errors import InvalidArgument, check_iterable
from ._attributes import checked_text
from ._matcher import Matcher
from ._pattern import ANY, REST, parsed
from ._signal import Signal

__all__ = ["OnError", "Predicate", "Route", "Router", "matches"]

T = TypeVar("T")
U = TypeVar("U")

Predicate: TypeAlias = Callable[[Signal], object]
OnError: TypeAlias = "Callable[[Route[Any], Signal, Exception], object]"

logger = logging.getLogger("prunella.signals")

_HIGHEST_PRIORITY: Final = 100

# Types come from outside: their number and their length have a bound here.
_MOST_REMEMBERED: Final = 1024
_LONGEST_REMEMBERED: Final = 256


@final
@attrs.frozen
class Route(Generic[T]):
    """Where signals of some types go.

    Args:
        pattern: segments separated by dots. `*` is exactly one segment, `**` zero or more, at any place;
            the whole type must match.
        target: any value; a router returns it and never looks at it.
        priority: -100 to 100; routes with a higher one come first.
        when: a plain function of the signal; the route counts only for signals for which it is true. It sees
            every signal that the pattern matches, so it should be quick, and should change nothing.

    Raises:
        InvalidPattern: the pattern breaks the grammar.
        InvalidArgument: the priority is no int from -100 to 100, or `when` is no plain function.
    """

    pattern: str
    target: T
    priority: int = attrs.field(default=0, kw_only=True)
    when: Predicate | None = attrs.field(default=None, kw_only=True)
    _segments: tuple[str, ...] = attrs.field(init=False, eq=False, repr=False)
    _rank: tuple[Any, ...] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        segments = parsed(self.pattern)
        priority, when = self.priority, self.when
        if not isinstance(priority, int) or isinstance(priority, bool) or abs(priority) > _HIGHEST_PRIORITY:
            raise InvalidArgument(f"Route {self.pattern!r}", "priority", "an int from -100 to 100", priority)
        if when is not None and (not callable(when) or iscoroutinefunction(when)):
            raise InvalidArgument(f"Route {self.pattern!r}", "when", "a plain function of the signal", when)
        object.__setattr__(self, "_segments", segments)
        object.__setattr__(self, "_rank", (-priority, *_specificity(segments)))


def _specificity(segments: tuple[str, ...]) -> tuple[Any, ...]:
    """Sorts before that of every pattern that is less specific, for a type that both match.

    More literal segments come first; among equals the one whose literals stand further left; then fewer `**`;
    then more segments.
    """
    literals = tuple([at for at, segment in enumerate(segments) if segment not in (ANY, REST)])
    return -len(literals), literals, segments.count(REST), -len(segments)


class _Entry(NamedTuple):
    """A route in a router; entries sort in the order in which their targets are returned."""

    rank: tuple[Any, ...]
    number: int  # of its registration; no two are the same, so that nothing behind it is ever compared
    route: Route[Any]
    target: Any
    when: Predicate | None


class _Conditional:
    """Routes of which at least one has a predicate."""

    __slots__ = ("routes",)

    def __init__(self, routes: tuple[Route[Any], ...]) -> None:
        self.routes = routes


@final
class Router(Generic[T]):
    """Finds the targets of a signal. An immutable value: what changes it gives a new router.

    Targets come in the order of their routes: by priority, the higher first; then by specificity, the more
    specific first; then by registration. Finding them costs what matches, not what is registered.

    Args:
        routes: the routes, in the order of registration. The same route twice gives its target twice.
        on_error: called with route, signal and exception when a predicate raises; that route counts as one
            that does not match. Without it the first such exception of each route is logged.

    Raises:
        InvalidArgument: what came are no routes, or `on_error` is not callable.
    """

    __slots__ = ("_complained", "_entries", "_found", "_matcher", "_on_error")

    def __init__(self, routes: Iterable[Route[T]] = (), *, on_error: OnError | None = None) -> None:
        if on_error is not None and not callable(on_error):
            raise InvalidArgument("Router", "on_error", "a function of route, signal and error", on_error)
        entries = _numbered(check_iterable("Router", "routes", routes, "routes"), 0)
        self._fill(entries, Matcher().changed(_additions(entries)), on_error)

    def _fill(self, entries: tuple[_Entry, ...], matcher: Matcher, on_error: OnError | None) -> None:
        self._entries = entries
        self._matcher = matcher
        self._on_error = on_error
        self._found: dict[str, tuple[T, ...] | _Conditional] = {}
        self._complained: set[int] = set()  # ids of routes, which live as long as this router

    @property
    def routes(self) -> tuple[Route[T], ...]:
        """All routes, in the order of registration."""
        return tuple([entry.route for entry in self._entries])

    def route(self, signal: Signal) -> tuple[T, ...]:
        """The targets of a signal, in order; `()` when no route matches.

        Raises:
            InvalidArgument: what came is no signal.
        """
        try:
            found = self._found[signal.type]
        except KeyError:
            found = self._look_up(signal.type)
        except AttributeError:
            raise InvalidArgument("Router.route", "signal", "a Signal", signal) from None
        if found.__class__ is tuple:
            return found
        routes: Iterable[Route[Any]] = found.routes  # type: ignore[union-attr]  # what is no tuple
        return tuple([route.target for route in routes if self._holds(route, signal)])

    def add(self, *routes: Route[U]) -> Router[T | U]:
        """A router with further routes, registered after those that are there.

        Raises:
            InvalidArgument: one of them is no route.
        """
        added = _numbered(routes, self._entries[-1].number + 1 if self._entries else 0)
        return _router((*self._entries, *added), self._matcher.changed(_additions(added)), self._on_error)

    def remove(self, *routes: Route[T]) -> Router[T]:
        """A router without these routes; every route that is equal to one of them is gone, others stay.

        A route that is not there is no error: afterwards it is not there.

        Raises:
            InvalidArgument: one of them is no route.
        """
        gone: set[int] = set()
        changes = []
        for route in routes:
            _check_route(route)

            def without(entries: tuple[Any, ...], route: Route[T] = route) -> tuple[Any, ...]:
                gone.update(entry.number for entry in entries if entry.route == route)
                return tuple([entry for entry in entries if entry.number not in gone])

            changes.append((route._segments, without))
        matcher = self._matcher.changed(changes)
        return _router(tuple([e for e in self._entries if e.number not in gone]), matcher, self._on_error)

    def merge(self, other: Router[U]) -> Router[T | U]:
        """A router with the routes of both, those of `other` registered later; `on_error` is this one's.

        Raises:
            InvalidArgument: what came is no router.
        """
        if not isinstance(other, Router):
            raise InvalidArgument("Router.merge", "other", "a Router", other)
        return self.add(*other.routes)

    def _look_up(self, type: str) -> tuple[T, ...] | _Conditional:
        entries = self._matcher.entries(type)
        if len(entries) > 1:
            entries.sort()
        targets = []
        found: tuple[T, ...] | _Conditional
        for _, _, _, target, when in entries:
            if when is not None:
                found = _Conditional(tuple([entry.route for entry in entries]))
                break
            targets.append(target)
        else:
            found = tuple(targets)
        if len(type) <= _LONGEST_REMEMBERED:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[type] = found
        return found

    def _holds(self, route: Route[T], signal: Signal) -> bool:
        if route.when is None:
            return True
        try:
            return bool(route.when(signal))
        except Exception as error:
            self._report(route, signal, error)
            return False

    def _report(self, route: Route[T], signal: Signal, error: Exception) -> None:
        """Says that a predicate raised; whatever comes of it, the other targets are not affected."""
        if self._on_error is not None:
            try:
                self._on_error(route, signal, error)
            except Exception:
                logger.exception("on_error of a router raised for route %r", route.pattern)
        elif id(route) not in self._complained:
            self._complained.add(id(route))
            logger.warning(
                "the predicate of route %r raised %s; it counts as no match",
                route.pattern,
                type(error).__name__,
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Router):
            return NotImplemented
        return self.routes == other.routes

    def __hash__(self) -> int:
        return hash(self.routes)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        count = len(self._entries)
        return f"<Router with {count} {'route' if count == 1 else 'routes'}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.routes, self._on_error)


def _numbered(routes: Iterable[Route[Any]], first: int) -> tuple[_Entry, ...]:
    entries = []
    for number, route in enumerate(routes, first):
        _check_route(route)
        entries.append(_Entry(route._rank, number, route, route.target, route.when))
    return tuple(entries)


def _check_route(route: object) -> None:
    if not isinstance(route, Route):
        raise InvalidArgument("Router", "routes", "of type Route", route)


def _additions(entries: tuple[_Entry, ...]) -> Iterable[tuple[tuple[str, ...], Any]]:
    for entry in entries:
        yield entry.route._segments, lambda there, entry=entry: (*there, entry)


def _router(entries: tuple[_Entry, ...], matcher: Matcher, on_error: OnError | None) -> Router[Any]:
    router: Router[Any] = object.__new__(Router)
    router._fill(entries, matcher, on_error)
    return router


def _unpickled(routes: tuple[Route[Any], ...], on_error: OnError | None) -> Router[Any]:
    return Router(routes, on_error=on_error)


def matches(pattern: str, type: str) -> bool:
    """Whether a type matches a pattern; by the same matcher as every router.

    Args:
        pattern: as of `Route`.
        type: the type of a signal.

    Raises:
        InvalidPattern: the pattern breaks the grammar.
        InvalidSignal: `type` is none that a signal can have.
    """
    segments = parsed(pattern)
    type = checked_text("matches", "type", type)
    matcher = Matcher().changed([(segments, lambda there: (*there, True))])
    return bool(matcher.entries(type))
