"""OTP, management: what each call does, and exactly what it answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from prunella.supervision import (
    AlreadyPresent,
    AlreadyStarted,
    Child,
    ChildNotFound,
    ChildRunning,
    ChildStarted,
    DynamicSupervisor,
    Ignore,
    InvalidSpec,
    Killed,
    Shutdown,
    StartFailed,
    SupervisionError,
    Supervisor,
    SupervisorHandle,
    SupervisorStopped,
    cleanup_scope,
    open_supervisor,
)

from .children import Troupe, crashed, error_of, ids, lives, states

Call = Callable[[SupervisorHandle, Troupe], Awaitable[object]]


async def test_start_child_appends_and_answers_with_the_new_life(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: start_child, ok."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        info = await supervisor.start_child(troupe.child("c2", restart="transient"))
        assert (info.id, info.state, info.started, info.restarts) == ("c2", "running", "c2, life 1", 0)
        assert info == supervisor.get_child("c2")
        assert list(states(supervisor)) == ["c1", "c2"]
    assert troupe.journal == ["start c1", "start c2", "stop c2", "stop c1"]


async def test_a_started_child_is_supervised_like_those_of_the_list(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: start_child, the spec is kept."""
    async with open_supervisor(Supervisor()) as supervisor:
        before = await supervisor.start_child(troupe.child("c1"))
        await troupe.crash("c1")
        after = supervisor.get_child("c1")
        assert (after.state, after.restarts) == ("running", 1)
        assert after.life != before.life


@pytest.mark.parametrize("child", ["c1", None, trio.sleep_forever])
async def test_what_is_no_spec_is_not_started(child: object, autojump_clock: MockClock) -> None:
    """OTP, management: start_child, invalid spec."""
    async with open_supervisor(Supervisor()) as supervisor:
        with pytest.raises(InvalidSpec):
            await supervisor.start_child(child)  # type: ignore[arg-type]
        assert supervisor.which_children() == ()


