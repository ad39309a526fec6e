"""Effects in the order of turns, for each target, and what an agent can cancel by a key.

Effects of one agent to one target happen in the order of its turns: an effect that has to wait for its target opens a
lane, and what follows for that target queues up behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from ..agents import Fenced
from ..storage import CommitFailed, StorageUnavailable
from ..supervision import ExitReason, Shutdown
from ._effect import as_error, end_of
from ._life import AgentLife, EffectTask

if TYPE_CHECKING:
    from ._server import AgentServer

__all__ = ["in_order", "keep"]

_SECONDS_BETWEEN_TRIES = 0.5


def in_order(
    life: AgentLife,
    key: Any,
    effect: _HandedOver,
    try_now: Callable[[], bool] | None,
    deliver: Callable[[], Awaitable[None]],
) -> None:
    """Hands an effect over: now, if nobody is before it and it need not wait; else in its lane."""
    lanes = life.lanes
    lane: _Lane | None = None if lanes is None else lanes.get(key)
    if lane is not None:
        lane.add(effect, deliver)
        return
    if try_now is not None and try_now():
        effect.done()
        return
    lane = _Lane(life, key)
    lane.add(effect, deliver)
    lane.begin()


class _HandedOver(Protocol):
    """What has to know when it has been handed over."""

    server: AgentServer

    def done(self, error: BaseException | None = None) -> None: ...
    def cut(self, reason: ExitReason | None) -> None: ...


class _Lane:
    """Effects that wait for one target, and the task that hands them over one after another."""

    __slots__ = ("_key", "_life", "_queue")

    def __init__(self, life: AgentLife, key: Any) -> None:
        self._life = life
        self._key = key
        self._queue: deque[tuple[_HandedOver, Callable[[], Awaitable[None]]]] = deque()

    def add(self, effect: _HandedOver, deliver: Callable[[], Awaitable[None]]) -> None:
        self._queue.append((effect, deliver))

    def begin(self) -> None:
        if self._life.lanes is None:
            self._life.lanes = {}
        self._life.lanes[self._key] = self
        EffectTask(self._life, f"to {self._key}", self.run, is_work=False, on_cut=self.cut).begin()

    async def run(self) -> None:
        while self._queue:
            effect, deliver = self._queue[0]
            try:
                await deliver()
            except (StorageUnavailable, CommitFailed, Fenced) as error:
                server = effect.server
                if server.is_durable and not (isinstance(error, Fenced) and server.runtime.is_closing):
                    # The receiver's storage, which is the sender's too, is away, or another owner has the receiver,
                    # and soon the sender. What was decided is not given up.
                    await trio.sleep(_SECONDS_BETWEEN_TRIES)
                    continue
                self._queue.popleft()
                effect.done(error)
            except Exception as error:
                self._queue.popleft()
                effect.done(error)
            else:
                self._queue.popleft()
                effect.done()
        self._close()

    def cut(self, reason: ExitReason | None, failure: BaseException | None) -> None:
        """No time was left, or what handed over has raised what it must not: what still waits has failed."""
        self._close()
        if failure is not None and self._queue:
            effect, _ = self._queue.popleft()
            effect.done(as_error(failure))
            if self._queue:
                self.begin()
            return
        while self._queue:
            effect, _ = self._queue.popleft()
            server = effect.server
            if server.is_durable:
                effect.cut(reason or Shutdown())
            else:
                effect.done(end_of(server, reason) if reason is not None else server.stopped_error())

    def _close(self) -> None:
        if self._life.lanes is not None:
            self._life.lanes.pop(self._key, None)


def keep(life: AgentLife, key: Any, item: Any) -> None:
    """Keeps something under a key; what had it is cancelled."""
    if life.keyed is None:
        life.keyed = {}
    before = life.keyed.pop(key, None)
    life.keyed[key] = item
    if before is not None:
        before.cancel()
