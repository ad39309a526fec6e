"""From what a caller gave to the keywords of a run, and from what went wrong to its error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..conversion import ConversionError
from ._action import Action
from ._errors import ActionError, ActionFailed, ActionTimeout, InvalidInput, InvalidOutput
from ._options import Options

__all__ = ["failed", "mismatch", "prepare", "timed_out"]

_LONGEST_TEXT: Final = 500


def prepare(action: Action[..., Any], params: object) -> dict[str, Any]:
    """The keywords of a run: validated, with what the hooks make of them.

    Raises:
        InvalidInput: they do not fit; nothing was done.
        ActionFailed: a hook raised.
    """
    hooks, signature = action.hooks, action.signature
    if hooks is not None and hooks.before_validate is not None:
        params = _hooked(action, hooks.before_validate, params)
    try:
        values = signature.fields.convert(params)
        if signature.open:
            for name in signature.handed_in:
                if name in values:
                    raise ConversionError(name, "known keys only", "the name of what is handed in")
    except ConversionError as error:
        invalid = InvalidInput(error.path, error.expected, error.got)
        invalid.action = action.name
        raise invalid from None
    if signature.defaults:
        values = {**signature.defaults, **values}
    if signature.factories:
        _make_defaults(action, values)
    if hooks is not None and hooks.after_validate is not None:
        values = _hooked(action, hooks.after_validate, values)
    return values


def _make_defaults(action: Action[..., Any], values: dict[str, Any]) -> None:
    for name, make in action.signature.factories.items():
        if name not in values:
            try:
                values[name] = make()
            except Exception as raised:
                raise failed(action.name, raised) from raised


def _hooked(action: Action[..., Any], hook: Callable[[Any], Any], params: object) -> dict[str, Any]:
    try:
        changed = hook(params)
        if not isinstance(changed, Mapping):
            raise TypeError(f"{hook.__name__} must return a mapping, got {type(changed).__name__}")
    except ActionError as error:
        error.action = error.action or action.name
        raise
    except Exception as raised:
        raise failed(action.name, raised) from raised
    return dict(changed)


def failed(action: str, raised: BaseException) -> ActionFailed:
    """The error of an action that raised something else."""
    try:
        text = str(raised)[:_LONGEST_TEXT]
    except Exception:
        text = "its text cannot be shown"
    error = ActionFailed(f"{action}: {type(raised).__name__}: {text}")
    error.action = action
    error.__cause__ = raised
    return error


def mismatch(action: Action[..., Any], error: ConversionError) -> InvalidOutput:
    """The error of an action whose result does not fit its annotation."""
    invalid = InvalidOutput(error.path, error.expected, error.got)
    invalid.action = action.name
    return invalid


def timed_out(action: Action[..., Any], options: Options, attempts: int, *, total: bool) -> ActionTimeout:
    """The error of an action that took too long: an attempt, or all of them together."""
    seconds = options.total_timeout if total else options.timeout
    what = f"not done within {seconds} s" if total else f"an attempt took longer than {seconds} s"
    error = ActionTimeout(f"{action.name}: {what}", retryable=not total and options.idempotent)
    error.action, error.attempts = action.name, attempts
    return error
