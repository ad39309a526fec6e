"""`run()`, and the block of `open_supervisor`: how they begin, end and fail."""

from __future__ import annotations

import inspect
import math
from functools import partial

import pytest
import trio
from tests.supervision.trio_side.children import (
    crash,
    crash_when,
    finish,
    finish_when,
    forever,
    outcome_of,
    some_steps,
    steady,
    tidy,
    until,
)

from prunella import PrunellaError
from prunella.supervision import (
    Child,
    ChildNotFound,
    Crashed,
    DynamicSupervisor,
    InvalidSpec,
    Killed,
    Normal,
    Shutdown,
    StartFailed,
    SupervisionError,
    Supervisor,
    SupervisorFailed,
    SupervisorStopped,
    TaskSupervisor,
    open_supervisor,
    tree,
)


def giving_up(id: str = "top") -> Supervisor:
    return Supervisor([Child(crash, id="bad")], id=id, max_restarts=0)


def ending_by_itself(event: trio.Event) -> Supervisor:
    child = Child(finish_when, event, id="last", restart="transient", significant=True)
    return Supervisor([child], auto_shutdown="any_significant")


async def failing_start(*, task_status: trio.TaskStatus[None]) -> None:
    raise LookupError("no such host")


# run()


async def test_run_returns_the_reason_when_the_tree_stops_itself(autojump_clock):
    event = trio.Event()
    event.set()
    assert await ending_by_itself(event).run() == Shutdown()


@pytest.mark.parametrize("reason", [Shutdown("maintenance"), Shutdown(), Normal()])
async def test_run_returns_the_reason_with_which_it_was_stopped(autojump_clock, reason):
    results = []

    async def runner(*, task_status):
        results.append(await Supervisor([Child(forever)]).run(task_status=task_status))

    async with trio.open_nursery() as nursery:
        handle = await nursery.start(runner)
        await handle.stop(reason)
    assert results == [reason]


async def test_run_raises_supervisor_failed_bare_when_the_tree_gives_up(autojump_clock):
    with pytest.raises(SupervisorFailed) as caught:
        await giving_up().run()
    error = caught.value
    assert (error.id, error.child) == ("top", "bad")
    assert isinstance(error.reason, Crashed)
    assert error.reason.type is ValueError
    assert "top" in str(error)
    assert "bad" in str(error)
    assert "ValueError" in str(error)
    assert "crash" in str(error)
    assert isinstance(error, SupervisionError)
    assert isinstance(error, PrunellaError)


async def test_run_raises_start_failed_bare_with_the_path_and_the_cause(autojump_clock):
    journal: list[str] = []
    spec = Supervisor(
        [
            Child(steady, journal, "a", id="a"),
            Supervisor([Child(steady, journal, "b", id="b"), Child(failing_start, id="c3")], id="inner"),
            Child(steady, journal, "never", id="never"),
        ]
    )
    with pytest.raises(StartFailed) as caught:
        await spec.run()
    error = caught.value
    assert error.id == "inner/c3"
    assert isinstance(error.reason, Crashed)
    assert isinstance(error.__cause__, LookupError)
    assert "inner/c3" in str(error)
    assert "no such host" in str(error)
    assert journal == ["+a", "+b", "-b", "-a"]


async def test_run_can_be_started_in_a_nursery(autojump_clock):
    journal: list[str] = []
    spec = Supervisor([Child(steady, journal, name, id=name) for name in "ab"])
    async with trio.open_nursery() as nursery:
        handle = await nursery.start(spec.run)
        assert journal == ["+a", "+b"]
        assert [child.id for child in handle.which_children()] == ["a", "b"]
        nursery.cancel_scope.cancel()
    assert journal == ["+a", "+b", "-b", "-a"]


