"""The view for a terminal: the tree, drawn again and again."""

from __future__ import annotations

import sys
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING

from ._picture import Picture, Row, duration, rows
from ._words import Happening

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

__all__ = ["Live"]

_MOST_HAPPENINGS = 6
_COLOURS = {
    "running": "green",
    "starting": "yellow",
    "restarting": "yellow",
    "stopping": "yellow",
    "stopped": "dim",
    "suspended": "yellow",
    "unresponsive": "bold red",
}


class Live:
    """A live picture in the terminal, and what happened last below it. Use it as a context manager.

    Args:
        console: where to draw; the standard output if there is none.

    Raises:
        ModuleNotFoundError: rich is not installed; the message says how to get it.
    """

    seconds_between_pictures = 0.1

    def __init__(self, console: Console | None = None) -> None:
        try:
            from rich.console import Console
            from rich.live import Live as RichLive
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("rich"):
                raise
            raise ModuleNotFoundError(
                "the live view needs rich, which is not installed: pip install 'prunella[terminal]'", name=error.name
            ) from None
        self._happenings: deque[Happening] = deque(maxlen=_MOST_HAPPENINGS)
        # What children print goes above the picture; what goes elsewhere by redirection stays there.
        self._live = RichLive(
            console=console or Console(),
            auto_refresh=False,
            transient=True,
            redirect_stderr=sys.stderr is not None and sys.stderr.isatty(),
        )

    def __enter__(self) -> Live:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, happening: Happening) -> None:
        """Something happened."""
        self._happenings.append(happening)

    def show(self, picture: Picture) -> None:
        """Draws the picture."""
        self._live.update(_Drawing(picture, tuple(self._happenings)), refresh=True)


class _Drawing:
    """One picture, laid out for whatever size the terminal has when it is drawn."""

    def __init__(self, picture: Picture, happenings: tuple[Happening, ...]) -> None:
        self._picture = picture
        self._happenings = happenings

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        height = options.height or console.size.height
        most = min(_MOST_HAPPENINGS, (height - 4) // 3)  # the tree comes first
        happenings = self._happenings[-most:] if most > 0 else ()
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append(self._picture.title, style="bold")
        head.append(f"  {duration(self._picture.seconds)}  {self._picture.status}")
        yield head
        yield _table(self._picture, options.max_width, max(1, height - 4 - len(happenings)))
        if happenings:
            yield Text("")
        for happening in happenings:
            style = "red" if happening.alarming else "dim"
            yield Text(happening.text, no_wrap=True, overflow="ellipsis", style=style)


def _table(picture: Picture, width: int, height: int) -> Table:
    from rich.table import Table
    from rich.text import Text

    # What matters least goes first when there is no room.
    columns = ["child"]
    columns += ["state"] if width >= 24 else []
    columns += ["restarts"] if width >= 36 else []
    columns += ["uptime"] if width >= 56 else []
    if picture.agents:
        columns += ["mailbox"] if width >= 64 else []
        columns += ["effects"] if width >= 72 else []
        columns += ["handled"] if width >= 46 else []
    shown = list(islice(rows(picture), height))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("child", no_wrap=True, overflow="ellipsis")  # the one that gives way
    for name in columns[1:]:
        needed = max(len(name), *(_cell(row, name).cell_len for row in shown), 0)
        table.add_column(name, justify="left" if name == "state" else "right", no_wrap=True, min_width=needed)
    for row in shown:
        table.add_row(*(_cell(row, name) for name in columns))
    if len(shown) == height and (more := sum(1 for _ in rows(picture)) - height):
        table.add_row(Text(f"… and {more} more", style="dim"), *("" for _ in columns[1:]))
    return table


def _cell(row: Row, column: str) -> Text:
    from rich.text import Text

    agent = row.agent
    match column:
        case "child":
            return Text(row.branch + row.id)
        case "state":
            return Text(row.state, style=_COLOURS.get(row.state, ""))
        case "restarts":
            return Text(str(row.restarts), style="yellow" if row.restarts else "")
        case "uptime":
            return Text("" if row.uptime is None else duration(row.uptime))
        case _:
            return Text("" if agent is None else str(getattr(agent, column)))
