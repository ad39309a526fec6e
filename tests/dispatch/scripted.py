"""A client that does as it is told, on whatever clock there is: for what is decided between attempts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

import attrs
import trio

from prunella.dispatch import Dispatcher
from prunella.dispatch._retry import TIMED_OUT, UNREACHABLE, Outcome, answered


@attrs.frozen
class Attempt:
    at: float
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


class ScriptedClient:
    """Answers with the steps that it was given, one after another; the last one stays.

    A step is a status, a status with a `Retry-After`, ``"refused"``, or how many seconds (a float) the answer takes.
    """

    def __init__(self, *steps: int | tuple[int, str] | str | float) -> None:
        self.steps = list(steps or [200])
        self.attempts: list[Attempt] = []

    def put_into(self, dispatcher: Dispatcher) -> ScriptedClient:
        dispatcher._sender._client = self  # type: ignore[assignment]
        return self

    async def open(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()

    async def exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        timeout: float,
        now: Callable[[], datetime],
    ) -> tuple[Outcome, Exception | None]:
        self.attempts.append(Attempt(trio.current_time(), method, url, dict(headers), body))
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if step == "refused":
            await trio.lowlevel.checkpoint()
            return UNREACHABLE, OSError("refused")
        if isinstance(step, float):
            with trio.move_on_after(timeout) as scope:
                await trio.sleep(step)
            return (TIMED_OUT if scope.cancelled_caught else answered(200, [], now())), None
        await trio.lowlevel.checkpoint()
        assert not isinstance(step, str)
        status, asked = step if isinstance(step, tuple) else (step, "")
        return answered(status, [asked] if asked else [], now()), None

    @property
    def times(self) -> list[float]:
        return [attempt.at for attempt in self.attempts]
