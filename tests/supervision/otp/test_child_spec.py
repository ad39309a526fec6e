"""OTP, child specification: what a child is made of, and what its start may answer."""

from __future__ import annotations

import functools
import math

import pytest
import trio
from trio.testing import MockClock

from prunella.supervision import (
    Child,
    DynamicSupervisor,
    Ignore,
    InvalidSpec,
    Restart,
    StartFailed,
    Supervisor,
    open_supervisor,
)

from .children import Troupe, ids, states


async def worker(*_: object) -> None:
    await trio.sleep_forever()


def test_a_worker_is_permanent_has_five_seconds_to_stop_and_is_not_significant() -> None:
    """OTP, child specification: defaults of a worker."""
    child = Child(worker)
    assert (child.restart, child.shutdown, child.significant) == ("permanent", 5.0, False)
    assert (child.start_timeout, child.backoff) == (None, None)


@pytest.mark.parametrize("spec", [Supervisor([]), DynamicSupervisor()])
def test_a_supervisor_as_a_child_is_permanent_and_may_take_for_ever_to_stop(
    spec: Supervisor | DynamicSupervisor,
) -> None:
    """OTP, child specification: defaults of a supervisor."""
    assert (spec.restart, spec.shutdown, spec.significant) == ("permanent", math.inf, False)


def test_the_id_is_the_qualified_name_of_the_function() -> None:
    """OTP, child specification: id; here it has a default."""

    class Service:
        async def serve(self) -> None:
            await trio.sleep_forever()

    assert Child(worker).id == "worker"
    assert Child(Service().serve).id == Service.serve.__qualname__


def test_the_id_of_a_partial_is_that_of_the_function_it_wraps() -> None:
    """OTP, child specification: id of a start with keyword arguments."""
    assert Child(functools.partial(worker, 1)).id == "worker"
    assert Child(functools.partial(functools.partial(worker, 1), 2)).id == "worker"


def test_a_callable_without_a_name_needs_an_id() -> None:
    """OTP, child specification: missing_id."""

    class Nameless:
        async def __call__(self) -> None:
            await trio.sleep_forever()

    with pytest.raises(InvalidSpec, match="id"):
        Child(Nameless())
    assert Child(Nameless(), id="named").id == "named"


def test_two_children_of_one_id_are_refused_before_anything_starts() -> None:
    """OTP, child specification: duplicate_child_name."""
    with pytest.raises(InvalidSpec, match="give one an id") as refusal:
        Supervisor([Child(worker, 1), Child(worker, 2)])
    assert "worker" in str(refusal.value)


def test_two_children_of_one_id_are_both_named() -> None:
    """OTP, child specification: duplicate_child_name."""

    async def first(*_: object) -> None: ...
    async def second(*_: object) -> None: ...

    pairs = [
        (Child(first, id="same"), Child(second, id="same"), ["first", "second"]),
        (Child(first, "x" * 500, id="same"), Child(second, "y" * 500, id="same"), ["first", "second"]),
        (Child(first, id="same"), DynamicSupervisor(id="same"), ["first", "DynamicSupervisor"]),
    ]
    for one, other, names in pairs:
        with pytest.raises(InvalidSpec, match="give one an id") as refusal:
            Supervisor([one, other])
        for name in [*names, "same"]:
            assert name in str(refusal.value)


def test_a_child_needs_something_to_call() -> None:
    """OTP, child specification: missing_start, invalid_mfa."""
    with pytest.raises(InvalidSpec, match="function"):
        Child("worker")  # type: ignore[arg-type]


@pytest.mark.parametrize("restart", ["foo", "", None, 1])
def test_an_unknown_restart_type_is_refused(restart: object) -> None:
    """OTP, child specification: invalid_restart_type."""
    with pytest.raises(InvalidSpec, match=r"restart.*permanent"):
        Child(worker, restart=restart)  # type: ignore[arg-type]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
def test_a_restart_type_is_given_as_a_member_or_as_plain_text(restart: str) -> None:
    """OTP, child specification: restart."""
    assert Child(worker, restart=restart).restart == restart
    assert Child(worker, restart=Restart(restart)) == Child(worker, restart=restart)


@pytest.mark.parametrize("shutdown", [-1, -0.001, math.nan, "foo", "5", None])
def test_an_impossible_shutdown_time_is_refused(shutdown: object) -> None:
    """OTP, child specification: invalid_shutdown."""
    with pytest.raises(InvalidSpec, match="shutdown"):
        Child(worker, shutdown=shutdown)  # type: ignore[arg-type]


@pytest.mark.parametrize("shutdown", [0, 0.25, 3, math.inf, "brutal_kill"])
def test_a_shutdown_time_is_seconds_or_infinity_or_brutal_kill(shutdown: float | str) -> None:
    """OTP, child specification: shutdown."""
    assert Child(worker, shutdown=shutdown).shutdown == shutdown  # type: ignore[arg-type]


@pytest.mark.parametrize("significant", ["yes", 1, None])
def test_significant_is_true_or_false(significant: object) -> None:
    """OTP, child specification: invalid_significant."""
    with pytest.raises(InvalidSpec, match="significant"):
        Child(worker, restart="transient", significant=significant)  # type: ignore[arg-type]


