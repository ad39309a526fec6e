"""What is reported: one event a turn, one end for each start, traces, and never a payload."""

from __future__ import annotations

import random
from collections import Counter as Count
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from tests.runtime.families.agents import Child, Counter, Heard, Log, Member, do, settle, told

from prunella.agents import (
    Agent,
    AgentCrashed,
    AgentError,
    Ask,
    Cancel,
    Emit,
    Fail,
    Rejected,
    Reply,
    Run,
    Schedule,
    SpawnAgent,
    SpawnTask,
    Stop,
    StopChild,
    on,
)
from prunella.dispatch import FunctionTarget
from prunella.runtime import (
    AgentEnded,
    AgentEvent,
    AgentRef,
    AgentRestarted,
    AgentSpec,
    AgentStarted,
    EffectException,
    EffectStart,
    EffectStop,
    ReplyDropped,
    SignalDropped,
    SignalPoisoned,
    TurnEvent,
    open_runtime,
)
from prunella.signals import Signal, Trace
from prunella.supervision import ChildExited, GaveUp, Supervisor
from prunella.telemetry import ErrorInfo, Event
from prunella.telemetry._redaction import redacted_text

SECRET = "tulip-7731-secret"


def turns(heard: Heard, agent: str = "c") -> list[tuple[str, str]]:
    return [(event.signal_type, event.outcome) for event in heard.of(TurnEvent) if event.agent == agent]


# Turns.


async def test_a_turn_is_one_event(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Counter, "c"), telemetry=[heard]) as runtime:
        ref = runtime.ref("c")
        signal = Signal("add", {})
        await ref.call(signal)
        [event] = heard.of(TurnEvent)
        assert event.name == "agent.turn"
        assert event.agent == "c"
        assert (event.signal_type, event.signal_id, event.outcome) == ("add", signal.id, "committed")
        assert event.error is None
        assert event.duration > 0
        assert event.mailbox == 0
        assert event.time == trio.current_time()
        assert event.span_id
        assert event.parent_span_id is None
        assert dict(event.attributes) == {
            "trace_id": None,
            "signal_type": "add",
            "signal_id": signal.id,
            "outcome": "committed",
            "duration": event.duration,
            "mailbox": 0,
        }


@pytest.mark.parametrize("verb", ["cast", "call", "ask"])
async def test_every_verb_makes_one_event_a_turn(verb: str, heard: Heard) -> None:
    async with open_runtime(AgentSpec(Counter, "c", restore="last"), telemetry=[heard]) as runtime:
        ref = runtime.ref("c")
        for type, data in (("add", {}), ("add", {"amount": "x"}), ("unknown", {}), ("boom", {}), ("add", {})):
            try:
                await getattr(ref, verb)(type, **data)
            except AgentError:
                pass
            await settle()
    assert turns(heard) == [
        ("add", "committed"),
        ("add", "InvalidSignalData"),
        ("unknown", "UnhandledSignal"),
        ("boom", "crashed"),
        ("add", "committed"),
    ]


async def test_a_turn_that_was_not_committed_says_why(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Counter, "c"), telemetry=[heard]) as runtime:
        ref = runtime.ref("c")
        await ref.cast("unknown")
        await ref.cast("boom")
        await settle()
        refused, crashed = heard.of(TurnEvent)
        assert refused.error is not None
        assert refused.error.type == "UnhandledSignal"
        assert crashed.error == ErrorInfo("ValueError", "boom")


async def test_the_mailbox_is_counted(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Counter, "c"), telemetry=[heard]) as runtime:
        ref = runtime.ref("c")
        for _ in range(3):
            await ref.cast("add")
        await settle()
    assert [event.mailbox for event in heard.of(TurnEvent)] == [2, 1, 0]


