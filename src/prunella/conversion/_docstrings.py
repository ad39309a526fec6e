from __future__ import annotations

import inspect
import re

__all__ = ["descriptions", "summary"]

_SECTION = re.compile(r"(?:Args|Arguments|Parameters|Attributes):\s*")
_ENTRY = re.compile(r"\*{0,2}(\w+)(?:\s*\([^)]*\))?:\s*(.*)")


def summary(docstring: str | None) -> str:
    """The first paragraph of a docstring, as one line."""
    if not docstring:
        return ""
    return " ".join(inspect.cleandoc(docstring).split("\n\n", 1)[0].split())


def descriptions(docstring: str | None) -> dict[str, str]:
    """What a docstring says of each parameter, under `Args:` or `Attributes:`, an entry `name: text` per
    line.

    A text may go on in lines that are indented further.
    """
    found: dict[str, list[str]] = {}
    if not docstring:
        return {}
    inside = False
    indent: int | None = None
    current: list[str] | None = None
    for line in inspect.cleandoc(docstring).splitlines():
        text = line.strip()
        depth = len(line) - len(line.lstrip())
        if depth == 0 and text:
            inside = _SECTION.fullmatch(text) is not None
            indent, current = None, None
        elif inside and text:
            indent = depth if indent is None else indent
            entry = _ENTRY.fullmatch(text) if depth == indent else None
            if entry is not None:
                current = found.setdefault(entry[1], [])
                current.append(entry[2])
            elif current is not None and depth > indent:
                current.append(text)
            else:
                current = None
    return {name: " ".join(" ".join(lines).split()) for name, lines in found.items()}
