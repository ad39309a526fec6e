"""What `open_runtime` is given, checked before anything is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..agents import Agent, Directive
from ..errors import InvalidArgument, check_iterable
from ..supervision import InvalidSpec
from ._directives import is_built_in

__all__ = ["check_executors", "check_flag", "check_tree", "checked_classes"]


def check_tree(owner: str, tree: Any) -> None:
    """Whoever gives the class of an agent wants it to run; what runs is its spec.

    Raises:
        InvalidSpec: it is a class of agents.
    """
    if isinstance(tree, type) and issubclass(tree, Agent):
        raise InvalidSpec(owner, "tree", f"a supervisor or a child: write AgentSpec({tree.__name__})", tree)


def checked_classes(owner: str, agents: Iterable[Any]) -> tuple[type[Agent], ...]:
    """Classes of agents.

    Raises:
        InvalidArgument: something else is among them.
    """
    classes = check_iterable(owner, "agents", agents, "classes of agents")
    for agent in classes:
        if not (isinstance(agent, type) and issubclass(agent, Agent)) or agent is Agent:
            raise InvalidArgument(owner, "agents", "classes derived from Agent", agent)
    return classes


def check_flag(owner: str, field: str, value: Any) -> None:
    """True or False.

    Raises:
        InvalidArgument: it is neither.
    """
    if value is not True and value is not False:
        raise InvalidArgument(owner, field, "True or False", value)


def check_executors(owner: str, executors: Any) -> None:
    """Async functions by classes of directives of the user's own.

    Raises:
        InvalidArgument: it is no mapping of those.
    """
    if not isinstance(executors, Mapping):
        raise InvalidArgument(owner, "executors", "a mapping of classes of directives to async functions", executors)
    for directive, executor in executors.items():
        if not (isinstance(directive, type) and issubclass(directive, Directive)):
            raise InvalidArgument(owner, "executors", "classes of directives", directive)
        if is_built_in(directive):
            raise InvalidArgument(owner, "executors", "classes of directives of your own", directive)
        if not callable(executor):
            raise InvalidArgument(owner, "executors", "async functions", executor)
