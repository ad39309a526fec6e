"""Exit reasons: values, bounded, formatted on demand, and keeping no frame alive."""

from __future__ import annotations

import gc
import pickle
import weakref

import attrs
import pytest
import trio
from tests.supervision.trio_side.children import some_steps

from prunella import PrunellaError
from prunella.supervision import (
    Child,
    Crashed,
    Exit,
    Ignore,
    InvalidSpec,
    Killed,
    Normal,
    Shutdown,
    StartFailed,
    Supervisor,
    SupervisorFailed,
    open_supervisor,
)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:
        return caught


def test_they_compare_by_value():
    assert Normal() == Normal()
    assert Killed() == Killed()
    assert Shutdown() == Shutdown()
    assert Shutdown("x") == Shutdown("x") == Shutdown(detail="x")
    assert Shutdown("x") != Shutdown("y")
    assert Shutdown() != Normal()
    assert Killed() != Normal()
    assert Shutdown("killed") != Killed()
    assert Crashed(ValueError("x")) == Crashed(raised(ValueError("x")))
    assert Crashed(ValueError("x")) != Crashed(ValueError("y"))
    assert Crashed(ValueError("x")) != Crashed(TypeError("x"))
    assert Crashed(ExceptionGroup("g", [ValueError("x")])) == Crashed(ExceptionGroup("g", [ValueError("x")]))
    assert Crashed(ExceptionGroup("g", [ValueError("x")])) != Crashed(ExceptionGroup("g", [ValueError("y")]))
    assert len({Normal(), Normal(), Killed(), Shutdown(), Shutdown("x"), Crashed(OSError("x"))}) == 5


def test_they_are_frozen():
    for reason, field in ((Shutdown("x"), "detail"), (Crashed(ValueError()), "error")):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(reason, field, None)


def test_clean_is_true_for_the_first_two():
    assert [reason.clean for reason in (Normal(), Shutdown(), Shutdown("x"), Killed(), Crashed(OSError()))] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_exit_takes_normal_or_shutdown_and_nothing_else():
    assert Exit().reason == Normal()
    assert Exit(Shutdown("x")).reason == Shutdown("x")
    assert Exit(reason=Normal()).reason == Normal()
    for wrong in (Killed(), Crashed(ValueError()), None, "normal", ValueError()):
        with pytest.raises(InvalidSpec, match="reason"):
            Exit(wrong)
    assert issubclass(Exit, Exception)
    assert issubclass(Ignore, Exception)


async def test_a_wrong_exit_is_an_error_where_it_is_raised(autojump_clock):
    async def bad():
        raise Exit(Killed())

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(bad)], max_restarts=0).run()
    assert caught.value.reason.type is InvalidSpec


async def test_a_childs_own_except_exception_catches_exit(autojump_clock):
    seen = []

    async def careless():
        try:
            raise Exit
        except Exception as error:
            seen.append(type(error))
            await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(careless)])) as supervisor:
        await some_steps()
        assert supervisor.count_children().active == 1
    assert seen == [Exit]


# What a crash keeps


def inner_function():
    raise LookupError("the message")


async def crash_of(function) -> Crashed:
    async def child():
        await trio.lowlevel.checkpoint()
        function()

    with pytest.raises(SupervisorFailed) as caught:
        await Supervisor([Child(child, id="child")], max_restarts=0).run()
    return caught.value.reason


async def test_type_message_and_places(autojump_clock):
    reason = await crash_of(inner_function)
    assert reason.type is LookupError
    assert reason.message == "the message"
    names = [place.code.co_name for place in reason.places]
    assert names[-1] == "inner_function"
    assert "child" in names
    first = inner_function.__code__.co_firstlineno
    assert reason.error.places[-1].line == first + 1


async def test_str_is_the_traceback(autojump_clock):
    text = str(await crash_of(inner_function))
    assert text.splitlines()[-1] == "LookupError: the message"
    assert "inner_function" in text
    assert "test_exit_reasons.py" in text
    assert 'raise LookupError("the message")' in text
    assert "_life.py" not in text


async def test_causes_contexts_and_groups_are_kept(autojump_clock):
    def chained():
        try:
            try:
                raise KeyError("first")
            except KeyError:
                raise ValueError("second")  # noqa: B904 - the context is the point
        except ValueError as error:
            raise ExceptionGroup("third", [OSError("left"), TypeError("right")]) from error

    reason = await crash_of(chained)
    assert reason.error.cause.type is ValueError
    assert reason.error.cause.context.type is KeyError
    assert [member.type for member in reason.error.exceptions] == [OSError, TypeError]
    text = str(reason)
    for word in ("KeyError", "first", "second", "third", "left", "right", "direct cause", "another exception"):
        assert word in text
    assert text.index("first") < text.index("second") < text.index("third")


