"""What is made of several actions, and is an action itself."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping
from types import FrameType
from typing import Any

import trio

from ._action import Action, check_labels, check_name
from ._compensation import worse
from ._errors import ActionError, InvalidAction, InvalidPlan, PlanFailed
from ._events import StepSkipped
from ._execution import Execution
from ._graph import Progress
from ._interrupts import interrupt_in
from ._options import Options, Overrides, checked_overrides
from ._preparation import failed, prepare
from ._results import Completed
from ._signature import Kind, Signature
from ._step import Step
from ._undo import Undo, check_compensation

__all__ = ["Composite", "Labels", "Work", "invoke", "perform_all", "undone"]


class Labels(Overrides, total=False):
    """The options of `action` that a composite has too."""

    description: str | None
    tags: tuple[str, ...]
    category: str | None
    version: str | None


class Composite(Action[..., Any]):
    """An action made of steps. Calling it runs it. Two are equal if they are made of equal steps in the same way."""

    def __init__(self, name: str, signature: Signature, labels: Mapping[str, Any]) -> None:
        kind = type(self).__name__
        options = {key: value for key, value in labels.items() if key not in _LABELS}
        if "idempotency_key" in options:
            raise TypeError(f"{name}: an idempotency_key is for one run, not for all")
        described = labels.get("description") or ""
        tags = labels.get("tags", ())
        try:
            check_name(kind, name)
            check_labels(name, described, tags, labels.get("category"), labels.get("version"), None)
            checked = checked_overrides(name, options)
            if checked.get("compensate") is not None:
                check_compensation(name, checked["compensate"], signature.parameters)
        except InvalidAction as error:
            raise InvalidPlan(str(error)) from None

        async def call(**params: Any) -> Any:
            from ._run import run

            return await run(self, params)

        call.__name__ = name
        super().__init__(
            name,
            call,
            Kind.COMPOSITE,
            signature,
            Options(**checked),
            description=described,
            tags=tuple(tags),
            category=labels.get("category"),
            version=labels.get("version"),
            docstring=described,
        )
        self._modules = _modules_on_stack()
        self.__module__ = self._modules[0] if self._modules else __name__
        del self.__qualname__  # looked for when it is asked for: see __getattr__

    def parts(self) -> tuple[Any, ...]:
        """What it is made of, beside its name and its options."""
        raise NotImplementedError  # abstract: nothing is made of this class itself

    def _labels(self) -> tuple[Any, ...]:
        return self.name, self.options, self.description, self.tags, self.category, self.version

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self is other or (self._labels() == other._labels() and self.parts() == other.parts())

    def __hash__(self) -> int:
        return hash((type(self), self.name))

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        """Runs the steps; each kind of composition says how."""
        raise NotImplementedError  # abstract: nothing is made of this class itself

    def __getattr__(self, name: str) -> str:
        # A function knows its name from the start. What is made of others gets one when it is assigned, as a variable
        # of the module that makes it: what is written down, or pickled, is found again by that.
        if name != "__qualname__":
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}", name=name, obj=self)
        for module in self._modules:
            variables = vars(sys.modules.get(module, object))
            found = next((key for key in (self.name, *variables) if variables.get(key) is self), None)
            if found is not None:
                self.__module__, self.__qualname__ = module, found
                return found
        return self.name

    def __reduce__(self) -> str:
        name = self.__qualname__
        if getattr(sys.modules.get(self.__module__), name, None) is not self:
            raise TypeError(f"{self!r} is no variable of a module, so it cannot be found again: it cannot be pickled")
        return name


def _modules_on_stack() -> tuple[str, ...]:
    """The module of whoever makes a composite, and the one that is being run, if a function does it for that."""
    frame: FrameType | None = sys._getframe(2)
    modules: list[str] = []
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if isinstance(module, str) and not module.startswith("prunella.actions."):
            if not modules:
                modules.append(module)
            if frame.f_code.co_name == "<module>":
                modules.append(module)
                break
        frame = frame.f_back
    return tuple(dict.fromkeys(modules))


_LABELS = frozenset({"description", "tags", "category", "version"})


async def invoke(run: Execution, step: Step, params: Mapping[str, Any]) -> Completed:
    """Runs a step as a part of a run.

    Raises:
        ActionError: it failed.
    """
    action = step.action
    return await Execution(
        run.runner,
        action,
        prepare(action, params),
        action.options.replaced(step.options),
        {**run.context, **step.context} if step.context else run.context,
        run.listeners,
        step.name,
        None if run.span is None else run.span.id,
        None,
        run.handed,
        run,
    ).complete()


class Work:
    """What has come of the steps of a composite so far."""

    __slots__ = ("done", "errors", "results")

    def __init__(self) -> None:
        self.done: list[Completed] = []
        self.results: dict[str, Any] = {}
        self.errors: dict[str, ActionError] = {}
        """Of the steps that failed, by name, the first one first."""

    def add(self, name: str, completed: Completed) -> None:
        """A step is done."""
        self.done.append(completed)
        self.results[name] = completed.value

    @property
    def directives(self) -> tuple[Any, ...]:
        """Those of the steps, in the order in which these were done."""
        return tuple(directive for completed in self.done for directive in completed.directives)

    @property
    def undo(self) -> tuple[Undo, ...]:
        """How to undo the steps, the last one first."""
        return tuple(step for completed in reversed(self.done) for step in completed.undo)


async def undone(run: Execution, work: Work, results: Mapping[str, Any]) -> PlanFailed:
    """The error of steps of which some failed, when those that are done have been undone."""
    name, first = next(iter(work.errors.items()))
    error = PlanFailed(f"{run.action.name}: step {name!r} failed: {first}", results, name, work.errors)
    error.because_of(first)
    for other in work.errors.values():
        error.compensation = worse(error.compensation, other.compensation)
    await run.undo_steps(work.undo, error)
    return error


async def perform_all(
    run: Execution,
    steps: Mapping[str, Step],
    progress: Progress,
    params_of: Callable[[Step, Mapping[str, Any]], Mapping[str, Any]],
    holds: Callable[[Step, Mapping[str, Any]], object],
    *,
    cancel: bool,
    work: Work,
    invoking: Callable[[Execution, Step, Mapping[str, Any]], Awaitable[Completed]] = invoke,
) -> None:
    """Runs steps side by side, each as soon as it can be; what comes of them stands in `work`."""

    async def perform(step: Step) -> None:
        try:
            if step.when is not None and not holds(step, work.results):
                progress.leave_out(step.name)
                skipped(step.name)
                advance()
                return
            completed = await invoking(run, step, params_of(step, work.results))
        except Exception as raised:
            progress.fail(step.name)
            work.errors[step.name] = raised if isinstance(raised, ActionError) else failed(step.action.name, raised)
            if cancel:
                nursery.cancel_scope.cancel()
        else:
            work.add(step.name, completed)
            progress.done(step.name)
            advance()

    def advance() -> None:
        begun, left_out = progress.next()
        for name in left_out:
            skipped(name)
        for name in begun:
            nursery.start_soon(perform, steps[name])

    def skipped(name: str) -> None:
        if run.span is not None:
            run.span.report(StepSkipped, step=name)

    try:
        async with trio.open_nursery() as nursery:
            advance()
    except BaseException as raised:
        # Only a cancellation comes here, or an interrupt; neither should be in a group.
        await run.undo_steps(work.undo, ActionError(f"{run.action.name}: cancelled"))
        interrupt = interrupt_in(raised)
        if interrupt is not None:
            raise interrupt from None
        await trio.lowlevel.checkpoint_if_cancelled()
        raise