async def test_lives_are_told(heard: Heard) -> None:
    async with open_runtime(telemetry=[heard]) as runtime:
        ref = await runtime.start_agent(Counter, "c", partition="east")
        await ref.cast("boom")
        await settle()
        await ref.stop()
    about = str(ref.address)
    lives = [event for event in heard if isinstance(event, AgentStarted | AgentRestarted | AgentEnded)]
    assert [(event.name, event.agent) for event in lives] == [
        ("agent.started", about),
        ("agent.restarted", about),
        ("agent.ended", about),
    ]
    assert lives[1].attributes["restarts"] == 1
    assert (lives[2].attributes["reason"], lives[2].error) == ("shutdown", None)


async def test_poison_drops_and_giving_up_are_told(heard: Heard) -> None:
    async with open_runtime(telemetry=[heard]) as runtime:
        ref = await runtime.start_agent(Counter, "c", max_restarts=0)
        await ref.suspend()
        for type in ("boom", "add", "add"):
            await ref.cast(type)
        await ref.resume()
        await ref.wait_stopped()
        await settle()
    [poison] = heard.of(SignalPoisoned)
    assert (poison.signal_type, poison.agent, poison.error) == ("boom", "c", ErrorInfo("ValueError", "boom"))
    assert [event.signal_type for event in heard.of(SignalDropped)] == ["add", "add"]
    assert len(heard.of(GaveUp)) == 1
    [ended] = heard.of(AgentEnded)
    assert (ended.reason, ended.error) == ("crashed", ErrorInfo("ValueError", "boom"))


async def test_a_reply_that_nobody_waits_for_is_told(heard: Heard) -> None:
    async with open_runtime(telemetry=[heard]) as runtime:
        ref = await runtime.start_agent(Member, "m")
        await do(ref, Reply(1))
        assert await ref.ask("do", it=[Reply(1), Reply(2)]) == 1
    assert [(event.agent, event.signal_type) for event in heard.of(ReplyDropped)] == [("m", "do"), ("m", "do")]


# Effects.


def ends(heard: Heard) -> list[EffectStop | EffectException]:
    return [event for event in heard if isinstance(event, EffectStop | EffectException)]


def check_pairs(heard: Heard) -> None:
    """Every start has one end, behind it, of the same span."""
    starts = {}
    open_spans: Count[str] = Count()
    for event in heard:
        if isinstance(event, EffectStart):
            assert event.span_id not in starts, "a span of its own"
            starts[event.span_id] = event
            open_spans[event.span_id] += 1
        elif isinstance(event, EffectStop | EffectException):
            open_spans[event.span_id] -= 1
            assert open_spans[event.span_id] == 0, "one end, after its start"
            start = starts[event.span_id]
            assert (start.agent, start.directive, start.parent_span_id) == (
                event.agent,
                event.directive,
                event.parent_span_id,
            )
            assert event.duration >= 0
    assert not +open_spans


async def nap(seconds: float = 1.0) -> str:
    await trio.sleep(seconds)
    return "rested"


async def fail() -> None:
    raise OSError("no")


async def test_what_waits_has_a_start_and_an_end(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Log, "c"), telemetry=[heard]) as runtime:
        ref = runtime.ref("c")
        await do(ref, Run(nap))
        await settle()
        [start] = heard.of(EffectStart)
        assert (start.name, start.directive, start.signal_type) == ("effect.start", "Run", "do")
        assert start.parent_span_id == heard.of(TurnEvent)[0].span_id
        assert ends(heard) == []
        await trio.sleep(2)
        [stop] = ends(heard)
        assert stop.name == "effect.stop"
        assert stop.span_id == start.span_id
    check_pairs(heard)


async def test_a_failure_is_the_other_end(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Log, "c"), telemetry=[heard]) as runtime:
        await do(runtime.ref("c"), Run(fail), Emit("x", to="nobody"))
        await settle()
    failures = heard.of(EffectException)
    assert [(event.name, event.directive, event.error and event.error.type) for event in failures] == [
        ("effect.exception", "Emit", "AgentNotFound"),
        ("effect.exception", "Run", "OSError"),
    ]
    check_pairs(heard)


