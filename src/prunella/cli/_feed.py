"""Events from the input to the mailboxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import trio

from ..signals import InvalidSignal, matches
from ._events import NotAnEventError, read_event
from ._input import Input, InputError
from ._mailbox import Mailbox

__all__ = ["Feed"]

_MOST_COMPLAINTS = 20
_MOST_TYPES = 20
_SHORTEST_PAUSE = 0.02


class Feed:
    """Puts every event of the input into the first mailbox that takes its type, and keeps count.

    Args:
        input: where events come from.
        mailboxes: where they go.
        rate: at most so many events in a second; None for as many as the children handle.
        complain: takes a line about each of the first bad lines.

    Attributes:
        events: how many events came.
        accepted: how many of them each mailbox accepted, by its child.
        refused: how many no mailbox took, by type; the types beyond the first few are counted as "other types".
        bad_lines: how many lines were no events.
        finished: whether the input was read to its end.
        error: why it could not be, if it could not.
    """

    def __init__(
        self, input: Input, mailboxes: Sequence[Mailbox], rate: float | None, complain: Callable[[str], object]
    ) -> None:
        self.input = input
        self.rate = rate
        self.events = 0
        self.accepted = {mailbox.child: 0 for mailbox in mailboxes}
        self.refused: Counter[str] = Counter()
        self.bad_lines = 0
        self.finished = False
        self.error: str | None = None
        self._mailboxes = mailboxes
        self._complain = complain
        self._mailbox_of = lru_cache(maxsize=1_000)(self._find_mailbox)

    async def run(self) -> None:
        """Reads to the end. A full mailbox makes it wait."""
        began = trio.current_time()
        try:
            async for number, line in self.input.lines():
                await self._take(number, line)
                if self.rate is not None:
                    due = began + self.events / self.rate
                    if due - trio.current_time() > _SHORTEST_PAUSE:
                        await trio.sleep_until(due)
            self.finished = True
        except InputError as error:
            self.error = str(error)
            self._complain(self.error)
        finally:
            if self.bad_lines > _MOST_COMPLAINTS:
                more = self.bad_lines - _MOST_COMPLAINTS
                self._complain(f"{self.input.name}: … and {more} more lines like these")

    async def _take(self, number: int, line: bytes | None) -> None:
        try:
            if line is None:
                raise NotAnEventError("too long")
            event = read_event(line)
        except NotAnEventError as error:
            self.bad_lines += 1
            if self.bad_lines <= _MOST_COMPLAINTS:
                self._complain(f"{self.input.name}:{number}: {error}")
            await trio.lowlevel.checkpoint()
            return
        mailbox = self._mailbox_of(event.type)
        if mailbox is not None and await mailbox.put(event):
            self.accepted[mailbox.child] += 1
        else:
            await trio.lowlevel.checkpoint()
            known = event.type in self.refused or len(self.refused) < _MOST_TYPES
            self.refused[event.type if known else "other types"] += 1
        self.events += 1

    def _find_mailbox(self, type: str) -> Mailbox | None:
        try:
            return next(
                (mailbox for mailbox in self._mailboxes if any(matches(pattern, type) for pattern in mailbox.patterns)),
                None,
            )
        except InvalidSignal:  # a type that no signal can have, so nobody takes it
            return None
