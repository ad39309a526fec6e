"""The command `prunella`: run a tree, describe an agent, begin a new one."""

from ._command import main

__all__ = ["main"]
