"""Parents and children: tags, what each hears of the other, restarts, adoption, and the death of a parent."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from tests.runtime.families.agents import Child, Counter, Heard, Member, do, settle, told

from prunella.agents import Address, AdoptChild, Agent, AgentNotFound, AgentStopped, SpawnAgent, Stop, StopChild, on
from prunella.runtime import AgentRef, AgentSpec, FamilyError, Runtime, open_runtime
from prunella.supervision import AlreadyStarted, Backoff, Crashed, Normal, Shutdown, StartFailed, Supervisor


async def family(runtime: Runtime, **options: Any) -> AgentRef[Member]:
    """A parent with a child of the tag "c"."""
    parent = await runtime.start_agent(Member, "p")
    await do(parent, SpawnAgent(Child, tag="c", **options))
    await settle()
    return parent


def tags(ref: AgentRef[Any], runtime: Runtime) -> dict[str, Address]:
    """The children of an agent, as its next turn would see them."""
    server = runtime.find(ref.address)
    assert server is not None
    return {} if server.family is None else dict(server.family.children)


async def parent_of(ref: AgentRef[Member]) -> Any:
    return (await ref.call("look")).seen[-1][0]


# Spawning.


async def test_a_child_is_a_peer_under_its_default_id() -> None:
    async with open_runtime() as runtime:
        await family(runtime)
        child = runtime.whereis("p/c", Child)
        assert child is not None
        assert (await child.call("add")).count == 1
        assert runtime.count() == 2


async def test_a_child_takes_the_id_state_and_partition_that_it_is_given() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", partition="east")
        await do(
            parent,
            SpawnAgent(Child, tag="a", id="own", state={"count": 4}),
            SpawnAgent(Child, tag="b", partition="west"),
            SpawnAgent(Child, tag="c"),
        )
        assert runtime.ref("own", Child, partition="east").state().count == 4
        assert runtime.whereis("p/b", partition="west") is not None
        assert runtime.whereis("p/c", partition="east") is not None, "the parent's partition, where none is named"


async def test_the_parent_hears_that_its_child_has_started() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime, meta={"kind": "worker"})
        assert told(parent.state(), "prunella.child.started") == [
            {"tag": "c", "child": "p/c", "meta": {"kind": "worker"}, "restarts": 0}
        ]


async def test_handlers_see_parent_and_children_as_addresses() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", partition="east")
        await do(parent, SpawnAgent(Member, tag="c"))
        child = runtime.ref("p/c", Member, partition="east")
        assert await child.ask("look") == Address("p", "east")
        assert (await parent.call("look")).seen[-1] == (None, {"c": Address("p/c", "east")})


async def test_a_child_may_have_children() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await do(parent, SpawnAgent(Member, tag="c"))
        await do(runtime.ref("p/c"), SpawnAgent(Child, tag="d"))
        await settle()
        assert runtime.whereis("p/c/d") is not None
        await parent.stop()
        await settle()
        assert runtime.count() == 0


async def test_a_spec_may_name_the_parent() -> None:
    tree = Supervisor(
        [AgentSpec(Member, "p"), AgentSpec(Child, "c", parent=Address("p"), tag="first", on_parent_death="continue")]
    )
    async with open_runtime(tree) as runtime:
        parent = runtime.ref("p", Member)
        await settle()
        assert told(parent.state(), "prunella.child.started") == [
            {"tag": "first", "child": "c", "meta": {}, "restarts": 0}
        ]


async def test_a_spec_that_names_a_parent_that_is_not_there_does_not_start() -> None:
    with pytest.raises(StartFailed) as raised:
        async with open_runtime(AgentSpec(Child, "c", parent=Address("p"), tag="t")):
            assert False
    assert isinstance(raised.value.__cause__, AgentNotFound)
    async with open_runtime() as runtime:
        with pytest.raises(AgentNotFound):
            await runtime.start_agent(Child, "c", parent=Address("p"), tag="t")
        assert runtime.count() == 0


# What is refused.


async def test_a_tag_in_use_is_refused_and_changes_nothing() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime)
        await do(parent, SpawnAgent(Child, tag="c", id="other", catch="refused"))
        await settle()
        assert told(parent.state(), "refused") == ["FamilyError"]
        assert tags(parent, runtime) == {"c": Address("p/c")}
        assert runtime.whereis("other") is None


async def test_an_id_in_use_is_refused_and_changes_nothing() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        stranger = await runtime.start_agent(Child, "s")
        await do(parent, SpawnAgent(Child, tag="c", id="s", catch="refused"))
        await settle()
        assert told(parent.state(), "refused") == ["AlreadyStarted"]
        assert tags(parent, runtime) == {}
        assert (await stranger.call("add")).count == 1
        assert told(parent.state(), "prunella.child.started") == []


async def test_two_children_of_one_turn_with_one_tag() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await do(parent, SpawnAgent(Child, tag="c", id="a"), SpawnAgent(Child, tag="c", id="b", catch="refused"))
        await settle()
        assert tags(parent, runtime) == {"c": Address("a")}
        assert told(parent.state(), "refused") == ["FamilyError"]
        assert runtime.whereis("b") is None


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        (SpawnAgent(Child, tag="c", id="other"), FamilyError),
        (SpawnAgent(Child, tag="new", id="p"), AlreadyStarted),
        (AdoptChild("nobody", tag="new"), AgentNotFound),
        (AdoptChild("p", tag="new"), FamilyError),
        (AdoptChild("p/c", tag="new"), FamilyError),
        (StopChild("nobody"), AgentNotFound),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
async def test_without_catch_the_error_policy_is_asked(directive: Any, expected: type[Exception]) -> None:
    errors: list[Exception] = []

    def policy(agent: Member, error: Exception) -> None:
        errors.append(error)

    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", error_policy=policy)
        await do(parent, SpawnAgent(Child, tag="c"))
        await do(parent, directive)
        await settle()
        assert [type(error) for error in errors] == [expected]
        assert tags(parent, runtime) == {"c": Address("p/c")}


async def test_a_class_of_the_name_of_another_cannot_be_spawned() -> None:
    class Impostor(Agent, name="child"):
        pass

    async with open_runtime() as runtime:
        parent = await family(runtime)
        await do(parent, SpawnAgent(Impostor, tag="i", catch="refused"))
        await settle()
        assert told(parent.state(), "refused") == ["InvalidSpec"]
        assert tags(parent, runtime) == {"c": Address("p/c")}


# The end of a child.


async def test_the_parent_hears_once_how_its_child_has_ended_and_the_tag_is_free() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime, meta={"n": 1})
        await runtime.ref("p/c").call("stop", reason="done")
        await settle()
        assert told(parent.state(), "prunella.child.exited") == [
            {
                "tag": "c",
                "child": "p/c",
                "meta": {"n": 1},
                "reason": {"kind": "shutdown", "type": None, "message": str(Shutdown("done")), "detail": "done"},
            }
        ]
        assert parent.state().seen[-1] == (None, ()), "the tag was free when the signal was handled"
        await do(parent, SpawnAgent(Child, tag="c"))
        assert tags(parent, runtime) == {"c": Address("p/c")}


@pytest.mark.parametrize(("end", "kind"), [("normal", "normal"), ("shutdown", "shutdown"), ("crashed", "crashed")])
async def test_the_reason_is_plain_data_of_exactly_four_fields(end: str, kind: str) -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime, restart="temporary")
        child = runtime.ref("p/c")
        if end == "normal":
            await child.call("stop")
        elif end == "shutdown":
            await child.stop({"code": 3, "why": ["a", 1]})
        else:
            await child.cast("boom")
        await settle()
        [data] = told(parent.state(), "prunella.child.exited")
        assert set(data) == {"tag", "child", "meta", "reason"}
        assert set(data["reason"]) == {"kind", "type", "message", "detail"}
        assert data["reason"]["kind"] == kind
        if end == "crashed":
            assert (data["reason"]["type"], data["reason"]["message"]) == ("ValueError", "boom")
        if end == "shutdown":
            assert data["reason"]["detail"] == {"code": 3, "why": ["a", 1]}


async def test_a_killed_child_says_so() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        child = await runtime.start_agent(Child, "k", shutdown="brutal_kill")
        await do(parent, AdoptChild("k", tag="k"))
        await child.stop()
        await settle()
        [data] = told(parent.state(), "prunella.child.exited")
        assert data["reason"]["kind"] == "killed"


async def test_a_crash_loop_is_told_by_each_start_and_by_one_exit() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime)
        child = runtime.ref("p/c")
        for _ in range(4):
            await child.cast("boom")
            await settle()
        assert isinstance(await child.wait_stopped(), Crashed)
        started = told(parent.state(), "prunella.child.started")
        assert [data["restarts"] for data in started] == [0, 1, 2, 3]
        assert len(told(parent.state(), "prunella.child.exited")) == 1


async def test_a_parent_that_hears_nothing_of_the_runtime_may_have_children() -> None:
    class Deaf(Agent, name="deaf"):
        @on("do")
        def do(self, it: Any) -> Any:
            return it

    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Deaf, "d")
        await do(parent, SpawnAgent(Child, tag="c"))
        await runtime.ref("d/c").stop()
        await settle()
        assert tags(parent, runtime) == {}
        assert parent.status().restarts == 0


# Restarts of either side.


async def test_the_restart_of_a_child_keeps_the_tie() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime, meta={"n": 1})
        await runtime.ref("p/c").cast("boom")
        await settle()
        assert told(parent.state(), "prunella.child.started")[1:] == [
            {"tag": "c", "child": "p/c", "meta": {"n": 1}, "restarts": 1}
        ]
        assert told(parent.state(), "prunella.child.exited") == []
        assert tags(parent, runtime) == {"c": Address("p/c")}


async def test_the_restart_of_a_parent_keeps_the_tie() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", restore="last")
        await do(parent, SpawnAgent(Member, tag="c", on_parent_death="emit"))
        child = runtime.ref("p/c", Member)
        await parent.cast("boom")
        await settle()
        assert parent.status().restarts == 1
        assert (await parent.call("look")).seen[-1] == (None, {"c": Address("p/c")})
        assert await parent_of(child) == Address("p")
        assert told(child.state(), "prunella.orphaned") == []


async def test_what_the_parent_is_told_between_two_lives_reaches_the_next() -> None:
    backoff = Backoff(initial=10.0, maximum=20.0, jitter=0.0)
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", backoff=backoff)
        await do(parent, SpawnAgent(Child, tag="c"))
        await settle()
        await parent.cast("boom")
        await settle()
        assert parent.status().state == "restarting"
        await runtime.ref("p/c").stop()
        await trio.sleep(11)
        assert [data["tag"] for data in told(parent.state(), "prunella.child.exited")] == ["c"]


async def test_a_restart_of_the_whole_group_keeps_the_family() -> None:
    tree = Supervisor([AgentSpec(Member, "p"), AgentSpec(Counter, "other")], strategy="one_for_all")
    async with open_runtime(tree) as runtime:
        parent = runtime.ref("p", Member)
        await do(parent, SpawnAgent(Member, tag="c"))
        await runtime.ref("other").cast("boom")
        await settle()
        assert parent.status().restarts == 1
        assert (await parent.call("look")).seen[-1] == (None, {"c": Address("p/c")})
        assert await parent_of(runtime.ref("p/c", Member)) == Address("p")


# StopChild.


async def test_stop_child_ends_it_for_good_with_the_reason() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime, restart="permanent")
        child = runtime.ref("p/c")
        await do(parent, StopChild("c", reason="enough"))
        assert await child.wait_stopped() == Shutdown("enough")
        await settle()
        assert runtime.whereis("p/c") is None
        assert told(parent.state(), "prunella.child.exited")[0]["reason"]["detail"] == "enough"


async def test_stop_child_without_a_reason() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime)
        await do(parent, StopChild("c"))
        assert await runtime.ref("p/c").wait_stopped() == Shutdown()


async def test_a_child_that_waits_for_its_restart_is_stopped_at_once() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        child = await runtime.start_agent(Child, "b", backoff=Backoff(initial=100.0, maximum=200.0))
        await do(parent, AdoptChild(child, tag="c"))
        await child.cast("boom")
        await settle()
        await do(parent, StopChild("c", reason="enough"))
        with trio.fail_after(1):
            assert await child.wait_stopped() == Shutdown("enough")
        await trio.sleep(500)
        assert runtime.whereis("b") is None
        assert len(told(parent.state(), "prunella.child.exited")) == 1


async def test_stop_child_and_a_new_child_under_the_same_tag_wait_for_each_other() -> None:
    async with open_runtime() as runtime:
        parent = await family(runtime)
        await do(parent, StopChild("c"))
        await settle()
        await do(parent, SpawnAgent(Child, tag="c"))
        await settle()
        assert [data["restarts"] for data in told(parent.state(), "prunella.child.started")] == [0, 0]
        assert tags(parent, runtime) == {"c": Address("p/c")}


async def test_a_child_of_the_tree_is_stopped_and_stays_down() -> None:
    tree = Supervisor([AgentSpec(Member, "p"), AgentSpec(Child, "c", restart="permanent")])
    async with open_runtime(tree) as runtime:
        parent = runtime.ref("p", Member)
        await do(parent, AdoptChild("c", tag="c"))
        await do(parent, StopChild("c"))
        await runtime.ref("c").wait_stopped()
        await trio.sleep(10)
        assert runtime.whereis("c") is None
        assert runtime.count() == 1


# Adoption.


async def test_an_agent_without_a_parent_can_be_adopted() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        child = await runtime.start_agent(Member, "c")
        await do(parent, AdoptChild("c", tag="kid", meta={"n": 1}))
        await settle()
        assert told(parent.state(), "prunella.child.started") == [
            {"tag": "kid", "child": "c", "meta": {"n": 1}, "restarts": 0}
        ]
        assert await parent_of(child) == Address("p")
        await child.cast("boom")
        await settle()
        assert told(parent.state(), "prunella.child.started")[1]["restarts"] == 1
        assert await parent_of(child) == Address("p"), "adoption outlives a restart of the child"


@pytest.mark.parametrize("form", ["id", "address", "ref"])
async def test_whom_to_adopt_is_named_by_id_address_or_ref(form: str) -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        child = await runtime.start_agent(Member, "c")
        await do(parent, AdoptChild({"id": "c", "address": Address("c"), "ref": child}[form], tag="t"))
        assert tags(parent, runtime) == {"t": Address("c")}


async def test_an_id_means_one_of_the_own_partition_and_an_address_may_cross() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", partition="east")
        await runtime.start_agent(Member, "c", partition="west")
        await do(parent, AdoptChild("c", tag="t", catch="refused"))
        await settle()
        assert told(parent.state(), "refused") == ["AgentNotFound"]
        await do(parent, AdoptChild(Address("c", "west"), tag="t"))
        assert tags(parent, runtime) == {"t": Address("c", "west")}


@pytest.mark.parametrize(
    ("child", "tag", "expected"),
    [
        ("nobody", "t", "AgentNotFound"),
        ("dead", "t", "AgentStopped"),
        ("p", "t", "FamilyError"),
        ("attached", "t", "FamilyError"),
        ("free", "used", "FamilyError"),
        ("above", "t", "FamilyError"),
    ],
)
async def test_what_cannot_be_adopted_changes_nothing_on_either_side(child: str, tag: str, expected: str) -> None:
    async with open_runtime() as runtime:
        above = await runtime.start_agent(Member, "above")
        await do(above, SpawnAgent(Member, tag="p", id="p"))
        parent = runtime.ref("p", Member)
        other = await runtime.start_agent(Member, "other")
        await runtime.start_agent(Member, "free")
        await do(parent, SpawnAgent(Child, tag="used"))
        await do(other, SpawnAgent(Member, tag="a", id="attached"))
        await (await runtime.start_agent(Member, "dead")).stop()
        before = tags(parent, runtime), tags(other, runtime), tags(above, runtime)
        await do(parent, AdoptChild(child, tag=tag, catch="refused"))
        await settle()
        assert told(parent.state(), "refused") == [expected]
        assert (tags(parent, runtime), tags(other, runtime), tags(above, runtime)) == before
        assert await parent_of(runtime.ref("attached", Member)) == Address("other")
        assert await parent_of(runtime.ref("free", Member)) is None
        assert await parent_of(above) is None


async def test_a_ref_of_another_runtime_cannot_be_adopted() -> None:
    async with open_runtime(name="one") as one, open_runtime(name="two") as two:
        parent = await one.start_agent(Member, "p")
        await one.start_agent(Member, "c")
        foreign = await two.start_agent(Member, "c")
        await do(parent, AdoptChild(foreign, tag="t", catch="refused"))
        await settle()
        assert told(parent.state(), "refused") == ["InvalidArgument"]
        assert tags(parent, one) == {}


async def test_an_orphan_can_be_adopted_again() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await do(parent, SpawnAgent(Member, tag="c", id="c", on_parent_death="continue"))
        await parent.stop()
        other = await runtime.start_agent(Member, "q")
        await do(other, AdoptChild("c", tag="mine"))
        assert await parent_of(runtime.ref("c", Member)) == Address("q")
        await other.stop()
        await settle()
        assert await parent_of(runtime.ref("c", Member)) is None, "its policy is its own"


async def test_one_that_waits_for_its_restart_is_adopted_and_announced_when_it_runs() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        child = await runtime.start_agent(Child, "b", backoff=Backoff(initial=10.0, maximum=20.0, jitter=0.0))
        await child.cast("boom")
        await settle()
        await do(parent, AdoptChild(child, tag="c"))
        await settle()
        assert told(parent.state(), "prunella.child.started") == []
        await trio.sleep(11)
        assert [data["restarts"] for data in told(parent.state(), "prunella.child.started")] == [1]


# The death of a parent.


@pytest.mark.parametrize("end", ["stop itself", "be stopped", "crash for good"])
async def test_stop_ends_the_child_whatever_the_reason_was(end: str) -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p", restart="temporary")
        await do(parent, SpawnAgent(Child, tag="c", restart="permanent"))
        child = runtime.ref("p/c")
        if end == "stop itself":
            await parent.cast("stop")
        elif end == "be stopped":
            await parent.stop("enough")
        else:
            await parent.cast("boom")
        reason = await child.wait_stopped()
        assert isinstance(reason, Shutdown)
        assert reason.detail == ("parent", await parent.wait_stopped())
        assert runtime.count() == 0


async def test_stop_reaches_a_child_that_waits_for_its_restart() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        child = await runtime.start_agent(Child, "b", backoff=Backoff(initial=100.0, maximum=200.0))
        await do(parent, AdoptChild(child, tag="c"))
        await child.cast("boom")
        await settle()
        await parent.stop()
        assert await child.wait_stopped() == Shutdown(("parent", Shutdown()))
        await trio.sleep(500)
        assert runtime.count() == 0


async def test_continue_leaves_the_child_alone() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await do(parent, SpawnAgent(Member, tag="c", id="c", on_parent_death="continue"))
        child = runtime.ref("c", Member)
        await settle()
        before = child.state().heard
        await parent.stop()
        await settle()
        assert child.state().heard == before
        assert await parent_of(child) is None


async def test_emit_tells_the_child_which_has_no_parent_by_then() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await do(parent, SpawnAgent(Member, tag="c", id="c", on_parent_death="emit"))
        child = runtime.ref("c", Member)
        await parent.stop("enough")
        await settle()
        assert told(child.state(), "prunella.orphaned") == [
            {
                "parent": "p",
                "tag": "c",
                "reason": {
                    "kind": "shutdown",
                    "type": None,
                    "message": str(Shutdown("enough")),
                    "detail": "enough",
                },
            }
        ]
        assert child.state().seen[-1] == (None, ())


async def test_a_spec_says_what_becomes_of_one_that_was_adopted() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await runtime.start_agent(Child, "stays", on_parent_death="continue")
        goes = await runtime.start_agent(Child, "goes")
        await do(parent, AdoptChild("stays", tag="s"), AdoptChild("goes", tag="g"))
        await parent.stop()
        await goes.wait_stopped()
        assert [ref.id for ref in runtime.agents()] == ["stays"]


async def test_the_closing_of_a_runtime_is_no_death_that_children_have_to_bear() -> None:
    async with open_runtime() as runtime:
        parent = await runtime.start_agent(Member, "p")
        await do(parent, *(SpawnAgent(Child, tag=f"c{n}") for n in range(20)))
    with pytest.raises(AgentStopped):
        parent.state()


# Children of the last turn.


class Heir(Agent, name="heir"):
    """Leaves somebody behind."""

    heard: tuple[str, ...] = ()

    @on("prunella.stopping")
    def stopping(self) -> Any:
        return SpawnAgent(Child, tag="successor", on_parent_death="continue", catch="refused")

    @on("stop")
    def stop(self) -> Any:
        return Stop()

    @on("refused")
    def refused(self) -> Any:
        return self.set(heard=(*self.heard, "refused"))


@pytest.mark.parametrize("end", ["itself", "outside"])
async def test_the_last_turn_may_leave_a_successor(end: str) -> None:
    async with open_runtime() as runtime:
        heir = await runtime.start_agent(Heir, "h")
        if end == "itself":
            await heir.cast("stop")
            assert await heir.wait_stopped() == Normal()
        else:
            await heir.stop()
        await settle()
        child = runtime.whereis("h/successor", Child)
        assert child is not None
        assert (await child.call("add")).count == 1


async def test_the_effect_of_a_last_turn_has_one_end() -> None:
    from prunella.runtime import EffectException, EffectStart, EffectStop

    heard = Heard()
    async with open_runtime(telemetry=[heard]) as runtime:
        heir = await runtime.start_agent(Heir, "h")
        await heir.stop()
        await settle()
    starts = [event.span_id for event in heard.of(EffectStart)]
    ends = [event.span_id for event in heard if isinstance(event, EffectStop | EffectException)]
    assert len(starts) == 1
    assert ends == starts
