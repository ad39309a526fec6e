"""A signal on its way to an agent, and whoever waits for what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from ..agents import AgentError, NoReply

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..agents import Address, Directive
    from ..signals import Signal

__all__ = ["Answer", "Delivery", "OpenAsk", "Settling"]


class Answer:
    """What a caller waits for: a value or an error, given once. Later ones are dropped."""

    __slots__ = ("_task", "error", "given", "held", "value")

    def __init__(self) -> None:
        self.given = False
        self.value: Any = None
        self.error: BaseException | None = None
        # Calls back if its caller is cancelled: what has begun to be written is waited for.
        self.held: Callable[[Answer], object] | None = None
        self._task: trio.lowlevel.Task | None = None

    def give(self, value: Any) -> bool:
        """Answers; tells whether it was the first answer."""
        if self.given:
            return False
        self.given = True
        self.value = value
        self._wake()
        return True

    def fail(self, error: BaseException) -> bool:
        """Answers with an error; tells whether it was the first answer."""
        if self.given:
            return False
        self.given = True
        self.error = error
        self._wake()
        return True

    def taken(self) -> Any:
        """The value, or the error raised."""
        if self.error is not None:
            raise self.error
        return self.value

    @enable_ki_protection
    async def wait(self) -> Any:
        """Waits for the answer."""
        if not self.given:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._abort)
            if self.held is not None:
                await trio.lowlevel.checkpoint_if_cancelled()
        return self.taken()

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        if self.held is not None:
            self.held(self)
            return trio.lowlevel.Abort.FAILED
        self._task = None
        self.given = True  # Nobody waits any more: what comes is dropped.
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        if self._task is not None:
            trio.lowlevel.reschedule(self._task)
            self._task = None


class OpenAsk:
    """An ask that has no reply yet.

    It is held open by every signal and directive that it caused and that is waiting, running or scheduled. When the
    last of these has ended without a reply, none can come any more, and the ask ends with the last error.

    Attributes:
        on_end: called with the value, or the error, once.
        asked: the address of the agent that was asked.
        signal: what asked it.
        over: whether it has ended.
        error: the last error on the way.
    """

    __slots__ = ("_holds", "asked", "error", "on_end", "over", "signal")

    def __init__(
        self,
        on_end: Callable[[Any, BaseException | None], object],
        asked: Address | None = None,
        signal: Signal | None = None,
    ) -> None:
        self.on_end = on_end
        self.asked = asked
        self.signal = signal
        self.over = False
        self.error: BaseException | None = None
        self._holds = 0

    def hold(self) -> None:
        """Something that it caused has begun."""
        self._holds += 1

    def release(self) -> None:
        """Something that it caused has ended."""
        self._holds -= 1
        if self._holds == 0 and not self.over:
            self.end(None, self.error or self._no_reply())

    def failed(self, error: BaseException) -> None:
        """A directive on the way has failed, and nobody's logic heard of it.

        What callers of agents hear is what the caller hears; another error is why there is no reply.
        """
        if isinstance(error, AgentError):
            self.error = error
        elif self.error is None:
            self.error = self._no_reply()
            self.error.__cause__ = error

    def _no_reply(self) -> NoReply:
        error = NoReply()
        error.address = self.asked
        return error

    def end(self, value: Any, error: BaseException | None) -> bool:
        """Ends it with a reply or an error; tells whether it was still open."""
        if self.over:
            return False
        self.over = True
        self.on_end(value, error)
        return True


class Settling:
    """The directives of one turn that somebody waits for.

    Attributes:
        failures: those that failed.
    """

    __slots__ = ("_left", "_on_settled", "failures")

    def __init__(self, on_settled: Callable[[tuple[tuple[Directive, BaseException], ...]], object]) -> None:
        self._left = 1  # the turn itself, until all its directives have begun
        self._on_settled = on_settled
        self.failures: list[tuple[Directive, BaseException]] = []

    def begin(self) -> None:
        """One more directive has begun."""
        self._left += 1

    def end(self, directive: Directive | None = None, error: BaseException | None = None) -> None:
        """One has ended."""
        if error is not None and directive is not None:
            self.failures.append((directive, error))
        self._left -= 1
        if self._left == 0:
            self._on_settled(tuple(self.failures))


class Delivery:
    """A signal on its way.

    Attributes:
        signal: the signal.
        answer: of the caller who waits for the turn; None for a cast.
        ask: the open ask that it belongs to, if it does.
        settle: whether the caller waits for the directives of the turn too.
        key: of the schedule that fired it, if one did.
        keep: whether a durable agent stores it. Whoever waits for the turn itself is told if it does not come about.
        deliveries: how often it has crashed, or was taken from the storage; -1 as long as it is not stored.
        sequence: the number of the turn that handled it; unset before.
        withdrawn: whether its caller has gone before it was handled.
        dropped: whether it was dropped, because the agent has ended.
    """

    __slots__ = (
        "answer", "ask", "deliveries", "dropped", "keep", "key", "sequence", "settle", "signal", "withdrawn",
    )  # fmt: skip

    sequence: int

    def __init__(
        self,
        signal: Signal,
        answer: Answer | None = None,
        ask: OpenAsk | None = None,
        *,
        settle: bool = False,
        key: str | None = None,
        keep: bool = True,
    ) -> None:
        self.signal = signal
        self.answer = answer
        self.ask = ask
        self.settle = settle
        self.key = key
        self.keep = keep
        self.deliveries = -1
        self.withdrawn = False
        self.dropped = False

    def without_ask(self) -> Delivery:
        """The same, belonging to no ask."""
        alone = Delivery(self.signal)
        alone.sequence = self.sequence
        return alone

    def drop(self, error: BaseException) -> None:
        """It will not be handled."""
        self.dropped = True
        if self.answer is not None:
            self.answer.fail(error)
        if self.ask is not None:
            self.ask.error = error
            self.ask.release()
