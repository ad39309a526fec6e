"""Everything of an agent as one value: what goes from one storage into another."""

from __future__ import annotations

from typing import final

import attrs

from ._commit import Commit, DeadLetter, ScheduleRecord, Snapshot
from ._errors import StorageError
from ._records import AgentRecord, Handled, StoredDirective, StoredSignal

__all__ = ["AgentDump", "check_dump"]


@final
@attrs.frozen
class AgentDump:
    """Everything of an agent, at one instant.

    Attributes:
        record: what is known of it. Who owned it, and until when, does not go with it.
        trimmed: turns up to this one are kept no longer.
        snapshots: all that are kept, in order.
        commits: all that are kept, in order.
        waiting: signals that wait, in order.
        directives: what is open, in order.
        schedules: what is set, by their keys' order.
        dead_letters: in the order in which they were put aside.
        handled: the signals that are remembered, by their turns.
    """

    record: AgentRecord
    trimmed: int = 0
    snapshots: tuple[Snapshot, ...] = ()
    commits: tuple[Commit, ...] = ()
    waiting: tuple[StoredSignal, ...] = ()
    directives: tuple[StoredDirective, ...] = ()
    schedules: tuple[ScheduleRecord, ...] = ()
    dead_letters: tuple[DeadLetter, ...] = ()
    handled: tuple[Handled, ...] = ()


def check_dump(dump: AgentDump) -> None:
    """That a dump can be that of an agent.

    Raises:
        StorageError: it cannot.
    """
    last = dump.record.sequence
    turns = [commit.sequence for commit in dump.commits]
    if not 0 <= dump.trimmed <= last or turns != list(range(dump.trimmed + 1, last + 1)):
        raise StorageError(f"turns {dump.trimmed + 1} to {last} of {dump.record.key} are not all there, in order")
    if dump.trimmed and not any(snapshot.sequence >= dump.trimmed for snapshot in dump.snapshots):
        raise StorageError(f"the snapshot of {dump.record.key} is missing that its turns begin with")
    for what, values in (
        ("turn of a handled signal", [one.sequence for one in dump.handled]),
        ("handled signal", [one.signal_id for one in dump.handled]),
        ("snapshot", [snapshot.sequence for snapshot in dump.snapshots]),
        ("waiting signal", [one.signal.id for one in dump.waiting]),
        ("directive", [(one.sequence, one.index) for one in dump.directives]),
        ("schedule", [schedule.key for schedule in dump.schedules]),
        ("dead letter", [letter.signal.id for letter in dump.dead_letters]),
    ):
        if len(set(values)) != len(values):
            raise StorageError(f"a {what} of {dump.record.key} is there twice")
    ids = {commit.sequence: commit.signal.id for commit in dump.commits}
    for one in dump.handled:
        if one.now is None or not 0 < one.sequence <= last or ids.get(one.sequence, one.signal_id) != one.signal_id:
            raise StorageError(f"signal {one.signal_id!r} cannot have been handled in turn {one.sequence}")
