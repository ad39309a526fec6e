"""The signals that were published in a runtime, for tests to look at and to wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, final, overload

import trio

from ..signals import Signal, matches

if TYPE_CHECKING:
    from ..runtime import Runtime

__all__ = ["MOST_SIGNALS", "PublishedSignals"]

MOST_SIGNALS: Final = 1_000_000
"""So many may be published before the test first looks; then whoever publishes waits."""


@final
class PublishedSignals(Sequence[Signal]):
    """What was published so far, oldest first. It grows by itself: each look at it sees all that has come until then.

    Published are signals that agents emit without a target. Those that go to one agent can be seen in its state.

    Args:
        runtime: where they are published.
        stream: a subscription to all of them.
    """

    def __init__(self, runtime: Runtime, stream: trio.MemoryReceiveChannel[Signal]) -> None:
        self._runtime = runtime
        self._stream = stream
        self._seen: list[Signal] = []

    # Nobody ever waits in `receive()` of this stream: a signal on its way into a waiting task would be in neither
    # place, and the next one would come before it.

    def _all(self) -> list[Signal]:
        try:
            while True:
                self._seen.append(self._stream.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            return self._seen

    @overload
    def __getitem__(self, index: int) -> Signal: ...
    @overload
    def __getitem__(self, index: slice) -> list[Signal]: ...
    def __getitem__(self, index: int | slice) -> Signal | list[Signal]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __eq__(self, other: object) -> bool:
        return self._all() == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # so does Python for a class with an `__eq__`

    def __repr__(self) -> str:
        return repr(self._all())

    @property
    def types(self) -> list[str]:
        """The types of all of them, in order."""
        return [signal.type for signal in self._all()]

    def find(self, pattern: str, *, when: Callable[[Signal], object] | None = None) -> list[Signal]:
        """Those whose type matches.

        Args:
            pattern: a type, or a pattern such as ``ticket.*`` or ``**``.
            when: a further condition.

        Raises:
            InvalidPattern: the pattern is none.
        """
        return [signal for signal in self._all() if _fits(signal, pattern, when)]

    async def wait_for(self, pattern: str, *, when: Callable[[Signal], object] | None = None) -> Signal:
        """Waits for the first signal whose type matches; returns at once if it has come already.

        Args:
            pattern: a type, or a pattern.
            when: a further condition.

        Raises:
            InvalidPattern: the pattern is none.
        """
        [signal] = await self.wait_for_count(1, pattern, when=when)
        return signal

    async def wait_for_count(
        self, count: int, pattern: str = "**", *, when: Callable[[Signal], object] | None = None
    ) -> list[Signal]:
        """Waits until so many signals have come whose type matches; those that have come already count.

        Args:
            count: how many.
            pattern: a type, or a pattern.
            when: a further condition.

        Returns:
            The first `count` of them.

        Raises:
            InvalidPattern: the pattern is none.
        """
        await trio.lowlevel.checkpoint()
        async with self._runtime.subscribe(pattern, buffer=MOST_SIGNALS) as stream:
            while len(found := self.find(pattern, when=when)) < count:
                await stream.receive()
        return found[:count]

    def clear(self) -> None:
        """Forgets those that have come, for the next part of a test."""
        self._all().clear()


def _fits(signal: Signal, pattern: str, when: Callable[[Signal], Any] | None) -> bool:
    return matches(pattern, signal.type) and (when is None or bool(when(signal)))
