"""Ctrl-C and `SystemExit`: wherever they come, the tree stops in order, and they come out bare."""

from __future__ import annotations

import contextlib
import gc
import random
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from tests.supervision.trio_side.children import (
    at_most,
    crash_when,
    deaf,
    finish,
    forever,
    of,
    some_steps,
    steady,
    tidy,
)
from trio.testing import MockClock

from prunella import supervision
from prunella.supervision import (
    Child,
    DynamicSupervisor,
    Supervisor,
    TaskSupervisor,
    Unresponsive,
    cleanup_scope,
    open_supervisor,
)


def run(main: Callable[[], Awaitable[object]], *instruments: trio.abc.Instrument) -> Any:
    """A run of its own: Trio hands an interrupt that nobody can take at once to the main task."""
    with at_most(5):
        return trio.run(main, clock=MockClock(autojump_threshold=0), instruments=instruments)


async def at_once(error: BaseException) -> None:
    await trio.sleep(1)
    raise error


async def in_a_group(error: BaseException) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(forever)
        nursery.start_soon(at_once, error)


async def deep_in_groups(error: BaseException) -> None:
    await trio.sleep(1)
    raise BaseExceptionGroup("outer", [ValueError(), BaseExceptionGroup("inner", [KeyError(), error])])


async def while_starting(error: BaseException, *, task_status: trio.TaskStatus[None]) -> None:
    await trio.sleep(1)
    raise error


async def in_a_tree_of_its_own(error: BaseException) -> None:
    async with open_supervisor(Supervisor([Child(at_once, error)])):
        await trio.sleep_forever()


async def in_the_block_of_a_tree_of_its_own(error: BaseException) -> None:
    async with open_supervisor(Supervisor([Child(forever)])):
        await at_once(error)


errors = pytest.mark.parametrize(
    "error", [KeyboardInterrupt("stop"), SystemExit(3)], ids=lambda error: type(error).__name__
)
places = pytest.mark.parametrize(
    "place",
    [
        at_once,
        in_a_group,
        deep_in_groups,
        while_starting,
        in_a_tree_of_its_own,
        in_the_block_of_a_tree_of_its_own,
    ],
)


@errors
@places
@pytest.mark.parametrize("restart", ["permanent", "temporary"])
def test_an_interrupt_in_a_child_stops_all_in_order_and_comes_out_bare(error, place, restart):
    journal: list[str] = []
    spec = Supervisor(
        [
            Child(tidy, journal, "a", 1, id="a"),
            Child(place, error, id="interrupted", restart=restart),
            Child(tidy, journal, "b", 1, id="b"),
        ]
    )

    async def main():
        async with open_supervisor(spec):
            await trio.sleep_forever()

    for start in (main, spec.run):
        journal.clear()
        with pytest.raises(type(error)) as caught:
            run(start)
        assert caught.value is error
        if place is while_starting:
            assert journal == ["+a", "?a", "-a"]
        else:
            assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


@errors
@places
def test_an_interrupt_in_a_grandchild_stops_all_in_order_and_comes_out_bare(error, place):
    journal: list[str] = []
    inner = Supervisor(
        [
            Child(tidy, journal, "b", 1, id="b"),
            Child(place, error, id="interrupted"),
            Child(tidy, journal, "c", 1, id="c"),
        ],
        id="inner",
    )
    spec = Supervisor([Child(tidy, journal, "a", 1, id="a"), inner, Child(tidy, journal, "d", 1, id="d")])
    with pytest.raises(type(error)) as caught:
        run(spec.run)
    assert caught.value is error
    stopped = [entry for entry in journal if entry[0] != "+"]
    if place is while_starting:
        assert stopped == ["?b", "-b", "?a", "-a"]
    else:
        assert stopped == ["?d", "-d", "?c", "-c", "?b", "-b", "?a", "-a"]


@errors
def test_an_interrupt_in_the_block_stops_all_in_order_and_comes_out_bare(error):
    journal: list[str] = []

    async def main():
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])):
            raise error

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


@errors
@pytest.mark.parametrize("place", [at_once, in_a_group])
def test_an_interrupt_in_a_nursery_inside_the_block_comes_out_bare(error, place):
    journal: list[str] = []

    async def main():
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(place, error)
                await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


