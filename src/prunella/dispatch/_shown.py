from __future__ import annotations

import functools

__all__ = ["kind_of", "shown"]


def shown(target: object) -> str:
    """A target for logs, events and messages: what it is and where, never what it holds."""
    if hasattr(type(target), "kind"):
        return str(target)
    if not isinstance(target, type) and hasattr(target, "__qualname__"):
        return f"function {target.__qualname__}"
    if isinstance(target, functools.partial):
        return shown(target.func)
    return type(target).__qualname__


def kind_of(target: object) -> str:
    """Which of the kinds of targets it is; `custom` for those of users."""
    return getattr(type(target), "kind", "custom")