async def test_start_child_with_the_id_of_a_running_child_is_refused(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: start_child, already_started."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        before = lives(supervisor)
        with pytest.raises(AlreadyStarted, match="c1"):
            await supervisor.start_child(troupe.child("c1"))
        assert lives(supervisor) == before
        assert troupe.starts["c1"] == 1


async def test_start_child_with_the_id_of_a_stopped_child_is_refused(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: start_child, already_present."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        await supervisor.terminate_child("c1")
        with pytest.raises(AlreadyPresent, match="c1"):
            await supervisor.start_child(troupe.child("c1"))
        assert states(supervisor) == {"c1": "stopped"}


async def test_start_child_that_declines_is_a_success_and_keeps_the_spec(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: start_child, ignore."""
    async with open_supervisor(Supervisor()) as supervisor:
        troupe.plan("c1", Ignore())
        troupe.plan("c2", Ignore())
        assert (await supervisor.start_child(troupe.child("c1"))).state == "stopped"
        assert (await supervisor.start_child(troupe.child("c2", restart="temporary"))).state == "stopped"
        assert states(supervisor) == {"c1": "stopped"}


async def test_start_child_that_fails_keeps_nothing_and_is_not_tried_again(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: start_child, failure: spec not kept, no restart."""
    async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=0)) as supervisor:
        error = error_of("c2")
        troupe.plan("c2", error)
        with pytest.raises(StartFailed, match="c2 crashed") as failure:
            await supervisor.start_child(troupe.child("c2"))
        assert (failure.value.id, failure.value.reason) == ("c2", crashed("c2"))
        assert failure.value.__cause__ is error
        await wait_all_tasks_blocked()
        assert troupe.starts["c2"] == 1
        with pytest.raises(ChildNotFound):
            supervisor.get_child("c2")
        assert (await supervisor.start_child(troupe.child("c2"))).state == "running"


async def test_start_child_of_a_supervisor_starts_its_subtree_and_gives_its_handle(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: start_child, of a supervisor; a failure names the path."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        info = await supervisor.start_child(Supervisor(troupe.children("c2", "c3"), id="inner"))
        assert states(info.started) == {"c2": "running", "c3": "running"}
        troupe.plan("c5", error_of("c5"))
        with pytest.raises(StartFailed) as failure:
            await supervisor.start_child(Supervisor(troupe.children("c4", "c5"), id="other"))
        assert failure.value.id == "other/c5"
        assert list(states(supervisor)) == ["c1", "inner"]


@pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all", "rest_for_one"])
async def test_terminate_child_stops_it_keeps_its_spec_and_touches_no_sibling(
    strategy: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: terminate_child, siblings are untouched in every strategy; again is no error."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy=strategy, max_restarts=0)
    async with open_supervisor(spec) as supervisor:
        before = lives(supervisor)
        troupe.clear()
        await supervisor.terminate_child("c2")
        await supervisor.terminate_child("c2")
        await wait_all_tasks_blocked()
        assert troupe.journal == ["stop c2"]
        assert states(supervisor) == {"c1": "running", "c2": "stopped", "c3": "running"}
        after = lives(supervisor)
        assert (after["c1"], after["c3"]) == (before["c1"], before["c3"])
        assert supervisor.get_child("c2").reason == Shutdown()


async def test_terminate_child_deletes_a_temporary_child(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: terminate_child, temporary; afterwards it is not_found."""
    async with open_supervisor(Supervisor(troupe.children("c1", restart="temporary"))) as supervisor:
        await supervisor.terminate_child("c1")
        assert supervisor.which_children() == ()
        for call in (supervisor.terminate_child, supervisor.restart_child, supervisor.delete_child):
            with pytest.raises(ChildNotFound, match="c1"):
                await call("c1")


async def test_terminate_child_returns_when_the_child_has_ended(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: terminate_child, by the child's shutdown rule; blocks, and the supervisor with it."""

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(3)

    async with (
        open_supervisor(Supervisor([Child(cleans_up, id="c1")])) as supervisor,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(supervisor.start_child, troupe.child("before"))
        await wait_all_tasks_blocked()
        nursery.start_soon(supervisor.terminate_child, "c1")
        await trio.sleep(1)
        assert supervisor.get_child("c1").state == "stopping"
        await supervisor.start_child(troupe.child("after"))
        assert trio.current_time() == pytest.approx(3)
        assert supervisor.get_child("c1").state == "stopped"


async def test_restart_child_starts_a_stopped_child_again_in_its_place(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: restart_child, ok; not counted, siblings untouched."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all", max_restarts=0)
    async with open_supervisor(spec) as supervisor:
        before = lives(supervisor)
        await supervisor.terminate_child("c2")
        troupe.clear()
        info = await supervisor.restart_child("c2")
        assert (info.state, info.started, info.restarts) == ("running", "c2, life 2", 0)
        assert troupe.journal == ["start c2"]
        assert list(states(supervisor)) == ["c1", "c2", "c3"]
        after = lives(supervisor)
        assert (after["c1"], after["c3"]) == (before["c1"], before["c3"])
        assert after["c2"] != before["c2"]


async def test_restart_child_that_fails_leaves_it_stopped(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: restart_child, error."""
    async with open_supervisor(Supervisor(troupe.children("c1"), max_restarts=0)) as supervisor:
        await supervisor.terminate_child("c1")
        troupe.plan("c1", error_of("c1"))
        with pytest.raises(StartFailed) as failure:
            await supervisor.restart_child("c1")
        assert (failure.value.id, failure.value.reason) == ("c1", crashed("c1"))
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "stopped"}
        assert troupe.starts["c1"] == 2


async def test_restart_child_that_declines_is_a_success(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: restart_child, undefined."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        await supervisor.terminate_child("c1")
        troupe.plan("c1", Ignore())
        assert (await supervisor.restart_child("c1")).state == "stopped"
        assert (await supervisor.restart_child("c1")).state == "running"


async def test_delete_child_forgets_a_stopped_child(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: delete_child, ok; afterwards it is not_found, and its id is free."""
    async with open_supervisor(Supervisor(troupe.children("c1", "c2"))) as supervisor:
        await supervisor.terminate_child("c1")
        await supervisor.delete_child("c1")
        assert list(states(supervisor)) == ["c2"]
        with pytest.raises(ChildNotFound):
            await supervisor.restart_child("c1")
        with pytest.raises(ChildNotFound):
            supervisor.get_child("c1")
        await supervisor.start_child(troupe.child("c1"))
        assert list(states(supervisor)) == ["c2", "c1"]


@pytest.mark.parametrize(
    "call",
    [lambda supervisor: supervisor.restart_child("c1"), lambda supervisor: supervisor.delete_child("c1")],
    ids=["restart_child", "delete_child"],
)
async def test_a_running_child_can_be_neither_restarted_nor_deleted(
    call: Callable[[SupervisorHandle], Awaitable[object]], troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: running."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        before = lives(supervisor)
        with pytest.raises(ChildRunning, match="c1"):
            await call(supervisor)
        assert lives(supervisor) == before
        assert states(supervisor) == {"c1": "running"}


@pytest.mark.parametrize("name", ["terminate_child", "restart_child", "delete_child"])
async def test_an_unknown_child_is_not_found(name: str, troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: not_found."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        with pytest.raises(ChildNotFound, match="c2"):
            await getattr(supervisor, name)("c2")
        with pytest.raises(ChildNotFound, match="c2"):
            supervisor.get_child("c2")


def test_all_refusals_are_errors_of_supervision() -> None:
    """OTP, management: answers are exact; here they are exceptions of one family."""
    for error in (AlreadyStarted, AlreadyPresent, ChildNotFound, ChildRunning, StartFailed, SupervisorStopped):
        assert issubclass(error, SupervisionError)


async def test_which_children_is_in_start_order(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: which_children; a difference, there it is the reverse."""
    troupe.plan("c2", Ignore())
    async with open_supervisor(Supervisor(troupe.children("c3", "c2", "c1"))) as supervisor:
        await supervisor.start_child(troupe.child("c0"))
        await supervisor.terminate_child("c3")
        await troupe.crash("c1")
        assert [(info.id, info.state) for info in supervisor.which_children()] == [
            ("c3", "stopped"),
            ("c2", "stopped"),
            ("c1", "running"),
            ("c0", "running"),
        ]


async def test_an_info_is_a_picture_that_does_not_change(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: which_children gives values."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        await trio.sleep(2)
        (before,) = supervisor.which_children()
        await trio.sleep(1)
        await supervisor.terminate_child("c1")
        assert (before.state, before.reason, before.since) == ("running", None, 0)
        after = supervisor.get_child("c1")
        assert (after.state, after.reason, after.since) == ("stopped", Shutdown(), 3)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            before.state = "stopped"  # type: ignore[misc,assignment]


async def test_count_children_counts_specs_those_that_run_and_kinds(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: count_children, by type whether alive or not."""
    troupe.plan("c3", Ignore())
    spec = Supervisor([*troupe.children("c1", "c2", "c3"), Supervisor(id="inner"), DynamicSupervisor(id="dynamic")])
    async with open_supervisor(spec) as supervisor:
        await supervisor.terminate_child("c2")
        await supervisor.terminate_child("inner")
        counts = supervisor.count_children()
        assert (counts.specs, counts.active, counts.supervisors, counts.workers) == (5, 2, 2, 3)


async def test_count_children_counts_none_that_is_still_starting(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: count_children, active are those alive."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start_child, troupe.child("c2"))
        await wait_all_tasks_blocked()
        assert supervisor.get_child("c2").state == "starting"
        assert supervisor.count_children().active == 1
        gate.set()
        await wait_all_tasks_blocked()
        assert supervisor.count_children().active == 2


async def test_restarts_are_counted_per_child_group_restarts_included(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: what a picture says of restarts."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="rest_for_one")
    async with open_supervisor(spec) as supervisor:
        await troupe.crash("c2")
        await troupe.crash("c3")
        await supervisor.terminate_child("c3")
        await supervisor.restart_child("c3")
        assert [info.restarts for info in supervisor.which_children()] == [0, 1, 2]


async def test_a_handle_of_a_nested_supervisor_follows_its_restarts_if_it_is_asked_for_by_id(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: a pid is one life, a name is whoever has it."""
    inner = Supervisor(troupe.children("c1"), id="inner", max_restarts=0)
    async with open_supervisor(Supervisor([inner, troupe.child("c2")])) as supervisor:
        one_life, any_life = supervisor.get_child("inner").started, supervisor.supervisor("inner")
        await troupe.crash("c1")
        with pytest.raises(SupervisorStopped):
            one_life.which_children()
        assert await one_life.wait_stopped() == Shutdown()
        assert states(any_life) == {"c1": "running"}
        with pytest.raises(InvalidSpec):
            supervisor.supervisor("c2")
        with pytest.raises(ChildNotFound):
            supervisor.supervisor("c3")


ON_AN_ENDED_SUPERVISOR: dict[str, Call] = {
    "start_child": lambda supervisor, troupe: supervisor.start_child(troupe.child("c2")),
    "terminate_child": lambda supervisor, troupe: supervisor.terminate_child("c1"),
    "restart_child": lambda supervisor, troupe: supervisor.restart_child("c1"),
    "delete_child": lambda supervisor, troupe: supervisor.delete_child("c1"),
}


@pytest.mark.parametrize("call", ON_AN_ENDED_SUPERVISOR.values(), ids=ON_AN_ENDED_SUPERVISOR.keys())
async def test_a_call_to_a_supervisor_that_has_ended_says_so(
    call: Call, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: noproc."""
    async with open_supervisor(Supervisor(troupe.children("c1"), id="theatre")) as supervisor:
        pass
    with pytest.raises(SupervisorStopped, match="theatre"):
        await call(supervisor, troupe)
    assert troupe.starts == {"c1": 1}


async def test_pictures_of_a_supervisor_that_has_ended_cannot_be_had(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: noproc."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        pass
    with pytest.raises(SupervisorStopped):
        supervisor.which_children()
    with pytest.raises(SupervisorStopped):
        supervisor.count_children()
    with pytest.raises(SupervisorStopped):
        supervisor.get_child("c1")


async def test_calls_that_wait_hear_that_the_supervisor_has_ended(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: noproc, for calls already made."""
    heard = []

    async def starts(id: str, error: type[Exception]) -> None:
        with pytest.raises(error):
            await supervisor.start_child(troupe.child(id))
        heard.append(id)

    troupe.plan("c1", trio.Event())
    async with open_supervisor(Supervisor()) as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(starts, "c1", StartFailed)
        await wait_all_tasks_blocked()
        nursery.start_soon(starts, "c2", SupervisorStopped)
        await wait_all_tasks_blocked()
        with trio.CancelScope(shield=True):
            await supervisor.stop()
            await wait_all_tasks_blocked()
        assert sorted(heard) == ["c1", "c2"]
    assert troupe.starts["c2"] == 0


async def test_stop_again_returns_at_once_and_changes_nothing(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: stop."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        with trio.CancelScope(shield=True):
            await supervisor.stop(Shutdown("first"))
            await supervisor.stop(Shutdown("second"))
    await supervisor.stop()
    assert await supervisor.wait_stopped() == Shutdown("first")
    assert troupe.journal == ["start c1", "stop c1"]


async def test_the_first_reason_to_stop_holds(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: stop, while it is already stopping."""

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(3)

    async with trio.open_nursery() as nursery:
        supervisor: SupervisorHandle = await nursery.start(Supervisor([Child(cleans_up, id="c1")]).run)
        nursery.start_soon(supervisor.stop, Shutdown("first"))
        await trio.sleep(1)
        await supervisor.stop(Shutdown("second"))
        assert trio.current_time() == pytest.approx(3)
        assert await supervisor.wait_stopped() == Shutdown("first")


async def test_only_a_clean_reason_stops_a_supervisor(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: stop, with a reason."""
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor:
        with pytest.raises(InvalidSpec, match="reason"):
            await supervisor.stop(Killed())  # type: ignore[arg-type]
        assert states(supervisor) == {"c1": "running"}


async def test_a_child_may_stop_its_own_supervisor(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: stop, called by a child, which is cancelled while it waits."""
    ended = []

    async def stops_all() -> None:
        await go.wait()
        try:
            await supervisor.stop(Shutdown("enough"))
        except trio.Cancelled:
            ended.append("cancelled")
            raise

    go = trio.Event()
    spec = Supervisor([troupe.child("c1"), Child(stops_all, id="c2"), troupe.child("c3")])
    async with open_supervisor(spec) as supervisor:
        troupe.clear()
        go.set()
        await trio.sleep_forever()
    assert ended == ["cancelled"]
    assert troupe.journal == ["stop c3", "stop c1"]
    assert await supervisor.wait_stopped() == Shutdown("enough")


@pytest.mark.parametrize("name", ["terminate_child", "stop"])
async def test_to_cancel_the_caller_of_a_stop_ends_the_waiting_and_not_the_work(
    name: str, troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: a call belongs to the supervisor once it is made."""

    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(3)
                cleaned.append(trio.current_time())

    cleaned: list[float] = []
    async with trio.open_nursery() as nursery:
        supervisor: SupervisorHandle = await nursery.start(Supervisor([Child(cleans_up, id="c1")]).run)
        with trio.move_on_after(1) as patience:
            await (supervisor.terminate_child("c1") if name == "terminate_child" else supervisor.stop())
        assert patience.cancelled_caught
        assert trio.current_time() == pytest.approx(1)
        await trio.sleep(3)
        assert cleaned == pytest.approx([3])
        if name == "terminate_child":
            assert states(supervisor) == {"c1": "stopped"}
            await supervisor.stop()
        else:
            assert await supervisor.wait_stopped() == Shutdown()


async def test_a_call_that_waits_its_turn_is_served_although_its_caller_was_cancelled(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: a request in the mailbox is served whoever still waits for it."""
    gate = trio.Event()
    troupe.plan("c2", gate)
    async with open_supervisor(Supervisor(troupe.children("c1"))) as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start_child, troupe.child("c2"))
        await wait_all_tasks_blocked()
        with trio.move_on_after(1) as patience:
            await supervisor.terminate_child("c1")
        assert patience.cancelled_caught
        assert supervisor.get_child("c1").state == "running"
        gate.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == {"c1": "stopped", "c2": "running"}


async def test_a_start_by_hand_is_reported_as_a_start(troupe: Troupe, autojump_clock: MockClock) -> None:
    """OTP, management: start_child and restart_child make progress reports."""
    async with open_supervisor(Supervisor(), telemetry=[troupe.events.append]) as supervisor:
        first = await supervisor.start_child(troupe.child("c1"))
        await supervisor.terminate_child("c1")
        second = await supervisor.restart_child("c1")
    assert [(event.child, event.life) for event in troupe.heard(ChildStarted)] == [
        ("c1", first.life),
        ("c1", second.life),
    ]


async def test_a_deleted_child_takes_no_part_in_the_restart_of_a_group(
    troupe: Troupe, autojump_clock: MockClock
) -> None:
    """OTP, management: delete_child removes the spec."""
    spec = Supervisor(troupe.children("c1", "c2", "c3"), strategy="one_for_all")
    async with open_supervisor(spec) as supervisor:
        await supervisor.terminate_child("c2")
        await supervisor.delete_child("c2")
        await troupe.crash("c1")
        assert ids(supervisor.which_children()) == ["c1", "c3"]
        assert troupe.starts["c2"] == 1