@pytest.mark.parametrize("end", ["crash", "stop", "brutal kill", "stop itself", "close", "cancel"])
async def test_every_start_has_one_end_also_when_the_agent_ends(end: str, heard: Heard) -> None:
    async with open_runtime(telemetry=[heard]) as runtime:
        shutdown: Any = "brutal_kill" if end == "brutal kill" else 2.0
        ref = await runtime.start_agent(Member, "m", shutdown=shutdown)
        full = await runtime.start_agent(Log, "full", mailbox=1)
        await full.suspend()
        await full.cast("tick")
        await do(
            ref,
            Run(nap, {"seconds": 1000.0}, then="note", key="k"),
            SpawnTask(nap, {"seconds": 1000.0}),
            Emit("tick", to="full"),
            Emit("tick", to="full"),
            Ask("full", "tick", then="note"),
            Schedule(1000, "note"),
            SpawnAgent(Child, tag="c"),
            SpawnAgent(Child, tag="c", catch="refused"),
        )
        await settle()
        assert len(heard.of(EffectStart)) > len(ends(heard)), "something is under way"
        if end == "crash":
            await ref.cast("boom")
        elif end in ("stop", "brutal kill"):
            await ref.stop()
        elif end == "stop itself":
            await ref.cast("stop")
        elif end == "cancel":
            await do(ref, Cancel("k"))
        await trio.sleep(10)
    check_pairs(heard)
    assert len(ends(heard)) == len(heard.of(EffectStart)) >= 7


class Busy(Agent, name="busy"):
    """Does whatever it is told."""

    @on("go")
    def go(self, kind: str, other: str, tag: str) -> Any:
        match kind:
            case "run":
                return Run(nap, {"seconds": 0.3}, then="done", catch="done")
            case "stream":
                return Run(numbers, each="done", then="done", key="k")
            case "fail":
                return Run(fail, retries=1)
            case "emit":
                return [Emit("go", {"kind": "none", "other": other, "tag": tag}, to=other) for _ in range(3)]
            case "publish":
                return Emit("done")
            case "ask":
                return Ask(other, "go", {"kind": "reply", "other": other, "tag": tag}, then="done", catch="done")
            case "reply":
                return Reply(1)
            case "refuse":
                return Fail("no")
            case "spawn":
                return SpawnAgent(Busy, tag=tag, id=tag)
            case "stop child":
                return StopChild(tag)
            case "task":
                return SpawnTask(nap)
            case "schedule":
                return Schedule(0.2, "done")
            case "boom":
                raise ValueError(kind)
            case "reject":
                raise Rejected("no")
            case "stop":
                return Stop()
        return None

    @on("done")
    def done(self) -> Any:
        return None


async def numbers() -> Any:
    for number in range(3):
        await trio.sleep(0.1)
        yield number


async def meanwhile(what: int, ref: AgentRef[Any], stream: trio.MemoryReceiveChannel[Signal]) -> None:
    """Something that happens from outside, or nothing."""
    try:
        match what:
            case 0:
                await trio.sleep(0.3)
            case 1:
                await ref.suspend()
            case 2:
                await ref.resume()
            case 3:
                stream.receive_nowait()
            case 4:
                await ref.stop()
    except (AgentError, trio.WouldBlock):
        pass


KINDS = [
    "run", "stream", "fail", "emit", "publish", "ask", "reply", "refuse", "spawn", "stop child", "task", "schedule",
    "boom", "reject", "stop", "none",
]  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
async def test_every_start_has_one_end_whatever_happens(seed: int, heard: Heard) -> None:
    chance = random.Random(seed)
    async with open_runtime(telemetry=[heard]) as runtime, runtime.subscribe("done", buffer=3) as stream:
        ids = [f"a{number}" for number in range(5)]
        for _ in range(300):
            id = chance.choice(ids)
            if runtime.whereis(id) is None:
                await runtime.start_agent(Busy, id, mailbox=3, effects=5, shutdown=chance.choice([0.0, 0.5]))
            ref = runtime.ref(id)
            kind = chance.choice(KINDS)
            try:
                ref.cast_nowait("go", kind=kind, other=chance.choice(ids), tag=f"{id}-{chance.randrange(3)}")
            except AgentError:
                pass
            await meanwhile(chance.randrange(20), ref, stream)
    check_pairs(heard)
    assert heard.of(EffectStart)