@errors
def test_an_interrupt_in_a_child_of_a_dynamic_supervisor(error):
    journal: list[str] = []

    async def main():
        async with open_supervisor(DynamicSupervisor()) as supervisor:
            await supervisor.start_child(Child(tidy, journal, "a", 1))
            await supervisor.start_child(Child(at_once, error, restart="temporary"))
            await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error
    assert journal == ["+a", "?a", "-a"]


@errors
def test_an_interrupt_in_a_task_that_somebody_waits_for(error):
    journal: list[str] = []

    async def main():
        async with open_supervisor(TaskSupervisor()) as tasks:
            tasks.start_soon(tidy, journal, "a", 1)
            await tasks.run(at_once, error)

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error
    assert journal == ["+a", "?a", "-a"]


@errors
def test_an_interrupt_in_a_cleanup_while_the_tree_stops_anyway_is_raised(error):
    journal: list[str] = []

    async def interrupted():
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def main():
        spec = Supervisor(
            [Child(steady, journal, "a", id="a"), Child(interrupted), Child(steady, journal, "b", id="b")]
        )
        async with open_supervisor(spec):
            pass

    with pytest.raises(type(error)) as caught:
        run(main)
    assert caught.value is error
    assert journal == ["+a", "+b", "-b", "-a"]


def test_an_interrupt_wins_over_the_error_of_the_block_which_is_its_context():
    error = KeyboardInterrupt()

    async def interrupted():
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def main():
        async with open_supervisor(Supervisor([Child(interrupted)])):
            await some_steps()
            raise ValueError("mine")

    with pytest.raises(KeyboardInterrupt) as caught:
        run(main)
    assert caught.value is error
    chain = []
    linked = error.__context__
    while linked is not None:
        chain.append(type(linked))
        linked = linked.__context__
    assert ValueError in chain


def test_an_interrupt_wins_over_a_cancellation_from_outside():
    async def main():
        with trio.move_on_after(1):
            async with open_supervisor(Supervisor([Child(tidy, [], "slow", 3), Child(raises_when_stopped)])):
                await trio.sleep_forever()

    async def raises_when_stopped():
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main)


def test_an_interrupt_wins_over_giving_up():
    journal: list[str] = []

    async def main():
        event = trio.Event()
        spec = Supervisor(
            [Child(interrupts_when_stopped), Child(tidy, journal, "a", 1), Child(crash_when, event, id="bad")],
            max_restarts=0,
        )
        async with open_supervisor(spec):
            event.set()
            await trio.sleep_forever()

    async def interrupts_when_stopped():
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "?a", "-a"]


def test_an_interrupt_is_no_crash_and_starts_nothing_again():
    starts = []

    async def interrupted():
        starts.append(trio.current_time())
        await at_once(KeyboardInterrupt())

    with pytest.raises(KeyboardInterrupt):
        run(Supervisor([Child(interrupted)], strategy="one_for_all").run)
    assert len(starts) == 1


# Signals


async def raise_a_signal(after: float = 1) -> None:
    await trio.sleep(after)
    signal.raise_signal(signal.SIGINT)
    await trio.sleep_forever()


def test_ctrl_c_in_a_child():
    journal: list[str] = []
    spec = Supervisor([Child(tidy, journal, "a", 1), Child(raise_a_signal)])
    with pytest.raises(KeyboardInterrupt):
        run(spec.run)
    assert journal == ["+a", "?a", "-a"]


def test_ctrl_c_in_the_block():
    journal: list[str] = []

    async def main():
        async with open_supervisor(Supervisor([Child(tidy, journal, "a", 1)])):
            await raise_a_signal()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "?a", "-a"]


def test_ctrl_c_while_everybody_sleeps():
    """It goes to the main task, which waits in the block."""
    journal: list[str] = []

    async def main():
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])):
            trio.lowlevel.spawn_system_task(interrupts)
            await trio.sleep_forever()

    async def interrupts():
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


def test_ctrl_c_while_the_tree_starts():
    journal: list[str] = []

    async def slow(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(10)
        task_status.started()

    async def main():
        trio.lowlevel.spawn_system_task(interrupts)
        async with open_supervisor(Supervisor([Child(tidy, journal, "a", 1), Child(slow)])):
            journal.append("entered")

    async def interrupts():
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "?a", "-a"]


