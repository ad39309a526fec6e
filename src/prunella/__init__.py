"""Agents that come back after a crash: supervision trees and pure agents, on Trio.

The names that most programs need, each the same object as in the package where it is defined. They are
resolved when they are first used, so that importing `prunella` costs next to nothing, and so that what is
pure (agents, signals) can be imported and tested without Trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .errors import DefinitionError as DefinitionError
    from .errors import InvalidArgument as InvalidArgument
    from .errors import PrunellaError as PrunellaError
    from .signals import Signal as Signal
    from .signals import SignalType as SignalType
    from .supervision import Child as Child
    from .supervision import Supervisor as Supervisor

    __version__: str

# Where each name lives. The block above says the same to type checkers; a test compares the two.
_HOMES = {
    "Child": "supervision",
    "DefinitionError": "errors",
    "InvalidArgument": "errors",
    "PrunellaError": "errors",
    "Signal": "signals",
    "SignalType": "signals",
    "Supervisor": "supervision",
}

__all__ = ["__version__", *_HOMES]


if not TYPE_CHECKING:  # A type checker would take it as: the package has every attribute.

    def __getattr__(name: str) -> object:
        value: object
        if name == "__version__":
            from importlib.metadata import version

            value = version("prunella")
        elif name in _HOMES:
            from importlib import import_module

            value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
