"""A storage may be wrapped: a runtime asks it for nothing but its coroutine methods."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import trio
from tests.durability.agents import run
from tests.durability.counting import Counter

from prunella.errors import InvalidArgument
from prunella.runtime import AgentSpec, open_runtime
from prunella.storage import MemoryStorage, SQLiteStorage, history, state_at


class Proxy:
    """What somebody writes who wants to see each call: it has no method before it is asked for one."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.storage, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            return await value(*args, **kwargs)

        return call


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_proxy_that_finds_its_methods_when_asked_is_a_storage(kind: str, tmp_path: Path) -> None:
    proxy = Proxy(MemoryStorage() if kind == "memory" else SQLiteStorage(tmp_path / "a.db"))

    async def live() -> None:
        async with open_runtime(AgentSpec(Counter, "a"), storage=proxy) as runtime:
            a = runtime.ref("a", Counter)
            await a.call("count", name="x")
            await runtime.hibernate(a)
            await a.call("count", name="y")
        assert (await state_at(proxy, Counter, "a", until=1)).counted == ("x",)
        turns = [entry.turn.sequence async for entry in history(proxy, Counter, "a")]
        assert turns == [1, 2]
        assert {"open", "append", "claim", "load", "commits", "close"} <= set(proxy.calls)

    if kind == "memory":
        run(live)
    else:  # a thread writes, which knows nothing of a mocked clock
        trio.run(live)


class Lame(Proxy):
    """Has no method to append turns."""

    def __getattr__(self, name: str) -> Any:
        if name == "append":
            raise AttributeError(name)
        return super().__getattr__(name)


class Blind(Proxy):
    """Does not say whether it is open."""

    def __getattr__(self, name: str) -> Any:
        if name == "is_open":
            raise AttributeError(name)
        return super().__getattr__(name)


@pytest.mark.parametrize(
    ("storage", "missing"),
    [
        ("desk.db", "is_open"),
        (MemoryStorage, ""),
        (Lame(MemoryStorage()), "append"),
        (Blind(MemoryStorage()), "is_open"),
    ],
)
async def test_what_lacks_something_is_refused_by_its_name(storage: Any, missing: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        open_runtime(storage=storage)
    assert refused.value.field == "storage"
    assert missing in str(refused.value)
    with pytest.raises(InvalidArgument) as refused:
        await state_at(storage, Counter, "a")
    assert refused.value.field == "storage"
    with pytest.raises(InvalidArgument) as refused:
        await anext(history(storage, Counter, "a"))
    assert refused.value.field == "storage"
