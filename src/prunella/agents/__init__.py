"""Pure agents: an immutable value, handlers, and directives that describe effects."""

from ..conversion import Map
from ._address import Address
from ._agent import Agent
from ._context import Context
from ._describe import AgentDefinition, describe, routes, schema
from ._directive import Directive
from ._durable import Durable
from ._errors import (
    AgentCrashed,
    AgentError,
    AgentNotFound,
    AgentStopped,
    Diverged,
    Fenced,
    ImpureHandler,
    InvalidResult,
    InvalidSignalData,
    MailboxFull,
    NoReply,
    NotSerialisable,
    Rejected,
    RestoreFailed,
    UnhandledSignal,
)
from ._family import AdoptChild, SpawnAgent, Stop, StopChild
from ._migrate import migrate
from ._on import on
from ._replay import replay
from ._sending import Ask, Emit, Fail, Reply
from ._serial import directive_from_data, directive_to_data
from ._timing import Cancel, Cron, Schedule
from ._turn import Turn
from ._work import Run, SpawnTask

__all__ = [
    "Address",
    "AdoptChild",
    "Agent",
    "AgentCrashed",
    "AgentDefinition",
    "AgentError",
    "AgentNotFound",
    "AgentStopped",
    "Ask",
    "Cancel",
    "Context",
    "Cron",
    "Directive",
    "Diverged",
    "Durable",
    "Emit",
    "Fail",
    "Fenced",
    "ImpureHandler",
    "InvalidResult",
    "InvalidSignalData",
    "MailboxFull",
    "Map",
    "NoReply",
    "NotSerialisable",
    "Rejected",
    "Reply",
    "RestoreFailed",
    "Run",
    "Schedule",
    "SpawnAgent",
    "SpawnTask",
    "Stop",
    "StopChild",
    "Turn",
    "UnhandledSignal",
    "describe",
    "directive_from_data",
    "directive_to_data",
    "migrate",
    "on",
    "replay",
    "routes",
    "schema",
]
