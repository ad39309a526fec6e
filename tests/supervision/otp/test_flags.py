"""OTP, supervisor flags: their defaults and what is refused; one thing at a time."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    AutoShutdown,
    DynamicSupervisor,
    InvalidSpec,
    Strategy,
    Supervisor,
    open_supervisor,
)

from .children import Troupe, states


def test_three_restarts_in_five_seconds_one_for_one_and_no_shutdown_by_itself() -> None:
    """OTP, supervisor flags: defaults; three restarts as in Elixir, not one."""
    spec = Supervisor([])
    assert (spec.strategy, spec.max_restarts, spec.max_seconds, spec.auto_shutdown) == (
        "one_for_one",
        3,
        5.0,
        "never",
    )


def test_a_dynamic_supervisor_has_the_same_window_and_no_limit() -> None:
    """OTP, supervisor flags: defaults of DynamicSupervisor."""
    spec = DynamicSupervisor()
    assert (spec.max_restarts, spec.max_seconds, spec.max_children) == (3, 5.0, math.inf)


@pytest.mark.parametrize("strategy", ["simple_one_for_one", "foo", None, 1])
def test_an_unknown_strategy_is_refused(strategy: object) -> None:
    """OTP, supervisor flags: invalid_strategy."""
    with pytest.raises(InvalidSpec, match=r"strategy.*one_for_one"):
        Supervisor([], strategy=strategy)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_restarts", [-1, 1.5, "3", None, math.inf])
@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
def test_the_number_of_restarts_is_a_whole_number_from_zero_on(
    kind: type[Supervisor] | type[DynamicSupervisor], max_restarts: object
) -> None:
    """OTP, supervisor flags: invalid_intensity."""
    with pytest.raises(InvalidSpec, match="max_restarts"):
        kind(max_restarts=max_restarts)  # type: ignore[arg-type]
    assert kind(max_restarts=0).max_restarts == 0


@pytest.mark.parametrize("max_seconds", [0, -1, math.nan, "5", None])
@pytest.mark.parametrize("kind", [Supervisor, DynamicSupervisor])
def test_the_window_is_longer_than_nothing(
    kind: type[Supervisor] | type[DynamicSupervisor], max_seconds: object
) -> None:
    """OTP, supervisor flags: invalid_period; here a float, in seconds."""
    with pytest.raises(InvalidSpec, match="max_seconds"):
        kind(max_seconds=max_seconds)  # type: ignore[arg-type]
    assert kind(max_seconds=0.5).max_seconds == 0.5


@pytest.mark.parametrize("auto_shutdown", ["always", "", None, True])
def test_an_unknown_auto_shutdown_is_refused(auto_shutdown: object) -> None:
    """OTP, supervisor flags: invalid_auto_shutdown."""
    with pytest.raises(InvalidSpec, match=r"auto_shutdown.*never"):
        Supervisor([], auto_shutdown=auto_shutdown)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", list(Strategy))
@pytest.mark.parametrize("auto_shutdown", list(AutoShutdown))
def test_a_flag_is_given_as_a_member_or_as_plain_text(strategy: Strategy, auto_shutdown: AutoShutdown) -> None:
    """OTP, supervisor flags: the values of strategy and auto_shutdown."""
    plain = Supervisor([], strategy=str(strategy), auto_shutdown=str(auto_shutdown))
    assert plain == Supervisor([], strategy=strategy, auto_shutdown=auto_shutdown)
    assert (plain.strategy, plain.auto_shutdown) == (strategy, auto_shutdown)


def test_all_strategies_and_ways_to_shut_down_are_there() -> None:
    """OTP, supervisor flags: the values of strategy and auto_shutdown."""
    assert {str(strategy) for strategy in Strategy} == {"one_for_one", "one_for_all", "rest_for_one"}
    assert {str(choice) for choice in AutoShutdown} == {"never", "any_significant", "all_significant"}


@pytest.mark.parametrize("flag", ["strategy", "auto_shutdown"])
def test_a_dynamic_supervisor_has_one_strategy_and_does_not_shut_down_by_itself(flag: str) -> None:
    """OTP, supervisor flags: DynamicSupervisor."""
    with pytest.raises(TypeError, match=flag):
        DynamicSupervisor(**{flag: "one_for_one"})  # type: ignore[arg-type]


async def test_calls_are_served_one_at_a_time_in_their_order(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, supervisor flags: one mailbox, served one at a time."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    async with (
        open_supervisor(Supervisor(troupe.children("c1"))) as supervisor,
        trio.open_nursery() as nursery,
    ):
        for call, argument in [
            (supervisor.start_child, troupe.child("c2")),
            (supervisor.terminate_child, "c1"),
            (supervisor.start_child, troupe.child("c3")),
            (supervisor.delete_child, "c1"),
        ]:
            nursery.start_soon(call, argument)
            await wait_all_tasks_blocked()
        assert troupe.journal == ["start c1", "start c2"]
        gate.set()
        await wait_all_tasks_blocked()
        assert troupe.journal == ["start c1", "start c2", "stop c1", "start c3"]
        assert states(supervisor) == {"c2": "running", "c3": "running"}


async def test_the_end_of_a_child_waits_for_the_call_that_is_being_served(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, supervisor flags: exits and requests come from one mailbox."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    async with (
        open_supervisor(Supervisor(troupe.children("c1"))) as supervisor,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(supervisor.start_child, troupe.child("c2"))
        await wait_all_tasks_blocked()
        await troupe.crash("c1")
        assert troupe.journal == ["start c1", "start c2", "end c1"]
        gate.set()
        await wait_all_tasks_blocked()
        assert troupe.journal == ["start c1", "start c2", "end c1", "start c1"]
        assert states(supervisor) == {"c1": "running", "c2": "running"}


async def test_a_supervisor_without_children_runs_until_it_is_stopped(autojump_clock: MockClock) -> None:
    """OTP, supervisor flags: a supervisor ends only when it is told to, or gives up."""
    async with open_supervisor(Supervisor()) as supervisor:
        with trio.move_on_after(1000) as patience:
            await supervisor.wait_stopped()
        assert patience.cancelled_caught
        assert supervisor.which_children() == ()


async def test_a_supervisor_that_is_asked_to_stop_by_its_parent_stops_its_children_first(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, supervisor flags: an exit from the parent."""
    inner = Supervisor(troupe.children("c1", "c2"), id="inner")
    async with open_supervisor(
        Supervisor([*troupe.children("before"), inner, *troupe.children("after")])
    ) as supervisor:
        handle = supervisor.get_child("inner").started
        troupe.clear()
        await supervisor.terminate_child("inner")
        assert troupe.journal == ["stop c2", "stop c1"]
        assert str(await handle.wait_stopped()) == "shutdown"
        assert states(supervisor) == {"before": "running", "inner": "stopped", "after": "running"}
