"""The decisions of a supervisor, against a small model of OTP's rules, without an event loop."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunella.supervision import Crashed, Normal, Shutdown
from prunella.supervision._core import Request, Verb
from prunella.supervision._ordered_core import OrderedCore
from prunella.supervision._policies import AutoShutdown, Restart, RestartWindow, Strategy

from .fake_host import CRASH, FakeHost, ScriptedChild, ScriptedSupervisor

REASONS = {"normal": Normal(), "shutdown": Shutdown(), "crash": CRASH}
IDS = "abcd"


@attrs.define
class ModelChild:
    spec: ScriptedChild
    state: str = "stopped"


class Model:
    """OTP's supervisor as naive loops over a list; it writes the same trace as the fake host."""

    def __init__(self, spec: ScriptedSupervisor, starts: dict[str, list[str]]) -> None:
        self.spec = spec
        self.starts = {id: list(outcomes) for id, outcomes in starts.items()}
        self.children = [ModelChild(child) for child in spec.children]
        self.trace: list[tuple[Any, ...]] = []
        self.times: list[float] = []
        self.over = False
        self.cut = False
        for child in list(self.children):
            if not self.start(child):
                self.end()
                return

    def start(self, child: ModelChild) -> bool:
        outcomes = self.starts.get(child.spec.id)
        outcome = outcomes.pop(0) if outcomes else "ok"
        self.trace.append(("start", child.spec.id, outcome))
        child.state = "running" if outcome == "ok" else "stopped"
        self.cut = outcome == "cut"
        if self.cut:
            self.trace.append(("stop", child.spec.id))
        if outcome == "ignore" and child.spec.restart is Restart.TEMPORARY:
            self.children.remove(child)
        return outcome not in ("fail", "cut")

    def stop(self, child: ModelChild) -> None:
        if child.state == "running":
            self.trace.append(("stop", child.spec.id))
        child.state = "stopped"

    def end(self) -> None:
        for child in reversed(self.children):
            self.stop(child)
        self.trace.append(("over",))
        self.over = True

    def exit(self, id: str, reason: str, now: float) -> None:
        child = self.find(id)
        if child is None or child.state != "running":
            return
        child.state = "stopped"
        restart = child.spec.restart
        if restart is Restart.PERMANENT or (restart is Restart.TRANSIENT and reason == "crash"):
            self.restart(child, now)
            return
        if restart is Restart.TEMPORARY:
            self.children.remove(child)
        if child.spec.significant:
            others = [other for other in self.children if other.spec.significant and other.state == "running"]
            rule = self.spec.auto_shutdown
            if rule is AutoShutdown.ANY_SIGNIFICANT or (rule is AutoShutdown.ALL_SIGNIFICANT and not others):
                self.end()

    def restart(self, child: ModelChild, now: float) -> None:
        while True:
            self.times = [time for time in self.times if time >= now - self.spec.max_seconds] + [now]
            if len(self.times) > self.spec.max_restarts:
                self.trace.append(("give up", child.spec.id))
                self.end()
                return
            failed = self.restart_once(child)
            if failed is None:
                return
            child = failed

    def restart_once(self, child: ModelChild) -> ModelChild | None:
        if self.spec.strategy is Strategy.ONE_FOR_ONE:
            return None if self.start(child) or self.cut else child
        first = 0 if self.spec.strategy is Strategy.ONE_FOR_ALL else self.children.index(child)
        for member in reversed(self.children[first:]):
            self.stop(member)
        self.children = [
            member
            for position, member in enumerate(self.children)
            if position < first or member.spec.restart is not Restart.TEMPORARY
        ]
        for member in self.children[first:]:
            if not self.start(member) and not self.cut:  # One that was cut off has been terminated, and that is all.
                return member
        return None

    def find(self, id: str) -> ModelChild | None:
        return next((child for child in self.children if child.spec.id == id), None)

    def ask(self, verb: Verb, subject: Any) -> str:
        id = subject.id if verb is Verb.START else subject
        child = self.find(id)
        if verb is Verb.START:
            if child is not None:
                return "AlreadyStarted" if child.state == "running" else "AlreadyPresent"
            child = ModelChild(subject)
            self.children.append(child)
            if self.start(child):
                return "ok"
            self.children.remove(child)
            return "StartFailed"
        if child is None:
            return "ChildNotFound"
        if verb is Verb.TERMINATE:
            self.stop(child)
            if child.spec.restart is Restart.TEMPORARY:
                self.children.remove(child)
            return "ok"
        if child.state == "running":
            return "ChildRunning"
        if verb is Verb.DELETE:
            self.children.remove(child)
            return "ok"
        return "ok" if self.start(child) else "StartFailed"

    def picture(self) -> list[tuple[str, str]]:
        return [(child.spec.id, child.state) for child in self.children]


