"""Errors as telemetry shows them: without what the signal brought."""

from __future__ import annotations

from typing import Any

from ..agents import AgentCrashed
from ..telemetry import ErrorInfo
from ..telemetry._redaction import redacted_text

__all__ = ["redacted"]


def redacted(error: BaseException, *payloads: Any) -> ErrorInfo:
    """Type and message of an error. Values of the payloads that stand in the message are cut out."""
    if isinstance(error, AgentCrashed):
        # What it says in full is the traceback of another turn, whose data is not known here.
        return ErrorInfo(type(error).__name__, f"agent {str(error.address)!r} crashed")
    return ErrorInfo(type(error).__name__, redacted_text(str(error), *payloads))
