from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack, final

from ..conversion import Field, Fields
from ._composite import Composite, Labels, Work, invoke
from ._errors import ActionError, ChainFailed
from ._execution import Execution
from ._results import Completed
from ._signature import Signature
from ._step import Item, Step, named_steps

__all__ = ["chain", "declared", "open_signature"]

_NO_DEFAULT: Any = Field().default


def chain(*steps: Item, name: str = "chain", **labels: Unpack[Labels]) -> Composite:
    """An action that runs others one after another, each with what the ones before it have left.

    It starts from its parameters. Each step gets those of the keys gathered so far that it declares; parameters that
    are given with it win. A result that is a mapping is merged into what is gathered, another one is put there under
    the step's name. The value is all that is gathered in the end. When a step fails, what those before it have done is
    undone, the last one first.

    Args:
        steps: actions, `(action, params)`, instructions, or steps (`Step`) without conditions.
        name: the name of the chain as an action.
        labels: the other options of `action`, without `cpu` and `open`.

    Raises:
        InvalidPlan: a step is something else.
    """
    return _Chain(name, named_steps(name, steps), labels)


@final
class _Chain(Composite):
    def __init__(self, name: str, steps: tuple[Step, ...], labels: Mapping[str, Any]) -> None:
        self.steps = steps
        super().__init__(name, open_signature(name, steps[:1]), labels)

    def parts(self) -> tuple[Any, ...]:
        """Its steps."""
        return self.steps

    async def compose(self, run: Execution, values: Mapping[str, Any]) -> Completed:
        gathered = dict(values)
        work = Work()
        for step in self.steps:
            try:
                completed = await invoke(run, step, {**declared(step, gathered), **step.given})
            except ActionError as raised:
                error = ChainFailed(f"{self.name}: step {step.name!r} failed: {raised}", work.results, step.name)
                error.because_of(raised)
                await run.undo_steps(work.undo, error)
                raise error from raised
            except BaseException:
                await run.undo_steps(work.undo, ActionError(f"{self.name}: cancelled"))
                raise
            work.add(step.name, completed)
            if isinstance(completed.value, Mapping):
                gathered.update(completed.value)
            else:
                gathered[step.name] = completed.value
        return Completed(gathered, work.directives, run.attempts, work.undo)


def declared(step: Step, gathered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the gathered keys that a step takes."""
    signature = step.action.signature
    if signature.open:
        return dict(gathered)
    return {key: gathered[key] for key in signature.parameters if key in gathered}


def open_signature(owner: str, steps: tuple[Step, ...]) -> Signature:
    """What composites take that pass on what they get: what these steps need, and anything else."""
    parameters: dict[str, Field] = {}
    for step in steps:
        for key, field in step.action.signature.parameters.items():
            if key in step.params:
                continue
            known = parameters.get(key)
            if known is not None and known.annotation != field.annotation:
                field = Field()  # each step checks for itself
            parameters[key] = field
    fields = Fields(owner, parameters, closed=True, rest=Any)
    # No defaults: what is not given must not be there, for each step has its own.
    return Signature(fields, parameters, True, {}, {}, None, dict[str, Any])
