"""After whatever end: the state of the last commit, and no handler is run for it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.durability.agents import (
    EPOCH,
    Heard,
    Listening,
    Puppet,
    World,
    copied,
    doing,
    emit,
    heard_types,
    later,
    past,
    puppets,
    quiet,
    world,
)

from prunella.agents import (
    Agent,
    AgentCrashed,
    AgentNotFound,
    AgentStopped,
    Context,
    Durable,
    RestoreFailed,
    describe,
    migrate,
    on,
    replay,
)
from prunella.agents import Diverged as HasDiverged
from prunella.runtime import AgentSpec, TurnEvent, open_runtime
from prunella.storage import MemoryStorage, SQLiteStorage, StorageError, history, state_at
from prunella.supervision import Supervisor
from prunella.testing.storage import Fault, FaultyStorage


async def test_an_agent_comes_back_with_its_last_state_in_another_runtime() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        state = await runtime.ref("p", Puppet).call("draw")
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state() == state
        assert len((await runtime.ref("p", Puppet).call("draw")).log) == 2


@pytest.mark.parametrize("turns", [0, 1, 99, 100, 101, 250])
async def test_it_comes_back_after_a_kill_with_whatever_number_of_turns(turns: int) -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(turns):
            await ref.call("note", value=str(number))
        killed = copied(storage)
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        assert runtime.ref("p", Puppet).state().log == tuple(str(number) for number in range(turns))


async def test_a_crash_takes_nothing_of_the_state() -> None:
    async with open_runtime(Supervisor(puppets("p")), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await quiet(ref)
        assert ref.state().log == ("a",)


@pytest.mark.parametrize("restore", ["fresh", "last"])
async def test_a_durable_agent_always_restores(restore: Any) -> None:
    async with open_runtime(Supervisor(puppets("p", restore=restore)), storage=MemoryStorage()) as runtime:
        ref = runtime.ref("p", Puppet)
        await ref.call("note", value="a")
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        assert (await ref.call("note", value="b")).log == ("a", "b")


class Old(Agent, name="worker", durable=True):
    total: int = 0

    @on("add")
    def add(self, amount: int) -> Any:
        return self.set(total=self.total + amount)


class New(Agent, name="worker", durable=True):
    """The same in a later release: what it does has changed, and it forbids what it did."""

    total: int = 0
    factor: int = 10

    @on("add")
    def add(self, amount: int) -> Any:
        if not world.broken:
            raise AssertionError("no handler is run for a restore")
        return self.set(total=self.total + self.factor * amount)


async def test_no_handler_is_run_for_a_restore(outside: World, heard: Heard) -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Old, "w"), storage=storage) as runtime:
        for amount in range(5):
            await runtime.ref("w", Old).call("add", amount=amount)
    async with open_runtime(AgentSpec(New, "w"), storage=storage, telemetry=[heard]) as runtime:
        assert runtime.ref("w", New).state() == New(total=10, factor=10)
        assert heard.of(TurnEvent) == []
        outside.broken.add("anything")
        assert (await runtime.ref("w", New).call("add", amount=1)).total == 20


async def test_replay_names_the_first_turn_that_comes_out_differently(outside: World) -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Old, "w"), storage=storage) as runtime:
        await runtime.ref("w", Old).call("add", amount=0)
        await runtime.ref("w", Old).call("add", amount=1)
    outside.broken.add("anything")
    turns = [entry.turn for entry in await past(storage, New, "w")]
    with pytest.raises(HasDiverged) as diverged:
        list(replay(New, turns))
    assert diverged.value.sequence == 2
    assert "total" in diverged.value.fields


# P21: the first and the last signal.


async def test_the_first_signal_says_whether_it_was_restored() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Listening, "p"), storage=storage) as runtime:
        ref = runtime.ref("p", Listening)
        with pytest.raises(AgentCrashed):
            await ref.call("boom")
        await quiet(ref)
        assert ref.state().log == ("started 0 False", "started 1 True")
    async with open_runtime(AgentSpec(Listening, "p"), storage=storage) as runtime:
        ref = runtime.ref("p", Listening)
        await quiet(ref)
        assert ref.state().log == ("started 0 False", "started 1 True", "stopping", "started 0 True")


async def test_the_last_signal_is_a_turn_like_others() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Listening, "p"), storage=storage) as runtime:
        await quiet(runtime.ref("p", Listening))
    assert await heard_types(storage, Listening, "p") == ["prunella.started", "prunella.stopping"]
    assert (await state_at(storage, Listening, "p")).log == ("started 0 False", "stopping")


# D6: `state=`.


async def test_the_first_state_counts_for_the_first_start_ever() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", state={"log": ["first"]})), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("first",)
    async with open_runtime(Supervisor(puppets("p", state={"log": ["other"]})), storage=storage) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("first",)
        assert (await runtime.ref("p", Puppet).call("note", value="a")).log == ("first", "a")
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", state={"log": ["third"]})
        assert ref.state().log == ("first", "a")


async def test_the_first_state_counts_even_if_no_turn_followed() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p", state={"log": ["first"]})), storage=storage) as runtime:
        killed = copied(storage)
    del runtime
    async with open_runtime(Supervisor(puppets("p")), storage=killed) as runtime:
        assert runtime.ref("p", Puppet).state().log == ("first",)


# D2: migrations.


class First(Agent, name="account", version=1, durable=True):
    cents: int = 0

    @on("add")
    def add(self, amount: int) -> Any:
        return self.set(cents=self.cents + amount)


class Third(Agent, name="account", version=3, durable=True):
    euros: float = 0.0
    owner: str

    @migrate(1)
    def to_euros(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]  # a static method
        return {"euros": data["cents"] / 100}

    @migrate(2)
    def to_owned(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        return {**data, "owner": "nobody"}

    @on("add")
    def add(self, amount: int, context: Context) -> Any:
        return self.set(euros=self.euros + amount / 100)


async def test_migrations_are_chained_and_their_result_is_a_turn_before_the_first_signal() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(First, "a"), storage=storage) as runtime:
        await runtime.ref("a", First).cast("add", amount=250)
        await quiet(runtime.ref("a", First))
        await runtime.ref("a", First).suspend()
        await runtime.ref("a", First).cast("add", amount=50)
        killed = copied(storage)
    async with open_runtime(AgentSpec(Third, "a", state={"owner": "x"}), storage=killed) as runtime:
        ref = runtime.ref("a", Third)
        await quiet(ref)
        assert ref.state() == Third(euros=3.0, owner="nobody")
    assert await heard_types(killed, Third, "a") == ["add", "prunella.migrated", "add"]
    async with open_runtime(AgentSpec(Third, "a", state={"owner": "x"}), storage=killed) as runtime:
        await quiet(runtime.ref("a", Third))
    assert await heard_types(killed, Third, "a") == ["add", "prunella.migrated", "add"]
    assert await state_at(killed, Third, "a", until=1) == Third(euros=2.5, owner="nobody")


class Gap(Agent, name="account", version=3, durable=True):
    cents: int = 0

    @migrate(2)
    def to_three(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        return data


class GapAtTheEnd(Agent, name="account", version=3, durable=True):
    cents: int = 0

    @migrate(1)
    def to_two(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        raise AssertionError("it is run for nothing")


class GapInTheMiddle(Agent, name="account", version=4, durable=True):
    cents: int = 0

    @migrate(1)
    def to_two(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        raise AssertionError("it is run for nothing")

    @migrate(3)
    def to_four(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        return data


class Broken(Agent, name="account", version=2, durable=True):
    cents: int = 0

    @migrate(1)
    def to_two(data: dict[str, Any]) -> dict[str, Any]:  # type: ignore[misc]
        raise ZeroDivisionError("no")


class Unfitting(Agent, name="account", version=1, durable=True):
    cents: str = ""


@pytest.mark.parametrize("agent", [Gap, GapAtTheEnd, GapInTheMiddle, Broken, Unfitting])
async def test_what_cannot_be_migrated_stays_as_it_is(agent: type[Agent]) -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(First, "a"), storage=storage) as runtime:
        await runtime.ref("a", First).call("add", amount=250)
    async with open_runtime(AgentSpec(agent, "a"), storage=storage) as runtime:
        assert runtime.ref("a").status().state == "quarantined"
        with pytest.raises(RestoreFailed):
            await runtime.ref("a").call("add", amount=1)
    async with open_runtime(AgentSpec(First, "a"), storage=storage) as runtime:
        assert runtime.ref("a", First).state().cents == 250


@pytest.mark.parametrize(("agent", "missing"), [(Gap, 1), (GapAtTheEnd, 2), (GapInTheMiddle, 2)])
async def test_a_gap_between_migrations_is_named_when_something_so_old_is_restored(
    agent: type[Agent], missing: int
) -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(First, "a"), storage=storage) as runtime:
        await runtime.ref("a", First).call("add", amount=250)
    async with open_runtime(AgentSpec(agent, "a"), storage=storage) as runtime:
        with pytest.raises(RestoreFailed, match=f"begins at version {missing}") as failed:
            await runtime.ref("a").call("add", amount=1)
        assert failed.value.stored_version == 1
        assert failed.value.version == describe(agent).version


async def test_a_newer_state_is_not_read_by_older_code() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(Third, "a", state={"owner": "me"}), storage=storage) as runtime:
        await runtime.ref("a", Third).call("add", amount=100)
    async with open_runtime(AgentSpec(First, "a"), storage=storage) as runtime:
        with pytest.raises(RestoreFailed, match="3"):
            await runtime.ref("a", First).call("add", amount=1)


class Renamed(Agent, name="puppet2", durable=True):
    pass


async def test_another_type_of_agents_under_the_same_id_is_refused() -> None:
    storage = MemoryStorage()
    async with open_runtime(AgentSpec(First, "a"), storage=storage) as runtime:
        await runtime.ref("a", First).call("add", amount=100)
    async with open_runtime(storage=storage) as runtime:
        with pytest.raises(RestoreFailed):
            await runtime.start_agent(Renamed, "a")
        assert (await runtime.start_agent(First, "a")).state().cents == 100


# D5: agents that were started while running.


async def test_an_agent_that_was_started_while_running_comes_back_when_it_is_asked_for(heard: Heard) -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p", mailbox=3, error_policy="stop")
        await ref.call("note", value="a")
    async with open_runtime(storage=storage) as runtime:
        assert runtime.agents() == ()
        assert [each.id for each in runtime.agents(hibernated=True)] == ["p"]
        ref = runtime.ref("p", Puppet)
        assert (await ref.call("note", value="b")).log == ("a", "b")
        assert [each.id for each in runtime.agents()] == ["p"]
        await ref.cast("refuse")  # its spec has come back, too
        await ref.wait_stopped()


@pytest.mark.parametrize("fault", ["delay", "lost_answer", "full_disk"])
@pytest.mark.parametrize("method", ["find", "claim", "load", "append"])
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_start_that_fails_leaves_what_was_stored_before(method: str, fault: str, is_new: bool) -> None:
    storage = FaultyStorage(MemoryStorage())
    async with open_runtime(storage=storage) as runtime:
        if not is_new:
            await (await runtime.start_agent(Puppet, "p")).call("note", value="a")
    async with open_runtime(storage=storage) as runtime:
        storage.faults.append(Fault(method, fault, delay=3.0))
        with trio.move_on_after(1) as scope:
            try:
                await (runtime.start_agent(Puppet, "p") if is_new else runtime.thaw("p"))
            except StorageError:
                assert fault != "delay"
            else:
                assert (method, is_new) == ("append", False)  # there is nothing to append
        assert scope.cancelled_caught == (fault == "delay" and (method, is_new) != ("append", False))
        storage.faults.clear()
        await trio.sleep(60)
        killed = copied(storage.storage)
        async with open_runtime(storage=killed) as other:
            assert [each.id for each in other.agents(hibernated=True)] == ([] if is_new else ["p"])
        again = await runtime.start_agent(Puppet, "p") if is_new else await runtime.thaw("p")
        assert again.state().log == (() if is_new else ("a",))
    async with open_runtime(storage=storage) as runtime:
        assert [each.id for each in runtime.agents(hibernated=True)] == ["p"]


async def test_one_with_waiting_signals_or_open_directives_starts_by_itself(outside: World) -> None:
    storage = MemoryStorage()
    outside.seconds = 100.0
    async with open_runtime(storage=storage) as runtime:
        waiting = await runtime.start_agent(Puppet, "waiting")
        await waiting.suspend()
        await waiting.cast("note", value="a")
        busy = await runtime.start_agent(Puppet, "busy")
        await busy.call("pay", amount=1)
        await runtime.start_agent(Puppet, "idle")
        killed = copied(storage)
    outside.begin_anew()
    async with open_runtime(storage=killed) as runtime:
        assert sorted(each.id for each in runtime.agents()) == ["busy", "waiting"]
        await quiet(*runtime.agents())
        assert runtime.ref("waiting", Puppet).state().log == ("a",)
        assert runtime.ref("busy", Puppet).state().log == ("pay 1", "paid 1")
        assert runtime.ref("idle", Puppet).status().state == "hibernated"


async def test_one_that_has_ended_for_good_does_not_come_back() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Puppet, "p")
        await ref.call("note", value="a")
        await ref.stop()
        with pytest.raises(AgentStopped):
            await ref.call("note", value="b")
    async with open_runtime(storage=storage) as runtime:
        assert runtime.agents(hibernated=True) == ()
        with pytest.raises(AgentNotFound):
            await runtime.ref("p", Puppet).call("note", value="b")
        # It is started anew by whoever wants it, and then has what it had.
        ref = await runtime.start_agent(Puppet, "p")
        assert ref.state().log == ("a",)


async def test_it_is_found_among_the_classes_that_the_runtime_is_given() -> None:
    class Local(Agent, name="local", durable=True):
        count: int = 0

        @on("add")
        def add(self) -> Any:
            return self.set(count=self.count + 1)

    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Local, "l")
        await ref.call("add")
    async with open_runtime(storage=storage, agents=[Local]) as runtime:
        assert (await runtime.ref("l", Local).call("add")).count == 2
    async with open_runtime(storage=storage) as runtime:
        with pytest.raises(RestoreFailed, match="agents="):
            await runtime.ref("l", Local).call("add")
    async with open_runtime(storage=storage, agents=[Local]) as runtime:
        assert (await runtime.ref("l", Local).call("add")).count == 3


async def test_one_with_a_field_without_default_comes_back() -> None:
    storage = MemoryStorage()
    async with open_runtime(storage=storage) as runtime:
        ref = await runtime.start_agent(Third, "a", state={"owner": "me"})
        await ref.call("add", amount=100)
    async with open_runtime(storage=storage) as runtime:
        assert (await runtime.ref("a", Third).call("add", amount=100)) == Third(euros=2.0, owner="me")


async def test_an_address_has_three_parts() -> None:
    """Of one id in two partitions, and in two runtimes that share a storage, there are four agents."""
    async with MemoryStorage() as storage:
        async with open_runtime(storage=storage, name="one") as one, open_runtime(storage=storage, name="two") as two:
            for number, (runtime, partition) in enumerate([(one, "a"), (one, "b"), (two, "a"), (two, None)]):
                ref = await runtime.start_agent(Puppet, "p", partition=partition)
                await ref.call("note", value=str(number))
            assert one.ref("p", Puppet, partition="a") != two.ref("p", Puppet, partition="a")
        async with open_runtime(storage=storage, name="one") as one:
            assert (await one.ref("p", Puppet, partition="b").call("note", value="x")).log == ("1", "x")
            with pytest.raises(AgentNotFound):
                await one.ref("p", Puppet).call("note", value="x")


# D8: history.


async def test_any_state_of_the_past_can_be_read_also_while_it_runs() -> None:
    storage = MemoryStorage()
    async with open_runtime(Supervisor(puppets("p")), storage=storage, epoch=EPOCH) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(1, 5):
            await ref.call("note", value=str(number))
            await trio.sleep(10)
        assert (await runtime.state_at(ref)).log == ("1", "2", "3", "4")
        assert (await runtime.state_at(ref, until=2)).log == ("1", "2")
        assert (await runtime.state_at("p", until=later(seconds=10))).log == ("1", "2")
        assert (await runtime.state_at(ref, until=0)).log == ()
        entries = [entry async for entry in history(storage, Puppet, "p", since=2, until=3)]
        assert [entry.turn.sequence for entry in entries] == [2, 3]
        with pytest.raises(AgentNotFound):
            await runtime.state_at("nobody")
    assert not storage.is_open
    assert (await state_at(storage, Puppet, "p", until=1)).log == ("1",)
    assert not storage.is_open


# Files.


async def test_a_file_of_sqlite_brings_back_what_memory_brings_back(tmp_path: Any) -> None:
    path = tmp_path / "agents.db"
    async with open_runtime(
        Supervisor(puppets("p", "q", durable=Durable(snapshot_every=3))), storage=SQLiteStorage(path)
    ) as runtime:
        ref = runtime.ref("p", Puppet)
        for number in range(10):
            await ref.call(doing(emit("q", str(number)), note=str(number)))
        await runtime.ref("q", Puppet).wait_for(lambda state: len(state.log) == 10)
    async with open_runtime(Supervisor(puppets("p", "q")), storage=SQLiteStorage(path)) as runtime:
        expected = tuple(str(number) for number in range(10))
        assert runtime.ref("p", Puppet).state().log == expected
        assert runtime.ref("q", Puppet).state().log == expected


test_a_file_of_sqlite_brings_back_what_memory_brings_back = pytest.mark.trio(run=trio.run)(
    test_a_file_of_sqlite_brings_back_what_memory_brings_back
)