async def test_run_that_cannot_start_says_so_to_who_starts_it_in_a_nursery(autojump_clock):
    went_on = False
    async with trio.open_nursery() as nursery:
        with pytest.raises(StartFailed) as caught:
            await nursery.start(Supervisor([Child(failing_start, id="x")]).run)
        assert caught.value.id == "x"
        went_on = True
    assert went_on


async def test_run_takes_keywords_only():
    with pytest.raises(TypeError):
        await Supervisor([]).run([])


# What the block is left with


async def test_the_block_is_cancelled_when_the_supervisor_gives_up(autojump_clock):
    cancelled = False
    event = trio.Event()
    with pytest.raises(SupervisorFailed) as caught:
        async with open_supervisor(Supervisor([Child(crash_when, event, id="bad")], max_restarts=0)):
            event.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                cancelled = True
                raise
    assert cancelled
    assert caught.value.child == "bad"


async def test_the_path_of_the_child_is_named_when_an_inner_supervisor_gives_up(autojump_clock):
    spec = Supervisor([giving_up("inner")], id="top", max_restarts=0)
    with pytest.raises(SupervisorFailed) as caught:
        await spec.run()
    assert caught.value.id == "top"
    assert caught.value.child == "inner"
    assert "inner" in str(caught.value)


async def test_a_block_whose_supervisor_stops_itself_ends_quietly(autojump_clock):
    event = trio.Event()
    reached = []
    async with open_supervisor(ending_by_itself(event)) as supervisor:
        event.set()
        reached.append("waits")
        await trio.sleep_forever()
        reached.append("not here")
    assert reached == ["waits"]
    assert await supervisor.wait_stopped() == Shutdown()


async def test_a_tree_that_stops_itself_while_it_starts_ends_quietly(autojump_clock):
    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        task_status.started()
        await trio.sleep_forever()

    last = Child(finish, id="last", restart="transient", significant=True)
    spec = Supervisor([last, Child(slow, id="slow")], auto_shutdown="any_significant")
    assert await spec.run() == Shutdown()
    for _ in range(10):
        async with open_supervisor(spec):
            await trio.sleep_forever()


async def test_a_tree_that_stops_itself_as_soon_as_it_has_started_ends_quietly(autojump_clock):
    last = Child(finish, id="last", restart="transient", significant=True)
    spec = Supervisor([last], auto_shutdown="any_significant")
    for _ in range(10):
        assert await spec.run() == Shutdown()
        async with open_supervisor(spec):
            await trio.sleep_forever()


async def test_a_block_whose_supervisor_is_stopped_by_another_task_ends_quietly(autojump_clock):
    async with trio.open_nursery() as nursery:
        with trio.fail_after(10):
            async with open_supervisor(Supervisor([Child(forever)])) as supervisor:
                nursery.start_soon(supervisor.stop, Shutdown("by another"))
                await trio.sleep_forever()
    assert await supervisor.wait_stopped() == Shutdown("by another")


async def test_a_block_that_stops_its_own_supervisor_goes_on_until_its_next_checkpoint(autojump_clock):
    async with open_supervisor(Supervisor([Child(forever)])) as supervisor:
        await supervisor.stop()
        went_on = True
        await trio.sleep_forever()
    assert went_on
    assert await supervisor.wait_stopped() == Shutdown()


@pytest.mark.parametrize(
    "spec",
    [
        Supervisor([]),
        Supervisor([Supervisor([], id="inner")]),
        Supervisor([Child(finish, restart="temporary")]),
        DynamicSupervisor(),
        TaskSupervisor(),
    ],
    ids=["empty", "nested", "ended", "dynamic", "tasks"],
)
async def test_stop_returns_in_the_block_also_when_there_is_nothing_to_wait_for(autojump_clock, spec):
    went_on = False
    async with open_supervisor(spec) as supervisor:
        await trio.sleep(1)
        await supervisor.stop(Shutdown("enough"))
        went_on = True
        await trio.sleep_forever()
    assert went_on
    assert await supervisor.wait_stopped() == Shutdown("enough")


