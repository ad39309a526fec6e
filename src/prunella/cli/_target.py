"""From the words on the command line to the spec of a tree."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import TypeVar

import attrs

from ..supervision import Supervisor
from ._mailbox import Mailbox

__all__ = ["Target", "TargetError", "load"]

T = TypeVar("T")


class TargetError(Exception):
    """The target cannot be loaded; the message says why, with the traceback if its own code raised."""


@attrs.frozen
class Target:
    """What is to be run.

    Attributes:
        name: as it was written.
        spec: the tree.
        mailboxes: those that its module lists.
    """

    name: str
    spec: Supervisor
    mailboxes: tuple[Mailbox, ...]


def load(target: str) -> Target:
    """Loads a target: `module`, `module:name`, `path.py` or `path.py:name`.

    Raises:
        TargetError: there is none, or it is no tree.
    """
    where, name = _split(target)
    module = _from_file(where) if where.endswith(".py") else _from_path(where)
    spec = _spec(where, name, module)
    return Target(target, spec, _mailboxes(where, module, spec))


def _split(target: str) -> tuple[str, str]:
    if target.endswith(".py"):
        return target, "tree"
    if ".py:" in target:  # a path may have a colon of its own
        path, _, name = target.rpartition(".py:")
        where = f"{path}.py"
    else:
        where, colon, name = target.partition(":")
        if not colon:
            name = "tree"
    if not where or not all(part.isidentifier() for part in name.split(".")):
        raise TargetError(f"{target!r} is no target: expected MODULE, MODULE:NAME, PATH.py or PATH.py:NAME")
    return where, name


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


def _spec(where: str, name: str, module: ModuleType) -> Supervisor:
    value: object = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise TargetError(_nothing_there(where, name, module)) from None
    if inspect.iscoroutinefunction(value):
        raise TargetError(f"{where}: {name!r} is an async function; expected a Supervisor, or a plain function")
    if callable(value):
        value = _run(f"{where}: {name}() failed", value)
        name = f"{name}()"
    if not isinstance(value, Supervisor):
        raise TargetError(f"{where}: {name!r} is no Supervisor, but {type(value).__name__}")
    return value


def _nothing_there(where: str, name: str, module: ModuleType) -> str:
    others = [other for other, value in vars(module).items() if isinstance(value, Supervisor)]
    hint = f"; did you mean {where}:{others[0]}?" if others else ""
    return f"{where}: has no {name!r} (a Supervisor, or a function without arguments that returns one){hint}"


def _mailboxes(where: str, module: ModuleType, spec: Supervisor) -> tuple[Mailbox, ...]:
    value = getattr(module, "mailboxes", ())
    if not isinstance(value, Sequence) or not all(isinstance(item, Mailbox) for item in value):
        raise TargetError(f"{where}: 'mailboxes' must be a list of prunella.cli.Mailbox")
    paths = tuple(_paths(spec))
    taken: set[str] = set()
    for mailbox in value:
        if mailbox.child not in paths:
            raise TargetError(
                f"{where}: a mailbox is for the child {mailbox.child!r}, and the tree has none of that path "
                f"(it has {', '.join(map(repr, paths[:10])) or 'no children'})"
            )
        if mailbox.child in taken:
            raise TargetError(f"{where}: two mailboxes are for the child {mailbox.child!r}")
        taken.add(mailbox.child)
    return tuple(value)


def _paths(spec: Supervisor, above: str = "") -> Iterator[str]:
    for child in spec.children:
        yield above + child.id
        if isinstance(child, Supervisor):
            yield from _paths(child, f"{above}{child.id}/")


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
