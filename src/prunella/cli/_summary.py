"""The end of a run, for a reader who checks it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator

import attrs

from ..observer import duration, one_line
from ..supervision import ChildExited, ChildRestarted, Crashed, ExitReason
from ..telemetry import Event
from ._feed import Feed
from ._tally import Tally, Trouble

__all__ = ["Record", "Summary"]

_MOST_CHILDREN = 1_000
_MOST_ROWS = 20
_OTHERS = "(other children)"
_INDENT = "  "
_TERMS = ("handled", "crashed on", "refused")
_STORED = "stored for the next start"
_MORE_TERMS = ("known before", _STORED, "interrupted", "left waiting")


class Record:
    """What a tree reported, counted.

    Attributes:
        restarts: how often each child was restarted, by its name.
        exits: how often each child ended for which reason, by its name.
    """

    def __init__(self) -> None:
        self.restarts: Counter[str] = Counter()
        self.exits: dict[str, Counter[str]] = {}

    def hear(self, event: Event) -> None:
        """Takes note of an event."""
        if isinstance(event, ChildExited):
            child = event.child if event.child in self.exits or len(self.exits) < _MOST_CHILDREN else _OTHERS
            self.exits.setdefault(child, Counter())[_kind(event.reason)] += 1
        elif isinstance(event, ChildRestarted):
            child = event.child if event.child in self.exits else _OTHERS
            self.restarts[child] += 1


def _kind(reason: ExitReason | None) -> str:
    """A reason without what differs from one time to the next."""
    if isinstance(reason, Crashed):
        return reason.type.__qualname__
    return type(reason).__name__.lower()


@attrs.frozen
class Summary:
    """What came of a run.

    Attributes:
        title: what ran.
        seconds: for how long.
        ending: how it ended, in words.
        failure: why that was no good ending, if it was none.
        record: what the tree reported.
        tally: what became of the events that were delivered.
        feed: where the events came from, if any came.
    """

    title: str
    seconds: float
    ending: str
    failure: str | None
    record: Record
    tally: Tally
    feed: Feed | None = None

    def problems(self) -> list[str]:
        """Everything that is not as it must be; none if all is well."""
        return list(self._problems())

    def _problems(self) -> Iterator[str]:
        if self.failure is not None:
            yield self.failure
        feed = self.feed
        if feed is None:
            return
        if not feed.finished and feed.input.is_file:
            yield f"{feed.input.name} was not read to its end"
        for agent, account in self.tally.accounts.items():
            if account.left_waiting:
                yield f"{_events(account.left_waiting)} left waiting for {agent}"
            if account.unsettled and agent not in self.tally.durable:
                yield f"{_events(account.unsettled)} interrupted while {agent} handled it"
        terms = self._equation()
        if self._in != terms.total() or terms["interrupted"] + terms[_STORED] != self.tally.unsettled:
            yield f"the numbers do not add up: {self._in} came in"

    @property
    def _in(self) -> int:
        """How many events came; one that several agents heard counts for each of them."""
        assert self.feed is not None
        delivered = sum(account.delivered for account in self.tally.accounts.values())
        return delivered + self.feed.not_taken.total()

    def _equation(self) -> Counter[str]:
        assert self.feed is not None
        total = Counter(dict.fromkeys((*_TERMS, *_MORE_TERMS), 0))
        for agent, account in self.tally.accounts.items():
            total["handled"] += account.handled
            total["crashed on"] += account.crashed_on
            total["refused"] += account.refused
            total["known before"] += account.known
            total[_STORED if agent in self.tally.durable else "interrupted"] += account.unsettled
            total["left waiting"] += account.left_waiting
        total["refused"] += self.feed.not_taken.total()
        return total

    def text(self, width: int | None = None) -> str:
        """The summary.

        Args:
            width: so wide are its lines at most, in characters; None for no limit.
        """
        return "".join(f"{line}\n" for long in self._lines() for line in _fitted(long, width))

    def _lines(self) -> Iterator[str]:
        yield f"{self.title}: {self.ending} after {duration(self.seconds)}"
        yield from self._children()
        for agent, account in self.tally.accounts.items():
            yield from _troubles(f"{agent} refused", account.refusals, account.refused)
            yield from _troubles(f"{agent} crashed on", account.crashes, account.crashed_on)
        if self.feed is not None:
            yield from self._events(self.feed)
        for problem in self.problems():
            yield f"NOT WELL: {problem}"

    def _children(self) -> Iterator[str]:
        accounts = self.tally.accounts
        noteworthy = {agent: None for agent, account in accounts.items() if self.feed is None or account.delivered}
        noteworthy |= dict.fromkeys(child for child, exits in self.record.exits.items() if set(exits) != {"shutdown"})
        noteworthy |= dict.fromkeys(accounts)  # the others come last
        if not noteworthy:
            return
        shown = list(noteworthy)[:_MOST_ROWS]
        columns = ["in", "handled", "refused", "crashed on"] if self.feed else []
        table = [["child", *columns, "restarts"]]
        for child in shown:
            numbers: list[int | str] = ["" for _ in columns]
            if self.feed is not None and child in accounts:
                account = accounts[child]
                numbers = [account.delivered, account.handled, account.refused, account.crashed_on]
            table.append([child, *map(str, numbers), str(self.record.restarts[child])])
        yield ""
        yield from _aligned(table, numbers=True)
        if len(noteworthy) > len(shown):
            yield f"… and {len(noteworthy) - len(shown)} more children"
        yield ""
        for child in shown:
            exits = self.record.exits.get(child)
            yield f"exits of {child}: {_counted(exits) if exits else 'none'}"

    def _events(self, feed: Feed) -> Iterator[str]:
        yield ""
        if feed.not_taken:
            yield f"refused, as no agent takes them: {_counted(feed.not_taken)}"
        if feed.bad_lines:
            lines = "line was" if feed.bad_lines == 1 else "lines were"
            yield f"{feed.bad_lines} {lines} not read: no CloudEvents"
        if feed.events != self._in:
            yield f"{feed.events} events were read; one that several agents take counts for each of them"
        terms = self._equation()
        # Most of the others are nothing unless it was stopped early.
        right = " + ".join(f"{number} {term}" for term, number in terms.items() if number or term in _TERMS)
        yield f"{self._in} in = {right}"
        if not (terms["left waiting"] or terms["interrupted"]):
            yield "nothing queued was lost: 0 left waiting, 0 interrupted"


def _troubles(title: str, troubles: list[Trouble], number: int) -> Iterator[str]:
    if not troubles:
        return
    yield ""
    yield title
    rows = [[trouble.type, trouble.id, trouble.error] for trouble in troubles]
    for line in _aligned([[one_line(cell) for cell in row] for row in rows], numbers=False):
        yield _INDENT + line
    if number > len(troubles):
        yield f"{_INDENT}… and {number - len(troubles)} more"


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{number} × {one_line(what)}" for what, number in counts.most_common())


def _events(number: int) -> str:
    return "1 event was" if number == 1 else f"{number} events were"


def _fitted(line: str, width: int | None) -> list[str]:
    """A line in as many as it takes; of a row in a list only the beginning."""
    if width is None or len(line) <= width:
        return [line]
    if line.startswith(_INDENT):
        return [f"{line[: width - 1]}…"]
    return textwrap.wrap(line, max(width, 20), subsequent_indent=_INDENT)


def _aligned(table: list[list[str]], *, numbers: bool) -> Iterator[str]:
    """Columns of text; all but the first are numbers, or none is."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for first, *others in table:
        cells = [first.ljust(widths[0])]
        cells += [
            cell.rjust(width) if numbers else cell.ljust(width) for cell, width in zip(others, widths[1:], strict=True)
        ]
        yield "  ".join(cells).rstrip()
