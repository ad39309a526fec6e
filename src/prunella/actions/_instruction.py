from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, final

import attrs

from ..conversion import Map
from ..errors import InvalidArgument, check_iterable
from ._action import Action
from ._errors import ActionNotAllowed, InvalidAction, InvalidInput
from ._options import checked_overrides

__all__ = ["Instruction", "check_allowed"]

_SHAPE = "an action, an Instruction, or a tuple of action, params, context and options"


@final
@attrs.frozen(init=False)
class Instruction:
    """A work order: an action with what it is to be run with. A value that says it all, to be run later.

    Args:
        action: what to run.
        params: its parameters by name.
        context: values for its `ActionContext`.
        options: options of `action` that are different, as the overrides of `run`.

    Raises:
        InvalidAction: it is no action, or an option has a wrong value.
        InvalidInput: params or context are no mapping with keys of type str.
        TypeError: there is no option of that name.
    """

    # What a `Run` directive takes in the place of an action, and under which name it is written down.
    _prunella_order: ClassVar = "prunella.actions:Instruction"

    action: Action[..., Any]
    params: Map[str, Any]
    context: Map[str, Any]
    options: Map[str, Any]

    def __init__(
        self,
        action: Action[..., Any],
        params: Mapping[str, Any] | None = None,
        context: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(action, Action):
            raise InvalidAction(f"{action!r:.80} is no action: put @action above the function")
        checked = checked_overrides(action.name, _mapping("options", options))
        self.__attrs_init__(action, _mapping("params", params), _mapping("context", context), Map(checked))

    @classmethod
    def normalize(
        cls, items: Any, *, context: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Instruction, ...]:
        """Instructions from the shapes in which people write them down.

        Args:
            items: an action, an `Instruction`, a tuple `(action, params, context, options)` that may end early, or a
                list of these.
            context: laid under the context of each; what an item says itself wins.
            options: laid under the options of each, in the same way.

        Raises:
            InvalidInput: an item is something else, a list inside the list for example.
            InvalidAction: what stands first in a tuple is no action.
        """
        shared_context, shared_options = _mapping("context", context), _mapping("options", options)
        listed = items if isinstance(items, list) else [items]
        made = []
        for number, item in enumerate(listed):
            one = _instruction(f"[{number}]" if isinstance(items, list) else "", item)
            merged = shared_context.update(one.context), shared_options.update(one.options)
            made.append(cls(one.action, one.params, *merged))
        return tuple(made)

    def laid_under(
        self, params: object, context: Mapping[str, Any] | None, overrides: Mapping[str, Any]
    ) -> tuple[Action[..., Any], Mapping[str, Any], Map[str, Any], Mapping[str, Any]]:
        """What to run when a call gives something too: that is laid over what the instruction says."""
        return (
            self.action,
            in_order(self.params.update(_mapping("params", params)), self.action),
            self.context.update(_mapping("context", context)),
            {**self.options, **overrides},
        )


def in_order(params: Map[str, Any], action: Action[..., Any]) -> dict[str, Any]:
    """Parameters in the order in which an action declares them, those that it does not by name.

    The order of a `Map` is another one in each process.
    """
    declared = action.signature.parameters
    ordered = {name: params[name] for name in declared if name in params}
    if len(ordered) < len(params):
        ordered |= {name: params[name] for name in sorted(params) if name not in declared}
    return ordered


def _mapping(path: str, value: Any) -> Map[str, Any]:
    if value is None:
        return Map()
    if not isinstance(value, Mapping):
        raise InvalidInput(path, "a mapping", type(value).__name__)
    for key in value:
        if not isinstance(key, str):
            raise InvalidInput(path, "keys of type str", type(key).__name__)
    return Map(value)


def _instruction(path: str, item: Any) -> Instruction:
    if isinstance(item, Instruction):
        return item
    if isinstance(item, Action):
        return Instruction(item)
    if isinstance(item, tuple) and 1 <= len(item) <= 4:
        return Instruction(*item)
    raise InvalidInput(path, _SHAPE, "None" if item is None else type(item).__name__)


def check_allowed(instructions: Any, allowed: Iterable[Action[..., Any] | str]) -> None:
    """Refuses instructions whose actions are not on a list.

    Args:
        instructions: as the items of `Instruction.normalize`.
        allowed: actions, or names of actions.

    Raises:
        ActionNotAllowed: some are not; the message names them.
        InvalidArgument: something on the list is neither an action nor a name.
    """
    what = "actions, or names of actions"
    if isinstance(allowed, str):
        raise InvalidArgument("check_allowed", "allowed", f"an iterable of {what}", allowed)
    listed = check_iterable("check_allowed", "allowed", allowed, what)
    for one in listed:
        if not isinstance(one, Action | str):
            raise InvalidArgument("check_allowed", "allowed", what, one)
    items = list(instructions) if isinstance(instructions, tuple) and not _is_one(instructions) else instructions
    refused = [
        one.action.name
        for one in Instruction.normalize(items)
        if one.action not in listed and one.action.name not in [name for name in listed if isinstance(name, str)]
    ]
    if refused:
        names = list(dict.fromkeys(refused))
        raise ActionNotAllowed(f"actions not allowed: {', '.join(names)}", details={"actions": names})


def _is_one(items: tuple[Any, ...]) -> bool:
    """Whether a tuple is one instruction in short, not several: `(action, params)`."""
    return (
        len(items) <= 4
        and isinstance(items[0] if items else None, Action)
        and all(isinstance(item, Mapping) or item is None for item in items[1:])
    )