async def test_stop_that_ends_at_once_lets_others_run(autojump_clock):
    """It is a checkpoint."""
    journal = []

    async def other():
        journal.append("other")

    async with trio.open_nursery() as nursery, open_supervisor(Supervisor([])) as supervisor:
        nursery.start_soon(other)
        await supervisor.stop()
        journal.append("stopped")
    assert sorted(journal) == ["other", "stopped"]


async def test_an_error_of_the_block_comes_out_as_it_is_after_the_tree_has_stopped(autojump_clock):
    journal: list[str] = []
    error = ValueError("mine")
    try:
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])):
            raise error
    except ValueError as caught:
        assert caught is error
        assert caught.__context__ is None
        assert caught.__cause__ is None
        journal.append("raised")
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a", "raised"]


async def test_the_error_of_the_block_wins_over_giving_up(autojump_clock):
    """The supervisor has given up and is stopping its other child when the block raises."""
    journal: list[str] = []
    event = trio.Event()
    spec = Supervisor([Child(tidy, journal, "a", 3, id="a"), Child(crash_when, event, id="bad")], max_restarts=0)
    with pytest.raises(KeyError) as caught:
        async with open_supervisor(spec):
            event.set()
            await trio.sleep(1)
            assert journal == ["+a", "?a"]
            raise KeyError("mine")
    assert isinstance(caught.value.__context__, SupervisorFailed)
    assert caught.value.__context__.child == "bad"
    assert journal == ["+a", "?a", "-a"]


async def test_giving_up_is_the_context_of_what_the_cancelled_block_raises(autojump_clock):
    """The block is cancelled because the supervisor gave up, and raises in its own cleanup."""
    event = trio.Event()
    with pytest.raises(KeyError) as caught:
        async with open_supervisor(Supervisor([Child(crash_when, event, id="bad")], max_restarts=0)):
            event.set()
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("mine")
    assert isinstance(caught.value.__context__, SupervisorFailed)
    assert isinstance(caught.value.__context__.__context__, trio.Cancelled)  # what was the context before


async def test_so_it_is_when_the_block_hides_where_its_error_comes_from(autojump_clock):
    event = trio.Event()
    with pytest.raises(KeyError) as caught:
        async with open_supervisor(Supervisor([Child(crash_when, event, id="bad")], max_restarts=0)):
            event.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise KeyError("mine") from None
    assert isinstance(caught.value.__context__, SupervisorFailed)


async def test_so_it_is_when_the_block_raises_a_group(autojump_clock):
    """A task in a nursery of the block raises while it is cancelled together with the block."""

    async def bad_cleanup():
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("mine")

    event = trio.Event()
    spec = Supervisor([Child(crash_when, event, id="bad")], max_restarts=0)
    with pytest.raises(ExceptionGroup) as caught:
        async with open_supervisor(spec), trio.open_nursery() as nursery:
            nursery.start_soon(bad_cleanup)
            await some_steps()
            event.set()
            await trio.sleep_forever()
    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert isinstance(caught.value.__context__, SupervisorFailed)


async def test_a_block_that_swallows_its_cancellation_still_hears_of_giving_up(autojump_clock):
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(giving_up()):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                pass


async def test_a_start_that_fails_comes_out_bare_and_the_block_is_not_entered(autojump_clock):
    entered = False
    with pytest.raises(StartFailed) as caught:
        async with open_supervisor(Supervisor([Child(failing_start, id="x")])):
            entered = True
    assert not entered
    assert isinstance(caught.value.__cause__, LookupError)