def test_ctrl_c_in_a_listener_which_the_library_calls():
    journal: list[str] = []
    heard = []

    def listener(event):
        if event.name == "supervision.child.restarted" and not heard:
            heard.append(event)
            signal.raise_signal(signal.SIGINT)

    async def main():
        spec = Supervisor(
            [Child(tidy, journal, "a", 1), Child(finish, id="again"), Child(tidy, journal, "b", 1, id="b")]
        )
        async with open_supervisor(spec, telemetry=[listener]):
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


# A second one


def second_at(seconds: float) -> Callable[[], Awaitable[None]]:
    async def interrupts():
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(seconds)
        signal.raise_signal(signal.SIGINT)

    return interrupts


def test_a_second_ctrl_c_kills_what_is_left_without_any_time_for_cleanup():
    journal: list[str] = []
    times = []

    async def main():
        try:
            async with open_supervisor(Supervisor([Child(tidy, journal, n, 100, id=n, shutdown=200) for n in "abc"])):
                trio.lowlevel.spawn_system_task(second_at(2))
                await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert times == [pytest.approx(3)]
    assert journal[:3] == ["+a", "+b", "+c"]
    assert journal[3] == "?c"
    assert set(journal[4:]) == {"-c", "?a", "-a", "?b", "-b"}


def test_after_a_second_ctrl_c_deaf_children_have_one_grace_second_together():
    events: list[object] = []
    times = []

    async def main():
        release = trio.Event()

        async def let_go():
            await trio.sleep(50)
            release.set()

        spec = Supervisor([Child(deaf, release, id=n, shutdown=100) for n in "abc"])
        trio.lowlevel.spawn_system_task(second_at(2))
        trio.lowlevel.spawn_system_task(let_go)
        try:
            async with open_supervisor(spec, telemetry=[events.append]):
                await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    with pytest.raises(KeyboardInterrupt):
        run(main)
    declared = of(events, Unresponsive)
    assert {event.child for event in declared} == {"a", "b", "c"}
    assert [event.time for event in declared] == [pytest.approx(4)] * 3
    assert times == [pytest.approx(50)]


def test_a_second_interrupt_reaches_all_levels():
    journal: list[str] = []
    times = []
    inner = Supervisor([Child(tidy, journal, n, 100, id=n, shutdown=200) for n in "bc"], id="inner")

    async def main():
        try:
            async with open_supervisor(Supervisor([Child(tidy, journal, "a", 100, shutdown=200), inner])):
                trio.lowlevel.spawn_system_task(second_at(2))
                await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert times == [pytest.approx(3)]
    assert {"-a", "-b", "-c"} <= set(journal)


def test_a_second_interrupt_raised_by_a_child_in_its_cleanup_kills_what_is_left():
    journal: list[str] = []
    times = []
    first = KeyboardInterrupt("first")

    async def raises_another():
        try:
            await trio.sleep_forever()
        finally:
            raise KeyboardInterrupt("second")

    async def main():
        spec = Supervisor([Child(tidy, journal, "a", 100, shutdown=200), Child(raises_another), Child(at_once, first)])
        try:
            async with open_supervisor(spec):
                await trio.sleep_forever()
        finally:
            times.append(trio.current_time())

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert times == [pytest.approx(1)]
    assert journal == ["+a", "?a", "-a"]


def test_a_third_ctrl_c_changes_nothing_more():
    journal: list[str] = []

    async def main():
        release = trio.Event()

        async def interrupts():
            for _ in range(5):
                await trio.sleep(0.5)
                signal.raise_signal(signal.SIGINT)
            await trio.sleep(10)
            release.set()

        spec = Supervisor([Child(tidy, journal, "a", 100, shutdown=200), Child(deaf, release, shutdown=100)])
        trio.lowlevel.spawn_system_task(interrupts)
        async with open_supervisor(spec):
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "?a", "-a"]


# At every point


class Journal(list[str]):
    """What began and ended, with what every run of a tree must fulfil however it was interrupted."""

    def check(self, *, ordered: bool) -> None:
        running: list[str] = []
        for entry in self:
            name = entry[1:]
            if entry[0] == "+":
                assert name not in running, self
                running.append(name)
            elif entry[0] == "-":
                assert name in running, self
                if ordered and name != "d":  # d is also terminated by hand
                    assert name == [other for other in running if other != "d"][-1], self
                running.remove(name)
        assert running == [], self


