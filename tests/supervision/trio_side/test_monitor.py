"""`monitor()`: the exit reason of one life, exactly once, from any task, and early enough."""

from __future__ import annotations

import pytest
import trio
from tests.supervision.trio_side.children import crash, crash_when, finish_when, forever, some_steps, tidy, until

from prunella.supervision import (
    Child,
    ChildInfo,
    Crashed,
    DynamicSupervisor,
    Exit,
    Ignore,
    InvalidSpec,
    Killed,
    Normal,
    Registry,
    Shutdown,
    Supervisor,
    SupervisorFailed,
    monitor,
    open_supervisor,
    tree,
)


async def exit_when(event: trio.Event) -> None:
    await event.wait()
    raise Exit(Shutdown("mine"))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (finish_when, Normal()),
        (exit_when, Shutdown("mine")),
        (crash_when, Crashed(ValueError("crash"))),
    ],
)
async def test_it_tells_how_a_life_ended(autojump_clock, function, reason):
    """OTP, processes, monitors: one DOWN, also with reason normal."""
    event = trio.Event()
    async with open_supervisor(Supervisor([Child(function, event, id="c", restart="temporary")])) as supervisor:
        async with monitor(supervisor.get_child("c")) as down:
            event.set()
            assert await down() == reason
            assert await down() == reason


async def test_it_tells_of_a_stop_and_of_a_kill(autojump_clock):
    """OTP, processes, monitors: any reason."""
    spec = Supervisor([Child(forever, id="a"), Child(forever, id="b", shutdown="brutal_kill")])
    async with open_supervisor(spec) as supervisor:
        async with monitor(supervisor.get_child("a")) as a, monitor(supervisor.get_child("b")) as b:
            await supervisor.terminate_child("a")
            await supervisor.terminate_child("b")
            assert await a() == Shutdown()
            assert await b() == Killed()


async def test_it_watches_one_life_and_not_the_next(autojump_clock):
    """OTP, processes, monitors: of a process, not of its name."""
    events = [trio.Event(), trio.Event()]
    left = list(events)

    async def bad():
        await crash_when(left.pop(0) if left else trio.Event())

    async with open_supervisor(Supervisor([Child(bad, id="c")])) as supervisor:
        first = supervisor.get_child("c")
        async with monitor(first) as down:
            events[0].set()
            assert await down() == Crashed(ValueError("crash"))
            await until(lambda: supervisor.get_child("c").restarts == 1)
            async with monitor(supervisor.get_child("c")) as second:
                with trio.move_on_after(5) as scope:
                    await second()
                assert scope.cancelled_caught
            assert await down() == Crashed(ValueError("crash"))


async def test_any_number_of_tasks_may_wait_for_it(autojump_clock):
    """OTP, processes, monitors: exactly once; here, any number may ask."""
    event = trio.Event()
    reasons = []

    async def wait(down):
        reasons.append(await down())

    async with open_supervisor(Supervisor([Child(finish_when, event, id="c", restart="transient")])) as supervisor:
        info = supervisor.get_child("c")
        async with monitor(info) as down, monitor(info) as other, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait, down)
                nursery.start_soon(wait, other)
            await some_steps()
            event.set()
    assert reasons == [Normal()] * 6


async def test_of_a_supervisor_that_is_gone_it_tells_noproc(autojump_clock):
    """OTP, processes, monitors: noproc at once."""
    async with open_supervisor(Supervisor([Supervisor([], id="inner")])) as supervisor:
        following = supervisor.supervisor("inner")
        await supervisor.terminate_child("inner")
        await supervisor.delete_child("inner")
        async with monitor(following) as down:
            assert await down() == Shutdown("noproc")
            assert await down() == Shutdown("noproc")


async def test_of_a_child_that_declined_it_tells_a_clean_reason(autojump_clock):
    async def declines():
        raise Ignore

    async with open_supervisor(Supervisor([Child(declines, id="d")])) as supervisor:
        async with monitor(supervisor.get_child("d")) as down:
            assert (await down()).clean


