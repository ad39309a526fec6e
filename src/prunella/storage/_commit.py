"""What is written of an agent: one turn, and all that one write holds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, final

import attrs

from ..agents import Address
from ..conversion import Map
from ..signals import Signal
from ._key import AgentKey

__all__ = ["Code", "Commit", "DeadLetter", "ScheduleRecord", "Snapshot", "Write"]

_NOTHING: Final[Mapping[str, Any]] = Map()


@final
@attrs.frozen
class Code:
    """Which code decided.

    Args:
        name: the name of the type of agents; it never changes for an agent.
        version: of its state.
        digest: of its handlers' source.
        reference: where the class is found, `module:qualname`.
    """

    name: str
    version: int = 1
    digest: str = ""
    reference: str = ""


@final
@attrs.frozen
class ScheduleRecord:
    """When a signal is due that an agent sends to itself.

    Args:
        key: its name within the agent.
        due: when next; aware.
        directive: what asked for it, as `directive_to_data` gives it.
        id: of that directive.
    """

    key: str
    due: datetime
    directive: Mapping[str, Any]
    id: str = ""


@final
@attrs.frozen
class Commit:
    """One turn as it is stored: all that the handlers could read, and all that came of it, as plain data.

    Mappings hold what `to_data` and `directive_to_data` give. Whoever changes them after they were handed over breaks
    the contract.

    Args:
        sequence: the number of the turn; the first is 1.
        claim: the claim number of the owner that decided it.
        signal: what the agent heard.
        now: what the handlers took for the present; aware.
        seed: what their chance began with.
        code: which code decided.
        parent, children: the agent's family at that time.
        outcome: `committed`, `rejected`, `unhandled` or `dead`.
        changes: the fields of the state that changed. Of a turn `prunella.migrated` all fields, as they are now.
        directives: what was asked for. Their ids follow from their places; each is open until it is marked done.
        done: ids of directives that this turn marks as done; also of its own, which then never were open.
        schedules: by key, what is set, and `None` for what is taken away.
        answers: by the ids of signals that this agent handled, what was replied to them.
    """

    sequence: int
    claim: int
    signal: Signal
    now: datetime
    seed: int
    code: Code
    parent: Address | None = None
    children: Mapping[str, Address] = attrs.field(default=_NOTHING)
    outcome: str = "committed"
    changes: Mapping[str, Any] = attrs.field(default=_NOTHING)
    directives: tuple[Mapping[str, Any], ...] = ()
    done: tuple[str, ...] = ()
    schedules: Mapping[str, ScheduleRecord | None] = attrs.field(default=_NOTHING)
    answers: Mapping[str, Any] = attrs.field(default=_NOTHING)


@final
@attrs.frozen
class Snapshot:
    """The whole state after a turn, from which later ones are counted.

    Args:
        sequence: of the turn; 0 is before the first.
        now: of the turn; aware.
        version: of the state.
        state: all fields, as plain data.
    """

    sequence: int
    now: datetime
    version: int
    state: Mapping[str, Any]


@final
@attrs.frozen
class DeadLetter:
    """A signal that was put aside because the agent could not handle it.

    Args:
        signal: the signal.
        reason: why, in words.
        deliveries: how often it was tried.
        now: when it was put aside; aware.
    """

    signal: Signal
    reason: str
    deliveries: int
    now: datetime


@final
@attrs.frozen
class Write:
    """What is written of one agent at once: all of it or nothing.

    Args:
        key: the agent.
        claim: the claim number of the writer. If another has claimed the agent since, nothing is written.
        now: when it was written; aware.
        commits: turns, in order. The first has the number that follows the last that is stored.
        snapshot: of the state after one of these turns, or after one before them.
        done: ids of directives that are done, beside those that the commits name.
        enqueued: signals for the agent itself, put behind those that wait; what it has seen before is left out.
        finished: ids of stored signals that are done with.
        postponed: ids of stored signals that crashed: each is put behind those that wait, and counted once more.
        dead: stored signals that go to the dead letters.
    """

    key: AgentKey
    claim: int
    now: datetime
    commits: tuple[Commit, ...] = ()
    snapshot: Snapshot | None = None
    done: tuple[str, ...] = ()
    enqueued: tuple[Signal, ...] = ()
    finished: tuple[str, ...] = ()
    postponed: tuple[str, ...] = ()
    dead: tuple[DeadLetter, ...] = ()
