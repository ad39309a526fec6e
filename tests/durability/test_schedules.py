"""Schedules and cron jobs of durable agents outlive crashes, kills and sleep; each tick is handled once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
import trio
from tests.durability.agents import (
    EPOCH,
    Puppet,
    World,
    copied,
    doing,
    heard_types,
    later,
    past,
    pay,
    puppets,
    quiet,
)
from tests.durability.filmed import filmed

from prunella.agents import AgentCrashed, Cancel, Cron, Run, Schedule, on
from prunella.runtime import AgentSpec, open_runtime
from prunella.storage import AgentKey, MemoryStorage
from prunella.supervision import Supervisor

# One-shots.


async def test_a_schedule_outlives_a_crash() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage(), epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Schedule(60, "tick", key="t")))
        await trio.sleep(30)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await trio.sleep(100)
        assert ref.state().log == ("tick 02 12:01:00",)
        assert ref.schedules() == ()


async def test_a_schedule_that_became_due_while_nobody_ran_fires_once_at_once() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Puppet).call(doing(Schedule(60, "tick", key="a"), Schedule(7200, "tick", key="b")))
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=later(hours=1)) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert ref.state().log == ("tick 02 13:00:00",)
        assert [info.due for info in ref.schedules()] == [later(hours=2)]
        await trio.sleep(3700)
        assert ref.state().log == ("tick 02 13:00:00", "tick 02 14:00:00")
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=later(hours=9)) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert len(runtime.ref("p", Puppet).state().log) == 2


async def test_each_tick_is_handled_once_whenever_the_process_is_killed() -> None:
    storage, copies = filmed()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(
            doing(
                Schedule(10, "note", {"value": "a"}, key="a"),
                Schedule(20, "note", {"value": "b"}),
                Schedule(30, "note", {"value": "c"}),
                note="go",
            )
        )
        await trio.sleep(60)
        await quiet(ref)
        assert ref.state().log == ("go", "a", "b", "c")
    assert len(copies) > 6
    for killed in copies:
        async with open_runtime(Supervisor(puppets("p")), storage=killed, epoch=later(seconds=15)) as runtime:
            ref = runtime.ref("p", Puppet)
            await trio.sleep(60)
            await quiet(ref)
            if ref.state().log:
                assert ref.state().log == ("go", "a", "b", "c")
            assert ref.schedules() == ()


async def test_a_schedule_that_was_called_off_does_not_come_back() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Schedule(60, "tick", key="t"), Cron("* * * * *", "tick", key="c")))
        await ref.call(doing(Cancel("t"), Cancel("c"), Cancel("unknown")))
        killed = copied(storage)
    async with open_runtime(Supervisor(puppets("p")), storage=killed, epoch=later(hours=1)) as runtime:
        await trio.sleep(200)
        assert runtime.ref("p", Puppet).state().log == ()


async def test_a_second_schedule_with_a_key_replaces_the_first() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Schedule(60, "note", {"value": "old"}, key="t")))
        await ref.call(doing(Schedule(90, "note", {"value": "new"}, key="t")))
        killed = copied(storage)
        await trio.sleep(100)
        assert ref.state().log == ("new",)
    async with open_runtime(Supervisor(puppets("p")), storage=killed, epoch=EPOCH) as runtime:
        await trio.sleep(100)
        assert runtime.ref("p", Puppet).state().log == ("new",)


async def test_schedules_and_work_share_their_keys(outside: World) -> None:
    outside.seconds = 50
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage(), epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Run(pay, {"amount": 1}, key="k")))
        await ref.call(doing(Schedule(60, "note", {"value": "x"}, key="k")))
        await trio.sleep(10)
        await ref.call(doing(Run(pay, {"amount": 2}, key="k")))
        await trio.sleep(100)
        assert outside.done == [2]
        assert ref.state().log == ()


async def test_a_signal_that_is_scheduled_has_one_id_however_often_it_is_sent() -> None:
    storage, copies = filmed()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Puppet).call(doing(Schedule(10, "tick")))
        await trio.sleep(20)
    ids = set()
    for killed in [*copies, storage]:
        kept = killed
        async with open_runtime(Supervisor(puppets("p")), storage=kept, epoch=later(seconds=30)) as runtime:
            await quiet(runtime.ref("p", Puppet))
        ids |= {entry.turn.signal.id for entry in await past(kept, Puppet, "p") if entry.turn.signal.type == "tick"}
    (id,) = ids
    assert id[14] == "8"


async def test_what_a_tick_leaves_behind_is_stored_with_its_turn() -> None:
    storage = MemoryStorage()
    key = AgentKey("default", None, "p")
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Schedule(60, "tick"), Schedule(600, "tick", key="t"), Cron("* * * * *", "tick", key="c")))
        await ref.wait_for(lambda state: len(state.log) == 2)
        stored = await storage.load(key)
        assert stored is not None
        assert {each.key: each.due for each in stored.schedules} == {"t": later(minutes=10), "c": later(minutes=2)}
        await ref.call(doing(Cancel("c")))
        await trio.sleep(600)
        stored = await storage.load(key)
        assert stored is not None
        assert stored.schedules == ()


# Cron and its misfires, R17.


@pytest.mark.parametrize(
    ("misfire", "ticks"),
    [
        ("once", ["tick 02 15:00:00"]),
        ("skip", []),
        ("all", ["tick 02 13:00:00", "tick 02 14:00:00", "tick 02 15:00:00"]),
    ],
)
async def test_what_cron_missed_while_nobody_ran_is_made_up_for_as_it_says(misfire: str, ticks: list[str]) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Puppet).call(doing(Cron("0 * * * *", "tick", key="c", misfire=misfire)))
        await trio.sleep(60)
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=later(hours=3, minutes=30)) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert list(ref.state().log) == ticks
        await trio.sleep(3600)
        assert list(ref.state().log) == [*ticks, "tick 02 16:00:00"]
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=later(hours=4, minutes=40)) as runtime:
        await quiet(runtime.ref("p", Puppet))
        assert list(runtime.ref("p", Puppet).state().log) == [*ticks, "tick 02 16:00:00"]


async def test_at_most_a_hundred_missed_ticks_are_sent() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Puppet).call(doing(Cron("* * * * *", "tick", key="c", misfire="all")))
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=later(hours=5, seconds=30)) as runtime:
        ref = runtime.ref("p", Puppet)
        await quiet(ref)
        assert len(ref.state().log) == 100
        assert ref.state().log[-1] == "tick 02 17:00:00"


@pytest.mark.parametrize("misfire", ["once", "all"])
async def test_each_tick_of_cron_is_handled_once_whenever_the_process_is_killed(misfire: str) -> None:
    storage, copies = filmed()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Puppet).call(doing(Cron("0 * * * *", "tick", key="c", misfire=misfire), note="go"))
        await trio.sleep(3600 * 3 + 60)
    expected = [f"tick 02 {hour}:00:00" for hour in (13, 14, 15, 16, 17)]
    assert len(copies) > 6
    for killed in copies:
        opened = later(hours=4, minutes=1)
        async with open_runtime(Supervisor(puppets("p")), storage=killed, epoch=opened) as runtime:
            ref = runtime.ref("p", Puppet)
            await trio.sleep(3600)
            await quiet(ref)
            log = list(ref.state().log[1:])
        if log:  # else it was killed before there was such a job
            assert len(set(log)) == len(log)
            assert log == sorted(log)
            assert log[-2:] == expected[-2:]
            if misfire == "all":
                assert log == expected


async def test_a_job_whose_key_is_used_again_while_a_tick_of_it_waits_goes_on_as_the_new_one() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Cron("0 * * * *", "tick", {"name": "old"}, key="c")))
        await ref.suspend()
        await trio.sleep(3700)
        await ref.resume()
        await ref.call(doing(Cron("30 * * * *", "tick", {"name": "new"}, key="c")))
        await trio.sleep(3600)
        assert ref.state().log == ("old 02 13:00:00", "new 02 13:30:00")
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=later(hours=2, minutes=10)) as runtime:
        ref = runtime.ref("p", Puppet)
        await trio.sleep(1800)
        assert ref.state().log == ("old 02 13:00:00", "new 02 13:30:00", "new 02 14:30:00")


# Declared ones, P22.


class Declaring(Puppet, name="declaring", durable=True, schedules=(Cron("0 * * * *", "tick", key="hourly"),)):
    pass


class DeclaringOther(
    Puppet,
    name="declaring",
    durable=True,
    schedules=(Cron("30 * * * *", "tick", {"name": "half"}, key="hourly"), Cron("15 * * * *", "tick", key="new")),
):
    pass


class DeclaringNone(Puppet, name="declaring", durable=True):
    pass


class DeclaringOnce(Puppet, name="once", durable=True, schedules=(Schedule(60, "tick", key="soon"),)):
    pass


def _due(runtime: Any, agent: type[Puppet]) -> dict[str, datetime]:
    return {info.key: info.due for info in runtime.ref("p", agent).schedules()}


async def test_declared_schedules_are_armed_once_and_not_twice_after_a_restart() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Declaring, "p"), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Declaring)
        assert _due(runtime, Declaring) == {"hourly": later(hours=1)}
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await trio.sleep(3700)
        assert ref.state().log == ("tick 02 13:00:00",)
    async with open_runtime(AgentSpec(Declaring, "p"), storage=storage, epoch=later(hours=5, minutes=1)) as runtime:
        ref = runtime.ref("p", Declaring)
        await quiet(ref)
        assert ref.state().log == ("tick 02 13:00:00", "tick 02 17:00:00")  # the missed ones, once
        assert _due(runtime, Declaring) == {"hourly": later(hours=6)}


async def test_what_the_class_declares_now_replaces_what_it_declared() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Declaring, "p"), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Declaring).call(doing(Schedule(99_000, "tick", key="own")))
    async with open_runtime(AgentSpec(DeclaringOther, "p"), storage=storage, epoch=later(minutes=10)) as runtime:
        assert _due(runtime, DeclaringOther) == {
            "hourly": later(minutes=30),
            "new": later(minutes=15),
            "own": later(seconds=99_000),
        }
        await quiet(runtime.ref("p", DeclaringOther))
    async with open_runtime(AgentSpec(DeclaringNone, "p"), storage=storage, epoch=later(minutes=11)) as runtime:
        assert _due(runtime, DeclaringNone) == {"own": later(seconds=99_000)}
        await trio.sleep(7200)
        assert runtime.ref("p", DeclaringNone).state().log == ()
    async with open_runtime(AgentSpec(DeclaringNone, "p"), storage=storage, epoch=later(minutes=12)) as runtime:
        assert _due(runtime, DeclaringNone) == {"own": later(seconds=99_000)}


async def test_a_declared_schedule_replaces_a_stored_one_of_its_key() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(DeclaringNone, "p"), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", DeclaringNone).call(doing(Schedule(600, "note", {"value": "old"}, key="hourly")))
    async with open_runtime(AgentSpec(Declaring, "p"), storage=storage, epoch=later(minutes=1)) as runtime:
        assert _due(runtime, Declaring) == {"hourly": later(hours=1)}
        await trio.sleep(3600)
        assert runtime.ref("p", Declaring).state().log == ("tick 02 13:00:00",)


async def test_a_declared_one_shot_is_armed_at_every_start() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(DeclaringOnce, "p"), storage=storage, epoch=EPOCH) as runtime:
        await trio.sleep(100)
        assert runtime.ref("p", DeclaringOnce).state().log == ("tick 02 12:01:00",)
    async with open_runtime(AgentSpec(DeclaringOnce, "p"), storage=storage, epoch=later(hours=1)) as runtime:
        ref = runtime.ref("p", DeclaringOnce)
        await trio.sleep(100)
        assert ref.state().log == ("tick 02 12:01:00", "tick 02 13:01:00")
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await trio.sleep(100)
        assert len(ref.state().log) == 3


# A schedule that arms itself again.


class Beating(Puppet, name="beating", durable=True):
    """Arms itself again with each beat."""

    @on("beat")
    def beat(self) -> Any:
        return self.set(log=(*self.log, str(len(self.log)))), Schedule(10, "beat", key="beat")


async def test_a_schedule_that_arms_itself_again_goes_on_over_kills() -> None:
    storage, copies = filmed()
    async with open_runtime(AgentSpec(Beating, "p"), storage=storage, epoch=EPOCH) as runtime:
        await runtime.ref("p", Beating).call("beat")
        await trio.sleep(35)
    for killed in copies:
        async with open_runtime(AgentSpec(Beating, "p"), storage=killed, epoch=later(seconds=35)) as runtime:
            ref = runtime.ref("p", Beating)
            before = len(ref.state().log)
            types = await heard_types(killed, Beating, "p")
            await trio.sleep(24.5)
            if types:
                assert len(ref.state().log) - before in (2, 3)
                assert len(ref.schedules()) == 1


async def test_a_schedule_far_away_is_no_problem() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call(doing(Schedule(1e13, "tick", key="never"), Schedule(86_400 * 365, "tick", key="year")))
        await quiet(ref)
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        infos = runtime.ref("p", Puppet).schedules()
        assert EPOCH + timedelta(days=365) in [info.due for info in infos]