# Traces.


async def test_a_trace_goes_from_signal_to_turn_to_effect_to_the_next_turn(heard: Heard) -> None:
    trace = Trace.root()
    tree = Supervisor([AgentSpec(Log, "a"), AgentSpec(Log, "b")])
    async with open_runtime(tree, telemetry=[heard]) as runtime:
        signal = trace.on(Signal("do", {"it": Emit("tick", {}, to="b")}))
        await runtime.ref("a").cast(signal)
        await settle()
        [sent] = runtime.ref("b", Log).state().signals
    first, second = heard.of(TurnEvent)
    [effect] = heard.of(EffectStart)
    assert first.parent_span_id == trace.span_id
    assert effect.parent_span_id == first.span_id
    assert second.parent_span_id == effect.span_id
    assert {first.trace_id, effect.trace_id, second.trace_id} == {trace.trace_id}
    of_sent = Trace.of(sent)
    assert of_sent is not None
    assert (of_sent.trace_id, of_sent.span_id) == (trace.trace_id, effect.span_id)
    assert sent.extensions["causationid"] == signal.id


async def test_a_trace_goes_on_to_results_schedules_and_targets_outside(heard: Heard) -> None:
    trace = Trace.root()
    received: list[Signal] = []

    async def take(signal: Signal) -> None:
        received.append(signal)

    async with open_runtime(AgentSpec(Log, "a"), telemetry=[heard]) as runtime:
        directives = [
            Run(nap, then="note.run"),
            Schedule(5, "note.later"),
            Emit("out", {}, to=FunctionTarget(take)),
            Emit("tick", {}, to="a"),
        ]
        await runtime.ref("a").cast(trace.on(Signal("do", {"it": directives})))
        await trio.sleep(10)
        signals = [*runtime.ref("a", Log).state().signals, *received]
    assert {signal.type for signal in signals} == {"note.run", "note.later", "out", "tick"}
    for signal in signals:
        of_signal = Trace.of(signal)
        assert of_signal is not None
        assert of_signal.trace_id == trace.trace_id
        assert of_signal.span_id != trace.span_id
    spans = {event.directive: event.span_id for event in heard.of(EffectStart)}
    turns_of = {event.signal_type: event for event in heard.of(TurnEvent)}
    assert turns_of["note.run"].parent_span_id == spans["Run"]
    assert {event.trace_id for event in heard.of(TurnEvent)} == {trace.trace_id}


class Newborn(Agent, name="newborn"):
    first: tuple[Signal, ...] = ()

    @on("prunella.started")
    def started(self, signal: Signal) -> Any:
        return self.set(first=(*self.first, signal))

    @on("boom")
    def boom(self) -> Any:
        raise ValueError("boom")


async def test_a_trace_goes_from_signal_to_directive_to_child(heard: Heard) -> None:
    trace = Trace.root()

    class Parent(Agent, name="parent"):
        told: tuple[Signal, ...] = ()

        @on("spawn")
        def spawn(self) -> Any:
            return SpawnAgent(Newborn, tag="c")

        @on("prunella.child.started")
        def child(self, signal: Signal) -> Any:
            return self.set(told=(*self.told, signal))

    async with open_runtime(AgentSpec(Parent, "p"), telemetry=[heard]) as runtime:
        parent = runtime.ref("p", Parent)
        await parent.cast(trace.on(Signal("spawn")))
        await settle()
        child = runtime.ref("p/c", Newborn)
        [first] = child.state().first
        [told_parent] = parent.state().told
        [effect] = heard.of(EffectStart)
        for signal in (first, told_parent):
            of_signal = Trace.of(signal)
            assert of_signal is not None
            assert (of_signal.trace_id, of_signal.span_id) == (trace.trace_id, effect.span_id)
        await child.cast("boom")
        await settle()
        assert Trace.of(child.state().first[0]) is None, "a restart is nobody's doing"