def eventful_life(journal: Journal, strategy: str) -> Callable[[], Awaitable[None]]:
    """Starts, restarts, calls and a stop: something of everything."""

    async def main() -> None:
        lives = 0

        async def fails_twice() -> None:
            nonlocal lives
            lives += 1
            await trio.sleep(1)
            if lives < 3:
                raise ValueError
            await trio.sleep_forever()

        children = [Child(steady, journal, "b", id="b"), Child(fails_twice), Child(steady, journal, "c", id="c")]
        inner = Supervisor(children, id="inner", strategy=strategy)
        async with open_supervisor(Supervisor([Child(steady, journal, "a", id="a"), inner])) as supervisor:
            await supervisor.start_child(Child(steady, journal, "d", id="d"))
            await trio.sleep(3)
            await supervisor.terminate_child("d")
            await supervisor.restart_child("d")
            await supervisor.start_child(Child(steady, journal, "e", id="e"))

    return main


strategies = pytest.mark.parametrize("strategy", ["one_for_one", "one_for_all"])

_came_at: list[str] = []  # where the last signal came, for whoever reads a failure
_home = supervision.__file__.rpartition("/")[0]


@contextlib.contextmanager
def signal_at_call(number: int) -> Iterator[Callable[[], int]]:
    """Raises SIGINT at the n-th call of a function of supervision, or of what it calls in `contextlib`."""
    count = 0

    def trace(frame: Any, _: str, __: object) -> None:
        nonlocal count
        file = frame.f_code.co_filename
        if file.startswith(_home) or file.endswith("contextlib.py"):
            count += 1
            if count == number:
                sys.settrace(None)
                _came_at[:] = traceback.format_stack(limit=12)
                signal.raise_signal(signal.SIGINT)

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: count
    finally:
        sys.settrace(before)


def interrupted_at_call(number: int, strategy: str) -> tuple[BaseException | None, int]:
    """What comes out of an eventful life if SIGINT comes at the n-th call, and how many there were."""
    journal = Journal()
    error: BaseException | None = None

    async def main() -> None:
        nonlocal count
        with signal_at_call(number) as counter:
            try:
                await eventful_life(journal, strategy)()
            finally:
                count = counter()

    count = 0
    _came_at.clear()
    # What the collector finishes off runs lines of the library too, and Python drops whatever is raised there.
    gc.disable()
    try:
        run(main)
    except BaseException as caught:
        error = caught
    finally:
        gc.enable()
    assert isinstance(error, KeyboardInterrupt | None), (number, error)
    journal.check(ordered=strategy == "one_for_one")
    return error, count


@strategies
def test_ctrl_c_at_random_points_in_the_code_of_the_library(strategy):
    error, calls = interrupted_at_call(0, strategy)
    assert error is None
    assert calls > 500
    for number in random.Random(7).sample(range(1, calls - 20), 100):
        error, count = interrupted_at_call(number, strategy)
        assert error is not None, (number, count, "".join(_came_at))


@pytest.mark.parametrize("method", ["start_child", "terminate_child", "restart_child", "delete_child", "stop"])
def test_ctrl_c_inside_a_call_of_a_handle_from_the_block(method):
    """The decisions of the supervisor may be made right there, in the task of the caller."""
    for number in range(1, 25):
        journal = Journal()

        async def main(number: int = number, journal: Journal = journal) -> None:
            children = [Child(steady, journal, name, id=name) for name in "ab"]
            async with open_supervisor(Supervisor([*children, Child(finish, id="done", restart="transient")])) as s:
                await some_steps()
                arguments: dict[str, list[Any]] = {
                    "start_child": [Child(steady, journal, "new", id="new")],
                    "terminate_child": ["b"],
                    "restart_child": ["done"],
                    "delete_child": ["done"],
                }
                with signal_at_call(number):
                    await getattr(s, method)(*arguments.get(method, []))
                    for _ in range(25):
                        s.get_child("a")
                await trio.sleep_forever()

        with pytest.raises(KeyboardInterrupt):
            run(main)
        journal.check(ordered=method != "terminate_child")


