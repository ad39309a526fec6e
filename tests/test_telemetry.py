from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

import attrs
import pytest

from prunella.errors import InvalidArgument, PrunellaError
from prunella.telemetry import ErrorInfo, Event, Listeners


@attrs.frozen(kw_only=True)
class Moved(Event):
    name: ClassVar[str] = "test.moved"

    where: str
    steps: int = 1


def moved(time: float = 0.0) -> Moved:
    return Moved(time=time, where="north")


class Recorder:
    """A listener that compares by value and so cannot be hashed."""

    __hash__ = None

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recorder) and self.heard == other.heard

    def __call__(self, event: Event) -> None:
        self.heard.append(event)


def failing(event: Event) -> None:
    raise ValueError(f"no use for {event.name}")


def complaints(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "prunella.telemetry"]


class TestEvent:
    def test_compares_by_value(self) -> None:
        assert moved() == moved()
        assert moved() != moved(time=1.0)
        assert hash(moved()) == hash(moved())

    def test_is_frozen(self) -> None:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            moved().where = "south"

    def test_attributes_are_the_fields_that_its_kind_adds(self) -> None:
        event = Moved(time=1.0, span_id="s", agent="a", where="north", error=ErrorInfo("ValueError", "no"))
        assert dict(event.attributes) == {"where": "north", "steps": 1}

    def test_attributes_of_the_plain_event_are_empty(self) -> None:
        assert dict(Event(time=0.0).attributes) == {}

    def test_attributes_are_read_only(self) -> None:
        with pytest.raises(TypeError):
            moved().attributes["where"] = "south"

    def test_the_name_belongs_to_the_kind(self) -> None:
        assert moved().name == Moved.name == "test.moved"
        assert "name" not in moved().attributes


class TestListeners:
    def test_hear_every_event_in_the_order_in_which_they_came(self) -> None:
        heard: list[tuple[str, Event]] = []
        listeners = Listeners([lambda event: heard.append(("a", event)), lambda event: heard.append(("b", event))])

        listeners.emit(moved(1.0))
        listeners.emit(moved(2.0))

        assert heard == [("a", moved(1.0)), ("b", moved(1.0)), ("a", moved(2.0)), ("b", moved(2.0))]

    def test_are_true_if_somebody_listens(self) -> None:
        listeners = Listeners()
        assert not listeners
        with listeners.subscribe(print):
            assert listeners
        assert not listeners

    def test_an_iterator_of_listeners_is_taken_as_a_whole(self) -> None:
        recorder = Recorder()
        listeners = Listeners(iter([recorder, recorder]))
        listeners.emit(moved())
        assert recorder.heard == [moved(), moved()]

    @pytest.mark.parametrize("listener", [None, "print", 3])
    def test_what_cannot_be_called_is_refused_at_once(self, listener: Callable[[Event], object]) -> None:
        with pytest.raises(InvalidArgument, match="listener must be a plain function of one event") as caught:
            Listeners([listener])
        assert isinstance(caught.value, ValueError)
        assert isinstance(caught.value, PrunellaError)
        with pytest.raises(InvalidArgument):
            Listeners().subscribe(listener)

    @pytest.mark.parametrize("listeners", [None, print, 3])
    def test_listeners_that_are_no_iterable_are_refused_at_once(self, listeners: Any) -> None:
        with pytest.raises(InvalidArgument, match="telemetry: listeners must be an iterable of plain functions"):
            Listeners(listeners)

    def test_an_async_function_is_refused_since_it_would_hear_nothing(self) -> None:
        async def listener(event: Event) -> None: ...

        with pytest.raises(InvalidArgument):
            Listeners([listener])


class TestSubscribe:
    def test_hears_until_the_block_is_left(self) -> None:
        recorder, listeners = Recorder(), Listeners()
        listeners.emit(moved(1.0))
        with listeners.subscribe(recorder):
            listeners.emit(moved(2.0))
        listeners.emit(moved(3.0))
        assert recorder.heard == [moved(2.0)]

    def test_ends_also_when_the_block_raises(self) -> None:
        listeners = Listeners()
        with pytest.raises(KeyError), listeners.subscribe(print):
            raise KeyError
        assert not listeners

    def test_two_subscriptions_of_one_function_are_two(self) -> None:
        recorder, listeners = Recorder(), Listeners()
        with listeners.subscribe(recorder):
            with listeners.subscribe(recorder):
                listeners.emit(moved(1.0))
            listeners.emit(moved(2.0))
        assert recorder.heard == [moved(1.0), moved(1.0), moved(2.0)]

    def test_blocks_may_be_left_in_any_order(self) -> None:
        first, second, listeners = Recorder(), Recorder(), Listeners()
        outer, inner = listeners.subscribe(first), listeners.subscribe(second)
        outer.__enter__()
        inner.__enter__()
        outer.__exit__(None, None, None)
        listeners.emit(moved())
        inner.__exit__(None, None, None)
        assert (first.heard, second.heard) == ([], [moved()])

    def test_a_listener_may_subscribe_another_while_it_hears(self) -> None:
        late, listeners = Recorder(), Listeners()
        with ExitStack() as stack:
            with listeners.subscribe(lambda event: stack.enter_context(listeners.subscribe(late))):
                listeners.emit(moved(1.0))
            listeners.emit(moved(2.0))
        assert late.heard == [moved(2.0)], "the event that is being handed out is not for it"


class TestAListenerThatRaises:
    def test_harms_neither_the_others_nor_the_one_who_reports(self, caplog: pytest.LogCaptureFixture) -> None:
        recorder = Recorder()
        Listeners([failing, recorder]).emit(moved())
        assert recorder.heard == [moved()]
        [complaint] = complaints(caplog)
        assert "failing" in complaint
        assert "test.moved" in complaint

    def test_is_complained_of_with_its_traceback(self, caplog: pytest.LogCaptureFixture) -> None:
        Listeners([failing]).emit(moved())
        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert record.exc_info is not None
        assert record.exc_info[0] is ValueError

    def test_is_complained_of_once_a_minute(self, caplog: pytest.LogCaptureFixture) -> None:
        listeners = Listeners([failing])
        for time in (100.0, 100.1, 159.9):
            listeners.emit(moved(time))
        assert len(complaints(caplog)) == 1
        listeners.emit(moved(160.0))
        assert len(complaints(caplog)) == 2

    def test_does_not_hide_another_that_raises(self, caplog: pytest.LogCaptureFixture) -> None:
        def broken(event: Event) -> None:
            raise OSError

        listeners = Listeners([failing, broken])
        listeners.emit(moved())
        assert ["failing" in text for text in complaints(caplog)] == [True, False]

    def test_need_not_be_hashable(self, caplog: pytest.LogCaptureFixture) -> None:
        class Broken(Recorder):
            __hash__ = None

            def __call__(self, event: Event) -> None:
                raise OSError

        Listeners([Broken()]).emit(moved())
        assert len(complaints(caplog)) == 1

    def test_may_have_a_repr_that_raises_too(self) -> None:
        class Broken:
            def __repr__(self) -> str:
                raise OSError

            def __call__(self, event: Event) -> None:
                raise OSError

        recorder = Recorder()
        Listeners([Broken(), recorder]).emit(moved())
        assert recorder.heard == [moved()]

    def test_keeps_what_is_no_error_but_an_interrupt(self) -> None:
        def interrupted(event: Event) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Listeners([interrupted]).emit(moved())
