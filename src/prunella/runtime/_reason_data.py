"""Exit reasons as plain data, for signals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..supervision import Crashed, ExitReason, Shutdown

__all__ = ["reason_data"]


def reason_data(reason: ExitReason | None) -> dict[str, Any] | None:
    """An exit reason as plain data, for signals."""
    if reason is None:
        return None
    kind = type(reason).__name__.lower()
    if isinstance(reason, Crashed):
        return {"kind": kind, "type": reason.type.__name__, "message": reason.message, "detail": None}
    detail = reason.detail if isinstance(reason, Shutdown) else None
    return {"kind": kind, "type": None, "message": str(reason), "detail": _plain(detail)}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)
