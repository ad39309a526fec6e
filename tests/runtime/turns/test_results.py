"""What a caller gets, whatever happens to its signal: for each verb, and whether the agent is idle or busy."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.turns.agents import Heard, Puppet, Task, busy, settle

from prunella.agents import (
    Agent,
    AgentCrashed,
    AgentNotFound,
    AgentStopped,
    InvalidSignalData,
    MailboxFull,
    NoReply,
    Rejected,
    Reply,
    Stop,
    UnhandledSignal,
    on,
)
from prunella.errors import InvalidArgument
from prunella.runtime import AgentRef, AgentSpec, SignalDropped, SignalPoisoned, open_runtime
from prunella.signals import Signal, SignalType
from prunella.supervision import Crashed, Normal, Shutdown

anyhow = pytest.mark.parametrize("is_busy", [False, True], ids=["idle", "busy"])
waiting_verbs = pytest.mark.parametrize("verb", ["call", "call_settled", "ask"])
all_verbs = pytest.mark.parametrize("verb", ["call", "call_settled", "ask", "cast", "cast_nowait"])


async def use(ref: AgentRef[Any], verb: str, *signal: Any, **data: Any) -> Any:
    result = getattr(ref, verb)(*signal, **data)
    return result if verb == "cast_nowait" else await result


@anyhow
@pytest.mark.parametrize("verb", ["call", "call_settled"])
async def test_a_call_returns_the_state_after_its_turn(verb: str, is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        state = await use(ref, verb, "note", value=1)
        assert state.log == (("before", 1) if is_busy else (1,))
        assert ref.state() is state


@anyhow
async def test_an_ask_waits_for_the_reply(is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        assert await ref.ask("echo", value=41) == 41


async def test_a_cast_returns_when_the_signal_is_accepted_and_before_it_is_handled() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("note", value=1)
        assert ref.state().log == ()
        assert ref.status().mailbox == 1
        await settle()
        assert ref.state().log == (1,)
        assert ref.status().mailbox == 0


@anyhow
@waiting_verbs
async def test_a_refusal_is_raised_and_nothing_is_committed(verb: str, is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        with pytest.raises(Rejected, match="not today") as caught:
            await use(ref, verb, "refuse")
        assert caught.value.details == {"code": 7}
        assert caught.value.address == ref.address
        assert ref.state().log == (("before",) if is_busy else ())
        assert ref.status().restarts == 0


class Fussy(Rejected):
    """A refusal of one's own."""


@anyhow
@waiting_verbs
async def test_a_refusal_of_ones_own_class_arrives_as_it_was_raised(verb: str, is_busy: bool) -> None:
    refusal = Fussy("no")

    def refuse(_: Puppet) -> None:
        raise refusal

    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        with pytest.raises(Fussy) as caught:
            await use(ref, verb, "do", it=refuse)
        assert caught.value is refusal


