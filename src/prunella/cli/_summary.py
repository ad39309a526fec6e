"""The end of a run, for a reader who checks it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

import attrs

from ..observer import duration, one_line
from ..supervision import ChildExited, ChildRestarted, Crashed, ExitReason
from ..telemetry import Event
from ._feed import Feed
from ._mailbox import Mailbox

__all__ = ["Record", "Summary"]

_MOST_CHILDREN = 1_000
_MOST_ROWS = 20
_OTHERS = "(other children)"
_INDENT = "  "


class Record:
    """What a tree reported, counted.

    Attributes:
        restarts: how often each child was restarted, by path.
        exits: how often each child ended for which reason, by path.
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
        mailboxes: those of the tree.
        feed: where the events came from, if any came.
    """

    title: str
    seconds: float
    ending: str
    failure: str | None
    record: Record
    mailboxes: Sequence[Mailbox] = ()
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
        for mailbox in self.mailboxes:
            accepted = feed.accepted[mailbox.child]
            if mailbox.waiting:
                yield f"{_events(mailbox.waiting)} left waiting for {mailbox.child}"
            if mailbox.interrupted:
                yield f"{_events(mailbox.interrupted)} interrupted while {mailbox.child} handled it"
            if accepted != sum(_places(mailbox).values()):
                yield f"the numbers of {mailbox.child} do not add up: {accepted} came in"
        if feed.events != sum(self._equation().values()):
            yield f"the numbers do not add up: {feed.events} came in"

    def _equation(self) -> Counter[str]:
        total = Counter(dict.fromkeys(("handled", "crashed on", "refused"), 0))
        for mailbox in self.mailboxes:
            total.update(_places(mailbox))
        if self.feed is not None:
            total["refused"] += self.feed.refused.total()
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
        for mailbox in self.mailboxes:
            yield from _losses(mailbox)
        if self.feed is not None:
            yield from self._events(self.feed)
        for problem in self.problems():
            yield f"NOT WELL: {problem}"

    def _children(self) -> Iterator[str]:
        noteworthy = {mailbox.child: None for mailbox in self.mailboxes}
        noteworthy |= dict.fromkeys(path for path, exits in self.record.exits.items() if set(exits) != {"shutdown"})
        if not noteworthy:
            return
        mailbox_of = {mailbox.child: mailbox for mailbox in self.mailboxes}
        shown = list(noteworthy)[:_MOST_ROWS]
        table = [["child", *(["in", "handled", "crashed on"] if self.feed else []), "restarts"]]
        for path in shown:
            numbers: list[int | str] = []
            if self.feed is not None:
                mailbox = mailbox_of.get(path)
                numbers = ["", "", ""]
                if mailbox is not None:
                    numbers = [self.feed.accepted[path], mailbox.handled, mailbox.crashed_on]
            table.append([path, *map(str, numbers), str(self.record.restarts[path])])
        yield ""
        yield from _aligned(table, numbers=True)
        if len(noteworthy) > len(shown):
            yield f"… and {len(noteworthy) - len(shown)} more children"
        yield ""
        for path in shown:
            exits = self.record.exits.get(path)
            yield f"exits of {path}: {_counted(exits) if exits else 'none'}"

    def _events(self, feed: Feed) -> Iterator[str]:
        yield ""
        if feed.refused:
            yield f"refused, as no mailbox takes them: {_counted(feed.refused)}"
        if feed.bad_lines:
            lines = "line was" if feed.bad_lines == 1 else "lines were"
            yield f"{feed.bad_lines} {lines} not read: no CloudEvents"
        terms = self._equation()
        # The last two are nothing unless it was stopped early.
        right = " + ".join(
            f"{number} {term}"
            for term, number in terms.items()
            if number or term not in ("interrupted", "left waiting")
        )
        yield f"{feed.events} in = {right}"
        if not any(mailbox.waiting or mailbox.interrupted for mailbox in self.mailboxes):
            yield "nothing queued was lost: 0 left waiting, 0 interrupted"


def _places(mailbox: Mailbox) -> dict[str, int]:
    """Where the events of a mailbox are now."""
    return {
        "handled": mailbox.handled,
        "crashed on": mailbox.crashed_on,
        "interrupted": mailbox.interrupted,
        "left waiting": mailbox.waiting,
    }


def _losses(mailbox: Mailbox) -> Iterator[str]:
    if not mailbox.losses:
        return
    yield ""
    yield f"{mailbox.child} crashed on"
    rows = [[loss.event.type, loss.event.id, loss.error] for loss in mailbox.losses]
    for line in _aligned([[one_line(cell) for cell in row] for row in rows], numbers=False):
        yield _INDENT + line
    if mailbox.crashed_on > len(mailbox.losses):
        yield f"{_INDENT}… and {mailbox.crashed_on - len(mailbox.losses)} more"


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
