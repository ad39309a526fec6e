"""How a child starts: its first step, `task_status`, `Ignore`, time limits, and starts that fail or are cut off."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from tests.supervision.trio_side.children import crash, forever, of, outcome_of, some_steps, steady, tidy, until

from prunella.supervision import (
    AlreadyStarted,
    Child,
    ChildExited,
    ChildNotFound,
    ChildStarted,
    ChildStartFailed,
    Crashed,
    DynamicSupervisor,
    Exit,
    Ignore,
    InvalidSpec,
    Killed,
    Normal,
    Shutdown,
    StartFailed,
    SupervisionError,
    Supervisor,
    SupervisorFailed,
    cleanup_scope,
    open_supervisor,
)


async def starts_after(seconds: float, value: object = None, *, task_status: trio.TaskStatus[object]) -> None:
    await trio.sleep(seconds)
    task_status.started(value)
    await trio.sleep_forever()


# The first step


async def test_what_stands_before_the_first_checkpoint_is_done_before_the_next_sibling_begins(autojump_clock):
    for _ in range(20):
        journal: list[str] = []

        async def begins(name: str, journal: list[str] = journal) -> None:
            journal.append(f"{name} begins")
            journal.append(f"{name} goes on")
            await trio.lowlevel.checkpoint()
            await trio.sleep_forever()

        async with open_supervisor(Supervisor([Child(begins, name, id=name) for name in "abc"])):
            assert journal == [f"{name} {what}" for name in "abc" for what in ("begins", "goes on")]


async def test_a_child_with_task_status_has_started_when_it_says_so(autojump_clock):
    journal: list[str] = []
    spec = Supervisor([Child(starts_after, 3, "value", id="slow"), Child(steady, journal, "next")])
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def look():
            await trio.sleep(2.9)
            assert journal == []

        before = trio.current_time()
        async with open_supervisor(spec) as supervisor:
            assert trio.current_time() - before == pytest.approx(3)
            assert journal == ["+next"]
            assert supervisor.get_child("slow").started == "value"
            assert supervisor.get_child("steady").started is None


async def test_start_child_returns_the_started_value(autojump_clock):
    async with open_supervisor(Supervisor([])) as supervisor:
        info = await supervisor.start_child(Child(starts_after, 1, {"port": 80}, id="x"))
        assert info.started == {"port": 80}
        assert str(info.state) == "running"
        assert supervisor.get_child("x") == info


async def test_started_may_be_said_without_a_value(autojump_clock):
    async def plain(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(plain)])) as supervisor:
        assert supervisor.which_children()[0].started is None


async def test_started_twice_is_a_runtime_error_in_the_child_and_the_first_value_stays(autojump_clock):
    errors = []

    async def twice(*, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(1)
        try:
            task_status.started(2)
        except RuntimeError as error:
            errors.append(error)
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(twice)])) as supervisor:
        assert supervisor.which_children()[0].started == 1
    assert len(errors) == 1


async def test_started_twice_uncaught_is_a_crash_not_a_failed_start(autojump_clock):
    async def twice(*, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(1)
        task_status.started(2)

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(twice)], max_restarts=0).run()
    assert caught.value.reason.type is RuntimeError


async def test_an_error_between_started_and_the_first_checkpoint_is_a_crash(autojump_clock):
    async def bad(*, task_status: trio.TaskStatus[int]) -> None:
        task_status.started(1)
        raise ValueError("after")

    events: list[object] = []
    async with open_supervisor(Supervisor([]), telemetry=[events.append]) as supervisor:
        info = await supervisor.start_child(Child(bad, id="bad", restart="temporary"))
        assert info.started == 1
        await some_steps()
    assert [event.reason for event in of(events, ChildExited)] == [Crashed(ValueError("after"))]
    assert of(events, ChildStartFailed) == []


async def test_an_error_in_the_first_step_of_a_child_without_task_status_is_a_crash(autojump_clock):
    async def bad() -> None:
        raise ValueError("at once")

    events: list[object] = []
    async with open_supervisor(Supervisor([Child(bad, restart="temporary")]), telemetry=[events.append]):
        await some_steps()
    assert [event.reason for event in of(events, ChildExited)] == [Crashed(ValueError("at once"))]
    assert of(events, ChildStartFailed) == []


async def test_a_child_without_task_status_that_returns_in_its_first_step_has_started(autojump_clock):
    async def done() -> None:
        pass

    events: list[object] = []
    async with open_supervisor(Supervisor([Child(done, restart="transient")]), telemetry=[events.append]) as supervisor:
        await some_steps()
        assert str(supervisor.which_children()[0].state) == "stopped"
    assert [event.reason for event in of(events, ChildExited)] == [Normal()]


# Ignore


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_a_child_that_declines_is_kept_stopped_unless_it_is_temporary(autojump_clock, restart):
    async def declines(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        raise Ignore

    journal: list[str] = []
    events: list[object] = []
    spec = Supervisor([Child(declines, id="d", restart=restart), Child(steady, journal, "next", id="next")])
    async with open_supervisor(spec, telemetry=[events.append]) as supervisor:
        assert journal == ["+next"]
        expected = ["next"] if restart == "temporary" else ["d", "next"]
        assert [child.id for child in supervisor.which_children()] == expected
        if restart != "temporary":
            assert str(supervisor.get_child("d").state) == "stopped"
        await trio.sleep(10)
        assert supervisor.count_children().active == 1
    assert [event.child for event in of(events, ChildStarted)] == ["next"]
    assert of(events, ChildStartFailed) == []


async def test_start_child_of_a_child_that_declines_is_a_success(autojump_clock):
    async def declines() -> None:
        raise Ignore

    async with open_supervisor(Supervisor([])) as supervisor:
        info = await supervisor.start_child(Child(declines, id="d"))
        assert str(info.state) == "stopped"
        info = await supervisor.restart_child("d")
        assert str(info.state) == "stopped"
        await supervisor.delete_child("d")
        assert supervisor.which_children() == ()


async def test_a_dynamic_supervisor_keeps_nothing_of_a_child_that_declines(autojump_clock):
    async def declines() -> None:
        raise Ignore

    async with open_supervisor(DynamicSupervisor(max_children=1)) as supervisor:
        info = await supervisor.start_child(Child(declines, id="d"))
        assert str(info.state) == "stopped"
        assert supervisor.which_children() == ()
        await supervisor.start_child(Child(forever))


async def test_ignore_after_started_is_a_crash(autojump_clock):
    async def late(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        raise Ignore

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(late)], max_restarts=0).run()
    assert caught.value.reason.type is Ignore


async def test_ignore_in_a_later_step_of_a_child_without_task_status_is_a_crash(autojump_clock):
    async def late() -> None:
        await trio.sleep(1)
        raise Ignore

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(late)], max_restarts=0).run()
    assert caught.value.reason.type is Ignore


# Time limits


@pytest.mark.parametrize("at_boot", [True, False])
async def test_a_start_that_takes_too_long_fails_as_killed(autojump_clock, at_boot):
    child = Child(starts_after, 10, id="slow", start_timeout=3)
    before = trio.current_time()
    with pytest.raises(StartFailed) as caught:
        if at_boot:
            await Supervisor([child]).run()
        else:
            async with open_supervisor(Supervisor([])) as supervisor:
                await supervisor.start_child(child)
    assert trio.current_time() - before == pytest.approx(3)
    assert caught.value.reason == Killed()
    assert caught.value.id == "slow"


async def test_the_limit_ends_with_the_start(autojump_clock):
    async with open_supervisor(Supervisor([Child(starts_after, 1, id="c", start_timeout=2)])) as supervisor:
        await trio.sleep(100)
        assert supervisor.get_child("c").restarts == 0
        assert str(supervisor.get_child("c").state) == "running"


async def test_the_limit_holds_for_restarts_too(autojump_clock):
    lives = 0

    async def slower(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal lives
        lives += 1
        await trio.sleep(1 if lives != 2 else 10)
        task_status.started()
        await trio.sleep(1)
        if lives == 1:
            raise ValueError
        await trio.sleep_forever()

    events: list[object] = []
    child = Child(slower, id="c", start_timeout=2)
    async with open_supervisor(Supervisor([child]), telemetry=[events.append]) as supervisor:
        await trio.sleep(20)
        assert lives == 3
        assert str(supervisor.get_child("c").state) == "running"
        assert supervisor.get_child("c").restarts == 1
    assert [(event.child, event.reason) for event in of(events, ChildStartFailed)] == [("c", Killed())]


async def test_a_start_that_is_cut_off_has_its_shutdown_time_for_cleanup(autojump_clock):
    journal: list[str] = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await tidy(journal, "slow", 2)

    async with open_supervisor(Supervisor([])) as supervisor:
        with pytest.raises(StartFailed):
            await supervisor.start_child(Child(slow, start_timeout=1))
        await until(lambda: journal == ["+slow", "?slow", "-slow"])


@pytest.mark.parametrize("wrong", [0, -1, "x"])
async def test_a_wrong_start_timeout_is_refused(wrong):
    with pytest.raises(InvalidSpec, match="start_timeout"):
        Child(forever, start_timeout=wrong)


# Starts that fail


async def test_a_function_that_is_not_async_is_a_failed_start(autojump_clock):
    calls = []

    def sync():
        calls.append(1)

    async with open_supervisor(Supervisor([])) as supervisor:
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(Child(sync, id="sync"))
        assert isinstance(caught.value.__cause__, TypeError)
        assert caught.value.reason.type is not None
        assert issubclass(caught.value.reason.type, TypeError)
        assert supervisor.which_children() == ()
    with pytest.raises(StartFailed):
        await Supervisor([Child(sync, id="sync")]).run()


async def test_a_failed_start_is_not_kept_and_counts_as_no_restart(autojump_clock):
    async def bad(*, task_status: trio.TaskStatus[None]) -> None:
        raise LookupError

    async with open_supervisor(Supervisor([Child(forever, id="a")], max_restarts=0)) as supervisor:
        for _ in range(5):
            with pytest.raises(StartFailed) as caught:
                await supervisor.start_child(Child(bad, id="bad"))
            assert isinstance(caught.value.__cause__, LookupError)
        assert [child.id for child in supervisor.which_children()] == ["a"]
        assert str(supervisor.get_child("a").state) == "running"


async def test_a_restart_by_hand_that_fails_leaves_the_child_stopped(autojump_clock):
    works = True

    async def sometimes(*, task_status: trio.TaskStatus[None]) -> None:
        if not works:
            raise LookupError("x")
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(sometimes, id="c")])) as supervisor:
        await supervisor.terminate_child("c")
        works = False
        with pytest.raises(StartFailed) as caught:
            await supervisor.restart_child("c")
        assert caught.value.reason == Crashed(LookupError("x"))
        assert str(supervisor.get_child("c").state) == "stopped"
        works = True
        assert str((await supervisor.restart_child("c")).state) == "running"
        assert supervisor.get_child("c").restarts == 0


async def test_a_failed_start_in_an_inner_supervisor_names_the_whole_path(autojump_clock):
    async def bad(*, task_status: trio.TaskStatus[None]) -> None:
        raise LookupError

    inner = Supervisor([Supervisor([Child(bad, id="c3")], id="deep")], id="inner")
    async with open_supervisor(Supervisor([])) as supervisor:
        with pytest.raises(StartFailed) as caught:
            await supervisor.start_child(inner)
        assert caught.value.id == "inner/deep/c3"
        assert isinstance(caught.value.__cause__, LookupError)
        assert supervisor.which_children() == ()


async def test_exit_before_started_is_a_failed_start_with_its_reason(autojump_clock):
    async def leaves(*, task_status: trio.TaskStatus[None]) -> None:
        raise Exit(Shutdown("not today"))

    with pytest.raises(StartFailed) as caught:
        await Supervisor([Child(leaves, id="c")]).run()
    assert caught.value.reason == Shutdown("not today")


# Starts that are cut off


async def test_cancelling_the_caller_of_start_child_cancels_that_start_and_nothing_is_kept(autojump_clock):
    journal: list[str] = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        journal.append("+")
        try:
            await trio.sleep(10)
            task_status.started()
            await trio.sleep_forever()
        finally:
            journal.append("-")

    for make in (lambda: Supervisor([]), DynamicSupervisor):
        journal.clear()
        async with open_supervisor(make()) as supervisor:
            before = trio.current_time()
            with trio.move_on_after(1) as scope:
                await supervisor.start_child(Child(slow, id="slow"))
            assert scope.cancelled_caught
            assert trio.current_time() - before == pytest.approx(1)
            await some_steps()
            assert journal == ["+", "-"]
            assert supervisor.which_children() == ()
            await supervisor.start_child(Child(forever, id="slow"))


async def test_cancelling_the_caller_of_restart_child_leaves_the_child_stopped(autojump_clock):
    quick = True

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        if not quick:
            await trio.sleep(10)
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(slow, id="slow")])) as supervisor:
        await supervisor.terminate_child("slow")
        quick = False
        with trio.move_on_after(1):
            await supervisor.restart_child("slow")
        await some_steps()
        assert str(supervisor.get_child("slow").state) == "stopped"
        await trio.sleep(20)
        assert str(supervisor.get_child("slow").state) == "stopped"


async def test_a_start_that_still_waits_for_its_turn_is_dropped_with_its_caller(autojump_clock):
    starts = []

    async def counted():
        starts.append(1)
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([])) as supervisor, trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.start_child, Child(starts_after, 5, id="slow"))
        await some_steps()
        with trio.move_on_after(1) as scope:
            await supervisor.start_child(Child(counted, id="waiting"))
        assert scope.cancelled_caught
        await trio.sleep(10)
        assert starts == []
        assert [child.id for child in supervisor.which_children()] == ["slow"]


@pytest.mark.parametrize("how", ["leave", "stop", "terminate"])
async def test_a_stop_interrupts_a_start_in_progress_whose_caller_is_told(autojump_clock, how):
    answers = []

    async def ask(supervisor):
        answers.append(await outcome_of(partial(supervisor.start_child, Child(starts_after, 100, id="slow"))))

    async with trio.open_nursery() as nursery:
        async with open_supervisor(Supervisor([Child(forever, id="a")])) as supervisor:
            before = trio.current_time()
            nursery.start_soon(ask, supervisor)
            await trio.sleep(1)
            assert str(supervisor.get_child("slow").state) == "starting"
            if how == "stop":
                nursery.start_soon(supervisor.stop)
                await trio.sleep_forever()
            elif how == "terminate":
                await supervisor.terminate_child("slow")
                await some_steps()
                assert [child.id for child in supervisor.which_children()] == ["a"]
        assert trio.current_time() - before == pytest.approx(1)
    (answer,) = answers
    assert isinstance(answer, StartFailed)
    assert answer.reason == Shutdown()
    assert answer.id == "slow"


@pytest.mark.parametrize("dynamic", [True, False])
async def test_to_terminate_a_child_whose_restart_took_too_long_and_still_cleans_up(autojump_clock, dynamic):
    """It crashes at 1, its next start is cut off at 3 and cleans up until 6. Nothing follows, and the call returns."""
    lives = 0

    async def slow_again(*, task_status: trio.TaskStatus[None]) -> None:
        nonlocal lives
        lives += 1
        if lives == 1:
            task_status.started()
            await trio.sleep(1)
            raise ValueError
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(3)

    async with open_supervisor(DynamicSupervisor() if dynamic else Supervisor([])) as supervisor:
        before = trio.current_time()
        await supervisor.start_child(Child(slow_again, id="c", start_timeout=2))
        await trio.sleep(4)
        assert str(supervisor.get_child("c").state) == "restarting"
        with trio.fail_after(100):
            await supervisor.terminate_child("c")
        assert trio.current_time() - before == pytest.approx(6)
        assert [str(child.state) for child in supervisor.which_children()] == ([] if dynamic else ["stopped"])
        await trio.sleep(10)
    assert lives == 2


async def test_all_other_calls_wait_for_a_start_in_progress(autojump_clock):
    async with open_supervisor(Supervisor([Child(forever, id="a")])) as supervisor:
        async with trio.open_nursery() as nursery:
            before = trio.current_time()
            nursery.start_soon(supervisor.start_child, Child(starts_after, 4, id="slow"))
            await some_steps()
            await supervisor.terminate_child("a")
            assert trio.current_time() - before == pytest.approx(4)


async def test_a_dynamic_supervisor_starts_its_children_concurrently(autojump_clock):
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            for seconds in (3, 1, 2):
                nursery.start_soon(supervisor.start_child, Child(starts_after, seconds))
            await trio.sleep(1.5)
            assert supervisor.count_children().active == 1
            assert supervisor.count_children().specs == 3
        assert trio.current_time() - before == pytest.approx(3)


async def test_an_ordered_supervisor_starts_one_at_a_time(autojump_clock):
    async with open_supervisor(Supervisor([])) as supervisor:
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            for n in range(3):
                nursery.start_soon(supervisor.start_child, Child(starts_after, 1, id=str(n)))
        assert trio.current_time() - before == pytest.approx(3)


async def test_two_starts_of_one_id_at_once(autojump_clock):
    answers = []

    async def ask(supervisor):
        answers.append(await outcome_of(partial(supervisor.start_child, Child(starts_after, 1, id="x"))))

    async with open_supervisor(Supervisor([])) as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, supervisor)
            nursery.start_soon(ask, supervisor)
    assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyStarted", "ChildInfo"]
    assert issubclass(AlreadyStarted, SupervisionError)


# A start that calls its own supervisor


@pytest.mark.parametrize("method", ["start_child", "restart_child", "delete_child", "terminate_child"])
async def test_a_child_that_starts_may_not_wait_for_its_own_supervisor(autojump_clock, method):
    answers = []

    async def asks(supervisor, *, task_status: trio.TaskStatus[None]) -> None:
        argument = Child(forever, id="new") if method == "start_child" else "a"
        with trio.move_on_after(5) as scope:
            answers.append(await outcome_of(partial(getattr(supervisor, method), argument)))
        assert not scope.cancelled_caught
        task_status.started()
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(forever, id="a")], id="above")) as supervisor:
        await supervisor.start_child(Child(asks, supervisor, id="asking"))
        assert type(answers[0]) is SupervisionError
        assert "asking" in str(answers[0])
        assert "above" in str(answers[0])
        assert [child.id for child in supervisor.which_children()] == ["a", "asking"]


async def test_it_may_after_it_has_started(autojump_clock):
    async def asks(supervisor, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await supervisor.start_child(Child(forever, id="new"))
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([])) as supervisor:
        await supervisor.start_child(Child(asks, supervisor, id="asking"))
        await until(lambda: len(supervisor.which_children()) == 2)


async def test_a_child_without_task_status_may_after_its_first_checkpoint(autojump_clock):
    """It has taken its first step then, and so has started."""
    answers = []

    async def asks(supervisor):
        await trio.lowlevel.checkpoint()
        answers.append(await outcome_of(partial(supervisor.start_child, Child(forever, id="new"))))
        await trio.sleep_forever()

    for make in (lambda: Supervisor([]), DynamicSupervisor):
        for _ in range(30):
            async with open_supervisor(make()) as supervisor:
                await supervisor.start_child(Child(asks, supervisor, id="asking"))
                await some_steps()
    assert [type(answer).__name__ for answer in answers] == ["ChildInfo"] * 60


async def test_a_child_that_starts_may_stop_its_supervisor(autojump_clock):
    async def stops(handle, *, task_status: trio.TaskStatus[None]) -> None:
        await handle.stop(Shutdown("no point"))

    with trio.fail_after(10):
        async with open_supervisor(Supervisor([])) as supervisor:
            with pytest.raises(StartFailed):
                await supervisor.start_child(Child(stops, supervisor))
    assert await supervisor.wait_stopped() == Shutdown("no point")


# Specs of children


async def test_arguments_and_partials(autojump_clock):
    seen = []

    async def takes(a, b, *, c=None, task_status=trio.TASK_STATUS_IGNORED):
        seen.append((a, b, c))
        task_status.started("value")
        await trio.sleep_forever()

    async with open_supervisor(
        Supervisor([Child(takes, 1, 2, id="x"), Child(partial(takes, 1, c=3), 2)])
    ) as supervisor:
        assert seen == [(1, 2, None), (1, 2, 3)]
        assert [child.started for child in supervisor.which_children()] == ["value", "value"]
        assert supervisor.which_children()[1].id == takes.__qualname__


def test_ids():
    assert Child(forever).id == "forever"
    assert Child(partial(forever)).id == "forever"
    assert Child(partial(partial(crash), None)).id == "crash"

    class Callable:
        async def __call__(self):
            pass

    with pytest.raises(InvalidSpec, match="id"):
        Child(Callable())
    assert Child(Callable(), id="given").id == "given"
    with pytest.raises(InvalidSpec, match="give one an id") as caught:
        Supervisor([Child(forever), Child(crash), Child(forever)])
    assert "forever" in str(caught.value)


def test_a_child_is_hashable_if_its_arguments_are():
    assert hash(Child(forever, id="a")) == hash(Child(forever, id="a"))
    assert len({Child(steady, "x"), Child(steady, "x"), Child(steady, "y")}) == 2
    with pytest.raises(TypeError):
        hash(Child(steady, []))


async def test_a_callable_object_with_task_status_is_a_child(autojump_clock):
    class Service:
        async def __call__(self, *, task_status):
            await trio.sleep(1)
            task_status.started("ready")
            await trio.sleep_forever()

        async def method(self, *, task_status):
            await trio.sleep(1)
            task_status.started("method")
            await trio.sleep_forever()

    spec = Supervisor([Child(Service(), id="s"), Child(Service().method, id="m")])
    async with open_supervisor(spec) as supervisor:
        assert [child.started for child in supervisor.which_children()] == ["ready", "method"]


async def test_anything_with_as_child_may_stand_in_a_list(autojump_clock):
    class Poller:
        def as_child(self):
            return Child(forever, id="poller")

    async with open_supervisor(Supervisor([Poller()])) as supervisor:
        assert supervisor.get_child("poller").id == "poller"
        with pytest.raises(ChildNotFound):
            supervisor.get_child("Poller")


async def test_the_info_has_a_spec_with_every_default_filled_in(autojump_clock):
    async with open_supervisor(Supervisor([Child(forever)])) as supervisor:
        spec = supervisor.get_child("forever").spec
        assert (spec.restart, spec.shutdown, spec.start_timeout, spec.significant, spec.backoff) == (
            "permanent", 5.0, None, False, None,
        )  # fmt: skip