def test_a_permanent_child_cannot_be_significant() -> None:
    """OTP, child specification: bad_combination, with permanent."""
    with pytest.raises(InvalidSpec, match="significant"):
        Child(worker, significant=True)
    assert Child(worker, restart="transient", significant=True).significant


def test_a_significant_child_is_refused_where_nothing_shuts_down_by_itself() -> None:
    """OTP, child specification: bad_combination, with auto_shutdown never."""
    child = Child(worker, restart="transient", significant=True)
    with pytest.raises(InvalidSpec, match=r"significant|auto_shutdown"):
        Supervisor([child])
    assert len(Supervisor([child], auto_shutdown="any_significant").children) == 1


async def test_a_significant_child_is_also_refused_when_it_comes_later(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, child specification: bad_combination, in start_child."""
    async with open_supervisor(Supervisor()) as supervisor:
        with pytest.raises(InvalidSpec):
            await supervisor.start_child(troupe.child("c1", restart="temporary", significant=True))
        assert supervisor.which_children() == ()
        assert troupe.starts["c1"] == 0


@pytest.mark.parametrize("child", ["worker", worker, 1, None])
def test_only_specs_stand_in_the_list_of_children(child: object) -> None:
    """OTP, child specification: a spec that is none."""
    with pytest.raises(InvalidSpec, match="children"):
        Supervisor([child])  # type: ignore[list-item]


async def test_whatever_gives_a_child_may_stand_for_it(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: Elixir's short forms."""

    class Service:
        def as_child(self) -> Child:
            return troupe.child("service")

    async with open_supervisor(Supervisor([Service()])) as supervisor:
        assert states(supervisor) == {"service": "running"}


def test_what_gives_a_child_may_have_any_other_attributes() -> None:
    """OTP, child specification: Elixir's short forms."""

    class Service:
        kind = "of its own"
        restart = "at noon"

        def as_child(self) -> Child:
            return Child(worker, id="service")

    assert Supervisor([Service()]).children == (Child(worker, id="service"),)


def test_specs_compare_by_value_and_cannot_be_changed() -> None:
    """OTP, child specification: specs are terms."""
    assert Child(worker, 1, id="a") == Child(worker, 1, id="a") != Child(worker, 2, id="a")
    assert hash(Child(worker, 1)) == hash(Child(worker, 1))
    assert Supervisor([Child(worker)]) == Supervisor([Child(worker)])
    with pytest.raises(AttributeError):
        Child(worker).id = "other"  # type: ignore[misc]


async def test_the_spec_that_is_given_back_has_every_default_filled_in(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, child specification: get_childspec."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        spec = supervisor.get_child("c1").spec
        assert spec == troupe.child("c1", restart="permanent", shutdown=5.0, significant=False)
        assert (spec.restart, spec.shutdown, spec.significant) == ("permanent", 5.0, False)


async def test_kind_tells_workers_from_supervisors(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: type."""
    spec = Supervisor([*troupe.children("c1"), Supervisor(id="inner"), DynamicSupervisor()])
    async with open_supervisor(spec) as supervisor:
        kinds = [str(info.kind) for info in supervisor.which_children()]
        assert kinds == ["worker", "supervisor", "supervisor"]


async def test_what_a_start_hands_through_is_seen_in_the_info(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: start returns ok with info."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        assert supervisor.get_child("c1").started == "c1, life 1"
        assert (await supervisor.start_child(troupe.child("c2"))).started == "c2, life 1"
        await supervisor.terminate_child("c2")
        assert (await supervisor.restart_child("c2")).started == "c2, life 2"


async def test_a_start_that_declines_is_a_success_and_its_spec_stays(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: start returns ignore."""
    troupe.plan("c1", Ignore())
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))) as supervisor:
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (2, 1, 0, 2)
        assert (await supervisor.restart_child("c1")).state == "running"


async def test_a_temporary_child_that_declines_leaves_nothing_behind(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: start of a temporary child returns ignore."""
    troupe.plan("c1", Ignore())
    spec = Supervisor([troupe.child("c1", restart="temporary"), troupe.child("c2")])
    async with open_supervisor(spec) as supervisor:
        assert ids(supervisor.which_children()) == ["c2"]
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (1, 1, 0, 1)


async def test_a_child_without_handshake_declines_in_its_first_step(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: start returns ignore, of a function that takes no task_status."""

    async def declines() -> None:
        raise Ignore

    spec = Supervisor([Child(declines, id="c1"), troupe.child("c2")])
    async with open_supervisor(spec) as supervisor:
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}


async def test_a_function_that_gives_nothing_to_await_fails_to_start(autojump_clock: MockClock) -> None:
    """OTP, child specification: start returns anything else."""

    def no_coroutine() -> int:
        return 1

    with pytest.raises(StartFailed, match="c1") as failure:
        async with open_supervisor(Supervisor([Child(no_coroutine, id="c1")])):  # type: ignore[arg-type]
            assert False
    assert isinstance(failure.value.__cause__, TypeError)


async def test_a_start_that_raises_has_failed_with_that_error(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, child specification: start raises."""
    error = OSError("no such host")
    troupe.plan("c1", error)
    with pytest.raises(StartFailed, match="no such host") as failure:
        async with open_supervisor(Supervisor(troupe.children("c1"))):
            assert False
    assert failure.value.id == "c1"
    assert failure.value.__cause__ is error
