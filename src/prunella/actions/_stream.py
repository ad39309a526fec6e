"""Actions that yield: a task of their own, a channel without a buffer, and nothing left when the block ends."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, final

import trio

from ._errors import ActionError
from ._interrupts import interrupt_in

if TYPE_CHECKING:
    from ._execution import Execution

__all__ = ["Values", "streaming"]


@final
class Values(trio.abc.ReceiveChannel[Any]):
    """The values of an action that yields. Its failure is raised where the next value would have been received."""

    def __init__(self, channel: trio.MemoryReceiveChannel[Any]) -> None:
        self._channel = channel
        self.failure: ActionError | None = None

    async def receive(self) -> Any:
        """The next value.

        Raises:
            trio.EndOfChannel: there are no more.
            ActionError: the action failed.
        """
        try:
            return await self._channel.receive()
        except trio.EndOfChannel:
            failure = self.failure
            if failure is None:
                raise
        raise failure

    async def aclose(self) -> None:
        """Ends the action."""
        await self._channel.aclose()


@asynccontextmanager
async def streaming(execution: Callable[[], Execution]) -> AsyncIterator[Values]:
    """Runs an action that yields, as long as the block lasts."""
    made = execution()
    send, receive = trio.open_memory_channel[Any](0)
    values = Values(receive)
    raised: BaseException | None = None

    async def pump(run: Execution, generator: AsyncGenerator[Any, None]) -> None:
        async with aclosing(generator) as opened:
            async for value in opened:
                sent = run.converted(value)
                run.begun = True
                try:
                    await send.send(sent)
                except trio.BrokenResourceError:
                    return  # the receiver has closed it: whoever has enough is no failure

    async def act() -> None:
        with send:
            try:
                await made.complete()
            except ActionError as error:
                values.failure = error

    made.pump = pump
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(act)
            try:
                yield values
            except BaseException as error:
                raised = error
            finally:
                made.leaving = trio.current_effective_deadline() != -math.inf
                receive.close()
                nursery.cancel_scope.cancel()
    except BaseException as error:
        # Other than the cancellation of all of this, and an interrupt, nothing comes out of the task.
        interrupt = interrupt_in(error)
        if interrupt is not None:
            raise interrupt from None
        if raised is None:
            await trio.lowlevel.checkpoint_if_cancelled()
            raise
    if raised is not None:
        raise raised
