from __future__ import annotations

import re
from sys import intern

from ._errors import InvalidPattern

__all__ = ["ANY", "REST", "parsed"]

ANY = "*"
REST = "**"

_LITERAL = re.compile(r"[^.*\s\x00-\x1f\x7f-\x9f]+")


def parsed(pattern: str) -> tuple[str, ...]:
    """The segments of a pattern.

    Segments are separated by dots; each is `*` (exactly one segment), `**` (zero or more), or one or more
    characters other than dot, star, white space and control characters. Two `**` never stand side by side.

    Raises:
        InvalidPattern: it is no such text.
    """
    if not isinstance(pattern, str):
        raise InvalidPattern(pattern, f"a pattern is text, not a value of type {type(pattern).__name__}")
    # The same few words stand in many patterns: one object for each is small, and stays in the processor's
    # cache.
    segments = tuple([intern(segment) for segment in str.__str__(pattern).split(".")])
    before = ""
    for segment in segments:
        if segment == REST:
            if before == REST:
                raise InvalidPattern(pattern, "'**' stands beside another '**', which says nothing more; write one")
        elif segment != ANY and _LITERAL.fullmatch(segment) is None:
            raise InvalidPattern(pattern, _problem(segment))
        before = segment
    return segments


def _problem(segment: str) -> str:
    if not segment:
        return "a segment is empty; segments are separated by single dots"
    if ANY in segment:
        return "a star stands within a segment; a wildcard is a whole segment, '*' or '**'"
    return "a segment has white space or a control character"
