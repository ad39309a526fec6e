"""Who was declared unresponsive sends nothing any more."""

from __future__ import annotations

import pytest
import trio

from prunella.agents import Agent, on
from prunella.runtime import AgentSpec, open_runtime
from prunella.supervision import Child, StaleLife, Supervisor


class Listener(Agent, name="listener"):
    heard: int = 0

    @on("word")
    def word(self):
        return self.set(heard=self.heard + 1)


async def test_a_child_that_is_over_cannot_send_through_a_ref_but_can_look(autojump_clock):
    release = trio.Event()
    said: list[object] = []

    async def deaf():
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await release.wait()
                with pytest.raises(StaleLife):
                    await ref.cast("word")
                with pytest.raises(StaleLife):
                    ref.cast_nowait("word")
                said.append(ref.state().heard)

    tree = Supervisor([AgentSpec(Listener), Child(deaf, id="deaf", restart="temporary", shutdown=1.0)], id="tree")
    async with open_runtime(tree) as runtime:
        ref = runtime.ref("listener", Listener)
        handle = runtime.supervisor.supervisor("tree")
        await ref.call("word")
        await handle.terminate_child("deaf")
        release.set()
        await trio.sleep(1)
        assert said == [1]
