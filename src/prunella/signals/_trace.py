from __future__ import annotations

import re
from secrets import token_hex
from typing import Final, final

import attrs

from ._errors import DecodeError, InvalidSignal
from ._signal import Signal, check_signal

__all__ = ["Trace"]

_SAMPLED: Final = 1
_TRACE_ID = re.compile("(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile("(?!0{16})[0-9a-f]{16}")
_TRACEPARENT = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_LONGEST = 512  # what we look at of a version that we do not know


@final
@attrs.frozen
class Trace:
    """Where a signal stands in a trace: the trace, the span of this signal, and the span it came from.

    It travels in the extensions `traceparent` and `tracestate` of a signal, as CloudEvents' "Distributed
    Tracing" extension has it, in the form of W3C Trace Context. A parent does not travel: what is read from a
    signal has none.

    Args:
        trace_id: 32 lower-case hexadecimal digits, not all zero.
        span_id: 16 such digits, not all zero.
        parent_span_id: the span that this one came from, if it is known.
        flags: the eight bits of W3C's trace-flags; 1 is "sampled". They are handed on as they came.
        tracestate: what tracing systems hand on to each other, as it came.

    Raises:
        InvalidSignal: one of these is not as W3C asks for.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None = None
    flags: int = _SAMPLED
    tracestate: str | None = None

    def __attrs_post_init__(self) -> None:
        if not _is(_TRACE_ID, self.trace_id):
            raise InvalidSignal("Trace", "trace_id", "32 lower-case hex digits, not all zero", self.trace_id)
        if not _is(_SPAN_ID, self.span_id):
            raise InvalidSignal("Trace", "span_id", "16 lower-case hex digits, not all zero", self.span_id)
        if self.parent_span_id is not None and not _is(_SPAN_ID, self.parent_span_id):
            raise InvalidSignal(
                "Trace", "parent_span_id", "16 lower-case hex digits, not all zero", self.parent_span_id
            )
        if not isinstance(self.flags, int) or isinstance(self.flags, bool) or not 0 <= self.flags <= 255:
            raise InvalidSignal("Trace", "flags", "an int from 0 to 255", self.flags)
        if self.tracestate is not None and (not isinstance(self.tracestate, str) or not self.tracestate):
            raise InvalidSignal("Trace", "tracestate", "non-empty text, or None", self.tracestate)

    @classmethod
    def root(cls) -> Trace:
        """A new trace with its first span, sampled."""
        return cls(_hex(16), _hex(8))

    def child(self) -> Trace:
        """A new span of the same trace, whose parent is this one; flags and tracestate are handed on."""
        return Trace(self.trace_id, _hex(8), self.span_id, self.flags, self.tracestate)

    @classmethod
    def from_traceparent(cls, text: str) -> Trace:
        """The trace that the text of a `traceparent` describes.

        A version that is newer than ours is read as far as ours goes.

        Raises:
            DecodeError: W3C Trace Context (section 3.2.2) forbids it: another form, upper case, version `ff`,
                an id of zeros.
        """
        match = _TRACEPARENT.fullmatch(text) if isinstance(text, str) and len(text) <= _LONGEST else None
        if match is None:
            raise DecodeError("traceparent", "expected version-traceid-spanid-flags in lower-case hex digits")
        version, trace_id, span_id, flags, more = match.groups()
        if version == "ff" or (version == "00" and more is not None):
            raise DecodeError("traceparent", "expected a version other than ff, and nothing after version 00")
        try:
            return cls(trace_id, span_id, flags=int(flags, 16))
        except InvalidSignal as error:
            raise DecodeError("traceparent", f"expected {error.field} not all zero") from None

    @property
    def traceparent(self) -> str:
        """The text form, version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"

    @classmethod
    def of(cls, signal: Signal) -> Trace | None:
        """The trace that a signal carries; `None` if it carries none, or one that W3C forbids.

        Raises:
            InvalidSignal: what came is no signal.
        """
        text = check_signal("Trace.of", signal).extensions.get("traceparent")
        if not isinstance(text, str):
            return None
        try:
            trace = cls.from_traceparent(text)
        except DecodeError:
            return None
        state = signal.extensions.get("tracestate")
        return attrs.evolve(trace, tracestate=state) if isinstance(state, str) else trace

    def on(self, signal: Signal, cause: Signal | str | None = None) -> Signal:
        """The signal with this trace on it, in place of one that it may carry.

        Args:
            signal: the signal; its id, time and everything else stay.
            cause: the signal that caused it, or its id; it becomes the extension `causationid`.

        Raises:
            InvalidSignal: `signal` is none, or the tracestate or the cause is no text that an extension can hold.
        """
        extensions = {
            name: value for name, value in check_signal("Trace.on", signal).extensions.items() if name != "tracestate"
        }
        extensions["traceparent"] = self.traceparent
        if self.tracestate is not None:
            extensions["tracestate"] = self.tracestate
        if cause is not None:
            if not isinstance(cause, Signal | str):
                raise InvalidSignal("Trace.on", "cause", "a Signal, or the id of one", type(cause))
            extensions["causationid"] = cause.id if isinstance(cause, Signal) else cause
        return signal.__replace__(extensions=extensions)


def _is(form: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and form.fullmatch(text) is not None


def _hex(octets: int) -> str:
    text = token_hex(octets)
    while not text.strip("0"):  # W3C takes zeros for "no id"
        text = token_hex(octets)
    return text
