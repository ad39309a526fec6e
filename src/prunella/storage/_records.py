"""What is read of a storage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, final

import attrs

from ..signals import Signal
from ._commit import Code, Commit, ScheduleRecord, Snapshot
from ._key import AgentKey

__all__ = ["AgentRecord", "DueSchedule", "Handled", "Outbox", "StoredAgent", "StoredDirective", "StoredSignal"]


@final
@attrs.frozen
class AgentRecord:
    """What is known of an agent without reading its state.

    Attributes:
        key: the agent.
        code: of whoever claimed it last.
        claim: the number of that claim.
        owner: who claimed it last, until it is released.
        lease_until: when that owner's lease ends; `None` without an owner, or if it has ended long ago.
        sequence: of the last turn; 0 before the first.
        spec: how it is to be started, as plain data; `None` for one that is started by others, or has ended for good.
        has_work: whether signals wait for it, or directives of it are open.
        is_readable: whether `spec` could be read. If not, it is `None` here and stays as it is.
    """

    key: AgentKey
    code: Code
    claim: int
    owner: str | None
    lease_until: datetime | None
    sequence: int
    spec: Mapping[str, Any] | None
    has_work: bool
    is_readable: bool = True


@final
@attrs.frozen
class StoredSignal:
    """A signal that waits for an agent.

    Attributes:
        position: its place among all that was ever enqueued; it grows.
        signal: the signal.
        deliveries: how often it was taken, or crashed.
        now: when it was enqueued.
    """

    position: int
    signal: Signal
    deliveries: int
    now: datetime


@final
@attrs.frozen
class StoredDirective:
    """A directive that was asked for and is not done.

    Attributes:
        id: `runtime/partition/agent/sequence/index`.
        sequence, index: the turn that asked for it, and its place there.
        directive: what `directive_to_data` gave.
        now: when it was asked for.
    """

    id: str
    sequence: int
    index: int
    directive: Mapping[str, Any]
    now: datetime


@final
@attrs.frozen
class StoredAgent:
    """All that an agent needs to go on.

    Attributes:
        record: what is known without it.
        snapshot: the newest; `None` if there is none.
        commits: those after it, in order.
        waiting: signals that wait, in order; no more than a thousand, the rest comes by `take`.
        directives: what is open, in order.
        schedules: what is set, by their keys' order.
    """

    record: AgentRecord
    snapshot: Snapshot | None
    commits: tuple[Commit, ...]
    waiting: tuple[StoredSignal, ...]
    directives: tuple[StoredDirective, ...]
    schedules: tuple[ScheduleRecord, ...]


@final
@attrs.frozen
class DueSchedule:
    """That a schedule is due. What is to be sent comes with the agent, by `load`.

    Attributes:
        key: whose it is.
        schedule: its key within the agent.
        due: since when.
    """

    key: AgentKey
    schedule: str
    due: datetime


@final
@attrs.frozen
class Handled:
    """That a signal was handled.

    Attributes:
        signal_id: its id.
        sequence: the turn that handled it.
        answer: what was replied, as plain data.
        is_answered: whether something was.
        now: of that turn.
    """

    signal_id: str
    sequence: int
    answer: Any = None
    is_answered: bool = False
    now: datetime | None = None


@final
@attrs.frozen
class Outbox:
    """The open directives of a runtime.

    Attributes:
        count: how many there are.
        oldest: when the oldest was asked for; `None` if there is none.
    """

    count: int
    oldest: datetime | None
