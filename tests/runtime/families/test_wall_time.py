"""The runtime's wall clock: what time it is in turns and on signals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Log, do, settle

from prunella.agents import Agent, Context, Emit, Reply, Run, on
from prunella.errors import InvalidArgument
from prunella.runtime import open_runtime
from prunella.signals import Signal

EPOCH = datetime(2030, 6, 1, 12, 0, tzinfo=UTC)


class Watch(Agent, name="watch"):
    @on("now")
    def now(self, context: Context, signal: Signal) -> Any:
        return Reply((context.now, signal.time))


async def test_turns_and_signals_have_the_time_of_the_runtime() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Watch, "w")
        assert await ref.ask("now") == (EPOCH, EPOCH)
        await trio.sleep(90)
        later = EPOCH + timedelta(seconds=90)
        assert await ref.ask("now") == (later, later)


async def test_an_epoch_of_another_zone_is_the_same_moment() -> None:
    epoch = EPOCH.astimezone(timezone(timedelta(hours=5)))
    async with open_runtime(epoch=epoch) as runtime:
        now, time = await (await runtime.start_agent(Watch, "w")).ask("now")
        assert now == time == EPOCH
        assert now.tzinfo is UTC


async def test_without_an_epoch_the_system_says_what_time_it_is_at_the_opening() -> None:
    before = datetime.now(UTC)
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Watch, "w")
        await trio.sleep(3600)
        now, time = await ref.ask("now")
        assert now == time
        assert timedelta(hours=1) <= now - before <= timedelta(hours=1, minutes=2), "it goes as Trio's clock does"


async def test_results_and_emitted_signals_have_it_too() -> None:
    async def work() -> str:
        await trio.sleep(7)
        return "done"

    async with open_runtime(epoch=EPOCH) as runtime, runtime.subscribe("**") as stream:
        ref = await runtime.start_agent(Log, "log")
        await do(ref, Run(work, then="note.done"), Emit("note.out", {}))
        assert (await stream.receive()).time == EPOCH
        await trio.sleep(8)
        [result] = ref.state().signals
        assert result.time == EPOCH + timedelta(seconds=7)
        assert result.data == {"result": "done"}


async def test_a_signal_that_was_made_outside_keeps_its_own_time() -> None:
    async with open_runtime(epoch=EPOCH) as runtime:
        ref = await runtime.start_agent(Watch, "w")
        made = Signal("now", time=datetime(2001, 1, 1, tzinfo=UTC))
        assert await ref.ask(made) == (EPOCH, made.time)


async def test_two_runtimes_have_two_clocks() -> None:
    async with open_runtime(name="a", epoch=EPOCH) as one:
        await trio.sleep(10)
        async with open_runtime(name="b", epoch=EPOCH) as other:
            assert (await (await one.start_agent(Watch)).ask("now"))[0] == EPOCH + timedelta(seconds=10)
            assert (await (await other.start_agent(Watch)).ask("now"))[0] == EPOCH
            await settle()


@pytest.mark.parametrize("epoch", [datetime(2030, 1, 1), "2030-01-01T00:00:00Z", 0])
async def test_an_epoch_is_an_aware_datetime(epoch: Any) -> None:
    with pytest.raises(InvalidArgument) as raised:
        open_runtime(epoch=epoch)
    assert raised.value.field == "epoch"


async def test_a_clock_that_follows_the_system_is_set_again_within_a_minute() -> None:
    from tests.runtime.families.test_cron import Wall

    async with open_runtime() as runtime:
        wall = Wall(runtime)
        ref = await runtime.start_agent(Watch, "w")
        start = (await ref.ask("now"))[0]
        wall.shift = timedelta(hours=2)
        await trio.sleep(61)
        assert (await ref.ask("now"))[0] - start == timedelta(hours=2, seconds=61)
        wall.shift += timedelta(seconds=0.5)
        await trio.sleep(61)
        assert (await ref.ask("now"))[0] - start == timedelta(hours=2, seconds=122), "half a second is let be"
