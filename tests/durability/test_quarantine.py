"""State that cannot be read starts no fresh agent: it stays as it is, and nobody else is concerned."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.durability.agents import Heard, Puppet, copied, doing, emit, puppets, quiet

from prunella.agents import Agent, RestoreFailed, on
from prunella.runtime import AgentQuarantined, open_runtime
from prunella.storage import AgentKey, MemoryStorage, StorageUnavailable
from prunella.supervision import StartFailed, Supervisor
from prunella.testing.storage import Fault, FaultyStorage


def _torn(storage: FaultyStorage, id: str = "p") -> None:
    """From now on the agent's state cannot be read."""

    def is_it(args: tuple[Any, ...], _: Any) -> bool:
        return bool(args) and isinstance(args[0], AgentKey) and args[0].id == id

    error = RestoreFailed("the bytes are torn (on purpose)")
    storage.faults.append(Fault("load", "unavailable", call=None, error=error, when=is_it))


async def _stored() -> FaultyStorage:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        await runtime.ref("p", Puppet).call("note", value="a")
        await runtime.ref("q", Puppet).call("note", value="b")
    return storage


async def test_an_agent_whose_state_cannot_be_read_counts_as_started(heard: Heard) -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(
        Supervisor(puppets("p", "q"), strategy="one_for_all"), storage=storage, telemetry=[heard]
    ) as runtime:
        p, q = runtime.ref("p", Puppet), runtime.ref("q", Puppet)
        assert p.status().state == "quarantined"
        assert q.status().state == "running"
        for verb in (p.call, p.cast, p.ask, p.call_settled):
            with pytest.raises(RestoreFailed) as failed, trio.fail_after(1):
                await verb("note", value="x")
            assert failed.value.address.id == "p"
        with pytest.raises(RestoreFailed):
            p.cast_nowait("note", value="x")
        with pytest.raises(RestoreFailed):
            p.state()
        assert (await q.call("note", value="c")).log == ("b", "c")
        before = storage.calls.count("load")
        await trio.sleep(1000)
        assert storage.calls.count("load") == before  # nothing is tried again by itself
        assert p.status().restarts == q.status().restarts == 0
        assert len(heard.of(AgentQuarantined)) == 1


async def test_its_status_says_why_it_cannot_be_read() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        reason = runtime.ref("p").status().reason
        assert isinstance(reason, RestoreFailed)
        assert "torn" in str(reason)
        assert runtime.ref("q").status().reason is None
        storage.faults.clear()
        await runtime.retry("p")
        assert runtime.ref("p").status().reason is None


async def test_it_cannot_be_hibernated() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        for force in (False, True):
            with pytest.raises(RestoreFailed, match="torn"):
                await runtime.hibernate("p", force=force)
        assert runtime.ref("p").status().state == "quarantined"
        storage.faults.clear()
        await runtime.retry("p")
        await runtime.hibernate("p")
        assert runtime.ref("p").status().state == "hibernated"


async def test_it_is_read_again_when_somebody_says_that_it_was_repaired() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        p = runtime.ref("p", Puppet)
        with pytest.raises(RestoreFailed):
            await runtime.retry(p)
        assert p.status().state == "quarantined"
        storage.faults.clear()
        await runtime.retry(p)
        assert p.status().state == "running"
        assert (await p.call("note", value="x")).log == ("a", "x")
        await runtime.retry(p)  # harmless


async def test_what_was_stored_is_untouched() -> None:
    storage = await _stored()
    content = storage.storage
    assert isinstance(content, MemoryStorage)
    async with content:
        before = await content.dump(AgentKey("default", None, "p"))
    _torn(storage)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        with pytest.raises(RestoreFailed):
            await runtime.ref("p", Puppet).cast("note", value="x")
        await trio.sleep(10)
    async with content:
        after = await content.dump(AgentKey("default", None, "p"))
    assert before is not None
    assert after is not None
    assert (after.snapshots, after.commits, after.waiting) == (before.snapshots, before.commits, before.waiting)