async def test_an_exception_group_of_the_block_comes_out_as_it_is(autojump_clock):
    group = ExceptionGroup("mine", [ValueError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_supervisor(Supervisor([Child(forever)])):
            raise group
    assert caught.value is group


async def test_return_break_and_continue_leave_the_block_in_order(autojump_clock):
    journal: list[str] = []

    async def leave():
        async with open_supervisor(Supervisor([Child(steady, journal, "a")])) as supervisor:
            return supervisor

    supervisor = await leave()
    assert journal == ["+a", "-a"]
    assert await supervisor.wait_stopped() == Shutdown()
    for _ in range(2):
        async with open_supervisor(Supervisor([Child(steady, journal, "b")])):
            continue
    assert journal == ["+a", "-a", "+b", "-b", "+b", "-b"]


async def test_the_block_is_entered_only_when_all_children_have_started(autojump_clock):
    async def slow(*, task_status: trio.TaskStatus[str]) -> None:
        await trio.sleep(2)
        task_status.started("ready")
        await trio.sleep_forever()

    before = trio.current_time()
    async with open_supervisor(Supervisor([Child(slow, id="1"), Child(slow, id="2")])) as supervisor:
        assert trio.current_time() - before == pytest.approx(4)
        assert [child.started for child in supervisor.which_children()] == ["ready", "ready"]


@pytest.mark.parametrize("wrong", [None, Child(forever), Supervisor, "spec", [Child(forever)]])
async def test_what_is_no_supervisor_is_refused_at_once(wrong):
    with pytest.raises(InvalidSpec) as caught:
        open_supervisor(wrong)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("wrong", [-1, "soon", math.nan])
async def test_a_wrong_abandon_after_is_refused(wrong):
    with pytest.raises(InvalidSpec, match="abandon_after"):
        await Supervisor([]).run(abandon_after=wrong)


async def test_an_empty_supervisor_runs_and_stops(autojump_clock):
    async with open_supervisor(Supervisor([])) as supervisor:
        assert supervisor.which_children() == ()
    assert await supervisor.wait_stopped() == Shutdown()


# A spec is a value


async def test_a_spec_can_be_open_twice_at_once_and_each_time_it_is_a_tree_of_its_own(autojump_clock):
    journal: list[str] = []
    spec = Supervisor([Child(steady, journal, "a", id="a"), Supervisor([Child(forever, id="w")], id="inner")])
    async with open_supervisor(spec) as first:
        async with open_supervisor(spec) as second:
            await second.terminate_child("a")
            assert str(second.get_child("a").state) == "stopped"
            assert str(first.get_child("a").state) == "running"
            inner = second.get_child("inner").started
            await inner.terminate_child("w")
            assert str(first.get_child("inner").started.get_child("w").state) == "running"
            await second.stop(Shutdown("only the second"))
            assert first.get_child("a").spec == spec.children[0]
        assert str(first.get_child("a").state) == "running"
    assert await first.wait_stopped() == Shutdown()
    assert await second.wait_stopped() == Shutdown("only the second")
    assert journal == ["+a", "+a", "-a", "-a"]


async def test_a_spec_can_be_opened_again_after_it_gave_up(autojump_clock):
    spec = giving_up()
    for _ in range(2):
        with pytest.raises(SupervisorFailed):
            await spec.run()


# stop() and wait_stopped()


async def test_stop_returns_when_the_supervisor_has_ended_and_again_at_once(autojump_clock):
    journal: list[str] = []
    async with open_supervisor(Supervisor([Child(tidy, journal, "a", 2)])) as supervisor:
        before = trio.current_time()
        with trio.CancelScope(shield=True):
            await supervisor.stop(Shutdown("first"))
            assert trio.current_time() - before == pytest.approx(2)
            assert journal == ["+a", "?a", "-a"]
            await supervisor.stop(Shutdown("second"))
            assert trio.current_time() - before == pytest.approx(2)
    await supervisor.stop()
    assert await supervisor.wait_stopped() == Shutdown("first")


async def test_the_first_of_two_concurrent_stops_says_the_reason_and_both_wait(autojump_clock):
    journal: list[str] = []
    ended = []

    async def stop(supervisor, reason):
        await supervisor.stop(reason)
        ended.append(trio.current_time() - before)

    async with trio.open_nursery() as nursery:
        async with open_supervisor(Supervisor([Child(tidy, journal, "a", 2)])) as supervisor:
            before = trio.current_time()
            nursery.start_soon(stop, supervisor, Shutdown("one"))
            await some_steps()
            nursery.start_soon(stop, supervisor, Normal())
            await trio.sleep_forever()
    assert ended == [pytest.approx(2), pytest.approx(2)]
    assert await supervisor.wait_stopped() == Shutdown("one")


@pytest.mark.parametrize("reason", [Killed(), Crashed(ValueError()), None, "shutdown"])
async def test_nobody_is_stopped_with_another_reason(autojump_clock, reason):
    async with open_supervisor(Supervisor([Child(forever)])) as supervisor:
        with pytest.raises(InvalidSpec, match="reason"):
            await supervisor.stop(reason)
        assert supervisor.count_children().active == 1


async def test_cancelling_the_caller_of_stop_ends_the_waiting_not_the_work(autojump_clock):
    journal: list[str] = []
    async with open_supervisor(Supervisor([Child(tidy, journal, "a", 3)])) as supervisor:
        before = trio.current_time()
        with trio.move_on_after(1) as scope:
            await supervisor.stop()
        assert scope.cancelled_caught
        assert trio.current_time() - before == pytest.approx(1)
        assert journal == ["+a", "?a"]
        with trio.CancelScope(shield=True):
            assert await supervisor.wait_stopped() == Shutdown()
        assert trio.current_time() - before == pytest.approx(3)


async def test_wait_stopped_gives_the_reason_and_never_raises_also_when_the_supervisor_gave_up(autojump_clock):
    event = trio.Event()
    with pytest.raises(SupervisorFailed):
        async with open_supervisor(Supervisor([Child(crash_when, event)], max_restarts=0)) as supervisor:
            event.set()
            await trio.sleep_forever()
    reason = await supervisor.wait_stopped()
    assert reason == await supervisor.wait_stopped()
    assert isinstance(reason, Shutdown)


async def test_a_child_that_stops_its_own_supervisor_is_cancelled_while_it_waits(autojump_clock):
    handles = []
    journal: list[str] = []

    async def stopper():
        await until(lambda: handles)
        try:
            await handles[0].stop(Shutdown("from inside"))
            journal.append("stop returned")
        except trio.Cancelled:
            journal.append("cancelled")
            raise

    spec = Supervisor([Child(steady, journal, "a", id="a"), Child(stopper), Child(steady, journal, "b", id="b")])
    async with open_supervisor(spec) as supervisor:
        handles.append(supervisor)
        await trio.sleep_forever()
    assert journal == ["+a", "+b", "-b", "cancelled", "-a"]
    assert await supervisor.wait_stopped() == Shutdown("from inside")


async def test_every_other_call_on_an_ended_supervisor_is_refused(autojump_clock):
    spec = Supervisor([Child(forever, id="a"), Supervisor([], id="inner")], id="gone")
    async with open_supervisor(spec) as supervisor:
        inner = supervisor.get_child("inner").started
        following = supervisor.supervisor("inner")
    for handle in (supervisor, inner, following):
        calls = [
            partial(handle.start_child, Child(forever, id="new")),
            partial(handle.terminate_child, "a"),
            partial(handle.restart_child, "a"),
            partial(handle.delete_child, "a"),
        ]
        for call in calls:
            with pytest.raises(SupervisorStopped):
                await call()
        plain = [
            handle.which_children,
            handle.count_children,
            partial(handle.get_child, "a"),
            partial(handle.supervisor, "inner"),
            partial(tree, handle),
        ]
        for call in plain:
            with pytest.raises(SupervisorStopped):
                call()
        await handle.stop()
        assert await handle.wait_stopped() == Shutdown()
    with pytest.raises(SupervisorStopped, match="gone"):
        supervisor.which_children()
    assert issubclass(SupervisorStopped, SupervisionError)


async def test_a_supervisor_that_stops_is_not_refused_until_it_has_ended(autojump_clock):
    journal: list[str] = []
    states = []

    async def stop_soon():
        await trio.sleep(1)
        states.append([str(child.state) for child in supervisor.which_children()])

    async with trio.open_nursery() as nursery:
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 2, id=n) for n in "ab"])) as supervisor:
            nursery.start_soon(stop_soon)
    assert states == [["running", "stopping"]]


