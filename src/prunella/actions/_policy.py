"""What a caller may do with the entries of a catalog: a plain decision, and the question to somebody."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, final

import attrs

from ..errors import InvalidArgument, check_iterable
from ._catalog import Entry, Risk, check_scopes

__all__ = ["Confirm", "Policy", "refusal"]

Confirm = Callable[[Entry, Mapping[str, Any]], Awaitable[bool]]

_ORDER: Final = (Risk.LOW, Risk.MEDIUM, Risk.HIGH)


def _scopes(value: Iterable[str]) -> Any:
    return value if isinstance(value, str) else check_iterable("Policy", "scopes", value, "texts")


@final
@attrs.frozen(kw_only=True)
class Policy:
    """What a caller may call. Without arguments: what is of low risk, wants no scopes, and needs no confirmation.

    Args:
        max_risk: the highest risk that is taken.
        confirm: an async function of entry and parameters that asks somebody; only `True` is a yes. If it does not
            answer within the `total_timeout` of the action, or raises, that is a no.
        scopes: what the caller is allowed to.

    Raises:
        InvalidArgument: one of these is of another kind.
    """

    max_risk: Risk | Literal["low", "medium", "high"] = Risk.LOW
    confirm: Confirm | None = None
    scopes: tuple[str, ...] = attrs.field(default=(), converter=_scopes)

    def __attrs_post_init__(self) -> None:
        if self.max_risk not in list(_ORDER):
            raise InvalidArgument("Policy", "max_risk", "one of 'low', 'medium', 'high'", self.max_risk)
        object.__setattr__(self, "max_risk", Risk(self.max_risk))
        if self.confirm is not None and not callable(self.confirm):
            raise InvalidArgument("Policy", "confirm", "an async function of entry and parameters", self.confirm)
        check_scopes("Policy", self.scopes)


def refusal(entry: Entry, policy: Policy) -> str | None:
    """Why a call is refused, whatever its parameters; None if it is not."""
    if _ORDER.index(Risk(entry.risk)) > _ORDER.index(Risk(policy.max_risk)):
        return f"its risk is {entry.risk}, and at most {policy.max_risk} is allowed"
    missing = [scope for scope in entry.scopes if scope not in policy.scopes]
    if missing:
        return f"it needs the scopes {', '.join(missing)}"
    if entry.requires_confirmation and policy.confirm is None:
        return "it needs a confirmation, and there is nobody to ask"
    return None
