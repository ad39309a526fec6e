from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, Unpack, final

from ._action import check_concurrency
from ._chain import declared, open_signature
from ._composite import Composite, Labels, Work, invoke, perform_all, undone
from ._conditions import check_condition, said
from ._errors import ActionError, InvalidAction, InvalidPlan
from ._execution import Execution
from ._graph import Progress
from ._results import Completed, Failure, Success
from ._step import Item, Step, named_steps

__all__ = ["branch", "converge", "parallel"]


def parallel(
    *steps: Item,
    name: str = "parallel",
    max_concurrency: int | None = None,
    on_failure: Literal["cancel", "finish", "collect"] = "cancel",
    **labels: Unpack[Labels],
) -> Composite:
    """An action that runs others side by side, each with those of its parameters that it declares.

    The value is a dict of the results by step name, in the order of the steps.

    Args:
        steps: actions, `(action, params)`, instructions, or steps (`Step`) without conditions.
        name: its own name as an action.
        max_concurrency: how many may run at a time.
        on_failure: `cancel` cancels the others when one fails, `finish` lets them end; `collect` fails never: each
            value is a `Success` or a `Failure`.
        labels: the other options of `action`, without `cpu` and `open`.

    Raises:
        InvalidPlan: a step is something else, or an option is wrong.
    """
    if on_failure not in ("cancel", "finish", "collect"):
        raise InvalidPlan(f"{name}: on_failure must be 'cancel', 'finish' or 'collect', got {on_failure!r:.80}")
    try:
        check_concurrency(name, max_concurrency)
    except InvalidAction as error:
        raise InvalidPlan(str(error)) from None
    return _Parallel(name, named_steps(name, steps), max_concurrency, on_failure, labels)


def branch(
    condition: Callable[[Mapping[str, Any]], bool],
    then: Item,
    otherwise: Item | None = None,
    *,
    name: str = "branch",
    **labels: Unpack[Labels],
) -> Composite:
    """An action that runs one of two others, and has its value.

    Args:
        condition: a plain function of the parameters; must say `True` or `False`.
        then: what runs if it says `True`.
        otherwise: what runs if not; without it the value is then `None`.
        name: its own name as an action.
        labels: the other options of `action`, without `cpu` and `open`.

    Raises:
        InvalidPlan: one of these is something else.
    """
    check_condition(name, "condition", condition, "the parameters")
    steps = named_steps(name, [then] if otherwise is None else [then, otherwise])
    return _Branch(name, condition, steps, labels)


def converge(*sources: Item, into: Item, name: str = "converge", **labels: Unpack[Labels]) -> Composite:
    """An action that runs others side by side, and then one with their results, by step name.

    Args:
        sources: what runs first, as the steps of `parallel`.
        into: what runs then: it gets those of the results, and of the parameters, that it declares.
        name: its own name as an action.
        labels: the other options of `action`, without `cpu` and `open`.

    Raises:
        InvalidPlan: one of these is something else.
    """
    steps = named_steps(name, [*sources, into])
    return _Converge(name, steps[:-1], steps[-1], labels)


@final
class _Parallel(Composite):
    def __init__(
        self, name: str, steps: tuple[Step, ...], limit: int | None, on_failure: str, labels: Mapping[str, Any]
    ) -> None:
        self.steps = {step.name: step for step in steps}
        self._limit = limit
        self._on_failure = on_failure
        super().__init__(name, open_signature(name, steps), labels)

    def parts(self) -> tuple[Any, ...]:
        """Its steps, and how they run."""
        return tuple(self.steps.values()), self._limit, self._on_failure

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        work = Work()
        progress = Progress(dict.fromkeys(self.steps, ()), self._limit)
        failures: dict[str, Failure] = {}
        collect = self._on_failure == "collect"

        async def collected(one: Execution, step: Step, params: Mapping[str, Any]) -> Completed:
            try:
                return await invoke(one, step, params)
            except ActionError as error:
                failures[step.name] = Failure(error)
                return Completed(None)

        await perform_all(
            run,
            self.steps,
            progress,
            lambda step, results: {**declared(step, values), **step.given},
            lambda step, results: True,
            cancel=self._on_failure == "cancel",
            work=work,
            invoking=collected if collect else invoke,
        )
        results = {name: work.results[name] for name in self.steps if name in work.results}
        if work.errors:
            raise await undone(run, work, results)
        if collect:
            results = {name: failures.get(name, Success(value)) for name, value in results.items()}
        return Completed(results, work.directives, run.attempts, work.undo)


@final
class _Branch(Composite):
    def __init__(
        self,
        name: str,
        condition: Callable[[Mapping[str, Any]], bool],
        steps: tuple[Step, ...],
        labels: Mapping[str, Any],
    ) -> None:
        self._condition = condition
        self._steps = steps
        super().__init__(name, open_signature(name, steps), labels)

    def parts(self) -> tuple[Any, ...]:
        """The condition, and what it decides between."""
        return self._condition, self._steps

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        chosen = said(self.name, "condition", self._condition(values))
        if not isinstance(chosen, bool):
            raise ActionError(f"{self.name}: the condition must say True or False, got a {type(chosen).__name__}")
        if not chosen and len(self._steps) == 1:
            return Completed(None)
        step = self._steps[0 if chosen else 1]
        return await invoke(run, step, {**declared(step, values), **step.given})


@final
class _Converge(Composite):
    def __init__(self, name: str, sources: tuple[Step, ...], into: Step, labels: Mapping[str, Any]) -> None:
        self._sources = Step("sources", parallel(*sources, name="sources"))
        self._into = into
        super().__init__(name, open_signature(name, sources), labels)

    def parts(self) -> tuple[Any, ...]:
        """What runs first, and what then."""
        return self._sources, self._into

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        work = Work()
        work.add("sources", await invoke(run, self._sources, values))
        step = self._into
        gathered = {**values, **work.results["sources"]}
        try:
            completed = await invoke(run, step, {**declared(step, gathered), **step.given})
        except ActionError as error:
            await run.undo_steps(work.undo, error)
            raise
        except BaseException:
            await run.undo_steps(work.undo, ActionError(f"{self.name}: cancelled"))
            raise
        work.add(step.name, completed)
        return Completed(completed.value, work.directives, run.attempts, work.undo)
