"""Why a child ended: the four exit reasons, and the two exceptions by which a child says how it wants to end."""

from __future__ import annotations

import linecache
from collections.abc import Callable
from types import CodeType
from typing import Any, ClassVar, NamedTuple, TypeAlias

import attrs

from ._errors import InvalidSpec

__all__ = [
    "CapturedError",
    "Crashed",
    "Exit",
    "ExitReason",
    "Ignore",
    "Killed",
    "Normal",
    "Place",
    "Shutdown",
    "captured",
    "unwrapped",
]

# A crash is kept for as long as somebody looks at it, and an error may be of any size.
_MOST_PLACES = 50
_MOST_MEMBERS = 20
_MOST_LINKS = 10
_MOST_NOTES = 10
_LONGEST_MESSAGE = 2_000


class Place(NamedTuple):
    """One line of a traceback: the code that ran and the line number it had reached."""

    code: CodeType
    line: int


@attrs.frozen
class CapturedError:
    """What is kept of an exception: enough to show it, and nothing that keeps its frames alive.

    Equal to another of the same type, message and members: where it happened is not compared.

    Attributes:
        type: its class.
        message: what `str` said of it, cut to 2 000 characters.
        places: its traceback, outermost first; the innermost 50 lines.
        cause: what it was raised `from`.
        context: what was being handled when it was raised, if that is not suppressed.
        exceptions: the members of an exception group, the first 20.
        notes: what was noted on it with `BaseException.add_note`, the first 10 notes.
    """

    type: type[BaseException]
    message: str
    places: tuple[Place, ...] = attrs.field(default=(), eq=False)
    cause: CapturedError | None = attrs.field(default=None, eq=False)
    context: CapturedError | None = attrs.field(default=None, eq=False)
    exceptions: tuple[CapturedError, ...] = ()
    notes: tuple[str, ...] = attrs.field(default=(), eq=False)

    def __str__(self) -> str:
        """The traceback as Python prints it, formatted now, when somebody asks."""
        return "\n".join(_lines(self))

    @property
    def summary(self) -> str:
        """One line: the type and the message, or what was noted first if there is no message."""
        message = self.message or next(iter(self.notes), "")
        return f"{self.type.__qualname__}: {message}" if message else self.type.__qualname__

    def reworded(self, reword: Callable[[str], str]) -> CapturedError:
        """The same with other messages, those of its causes and members included."""

        def link(other: CapturedError | None) -> CapturedError | None:
            return None if other is None else other.reworded(reword)

        members = tuple(member.reworded(reword) for member in self.exceptions)
        notes = tuple(map(reword, self.notes))
        return CapturedError(
            self.type, reword(self.message), self.places, link(self.cause), link(self.context), members, notes
        )


def captured(error: BaseException, *, skip: frozenset[CodeType] = frozenset()) -> CapturedError:
    """Keeps what is worth keeping of `error`; the leading places in code of `skip` are left out."""
    return _capture(error, skip, set(), _MOST_LINKS)


def _capture(error: BaseException, skip: frozenset[CodeType], seen: set[int], links: int) -> CapturedError:
    seen.add(id(error))
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_code in skip:
        traceback = traceback.tb_next
    places: list[Place] = []
    while traceback is not None:
        places.append(Place(traceback.tb_frame.f_code, traceback.tb_lineno))
        traceback = traceback.tb_next

    def linked(other: BaseException | None) -> CapturedError | None:
        if other is None or links == 0 or id(other) in seen:
            return None
        return _capture(other, skip, seen, links - 1)

    cause = linked(error.__cause__)
    context = None if error.__suppress_context__ else linked(error.__context__)
    members: tuple[CapturedError, ...] = ()
    if isinstance(error, BaseExceptionGroup):
        members = tuple(member for inner in error.exceptions[:_MOST_MEMBERS] if (member := linked(inner)) is not None)
    message, places = _message(error), places[-_MOST_PLACES:]
    return CapturedError(type(error), message, tuple(places), cause, context, members, _notes(error))


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except BaseException:  # It must not take the place of what it is about, whatever it is.
        return f"<{type(error).__qualname__} whose str fails>"
    return _cut(text)


def _notes(error: BaseException) -> tuple[str, ...]:
    notes = getattr(error, "__notes__", None)
    if not isinstance(notes, list):
        return ()
    return tuple(_cut(note) for note in notes[:_MOST_NOTES] if isinstance(note, str))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[: _LONGEST_MESSAGE - 1]}…"