def children(auto_shutdown: AutoShutdown, id: str) -> st.SearchStrategy[ScriptedChild]:
    kinds = [(restart, False) for restart in Restart]
    if auto_shutdown is not AutoShutdown.NEVER:
        kinds += [(Restart.TRANSIENT, True), (Restart.TEMPORARY, True)]
    return st.sampled_from(kinds).map(lambda kind: ScriptedChild(id, restart=kind[0], significant=kind[1]))


@st.composite
def supervisors(draw: st.DrawFn) -> ScriptedSupervisor:
    auto_shutdown = draw(st.sampled_from(AutoShutdown))
    size = draw(st.integers(0, 4))
    return ScriptedSupervisor(
        children=tuple(draw(children(auto_shutdown, id)) for id in IDS[:size]),
        strategy=draw(st.sampled_from(Strategy)),
        max_restarts=draw(st.integers(0, 3)),
        max_seconds=draw(st.sampled_from([1.0, 5.0])),
        auto_shutdown=auto_shutdown,
    )


events = st.one_of(
    st.tuples(st.just("exit"), st.sampled_from(IDS), st.sampled_from(sorted(REASONS))),
    st.tuples(st.just("time"), st.sampled_from([0.5, 1.0, 5.0, 5.5])),
    st.tuples(st.just("start"), st.sampled_from(IDS), st.sampled_from(Restart)),
    st.tuples(st.sampled_from([Verb.TERMINATE, Verb.RESTART, Verb.DELETE]), st.sampled_from(IDS)),
)
scripts = st.dictionaries(
    st.sampled_from(IDS), st.lists(st.sampled_from(["ok", "ok", "fail", "ignore", "cut"]), max_size=6), max_size=4
)


def ask(core: OrderedCore, verb: Verb, subject: Any) -> str:
    request = Request(verb, subject)
    core.ask(request)
    assert request.answered
    return "ok" if request.error is None else type(request.error).__name__


@given(spec=supervisors(), starts=scripts, happenings=st.lists(events, max_size=25))
@settings(deadline=None, max_examples=400)
def test_a_supervisor_does_what_the_model_does(
    spec: ScriptedSupervisor, starts: dict[str, list[str]], happenings: list[tuple[Any, ...]]
) -> None:
    host = FakeHost(starts)
    core = host.core = OrderedCore(spec, host)
    core.boot()
    model = Model(spec, starts)
    now = 0.0
    for happening in happenings:
        assert host.trace == model.trace
        if model.over:
            break
        assert [(slot.spec.id, str(slot.state)) for slot in core.slots()] == model.picture()
        match happening:
            case ("exit", id, reason):
                slot = next((slot for slot in core.slots() if slot.spec.id == id), None)
                if slot is not None and slot.present is not None:
                    host.ended(slot.present, REASONS[reason])
                model.exit(id, reason, now)
            case ("time", seconds):
                now += seconds
                host.pass_time(seconds)
            case ("start", id, restart):
                child = ScriptedChild(id, restart=restart)
                assert ask(core, Verb.START, child) == model.ask(Verb.START, child)
            case (verb, id):
                assert ask(core, verb, id) == model.ask(verb, id)
    assert host.trace == model.trace
    assert (host.ending is not None) == model.over


