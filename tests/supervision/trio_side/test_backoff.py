"""`Backoff`: a growing delay before restarts."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from tests.supervision.trio_side.children import crash, of, steady, until

from prunella.supervision import (
    Backoff,
    Child,
    ChildRestarted,
    ChildRestarting,
    DynamicSupervisor,
    GaveUp,
    InvalidSpec,
    Supervisor,
    SupervisorFailed,
    open_supervisor,
)

exact = Backoff(initial=1, maximum=8, factor=2, jitter=0)


class Crashing:
    """A child that crashes `lifetime` seconds after each start, and writes down when it starts."""

    def __init__(self, lifetime: float, *, crashes: float = float("inf")) -> None:
        self.lifetime = lifetime
        self.left = crashes
        self.starts: list[float] = []

    async def __call__(self) -> None:
        self.starts.append(trio.current_time())
        if self.left <= 0:
            await trio.sleep_forever()
        self.left -= 1
        await trio.sleep(self.lifetime)
        raise ValueError("crash")

    @property
    def waits(self) -> list[float]:
        """How long each restart was waited for."""
        return [round(b - a - self.lifetime, 6) for a, b in pairwise(self.starts)]


async def test_each_restart_in_a_row_waits_longer_up_to_the_maximum_and_the_first_waits_too(autojump_clock):
    child = Crashing(0.5, crashes=6)
    async with open_supervisor(Supervisor([Child(child, id="c", backoff=exact)], max_restarts=100)):
        await until(lambda: len(child.starts) == 7)
    assert child.waits == [1, 2, 4, 8, 8, 8]


async def test_the_child_is_restarting_while_it_waits_and_siblings_go_on(autojump_clock):
    journal: list[str] = []
    child = Crashing(1, crashes=1)
    spec = Supervisor([Child(child, id="c", backoff=Backoff(initial=5, jitter=0)), Child(steady, journal, "b", id="b")])
    async with open_supervisor(spec) as supervisor:
        await trio.sleep(3)
        info = supervisor.get_child("c")
        assert str(info.state) == "restarting"
        assert info.restarts == 0
        assert supervisor.count_children().active == 1
        with pytest.raises(ChildRestarting):
            await supervisor.restart_child("c")
        with pytest.raises(ChildRestarting):
            await supervisor.delete_child("c")
        assert journal == ["+b"]
        await trio.sleep(4)
        assert str(supervisor.get_child("c").state) == "running"
        assert supervisor.get_child("c").restarts == 1


async def test_a_life_of_at_least_maximum_seconds_ends_the_row(autojump_clock):
    lifetimes = [0.5, 0.5, 8, 0.5]
    starts = []
    ends = []

    async def child():
        starts.append(trio.current_time())
        if not lifetimes:
            await trio.sleep_forever()
        await trio.sleep(lifetimes.pop(0))
        ends.append(trio.current_time())
        raise ValueError

    async with open_supervisor(Supervisor([Child(child, backoff=exact)], max_restarts=100)):
        await until(lambda: len(starts) == 5)
    waits = [round(start - end, 6) for start, end in zip(starts[1:], ends, strict=True)]
    assert waits == [1, 2, 1, 2]


async def test_a_shorter_life_does_not_end_the_row(autojump_clock):
    child = Crashing(7.9, crashes=3)
    async with open_supervisor(Supervisor([Child(child, id="c", backoff=exact)], max_restarts=100)):
        await until(lambda: len(child.starts) == 4)
    assert child.waits == [1, 2, 4]


async def test_jitter_moves_each_wait_by_no_more_than_its_share(autojump_clock):
    waits = []
    for _ in range(30):
        child = Crashing(0.5, crashes=2)
        spec = Child(child, id="c", backoff=Backoff(initial=10, maximum=1000, factor=2, jitter=0.1))
        async with open_supervisor(Supervisor([spec], max_restarts=100)):
            await until(lambda child=child: len(child.starts) == 3)
        waits.append(child.waits)
    first = [wait for wait, _ in waits]
    second = [wait for _, wait in waits]
    assert all(9 <= wait <= 11 for wait in first)
    assert all(18 <= wait <= 22 for wait in second)
    assert len(set(first)) > 1
    assert min(first) < 10 < max(first)


async def test_a_restart_enters_the_window_when_it_is_done(autojump_clock):
    """Crashes every 0.1 s, but restarts 3 s apart: with two allowed in 5 s, the window is never full."""
    child = Crashing(0.1, crashes=10)
    backoff = Backoff(initial=3, maximum=3, factor=1, jitter=0)
    async with open_supervisor(Supervisor([Child(child, id="c", backoff=backoff)], max_restarts=2)) as supervisor:
        await until(lambda: len(child.starts) == 11)
        assert supervisor.get_child("c").restarts == 10


async def test_giving_up_counts_only_real_tries(autojump_clock):
    """Three children wait for a restart; with two allowed the third try is the one too many, when it is made."""
    events: list[object] = []
    children = [
        Child(Crashing(0.5, crashes=1), id=name, backoff=Backoff(initial=seconds, jitter=0))
        for name, seconds in (("a", 2), ("b", 3), ("c", 4))
    ]
    with pytest.raises(SupervisorFailed) as caught:
        async with open_supervisor(Supervisor(children, max_restarts=2), telemetry=[events.append]):
            before = trio.current_time()
            await trio.sleep_forever()
    assert caught.value.child == "c"
    assert [event.time - before for event in of(events, GaveUp)] == [pytest.approx(4.5)]
    assert [event.child for event in of(events, ChildRestarted)] == ["a", "b"]


async def test_terminating_calls_a_waiting_restart_off(autojump_clock):
    child = Crashing(1)
    async with open_supervisor(Supervisor([Child(child, id="c", backoff=exact)])) as supervisor:
        await trio.sleep(1.5)
        await supervisor.terminate_child("c")
        assert str(supervisor.get_child("c").state) == "stopped"
        await trio.sleep(100)
        assert len(child.starts) == 1


async def test_leaving_the_block_does_not_wait_for_a_waiting_restart(autojump_clock):
    child = Crashing(1)
    async with open_supervisor(Supervisor([Child(child, id="c", backoff=Backoff(initial=50))])):
        await trio.sleep(2)
        before = trio.current_time()
    assert trio.current_time() == pytest.approx(before)
    assert len(child.starts) == 1


async def test_dynamic_children_wait_too(autojump_clock):
    child = Crashing(0.5, crashes=3)
    async with open_supervisor(DynamicSupervisor(max_restarts=100)) as supervisor:
        await supervisor.start_child(Child(child, id="c", backoff=exact))
        await until(lambda: len(child.starts) == 4)
    assert child.waits == [1, 2, 4]


async def test_supervisors_wait_too(autojump_clock):
    starts = []

    async def bad():
        starts.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        raise ValueError

    inner = Supervisor([Child(bad)], id="inner", max_restarts=0, backoff=exact)
    async with open_supervisor(Supervisor([inner], max_restarts=100)):
        await until(lambda: len(starts) >= 4)
    gaps = [round(b - a, 6) for a, b in pairwise(starts)]
    assert gaps[:3] == [1, 2, 4]


async def test_without_backoff_restarts_are_at_once(autojump_clock):
    child = Crashing(1, crashes=3)
    async with open_supervisor(Supervisor([Child(child, id="c")], max_restarts=100)):
        await until(lambda: len(child.starts) == 4)
    assert child.waits == [0, 0, 0]


def test_defaults_and_wrong_arguments():
    backoff = Backoff()
    assert (backoff.initial, backoff.maximum, backoff.factor, backoff.jitter) == (0.1, 60.0, 2.0, 0.1)
    assert Backoff(initial=1) == Backoff(1)
    for wrong in ({"initial": -1}, {"maximum": "x"}, {"factor": 0.5}, {"jitter": -0.1}, {"jitter": 1.5}):
        with pytest.raises(InvalidSpec, match=next(iter(wrong))):
            Backoff(**wrong)
    with pytest.raises(InvalidSpec, match="backoff"):
        Child(crash, backoff=1.0)
