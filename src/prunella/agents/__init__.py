"""Pure agents: an immutable value whose handlers decide, and directives that describe what is to be done.

An agent is a class. Its annotated names are its state, and the methods that `on` marks are its handlers:

.. code-block:: python

    from prunella.agents import Agent, Emit, Rejected, on

    class Support(Agent, name="support"):
        open: tuple[str, ...] = ()

        @on("ticket.opened")
        def opened(self, ticket: str):
            if ticket in self.open:
                raise Rejected("it is open already", ticket=ticket)
            return self.set(open=(*self.open, ticket)), Emit("ticket.accepted", {"ticket": ticket})

Nothing waits, and nothing happens, when an agent decides. `cmd` takes a signal and gives the agent after it and the
directives, so an agent is tested without anything that runs it:

.. code-block:: python

    agent, directives = Support().cmd("ticket.opened", ticket="T-1")

    assert agent == Support(open=("T-1",))
    assert directives == (Emit("ticket.accepted", {"ticket": "T-1"}),)

What a handler asks for is converted strictly from the signal's data. A signal that does not fit is refused, and the
agent is as it was:

.. code-block:: python

    from prunella.agents import InvalidSignalData

    try:
        agent.cmd("ticket.opened", ticket=1)
    except InvalidSignalData as error:
        assert (error.path, error.expected, error.got) == ("ticket", "str", "int")

Time, chance and ids come from a `Context`, which a handler asks for by annotation. All that goes into a turn can be
recorded as a `Turn`, and `replay` runs recorded turns again. `describe`, `schema` and `routes` tell what a class is.
"""

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
