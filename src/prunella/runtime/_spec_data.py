"""Specs of agents as plain data: how a storage keeps what is to be started again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs

from ..agents import Address, Agent, Durable
from ..conversion import Map, to_data
from ..supervision import Backoff, InvalidSpec
from ._bonds import Birth, Bond
from ._policy import EmitErrors, MaxErrors
from ._spec import AgentSpec

__all__ = ["bond_of", "spec_from_data", "spec_to_data", "subscribed_by", "with_bond"]

_PLAIN = ("restart", "restore", "shutdown", "mailbox", "effects", "max_restarts")
_MORE = ("max_seconds", "debug", "runs")
_INFINITE = "infinity"


def spec_to_data(spec: AgentSpec[Any], bond: Bond | None) -> dict[str, Any]:
    """A spec as plain data, without its class, its address and its first state.

    Args:
        spec: the spec.
        bond: to its parent, if it has one.

    Raises:
        InvalidSpec: it has an error policy that cannot be written.
    """
    data: dict[str, Any] = {name: _number(getattr(spec, name)) for name in (*_PLAIN, *_MORE)}
    data["restart"] = str(spec.restart)
    data["subscribe"] = list(spec.subscribe)
    data["error_policy"] = _policy_data(spec)
    data["backoff"] = None if spec.backoff is None else _numbers(spec.backoff)
    data["durable"] = None if spec.durability is None else _numbers(spec.durability)
    data["on_parent_death"] = spec.on_parent_death
    return with_bond(data, bond)


def with_bond(data: Mapping[str, Any], bond: Bond | None) -> dict[str, Any]:
    """A stored spec, with another parent, or with none."""
    if bond is None:
        return {**data, "parent": None, "tag": None, "meta": {}}
    return {
        **data,
        "parent": [bond.parent.id, bond.parent.partition],
        "tag": bond.tag,
        "meta": to_data(dict(bond.birth.meta)),
        "on_parent_death": bond.on_parent_death,
    }


def _number(value: Any) -> Any:
    return _INFINITE if value == math.inf else value


def _back(value: Any) -> Any:
    return math.inf if value == _INFINITE else value


def _numbers(value: Any) -> dict[str, Any]:
    return {field.name: _number(getattr(value, field.name)) for field in attrs.fields(type(value))}


def _policy_data(spec: AgentSpec[Any]) -> Any:
    policy = spec.error_policy
    if isinstance(policy, str):
        return policy
    if isinstance(policy, MaxErrors):
        return {"max_errors": policy.number}
    if isinstance(policy, EmitErrors):
        return {"emit": policy.signal_type}
    name = getattr(policy, "__qualname__", "")
    if not name or "<" in name:
        expected = "a function of a module, or a plain policy, of a durable agent that is started while running"
        raise InvalidSpec(f"AgentSpec {spec.id!r}", "error_policy", expected, policy)
    return {"function": f"{policy.__module__}:{name}"}


def _policy_back(data: Any) -> Any:
    from ..agents._plain import named

    if isinstance(data, str):
        return data
    if "max_errors" in data:
        return MaxErrors(data["max_errors"])
    if "emit" in data:
        return EmitErrors(data["emit"])
    return named(data["function"])


def bond_of(data: Mapping[str, Any]) -> Bond | None:
    """The bond to the parent that a stored spec names."""
    parent = data.get("parent")
    if parent is None:
        return None
    meta = Birth(Map(data.get("meta") or {}))
    return Bond(Address(parent[0], parent[1]), str(data["tag"]), str(data["on_parent_death"]), meta)


def subscribed_by(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The patterns that a stored spec subscribes to."""
    return tuple(data.get("subscribe", ()))


def spec_from_data(agent: type[Agent], address: Address, data: Mapping[str, Any], state: Any = None) -> AgentSpec[Any]:
    """A spec of its stored data.

    Args:
        agent: its class.
        address: where it is to be found.
        data: what `spec_to_data` gave.
        state: a first state, for the check of a spec; what is stored counts.

    Raises:
        InvalidSpec, InvalidArgument: the data is none of a spec.
    """
    options = {name: _back(data[name]) for name in (*_PLAIN, *_MORE) if name in data}
    bond = bond_of(data)
    backoff = data.get("backoff")
    durable = data.get("durable")
    return AgentSpec(
        agent,
        address.id,
        partition=address.partition,
        state=state,
        subscribe=subscribed_by(data),
        error_policy=_policy_back(data.get("error_policy", "log")),
        parent=None if bond is None else bond.parent,
        tag=None if bond is None else bond.tag,
        on_parent_death=data.get("on_parent_death", "stop"),
        backoff=None if backoff is None else Backoff(**{name: _back(value) for name, value in backoff.items()}),
        durable=None if durable is None else Durable(**{name: _back(value) for name, value in durable.items()}),
        **options,
    )