@anyhow
@waiting_verbs
async def test_a_signal_that_nobody_handles_and_wrong_data_are_told_and_crash_nothing(verb: str, is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        with pytest.raises(UnhandledSignal, match=r"no\.such") as unhandled:
            await use(ref, verb, "no.such")
        with pytest.raises(InvalidSignalData) as invalid:
            await use(ref, verb, "number", number="one")
        assert (invalid.value.path, invalid.value.got) == ("number", "str")
        assert unhandled.value.address == invalid.value.address == ref.address
        assert ref.status().restarts == 0
        assert (await ref.call("note", value=1)).log[-1] == 1


@pytest.mark.parametrize("verb", ["cast", "cast_nowait"])
async def test_a_cast_does_not_look(verb: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        for type, data in [("refuse", {}), ("no.such", {}), ("number", {"number": "one"})]:
            await use(ref, verb, type, data)
        await settle()
        assert ref.status().restarts == 0
        assert [type in caplog.text for type in ("Rejected", "UnhandledSignal", "InvalidSignalData")] == [True] * 3


@anyhow
@waiting_verbs
async def test_a_crash_is_told_at_once_and_the_agent_comes_back(verb: str, is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        with pytest.raises(AgentCrashed) as caught:
            await use(ref, verb, "boom", text="so sad")
        assert isinstance(caught.value.reason, Crashed)
        assert (caught.value.reason.type, caught.value.reason.message) == (ValueError, "so sad")
        assert caught.value.address == ref.address
        assert (ref.status().state, ref.status().restarts) == ("running", 1)
        assert (await ref.call("note", value=1)).log == (1,)


@pytest.mark.parametrize("verb", ["cast", "cast_nowait"])
async def test_a_cast_that_crashes_is_reported(verb: str, heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await use(ref, verb, "boom")
        await settle()
        assert [event.signal_type for event in heard.of(SignalPoisoned)] == ["boom"]
        assert ref.status().restarts == 1


@waiting_verbs
async def test_a_crash_in_another_turn_lets_a_waiting_caller_wait_on(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("boom")
        result = await use(ref, verb, "echo" if verb == "ask" else "note", value=1)
        assert ref.status().restarts == 1
        assert result == 1 if verb == "ask" else result.log == (1,)


@waiting_verbs
async def test_an_agent_that_ends_for_good_answers_whoever_waits_at_once(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.cast("do", it=Stop())
        caller = Task(nursery, use, ref, verb, "note", value=1)
        await settle()
        assert isinstance(caller.error, AgentStopped)
        assert caller.error.reason == Normal()
        assert caller.error.address == ref.address


@waiting_verbs
async def test_the_reason_of_an_end_may_be_a_crash(verb: str) -> None:
    async with open_runtime() as runtime:
        ref = await runtime.start_agent(Puppet, "p", max_restarts=0)
        await ref.cast("boom")
        with pytest.raises(AgentStopped) as caught:
            await use(ref, verb, "note")
        assert isinstance(caught.value.reason, Crashed)


async def test_casts_that_wait_when_the_agent_ends_are_dropped_and_reported(heard: Heard) -> None:
    async with open_runtime(AgentSpec(Puppet, "p"), telemetry=[heard]) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.cast("do", it=Stop())
        await ref.cast("note", value=1)
        await settle()
        assert [event.signal_type for event in heard.of(SignalDropped)] == ["note"]


@all_verbs
async def test_an_agent_that_has_ended_says_so_and_one_that_never_was_says_that(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.stop()
        with pytest.raises(AgentStopped) as stopped:
            await use(ref, verb, "note")
        assert stopped.value.reason == Shutdown()
        with pytest.raises(AgentNotFound, match="nobody") as absent:
            await use(runtime.ref("nobody"), verb, "note")
        assert absent.value.address == runtime.ref("nobody").address


@waiting_verbs
async def test_a_full_mailbox_lets_callers_wait(verb: str) -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=1)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        await ref.suspend()
        await ref.cast("note", value=1)
        caller = Task(nursery, use, ref, verb, "do", it=Reply(2))
        await settle()
        assert caller.is_waiting
        await ref.resume()
        await settle()
        assert not caller.is_waiting
        assert caller.error is None


async def test_a_cast_waits_while_the_mailbox_is_full_and_cast_nowait_says_so() -> None:
    async with open_runtime(AgentSpec(Puppet, "p", mailbox=2)) as runtime, trio.open_nursery() as nursery:
        ref = runtime.ref("p", Puppet)
        for number in range(2):
            ref.cast_nowait("note", value=number)
        with pytest.raises(MailboxFull) as caught:
            ref.cast_nowait("note", value=2)
        assert (caught.value.size, caught.value.address) == (2, ref.address)
        late = Task(nursery, ref.cast, "note", value=3)
        await settle()
        assert not late.is_waiting
        assert ref.state().log == (0, 1, 3)


@anyhow
async def test_no_reply_that_can_come_ends_the_ask(is_busy: bool) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        if is_busy:
            await busy(ref)
        with pytest.raises(NoReply):
            await ref.ask("note", value=1)


# Data.


async def test_all_keywords_are_data_whatever_their_names() -> None:
    class Wide(Agent, name="wide"):
        got: object = None

        @on("wide")
        def wide(self, **rest: object) -> object:
            return self.set(got=tuple(sorted(rest)))

    async with open_runtime(AgentSpec(Wide, "w")) as runtime:
        ref = runtime.ref("w", Wide)
        names = dict.fromkeys(("data", "timeout", "signal_or_type", "signal", "context", "more_data"), 1)
        assert (await ref.call("wide", **names)).got == tuple(sorted(names))
        assert (await ref.call("wide", {"a": 1}, b=2)).got == ("a", "b")


async def test_a_whole_signal_takes_no_further_data() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        assert (await ref.call(Signal("note", {"value": 1}))).log == (1,)
        with pytest.raises(InvalidArgument):
            await ref.call(Signal("note", {"value": 1}), {"value": 2})
        with pytest.raises(InvalidArgument):
            await ref.call(Signal("note", {"value": 1}), value=2)


class Number(SignalType, type="number"):
    number: int


async def test_a_typed_signal_is_taken_as_a_value_and_as_a_class() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p", Puppet)
        assert (await ref.call(Number(number=1))).log == (1,)
        assert (await ref.call(Number, number=2)).log == (1, 2)
        assert (await ref.call(Number, {"number": 3})).log == (1, 2, 3)


@all_verbs
@pytest.mark.parametrize(
    "signal",
    [None, 1, "", object(), "prunella.started", Signal("prunella.started")],
    ids=lambda value: str(getattr(value, "type", type(value).__name__)),
)
async def test_what_is_no_signal_or_not_ones_own_is_refused(verb: str, signal: Any) -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        with pytest.raises(InvalidArgument):
            await use(runtime.ref("p"), verb, signal)


async def test_data_is_not_copied_on_its_way() -> None:
    data = {"value": object()}
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        state = await runtime.ref("p", Puppet).call("note", data)
        assert state.log[0] is data["value"]


async def test_whether_a_type_is_handled_can_be_asked_beforehand() -> None:
    async with open_runtime(AgentSpec(Puppet, "p")) as runtime:
        ref = runtime.ref("p")
        assert (ref.handles("note"), ref.handles("no.such")) == (True, False)
