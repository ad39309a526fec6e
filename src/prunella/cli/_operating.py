"""What is in a database, for those who operate it; and the few things that they may do to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import UTC, datetime

from ..observer import one_line
from ..signals import encode
from ..storage import AgentKey, AgentRecord, SQLiteStorage
from ._database import DatabaseError, found
from ._history import moment

__all__ = ["all_agents", "forget", "is_run", "list_agents", "list_dead_letters", "list_directives"]

_HEAD = ["agent", "type", "turns", "open", "oldest", "dead", "owner"]
_MOST = 1_000  # dead letters of one agent that are counted


async def list_agents(storage: SQLiteStorage, runtime: str | None, write: Callable[[str], None]) -> None:
    """Writes a line for each agent, and one for each runtime.

    Raises:
        DatabaseError: there are no agents.
    """
    names = await storage.runtimes() if runtime is None else (runtime,)
    now = datetime.now(UTC)
    count = 0
    for name in names:
        rows = [_HEAD]
        async for record in all_agents(storage, name):
            rows.append(await _row(storage, record, now))
        count += len(rows) - 1
        if len(rows) == 1:
            continue
        outbox = await storage.outbox(name)
        agents = f"{len(rows) - 1} agent{'s' * (len(rows) > 2)}"
        oldest = "" if outbox.oldest is None else f", the oldest of {moment(outbox.oldest)}"
        write(f"runtime {name}: {agents}, {outbox.count} open directives{oldest}\n")
        write("".join(f"{one_line(line)}\n" for line in _aligned(rows)))
    if not count:
        raise DatabaseError(f"{storage.path}: there are no agents in it")


async def all_agents(storage: SQLiteStorage, runtime: str) -> AsyncGenerator[AgentRecord, None]:
    """The agents of a runtime, read page by page."""
    after: AgentKey | None = None
    while page := await storage.agents(runtime, after=after):
        for record in page:
            yield record
        after = page[-1].key


async def _row(storage: SQLiteStorage, record: AgentRecord, now: datetime) -> list[str]:
    directives = await storage.open_directives(record.key) if record.has_work else ()
    letters = await storage.dead_letters(record.key, limit=_MOST)
    oldest = moment(min(one.now for one in directives)) if directives else "-"
    owner = record.owner or "-"
    if record.owner is not None and not _is_alive(record, now):
        owner += " (not heard of any more)"
    dead = f"{len(letters)}{'+' * (len(letters) == _MOST)}"
    code = f"{record.code.name} {record.code.version}"
    return [str(record.key.address), code, str(record.sequence), str(len(directives)), oldest, dead, owner]


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def is_run(record: AgentRecord) -> bool:
    """Whether a program runs an agent now, as far as is known."""
    return record.owner is not None and _is_alive(record, datetime.now(UTC))


def _is_alive(record: AgentRecord, now: datetime) -> bool:
    return record.lease_until is not None and record.lease_until > now


async def list_directives(storage: SQLiteStorage, key: AgentKey, write: Callable[[str], None]) -> None:
    """Writes a line for each directive that is not done.

    Raises:
        DatabaseError: there is no such agent.
    """
    await found(storage, key)
    for one in await storage.open_directives(key):
        write(f"{one_line(f'{one.id}  {moment(one.now)}  {dict(one.directive)}')}\n")


async def list_dead_letters(storage: SQLiteStorage, key: AgentKey, write: Callable[[str], None]) -> None:
    """Writes a line for each signal that was put aside, with its id first.

    Raises:
        DatabaseError: there is no such agent.
    """
    await found(storage, key)
    for letter in await storage.dead_letters(key, limit=1_000_000):
        tried = f"tried {letter.deliveries} times" if letter.deliveries != 1 else "tried once"
        data = encode(letter.signal, limit=1 << 30).decode()
        words = [letter.signal.id, moment(letter.now), letter.signal.type, tried, letter.reason, data]
        write(f"{one_line('  '.join(words))}\n")


async def forget(storage: SQLiteStorage, key: AgentKey, *, even_if_owned: bool) -> None:
    """Deletes everything of an agent.

    Raises:
        DatabaseError: there is no such agent, or a program runs it.
    """
    record = await found(storage, key)
    if not even_if_owned and is_run(record):
        raise DatabaseError(f"agent {key.id!r} is run by {record.owner!r}; stop that program first, or use --force")
    await storage.forget(key)
