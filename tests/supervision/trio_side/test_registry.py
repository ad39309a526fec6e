"""`Registry`: names that live exactly as long as their owner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from tests.supervision.trio_side.children import forever, some_steps, until

from prunella.supervision import (
    AlreadyRegistered,
    Child,
    ChildExited,
    InvalidSpec,
    NotInAChild,
    Registry,
    RegistryEvent,
    SupervisionError,
    Supervisor,
    open_supervisor,
)


class Actor:
    """A child that does, in its own context, what it is told to."""

    def __init__(self, id: str, restart: str = "temporary") -> None:
        self.id = id
        self.restart = restart
        self._send, self._receive = trio.open_memory_channel[Any](10)

    def as_child(self) -> Child:
        return Child(self._run, id=self.id, restart=self.restart)

    async def _run(self) -> None:
        async for function, done in self._receive:
            try:
                done.append(function())
            except Exception as error:
                done.append(error)

    async def do(self, function: Callable[[], Any]) -> Any:
        done: list[Any] = []
        self._send.send_nowait((function, done))
        await until(lambda: done)
        if isinstance(done[0], Exception):
            raise done[0]
        return done[0]

    def end(self) -> None:
        self._send.close()


async def test_unique_keys(autojump_clock):
    """OTP, Registry, 2 and 3: unique, already_registered, also by its holder; lookup, whereis, keys, count."""
    registry: Registry[str] = Registry()
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a, b])) as supervisor:
        await a.do(lambda: registry.register("x", 1))
        assert registry.whereis("x").id == "a"
        assert registry.whereis("x").life == supervisor.get_child("a").life
        (entry,) = registry.lookup("x")
        assert (entry.owner.id, entry.value) == ("a", 1)
        assert registry.count() == 1
        for actor in (a, b):
            with pytest.raises(AlreadyRegistered) as caught:
                await actor.do(lambda: registry.register("x", 2))
            assert caught.value.key == "x"
            assert caught.value.owner.id == "a"
            assert "x" in str(caught.value)
            assert "a" in str(caught.value)
        await b.do(lambda: registry.register("y"))
        assert registry.keys(supervisor.get_child("a")) == ("x",)
        assert registry.keys(supervisor.get_child("b")) == ("y",)
        assert registry.values("x", supervisor.get_child("a")) == (1,)
        assert registry.values("x", supervisor.get_child("b")) == ()
        assert registry.lookup("nobody") == ()
        assert registry.whereis("nobody") is None
        assert await a.do(registry.keys) == ("x",)
        assert await a.do(lambda: registry.values("x")) == (1,)


async def test_a_key_can_be_given_back(autojump_clock):
    """OTP, Registry, 4: unregister."""
    registry: Registry[str] = Registry()
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a, b])):
        await a.do(lambda: registry.register("x"))
        await b.do(lambda: registry.unregister("x"))
        assert registry.whereis("x").id == "a"
        await a.do(lambda: registry.unregister("x"))
        await a.do(lambda: registry.unregister("x"))
        assert registry.whereis("x") is None
        await b.do(lambda: registry.register("x"))
        assert registry.whereis("x").id == "b"
        assert registry.count() == 1


async def test_duplicate_keys(autojump_clock):
    """OTP, Registry, 1 and 4: duplicate, the same key twice by one child; unregister removes both."""
    registry: Registry[str] = Registry("duplicate")
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a, b])) as supervisor:
        await a.do(lambda: registry.register("x", 1))
        await b.do(lambda: registry.register("x", 2))
        await a.do(lambda: registry.register("x", 3))
        await a.do(lambda: registry.register("y", 4))
        assert [(entry.owner.id, entry.value) for entry in registry.lookup("x")] == [("a", 1), ("b", 2), ("a", 3)]
        assert registry.count() == 4
        assert registry.values("x", supervisor.get_child("a")) == (1, 3)
        assert sorted(registry.keys(supervisor.get_child("a"))) == ["x", "x", "y"]
        await a.do(lambda: registry.unregister("x"))
        assert [(entry.owner.id, entry.value) for entry in registry.lookup("x")] == [("b", 2)]
        assert registry.count() == 2
        with pytest.raises(SupervisionError):
            await b.do(lambda: registry.update_value("x", str))


async def test_values_are_updated_by_their_owner_alone(autojump_clock):
    """OTP, Registry, 4: update_value."""
    registry: Registry[str] = Registry()
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a, b])):
        await a.do(lambda: registry.register("x", 1))
        assert await a.do(lambda: registry.update_value("x", lambda value: value + 1)) == (2, 1)
        assert registry.lookup("x")[0].value == 2
        with pytest.raises(KeyError):
            await b.do(lambda: registry.update_value("x", lambda value: 100))
        with pytest.raises(KeyError):
            await a.do(lambda: registry.update_value("y", lambda value: 100))
        assert registry.lookup("x")[0].value == 2


async def test_keys_of_different_types_are_different(autojump_clock):
    """OTP, Registry, 1: keys compare strictly."""
    registry: Registry[object] = Registry()
    a = Actor("a")
    async with open_supervisor(Supervisor([a])):
        for value, key in enumerate([1, 1.0, True, "1", b"1"]):
            await a.do(lambda key=key, value=value: registry.register(key, value))
        assert [registry.lookup(key)[0].value for key in (1, 1.0, True, "1", b"1")] == [0, 1, 2, 3, 4]
        assert registry.count() == 5


async def test_keys_inside_tuples_are_strict_too(autojump_clock):
    """As 1 is not 1.0, ("user", 1) is not ("user", 1.0)."""
    registry: Registry[object] = Registry()
    a = Actor("a")
    async with open_supervisor(Supervisor([a])):
        await a.do(lambda: registry.register(("user", 1), "int"))
        assert registry.lookup(("user", 1.0)) == ()
        await a.do(lambda: registry.register(("user", 1.0), "float"))
        assert registry.count() == 2


async def test_entries_vanish_with_their_owner(autojump_clock):
    """OTP, Registry, 5: clean-up."""
    registry: Registry[str] = Registry()
    a, b = Actor("a"), Actor("b", "permanent")
    async with open_supervisor(Supervisor([a, b])) as supervisor:
        info = supervisor.get_child("b")
        await a.do(lambda: registry.register("x"))
        await b.do(lambda: registry.register("y"))
        a.end()
        await some_steps()
        assert registry.whereis("x") is None
        assert registry.count() == 1
        await supervisor.terminate_child("b")
        assert registry.count() == 0
        assert registry.keys(info) == ()
        await supervisor.restart_child("b")
        assert registry.whereis("y") is None


async def test_they_vanish_before_anybody_hears_of_the_end(autojump_clock):
    """A listener of reports, and the next life, find the name free."""
    registry: Registry[str] = Registry()
    heard = []
    lives = []

    def listener(event):
        if isinstance(event, ChildExited):
            heard.append(registry.whereis("x"))

    async def named():
        registry.register("x")
        lives.append(registry.whereis("x").life)
        await trio.sleep(1)
        if len(lives) < 3:
            raise ValueError
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([Child(named)]), telemetry=[listener]):
        await until(lambda: len(lives) == 3)
        await some_steps()
    assert heard == [None, None, None]
    assert len(set(lives)) == 3


async def test_dispatch_calls_once_with_all_entries_and_not_at_all_without(autojump_clock):
    """OTP, Registry, 6: dispatch, in the caller."""
    registry: Registry[str] = Registry("duplicate")
    calls = []
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a, b])):
        await a.do(lambda: registry.register("x", 1))
        await b.do(lambda: registry.register("x", 2))
        registry.dispatch("x", calls.append)
        registry.dispatch("nobody", calls.append)
        assert [[(entry.owner.id, entry.value) for entry in entries] for entries in calls] == [[("a", 1), ("b", 2)]]

        def raises(entries):
            raise LookupError("mine")

        with pytest.raises(LookupError, match="mine"):
            registry.dispatch("x", raises)


async def test_listeners_hear_register_and_unregister_but_not_exits(autojump_clock):
    """OTP, Registry, 9: listeners."""
    heard: list[RegistryEvent] = []
    registry: Registry[str] = Registry(listeners=[heard.append])
    a = Actor("a")
    async with open_supervisor(Supervisor([a])):
        await a.do(lambda: registry.register("x", 1))
        await a.do(lambda: registry.register("y", 2))
        await a.do(lambda: registry.unregister("x"))
        await a.do(lambda: registry.unregister("not held"))
        a.end()
        await some_steps()
        assert registry.count() == 0
    assert [(event.kind, event.key, event.owner.id, event.value) for event in heard] == [
        ("register", "x", "a", 1),
        ("register", "y", "a", 2),
        ("unregister", "x", "a", None),
    ]


async def test_meta():
    """OTP, Registry, 8: meta."""
    registry: Registry[str] = Registry(meta={"version": 1})
    assert registry.meta("version") == 1
    assert registry.meta("absent") is None
    assert registry.meta("absent", "default") == "default"
    registry.put_meta("version", 2)
    assert registry.meta("version") == 2
    registry.delete_meta("version")
    registry.delete_meta("version")
    assert registry.meta("version") is None
    assert registry.count() == 0


async def test_tasks_that_a_child_spawned_act_for_it(autojump_clock):
    """OTP, Registry, 2: the calling process only; here, the tasks of a child are one with it."""
    registry: Registry[str] = Registry()

    async def helper():
        registry.register("by helper")
        await trio.sleep_forever()

    async def parent():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(helper)

    async with open_supervisor(Supervisor([Child(parent, id="parent")])) as supervisor:
        await until(lambda: registry.whereis("by helper"))
        assert registry.whereis("by helper").id == "parent"
        assert registry.keys(supervisor.get_child("parent")) == ("by helper",)
        await supervisor.terminate_child("parent")
        assert registry.count() == 0


async def test_a_child_may_register_while_it_starts_and_a_failed_start_frees_its_names(autojump_clock):
    """OTP, processes, names: a start that fails frees its names before the starter is told."""
    registry: Registry[str] = Registry()
    found = []

    async def named(fails, *, task_status):
        registry.register("x")
        await trio.sleep(1)
        if fails:
            raise ValueError
        task_status.started(registry.whereis("x").life)
        await trio.sleep_forever()

    async with open_supervisor(Supervisor([])) as supervisor:
        with pytest.raises(SupervisionError):
            await supervisor.start_child(Child(named, True, id="c"))
        found.append(registry.whereis("x"))
        info = await supervisor.start_child(Child(named, False, id="c"))
        assert info.started == info.life
    assert found == [None]


async def test_outside_of_a_child_nothing_can_be_registered():
    """OTP, Registry, 2: the calling process only."""
    registry: Registry[str] = Registry()
    for call in (
        lambda: registry.register("x"),
        lambda: registry.unregister("x"),
        lambda: registry.update_value("x", str),
        registry.keys,
    ):
        with pytest.raises(NotInAChild):
            call()
    async with open_supervisor(Supervisor([Child(forever)])):
        with pytest.raises(NotInAChild, match="register"):
            registry.register("x")
    assert registry.count() == 0


async def test_a_refused_registration_leaves_nothing_behind(autojump_clock):
    registry: Registry[str] = Registry()
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a, b])) as supervisor:
        await a.do(lambda: registry.register("x"))
        with pytest.raises(AlreadyRegistered):
            await b.do(lambda: registry.register("x"))
        with pytest.raises(TypeError):
            await b.do(lambda: registry.register([]))
        assert registry.keys(supervisor.get_child("b")) == ()
        b.end()
        await some_steps()
        assert registry.whereis("x").id == "a"
        assert registry.count() == 1


def test_wrong_arguments():
    with pytest.raises(InvalidSpec, match="keys"):
        Registry("both")
    with pytest.raises(InvalidSpec, match="listeners"):
        Registry(listeners=["x"])


async def test_one_registry_serves_several_trees(autojump_clock):
    """OTP, Registry, 12: local, and here of nobody's."""
    registry: Registry[str] = Registry()
    a, b = Actor("a"), Actor("b")
    async with open_supervisor(Supervisor([a])):
        await a.do(lambda: registry.register("x"))
        async with open_supervisor(Supervisor([b])):
            with pytest.raises(AlreadyRegistered):
                await b.do(lambda: registry.register("x"))
            await b.do(lambda: registry.register("y"))
        assert registry.whereis("y") is None
        assert registry.whereis("x").id == "a"
