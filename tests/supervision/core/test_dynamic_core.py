"""The decisions of a dynamic supervisor, against a small model of Elixir's rules, without an event loop."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from prunella.supervision import Crashed, Killed, Normal, Shutdown
from prunella.supervision._core import Request, Verb
from prunella.supervision._dynamic_core import DynamicCore
from prunella.supervision._info import picture
from prunella.supervision._policies import Budget, Restart
from prunella.supervision._records import Slot

from .fake_host import CRASH, FakeHost, ScriptedChild, ScriptedSupervisor

REASONS = {"normal": Normal(), "shutdown": Shutdown(), "crash": CRASH}
IDS = "ab"


@attrs.define(eq=False)
class ModelChild:
    spec: ScriptedChild
    times: list[float]


class Model:
    """Elixir's dynamic supervisor as naive loops over a list; it writes the same trace as the fake host."""

    def __init__(self, spec: ScriptedSupervisor, starts: dict[str, list[str]]) -> None:
        self.spec = spec
        self.starts = {id: list(outcomes) for id, outcomes in starts.items()}
        self.children: list[ModelChild] = []
        self.trace: list[tuple[Any, ...]] = []
        self.times: list[float] = []
        self.over = False

    def start(self, child: ModelChild) -> str:
        outcomes = self.starts.get(child.spec.id)
        outcome = outcomes.pop(0) if outcomes else "ok"
        self.trace.append(("start", child.spec.id, outcome))
        return outcome

    def start_child(self, spec: ScriptedChild) -> str:
        if len(self.children) >= self.spec.max_children:
            return "TooManyChildren"
        child = ModelChild(spec, [])
        outcome = self.start(child)
        if outcome == "ok":
            self.children.append(child)
        return "StartFailed" if outcome == "fail" else "ok"

    def terminate(self, child: ModelChild) -> None:
        self.trace.append(("stop", child.spec.id))
        self.children.remove(child)

    def exit(self, child: ModelChild, reason: str, now: float) -> None:
        restart = child.spec.restart
        if not (restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and reason == "crash")):
            self.children.remove(child)
            return
        while True:
            times = self.times if self.spec.budget is Budget.SHARED else child.times
            times[:] = [time for time in times if time >= now - self.spec.max_seconds] + [now]
            if len(times) > self.spec.max_restarts:
                self.children.remove(child)
                self.trace.append(("give up", child.spec.id))
                if self.spec.budget is Budget.SHARED:
                    self.stop()
                return
            outcome = self.start(child)
            if outcome == "ignore":
                self.children.remove(child)
            if outcome != "fail":
                return

    def stop(self) -> None:
        for child in self.children:
            self.trace.append(("stop", child.spec.id))
        self.children = []
        self.trace.append(("over",))
        self.over = True


supervisors = st.builds(
    ScriptedSupervisor,
    max_restarts=st.integers(0, 3),
    max_seconds=st.sampled_from([1.0, 5.0]),
    max_children=st.sampled_from([0, 2, float("inf")]),
    budget=st.sampled_from(Budget),
)
specs = st.builds(ScriptedChild, st.sampled_from(IDS), restart=st.sampled_from(Restart))
scripts = st.dictionaries(st.sampled_from(IDS), st.lists(st.sampled_from(["ok", "ok", "fail", "ignore"]), max_size=6))
events = st.one_of(
    st.tuples(st.just("start"), specs),
    st.tuples(st.just("start"), specs),
    st.tuples(st.just("exit"), st.integers(0, 3), st.sampled_from(sorted(REASONS))),
    st.tuples(st.just("terminate"), st.integers(0, 3), st.none()),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 5.0, 5.5])),
    st.tuples(st.sampled_from(["stop", "restart", "delete"])),
)


def ask(core: DynamicCore, verb: Verb, subject: Any) -> str:
    request = Request(verb, subject)
    core.ask(request)
    assert request.answered
    return "ok" if request.error is None else type(request.error).__name__