# Handles


async def test_a_handle_of_an_inner_supervisor_ends_with_its_life_and_one_by_name_follows_restarts(autojump_clock):
    event = trio.Event()

    async def bad() -> None:
        await crash_when(event)

    inner = Supervisor([Child(bad, id="bad")], id="workers", max_restarts=0)
    async with open_supervisor(Supervisor([inner])) as supervisor:
        first = supervisor.get_child("workers")
        following = supervisor.supervisor("workers")
        assert following.get_child("bad").life == first.started.get_child("bad").life
        await first.started.start_child(Child(forever, id="added"))
        assert following.get_child("added").id == "added"
        event.set()
        event = trio.Event()
        await until(lambda: supervisor.get_child("workers").restarts == 1)
        with pytest.raises(SupervisorStopped):
            first.started.which_children()
        assert isinstance(await first.started.wait_stopped(), Shutdown)
        second = supervisor.get_child("workers")
        assert second.life != first.life
        assert [child.id for child in following.which_children()] == ["bad"]
        assert following.get_child("bad").life == second.started.get_child("bad").life
        with pytest.raises(ChildNotFound):
            following.get_child("added")
        await supervisor.terminate_child("workers")


async def test_a_handle_by_name_is_refused_while_there_is_no_life_and_works_again_after(autojump_clock):
    inner = Supervisor([Child(forever, id="w")], id="workers")
    async with open_supervisor(Supervisor([inner, Child(forever, id="plain")])) as supervisor:
        following = supervisor.supervisor("workers")
        await supervisor.terminate_child("workers")
        with pytest.raises(SupervisorStopped):
            following.which_children()
        with pytest.raises(SupervisorStopped):
            await following.start_child(Child(forever, id="x"))
        await supervisor.restart_child("workers")
        assert [child.id for child in following.which_children()] == ["w"]
        with pytest.raises(ChildNotFound):
            supervisor.supervisor("nobody")
        with pytest.raises(InvalidSpec):
            supervisor.supervisor("plain")


