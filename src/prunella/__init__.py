"""Agents that come back after a crash: supervision trees and pure agents, on Trio.

The names that most programs need, each the same object as in the package where it is defined. They are
resolved when they are first used, so that importing `prunella` costs next to nothing, and so that what is
pure (agents, signals) can be imported and tested without Trio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .agents import Address as Address
    from .agents import AdoptChild as AdoptChild
    from .agents import Agent as Agent
    from .agents import AgentCrashed as AgentCrashed
    from .agents import AgentError as AgentError
    from .agents import AgentNotFound as AgentNotFound
    from .agents import AgentStopped as AgentStopped
    from .agents import Ask as Ask
    from .agents import Cancel as Cancel
    from .agents import Context as Context
    from .agents import Cron as Cron
    from .agents import Directive as Directive
    from .agents import Durable as Durable
    from .agents import Emit as Emit
    from .agents import Fail as Fail
    from .agents import Fenced as Fenced
    from .agents import InvalidSignalData as InvalidSignalData
    from .agents import MailboxFull as MailboxFull
    from .agents import Map as Map
    from .agents import NoReply as NoReply
    from .agents import Rejected as Rejected
    from .agents import Reply as Reply
    from .agents import RestoreFailed as RestoreFailed
    from .agents import Run as Run
    from .agents import Schedule as Schedule
    from .agents import SpawnAgent as SpawnAgent
    from .agents import SpawnTask as SpawnTask
    from .agents import Stop as Stop
    from .agents import StopChild as StopChild
    from .agents import UnhandledSignal as UnhandledSignal
    from .agents import migrate as migrate
    from .agents import on as on
    from .errors import DefinitionError as DefinitionError
    from .errors import InvalidArgument as InvalidArgument
    from .errors import PrunellaError as PrunellaError
    from .runtime import AgentSpec as AgentSpec
    from .runtime import open_runtime as open_runtime
    from .signals import Signal as Signal
    from .signals import SignalType as SignalType
    from .storage import MemoryStorage as MemoryStorage
    from .storage import SQLiteStorage as SQLiteStorage
    from .supervision import Child as Child
    from .supervision import Supervisor as Supervisor

    __version__: str

# Where each name lives. The block above says the same to type checkers; a test compares the two.
_HOMES = {
    "Address": "agents",
    "AdoptChild": "agents",
    "Agent": "agents",
    "AgentCrashed": "agents",
    "AgentError": "agents",
    "AgentNotFound": "agents",
    "AgentSpec": "runtime",
    "AgentStopped": "agents",
    "Ask": "agents",
    "Cancel": "agents",
    "Child": "supervision",
    "Context": "agents",
    "Cron": "agents",
    "DefinitionError": "errors",
    "Directive": "agents",
    "Durable": "agents",
    "Emit": "agents",
    "Fail": "agents",
    "Fenced": "agents",
    "InvalidArgument": "errors",
    "InvalidSignalData": "agents",
    "MailboxFull": "agents",
    "Map": "agents",
    "MemoryStorage": "storage",
    "NoReply": "agents",
    "PrunellaError": "errors",
    "Rejected": "agents",
    "Reply": "agents",
    "RestoreFailed": "agents",
    "Run": "agents",
    "SQLiteStorage": "storage",
    "Schedule": "agents",
    "Signal": "signals",
    "SignalType": "signals",
    "SpawnAgent": "agents",
    "SpawnTask": "agents",
    "Stop": "agents",
    "StopChild": "agents",
    "Supervisor": "supervision",
    "UnhandledSignal": "agents",
    "migrate": "agents",
    "on": "agents",
    "open_runtime": "runtime",
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