async def test_listeners_change_nothing_of_what_is_sent() -> None:
    async def signals(listeners: list[Any], trace: Trace | None) -> list[Any]:
        async with open_runtime(AgentSpec(Log, "a"), telemetry=listeners) as runtime:
            signal = Signal("do", {"it": [Emit("tick", {}, to="a"), Run(nap, then="note.run")]})
            await runtime.ref("a").cast(signal if trace is None else trace.on(signal))
            await trio.sleep(2)
            return [
                (signal.type, signal.source, sorted(signal.extensions), signal.data)
                for signal in runtime.ref("a", Log).state().signals
            ]

    for trace in (None, Trace.root()):
        assert await signals([], trace) == await signals([lambda event: None], trace)


# No payloads.


class Keeper(Agent, name="keeper"):
    """Has secrets everywhere."""

    secret: str = ""

    @on("keep")
    def keep(self, secret: str) -> Any:
        return self.set(secret=secret)

    @on("tell")
    def tell(self, secret: str) -> Any:
        return [
            Emit("heard", {"secret": secret}, to="keeper"),
            Emit("heard", {"secret": secret}),
            Emit("heard", {"secret": secret}, to="nobody"),
            Run(leak, {"secret": secret}, then="heard", carry={"secret": secret}),
            Run(lose, {"secret": secret}),
            Schedule(1, "heard", {"secret": secret}),
            SpawnAgent(Child, tag="c", meta={"secret": secret}),
            SpawnAgent(Child, tag="c", meta={"secret": secret}),
            Reply(secret),
            Fail(secret),
        ]

    @on("heard")
    def heard(self) -> Any:
        return None

    @on("refuse")
    def refuse(self, secret: str) -> Any:
        raise Rejected(f"{secret} is not wanted", given=secret)

    @on("crash")
    def crash(self, secret: str) -> Any:
        raise KeyError(f"no {secret} here")

    @on("number")
    def number(self, amount: int) -> Any:
        raise Rejected(f"{amount} is too much")


async def leak(secret: str) -> str:
    return secret


async def lose(secret: str) -> str:
    raise OSError(f"lost {secret}")


def text_of(event: Event) -> str:
    return repr(event) + repr(dict(event.attributes)) + repr(attrs.asdict(event, recurse=False))


