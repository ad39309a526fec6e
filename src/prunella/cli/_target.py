"""From the words on the command line to a tree, or to a class of agents."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from ..agents import Agent

if TYPE_CHECKING:
    from ..runtime import AgentSpec
    from ..supervision import Supervisor

__all__ = ["Target", "TargetError", "load", "load_agent"]

T = TypeVar("T")


class TargetError(Exception):
    """The target cannot be loaded; the message says why, with the traceback if its own code raised."""


@attrs.frozen
class Target:
    """What is to be run.

    Attributes:
        name: as it was written.
        spec: the tree, or a single agent.
    """

    name: str
    spec: Supervisor | AgentSpec[Any]

    @property
    def has_agents(self) -> bool:
        """Whether there are agents in it from the beginning."""
        from ._names import agents_in

        return any(True for _ in agents_in(self.spec))

    @property
    def has_durable_agents(self) -> bool:
        """Whether there are agents in it that need a storage."""
        from ._names import agents_in

        return any(spec.durability is not None for _, spec in agents_in(self.spec))


def load(target: str) -> Target:
    """Loads a target: `module`, `module:name`, `path.py` or `path.py:name`.

    Raises:
        TargetError: there is none, or it is no tree.
    """
    where, name = _split(target)
    name = name or "tree"
    return Target(target, _spec(where, name, _module(where)))


def load_agent(target: str) -> type[Agent]:
    """Loads a class of agents: `module:Name` or `path.py:Name`. The name may be left out if there is only one.

    Raises:
        TargetError: there is none, or it is no class of agents.
    """
    where, name = _split(target)
    module = _module(where)
    if name is not None:
        return _agent(where, name, module)
    found = _agents_of(module)
    if len(found) == 1:
        agent: type[Agent] = getattr(module, found[0])
        return agent
    told = f"{where}: name one of its agents: {_listed(found)}" if found else f"{where}: has no agents"
    raise TargetError(told)


def _split(target: str) -> tuple[str, str | None]:
    if target.endswith(".py"):
        return target, None
    if ".py:" in target:  # a path may have a colon of its own
        path, _, name = target.rpartition(".py:")
        where = f"{path}.py"
    else:
        where, colon, name = target.partition(":")
        if where and not colon:
            return where, None
    if not where or not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{target!r} is no target: expected MODULE, MODULE:NAME, PATH.py or PATH.py:NAME")
    return where, name


def _module(where: str) -> ModuleType:
    return _from_file(where) if where.endswith(".py") else _from_path(where)


def _from_file(path: str) -> ModuleType:
    if not os.path.isfile(path):
        raise TargetError(f"{path}: {'is a directory' if os.path.isdir(path) else 'no such file'}")
    name = os.path.basename(path).removesuffix(".py")
    if name in sys.modules or not name.isidentifier():
        name = f"_prunella_target_{name}"  # it must not stand in for a module that others import
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses, pickle and others look a class's module up there
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))  # as for `python path.py`
    _run(f"{path} cannot be loaded", spec.loader.exec_module, module)
    return module


def _from_path(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # as for `python -m name`
    try:
        found = not name.startswith(".") and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise TargetError(_told(f"{name} cannot be loaded", error)) from error
        found = False
    except Exception as error:  # a package above it runs when it is looked for
        raise TargetError(_told(f"{name} cannot be loaded", error)) from error
    if not found:
        hint = f"; a file is given as {name}.py" if os.path.isfile(f"{name}.py") else ""
        raise TargetError(f"there is no module {name!r}{hint}")
    return _run(f"{name} cannot be loaded", importlib.import_module, name)


def _spec(where: str, name: str, module: ModuleType) -> Supervisor | AgentSpec[Any]:
    from ..runtime import AgentSpec
    from ..supervision import Supervisor

    value = _found(name, module)
    if value is _NOTHING:
        others = [other for other, value in vars(module).items() if isinstance(value, Supervisor | AgentSpec)]
        hint = f"; did you mean {where}:{others[0]}?" if others else ""
        expected = "a Supervisor or an AgentSpec, or a function without arguments that returns one"
        raise TargetError(f"{where}: has no {name!r} ({expected}){hint}")
    if inspect.iscoroutinefunction(value):
        raise TargetError(f"{where}: {name!r} is an async function; expected a tree, or a plain function")
    if isinstance(value, type) and issubclass(value, Agent):
        raise TargetError(f"{where}: {name!r} is a class of agents; what runs is an AgentSpec({value.__name__})")
    if callable(value):
        value = _run(f"{where}: {name}() failed", value)
        name = f"{name}()"
    if not isinstance(value, Supervisor | AgentSpec):
        raise TargetError(f"{where}: {name!r} is no Supervisor or AgentSpec, but {type(value).__name__}")
    return value


def _agent(where: str, name: str, module: ModuleType) -> type[Agent]:
    value = _found(name, module)
    others = [other for other in _agents_of(module) if other != name]
    hint = f" (its agents: {_listed(others)})" if others else ""
    if value is _NOTHING:
        raise TargetError(f"{where}: has no {name!r}{hint}")
    if not (isinstance(value, type) and issubclass(value, Agent)) or value is Agent:
        what = "the base of all agents" if value is Agent else f"but {_kind(value)}"
        raise TargetError(f"{where}: {name!r} is no class of agents, {what}{hint}")
    return value


def _agents_of(module: ModuleType) -> list[str]:
    """The names of the agents that a module defines, or of those that it has from others if it defines none."""
    agents = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Agent) and value is not Agent
    }
    return [name for name, value in agents.items() if value.__module__ == module.__name__] or list(agents)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (" …" if len(names) > 10 else "")


_NOTHING = object()


def _found(name: str, module: ModuleType) -> object:
    value: object = module
    for part in name.split("."):
        value = getattr(value, part, _NOTHING)
    return value


def _run(what: str, function: Callable[..., T], *args: object) -> T:
    """Calls code of the user's."""
    try:
        return function(*args)
    except (Exception, SystemExit) as error:
        raise TargetError(_told(what, error)) from error


def _told(what: str, error: BaseException) -> str:
    """What the user's code raised, without the lines of ours and of the import system."""
    steps = [
        step
        for step in traceback.extract_tb(error.__traceback__)
        if step.filename not in (__file__, importlib.__file__) and not step.filename.startswith("<frozen importlib")
    ]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(steps)] if steps else []
    lines += traceback.format_exception_only(error)
    return f"{what}\n{''.join(lines)}".rstrip()