async def test_a_handle_by_name_of_a_supervisor_that_is_gone_still_answers_stop_and_wait_stopped(autojump_clock):
    async with open_supervisor(Supervisor([Supervisor([], id="workers")])) as supervisor:
        following = supervisor.supervisor("workers")
        await supervisor.terminate_child("workers")
        await supervisor.delete_child("workers")
        await following.stop()
        assert isinstance(await following.wait_stopped(), Shutdown)


async def test_a_supervisor_stopped_through_its_own_handle_is_restarted_by_its_parent_if_permanent(autojump_clock):
    inner = Supervisor([Child(forever, id="w")], id="workers")
    async with open_supervisor(Supervisor([inner])) as supervisor:
        first = supervisor.get_child("workers")
        await first.started.stop()
        await until(lambda: supervisor.get_child("workers").restarts == 1)
        assert supervisor.get_child("workers").reason == Shutdown()
        assert str(supervisor.get_child("workers").state) == "running"


async def test_which_methods_wait():
    async with open_supervisor(Supervisor([Child(forever, id="a")])) as supervisor:
        for name in ("start_child", "terminate_child", "restart_child", "delete_child", "stop", "wait_stopped"):
            assert inspect.iscoroutinefunction(getattr(supervisor, name))
        for name in ("which_children", "count_children", "get_child"):
            assert not inspect.iscoroutinefunction(getattr(supervisor, name))