def _lines(error: CapturedError) -> list[str]:
    lines: list[str] = []
    if error.cause is not None:
        lines += [
            *_lines(error.cause),
            "",
            "The above exception was the direct cause of the following exception:",
            "",
        ]
    elif error.context is not None:
        lines += [
            *_lines(error.context),
            "",
            "During handling of the above exception, another exception occurred:",
            "",
        ]
    if error.places:
        lines.append("Traceback (most recent call last):")
        for code, number in error.places:
            lines.append(f'  File "{code.co_filename}", line {number}, in {code.co_qualname}')
            source = linecache.getline(code.co_filename, number).strip()
            if source:
                lines.append(f"    {source}")
    lines.append(error.summary)
    lines += error.notes if error.message else error.notes[1:]
    for position, member in enumerate(error.exceptions, 1):
        lines.append(f"  member {position}:")
        lines += [f"    {line}" for line in _lines(member)]
    return lines


@attrs.frozen
class Normal:
    """The child had done its work: it returned, or raised `Exit()`. Clean."""

    clean: ClassVar[bool] = True

    def __str__(self) -> str:
        return "normal"


@attrs.frozen
class Shutdown:
    """The child was asked to stop, or chose to, for a reason that is no fault. Clean.

    Args:
        detail: why, for whoever looks; any value.
    """

    clean: ClassVar[bool] = True

    detail: Any = None

    def __str__(self) -> str:
        return "shutdown" if self.detail is None else f"shutdown ({self.detail})"


@attrs.frozen
class Killed:
    """The child was not given, or did not keep to, time to clean up. Not clean."""

    clean: ClassVar[bool] = False

    def __str__(self) -> str:
        return "killed"


def _as_captured(error: BaseException | CapturedError) -> CapturedError:
    return error if isinstance(error, CapturedError) else captured(error)


@attrs.frozen(repr=False)
class Crashed:
    """The child raised an error, or a `Cancelled` that belonged to no scope of its own. Not clean.

    `str()` gives the traceback, formatted when it is asked for; no frame of the child is kept alive.

    Args:
        error: the exception, or what was captured of it before.
    """

    clean: ClassVar[bool] = False

    error: CapturedError = attrs.field(converter=_as_captured)

    @property
    def type(self) -> type[BaseException]:
        """The class of the error."""
        return self.error.type

    @property
    def message(self) -> str:
        """The message of the error."""
        return self.error.message

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it was raised: code and line of its traceback, outermost first."""
        return self.error.places

    def __str__(self) -> str:
        return str(self.error)

    def __repr__(self) -> str:
        return f"Crashed({self.error.summary!r})"


ExitReason: TypeAlias = Normal | Shutdown | Killed | Crashed


def summary(reason: ExitReason | None) -> str:
    """One line about a reason, for messages and pictures."""
    if isinstance(reason, Crashed):
        return reason.error.summary
    return "none" if reason is None else str(reason)


class Exit(Exception):
    """Raise it in a child to end on purpose, with a clean reason.

    It is an ordinary `Exception`, so a child's own ``except Exception`` catches it; a nursery of the child wraps it
    in a group, from which the supervisor takes it out again.

    Args:
        reason: `Normal()` or `Shutdown(...)`.

    Raises:
        InvalidSpec: any other reason; nobody ends killed or crashed on purpose.
    """

    def __init__(self, reason: Normal | Shutdown = Normal()) -> None:
        if not isinstance(reason, Normal | Shutdown):
            raise InvalidSpec("Exit", "reason", "Normal() or Shutdown(...)", reason)
        super().__init__(reason)
        self.reason: Normal | Shutdown = reason


class Ignore(Exception):
    """Raise it in a child before it has started to say: deliberately not started. That is a success.

    The supervisor keeps the child, stopped, and starts the next one (OTP's ``ignore``). It is an ordinary
    `Exception`, so a child's own ``except Exception`` catches it.
    """


def unwrapped(error: BaseException) -> BaseException:
    """The one exception that a group stands for, if it stands for one.

    Groups of one are opened, as deep as they go: a child that uses a nursery crashes with its own error, not with a
    group of one. In a group of several, nothing is taken out.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
