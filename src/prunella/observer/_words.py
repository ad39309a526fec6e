"""One line for each thing that happens in a tree or to an agent."""

from __future__ import annotations

import os

import attrs

from ..runtime import AgentFenced, AgentQuarantined, EffectException, TurnEvent
from ..supervision import (
    ChildExited,
    ChildRestarted,
    ChildStarted,
    ChildStartFailed,
    Crashed,
    ExitReason,
    GaveUp,
    ShutdownError,
    StillStopping,
    Unresponsive,
)
from ..telemetry import ErrorInfo, Event

__all__ = ["Happening", "describe", "one_line"]

_LONGEST = 300


@attrs.frozen
class Happening:
    """Something that happened, for people.

    Attributes:
        text: one line.
        alarming: whether it should not have happened.
    """

    text: str
    alarming: bool


def describe(event: Event) -> Happening | None:
    """What an event says; None if it needs no attention."""
    text = _text(event)
    return None if text is None else Happening(text, not isinstance(event, ChildStarted | ChildRestarted))


def _text(event: Event) -> str | None:
    match event:
        case ChildStarted():
            return f"{event.child} started"
        case ChildRestarted():
            return f"{event.child} restarted for the {_ordinal(event.restarts)} time"
        case ChildExited(reason=Crashed()):
            return f"{event.child} crashed: {_reason(event.reason)}"
        case ChildExited():
            return None if event.expected else f"{event.child} ended: {_reason(event.reason)}"
        case ChildStartFailed():
            return f"{event.child} failed to start: {_reason(event.reason)}"
        case GaveUp():
            who = event.supervisor or "the supervisor"
            return f"{who} gave up over {event.child}: restarts came too often"
        case ShutdownError():
            return f"{event.child} did not stop as it should: {_reason(event.reason)}"
        case Unresponsive():
            return f"{event.child} does not end though it was cancelled; it no longer counts"
        case StillStopping():
            return f"still waiting, after {event.seconds:.0f} s, for {', '.join(event.waiting_for)}"
        case TurnEvent(outcome="committed" | "crashed" | "interrupted"):
            return None  # its supervisor tells of what ended it
        case TurnEvent():
            return f"{event.agent} refused {one_line(event.signal_type)}: {_error(event.error)}"
        case AgentFenced():
            return f"{event.agent} is stopped here: another process has taken it over"
        case AgentQuarantined():
            return f"{event.agent} is quarantined: {_error(event.error)}"
        case EffectException():
            return f"{event.agent} failed at {event.directive}: {_error(event.error)}"
    return None


def _reason(reason: ExitReason | None) -> str:
    if not isinstance(reason, Crashed):
        return str(reason)
    text = one_line(reason.error.summary)
    if not reason.error.places:
        return text
    code, line = reason.error.places[-1]
    return f"{text} ({os.path.basename(code.co_filename)}:{line}, in {code.co_name})"


def _error(error: ErrorInfo | None) -> str:
    if error is None:
        return "no reason is known"
    return one_line(f"{error.type}: {error.message}" if error.message else error.type)


def one_line(text: str) -> str:
    """Text of somebody else's, fit for a line of ours: nothing in it moves the cursor, and it is not too long."""
    text = "".join(character if character.isprintable() else " " for character in text[: _LONGEST + 1])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
