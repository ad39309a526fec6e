"""Databases on the command line: opened so that nothing is changed, and what is in them found."""

from __future__ import annotations

import argparse
import os

from ..agents import Agent, describe
from ..storage import AgentKey, AgentRecord, SQLiteStorage, Storage
from ._output import USAGE
from ._target import TargetError, load_agent

__all__ = ["DatabaseError", "agent_class", "existing", "found", "key_of"]

_MOST_NAMES = 10


class DatabaseError(Exception):
    """What is asked for is not there. The message says what is.

    Args:
        message: one line.
        status: with what the command ends.
    """

    def __init__(self, message: str, status: int = USAGE) -> None:
        super().__init__(message)
        self.status = status


def key_of(options: argparse.Namespace) -> AgentKey:
    """The agent that the options name.

    Raises:
        InvalidArgument: a name is empty.
    """
    return AgentKey(options.runtime or "default", options.partition, options.id)


def existing(path: str, *, read_only: bool = True) -> SQLiteStorage:
    """A storage on a database that is there.

    Raises:
        DatabaseError: it is not.
    """
    if not os.path.exists(path):
        raise DatabaseError(f"{path}: no such file")
    if os.path.isdir(path):
        raise DatabaseError(f"{path}: is a directory")
    if os.path.isfile(path) and not os.path.getsize(path):
        raise DatabaseError(f"{path}: is empty, there are no agents in it")
    return SQLiteStorage(os.path.abspath(path), read_only=read_only)


async def found(storage: Storage, key: AgentKey) -> AgentRecord:
    """What is known of an agent.

    Raises:
        DatabaseError: it is not there; others that may be meant are named.
    """
    record = await storage.find(key)
    if record is not None:
        return record
    others: list[AgentKey] = []
    alike: list[AgentKey] = []
    for runtime in await storage.runtimes():
        for other in await storage.agents(runtime, limit=10_000):
            (alike if other.key.id == key.id else others).append(other.key)
    where = [f"runtime {key.runtime!r}"] + ([f"partition {key.partition!r}"] if key.partition is not None else [])
    message = f"there is no agent {key.id!r} in {', '.join(where)}"
    if alike:
        raise DatabaseError(f"{message}; did you mean {_options(alike[0], key)}?")
    names = [other.id for other in others if (other.runtime, other.partition) == (key.runtime, key.partition)]
    if names:
        more = " …" if len(names) > _MOST_NAMES else ""
        raise DatabaseError(f"{message}; there are {', '.join(map(repr, names[:_MOST_NAMES]))}{more}")
    if others:
        raise DatabaseError(f"{message}; there are agents in {_options(others[0], key)}")
    raise DatabaseError(f"{message}; there are no agents at all")


def _options(key: AgentKey, asked: AgentKey) -> str:
    words = []
    if key.runtime != asked.runtime:
        words.append(f"--runtime {key.runtime}")
    if key.partition is not None:
        words.append(f"--partition {key.partition}")
    return " ".join(words) or "no partition"


_NAME_IT = "name it with --agent MODULE:CLASS or --agent PATH.py:CLASS"


def _where(record: AgentRecord) -> str:
    return f"the class of agent {record.key.id!r} is stored as {record.code.reference!r}"


def agent_class(record: AgentRecord, named: str | None) -> type[Agent]:
    """The class of an agent: the one that is named, or the one that is stored.

    Raises:
        DatabaseError: it cannot be loaded, or is of another type.
    """
    if named is None and record.code.reference.startswith("__main__:"):
        raise DatabaseError(f"{_where(record)}, in a program that was run as a script; {_NAME_IT}")
    try:
        loaded = load_agent(record.code.reference if named is None else named)
    except TargetError as error:
        if named is not None:
            raise DatabaseError(str(error)) from error
        raise DatabaseError(f"{_where(record)}, which cannot be loaded; {_NAME_IT}\n{error}") from error
    name = describe(loaded).name
    if name != record.code.name:
        raise DatabaseError(
            f"agent {record.key.id!r} is of type {record.code.name!r}, {loaded.__qualname__} is {name!r}"
        )
    return loaded