# Calls are served one at a time, in their order


async def test_calls_are_served_in_the_order_in_which_they_were_made(autojump_clock):
    journal: list[str] = []
    order = []

    async def call(name, work):
        await work()
        order.append((name, trio.current_time() - before))

    spec = Supervisor([Child(tidy, journal, n, 2, id=n) for n in "ab"])
    async with open_supervisor(spec) as supervisor:
        before = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "terminate a", partial(supervisor.terminate_child, "a"))
            await some_steps()
            nursery.start_soon(call, "start c", partial(supervisor.start_child, Child(forever, id="c")))
            await some_steps()
            nursery.start_soon(call, "terminate b", partial(supervisor.terminate_child, "b"))
            await some_steps()
            nursery.start_soon(call, "delete a", partial(supervisor.delete_child, "a"))
            await trio.sleep(1)
            assert [child.id for child in supervisor.which_children()] == ["a", "b"]
            assert journal == ["+a", "+b", "?a"]
    # Which of two that are answered in one step goes on first is up to Trio.
    assert dict(order) == {
        "terminate a": pytest.approx(2),
        "start c": pytest.approx(2),
        "terminate b": pytest.approx(4),
        "delete a": pytest.approx(4),
    }


async def test_cancelling_the_caller_of_terminate_child_ends_the_waiting_not_the_work(autojump_clock):
    journal: list[str] = []
    async with open_supervisor(Supervisor([Child(tidy, journal, "a", 3, id="a")])) as supervisor:
        with trio.move_on_after(1) as scope:
            await supervisor.terminate_child("a")
        assert scope.cancelled_caught
        assert str(supervisor.get_child("a").state) == "stopping"
        await trio.sleep(2.5)
        assert journal == ["+a", "?a", "-a"]
        assert str(supervisor.get_child("a").state) == "stopped"


async def test_a_waiting_call_whose_caller_is_cancelled_is_still_served(autojump_clock):
    """It belongs to the supervisor once it is made."""
    journal: list[str] = []
    async with open_supervisor(Supervisor([Child(tidy, journal, n, 2, id=n) for n in "ab"])) as supervisor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.terminate_child, "a")
            await some_steps()
            with trio.move_on_after(1):
                await supervisor.terminate_child("b")
        await until(lambda: str(supervisor.get_child("b").state) == "stopped")
        assert journal == ["+a", "+b", "?a", "-a", "?b", "-b"]


async def test_callers_that_wait_when_the_supervisor_ends_are_told(autojump_clock):
    journal: list[str] = []
    answers = []

    async def ask(work):
        answers.append(await outcome_of(work))

    async with trio.open_nursery() as nursery:
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 2, id=n) for n in "ab"])) as supervisor:
            nursery.start_soon(ask, partial(supervisor.terminate_child, "a"))
            await some_steps()
            nursery.start_soon(ask, partial(supervisor.start_child, Child(forever, id="c")))
            await some_steps()
    assert len(answers) == 2
    assert any(isinstance(answer, SupervisorStopped | StartFailed) for answer in answers)
    assert journal == ["+a", "+b", "?a", "-a", "?b", "-b"]


async def test_leaving_the_block_of_a_dynamic_supervisor_stops_all_at_once(autojump_clock):
    journal: list[str] = []
    async with open_supervisor(DynamicSupervisor()) as supervisor:
        for name in "abc":
            await supervisor.start_child(Child(tidy, journal, name, 2))
        before = trio.current_time()
    assert trio.current_time() - before == pytest.approx(2)
    assert set(journal[3:6]) == {"?a", "?b", "?c"}
    assert set(journal[6:]) == {"-a", "-b", "-c"}


async def test_a_supervisor_all_of_whose_children_have_finished_goes_on(autojump_clock):
    async with open_supervisor(Supervisor([Child(finish, restart="temporary")])) as supervisor:
        await trio.sleep(100)
        assert supervisor.which_children() == ()
