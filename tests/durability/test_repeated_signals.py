"""A signal that comes again counts once, and that is told."""

from __future__ import annotations

from typing import Any

from prunella import Agent, AgentSpec, MemoryStorage, Signal, on, open_runtime
from prunella.runtime import SignalRepeated, TurnEvent
from prunella.telemetry import Event


class Desk(Agent, name="desk", durable=True):
    open: tuple[str, ...] = ()

    @on("ticket.opened")
    def opened(self, ticket: str) -> Any:
        return self.set(open=(*self.open, ticket))


async def test_of_a_signal_that_waits_already_or_was_handled_one_turn_is_taken_and_each_repetition_is_told() -> None:
    heard: list[Event] = []
    storage = MemoryStorage()
    signal = Signal("ticket.opened", {"ticket": "T-1"}, id="1")
    for _ in range(2):
        async with open_runtime(AgentSpec(Desk), storage=storage, telemetry=[heard.append]) as runtime:
            desk = runtime.ref("desk", Desk)
            desk.cast_nowait(signal)
            await desk.cast(signal)  # while the first waits
            assert (await desk.call(signal)).open == ("T-1",)  # when it was handled
            assert desk.state().open == ("T-1",)
    assert [event.signal_id for event in heard if isinstance(event, TurnEvent)] == ["1"]
    assert [event.signal_id for event in heard if isinstance(event, SignalRepeated)] == ["1"] * 5
