from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Unpack, final

import attrs

from ..conversion import Map
from ._action import Action, check_name
from ._conditions import check_condition
from ._errors import InvalidAction, InvalidPlan
from ._instruction import Instruction, in_order
from ._options import Overrides, checked_overrides
from ._references import references
from ._signature import Kind

__all__ = ["Item", "Step", "all_of", "named_steps"]

Item = Any
"""What may be a step without more ado: an action, an instruction, `(action, params)`, or a `Step`."""


@final
@attrs.frozen(init=False)
class Step:
    """A step of a plan. Two are equal if all that they were made of is.

    Args:
        name: its name among the steps; its result stands under it.
        action: what it runs; an instruction brings parameters, context and options.
        params: its parameters: values, `result_of("step")`, or `param("name")`.
        depends_on: the names of steps that must be done first, beside those whose results it takes.
        when: a plain function of the results of the steps before it; if it says no, the step is left out, with what
            waits for it. If it raises, the step has failed.
        options: options of `action` that are different for this step.

    Raises:
        InvalidPlan: something about it is wrong.
        TypeError: there is no option of that name.
    """

    name: str
    action: Action[..., Any]
    params: Map[str, Any]
    depends_on: tuple[str, ...]
    when: Callable[[Mapping[str, Any]], object] | None
    options: Map[str, Any]
    context: Map[str, Any]
    given: Mapping[str, Any] = attrs.field(eq=False, repr=False)
    """`params` in the order in which the action declares them; a `Map` has another one in each process."""

    def __init__(
        self,
        name: str,
        action: Action[..., Any] | Instruction,
        params: Mapping[str, Any] | None = None,
        *,
        depends_on: str | Iterable[str] = (),
        when: Callable[[Mapping[str, Any]], object] | None = None,
        **options: Unpack[Overrides],
    ) -> None:
        context: Map[str, Any] = Map()
        given: Map[str, Any] = Map()
        brought: Map[str, Any] = Map()
        if isinstance(action, Instruction):
            brought, context, given = action.params, action.context, action.options
            action = action.action
        try:
            check_name("Step", name)
            if not isinstance(action, Action):
                raise InvalidAction(f"step {name!r}: {action!r:.80} is no action: put @action above the function")
            checked = checked_overrides(f"step {name!r}", {**given, **options})
            action.check_options(action.options.replaced(checked))
        except InvalidAction as error:
            raise InvalidPlan(str(error)) from None
        if action.kind is Kind.STREAM:
            raise InvalidPlan(f"step {name!r}: {action.name} streams, a step has one result")
        if params is not None and not isinstance(params, Mapping):
            raise InvalidPlan(f"step {name!r}: params must be a mapping, got a {type(params).__name__}")
        for key in params or ():
            if not isinstance(key, str):
                raise InvalidPlan(f"step {name!r}: params must have keys of type str, got a {type(key).__name__}")
        names = (depends_on,) if isinstance(depends_on, str) else all_of(f"step {name!r}", "depends_on", depends_on)
        if not all(isinstance(other, str) for other in names):
            raise InvalidPlan(f"step {name!r}: depends_on must be names of steps, got {names!r:.80}")
        if when is not None:
            check_condition(f"step {name!r}", "when", when, "the results")
        merged = brought.update(params or {})
        self.__attrs_init__(name, action, merged, names, when, Map(checked), context, in_order(merged, action))

    def __hash__(self) -> int:
        return hash((self.name, self.action, self.depends_on))  # parameters may be what cannot be hashed

    @property
    def waits_for_results(self) -> bool:
        """Whether something in its parameters stands for something else."""
        return any(True for _ in references(self.given))


def all_of(owner: str, field: str, items: Iterable[Item]) -> tuple[Item, ...]:
    """What stands in an iterable.

    Raises:
        InvalidPlan: it is none.
    """
    if not isinstance(items, Iterable):
        raise InvalidPlan(f"{owner}: {field} must be an iterable, got {items!r:.80}")
    return tuple(items)


def named_steps(owner: str, items: Iterable[Item]) -> tuple[Step, ...]:
    """Steps of what stands in a chain or side by side; those without a name have that of their action.

    Raises:
        InvalidPlan: an item is none of these, has conditions that only a plan knows, or a name twice.
    """
    steps: list[Step] = []
    taken: set[str] = set()
    for item in items:
        if isinstance(item, Step):
            step = item
            if step.depends_on or step.when is not None or step.waits_for_results:
                raise InvalidPlan(f"{owner}: step {step.name!r} depends on others; only a Plan can do that")
        else:
            try:
                instruction = Instruction.normalize([item])[0]
            except (InvalidAction, ValueError) as error:
                raise InvalidPlan(f"{owner}: {error}") from None
            step = Step(_free_name(instruction.action.name, taken), instruction)
        if step.name in taken:
            raise InvalidPlan(f"{owner}: there are two steps {step.name!r}")
        taken.add(step.name)
        steps.append(step)
    return tuple(steps)


def _free_name(name: str, taken: set[str]) -> str:
    free, number = name, 2
    while free in taken:
        suffix = f"_{number}"
        free, number = name[: 64 - len(suffix)] + suffix, number + 1
    return free
