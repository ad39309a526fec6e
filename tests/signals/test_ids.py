"""Ids are UUIDv7, strictly increasing within the process."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from prunella.errors import InvalidArgument
from prunella.signals import InvalidSignal, new_id, new_ids, time_of_id


def test_an_id_is_a_uuid_of_version_7() -> None:
    id = new_id()
    parsed = uuid.UUID(id)

    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert str(parsed) == id


def test_ids_increase_strictly_one_by_one_and_in_batches() -> None:
    ids = [*(new_id() for _ in range(5_000)), *new_ids(5_000), new_id()]

    assert all(before < after for before, after in pairwise(ids))


def test_ids_from_several_threads_are_unique_and_increase_in_each() -> None:
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(new_ids, [2_000] * 4))

    assert len({id for batch in batches for id in batch}) == 8_000
    assert all(list(batch) == sorted(batch) for batch in batches)


def test_a_batch_has_the_size_that_was_asked_for() -> None:
    assert new_ids(0) == ()
    assert len(new_ids(7)) == 7


@pytest.mark.parametrize("n", [-1, 1.0, True, "3", None])
def test_a_batch_of_no_size_is_refused(n: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        new_ids(n)

    assert caught.value.field == "n"


def test_the_time_of_an_id_is_when_it_was_made() -> None:
    before = datetime.now(UTC) - timedelta(milliseconds=2)
    made = time_of_id(new_id())

    assert before <= made <= datetime.now(UTC) + timedelta(milliseconds=2)
    assert time_of_id("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == datetime(
        2022, 2, 22, 19, 22, 22, tzinfo=UTC
    )  # RFC 9562, A.6


@pytest.mark.parametrize(
    "id",
    [
        "",
        "T-1",
        "f19a55cd-faa2-4ec4-bce9-7bb2cf791939",
        "01890a5dac96774bbcceb302099a8057",
        "01890a5d-ac96-774b-0cce-b302099a8057",
        "ffffffff-ffff-7fff-bfff-ffffffffffff",
        None,
        7,
    ],
)
def test_what_is_no_uuid_of_version_7_has_no_time(id: Any) -> None:
    with pytest.raises(InvalidSignal):
        time_of_id(id)
