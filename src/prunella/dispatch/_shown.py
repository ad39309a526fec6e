from __future__ import annotations

import functools

__all__ = ["kind_of", "shown"]


def shown(target: object) -> str:
    """A target for logs, events and messages: what it is and where, never what it holds; and never an error."""
    try:
        if hasattr(type(target), "_dispatch_kind"):
            return str(target)
        if isinstance(target, functools.partial):
            return shown(target.func)
        if not isinstance(target, type) and hasattr(target, "__qualname__"):
            return f"function {target.__qualname__}"
    except Exception:  # of the repr of a key, say
        return f"<{type(target).__qualname__} that cannot be shown>"
    return type(target).__qualname__


def kind_of(target: object) -> str:
    """Which of the kinds of targets it is; `custom` for those of users."""
    return getattr(type(target), "_dispatch_kind", "custom")
