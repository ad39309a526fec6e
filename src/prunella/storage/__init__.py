"""Storage: where durable agents are kept, so that they come back as they were.

A storage keeps the turns of agents, and what follows from them: signals that wait, directives that are open, schedules.
Everything that changes of one agent at one time is one `Write`, which is written whole or not at all, by whoever owns
the agent:

.. code-block:: python

    from datetime import UTC, datetime

    import trio
    from prunella import Signal
    from prunella.storage import AgentKey, Code, Commit, MemoryStorage, Write

    NOW = datetime(2026, 1, 31, tzinfo=UTC)

    async def main():
        async with MemoryStorage() as storage:
            key, code = AgentKey("default", None, "desk"), Code("support", 1)
            record = await storage.claim(key, code, owner="me", now=NOW)

            turn = Commit(1, record.claim, Signal("ticket.opened"), NOW, seed=7, code=code, changes={"open": 1})
            assert await storage.append(Write(key, record.claim, NOW, (turn,))) == (None,)

            stored = await storage.load(key)
            assert stored.commits == (turn,)

    trio.run(main)

`SQLiteStorage` is the durable one, in one file; `MemoryStorage` is for tests. `Storage` is the protocol for others, and
`prunella.testing.storage` tests them. `state_at` and `history` read the past, and
`replay` runs it again. `export_agents` and `import_agents` take agents elsewhere, as JSON Lines.
"""

from ._codec import (
    commit_from_data,
    commit_to_data,
    decode_commit,
    decode_data,
    decode_signal,
    decode_snapshot,
    encode_commit,
    encode_data,
    encode_signal,
    encode_snapshot,
)
from ._commit import Code, Commit, DeadLetter, ScheduleRecord, Snapshot, Write
from ._dump import AgentDump
from ._errors import AlreadyStored, CommitFailed, Duplicate, HistoryGone, InvalidDump, StorageError, StorageUnavailable
from ._history import HistoryEntry, history, state_at
from ._key import AgentKey, directive_id, parse_directive_id
from ._memory import MemoryStorage
from ._opened import opened
from ._recording import agent_of, code_of, commit_of, restored_state, snapshot_of
from ._records import AgentRecord, DueSchedule, Handled, Outbox, StoredAgent, StoredDirective, StoredSignal
from ._replay import Difference, ReplayEntry, replay
from ._sqlite import SQLiteStorage
from ._storage import Storage
from ._transfer import export_agents, import_agents, read_dumps

__all__ = [
    "AgentDump",
    "AgentKey",
    "AgentRecord",
    "AlreadyStored",
    "Code",
    "Commit",
    "CommitFailed",
    "DeadLetter",
    "Difference",
    "DueSchedule",
    "Duplicate",
    "Handled",
    "HistoryEntry",
    "HistoryGone",
    "InvalidDump",
    "MemoryStorage",
    "Outbox",
    "ReplayEntry",
    "SQLiteStorage",
    "ScheduleRecord",
    "Snapshot",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "StoredAgent",
    "StoredDirective",
    "StoredSignal",
    "Write",
    "agent_of",
    "code_of",
    "commit_from_data",
    "commit_of",
    "commit_to_data",
    "decode_commit",
    "decode_data",
    "decode_signal",
    "decode_snapshot",
    "directive_id",
    "encode_commit",
    "encode_data",
    "encode_signal",
    "encode_snapshot",
    "export_agents",
    "history",
    "import_agents",
    "opened",
    "parse_directive_id",
    "read_dumps",
    "replay",
    "restored_state",
    "snapshot_of",
    "state_at",
]
