from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, Unpack, final

from ..conversion import ConversionError, Field, Fields, converter
from ..errors import DefinitionError
from ._action import check_concurrency
from ._composite import Composite, Labels, Work, perform_all, undone
from ._conditions import said
from ._errors import InvalidAction, InvalidPlan
from ._execution import Execution
from ._graph import Progress, ancestors, cycle_in, drawn, phases_of
from ._references import Param, ResultOf, references, resolved
from ._results import Completed
from ._signature import Signature, factories_of
from ._step import Step, all_of

__all__ = ["Plan"]

_NO_DEFAULT: Final[Any] = Field().default


@final
class Plan(Composite):
    """Steps that depend on each other, and run side by side where they do not. It is an action itself.

    A step begins when all that it depends on is done. The value is a dict of the results by step name. The parameters
    of the plan are those that `param` names, with the types of what they stand for. When a step fails, what the
    others have done is undone, the last one first. Plans are equal if their steps and options are.

    Args:
        steps: the steps; their order does not matter, but it is that of phases and results.
        name: the name of the plan as an action.
        max_concurrency: how many steps may run at a time.
        on_failure: `cancel` cancels the steps that run when one fails, `finish` lets them end; no others begin.
        labels: the other options of `action`, without `cpu` and `open`.

    Raises:
        InvalidPlan: names that are there twice or not at all, a cycle, parameters that are missing, unknown, or of
            two types.
        TypeError: there is no option of that name.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        *,
        name: str | None = None,
        max_concurrency: int | None = None,
        on_failure: Literal["cancel", "finish"] = "cancel",
        **labels: Unpack[Labels],
    ) -> None:
        title = name or "plan"
        self.steps: Mapping[str, Step] = MappingProxyType(_by_name(title, steps))
        if on_failure not in ("cancel", "finish"):
            raise InvalidPlan(f"{title}: on_failure must be 'cancel' or 'finish', got {on_failure!r:.80}")
        try:
            check_concurrency(title, max_concurrency)
        except InvalidAction as error:
            raise InvalidPlan(str(error)) from None
        self._edges = _edges(title, self.steps)
        self._before = ancestors(self._edges)
        for step in self.steps.values():
            _check_params(title, step)
        self._at_once = max_concurrency
        self._on_failure = on_failure
        super().__init__("plan" if name is None else name, _signature(title, self.steps), labels)

    @property
    def phases(self) -> tuple[tuple[str, ...], ...]:
        """The names of the steps by their depth: a description, for a step does not wait for its phase."""
        return phases_of(self._edges)

    def mermaid(self) -> str:
        """The graph as text for Mermaid, which draws it."""
        ids = {name: f"s{number}" for number, name in enumerate(self.steps)}
        lines = ["flowchart TD"]
        for name, step in self.steps.items():
            opening, closing = ('{{"', '"}}') if step.when is not None else ('["', '"]')
            lines.append(f"    {ids[name]}{opening}{_label(step)}{closing}")
        for name, others in self._edges.items():
            lines += [f"    {ids[other]} --> {ids[name]}" for other in others]
        return "\n".join(lines) + "\n"

    def picture(self) -> str:
        """The graph as text for people: each step below the last that it waits for, with the names of the others.

        A question mark stands behind those that have a condition.
        """
        labels = {name: _label(step) + (" ?" if step.when is not None else "") for name, step in self.steps.items()}
        return drawn(self.name, self._edges, labels)

    def parts(self) -> tuple[Any, ...]:
        """Its steps, and how they run."""
        return tuple(self.steps.values()), self._at_once, self._on_failure

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        """Runs the steps.

        Raises:
            PlanFailed: one failed.
        """
        work = Work()

        def params_of(step: Step, results: Mapping[str, Any]) -> Mapping[str, Any]:
            def meant(reference: ResultOf | Param) -> Any:
                return results[reference.step] if isinstance(reference, ResultOf) else values[reference.name]

            return resolved(step.given, meant) if step.waits_for_results else step.given

        def holds(step: Step, results: Mapping[str, Any]) -> object:
            assert step.when is not None
            before = self._before[step.name]
            known = {name: results[name] for name in self.steps if name in before & results.keys()}
            return said(f"step {step.name!r}", "when", step.when(MappingProxyType(known)))

        progress = Progress(self._edges, self._at_once)
        cancel = self._on_failure == "cancel"
        await perform_all(run, self.steps, progress, params_of, holds, cancel=cancel, work=work)
        results = {name: work.results[name] for name in self.steps if name in work.results}
        if work.errors:
            raise await undone(run, work, results)
        return Completed(results, work.directives, run.attempts, work.undo)


def _label(step: Step) -> str:
    return step.name if step.name == step.action.name else f"{step.name}: {step.action.name}"


def _by_name(title: str, steps: Iterable[Step]) -> dict[str, Step]:
    named: dict[str, Step] = {}
    for step in all_of(title, "steps", steps):
        if not isinstance(step, Step):
            raise InvalidPlan(f"{title}: steps must be Step(...)s, got a {type(step).__name__}")
        if step.name in named:
            raise InvalidPlan(f"{title}: there are two steps {step.name!r}")
        named[step.name] = step
    return named


def _edges(title: str, steps: Mapping[str, Step]) -> dict[str, tuple[str, ...]]:
    edges: dict[str, tuple[str, ...]] = {}
    for name, step in steps.items():
        taken = [reference.step for reference in references(step.given) if isinstance(reference, ResultOf)]
        edges[name] = tuple(dict.fromkeys([*step.depends_on, *taken]))
    missing = {name: [other for other in others if other not in steps] for name, others in edges.items()}
    said = [f"{name!r} on {', '.join(map(repr, others))}" for name, others in missing.items() if others]
    if said:
        known = ", ".join(map(repr, steps)) or "none"
        raise InvalidPlan(f"{title}: steps depend on others that are not there: {'; '.join(said)}; there are {known}")
    cycle = cycle_in(edges)
    if cycle:
        raise InvalidPlan(f"{title}: steps wait for each other: {' -> '.join(cycle)}", cycle)
    return edges


def _check_params(title: str, step: Step) -> None:
    """Refuses parameters that are unknown, missing, or can never fit."""
    signature = step.action.signature
    for key, value in step.given.items():
        field = signature.parameters.get(key)
        if field is None:
            if not signature.open:
                raise InvalidPlan(f"{title}: step {step.name!r}: {step.action.name} has no parameter {key!r}")
        elif not any(True for _ in references(value)) and step.action.hooks is None:
            try:
                converter(field.annotation, closed=True)(value)
            except ConversionError as error:
                raise InvalidPlan(f"{title}: step {step.name!r}: the value of {key!r} does not fit: {error}") from None
    if step.action.hooks is None:
        for key, field in signature.parameters.items():
            if field.default is _NO_DEFAULT and key not in step.params:
                raise InvalidPlan(f"{title}: step {step.name!r}: {step.action.name} needs {key!r}, and it is not given")


def _signature(title: str, steps: Mapping[str, Step]) -> Signature:
    """What the plan takes: what its `param(...)`s stand for."""
    parameters: dict[str, Field] = {}
    for step in steps.values():
        for key, value in step.given.items():
            stands_for = step.action.signature.parameters.get(key, Field())
            for reference in references(value):
                if isinstance(reference, Param):
                    # Inside of a value there is no parameter that it stands for.
                    field = stands_for if isinstance(value, Param) else Field()
                    parameters[reference.name] = _merged(title, reference.name, parameters.get(reference.name), field)
    try:
        fields = Fields(title, parameters, closed=True)
    except DefinitionError as error:
        raise InvalidPlan(str(error)) from error
    made = factories_of(title, parameters)
    return Signature(fields, parameters, False, {}, fields.defaults, None, dict[str, Any], made)


def _merged(title: str, name: str, known: Field | None, field: Field) -> Field:
    if known is None or known.annotation is Any:
        return field if known is None or field.annotation is not Any else known
    if field.annotation is Any:
        return known
    if known.annotation != field.annotation:
        raise InvalidPlan(
            f"{title}: param {name!r} stands for parameters of two types, {known.annotation} and {field.annotation}"
        )
    same = known.default is field.default or known.default == field.default
    return Field(known.annotation, known.default if same else _NO_DEFAULT, known.description or field.description)