async def test_a_start_of_such_an_agent_raises() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(storage=storage) as runtime:
        with pytest.raises(RestoreFailed):
            await runtime.start_agent(Puppet, "p")
        assert runtime.agents() == ()
        with pytest.raises(RestoreFailed):
            await runtime.ref("p", Puppet).call("note", value="x")
        storage.faults.clear()
        await runtime.retry("p")
        assert runtime.ref("p", Puppet).state().log == ("a",)


async def test_it_can_be_started_after_it_was_repaired() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(storage=storage) as runtime:
        with pytest.raises(RestoreFailed):
            await runtime.start_agent(Puppet, "p")
        storage.faults.clear()
        assert (await runtime.start_agent(Puppet, "p")).state().log == ("a",)


async def test_an_emit_to_it_fails_and_is_told() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        q = runtime.ref("q", Puppet)
        await q.call(doing(emit("p", "x")))
        await quiet(q)
        assert (await runtime.outbox()).count == 0


async def test_it_can_be_stopped_and_forgotten() -> None:
    storage = await _stored()
    _torn(storage)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        await runtime.forget("p")
        with pytest.raises(Exception, match="p"):
            await runtime.ref("p", Puppet).call("note", value="x")
    storage.faults.clear()
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ()


async def test_sleepers_that_cannot_be_read_are_quarantined_when_they_are_woken() -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call("note", value="a")
    _torn(storage)
    async with open_runtime(storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        assert ref.status().state == "hibernated"
        for _ in range(3):
            with pytest.raises(RestoreFailed):
                await ref.call("note", value="x")
        assert ref.status().state == "quarantined"
        assert isinstance(ref.status().reason, RestoreFailed)
        with pytest.raises(RestoreFailed):
            await runtime.thaw(ref)
        storage.faults.clear()
        await runtime.retry(ref)
        assert (await ref.call("note", value="b")).log == ("a", "b")


async def test_sleepers_whose_class_is_not_found_are_quarantined() -> None:
    class Local(Agent, name="local", durable=True):
        count: int = 0

        @on("add")
        def add(self) -> Any:
            return self.set(count=self.count + 1)

    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Local, "l")
        await ref.call("add")
        busy = await runtime.start_agent(Local, "busy")
        await busy.suspend()
        await busy.cast("add")
        killed = copied(storage)
    async with open_runtime(storage=killed) as runtime:
        assert runtime.ref("busy", Local).status().state == "quarantined"
        ref = runtime.ref("l", Local)
        with pytest.raises(RestoreFailed):
            await ref.call("add")
        assert ref.status().state == "quarantined"
        with pytest.raises(RestoreFailed):
            await ref.cast("add")
        with pytest.raises(RestoreFailed):
            await runtime.retry(ref)
        # A class that is known by now is found.
        await runtime.start_agent(Local, "other")
        await runtime.retry(ref)
        assert (await ref.call("add")).count == 2
    async with open_runtime(storage=killed, agents=[Local]) as runtime:
        assert runtime.ref("busy", Local).status().state == "running"
        await quiet(runtime.ref("busy", Local))
        assert runtime.ref("busy", Local).state().count == 1


async def test_a_class_that_is_known_by_now_is_found() -> None:
    class Local(Agent, name="local", durable=True):
        count: int = 0

        @on("add")
        def add(self) -> Any:
            return self.set(count=self.count + 1)

    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.keyed(Local).get("k")
        await ref.suspend()
        await ref.cast("add")
    async with open_runtime(storage=storage) as runtime:
        ref = runtime.ref("local/k", Local)
        assert ref.status().state == "quarantined"
        locals_ = runtime.keyed(Local)
        assert (await (await locals_.get("k")).call("add")).count == 2


async def test_a_storage_that_is_away_is_no_quarantine() -> None:
    storage = await _stored()
    storage.faults.append(Fault("load", "unavailable"))
    with pytest.raises((StorageUnavailable, StartFailed)):
        async with open_runtime(Supervisor(puppets("p", "q")), storage=storage):
            pass
    async with open_runtime(Supervisor(puppets("p", "q")), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("a",)
