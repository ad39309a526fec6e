"""The ref of an agent stands for itself as a target: what is dispatched there is cast."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from prunella import Agent, AgentNotFound, AgentSpec, AgentStopped, InvalidArgument, Signal, on, open_runtime
from prunella.dispatch import DispatchError, NamedTarget, NoopTarget, deliver, open_dispatcher
from prunella.signals import Route, Router
from prunella.supervision import Child, Registry, Supervisor, open_supervisor

SIGNAL = Signal("hit", {"number": 1})


class Wall(Agent, name="wall"):
    hits: tuple[int, ...] = ()

    @on("hit")
    def hit(self, number: int):
        return self.set(hits=(*self.hits, number))


async def test_what_is_dispatched_to_a_ref_is_handled_by_the_agent() -> None:
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime, open_dispatcher() as dispatcher:
        wall = runtime.ref("wall", Wall)
        await dispatcher.dispatch(SIGNAL, wall)
        await wall.wait_for(lambda state: state.hits == (1,))


async def test_signals_to_one_agent_arrive_in_the_order_of_the_calls() -> None:
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime, open_dispatcher() as dispatcher:
        for number in range(200):
            await dispatcher.dispatch(Signal("hit", {"number": number}), runtime.ref("wall"))
        await runtime.ref("wall", Wall).wait_for(lambda state: state.hits == tuple(range(200)))


async def test_a_ref_needs_no_dispatcher() -> None:
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime:
        await deliver(SIGNAL, runtime.ref("wall"))
        await runtime.ref("wall", Wall).wait_for(lambda state: state.hits == (1,))


async def test_a_ref_is_a_target_of_routes_beside_others() -> None:
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime, open_dispatcher() as dispatcher:
        wall = runtime.ref("wall", Wall)
        router = Router([Route("hit", wall), Route("**", NoopTarget())])
        results = await dispatcher.dispatch_all(SIGNAL, router.route(SIGNAL))
        assert [(result.target, result.ok) for result in results] == [(wall, True), (NoopTarget(), True)]
        await wall.wait_for(lambda state: state.hits == (1,))


async def hold(registry: Registry[str], value: object, task_status: trio.TaskStatus[None]) -> None:
    registry.register("masonry", value)
    task_status.started()
    await trio.sleep_forever()


async def test_a_ref_may_be_registered_under_a_name() -> None:
    registry: Registry[str] = Registry()
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime:
        wall = runtime.ref("wall", Wall)
        async with open_supervisor(Supervisor([Child(hold, registry, wall)])):
            await deliver(SIGNAL, NamedTarget(registry, "masonry"))
            await wall.wait_for(lambda state: state.hits == (1,))
            await wall.stop()
            with pytest.raises(DispatchError) as caught:
                await deliver(SIGNAL, NamedTarget(registry, "masonry"))
    assert (caught.value.reason, caught.value.target) == ("closed", NamedTarget(registry, "masonry"))


async def test_an_agent_that_has_stopped_is_closed() -> None:
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime, open_dispatcher() as dispatcher:
        wall = runtime.ref("wall")
        await wall.stop("torn down")
        with pytest.raises(DispatchError, match=r"AgentRef 'wall' .*: closed \(AgentStopped\)") as caught:
            await dispatcher.dispatch(SIGNAL, wall)
    assert (caught.value.reason, caught.value.retryable, caught.value.target) == ("closed", False, wall)
    assert isinstance(caught.value.__cause__, AgentStopped)


async def test_an_agent_that_never_was_is_unreachable() -> None:
    async with open_runtime() as runtime, open_dispatcher() as dispatcher:
        (result,) = await dispatcher.dispatch_all(SIGNAL, [runtime.ref("nobody")])
    assert isinstance(result.error, DispatchError)
    assert (result.error.reason, result.error.retryable) == ("unreachable", True)
    assert isinstance(result.error.__cause__, AgentNotFound)


async def test_what_else_a_cast_raises_is_the_cause() -> None:
    async with open_runtime(AgentSpec(Wall, "wall")) as runtime:
        with pytest.raises(DispatchError) as caught:
            await deliver(Signal("prunella.forged", {}), runtime.ref("wall"))
    assert caught.value.reason == "raised"
    assert isinstance(caught.value.__cause__, InvalidArgument)


async def test_a_full_mailbox_makes_the_dispatch_wait(autojump_clock: MockClock) -> None:
    async with open_runtime(AgentSpec(Wall, "wall", mailbox=1)) as runtime, open_dispatcher() as dispatcher:
        wall = runtime.ref("wall", Wall)
        await wall.suspend()
        await dispatcher.dispatch(SIGNAL, wall)
        with trio.move_on_after(60) as scope:
            await dispatcher.dispatch(SIGNAL, wall)
        assert scope.cancelled_caught
        await wall.resume()
        await wall.wait_for(lambda state: state.hits == (1,))


async def test_events_name_the_agent() -> None:
    events = []
    async with open_runtime(AgentSpec(Wall, "wall"), name="house") as runtime:
        async with open_dispatcher(telemetry=[events.append]) as dispatcher:
            await dispatcher.dispatch(SIGNAL, runtime.ref("wall"))
    assert [(event.name, event.kind) for event in events] == [("dispatch.start", "agent"), ("dispatch.stop", "agent")]
    assert "'wall'" in events[0].target
    assert "'house'" in events[0].target
