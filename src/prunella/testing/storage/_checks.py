"""What every storage has to do: functions of a factory, which raise `AssertionError` where it is not so."""

from __future__ import annotations

from typing import Final

from . import _decisions, _life, _mailbox, _moving, _owners, _past, _turns
from ._terms import Check, Factory

__all__ = ["CHECKS", "Check", "Factory"]

CHECKS: Final[tuple[Check, ...]] = (
    *_life.CHECKS,
    *_owners.CHECKS,
    *_turns.CHECKS,
    *_past.CHECKS,
    *_mailbox.CHECKS,
    *_decisions.CHECKS,
    *_moving.CHECKS,
)
"""All checks, in the order in which one would mend what fails."""
