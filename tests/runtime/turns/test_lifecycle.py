"""The first and the last signal of a life, and the end of an agent."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, settle

from prunella.agents import Agent, AgentNotFound, AgentStopped, Emit, Rejected, Run, Stop, on
from prunella.runtime import AgentEnded, AgentSpec, open_runtime
from prunella.supervision import Crashed, Killed, Normal, Shutdown
from prunella.testing import crash

lives: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def no_lives() -> None:
    lives.clear()


class Mortal(Agent, name="mortal"):
    """Hears of its beginning and of its end."""

    log: tuple[Any, ...] = ()

    @on("prunella.started")
    def started(self, restarts: int, reason: Any, restored: bool) -> Any:
        lives.append(("started", (restarts, None if reason is None else reason["kind"], restored)))
        return self.set(log=(*self.log, "started"))

    @on("prunella.stopping")
    def stopping(self, reason: Any) -> Any:
        lives.append(("stopping", reason["kind"]))
        return Emit("note", {"value": reason["kind"]}, to="p")

    @on("note")
    def note(self, value: Any = None) -> Any:
        return self.set(log=(*self.log, value))

    @on("do")
    def do(self, it: Any) -> Any:
        return it(self) if callable(it) else it

    @on("boom")
    def boom(self) -> None:
        raise ValueError("boom")


async def test_started_is_the_first_signal_of_every_life() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = await runtime.start_agent(Mortal, "m")
        assert (await ref.call("note", value=1)).log == ("started", 1)
        ref.cast_nowait("boom")
        ref.cast_nowait("note", value=2)
        await settle()
        assert ref.state().log == ("started", 2)
        assert lives == [("started", (0, None, False)), ("started", (1, "crashed", False))]


async def test_started_tells_whether_the_value_was_brought_back() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Mortal, "m", restore="last")
        await ref.call("note", value=1)
        await crash(ref)
        assert (await ref.call("note", value=2)).log == ("started", 1, "started", 2)
        assert lives[-1] == ("started", (1, "crashed", True))


async def test_stopping_is_the_last_signal_and_its_directives_are_done() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = await runtime.start_agent(Mortal, "m")
        await ref.stop("enough")
        assert lives[-1] == ("stopping", "shutdown")
        again = await runtime.start_agent(Mortal, "m")
        await again.cast("do", it=Stop())
        await settle()
        assert lives[-1] == ("stopping", "normal")
        assert runtime.ref("p", Puppet).state().log == ("shutdown", "normal")


async def test_the_work_of_stopping_has_the_shutdown_time() -> None:
    done: list[float] = []

    async def goodbye(seconds: float) -> None:
        await trio.sleep(seconds)
        done.append(seconds)

    class Polite(Agent, name="polite"):
        @on("prunella.stopping")
        def stopping(self) -> Any:
            return Run(goodbye, {"seconds": 1.0}), Run(goodbye, {"seconds": 9.0})

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Polite, "m", shutdown=3.0)
        await ref.stop()
        assert trio.current_time() == pytest.approx(3, abs=0.1)
    assert done == [1.0]


async def test_a_crash_has_no_last_signal() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = await runtime.start_agent(Mortal, "m", restart="temporary")
        await ref.cast("boom")
        await settle()
        assert lives == [("started", (0, None, False))]


async def test_a_crash_in_the_last_turn_ends_it_all_the_same() -> None:
    class Clumsy(Agent, name="clumsy"):
        @on("prunella.stopping")
        def stopping(self) -> None:
            raise ValueError("at the last moment")

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Clumsy, "c")
        await ref.stop()
        assert isinstance(await ref.wait_stopped(), Crashed)
        assert runtime.count() == 0


async def test_a_refusal_of_the_last_signal_is_only_told() -> None:
    class Stubborn(Agent, name="stubborn"):
        @on("prunella.stopping")
        def stopping(self) -> None:
            raise Rejected("I will not")

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Stubborn, "s")
        await ref.stop("now")
        assert await ref.wait_stopped() == Shutdown("now")


async def test_wildcards_do_not_hear_of_it() -> None:
    heard: list[str] = []

    class Everything(Agent, name="everything"):
        @on("**")
        def all(self, **rest: Any) -> None:
            heard.append("**")

        @on("*.started")
        def some(self, **rest: Any) -> None:
            heard.append("*.started")

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Everything, "e")
        await ref.stop()
    assert heard == []


async def test_signals_of_the_runtime_that_nobody_handles_are_no_errors(caplog: pytest.LogCaptureFixture) -> None:
    class OnlyStopping(Agent, name="only_stopping"):
        @on("prunella.stopping")
        def stopping(self) -> None: ...

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(OnlyStopping, "o", error_policy="stop")
        await settle()
        assert ref.status().state == "running"
    assert "UnhandledSignal" not in caplog.text


async def test_a_group_stop_tells_each_of_its_end() -> None:
    async with open_runtime(AgentSpec(Mortal, "m")) as runtime:
        await settle()
        assert runtime.count() == 1
    assert [life[0] for life in lives] == ["started", "stopping"]


# Stopping.


async def test_stop_returns_when_nothing_is_left() -> None:
    ended: list[float] = []

    async def work() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", shutdown=2.0)
        await ref.call("do", it=Run(work))
        await ref.stop()
        assert ended == [pytest.approx(2, abs=0.1)]
        assert runtime.count() == 0


async def test_work_that_ends_in_time_is_not_cut_off() -> None:
    done: list[int] = []

    async def work() -> None:
        await trio.sleep(1)
        done.append(1)

    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", shutdown=2.0)
        await ref.call("do", it=Run(work))
        await ref.stop()
        assert done == [1]
        assert trio.current_time() == pytest.approx(1, abs=0.1)


async def test_those_who_wait_hear_at_once_and_not_when_the_work_has_ended() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Puppet, "p", shutdown=50.0)
        await ref.call("do", it=Run(trio.sleep_forever))
        await ref.suspend()
        caller = Task(nursery, ref.call, "note")
        await settle()
        stopper = Task(nursery, ref.stop, "enough")
        await settle()
        assert isinstance(caller.error, AgentStopped)
        assert caller.error.reason == Shutdown("enough")
        assert stopper.is_waiting
        with pytest.raises(AgentStopped) as caught:
            await ref.call("note")
        assert caught.value.reason == Shutdown("enough")


async def test_an_agent_that_stops_by_itself_answers_at_once_too() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Puppet, "p", shutdown=50.0)
        await ref.call("do", it=Run(trio.sleep_forever))
        await ref.cast("do", it=Stop("done"))
        caller = Task(nursery, ref.call, "note")
        await settle()
        assert isinstance(caller.error, AgentStopped)
        assert caller.error.reason == Shutdown("done")
        await trio.sleep(60)
        assert await ref.wait_stopped() == Shutdown("done")


async def test_signals_behind_a_stop_are_handled_by_the_next_life_of_a_permanent_agent() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", restart="permanent")
        await ref.cast("do", it=Stop())
        assert (await ref.call("note", value=1)).log == (1,)
        assert ref.status().restarts == 1


async def test_stop_ends_a_permanent_agent_too() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", restart="permanent")
        await ref.stop()
        assert ref.status().state == "stopped"
        assert runtime.whereis("p") is None


async def test_stop_is_idempotent_and_may_come_from_several() -> None:
    async with open_runtime() as runtime, trio.open_nursery() as nursery:
        ref = await runtime.start_agent(Puppet, "p", shutdown=2.0)
        await ref.call("do", it=Run(trio.sleep_forever))
        stoppers = []
        for reason in ("first", "second"):
            stoppers.append(Task(nursery, ref.stop, reason))
            await settle()
        await trio.sleep(5)
        assert [stopper.error for stopper in stoppers] == [None, None]
        await ref.stop()
        assert await ref.wait_stopped() == Shutdown("first")
        with pytest.raises(AgentNotFound):
            await runtime.ref("nobody").stop()


async def test_a_stop_whose_caller_goes_is_done_all_the_same() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", shutdown=5.0)
        await ref.call("do", it=Run(trio.sleep_forever))
        with trio.move_on_after(1):
            await ref.stop()
        await trio.sleep(10)
        assert ref.status().state == "stopped"


async def test_an_agent_killed_at_once_takes_its_work_along() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", shutdown="brutal_kill")
        await ref.call("do", it=Run(trio.sleep_forever))
        await ref.stop()
        assert trio.current_time() < 0.1
        assert await ref.wait_stopped() == Killed()


async def test_each_agent_ends_once(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "a"), telemetry=[heard]) as runtime:
        b = await runtime.start_agent(Puppet, "b")
        await b.call("do", it=Stop())
        await runtime.start_agent(Puppet, "c")
    assert sorted((event.agent, event.reason) for event in heard.of(AgentEnded)) == [
        ("a", "shutdown"),
        ("b", "normal"),
        ("c", "shutdown"),
    ]


async def test_the_state_of_a_turn_that_stops_is_committed_and_its_caller_has_it() -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        other = await runtime.start_agent(Puppet, "other")
        state = await ref.call(
            "do", it=lambda self: (self.set(log=("last",)), Emit("note", {"value": 1}, to="other"), Stop())
        )
        assert state.log == ("last",)
        assert await ref.wait_stopped() == Normal()
        await settle()
        assert other.state().log == (1,)