@given(spec=supervisors(), starts=scripts)
@settings(deadline=None)
def test_what_was_started_is_stopped_once_in_reverse_order(
    spec: ScriptedSupervisor, starts: dict[str, list[str]]
) -> None:
    host = FakeHost(starts)
    core = host.core = OrderedCore(spec, host)
    core.boot()
    running = [slot.spec.id for slot in core.slots() if slot.present is not None]
    host.trace.clear()
    core.stop(Shutdown())
    assert host.trace == (
        [*[("stop", id) for id in reversed(running)], ("over",)] if running or host.has_booted else []
    )


@pytest.mark.parametrize(("second", "admitted"), [(4.9, False), (5.0, False), (5.1, True)])
def test_the_boundary_of_the_window_is_inclusive(second: float, admitted: bool) -> None:
    window = RestartWindow(1, 5.0)
    assert window.admit(0.0)
    assert window.admit(second) is admitted


@given(times=st.lists(st.floats(0, 3), max_size=30), most=st.integers(0, 4), seconds=st.sampled_from([0.5, 1.0, 5.0]))
def test_the_window_counts_as_otp_does(times: list[float], most: int, seconds: float) -> None:
    window = RestartWindow(most, seconds)
    kept: list[float] = []
    now = 0.0
    for step in times:
        now += step
        kept = [time for time in kept if time >= now - seconds] + [now]
        assert window.admit(now) is (len(kept) <= most)


def test_two_members_of_a_group_that_die_together_are_one_restart() -> None:
    host = FakeHost()
    spec = ScriptedSupervisor(
        children=(ScriptedChild("a"), ScriptedChild("b")), strategy=Strategy.ONE_FOR_ALL, max_restarts=1
    )
    core = host.core = OrderedCore(spec, host)
    core.boot()
    first, second = core.slots()
    host.trace.clear()
    assert first.present is not None
    assert second.present is not None
    life = second.present
    life.ended, life.reason = True, CRASH  # It has died too, but its supervisor has not heard of it yet.
    host.ended(first.present, CRASH)
    core.life_ended(life)
    assert host.trace == [("start", "a", "ok"), ("start", "b", "ok")]
    assert host.ending is None


def test_a_fault_in_the_decisions_stops_every_child_and_ends_the_supervisor_as_crashed() -> None:
    host = FakeHost()
    core = host.core = OrderedCore(ScriptedSupervisor(children=(ScriptedChild("a"), ScriptedChild("b"))), host)
    core.boot()
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


def test_calls_are_served_between_two_tries_of_a_restart_that_fails() -> None:
    host = FakeHost({"a": ["ok", "fail", "fail", "fail"]})
    core = host.core = OrderedCore(ScriptedSupervisor(children=(ScriptedChild("a"),), max_restarts=100), host)
    core.boot()
    (slot,) = core.slots()
    assert slot.present is not None
    request = Request(Verb.TERMINATE, "a")
    start = host.start

    def start_and_be_asked_meanwhile(child: Any) -> None:
        if not request.answered:
            core.ask(request)
        start(child)

    host.start = start_and_be_asked_meanwhile  # type: ignore[method-assign]
    host.trace.clear()
    host.ended(slot.present, CRASH)
    assert host.trace == [("start", "a", "fail")]  # and no second try
    assert request.answered
    assert str(slot.state) == "stopped"


def test_the_decisions_do_not_import_trio() -> None:
    code = (
        "import sys, types, pathlib, prunella.errors\n"
        "import importlib.util\n"
        "package = types.ModuleType('prunella.supervision')\n"
        "home = importlib.util.find_spec('prunella').submodule_search_locations[0]\n"
        "package.__path__ = [str(pathlib.Path(home) / 'supervision')]\n"
        "sys.modules['prunella.supervision'] = package\n"
        "import prunella.supervision._ordered_core, prunella.supervision._dynamic_core\n"
        "assert 'trio' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
