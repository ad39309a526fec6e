"""Directives that came with the result of an action: the `Run` is not done before they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from ..actions import InvalidOutput
from ..agents import Cron, Directive, Schedule, Stop
from ..supervision import Normal, Shutdown
from ._delivery import Delivery, Settling

if TYPE_CHECKING:
    from ._effect import Effect
    from ._life import AgentLife

__all__ = ["begin_results", "check_results"]


@final
class _Part(int):
    """The place of such a directive in the turn. It is that of the `Run`, which with its parts is done or begun again
    as one; written, it has a number behind it, so that each has an id of its own."""

    number: int

    def __new__(cls, index: int, number: int) -> _Part:
        part = super().__new__(cls, index)
        part.number = number
        return part

    def __str__(self) -> str:
        return f"{int(self)}.{self.number}"


def check_results(effect: Effect, directives: tuple[object, ...]) -> None:
    """Refuses what cannot be done, before anything is.

    Raises:
        InvalidOutput: something is no directive, or none that this runtime and this agent can execute there.
    """
    from ._directives import knows_directive

    server = effect.server
    for number, directive in enumerate(directives):
        if not isinstance(directive, Directive) or not knows_directive(server.runtime, directive):
            expected = "directives that the runtime executes"
        elif isinstance(directive, Stop) and number + 1 < len(directives):
            expected = "nothing behind a Stop"
        elif isinstance(directive, Schedule | Cron) and server.is_durable:
            expected = "no schedules: a durable agent stores them with its turns, so a handler returns them"
        else:
            continue
        raise InvalidOutput(f"directives[{number}]", expected, type(directive).__name__)


def begin_results(
    effect: Effect, life: AgentLife, settling: Settling | None, directives: tuple[Directive, ...]
) -> None:
    """Begins them, as a part of the turn that asked for the `Run`."""
    from ._directives import begin_directive

    delivery = Delivery(effect.signal, ask=effect.ask)
    delivery.sequence, index = effect.place
    life.hands_over()
    for number, directive in enumerate(directives):
        if isinstance(directive, Stop):
            life.end_by_itself(Normal() if directive.reason is None else Shutdown(directive.reason))
        else:
            begin_directive(effect.server, life, directive, delivery, settling, _Part(index, number))
    life.has_handed_over()
