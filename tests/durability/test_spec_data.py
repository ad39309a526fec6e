"""What is stored of how an agent is to be started comes back as it was; ids that are derived are always the same."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.durability.agents import Puppet, forgiving

from prunella.agents import Address, Durable
from prunella.conversion import Map
from prunella.runtime import AgentSpec, emit, max_errors
from prunella.runtime._bonds import Birth, Bond
from prunella.runtime._derived import derived_id
from prunella.runtime._spec_data import bond_of, spec_from_data, spec_to_data, with_bond
from prunella.supervision import Backoff, InvalidSpec

_names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
_addresses = st.builds(Address, _names, st.none() | _names)
_bonds = st.builds(
    Bond,
    _addresses,
    _names,
    st.sampled_from(["stop", "continue", "emit"]),
    st.builds(Birth, st.dictionaries(_names, st.integers() | _names).map(Map)),
)
_specs = st.builds(
    AgentSpec,
    st.just(Puppet),
    _names,
    partition=st.none() | _names,
    restart=st.sampled_from(["permanent", "transient", "temporary"]),
    restore=st.sampled_from(["fresh", "last"]),
    shutdown=st.floats(0, 100) | st.sampled_from(["brutal_kill", math.inf]),
    mailbox=st.integers(1, 10_000),
    effects=st.integers(1, 10_000),
    runs=st.integers(1, 100),
    max_restarts=st.integers(0, 100),
    max_seconds=st.floats(0.1, 100),
    debug=st.booleans(),
    subscribe=st.lists(st.sampled_from(["a.*", "b", "c.**"]), unique=True).map(tuple),
    error_policy=st.sampled_from(["log", "stop", emit("went.wrong"), max_errors(3), forgiving]),
    backoff=st.none() | st.builds(Backoff, st.floats(0.1, 1), st.floats(1, 10)),
    durable=st.builds(
        Durable,
        snapshot_every=st.integers(1, 100),
        max_deliveries=st.integers(1, 9),
        keep=st.floats(0, 1e9) | st.just(math.inf),
        dedupe_for=st.floats(0, 1e9),
        keep_turns=st.none() | st.integers(0, 100),
    ),
)


@given(_specs, st.none() | _bonds)
def test_a_spec_comes_back_as_it_was(spec: AgentSpec[Any], bond: Bond | None) -> None:
    data = json.loads(json.dumps(spec_to_data(spec, bond), allow_nan=False))
    back = spec_from_data(Puppet, Address(spec.id, spec.partition), data)
    assert bond_of(data) == bond
    if bond is None:
        assert back == spec
    else:
        assert (back.parent, back.tag, back.on_parent_death) == (bond.parent, bond.tag, bond.on_parent_death)
    assert spec_to_data(back, bond) == data


@given(_specs, _bonds, st.none() | _bonds)
def test_another_parent_changes_nothing_else(spec: AgentSpec[Any], before: Bond, after: Bond | None) -> None:
    changed = with_bond(spec_to_data(spec, before), after)
    assert bond_of(changed) == after
    family = {"parent", "tag", "meta", "on_parent_death"}
    expected = spec_to_data(spec, after)
    assert {name: changed[name] for name in changed.keys() - family} == {
        name: expected[name] for name in expected.keys() - family
    }


def test_an_error_policy_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="error_policy"):
        spec_to_data(AgentSpec(Puppet, "p", error_policy=lambda agent, error: None), None)


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC)), st.text())
def test_an_id_is_made_of_a_time_and_a_name(now: datetime, name: str) -> None:
    id = derived_id(now, name)
    assert id == derived_id(now, name)
    assert (UUID(id).version, UUID(id).variant) == (8, "specified in RFC 4122")
    assert UUID(id).int >> 80 == int(now.timestamp() * 1000)
    assert id != derived_id(now, name + "x")
