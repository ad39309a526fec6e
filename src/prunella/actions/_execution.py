"""One run of an action, from its validated parameters to its value or its error."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, final

import trio

from ..conversion import ConversionError
from ..signals import new_id
from ._action import Action
from ._compensation import undo, undo_all, worse
from ._context import ActionContext, IdempotencyKey
from ._errors import ActionError, Compensated, InvalidAction
from ._events import ActionUnresponsive
from ._held import Held, check_place
from ._options import Options
from ._pace import pace
from ._preparation import failed, mismatch, timed_out
from ._results import Completed, Failure, Result, Success
from ._retry import attempt_deadline, delay_before_next, is_total
from ._signature import HandedIn, Kind
from ._span import Span
from ._threads import in_thread
from ._undo import Undo

if TYPE_CHECKING:
    from ..telemetry import Listeners
    from ._runner import Runner

__all__ = ["Execution", "current_run"]

Pump = Callable[["Execution", Any], Awaitable[Any]]


current_run: ContextVar[Execution | None] = ContextVar("prunella.actions.run", default=None)
"""The run that the current task is inside of: runs begun there share its runner and its listeners."""


@final
class Execution:
    """One run under way.

    Args:
        runner: whose limits hold.
        action: what is run.
        values: its parameters, prepared.
        options: those of the run.
        context: what the caller gave as `context=`.
        listeners: who hears of it.
        step: the name of the step that it is.
        parent: the span that it is a part of.
        pump: takes the values of an action that streams.
        handed: what is handed in, beside what this package knows.
        within: the run of a composite that it is a step of.
    """

    # Defaults of the class: most runs need most of these never, and every assignment counts.
    span: Span | None = None
    attempts = 0
    begun = False
    """Whether the stream has given a value: then it is not begun again."""
    leaving = False
    """Whether whoever takes the values of a stream has enough: then ending it is no failure."""
    undone: Compensated | None = None
    """How undoing the steps of a composite ended."""
    tried_inside: tuple[ActionError, ...] = ()
    """Errors of runs inside of this attempt that were tried again already."""
    step: str | None = None
    parent: str | None = None
    pump: Pump | None = None
    handed: Mapping[str, Any] | None = None
    within: Execution | None = None
    outer: Execution | None = None
    """The run that it was begun inside of."""
    held: Held | None = None
    """Its place, if its action has a limit."""
    new_key: Callable[[], str] | None = None
    """Makes the idempotency key, if one is asked for."""
    _key: str | None = None
    _touched = False
    _tried_again = False

    def __init__(
        self,
        runner: Runner,
        action: Action[..., Any],
        values: dict[str, Any],
        options: Options,
        context: Mapping[str, Any],
        listeners: tuple[Listeners, ...],
        step: str | None = None,
        parent: str | None = None,
        pump: Pump | None = None,
        handed: Mapping[str, Any] | None = None,
        within: Execution | None = None,
    ) -> None:
        self.runner = runner
        self.action = action
        self.values = values
        self.options = options
        self.context = context
        self.listeners = listeners
        if step is not None:
            self.step = step
        if parent is not None:
            self.parent = parent
        if pump is not None:
            self.pump = pump
        if handed is not None:
            self.handed = handed
        if within is not None:
            self.within = within
        if options.idempotency_key is not None:
            self._key = options.idempotency_key

    @property
    def key(self) -> str:
        """The idempotency key: one for all attempts."""
        if self._key is None:
            if self.within is not None:
                self._key = f"{self.within.key}/{self.step}"
            else:
                self._key = new_id() if self.new_key is None else self.new_key()
        return self._key

    @property
    def _agent(self) -> str | None:
        """The address of the agent whose run it is, if it is one's."""
        ref = None if self.handed is None else self.handed.get(HandedIn.AGENT)
        return None if ref is None else str(ref.address)

    @property
    def _blocks(self) -> bool:
        return self.action.kind in (Kind.SYNC, Kind.PROCESS)

    async def complete(self) -> Completed:
        """Runs the action.

        Raises:
            ActionError: it failed.
        """
        if self.action.kind is Kind.ASYNC:
            await pace()
        for listeners in self.listeners:
            if listeners:
                shown = self.values if self.runner.payloads else None
                self.span = Span(self.listeners, self.action.name, self.step, self.parent, self._agent, shown)
                break
        outer = current_run.get()
        if outer is not None:
            self.outer = outer
        token = current_run.set(self)
        try:
            try:
                completed = await self._limited()
            except ActionError as error:
                if outer is not None and self._tried_again:
                    outer.tried_inside = (*outer.tried_inside, error)
                self._after_run(Failure(error))
                raise
            if self.action.hooks is not None:
                self._after_run(Success(completed.value, completed.directives, completed.attempts))
        except BaseException as error:
            if self.span is not None:
                if self.leaving and not isinstance(error, Exception):
                    self.span.stop(self.attempts, 0)
                else:
                    self.span.fail(error, self.attempts)
            raise
        finally:
            current_run.reset(token)
        if self.span is not None:
            value = completed.value if self.runner.payloads else None
            self.span.stop(self.attempts, len(completed.directives), value)
        return completed

    def unresponsive(self) -> None:
        """Reports that a thread goes on after the run was cancelled."""
        self.runner.report_unresponsive(self.action.name)
        if self.span is not None:
            self.span.report(ActionUnresponsive)

    def _after_run(self, outcome: Success[Any] | Failure) -> None:
        hooks = self.action.hooks
        if hooks is not None and hooks.after_run is not None:
            try:
                hooks.after_run(outcome)
            except ActionError:
                raise
            except Exception as raised:
                raise failed(self.action.name, raised) from raised

    async def _limited(self) -> Completed:
        seconds = self.options.total_timeout
        total = math.inf if seconds is None else trio.current_time() + seconds
        if self.action.max_concurrency is None:
            return await self._attempts(total)
        with self.runner.place_of(self.action) as limiter:
            check_place(self, limiter)
            with trio.CancelScope(deadline=total) as scope:
                await limiter.acquire_on_behalf_of(self)
            if scope.cancelled_caught:
                raise timed_out(self.action, self.options, self.attempts, total=True)
            self.held = Held(limiter)
            try:
                return await self._attempts(total)
            finally:
                self.held = None
                limiter.release_on_behalf_of(self)

    async def _attempts(self, total: float) -> Completed:
        options, span = self.options, self.span
        while True:
            self.attempts += 1
            self.tried_inside = ()
            if span is not None:
                span.attempt(self.attempts, 1 + options.retries)
            try:
                completed = await self._attempt(total)
            except Exception as raised:
                error = self._error(raised)
            except BaseException as raised:
                if span is not None:
                    if self.leaving:
                        span.attempt_succeeded(self.attempts)
                    else:
                        span.attempt_failed(self.attempts, raised, None)
                await self._cancelled()
                raise
            else:
                if span is not None:
                    span.attempt_succeeded(self.attempts)
                return completed
            tried_inside = self._was_tried_inside(error)
            self._tried_again = tried_inside or options.retries > 0
            delay = None
            if options.retries and not self.begun:
                left, chance = total - trio.current_time(), random.uniform(-1, 1)
                delay = delay_before_next(error, self.attempts, options, left, chance, tried_inside=tried_inside)
            if span is not None:
                span.attempt_failed(self.attempts, error, delay)
            if delay is None:
                break
            try:
                await trio.sleep(delay)
            except BaseException:
                await self._cancelled()
                raise
        try:
            error.compensation = worse(error.compensation, await self._compensated(error))
            raise error
        finally:
            del error  # it knows this frame, and the frame it

    def _was_tried_inside(self, error: ActionError) -> bool:
        return any(tried is error or tried is error.__cause__ for tried in self.tried_inside)

    async def _attempt(self, total: float) -> Completed:
        if total == math.inf and self.options.timeout is None:
            return await self._call(total)
        deadline = attempt_deadline(trio.current_time(), self.options, total)
        with trio.CancelScope(deadline=deadline):
            return await self._call(deadline)
        # Not if the deadline of the caller has passed too: then Trio gives the cancellation to that scope.
        raise timed_out(self.action, self.options, self.attempts, total=is_total(deadline, total))

    async def _call(self, deadline: float) -> Completed:
        action, values = self.action, self.values
        kind, signature = action.kind, action.signature
        if signature.handed_in:
            values = values | self._handed_in(deadline)
        directives: tuple[Any, ...] = ()
        undoing: tuple[Undo, ...] = ()
        if kind is Kind.ASYNC:
            self._touched = True
            value: Any = await action.function(**values)
        elif kind is Kind.SYNC:
            value = await in_thread(self._in_thread, {"values": values}, self.runner.threads, self.unresponsive)
        elif kind is Kind.PROCESS:
            self._touched = True
            value = await self.runner.processes.call(action, values)
        elif kind is Kind.STREAM:
            assert self.pump is not None
            self._touched = True
            return Completed(await self.pump(self, action.function(**values)), (), self.attempts)
        else:
            self._touched = True
            composed: Completed = await action.compose(self, values)  # type: ignore[attr-defined]  # the kind that is left has it
            value, directives, undoing = composed.value, composed.directives, composed.undo
        if isinstance(value, Result):
            directives, value = (*directives, *value.directives), value.value
        if signature.output is not None:
            value = self.converted(value)
        compensate = self.options.compensate
        if compensate is not None:
            seconds, given = self.options.compensate_timeout, signature.with_defaults(values)
            done = Undo(self.step or action.name, compensate, given, value, seconds, self._blocks)
            undoing = (done, *undoing)
        return Completed(value, directives, self.attempts, undoing)

    def converted(self, value: Any) -> Any:
        """What the function gave, by its return annotation."""
        output = self.action.signature.output
        if output is None:
            return value
        try:
            return output(value)
        except ConversionError as error:
            raise mismatch(self.action, error) from None

    def _in_thread(self, values: dict[str, Any]) -> Any:
        self._touched = True  # only now: before, the run may have waited for a thread
        return self.action.function(**values)

    def _handed_in(self, deadline: float) -> dict[str, Any]:
        handed: dict[str, Any] = {}
        for name, what in self.action.signature.handed_in.items():
            if what is HandedIn.CONTEXT:
                effective = min(deadline, trio.current_effective_deadline())
                handed[name] = ActionContext(self.context, self.attempts, effective)
            elif what is HandedIn.KEY:
                handed[name] = IdempotencyKey(self.key)
            elif self.handed is not None and what in self.handed:
                handed[name] = self.handed[what]
            else:
                raise InvalidAction(f"{self.action.name}: {name!r} is a {what}, which only a runtime can hand in")
        return handed

    def _error(self, raised: Exception) -> ActionError:
        error = raised if isinstance(raised, ActionError) else failed(self.action.name, raised)
        if error.action is None or error.action == self.action.name:
            error.action = self.action.name
            error.attempts = self.attempts
        return error

    async def _cancelled(self) -> None:
        """Undoes what was begun before the cancellation goes on."""
        if self.options.compensate is not None and not self.leaving:
            error = ActionError(f"{self.action.name}: cancelled")
            error.action, error.attempts = self.action.name, self.attempts
            await self._compensated(error)

    async def _compensated(self, error: ActionError) -> Compensated | None:
        compensate = self.options.compensate
        if compensate is None or not self._touched:
            return self.undone
        values = self.action.signature.with_defaults(self.values)
        if self.action.signature.handed_in:
            values = values | self._handed_in(math.inf)
        step = Undo(self.action.name, compensate, values, None, self.options.compensate_timeout, self._blocks)
        return worse(self.undone, await undo(step, error, self.runner.threads, self.unresponsive))

    async def undo_steps(self, steps: Iterable[Undo], error: ActionError) -> None:
        """Undoes the steps of a composite, in this order."""
        outcome = await undo_all(steps, error, self.runner.threads, self.unresponsive)
        self.undone = worse(self.undone, outcome)