@given(spec=supervisors, starts=scripts, happenings=st.lists(events, max_size=25))
@settings(deadline=None, max_examples=400)
def test_a_dynamic_supervisor_does_what_the_model_does(
    spec: ScriptedSupervisor, starts: dict[str, list[str]], happenings: list[tuple[Any, ...]]
) -> None:
    host = FakeHost(starts)
    core = host.core = DynamicCore(spec, host)
    core.boot()
    assert host.has_booted
    model = Model(spec, starts)
    now = 0.0
    for happening in happenings:
        assert host.trace == model.trace
        assert [slot.spec.id for slot in core.slots()] == [child.spec.id for child in model.children]
        if model.over:
            break
        match happening:
            case ("start", child):
                assert ask(core, Verb.START, child) == model.start_child(child)
            case ("time", seconds):
                now += seconds
                host.pass_time(seconds)
            case ("stop",):
                core.stop(Shutdown())
                model.stop()
            case ("restart" | "delete" as verb,):
                assert ask(core, Verb[verb.upper()], "a") == "ChildNotFound"
            case (what, number, reason) if number < len(model.children):
                slot = core.slots()[number]
                if what == "terminate":
                    assert ask(core, Verb.TERMINATE, picture(slot)) == "ok"
                    model.terminate(model.children[number])
                else:
                    assert slot.present is not None
                    host.ended(slot.present, REASONS[reason])
                    model.exit(model.children[number], reason, now)
    assert host.trace == model.trace
    assert (host.ending is not None) == model.over


def opened(starts: dict[str, list[str]] | None = None) -> tuple[FakeHost, DynamicCore]:
    host = FakeHost(starts)
    core = host.core = DynamicCore(ScriptedSupervisor(max_restarts=100), host)
    core.boot()
    return host, core


def test_a_slow_start_keeps_no_other_waiting() -> None:
    host, core = opened({"a": ["wait"]})
    slow, quick = Request(Verb.START, ScriptedChild("a")), Request(Verb.START, ScriptedChild("b"))
    core.ask(slow)
    core.ask(quick)
    assert (slow.answered, quick.answered) == (False, True)
    assert slow.slot is not None
    assert slow.slot.life is not None
    host.started(slow.slot.life)
    assert slow.answered


def test_who_terminates_a_starting_child_and_who_started_it_are_both_answered() -> None:
    _, core = opened({"a": ["wait"]})
    start, terminate = Request(Verb.START, ScriptedChild("a")), Request(Verb.TERMINATE, "a")
    core.ask(start)
    core.ask(terminate)
    assert type(start.error).__name__ == "StartFailed"
    assert terminate.answered
    assert terminate.error is None
    assert core.size == 0


def test_a_stop_before_the_boot_ends_it_and_starts_nothing() -> None:
    host = FakeHost()
    core = host.core = DynamicCore(ScriptedSupervisor(), host)
    core.stop(Shutdown())
    core.boot()
    assert not host.has_booted
    assert host.trace == [("over",)]


def test_calls_are_served_between_two_tries_of_a_restart_that_fails() -> None:
    host, core = opened({"a": ["ok", "fail", "fail", "fail"]})
    core.ask(Request(Verb.START, ScriptedChild("a")))
    (slot,) = core.slots()
    assert slot.present is not None
    request = Request(Verb.TERMINATE, "a")
    start = host.start

    def start_and_be_asked_meanwhile(child: Slot) -> None:
        if not request.answered:
            core.ask(request)
        start(child)

    host.start = start_and_be_asked_meanwhile  # type: ignore[method-assign]
    host.trace.clear()
    host.ended(slot.present, CRASH)
    assert host.trace == [("start", "a", "fail")]  # and no second try
    assert request.answered
    assert core.size == 0


def test_a_fault_in_the_decisions_stops_every_child_and_ends_the_supervisor_as_crashed() -> None:
    host, core = opened()
    for id in IDS:
        core.ask(Request(Verb.START, ScriptedChild(id)))
    victim = core.slots()[0].present
    assert victim is not None

    def broken(_: Any) -> None:
        raise ZeroDivisionError("our own fault")

    host.start = broken  # type: ignore[method-assign]
    host.ended(victim, CRASH)
    assert ("kill", "b") in host.trace
    assert host.ending is not None
    assert isinstance(host.ending.reason, Crashed)
    assert host.ending.reason.type is ZeroDivisionError


def test_to_terminate_a_restart_that_was_cut_off_for_its_time_is_answered_and_no_other_try_follows() -> None:
    host, core = opened({"a": ["ok", "wait"]})
    core.ask(Request(Verb.START, ScriptedChild("a")))
    (slot,) = core.slots()
    assert slot.present is not None
    host.ended(slot.present, CRASH)
    life = slot.life
    assert life is not None
    life.cut = Killed()  # Its time was over; it is being stopped, and takes a while.
    request = Request(Verb.TERMINATE, "a")
    core.ask(request)
    assert not request.answered
    host.ended(life, Killed())
    assert request.answered
    assert request.error is None
    assert core.size == 0
    assert host.trace == [("start", "a", "ok"), ("start", "a", "wait")]
