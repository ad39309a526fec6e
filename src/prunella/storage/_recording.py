"""Turns of agents as commits: what a runtime writes, and what comes back."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from copy import deepcopy
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeVar

from ..agents import Agent, RestoreFailed, Turn, directive_from_data, directive_to_data
from ..agents._turns import changed_fields, definition_of
from ..conversion import ConversionError, Map, to_data
from ..errors import PrunellaError
from ._commit import Code, Commit, ScheduleRecord, Snapshot

__all__ = ["MIGRATED", "agent_of", "code_of", "commit_of", "restored_state", "snapshot_of", "turn_of"]

A = TypeVar("A", bound=Agent)

MIGRATED = "prunella.migrated"

_NOTHING: Mapping[str, Any] = Map()


def code_of(agent_class: type[Agent]) -> Code:
    """Which code a class is: its name and version, a digest of its handlers' source, and where it is found."""
    definition = definition_of(agent_class)
    digest = sha256()
    for name in sorted(definition.handlers):
        source = _source(getattr(agent_class, name))
        digest.update(f"{name}\0{source}\0".encode("utf-8", "surrogatepass"))
    reference = f"{agent_class.__module__}:{agent_class.__qualname__}"
    return Code(definition.name, definition.version, digest.hexdigest()[:16], reference)


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # typed in, or made by a program
        code = getattr(function, "__code__", None)
        return "" if code is None else f"{code.co_code.hex()} {code.co_names}"


def commit_of(
    turn: Turn,
    claim: int,
    code: Code,
    *,
    done: Iterable[str] = (),
    schedules: Mapping[str, ScheduleRecord | None] = _NOTHING,
    answers: Mapping[str, Any] = _NOTHING,
) -> Commit:
    """A turn as it is stored.

    Args:
        turn: the turn.
        claim: of the owner that decided it.
        code: which code decided.
        done, schedules, answers: as of `Commit`; answers may be values that have a form as data.

    Raises:
        ConversionError: a field of the state holds what has no form as data; its path begins with the field.
        NotSerialisable: a directive cannot be written.
    """
    return Commit(
        turn.sequence,
        claim,
        turn.signal,
        turn.now,
        turn.seed,
        code,
        turn.parent,
        dict(turn.children),
        str(turn.outcome),
        {name: _field(name, value) for name, value in turn.changes.items()},
        tuple([directive_to_data(directive) for directive in turn.directives]),
        tuple(done),
        schedules,
        {id: to_data(answer) for id, answer in answers.items()},
    )


def _field(name: str, value: Any) -> Any:
    try:
        return to_data(value)
    except ConversionError as error:
        where = error.path if error.path.startswith("[") or not error.path else f".{error.path}"
        raise ConversionError(name + where, error.expected, error.got) from None


def snapshot_of(agent: Agent, sequence: int, now: datetime) -> Snapshot:
    """The state of an agent after a turn.

    Raises:
        ConversionError: a field of the state holds what has no form as data.
    """
    return Snapshot(sequence, now, definition_of(type(agent)).version, agent.to_data())


def restored_state(snapshot: Snapshot | None, commits: Iterable[Commit]) -> tuple[int | None, dict[str, Any]]:
    """What turns made of a state. No handler is run.

    Args:
        snapshot: the state before; `None` for the one that has nothing but defaults.
        commits: the turns that follow it, in order.

    Returns:
        The version that the state is of, `None` if nothing is stored; and the state as plain data.
    """
    version = None if snapshot is None else snapshot.version
    state = {} if snapshot is None else dict(snapshot.state)
    for commit in commits:
        if commit.signal.type == MIGRATED:  # fields of the old version must not stay
            state = dict(commit.changes)
        else:
            state.update(commit.changes)
        version = commit.code.version
    return version, state


def agent_of(agent_class: type[A], version: int | None, state: Mapping[str, Any]) -> A:
    """The agent of stored data: taken through the migrations from its version to that of the class, and converted.

    Raises:
        RestoreFailed: it is of a newer version, a migration fails or is missing, or the data does not fit.
    """
    definition = definition_of(agent_class)
    at = definition.version if version is None else version
    if at > definition.version:
        raise RestoreFailed("it was stored by a newer release", stored_version=version, version=definition.version)
    data = dict(state)
    steps = range(at, definition.version)
    missing = [step for step in steps if step not in definition.migrations]
    if missing:
        numbers = ", ".join(map(str, missing))
        raise RestoreFailed(
            f"no migration begins at version {numbers}", stored_version=version, version=definition.version
        )
    for step in steps:
        try:
            data = definition.migrations[step](deepcopy(data))
        except Exception as error:
            raise RestoreFailed(
                f"the migration from version {step} failed: {type(error).__name__}: {error}",
                stored_version=version,
                version=definition.version,
            ) from error
    try:
        return agent_class.from_data(data)
    except ConversionError as error:
        raise RestoreFailed(
            f"expected {error.expected}, got {error.got}",
            path=error.path,
            stored_version=version,
            version=definition.version,
        ) from error


def turn_of(commit: Commit, before: Agent, after: Agent) -> Turn:
    """The turn that a commit holds, between two states.

    Raises:
        RestoreFailed: a directive names what is not there any more, or the commit holds no turn.
    """
    if commit.code.version == definition_of(type(after)).version:
        values = vars(after)
        changes = {name: values[name] for name in commit.changes if name in values}
    else:  # the fields of an older version are not those of today
        changes = changed_fields(before, after)
    try:
        return Turn(
            commit.sequence,
            commit.signal,
            commit.now,
            commit.seed,
            commit.parent,
            commit.children,
            commit.outcome,
            changes,
            [directive_from_data(directive) for directive in commit.directives],
        )
    except PrunellaError as error:
        raise RestoreFailed(
            f"turn {commit.sequence} cannot be read: {error}", path=f"turn {commit.sequence}"
        ) from error