async def test_no_payload_is_in_any_event_or_in_the_log(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    async with open_runtime(AgentSpec(Keeper, "keeper", debug=True), telemetry=[heard], recorder=1000) as runtime:
        ref = runtime.ref("keeper", Keeper)
        await ref.call("keep", secret=SECRET)
        for kind in ("tell", "refuse", "unknown", "crash"):
            await ref.cast(kind, secret=SECRET)
            await trio.sleep(3)
        await ref.cast("keep", secret=[SECRET])
        await ref.cast(SECRET.replace("-", "."), {"x": SECRET})
        await ref.suspend()
        await ref.cast("keep", secret=SECRET)
        recorded = (*runtime.recent_events(), *ref.recent_events())
    seen = [*heard, *recorded]
    assert len({type(event) for event in seen if isinstance(event, AgentEvent)}) >= 9, "all kinds were made"
    assert [event for event in seen if SECRET in text_of(event)] == []
    assert {record.name for record in caplog.records} >= {"prunella.runtime", "prunella.supervision"}
    assert [record.getMessage() for record in caplog.records if SECRET in record.getMessage()] == []


async def test_a_crash_is_reported_by_supervision_too_with_its_places_and_without_its_payload(
    heard: Heard, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_runtime(AgentSpec(Keeper, "keeper"), telemetry=[heard]) as runtime:
        await runtime.ref("keeper").cast("crash", secret=SECRET)
        await trio.testing.wait_all_tasks_blocked()
    (exited,) = [event for event in heard.of(ChildExited) if not event.expected]
    assert exited.error == ErrorInfo("KeyError", "'no … here'")
    assert exited.reason.message == "'no … here'"
    (line,) = [record.getMessage() for record in caplog.records if record.name == "prunella.supervision"]
    assert "in Keeper.crash" in line
    assert line.endswith("KeyError: 'no … here'")


async def test_what_is_left_of_a_message_says_what_happened(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Keeper, "keeper"), telemetry=[heard]) as runtime:
        ref = runtime.ref("keeper")
        await ref.cast("refuse", secret=SECRET)
        await ref.cast("number", amount=1234567)
        with pytest.raises(AgentCrashed) as raised:
            await ref.call("crash", secret=SECRET)
        assert SECRET in raised.value.reason.message, "whoever called has the message as it was"
    messages = [event.error.message for event in heard.of(TurnEvent) if event.error is not None]
    assert messages[0].startswith("… is not wanted")
    assert messages[1].startswith("… is too much")
    assert messages[2] == "'no … here'"


def test_messages_are_cut_and_short_values_are_left() -> None:
    assert redacted_text("x" * 500) == "x" * 200
    assert redacted_text("a bad day", {"a": "a", "n": 17}) == "a bad day"
    assert redacted_text("no 12.75 of b'\\x00abc'", [{"k": (12.75, b"\x00abc")}]) == "no … of b'…'"
    assert redacted_text("flag True", {"flag": True}) == "flag True"
    assert redacted_text("anything", list(range(5_000))) == "…"
    loop: list[Any] = ["deep-secret"]
    loop.append(loop)
    assert "deep-secret" not in redacted_text("a deep-secret", loop)


# Listeners.


async def test_a_listener_that_raises_changes_nothing(heard: Heard) -> None:
    def bad(event: Event) -> None:
        raise RuntimeError("listener")

    async with open_runtime(AgentSpec(Member, "m"), telemetry=[bad, heard, bad]) as runtime:
        ref = runtime.ref("m", Member)
        await do(ref, SpawnAgent(Child, tag="c"), Run(nap, then="note"))
        await trio.sleep(2)
        assert len(told(ref.state(), "note")) == 1
        await ref.cast("boom")
        await settle()
        assert ref.status().restarts == 1
        with runtime.telemetry.subscribe(bad):
            assert await ref.ask("look") is None
    check_pairs(heard)


async def test_a_listener_hears_for_the_length_of_its_block() -> None:
    heard = Heard()
    async with open_runtime(AgentSpec(Counter, "c")) as runtime:
        ref = runtime.ref("c")
        await ref.call("add")
        with runtime.telemetry.subscribe(heard):
            await ref.call("add")
            await ref.cast("boom")
            await settle()
        await ref.call("add")
    assert turns(heard) == [("add", "committed"), ("boom", "crashed")]
    assert len(heard.of(ChildExited)) == 1


async def test_what_goes_outside_is_reported_to_the_same_listeners(heard: Heard) -> None:
    async def take(signal: Signal) -> None:
        pass

    async with open_runtime(AgentSpec(Log, "c"), telemetry=[heard]) as runtime:
        await do(runtime.ref("c"), Emit("out", {}, to=FunctionTarget(take)))
        await settle()
    assert [event.name for event in heard if event.name.startswith("dispatch.")]


async def test_an_effect_that_began_before_anybody_listened_has_no_end_either() -> None:
    heard = Heard()
    async with open_runtime(AgentSpec(Log, "c")) as runtime:
        await do(runtime.ref("c"), Run(nap))
        await settle()
        with runtime.telemetry.subscribe(heard):
            await trio.sleep(2)
    check_pairs(heard)
    assert ends(heard) == []


async def test_every_kind_has_a_name_of_its_own_and_is_frozen() -> None:
    kinds = [
        AgentStarted, AgentRestarted, AgentEnded, TurnEvent, EffectStart, EffectStop, EffectException, SignalPoisoned,
        SignalDropped, ReplyDropped,
    ]  # fmt: skip
    assert len({kind.name for kind in kinds}) == len(kinds)
    assert all("." in kind.name for kind in kinds)
    event = AgentStarted(time=1.0, agent="a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.time = 2.0  # type: ignore[misc]
