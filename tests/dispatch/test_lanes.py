from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunella.dispatch._lanes import MOST_WAITING, LaneFull, Lanes, Ticket


def test_the_first_may_go_at_once_and_the_next_is_woken_when_it_leaves() -> None:
    lanes, woken = Lanes(), list[str]()
    first, second = lanes.enter("a"), lanes.enter("a")
    second.wake = lambda: woken.append("second")
    assert (first.ready, second.ready) == (True, False)
    lanes.leave(first)
    assert second.ready
    assert woken == ["second"]


def test_lanes_do_not_know_each_other() -> None:
    lanes = Lanes()
    lanes.enter("a")
    assert lanes.enter("b").ready


def test_who_leaves_from_the_middle_wakes_nobody() -> None:
    lanes = Lanes()
    first, second, third = (lanes.enter("a") for _ in range(3))
    lanes.leave(second)
    assert not third.ready
    lanes.leave(first)
    assert third.ready


def test_a_lane_has_room_for_a_thousand_that_wait() -> None:
    lanes = Lanes()
    first = lanes.enter("a")
    for _ in range(MOST_WAITING):
        lanes.enter("a")
    with pytest.raises(LaneFull):
        lanes.enter("a")
    lanes.leave(first)
    assert not lanes.enter("a").ready


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.integers(0, 10))))
def test_of_each_lane_exactly_the_oldest_is_ready_and_nothing_is_left_behind(
    steps: list[tuple[str, bool, int]],
) -> None:
    lanes = Lanes()
    present: dict[str, list[Ticket]] = {"a": [], "b": [], "c": []}
    for key, enters, at in steps:
        if enters:
            present[key].append(lanes.enter(key))
        elif present[key]:
            lanes.leave(present[key].pop(at % len(present[key])))
        for tickets in present.values():
            assert [ticket.ready for ticket in tickets] == [n == 0 for n in range(len(tickets))]
    assert len(lanes) == sum(bool(tickets) for tickets in present.values())
