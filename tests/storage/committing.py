"""A program that commits as fast as it can, and says which turns were acknowledged, until it is killed."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import trio

from prunella.signals import Signal
from prunella.storage import AgentKey, Code, Commit, Snapshot, SQLiteStorage, Storage, Write

NOW = datetime(2026, 1, 31, tzinfo=UTC)
CODE = Code("counter")


def key(number: int) -> AgentKey:
    return AgentKey("default", None, f"agent-{number}")


def write(number: int, sequence: int, claim: int) -> Write:
    """A turn that has rows in every table."""
    commit = Commit(
        sequence,
        claim,
        Signal("count", {"sequence": sequence}, id=f"s{sequence}"),
        NOW,
        0,
        CODE,
        changes={"count": sequence},
        directives=({"directive": "Emit", "type": "x"},),
    )
    snapshot = Snapshot(sequence, NOW, 1, {"count": sequence}) if sequence % 5 == 0 else None
    return Write(key(number), claim, NOW, (commit,), snapshot, enqueued=(Signal("wait", id=f"w{sequence}"),))


async def commit(storage: Storage, number: int) -> None:
    record = await storage.claim(key(number), CODE, owner=f"process {os.getpid()}", now=NOW)
    sequence = record.sequence
    while True:
        sequence += 1
        outcomes = await storage.append(write(number, sequence, record.claim))
        assert outcomes == (None,), outcomes
        os.write(1, f"{number} {sequence}\n".encode())  # a whole line at once, or none of it


async def main(path: str, agents: int) -> None:
    async with SQLiteStorage(path) as storage, trio.open_nursery() as nursery:
        for number in range(agents):
            nursery.start_soon(commit, storage, number)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], int(sys.argv[2]))