@pytest.mark.slow
@strategies
def test_ctrl_c_at_every_point_in_the_code_of_the_library(strategy):
    _, calls = interrupted_at_call(0, strategy)
    for number in range(1, calls - 20):
        error, count = interrupted_at_call(number, strategy)
        assert error is not None, (number, count, "".join(_came_at))


class SignalAtStep(trio.abc.Instrument):
    """Raises SIGINT between two steps of tasks, when nobody's code runs."""

    def __init__(self, number: int) -> None:
        self.left = number

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture(params=["one_for_one", "one_for_all"])
def life_and_steps(request) -> tuple[str, int]:
    """A strategy, and how many steps an eventful life takes with it (the order of a batch varies)."""
    counts = []
    for _ in range(5):
        count = SignalAtStep(0)
        run(eventful_life(Journal(), request.param), count)
        counts.append(-count.left)
    return request.param, min(counts)


def test_ctrl_c_before_any_step_of_any_task(life_and_steps):
    strategy, steps = life_and_steps
    assert steps > 40
    for number in range(1, steps - 5):
        journal = Journal()
        with pytest.raises(KeyboardInterrupt):
            run(eventful_life(journal, strategy), SignalAtStep(number))
        journal.check(ordered=strategy == "one_for_one")


def test_two_ctrl_c_at_random_steps(life_and_steps):
    strategy, steps = life_and_steps
    chance = random.Random(11)
    for _ in range(100):
        journal = Journal()
        first = chance.randrange(1, steps - 5)
        second = SignalAtStep(first + chance.randrange(1, 12))
        with pytest.raises(KeyboardInterrupt):
            run(eventful_life(journal, strategy), SignalAtStep(first), second)
        journal.check(ordered=False)


# While somebody waits for the supervisor


async def interrupt_at(seconds: float) -> None:
    await trio.sleep(seconds)
    signal.raise_signal(signal.SIGINT)


async def slow_start(journal: list[str], *, task_status: trio.TaskStatus[None]) -> None:
    journal.append("+slow")
    try:
        await trio.sleep(10)
        task_status.started()
        await trio.sleep_forever()
    finally:
        journal.append("-slow")


def test_ctrl_c_while_the_block_waits_for_a_start():
    journal: list[str] = []

    async def main():
        trio.lowlevel.spawn_system_task(interrupt_at, 1)
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 1, id=n) for n in "ab"])) as supervisor:
            await supervisor.start_child(Child(slow_start, journal))
            journal.append("not here")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "+b", "+slow", "-slow", "?b", "-b", "?a", "-a"]


@pytest.mark.parametrize("method", ["terminate_child", "stop", "wait_stopped"])
def test_ctrl_c_while_the_block_waits_for_an_end(method):
    journal: list[str] = []

    async def main():
        trio.lowlevel.spawn_system_task(interrupt_at, 1)
        async with open_supervisor(Supervisor([Child(tidy, journal, n, 3, id=n) for n in "ab"])) as supervisor:
            await getattr(supervisor, method)(*(["b"] if method == "terminate_child" else []))
            journal.append("not here")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "+b", "?b", "-b", "?a", "-a"]


def test_ctrl_c_while_a_task_waits_for_another():
    journal: list[str] = []

    async def main():
        trio.lowlevel.spawn_system_task(interrupt_at, 1)
        async with open_supervisor(TaskSupervisor()) as tasks:
            await tasks.run(tidy, journal, "a", 3)
            journal.append("not here")

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert journal == ["+a", "?a", "-a"]


def test_the_helpers_of_these_tests_see_what_is_wrong():
    with pytest.raises(AssertionError):
        Journal(["+a", "+b", "-b"]).check(ordered=False)
    with pytest.raises(AssertionError):
        Journal(["+a", "+b", "-a", "-b"]).check(ordered=True)
    Journal(["+a", "+b", "-b", "-a"]).check(ordered=True)


def test_cleanup_scopes_are_expired_at_once_by_a_second_interrupt():
    seen = []

    async def cleans():
        try:
            await trio.sleep_forever()
        finally:
            with cleanup_scope():
                await trio.sleep(1000)
            seen.append(trio.current_time())

    async def main():
        trio.lowlevel.spawn_system_task(second_at(2))
        async with open_supervisor(Supervisor([Child(cleans, shutdown=2000)])):
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        run(main)
    assert seen == [pytest.approx(3)]
