"""What a runtime writes on signals for itself, and handlers do not see."""

from __future__ import annotations

from typing import Final

from ..signals import Signal
from ..signals._attributes import NO_EXTENSIONS

__all__ = ["ASK", "visible"]

ASK: Final = "prunellaask"
"""The extension that says which waiting caller a signal was caused by."""


def visible(signal: Signal) -> Signal:
    """The signal as handlers, predicates and the Context have it."""
    extensions = signal.extensions
    if extensions is NO_EXTENSIONS or ASK not in extensions:
        return signal
    return signal.__replace__(extensions=extensions.delete(ASK))
