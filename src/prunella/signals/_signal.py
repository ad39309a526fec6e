from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import Any, Final, Literal, TypeAlias, final

from attrs.exceptions import FrozenInstanceError
from uuid_utils import UUID, uuid7

from ..conversion import Map
from ._attributes import NO_EXTENSIONS, ExtensionValue, checked_extensions, checked_text, checked_time
from ._errors import InvalidSignal

__all__ = ["LEFT_OUT", "LeftOut", "Signal", "check_signal"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Sentinel(enum.Enum):
    LEFT_OUT = "filled in"

    def __repr__(self) -> str:
        return "<left out>"


LeftOut: TypeAlias = Literal[_Sentinel.LEFT_OUT]
LEFT_OUT: Final = _Sentinel.LEFT_OUT

_SLOTS = (
    "_id",
    "_time",
    "data",
    "datacontenttype",
    "dataschema",
    "extensions",
    "source",
    "subject",
    "type",
)


class _Draft:
    """A signal while it is being filled in.

    Slots of a class without `__setattr__` are filled four times faster than those of a frozen one; when all
    are filled, the draft becomes a `Signal` by its `__class__`. Both must have the same slots.
    """

    __slots__ = _SLOTS

    _id: UUID | str
    _time: datetime | int | None
    data: Any
    datacontenttype: str | None
    dataschema: str | None
    extensions: Map[str, ExtensionValue]
    source: str
    subject: str | None
    type: str


@final
class Signal:
    """An event: everything an agent hears is one. A CloudEvent of version 1.0, frozen, compared by value.

    What is left out of `id`, `time` and `datacontenttype` is filled in; `time` and `datacontenttype` given as
    `None` are absent. Data is not looked at here: what is no JSON value and no `bytes` may travel between
    agents of one process, and is refused when the signal leaves it. Who changes data that has been handed
    over breaks the contract.

    Args:
        type: what happened, by custom dotted: `ticket.opened`.
        data: a JSON value or `bytes`.
        source: where it happened, a URI reference.
        id: unique for its source; left out, a UUIDv7 that increases within the process.
        subject: what it is about, within the source.
        time: when it happened, an aware datetime; kept in UTC. Left out, now.
        datacontenttype: the media type of data. Left out, `application/json` for JSON data, else absent.
        dataschema: a URI of the schema that data follows.
        extensions: further attributes: names of lower-case letters and digits, values bool, 32-bit int or
            text.

    Raises:
        InvalidSignal: an attribute is not what CloudEvents 1.0 ("Context Attributes", "Type System") asks
            for.
    """

    __slots__ = _SLOTS

    _id: UUID | str
    _time: datetime | int | None
    data: Any
    datacontenttype: str | None
    dataschema: str | None
    extensions: Map[str, ExtensionValue]
    source: str
    subject: str | None
    type: str

    def __new__(
        cls,
        type: str,
        data: Any = None,
        *,
        source: str = "/",
        id: str | LeftOut = LEFT_OUT,
        subject: str | None = None,
        time: datetime | LeftOut | None = LEFT_OUT,
        datacontenttype: str | LeftOut | None = LEFT_OUT,
        dataschema: str | None = None,
        extensions: Mapping[str, ExtensionValue] = NO_EXTENSIONS,
    ) -> Signal:
        draft = _new(_Draft)
        # The two tests of each text are what checked_text begins with; a call of it would cost more than
        # both.
        if type.__class__ is not str or not type or not type.isprintable():
            type = checked_text("Signal", "type", type)
        draft.type = type
        draft.data = data
        if source != "/" and (source.__class__ is not str or not source or not source.isprintable()):
            source = checked_text(_named(type), "source", source)
        draft.source = source
        # Id and time are drawn now, so that both are those of this moment and ids follow the order of making;
        # they get the form that people read when somebody asks.
        draft._id = uuid7() if id is LEFT_OUT else checked_text(_named(type), "id", id)
        draft._time = time_ns() if time is LEFT_OUT else None if time is None else checked_time(_named(type), time)
        draft.subject = None if subject is None else checked_text(_named(type), "subject", subject)
        if datacontenttype is LEFT_OUT:
            draft.datacontenttype = None if data is None or isinstance(data, bytes) else "application/json"
        elif datacontenttype is None:
            draft.datacontenttype = None
        else:
            draft.datacontenttype = checked_text(_named(type), "datacontenttype", datacontenttype)
        draft.dataschema = None if dataschema is None else checked_text(_named(type), "dataschema", dataschema)
        draft.extensions = (
            NO_EXTENSIONS if extensions is NO_EXTENSIONS else checked_extensions(_named(type), extensions)
        )
        draft.__class__ = cls  # type: ignore[assignment]  # it has the same slots
        return draft  # type: ignore[return-value]  # which it is by now

    @property
    def id(self) -> str:
        """Unique for its source; by default a UUIDv7."""
        id = self._id
        if id.__class__ is not str:
            id = str(id)
            _set_id(self, id)
        return id

    @property
    def time(self) -> datetime | None:
        """When it happened, in UTC; `None` if the signal does not say."""
        time = self._time
        if isinstance(time, int):
            time = _EPOCH + timedelta(microseconds=time // 1000)
            _set_time(self, time)
        return time

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Signal):
            return NotImplemented
        return self is other or (
            self.type == other.type
            and self.source == other.source
            and self.id == other.id
            and self.time == other.time
            and self.subject == other.subject
            and self.datacontenttype == other.datacontenttype
            and self.dataschema == other.dataschema
            and self.extensions == other.extensions
            and bool(self.data == other.data)
        )

    def __hash__(self) -> int:
        return hash((self.source, self.id))

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (
            self.type,
            self.data,
            self.source,
            self.id,
            self.subject,
            self.time,
            self.datacontenttype,
            self.dataschema,
            dict(self.extensions),
        )

    def __replace__(self, **changes: Any) -> Signal:
        """`copy.replace`: a signal with other attributes; everything else stays, id and time included."""
        kept = {
            "data": self.data,
            "source": self.source,
            "id": self.id,
            "subject": self.subject,
            "time": self.time,
            "datacontenttype": self.datacontenttype,
            "dataschema": self.dataschema,
            "extensions": self.extensions,
        }
        return Signal(changes.pop("type", self.type), **(kept | changes))

    def __repr__(self) -> str:
        shown = [repr(self.type), f"source={self.source!r}", f"id={self.id!r}"]
        if self.subject is not None:
            shown.append(f"subject={self.subject!r}")
        if self.data is not None:  # its type only: a signal in a log must not put its payload there
            shown.append(f"data=<{self.data.__class__.__name__}>")
        return f"Signal({', '.join(shown)})"


_new = object.__new__
_set_id = Signal.__dict__["_id"].__set__
_set_time = Signal.__dict__["_time"].__set__


def _named(type: str) -> str:
    return f"Signal {type!r}"


def _restored(
    type: str,
    data: Any,
    source: str,
    id: str,
    subject: str | None,
    time: datetime | None,
    datacontenttype: str | None,
    dataschema: str | None,
    extensions: Mapping[str, ExtensionValue],
) -> Signal:
    return Signal(
        type,
        data,
        source=source,
        id=id,
        subject=subject,
        time=time,
        datacontenttype=datacontenttype,
        dataschema=dataschema,
        extensions=extensions,
    )


def check_signal(owner: str, signal: object) -> Signal:
    """The signal, if it is one.

    Raises:
        InvalidSignal: it is none.
    """
    if not isinstance(signal, Signal):
        raise InvalidSignal(owner, "signal", "a Signal", type(signal))
    return signal