async def test_of_a_life_that_crashed_long_ago_it_tells_that_reason(autojump_clock):
    """OTP, processes, monitors: of a dead process; here its reason, as long as it is known."""
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        info = await supervisor.start_child(Child(crash, id="c", restart="temporary"))
        await trio.sleep(100)
        assert supervisor.which_children() == ()
        async with monitor(info) as down:
            assert await down() == Crashed(ValueError("crash"))


async def test_of_a_supervisor_it_tells_its_exit_reason(autojump_clock):
    inner = Supervisor([Child(forever)], id="inner", restart="temporary")
    async with open_supervisor(Supervisor([inner])) as supervisor:
        info = supervisor.get_child("inner")
        handle = info.started
        async with monitor(info) as by_info, monitor(handle) as by_handle:
            await handle.stop(Shutdown("enough"))
            assert await by_info() == Shutdown("enough")
            assert await by_handle() == Shutdown("enough")
        async with monitor(handle) as late:
            assert await late() == Shutdown("enough")


async def test_of_a_root_it_tells_its_exit_reason_also_to_who_asks_late(autojump_clock):
    reasons = []

    async def watch(handle):
        async with monitor(handle) as down:
            reasons.append(await down())

    event = trio.Event()
    async with trio.open_nursery() as nursery:
        with pytest.raises(SupervisorFailed):
            async with open_supervisor(Supervisor([Child(crash_when, event)], max_restarts=0)) as handle:
                nursery.start_soon(watch, handle)
                await some_steps()
                event.set()
                await trio.sleep_forever()
    async with monitor(handle) as down:
        reasons.append(await down())
    assert reasons == [await handle.wait_stopped()] * 2


async def test_names_are_free_when_a_monitor_hears_of_the_end(autojump_clock):
    """OTP, processes, ending, 2: released first, then told."""
    registry: Registry[str] = Registry()
    found = []

    async def named():
        registry.register("x")
        await trio.sleep(1)

    async def takes_over(info):
        async with monitor(info) as down:
            await down()
            found.append(registry.whereis("x"))
            registry.register("x")
            found.append(registry.whereis("x").id)
            await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(named, id="first", restart="transient")])) as supervisor:
        await supervisor.start_child(Child(takes_over, supervisor.get_child("first"), id="second"))
        await until(lambda: len(found) == 2)
    assert found == [None, "second"]


async def test_leaving_the_block_ends_the_monitor_and_touches_nobody(autojump_clock):
    """OTP, processes, monitors: demonitor; a monitor never affects the monitored."""
    async with open_supervisor(Supervisor([Child(forever, id="c")])) as supervisor:
        async with monitor(supervisor.get_child("c")):
            pass
        with trio.move_on_after(1):
            async with monitor(supervisor.get_child("c")) as down:
                await down()
        assert str(supervisor.get_child("c").state) == "running"
        assert supervisor.get_child("c").restarts == 0


async def test_a_life_that_takes_its_time_to_stop_is_down_when_it_has_ended(autojump_clock):
    times = []

    async def watch(info):
        async with monitor(info) as down:
            await down()
            times.append(trio.current_time() - before)

    async with open_supervisor(Supervisor([Child(tidy, [], "x", 3, id="c")])) as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, supervisor.get_child("c"))
            await some_steps()
            before = trio.current_time()
            await supervisor.terminate_child("c")
    assert times == [pytest.approx(3)]


async def test_an_error_of_the_body_comes_out_as_it_is(autojump_clock):
    error = ValueError("mine")
    async with open_supervisor(Supervisor([Child(forever, id="c")])) as supervisor:
        with pytest.raises(ValueError, match="mine") as caught:
            async with monitor(supervisor.get_child("c")):
                raise error
    assert caught.value is error


@pytest.mark.parametrize("wrong", [None, "c", Child(forever)])
async def test_nothing_else_can_be_watched(wrong):
    with pytest.raises(InvalidSpec):
        async with monitor(wrong):
            pytest.fail("entered")


async def test_infos_of_a_tree_can_be_watched(autojump_clock):
    inner = Supervisor([Child(forever, id="deep")], id="inner")
    async with open_supervisor(Supervisor([inner])) as supervisor:
        info = tree(supervisor).children[0].children[0].info
        assert isinstance(info, ChildInfo)
        async with monitor(info) as down:
            await supervisor.terminate_child("inner")
            assert await down() == Shutdown()