async def test_notes_are_kept_and_stand_for_a_message_that_is_missing(autojump_clock):
    error, interrupt = ValueError("bad"), KeyboardInterrupt()
    for noted in (error, interrupt):
        noted.add_note("while it looked")
        noted.add_note("at the door")
    assert Crashed(error).error.notes == ("while it looked", "at the door")
    assert Crashed(error) == Crashed(ValueError("bad"))
    assert str(Crashed(error)) == "ValueError: bad\nwhile it looked\nat the door"
    assert str(Crashed(interrupt)) == "KeyboardInterrupt: while it looked\nat the door"
    error.__notes__ = [f"note {n}" for n in range(50)]
    assert len(Crashed(error).error.notes) == 10


async def test_a_suppressed_context_is_not_kept(autojump_clock):
    def suppressed():
        try:
            raise KeyError("hidden")
        except KeyError:
            raise ValueError("shown") from None

    assert "hidden" not in str(await crash_of(suppressed))


async def test_no_frame_is_kept_alive(autojump_clock):
    class Big:
        pass

    kept = []

    def holds():
        big = Big()
        kept.append(weakref.ref(big))
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise ExceptionGroup("g", [ValueError("x")]) from error

    async def child(*, task_status):
        task_status.started()
        await trio.sleep(1)
        holds()

    events: list[object] = []
    spec = Supervisor([Child(child, id="child", restart="transient")], max_restarts=1)
    with pytest.raises(SupervisorFailed) as caught:
        await spec.run(telemetry=[events.append])
    reason = caught.value.reason
    assert isinstance(reason, Crashed)
    del caught
    gc.collect()
    assert len(kept) == 2
    assert [reference() for reference in kept] == [None, None]
    assert len(events) > 3


async def test_no_frame_is_kept_alive_while_the_supervisor_runs(autojump_clock):
    class Big:
        pass

    kept = []

    async def child():
        big = Big()
        kept.append(weakref.ref(big))
        await trio.sleep(1)
        if len(kept) == 1:
            raise ValueError("x")
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(child, id="c")])) as supervisor:
        await trio.sleep(3)
        info = supervisor.get_child("c")
        assert info.restarts == 1
        gc.collect()
        assert kept[0]() is None
        assert kept[1]() is not None
        assert "ValueError: x" in str(info.reason)


def recursive(depth: int) -> None:
    if depth:
        recursive(depth - 1)
    else:
        raise ValueError("deep")


def long_chain(length: int) -> None:
    try:
        if length:
            long_chain(length - 1)
        else:
            raise ValueError("0")
    except ValueError as error:
        raise ValueError(f"link {length}") from error


async def test_a_crash_is_bounded(autojump_clock):
    def huge_message():
        raise ValueError("x" * 10_000_000)

    def huge_group():
        raise ExceptionGroup("g", [ValueError(str(number)) for number in range(10_000)])

    def nested_groups():
        error: Exception = ValueError("x")
        for _ in range(200):
            error = ExceptionGroup("g", [error, *(KeyError(str(n)) for n in range(20))])
        raise error

    for function, limit in [
        (lambda: recursive(500), 50_000),
        (huge_message, 50_000),
        (huge_group, 50_000),
        (lambda: long_chain(100), 200_000),
        (nested_groups, 200_000),
    ]:
        reason = await crash_of(function)
        assert len(str(reason)) < limit
    assert "deep" in str(await crash_of(lambda: recursive(500)))


async def test_a_cycle_of_causes_ends(autojump_clock):
    def cycle():
        first, second = ValueError("first"), ValueError("second")
        first.__cause__ = second
        second.__cause__ = first
        raise first

    text = str(await crash_of(cycle))
    assert text.count("ValueError: first") == 1
    assert text.count("ValueError: second") == 1


async def test_an_error_whose_str_fails_is_a_crash_like_any_other(autojump_clock):
    class Rude(Exception):
        def __str__(self):
            raise RuntimeError("no")

    def rude():
        raise Rude

    reason = await crash_of(rude)
    assert reason.type is Rude
    assert "Rude" in str(reason)


async def test_an_error_whose_str_fails_fatally_does_not_break_the_tree(autojump_clock):
    class Fatal(BaseException):
        pass

    class Ruder(Exception):
        def __str__(self):
            raise Fatal

    def ruder():
        raise Ruder

    with trio.fail_after(10):
        reason = await crash_of(ruder)
    assert reason.type is Ruder


# Errors


def test_errors_tell_all_and_can_be_pickled():
    failed = SupervisorFailed("top", "inner/bad", Crashed(ValueError("x")))
    for word in ("top", "inner/bad", "ValueError", "x"):
        assert word in str(failed)
    start = StartFailed("inner/c3", Killed())
    for word in ("inner/c3", "killed"):
        assert word in str(start)
    again = pickle.loads(pickle.dumps(start))
    assert (again.id, again.reason) == ("inner/c3", Killed())
    assert isinstance(start, PrunellaError)
    assert isinstance(failed, PrunellaError)
